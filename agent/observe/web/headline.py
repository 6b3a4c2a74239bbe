"""The first line of the page: is everything safe?"""

from dataclasses import dataclass

from agent.observe.web.words import files
from rules.units import bytes_in_words, in_words

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Headline:
    """What to say first."""

    kind: str
    """`safe`, `waiting`, `needs`, `looking`, `stopped` or `empty`: a change of it is worth a message."""
    text: str
    detail: str


def headline(
    *, needs: int, waiting: int, measured: int, waiting_bytes: int, safe: int, unclaimed: int, before: int, unseen: int,
    age: float | None, swept: bool, swept_at: str, events: bool,
) -> Headline:  # fmt: skip
    """The first line.

    Args:
        needs: things that a person must do.
        waiting, waiting_bytes: what is on its way.
        measured: files among it whose datasets wait for what the instrument has not written yet.
        safe: files at every destination, those that are gone here among them.
        unclaimed: files that no rule claims.
        before: files from before the agent, which are not delivered.
        unseen: directories that cannot be listed.
        age: seconds since the oldest of what waits was first seen.
        swept: every watched folder was looked through since the agent started.
        swept_at: when they last were.
        events: files that came since are known, too.
    """
    proved = f"{files(safe)} proved at every destination" if safe else ""
    oldest = "" if age is None or age < _MINUTE else f", oldest {in_words(age // _MINUTE * _MINUTE)}"
    moving = max(waiting - measured, 0)
    still = f"{files(measured)} of datasets that the instrument has not ended" if measured else ""
    going = f"{files(moving)} on {'its' if moving == 1 else 'their'} way" if moving else ""
    way = f"{' and '.join(one for one in (going, still) if one)}{oldest}" if waiting else ""
    if needs:
        text = "1 thing needs you" if needs == 1 else f"{needs} things need you"
        return Headline("needs", text, _sentence(way, proved))
    if not swept:
        return Headline("looking", "Looking through the folders", _sentence(way, proved))
    if waiting:
        return Headline("waiting", way, _sentence(f"{bytes_in_words(waiting_bytes)} to go", proved))
    if not safe and before:
        return Headline("empty", "No files since the agent began", _sentence(*_but(unclaimed, before, unseen)))
    if not safe:
        return Headline("empty", "No files yet", "What is written into a watched folder shows up here.")
    only = [*(["a rule claims"] if unclaimed else []), *(["can be seen"] if unseen else [])]
    only += ["is not from before the agent"] if before else []
    what = f"Everything that {' and '.join(only)}" if only else "Everything"
    but = _but(unclaimed, before, unseen)
    if not events:
        text = f"Everything that was there at {swept_at}{''.join(f' and {one}' for one in only)} is safe"
        return Headline("safe", text, _sentence(proved, *but, "what came since is not known yet"))
    looked = f"the folders were last looked through at {swept_at}" if swept_at else ""
    return Headline("safe", f"{what} is safe", _sentence(proved, *but, looked))


def stopped(at: str) -> Headline:
    """The first line after a person stopped the agent: a page that is open keeps it."""
    return Headline("stopped", f"Stopped at {at}", "Nothing is delivered or deleted until the agent is started again.")


def _but(unclaimed: int, before: int, unseen: int) -> tuple[str, str, str]:
    """What the agent does not answer for."""
    listed = f"{unseen} {'directory' if unseen == 1 else 'directories'} cannot be listed" if unseen else ""
    older = f"{files(before)} from before the agent, not delivered" if before else ""
    return f"{files(unclaimed)} not claimed" if unclaimed else "", older, listed


def _sentence(*parts: str) -> str:
    said = "; ".join(part for part in parts if part)
    return f"{said}." if said else ""
