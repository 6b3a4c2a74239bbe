"""The health of a destination: what follows from each answer, and when to ask it again."""

from dataclasses import dataclass, replace
from enum import Enum

from rules.retry import backoff

ASK_REFUSED_EVERY = 5.0
"""Seconds between two questions whether a person has acted."""
ASK_AGAIN = 5.0
"""Seconds until the next question where the agent could not ask."""


class Condition(Enum):
    """What may be sent to a destination."""

    UP = "up"
    """It takes all that is due."""
    PROBATION = "probation"
    """It answers, but the last delivery failed: one submission at a time, until one succeeds."""
    DOWN = "down"
    """Nothing is sent; it may come back without a person."""
    REFUSED = "refused"
    """Nothing is sent until a person acts."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of a destination. Each method returns what is known after one more answer."""

    condition: Condition | None = None
    """None: it was never asked."""
    reason: str | None = None
    """Why nothing is sent."""
    check_at: float = 0.0
    """When to ask next whether it is there, in seconds since the epoch."""
    failures: int = 0
    """In a row."""
    delivery_failed: bool = False
    """Whether a delivery was among these failures: an answer alone does not end them."""

    @property
    def sends(self) -> bool:
        """Whether something may be sent."""
        return self.condition in (Condition.UP, Condition.PROBATION)

    def answered(self, now: float, check_every: float, *, idle: bool) -> "Health":
        """It is there.

        Args:
            now: seconds since the epoch.
            check_every: seconds until an idle destination is asked again.
            idle: nothing is due or in flight, so no submission can show that it takes files again.
        """
        if self.delivery_failed and not idle:
            return replace(self, condition=Condition.PROBATION, check_at=now + check_every)
        return Health(Condition.UP, check_at=now + check_every)

    def delivered(self) -> "Health":
        """A submission succeeded: probation ends. Where it is down, that is older than what is known."""
        return Health(Condition.UP, check_at=self.check_at) if self.condition is Condition.PROBATION else self

    def away(self, reason: str, now: float, *, at_most: float, after: float, spread: float) -> "Health":
        """It does not answer.

        Args:
            reason: why, for a person.
            now: seconds since the epoch.
            at_most: seconds between two questions, however often it failed.
            after: seconds that it asked to be left alone.
            spread: the wait is longer by this share, so that many agents do not come back at the same moment.
        """
        failures = self.failures + 1
        wait = max(backoff(failures, at_most), after) * (1.0 + spread)
        return replace(self, condition=Condition.DOWN, reason=reason, check_at=now + wait, failures=failures)

    def failed(self, reason: str, now: float, *, at_most: float, spread: float) -> "Health":
        """A delivery failed for a reason that is not one file's."""
        return replace(self.away(reason, now, at_most=at_most, after=0.0, spread=spread), delivery_failed=True)

    def refused(self, reason: str, now: float) -> "Health":
        """A person must act before anything is sent."""
        return replace(self, condition=Condition.REFUSED, reason=reason, check_at=now + ASK_REFUSED_EVERY)

    def not_asked(self, now: float) -> "Health":
        """The agent could not ask, for it has no descriptors or memory left: what was known is still so."""
        return replace(self, check_at=now + ASK_AGAIN)
