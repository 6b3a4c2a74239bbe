"""The states of files and deliveries: the names that the ledger, people, logs and metrics use."""

from collections.abc import Iterable
from enum import StrEnum


class State(StrEnum):
    """Where a version of a file stands."""

    CANDIDATE = "candidate"
    COMPLETE = "complete"
    BATCHED = "batched"
    VERIFIED = "verified"
    RECLAIMING = "reclaiming"
    RECLAIMED = "reclaimed"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    VANISHED = "vanished"
    REMOVED = "removed"
    IGNORED = "ignored"
    """Older than the rule's `newer_than`: it was there before the agent, and stays as it is."""


STATES = {state.value: state for state in State}
"""The state of a name, faster than asking the enumeration."""
HERE = (State.CANDIDATE, State.COMPLETE, State.BATCHED, State.VERIFIED, State.REFUSED, State.IGNORED)
"""States in which the version is expected to stand at its path."""
NAMED = (*HERE, State.RECLAIMING)
"""States in which the version may stand at its path: what is being reclaimed may not have been moved aside yet."""
GONE = (State.RECLAIMING, State.RECLAIMED, State.REMOVED)
"""States in which the version was proved, and its local copy is removed or about to be: by the agent, or by somebody else."""
UNPROVED = (State.CANDIDATE, State.COMPLETE, State.BATCHED)
"""States on the way to the proof."""


class DeliveryState(StrEnum):
    """Where a batch stands on its way to one destination."""

    PENDING = "pending"
    SUBMITTING = "submitting"
    ACTIVE = "active"
    VERIFYING = "verifying"
    VERIFIED = "verified"
    FAILED = "failed"
    REFUSED = "refused"
    SKIPPED = "skipped"
    """It need not go there: its destination left the rule, or came later and is not to have what was delivered before."""
    UNDECIDED = "undecided"
    """Its destination came later, and nobody said whether what was delivered before goes there."""


UNFINISHED = (
    DeliveryState.PENDING, DeliveryState.SUBMITTING, DeliveryState.ACTIVE, DeliveryState.VERIFYING, DeliveryState.FAILED,
)  # fmt: skip
"""States in which a batch still waits for its destination."""
CAME_LATER = (DeliveryState.SKIPPED, DeliveryState.UNDECIDED)
"""States of a destination that the batch need not have."""


def listed(states: Iterable[State | DeliveryState]) -> str:
    """States as they stand in the parentheses of an `IN`."""
    return ", ".join(f"'{state}'" for state in states)
