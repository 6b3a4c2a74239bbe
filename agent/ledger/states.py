"""The states of files and deliveries, as the ledger numbers them."""

from enum import IntEnum


class State(IntEnum):
    """Where a version of a file stands."""

    CANDIDATE = 1
    COMPLETE = 2
    BATCHED = 3
    VERIFIED = 4
    RECLAIMING = 5
    RECLAIMED = 6
    SUPERSEDED = 7
    REFUSED = 8
    VANISHED = 9
    REMOVED = 10

    @property
    def word(self) -> str:
        """The name that people, logs and metrics use."""
        return self.name.lower()


STATES = {int(state): state for state in State}
"""The state of a number, faster than asking the enumeration."""
HERE = (State.CANDIDATE, State.COMPLETE, State.BATCHED, State.VERIFIED, State.REFUSED)
"""States in which the version is expected to stand at its path."""
NAMED = (*HERE, State.RECLAIMING)
"""States in which the version may stand at its path: what is being reclaimed may not have been moved aside yet."""
GONE = (State.RECLAIMING, State.RECLAIMED, State.REMOVED)
"""States in which the version was proved, and its local copy is removed or about to be: by the agent, or by somebody else."""
UNPROVED = (State.CANDIDATE, State.COMPLETE, State.BATCHED)
"""States on the way to the proof."""


class DeliveryState(IntEnum):
    """Where a batch stands on its way to one destination."""

    PENDING = 0
    SUBMITTING = 1
    ACTIVE = 2
    VERIFYING = 3
    VERIFIED = 4
    FAILED = 5
    REFUSED = 6
    SKIPPED = 7
    """It need not go there: its destination left the rule, or came later and is not to have what was delivered before."""
    UNDECIDED = 8
    """Its destination came later, and nobody said whether what was delivered before goes there."""

    @property
    def word(self) -> str:
        """The name that people, logs and metrics use."""
        return self.name.lower()


UNFINISHED = (
    DeliveryState.PENDING, DeliveryState.SUBMITTING, DeliveryState.ACTIVE, DeliveryState.VERIFYING, DeliveryState.FAILED,
)  # fmt: skip
"""States in which a batch still waits for its destination."""
