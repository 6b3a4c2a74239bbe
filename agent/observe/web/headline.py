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
    *, needs: int, waiting: int, waiting_bytes: int, safe: int, unclaimed: int, age: float | None, swept: bool
) -> Headline:
    """The first line.

    Args:
        needs: things that a person must do.
        waiting, waiting_bytes: what is on its way.
        safe: files at every destination, those that are gone here among them.
        unclaimed: files that no rule claims.
        age: seconds since the oldest of what waits was first seen.
        swept: every watched folder was looked through since the agent started.
    """
    proved = f"{files(safe)} proved at every destination" if safe else ""
    oldest = "" if age is None or age < _MINUTE else f", oldest {in_words(age // _MINUTE * _MINUTE)}"
    way = f"{files(waiting)} on {'its' if waiting == 1 else 'their'} way{oldest}" if waiting else ""
    if needs:
        text = "1 thing needs you" if needs == 1 else f"{needs} things need you"
        return Headline("needs", text, _sentence(way, proved))
    if not swept:
        return Headline("looking", "Looking through the folders", _sentence(way, proved))
    if waiting:
        return Headline("waiting", way, _sentence(f"{bytes_in_words(waiting_bytes)} to go", proved))
    if not safe:
        return Headline("empty", "No files yet", "What is written into a watched folder shows up here.")
    if unclaimed:
        return Headline(
            "safe", "Everything that a rule claims is safe", _sentence(proved, f"{files(unclaimed)} not claimed")
        )
    return Headline("safe", "Everything is safe", _sentence(proved))


def _sentence(*parts: str) -> str:
    said = "; ".join(part for part in parts if part)
    return f"{said}." if said else ""
