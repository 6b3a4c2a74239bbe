"""Asks whether the destination is there, and tells people when that changes."""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from agent.destinations import Transport
from agent.errors import Exhausted, Refused, Transient
from agent.host.bulkhead import Bulkhead
from agent.ledger import Ledger
from rules.health import Condition, Health
from rules.match import overlap

log = logging.getLogger(__name__)


class Counter(Protocol):
    """What counts requests: `agent.observe.metrics.Metrics`."""

    def requested(self, destination: str, operation: str, outcome: str) -> None: ...

    def resubmitted(self, destination: str, result: str) -> None: ...


class DestinationHealth:
    """`rules.health.Health` of one destination, in the ledger and in the log."""

    def __init__(
        self, ledger: Ledger, transport: Transport, destination: int, counter: Counter, random: Callable[[], float],
        former: Mapping[int, str],
    ) -> None:  # fmt: skip
        """See `agent.delivery.deliverer.Deliverer`."""
        self._ledger = ledger
        self._transport = transport
        self._destination = destination
        self._counter = counter
        self._random = random
        self.former = former
        """The destinations before this one in the configuration, which must all differ: number → name."""
        self.beside: Collection[str] = ()
        """Destinations to which a rule delivers that delivers here, too."""
        self.identity: str | None = None
        """Of the destination; None before it was set up."""
        self.now = Health()
        self._asked = Bulkhead[str]("destination", str)

    def check(self, now: float, *, idle: bool) -> None:
        """Ask whether the destination is there; the first time, set it up. Whatever comes of that is its own.

        `idle`: nothing is due or in flight.
        """
        for one in self._asked.each(
            [self._transport.name], failed=lambda _, failure: self.stopped(Transient(failure.reason), now)
        ):
            with one:
                self._ask(now, idle=idle)

    def _ask(self, now: float, *, idle: bool) -> None:
        try:
            if self.identity is None:
                identity = self._transport.set_up()
                with self._ledger.transaction():
                    self._ledger.destinations.set_up(self._destination, identity)
                self.identity = identity  # not before: what the ledger does not know would never be written down
            self._transport.check(self.identity)
            if self._transport.location is not None:
                with self._ledger.transaction():
                    self._ledger.destinations.found_at(self._destination, self._transport.location)
            self._require_own(self.identity)
        except (Transient, Refused) as error:
            self._counter.requested(self._transport.name, "check", "failed")
            self.stopped(error, now)
            return
        self._counter.requested(self._transport.name, "check", "ok")
        self._becomes(self.now.answered(now, self._transport.check_every, idle=idle), now)

    def _require_own(self, identity: str) -> None:
        """Raise Refused where a destination before this one in the configuration is the same directory."""
        for number in self._ledger.destinations.same(identity):
            if number in self.former:
                raise Refused(
                    f"{self._transport.address} is the same directory as destination {self.former[number]}:"
                    " one copy would count as two",
                    "give it its own directory, or remove one of the two",
                )
        here = self._transport.location
        if here is None:
            return
        for number, location in self._ledger.destinations.located():
            name = self.former.get(number)
            if name is not None and (here == location or (name in self.beside and overlap(here, location))):
                raise Refused(
                    f"{self._transport.address} is at {here}, and destination {name} at {location}:"
                    " one copy could count as two",
                    "give it its own directory, or remove one of the two",
                )

    def stopped(self, error: Transient | Refused, now: float) -> None:
        """Nothing is sent for now: the destination is away, or a person must act."""
        if isinstance(error, Refused):
            self._becomes(self.now.refused(str(error), now), now)
        elif isinstance(error, Exhausted):
            log.warning("destination %s cannot be asked now: %s", self._transport.name, error)
            self._becomes(self.now.not_asked(now), now)
        else:
            at_most, after = self._transport.retry_at_most, error.after
            self._becomes(self.now.away(str(error), now, at_most=at_most, after=after, spread=self._spread()), now)

    def delivery_failed(self, reason: str, now: float) -> None:
        """A submission failed for a reason that is not one file's."""
        at_most = self._transport.retry_at_most
        self._becomes(self.now.failed(reason, now, at_most=at_most, spread=self._spread()), now)

    def delivered(self, now: float) -> None:
        """A submission succeeded."""
        self._becomes(self.now.delivered(), now)

    def _spread(self) -> float:
        """Many agents lost the same service: what they ask when it is back must not come all at once."""
        return self._random() / 4 if self._transport.is_service else 0.0

    def _becomes(self, health: Health, now: float) -> None:
        before, name, reason = self.now, self._transport.name, health.reason
        if (health.condition, reason) != (before.condition, before.reason) and health.condition is not None:
            with self._ledger.transaction():
                up, refused = health.condition is Condition.UP, health.condition is Condition.REFUSED
                self._ledger.destinations.went(self._destination, up, reason, now, refused=refused)
            if health.condition is Condition.UP:
                log.info("destination %s is up", name)
            elif health.condition is Condition.REFUSED:
                log.error("destination %s is refused: %s", name, reason)
            elif before.condition in (None, Condition.UP, Condition.REFUSED):  # else people know that it is down
                log.error("destination %s is down: %s; nothing is written there or deleted here", name, reason)
        self.now = health
