"""What the ledger forgets of versions that are over: superseded, reclaimed, or gone.

Nothing that is forgotten changes what the agent does next: whose a name at a destination is, and what is known to be
there, is known for ever.
"""

from enum import Enum
from typing import NamedTuple

HISTORY = 365 * 86400.0
"""Seconds for which what became of a file is known, unless `[agent] keep_history` says otherwise."""
UNDELIVERED = 7 * 86400.0
"""The same, of versions that no destination may have a copy of, and of batches that no file is in any more."""
MOST_UNDELIVERED = 10_000
"""How many of those are known, the newest, however young they are."""


class What(Enum):
    """What becomes of a version that is over, once its time has come."""

    FORGOTTEN = "forgotten"
    COMPACTED = "compacted"
    """Its name, its size, and its copies with their checksums stay; its batch, its deliveries and reasons are forgotten."""
    KEPT = "kept"
    """It is thought of again when the same time has passed."""


class Over(NamedTuple):
    """A version that is over, and what may depend on its being known."""

    age: float
    """Seconds since it ended."""
    copied: bool
    """A destination has, or may have, a copy of it, or had one that was found to be something else."""
    replaced: bool
    """A later version was proved in the place of each of its copies, and none was gone in between."""
    on_its_way: bool
    """A delivery of its batch has not ended."""
    latest: bool
    """No later version of its path is known."""
    numbered: bool
    """Other versions of its path are here, or have copies: a name that the next one gets is made of its number."""
    parts: bool
    """It was gone, or written again, and nothing else says so between an earlier version with a copy and later ones: they may
    not replace that."""


class Pruned(NamedTuple):
    """What becomes of a version, and why."""

    what: What
    reason: str


def prune(over: Over, history: float) -> Pruned:
    """What becomes of a version. `history`: seconds for which what became of a file that has copies is known."""
    if not over.copied:
        if over.latest and over.numbered:
            return Pruned(What.KEPT, "the next version of its path counts on from its number")
        if over.parts:
            return Pruned(
                What.KEPT,
                "it says that no later version goes on from an earlier copy, which may be the only one of its content",
            )
        return Pruned(What.FORGOTTEN, "no destination has a copy of it")
    if over.age < history:
        return Pruned(What.KEPT, "its history is kept")
    if over.on_its_way:
        return Pruned(What.KEPT, "its batch is on its way")
    if over.replaced and not over.latest:
        return Pruned(What.FORGOTTEN, "a later version stands in the place of each of its copies")
    return Pruned(What.COMPACTED, "its copies are its own")


def horizons(history: float, crowded_since: float | None, now: float) -> tuple[float, float]:
    """(of versions without copies, of those with copies): what ended by then is thought of.

    Args:
        history: as of `prune`.
        crowded_since: when the last of those without copies ended that is not among the newest; None: there are not so many.
        now: seconds since the epoch.
    """
    undelivered = now - min(UNDELIVERED, history)
    return undelivered if crowded_since is None else max(undelivered, crowded_since), now - history
