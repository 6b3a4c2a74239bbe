"""Batch → submission → task → verified, for one destination."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from agent.delivery.actions import enqueue
from agent.delivery.attempts import MAYBE_SENT, Attempt, Attempts
from agent.delivery.outcomes import Outcomes
from agent.delivery.presence import Presence, Requests
from agent.delivery.travel import Traveller, UnderWay
from agent.destinations import Arrived, Changed, Gone, NotNow, Report, Transport
from agent.errors import Refused, Transient
from agent.ledger import Delivery, DeliveryState, Ledger
from rules.model import Rule
from rules.retry import backoff

_NOT_NOW = 30.0
"""Seconds until a request that had to wait for others is tried again."""
_HANDED = 1.0
"""Seconds until it is written down at the latest that something was handed over to threads of ours."""
_LIGHT = 32 * 2**20
"""Bytes of a batch that is soon done."""
_GIANT = 2**35
"""Bytes of a batch that takes hours: these have a quarter of the room at the most."""

log = logging.getLogger(__name__)


class Courier:
    """Brings batches to one destination and writes down what came of it."""

    def __init__(
        self, ledger: Ledger, transport: Transport, place: int, rules: Sequence[Rule], host: str,
        metrics: Requests, returned: Callable[[], None], owing: Callable[[], None],
        chance: Callable[[], float] = random.random, former: Mapping[int, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            transport: the way there.
            place: the destination's number in the ledger.
            rules: in the order of the configuration.
            host: this computer's name, for templates.
            metrics: counts requests and resubmissions.
            returned: called when files became candidates again.
            owing: called when a verified batch left something to be done.
            chance: a number from 0 to 1, so that many agents do not come back at the same moment.
            former: the destinations before this one in the configuration, none of which may be the same: number → name.
        """
        self._ledger = ledger
        self._transport = transport
        self._place = place
        self._rules: Mapping[str, Rule] = {rule.name: rule for rule in rules}
        self._host = host
        self._metrics = metrics
        self._returned = returned
        self._owing = owing
        self._presence = Presence(ledger, transport, place, metrics, chance, former)
        self._outcomes = Outcomes(ledger, transport, place)
        self._attempts = Attempts(ledger, transport, place, rules, host)
        self._under_way: dict[str, UnderWay] = {}
        self._unread: list[Report] = []
        """Reports that are not written down yet: kept while the ledger cannot be written."""
        self._handed: list[tuple[Delivery, str]] = []
        """What was handed over since the last transaction, with the name of its task."""
        self._owed: list[UnderWay] = []
        """Deliveries of which a part, in `again`, is to be sent next."""
        self._paused = False
        """Whether a person wants nothing to be sent."""
        self._owes = False
        """Whether a batch that was verified in this pass left something to be done."""

    def start(self, now: float) -> None:
        """Before the first pass: what a former run left under way is sent again."""
        self._presence.identity = self._ledger.destinations.place(
            self._transport.name, self._transport.address
        ).identity
        self._ledger.deliveries.interrupted(self._place, now)

    def step(self, now: float) -> float | None:
        """One whole pass: take in what the transport reports, then hand over what is due."""
        self._gather(now)
        self._ask_for_pause()
        if self._unread:
            self._take(self._unread, now)
            self._unread.clear()
            self._send_owed(now)
        elif self._handed:
            with self._ledger.transaction():
                self._ledger.deliveries.submitted(self._handed, now)
            self._handed.clear()
        if now >= self._presence.look_at:
            self._presence.look(now)
        again: list[float | None] = []
        if self._presence.takes and not self._paused:
            self._send(self._next(now), now)
            self._send_owed(now)
            next_due = self._ledger.deliveries.next_due(self._place)
            if next_due is not None and next_due > now:  # else woken by the transport when there is room again
                again.append(next_due)
        again += [self._presence.look_at, self._transport.due(), now + _HANDED if self._handed else None]
        if self._owes:  # and it is committed by now
            self._owes = False
            self._owing()
        return min(at for at in again if at is not None)

    @property
    def waiting(self) -> bool:
        """Whether something of ours is under way that may end without a person, or a lost destination that comes back."""
        if self._paused:
            return False
        if self._transport.elsewhere and self.down:
            return False
        return any(one.note is None for one in self._under_way.values())

    @property
    def down(self) -> bool:
        """Whether the destination cannot be written to."""
        return self._presence.up is False

    @property
    def refusal(self) -> str | None:
        """Why nothing goes there until a person acts."""
        return self._presence.refusal

    @property
    def away(self) -> str | None:
        """Why the destination is down, where it may be up again without a person."""
        return self._presence.reason if self._presence.refusal is None else None

    def ready(self, now: float) -> bool:
        """Whether the next pass will send something."""
        due = self._ledger.deliveries.next_due(self._place)
        return self._presence.takes and not self._paused and due is not None and due <= now

    def _ask_for_pause(self) -> None:
        paused = self._ledger.pauses.hold("delivery", self._transport.name)
        if paused == self._paused:
            return
        self._paused = paused
        if paused:
            self._transport.pause()
            log.warning("destination %s: a person paused deliveries; `dropline status` says how", self._transport.name)
        else:
            self._transport.resume()
            log.info("destination %s: deliveries go on", self._transport.name)

    # Sending

    def _next(self, now: float) -> list[Delivery]:
        """What is due and has room. A quarter of the room is for light batches: they are not to wait until heavy ones end."""
        due, kept = self._ledger.deliveries.due, self._transport.outstanding // 4
        if self._presence.doubtful:
            return due(self._place, now, 1) if not self._under_way else []
        room = self._transport.outstanding - len(self._under_way)
        giants = room if self._transport.elsewhere else max(kept, 1) - self._giants
        found = due(self._place, now, max(min(giants, room - kept), 0), least=_GIANT + 1)
        found += due(self._place, now, max(room - kept - len(found), 0), _GIANT)
        if len(found) < room - kept:
            return found  # there is no more
        light = [one for one in due(self._place, now, max(room, 0), _LIGHT) if one not in found]
        return found + light[: room - len(found)]

    @property
    def _giants(self) -> int:
        """Batches under way that take hours."""
        return sum(one.bytes > _GIANT for one in self._under_way.values())

    def _send(self, due: Sequence[Delivery], now: float) -> None:
        """Prepare what will be sent, and send it."""
        if not due or self._presence.identity is None:
            return
        # What others carry out is prepared and sent one by one: each must know what is on its way.
        left = list(due)
        for some in [[delivery] for delivery in due] if self._transport.elsewhere else [due]:
            attempts: list[Attempt] = []
            try:
                for delivery in some:
                    try:
                        attempts.append(self._attempts.begin(delivery, self._presence.identity))
                    except NotNow as error:
                        with self._ledger.transaction():
                            self._ledger.deliveries.failed(delivery, str(error), now, now + _NOT_NOW)
            except (Transient, Refused) as error:
                self._presence.stopped(error, now)
                with self._ledger.transaction():
                    for delivery in left:
                        self._not_sent(delivery, str(error), now)
                return
            del left[: len(some)]
            self._begin(attempts, now)
            if not self._presence.takes:
                return

    def _not_sent(self, delivery: Delivery, reason: str, now: float) -> None:
        """It could not be prepared. What a former run may have sent stays what it is."""
        if delivery.request and delivery.state in MAYBE_SENT:
            self._ledger.deliveries.unanswered(delivery, reason, now, self._presence.look_at)
        else:
            self._ledger.deliveries.failed(delivery, reason, now, self._presence.look_at)

    def _begin(self, attempts: Sequence[Attempt], now: float) -> None:
        """Write down what will be sent, send it, write down that it was sent."""
        deliveries = self._ledger.deliveries
        leftovers: list[tuple[int, str]] = []
        with self._ledger.transaction():
            ready: list[Attempt] = []
            for attempt in attempts:
                if self._freeze(attempt, now):
                    ready.append(attempt)
                elif attempt.under_way.again:
                    self._owed.append(attempt.under_way)
            for attempt in ready:
                if attempt.under_way.delivery.state is not DeliveryState.PENDING:  # else nothing can be left over
                    leftovers += deliveries.leftovers(attempt.under_way.delivery, self._place)
        if any(isinstance(outcome, Changed | Gone) for attempt in attempts for outcome in attempt.outcomes):
            self._returned()
        try:
            if leftovers:
                self._transport.discard(leftovers)
            tasks: list[tuple[Delivery, str]] = []
            waits: list[tuple[Delivery, str]] = []
            for attempt in ready:
                try:
                    tasks.append((attempt.under_way.delivery, self._hand_over(attempt)))
                except NotNow as error:
                    waits.append((attempt.under_way.delivery, str(error)))
            if not self._transport.elsewhere and not waits:
                # Only for people: it is sent again whether or not this was written down. So it waits for the next
                # transaction, which is mostly the one that ends it.
                self._handed += tasks
                return
            with self._ledger.transaction():
                deliveries.submitted(tasks, now)
                if self._transport.elsewhere:
                    deliveries.began(tasks, now)
                for delivery, reason in waits:
                    deliveries.unanswered(delivery, reason, now, now + _NOT_NOW)
        except (Transient, Refused) as error:
            self._presence.stopped(error, now)
            taken = {id(one) for one in self._under_way.values()}
            with self._ledger.transaction():
                for attempt in ready:
                    if id(attempt.under_way) not in taken:
                        deliveries.unanswered(attempt.under_way.delivery, str(error), now, self._presence.look_at)

    def _freeze(self, attempt: Attempt, now: float) -> bool:
        """Write down the request before it is sent, and what need not be sent. Returns whether there is something to send.

        Inside a transaction.
        """
        under_way, deliveries = attempt.under_way, self._ledger.deliveries
        for file, reason in attempt.unfit:
            self._outcomes.refuse(file, reason)
        settled = under_way.later | {one.file for one in attempt.outcomes if not isinstance(one, Arrived)}
        deliveries.planned(
            self._place,
            ((number, one.item.path) for number, one in under_way.travellers.items() if number not in settled),
        )
        if attempt.outcomes:
            self._outcomes.settle([(under_way, attempt.outcomes)], now)
            if not under_way.left:
                if not under_way.again:
                    self._finished([under_way.delivery], now)
                return False
        deliveries.submitting(under_way.delivery, attempt.request, now)
        return True

    def _hand_over(self, attempt: Attempt) -> str:
        assert self._presence.identity is not None, "nothing is sent before it is set up"
        under_way = attempt.under_way
        items = [one.item for number, one in under_way.travellers.items() if number in under_way.left]
        former = (
            under_way.delivery.task if under_way.delivery.state is DeliveryState.ACTIVE and attempt.resumed else None
        )
        task, how = self._transport.submit(attempt.request, items, self._presence.identity, former)
        if attempt.resumed:
            self._metrics.resubmitted(self._transport.name, how)
        self._under_way[task] = under_way
        return task

    def _send_owed(self, now: float) -> None:
        """Send what a settled name, or the size of requests, left over."""
        while self._owed and not self._paused:
            under_way = self._owed[0]
            assert self._presence.identity is not None, "what is owed was handed over before"
            try:
                attempt = self._attempts.prepare(under_way.delivery, under_way.again, self._presence.identity)
            except (Transient, Refused) as error:
                if not isinstance(error, NotNow):
                    self._presence.stopped(error, now)
                with self._ledger.transaction():
                    self._ledger.deliveries.failed(
                        under_way.delivery, str(error), now, max(self._presence.look_at, now + _NOT_NOW)
                    )
                self._owed.pop(0)
                continue
            self._owed.pop(0)
            self._begin([attempt], now)

    # Reports

    def _gather(self, now: float) -> None:
        """Fetch the transport's reports."""
        try:
            self._unread += self._transport.reports(now)
        except (Transient, Refused) as error:
            self._presence.stopped(error, now)

    def _take(self, reports: Sequence[Report], now: float) -> None:
        known = [(report, self._under_way[report.task]) for report in reports if report.task in self._under_way]
        ended = [(report, under_way) for report, under_way in known if report.ended]
        again: list[UnderWay] = []
        finished: list[Delivery] = []
        over = {report.task for report, _ in ended}
        with self._ledger.transaction():
            self._ledger.deliveries.submitted([(one, task) for one, task in self._handed if task not in over], now)
            returned = self._outcomes.settle([(under_way, report.outcomes) for report, under_way in known], now)
            for report, under_way in known:
                if not report.ended and report.note != under_way.note:
                    self._held_up(under_way, report)
            for report, under_way in ended:
                if report.failure is not None:
                    later = now + backoff(under_way.delivery.attempt + 1, self._transport.retry_at_most)
                    self._ledger.deliveries.failed(under_way.delivery, report.failure, now, later)
                    continue
                under_way.again.update(self._left_over(under_way))
                if under_way.again:
                    again.append(under_way)
                else:
                    finished.append(under_way.delivery)
            self._finished(finished, now)
        self._handed.clear()
        for report, under_way in ended:
            self._metrics.requested(self._transport.name, "deliver", "failed" if report.failure else "ok")
            if report.failure is not None and report.alone:
                log.warning("delivery %d to %s: %s", under_way.delivery.id, self._transport.name, report.failure)
            del self._under_way[report.task]
        failure = next((one.failure for one, _ in ended if one.failure is not None and not one.alone), None)
        if failure is not None:
            self._presence.suspect, self._presence.doubtful = True, False
            self._presence.failed(failure, now)
        elif self._presence.doubtful and ended:
            self._presence.went_up(now)
        self._owed += again
        if returned:
            self._returned()

    def _finished(self, deliveries: Sequence[Delivery], now: float) -> None:
        """Ends these deliveries; what is to be done because a batch is verified by that is written down. In a transaction."""
        for batch in self._ledger.deliveries.finished(deliveries, now):
            self._owes = enqueue(self._ledger, self._rules, batch, self._host, now) or self._owes

    def _left_over(self, under_way: UnderWay) -> dict[int, Traveller]:
        """Files that a task told nothing of: where others wrote, any part of them may be there."""
        found = {number: under_way.travellers[number] for number in under_way.left}
        if not self._transport.elsewhere:
            return found
        return {
            number: one if number in under_way.later else replace(one, item=one.item._replace(begun=True))
            for number, one in found.items()
        }

    def _held_up(self, under_way: UnderWay, report: Report) -> None:
        """A task that others carry out waits for something, or goes on again. Inside a transaction."""
        under_way.note = report.note
        self._ledger.deliveries.held_up(under_way.delivery, report.note)
        if report.note is not None:
            log.warning("delivery %d to %s waits: %s", under_way.delivery.id, self._transport.name, report.note)
