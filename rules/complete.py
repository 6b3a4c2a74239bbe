"""Is the writer of a candidate done?"""

import re
from typing import TYPE_CHECKING

from rules.model import Candidate, Verdict, Version, Writer
from rules.retry import look_again
from rules.units import in_words

if TYPE_CHECKING:  # worker processes need no configuration
    from rules.rule import Conditions

QUIET_WITH_PROBE = 0.5
"""Default quiet seconds where the platform proves that no writer has the file open."""
QUIET_WITHOUT_PROBE = 60.0
"""Default quiet seconds where it cannot."""
TICK = 0.02
"""Seconds within which a kernel may give two writes the same time: two ticks of the slowest, for one may come late."""
COARSE = 2.5
"""The same where times are kept in whole seconds: two for FAT, and what a pass may take until it comes to the file."""


_RSYNC = re.compile(r"\..+\.[A-Za-z0-9]{6}", re.DOTALL)
"""Names as rsync gives them to files that it writes. Data may have them, too: such a file only waits longer."""


def granule(ctime_ns: int) -> float:
    """Seconds within which two writes may leave the same stamps, as far as a stamp tells.

    Content that is read within so many seconds of the first sight of its stamps is no evidence: it may be rewritten with
    the same size, and nothing would seem to have changed.
    """
    return TICK if ctime_ns % 1_000_000_000 else COARSE


def complete(conditions: "Conditions", candidate: Candidate, has_marker: bool, writer: Writer, now: float) -> Verdict:
    """Whether the candidate is complete at `now`.

    `again_at` is set while nothing but time is missing; None means that something else has to happen, or may happen
    before the time has passed: see `next_look`.
    """
    if writer is Writer.OPEN:
        return Verdict(False, Writer.OPEN.value)
    quiet = max(quiet_seconds(conditions, writer), candidate.granule, candidate.learned)
    if conditions.quiet is None and _RSYNC.fullmatch(candidate.name):
        quiet = max(quiet, QUIET_WITHOUT_PROBE)
    if now < candidate.since + quiet:
        return Verdict(False, f"changed less than {in_words(quiet)} ago", candidate.since + quiet)
    if candidate.size < conditions.min_size:
        return Verdict(False, f"{candidate.size} bytes, fewer than min_size = {conditions.min_size}")
    if not has_marker:
        missing = without_marker(conditions, candidate.since, now)
        if missing is not None:
            return Verdict(False, missing)
        assert conditions.patience is not None, "it has ended"
        return Verdict(True, f"marker {conditions.marker!r} missing, but unchanged for {in_words(conditions.patience)}")
    proof = "no open writer" if writer is Writer.NONE else "writers cannot be seen here"
    return Verdict(True, f"{proof}, unchanged for {in_words(quiet)}")


def without_marker(conditions: "Conditions", since: float, now: float) -> str | None:
    """Why a file that has not changed since then waits, whose marker is not there; None: it has waited long enough."""
    missing = f"its marker {conditions.marker!r} is not there"
    if conditions.patience is None:
        return missing
    return f"{missing}; waiting {in_words(conditions.patience)} at most" if now < since + conditions.patience else None


def next_look(conditions: "Conditions", since: float, now: float) -> float:
    """When to look again at a file that waits for its writer, its size or its marker, and has not changed since then."""
    at = look_again(since, now)
    end = now if conditions.patience is None else since + conditions.patience
    return min(at, end) if now < end else at


def first_look(conditions: "Conditions", ctime_ns: int, now: float) -> float:
    """When a file whose new reading, with this ctime, was taken at `now` can be complete at the earliest."""
    return now + max(QUIET_WITH_PROBE if conditions.quiet is None else conditions.quiet, granule(ctime_ns))


LONGEST_LEARNED = 600.0
"""Seconds that a file waits unchanged at the most because writers came back."""
_HELD = 3600.0
"""Seconds after which a file goes as if nothing had been learned: one that is appended to for ever is not held for ever."""


def came_back(
    conditions: "Conditions", before: Version, complete_at: float, after: Version, seen_at: float
) -> float | None:
    """How long such files wait from now on, where a writer closed a file and came back to it; None: nothing is learned.

    Acquisition programs open a file for each block and close it in between, or make an empty one and fill it later; a transfer
    breaks off and goes on. A longer file tells them from one that is written again and again, which is to go each time; its
    first bytes tell them from another one. What the rule itself says of quiet periods and markers holds, whatever is learned.

    Args:
        conditions: of the rule.
        before: the version that was taken as complete.
        complete_at: when it was.
        after: the version that stands there now.
        seen_at: when something was first seen to have changed. Programs that copy set mtimes: `after` does not say when.
    """
    stamps = (stamp / 1e9 for stamp in (before.mtime_ns, before.ctime_ns))
    gap = seen_at - max((stamp for stamp in stamps if stamp <= complete_at), default=complete_at)
    longer = after.size > before.size and 0 < gap <= LONGEST_LEARNED
    return min(2 * gap, LONGEST_LEARNED) if longer and conditions.learns else None


def learned(conditions: "Conditions", quiet: float, seen_at: float, now: float) -> float:
    """The quiet period that was learned for a file that was first seen at `seen_at`, where it counts; else 0."""
    return quiet if conditions.learns and now < seen_at + _HELD else 0.0


def quiet_seconds(conditions: "Conditions", writer: Writer) -> float:
    """The quiet period that counts: a probe that cannot tell makes it longer, never shorter."""
    if conditions.quiet is None:
        return QUIET_WITHOUT_PROBE if writer is Writer.CANNOT_TELL else QUIET_WITH_PROBE
    if writer is Writer.CANNOT_TELL:
        # Without the probe a single reading proves nothing, so even quiet = "0s" takes two, a second apart.
        return max(2 * conditions.quiet, 1.0)
    return conditions.quiet
