"""The first line of the page: is everything safe?"""

from dataclasses import dataclass

from agent.observe.web.words import files
from rules.units import bytes_in_words, in_words

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Headline:
    """What to say first."""

    kind: str
    """`safe`, `waiting`, `needs`, `looking` or `empty`: what a person would want to be told of when it changes."""
    text: str
    detail: str


def headline(
    *, needs: int, waiting: int, waiting_bytes: int, safe: int, unclaimed: int, writing: int, writing_at_least: bool,
    age: float | None, swept: bool, swept_at: str, events: bool,
) -> Headline:  # fmt: skip
    """The first line.

    Args:
        needs: things that a person must do.
        waiting, waiting_bytes: what is on its way.
        safe: files at every destination, those that are gone here among them.
        unclaimed: files that no rule claims.
        writing: files that are being written, and not known yet; `writing_at_least`: there may be more.
        age: seconds since the oldest of what waits was first seen.
        swept: every watched folder was looked through since the agent started.
        swept_at: when they last were.
        events: files that came since are known, too.
    """
    proved = f"{files(safe)} proved at every destination" if safe else ""
    oldest = "" if age is None or age < _MINUTE else f", oldest {in_words(age // _MINUTE * _MINUTE)}"
    way = f"{files(waiting)} on {'its' if waiting == 1 else 'their'} way{oldest}" if waiting else ""
    least = "at least " if writing_at_least else ""
    written = f"{least}{files(writing)} being written" if writing or writing_at_least else ""
    if needs:
        text = "1 thing needs you" if needs == 1 else f"{needs} things need you"
        return Headline("needs", text, _sentence(way, written, proved))
    if not swept:
        return Headline("looking", "Looking through the folders", _sentence(way, written, proved))
    if waiting:
        return Headline("waiting", way, _sentence(f"{bytes_in_words(waiting_bytes)} to go", written, proved))
    if written:
        return Headline("waiting", written[:1].upper() + written[1:], _sentence(proved))
    if not safe:
        return Headline("empty", "No files yet", "What is written into a watched folder shows up here.")
    what = "Everything that a rule claims" if unclaimed else "Everything"
    unclaimed_files = f"{files(unclaimed)} not claimed" if unclaimed else ""
    if not events:
        text = f"{what} that was there at {swept_at} is safe"
        return Headline("safe", text, _sentence(proved, unclaimed_files, "what came since is not known yet"))
    looked = f"the folders were last looked through at {swept_at}" if swept_at else ""
    return Headline("safe", f"{what} is safe", _sentence(proved, unclaimed_files, looked))


def _sentence(*parts: str) -> str:
    said = "; ".join(part for part in parts if part)
    return f"{said}." if said else ""
