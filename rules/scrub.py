"""Copies are read again after their delivery: which one next, how fast, and what is to be done about what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rules.model import Verdict
from rules.units import in_words

DAY = 86400.0
MOST_OPEN = 1000
"""So many findings that nobody has looked at are not single copies gone bad: a person must look before there are more."""
IS_BACK = "what was delivered is there again"
_CREDIT = 60.0
"""Seconds of the rate that may be saved up: a share that was away is not read in a rush when it is back."""


class CopyStatus(Enum):
    """How a copy was found."""

    GOOD = "good"
    """Its content was read, and is what was delivered."""
    STAT = "stat"
    """Size and mtime are what was delivered; more could not be asked."""
    CHANGED = "changed"
    """Something else stands there."""
    MISSING = "missing"
    UNREADABLE = "unreadable"
    """It is there and cannot be read, though the destination can."""
    DOUBTFUL = "doubtful"
    """Its mtime is another one, and more could not be asked."""

    @property
    def well(self) -> bool:
        """Nothing is wrong."""
        return self in (CopyStatus.GOOD, CopyStatus.STAT)


@dataclass(frozen=True, slots=True)
class Scrub:
    """How much of a destination is read again."""

    per_day: int
    """Bytes."""
    every: float
    """Seconds in which no copy is read twice."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """What is to be done about a copy that is not as it should be."""

    withdrawn: bool
    """The evidence counts no more: the local copy stays, and travels again."""
    hint: str


def due(scrub: Scrub, oldest: float | None, free_at: float, findings: int, now: float) -> Verdict:
    """May the copy whose proof is the oldest be read now?

    Args:
        scrub: the policy of the destination.
        oldest: when that copy was last proved or read again; None where there is no copy.
        free_at: before this time the rate allows nothing, see `paid`.
        findings: findings at the destination that nobody has looked at yet.
        now: seconds since the epoch.
    """
    if oldest is None:
        return Verdict(False, "there is no copy to read")
    if findings >= MOST_OPEN:
        return Verdict(False, f"{findings} copies are wrong already; a person must look before more are read")
    if now <= oldest + scrub.every:
        return Verdict(False, f"each copy was read less than {in_words(scrub.every)} ago", oldest + scrub.every)
    if now < free_at:
        return Verdict(False, "its rate allows no more just now", free_at)
    return Verdict(True, f"proved {in_words(now - oldest)} ago")


def paid(scrub: Scrub, free_at: float, cost: int, now: float) -> float:
    """When the rate allows the next reading, after one that cost so many bytes.

    A copy is read whole, whatever its size, so the rate holds over days and not over minutes.
    """
    return max(free_at, now - _CREDIT) + cost * DAY / scrub.per_day


def consequence(
    copy_status: CopyStatus, destination: str, *, here: bool | None, others: Sequence[tuple[str, str]]
) -> Consequence:
    """What is to be done about a copy that is not well.

    Args:
        copy_status: how it was found.
        destination: its name.
        here: the local copy still exists, as it was delivered; None: that cannot be told now.
        others: (destination, path) of copies of the same version elsewhere, proved and not found otherwise.
    """
    accept = f"`dropline verify {destination} --accept {copy_status.value}`"
    if copy_status is CopyStatus.UNREADABLE:
        return Consequence(False, "mend that there; it is read again within a day")
    if copy_status is CopyStatus.DOUBTFUL:
        return Consequence(False, f"its content cannot be asked for from here: compare it there, then {accept}")
    if here is None:
        return Consequence(
            False, "whether the local copy is still here cannot be told now; it is read again within a day"
        )
    if here:
        then = (
            ""
            if copy_status is CopyStatus.MISSING
            else "; what stands there is not touched: look at it, and move it away"
        )
        return Consequence(True, f"the local copy is kept and delivered again{then}")
    if others:
        where = ", ".join(f"{name} has it as {path!r}" for name, path in others)
        return Consequence(False, f"the local copy is gone, but {where}: copy it from there, or {accept}")
    return Consequence(
        False, f"the local copy is gone, and no other destination has it: restore it from a backup, or {accept}"
    )


def resolved(former: CopyStatus, copy_status: CopyStatus, *, proved_at_another: bool) -> str | None:
    """Why a finding is closed without a person, looked at once more; None: it stays open.

    Args:
        former: what was found.
        copy_status: what is found now.
        proved_at_another: the version was delivered again and is proved there, under another name.
    """
    if copy_status.well:
        return IS_BACK
    if former is CopyStatus.CHANGED and copy_status is CopyStatus.MISSING and proved_at_another:
        return "it was moved away, and the copy that was delivered again is proved"
    return None
