"""Is the destination there, and when to look again?"""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from agent.destinations import Transport
from agent.errors import Exhausted, Refused, Transient
from agent.ledger import Ledger
from rules.retry import backoff

_LOOK_WHEN_REFUSED = 5.0
"""Seconds between two looks whether a person has acted."""

_AGENT_AGAIN = 5.0
"""Seconds until it is looked at again where the agent had no descriptors left."""

log = logging.getLogger(__name__)


class Requests(Protocol):
    """What counts requests: `agent.observe.metrics.Metrics`."""

    def requested(self, destination: str, operation: str, outcome: str) -> None: ...

    def resubmitted(self, destination: str, result: str) -> None: ...


class Presence:
    """Up, down, or refused: down until a person acts."""

    def __init__(
        self, ledger: Ledger, transport: Transport, place: int, metrics: Requests, chance: Callable[[], float],
        former: Mapping[int, str],
    ) -> None:  # fmt: skip
        """See `agent.delivery.Courier`."""
        self._ledger = ledger
        self._transport = transport
        self._place = place
        self._metrics = metrics
        self._chance = chance
        self._former = former
        self._failures = 0
        self.identity: str | None = None
        """Of the destination; None before it was taken into use."""
        self.up: bool | None = None
        self.doubtful = False
        """It is there, but the last delivery failed: one at a time until one succeeds."""
        self.suspect = False
        """It went down because a delivery failed, not because it was away."""
        self.reason: str | None = None
        """Why it is down."""
        self.look_at = 0.0
        self.refusal: str | None = None
        """Why nothing goes there until a person acts."""

    @property
    def takes(self) -> bool:
        """Whether something may be sent."""
        return bool(self.up or self.doubtful)

    def look(self, now: float) -> None:
        """Ask whether the destination is there; the first time, take it into use."""
        try:
            if self.identity is None:
                self.identity = self._transport.set_up()
                with self._ledger.transaction():
                    self._ledger.destinations.set_up(self._place, self.identity)
            self._transport.check(self.identity)
            self._require_own(self.identity)
        except (Transient, Refused) as error:
            self._metrics.requested(self._transport.name, "check", "failed")
            self.doubtful = False
            self.stopped(error, now)
            return
        self._metrics.requested(self._transport.name, "check", "ok")
        self.look_at = now + self._transport.check_every
        if self._failures and self.up is False and self.suspect:
            self.doubtful = True
        else:
            self.went_up(now)

    def _require_own(self, identity: str) -> None:
        """Raise Refused where a destination before this one in the configuration is the same directory."""
        for number in self._ledger.destinations.same(identity):
            if number in self._former:
                raise Refused(
                    f"{self._transport.address} is the same directory as destination {self._former[number]}:"
                    " one copy would count as two",
                    "give it a directory of its own, or remove one of the two",
                )

    def went_up(self, now: float) -> None:
        """It is there, and takes what is sent."""
        self._failures, self.doubtful, self.suspect = 0, False, False
        self.refusal = self.reason = None
        if self.up is not True:
            self.up = True
            log.info("destination %s is up", self._transport.name)
            with self._ledger.transaction():
                self._ledger.destinations.went(self._place, True, None, now)

    def stopped(self, error: Transient | Refused, now: float) -> None:
        """Nothing goes there for now: it is away, or a person must act."""
        if isinstance(error, Refused):
            self._refused(str(error), now)
        elif isinstance(error, Exhausted):
            # It says nothing of the destination: what was known of it is still so.
            self.look_at = now + _AGENT_AGAIN
            log.warning("destination %s cannot be asked now: %s", self._transport.name, error)
        else:
            self.failed(str(error), now, error.after)

    def _refused(self, reason: str, now: float) -> None:
        if self.refusal != reason:
            log.error("destination %s is refused: %s", self._transport.name, reason)
        self.refusal = self.reason = reason
        self.up = self.doubtful = False
        self.look_at = now + _LOOK_WHEN_REFUSED
        with self._ledger.transaction():
            self._ledger.destinations.went(self._place, False, reason, now, refused=True)

    def failed(self, reason: str, now: float, after: float = 0.0) -> None:
        """It is down; to be looked at again after a while, `after` seconds at least."""
        self._failures += 1
        wait = max(backoff(self._failures, self._transport.retry_at_most), after)
        # Many agents lost the same service: what they ask when it is back must not come all at once.
        self.look_at = now + wait * (1.0 + self._chance() / 4 if self._transport.elsewhere else 1.0)
        if self.up is not False or self.refusal is not None:
            log.error(
                "destination %s is down: %s; nothing is written there or deleted here", self._transport.name, reason
            )
        self.up, self.refusal, self.reason = False, None, reason
        with self._ledger.transaction():
            self._ledger.destinations.went(self._place, False, reason, now)
