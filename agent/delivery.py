"""Batch → submission → task → verified, for one destination."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.errors import Transient
from agent.ledger import Delivery, DeliveryState, File, Ledger, Proof
from agent.transport import Arrived, Changed, Gone, Item, Occupied, Report, Transport, Unfit
from rules import destination
from rules.destination import Claim, PathRefused
from rules.model import Rule

CHECK_EVERY = 30.0
"""Seconds between two looks whether an idle destination is still there."""
_RETRY_AT_MOST = 60.0
_RETRY = "`dropline retry`"
_SENT = (DeliveryState.SUBMITTING, DeliveryState.ACTIVE, DeliveryState.VERIFYING)

log = logging.getLogger(__name__)


def backoff(attempt: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(2.0 ** max(attempt - 1, 0), _RETRY_AT_MOST)


@dataclass(frozen=True, slots=True)
class _Traveller:
    """A file and where it goes."""

    file: File
    item: Item


@dataclass(slots=True)
class _UnderWay:
    """A delivery that the transport has taken."""

    delivery: Delivery
    travellers: dict[int, _Traveller]
    again: dict[int, _Traveller] = field(default_factory=dict)
    """Files to send once more, under the name that was settled for them."""


class Requests(Protocol):
    """What counts requests: `agent.metrics.Metrics`."""

    def requested(self, destination: str, operation: str, outcome: str) -> None: ...

    def resubmitted(self, destination: str) -> None: ...


class Courier:
    """Brings batches to one destination and writes down what came of it."""

    def __init__(
        self, ledger: Ledger, transport: Transport, place: int, rules: Sequence[Rule], host: str,
        metrics: Requests, returned: Callable[[], None],
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
        """
        self._ledger = ledger
        self._transport = transport
        self._place = place
        self._rules: Mapping[str, Rule] = {rule.name: rule for rule in rules}
        self._templates = {
            rule.name: target.path for rule in rules for target in reversed(rule.deliver) if target.to == transport.name
        }
        self._host = host
        self._metrics = metrics
        self._returned = returned
        self._identity: str | None = None
        self._up: bool | None = None
        self._doubtful = False
        """It is there, but the last delivery failed: one at a time until one succeeds."""
        self._suspect = False
        """It went down because a delivery failed, not because it was away."""
        self._failures = 0
        self._look_at = 0.0
        self._under_way: dict[str, _UnderWay] = {}
        self._unread: list[Report] = []
        """Reports that are not written down yet: kept while the ledger cannot be written."""

    def start(self, now: float) -> None:
        """Before the first pass: what a former run left under way is sent again."""
        self._identity = self._ledger.deliveries.place(self._transport.name, self._transport.address).identity
        self._ledger.deliveries.interrupted(self._place, now)

    def step(self, now: float) -> float | None:
        """One whole pass: take in what the transport reports, then hand over what is due."""
        self._unread += self._transport.reports()
        if self._unread:
            self._take(self._unread, now)
            self._unread.clear()
        if now >= self._look_at:
            self._look(now)
        if not (self._up or self._doubtful):
            return self._look_at
        room = (1 if self._doubtful else self._transport.outstanding) - len(self._under_way)
        if room > 0:
            self._send(self._ledger.deliveries.due(self._place, now, room), now)
        next_due = self._ledger.deliveries.next_due(self._place)
        if next_due is None or next_due <= now:
            return self._look_at  # woken by the transport when there is room again
        return min(next_due, self._look_at)

    @property
    def under_way(self) -> bool:
        """Whether the transport has something of ours."""
        return bool(self._under_way)

    @property
    def down(self) -> bool:
        """Whether the destination cannot be written to."""
        return self._up is False

    def ready(self, now: float) -> bool:
        """Whether the next pass will send something."""
        due = self._ledger.deliveries.next_due(self._place)
        return bool(self._up or self._doubtful) and due is not None and due <= now

    # Is it there?

    def _look(self, now: float) -> None:
        try:
            if self._identity is None:
                self._identity = self._transport.set_up()
                with self._ledger.transaction():
                    self._ledger.deliveries.set_up(self._place, self._identity)
            self._transport.check(self._identity)
        except Transient as error:
            self._metrics.requested(self._transport.name, "check", "failed")
            self._doubtful = False
            self._down(str(error), now)
            return
        self._metrics.requested(self._transport.name, "check", "ok")
        self._look_at = now + CHECK_EVERY
        if self._failures and self._up is False and self._suspect:
            self._doubtful = True
        else:
            self._went_up()

    def _went_up(self) -> None:
        self._failures, self._doubtful, self._suspect = 0, False, False
        if self._up is not True:
            self._up = True
            log.info("destination %s is up", self._transport.name)
            with self._ledger.transaction():
                self._ledger.deliveries.went(self._place, True, None)

    def _down(self, reason: str, now: float) -> None:
        self._failures += 1
        self._look_at = now + backoff(self._failures)
        if self._up is not False:
            log.error(
                "destination %s is down: %s; nothing is written there or deleted here", self._transport.name, reason
            )
        self._up = False
        with self._ledger.transaction():
            self._ledger.deliveries.went(self._place, False, reason)

    # Sending

    def _send(self, due: Sequence[Delivery], now: float) -> None:
        """Write down what will be sent, send it, write down that it was sent."""
        if not due or self._identity is None:
            return
        deliveries = self._ledger.deliveries
        ready: list[tuple[Delivery, bytes, dict[int, _Traveller]]] = []
        leftovers: list[tuple[int, str]] = []
        try:
            with self._ledger.transaction():
                for delivery in due:
                    travellers = self._plan(delivery)
                    ready.append((delivery, self._freeze(delivery, travellers, now), travellers))
                    if delivery.state is not DeliveryState.PENDING:  # else it was never tried: nothing can be left over
                        leftovers += deliveries.leftovers(delivery, self._place)
            if leftovers:
                self._transport.discard(leftovers)
            tasks = [
                (delivery, self._hand_over(delivery, request, travellers, self._identity))
                for delivery, request, travellers in ready
            ]
            with self._ledger.transaction():
                deliveries.submitted(tasks, now)
        except Transient as error:
            self._down(str(error), now)
            with self._ledger.transaction():
                for delivery, _, _ in ready:
                    if str(delivery.id) not in self._under_way:
                        deliveries.failed(delivery, str(error), now, self._look_at)

    def _freeze(self, delivery: Delivery, travellers: dict[int, _Traveller], now: float) -> bytes:
        """Write down the request, before it is sent. Inside a transaction."""
        deliveries = self._ledger.deliveries
        deliveries.planned(self._place, ((number, one.item.path) for number, one in travellers.items()))
        request = self._transport.prepare(delivery.id, [one.item for one in travellers.values()])
        if delivery.request is not None and delivery.state in _SENT:
            request = delivery.request  # a former run may have sent it: send the very same
            self._metrics.resubmitted(self._transport.name)
        deliveries.submitting(delivery, request, now)
        return request

    def _hand_over(self, delivery: Delivery, request: bytes, travellers: dict[int, _Traveller], identity: str) -> str:
        task = self._transport.submit(request, [one.item for one in travellers.values()], identity)
        self._under_way[task] = _UnderWay(delivery, travellers)
        return task

    def _plan(self, delivery: Delivery) -> dict[int, _Traveller]:
        """Where each file of the batch goes; files whose path cannot be made are refused alone."""
        travellers: dict[int, _Traveller] = {}
        for file in self._ledger.deliveries.travellers(delivery, self._place):
            try:
                travellers[file.id] = _Traveller(file, self._item(file))
            except PathRefused as error:
                self._ledger.files.refused(
                    [(file.id, file.rule, file.path, f"{error}; change the rule's `path`, then {_RETRY}")]
                )
        return travellers

    def _item(self, file: File) -> Item:
        rule = self._rules.get(file.rule)
        if rule is None:
            raise PathRefused(f"rule {file.rule!r} is not configured any more")
        template = self._templates.get(file.rule)
        if template is None:
            raise PathRefused(f"rule {rule.name!r} does not deliver to {self._transport.name} any more")
        relpath = file.path[len(rule.watch.rstrip("/")) + 1 :]
        path = destination.place(template, rule, relpath, file.version.mtime_ns, self._host)
        return Item(file.id, rule.watch, relpath, file.version, path)

    # Reports

    def _take(self, reports: Sequence[Report], now: float) -> None:
        known = [(report, self._under_way[report.task]) for report in reports if report.task in self._under_way]
        ended = [(report, under_way) for report, under_way in known if report.ended]
        returned = False
        again: list[tuple[_UnderWay, bytes]] = []
        finished: list[Delivery] = []
        with self._ledger.transaction():
            for report, under_way in known:
                self._proved(under_way, report, now)
                returned = self._others(under_way, report, now) or returned
            for report, under_way in ended:
                if report.failure is not None:
                    later = now + backoff(under_way.delivery.attempt + 1)
                    self._ledger.deliveries.failed(under_way.delivery, report.failure, now, later)
                elif under_way.again:
                    again.append((under_way, self._freeze(under_way.delivery, under_way.again, now)))
                else:
                    finished.append(under_way.delivery)
            self._ledger.deliveries.finished(finished, now)
        for report, _ in ended:
            self._metrics.requested(self._transport.name, "deliver", "failed" if report.failure else "ok")
            del self._under_way[report.task]
        failure = next((report.failure for report, _ in ended if report.failure is not None), None)
        if failure is not None:
            self._suspect, self._doubtful = True, False
            self._down(failure, now)
        elif self._doubtful and ended:
            self._went_up()
        assert self._identity is not None, "reports come of what was handed over"
        for under_way, request in again:
            self._hand_over(under_way.delivery, request, under_way.again, self._identity)
        if returned:
            self._returned()

    def _proved(self, under_way: _UnderWay, report: Report, now: float) -> None:
        proofs = []
        for outcome in report.outcomes:
            if isinstance(outcome, Arrived):
                one = under_way.travellers[outcome.file]
                how = "adopted" if outcome.adopted else "accepted"
                proofs.append(Proof(one.file, one.item.path, outcome.checksum, outcome.algorithm, how))
        if proofs:
            self._ledger.deliveries.proved(self._place, self._transport.name, proofs, now)

    def _others(self, under_way: _UnderWay, report: Report, now: float) -> bool:
        """What did not arrive. Returns whether files became candidates again."""
        others = [outcome for outcome in report.outcomes if not isinstance(outcome, Arrived)]
        if not others:
            return False
        still = self._ledger.files.batched([outcome.file for outcome in others])
        back: list[tuple[File, str]] = []
        for outcome in others:
            if outcome.file not in still:
                continue  # superseded meanwhile: its newer version has a way of its own
            one = under_way.travellers[outcome.file]
            match outcome:
                case Changed(reason=reason):
                    back.append((one.file, reason))
                case Gone():
                    back.append((one.file, "it was not there when it was to be delivered"))
                case Unfit(reason=reason, hint=hint):
                    self._refuse(one.file, f"{reason}; {hint}")
                case Occupied(checksum=checksum):
                    self._occupied(under_way, one, checksum)
        self._ledger.files.put_back(back, now)
        return bool(back)

    def _refuse(self, file: File, reason: str) -> None:
        self._ledger.files.refused([(file.id, file.rule, file.path, reason)])

    def _occupied(self, under_way: _UnderWay, one: _Traveller, occupant: bytes) -> None:
        """Other content has the name: replace it, take a name of its own, or refuse."""
        owners = self._ledger.deliveries.owners(self._place, one.item.path, one.file)
        what, reason = destination.claim(one.item.path, occupant, owners)
        if what is Claim.REFUSE:
            hint = f"rename one of the two, or change the rule's `path`, then {_RETRY}"
            self._refuse(one.file, f"at {self._transport.name}, {reason}; {hint}")
            return
        if what is Claim.REPLACE:
            item = one.item._replace(replaces=occupant)
        else:
            former = self._ledger.deliveries.former_copy(self._place, one.file)
            path, replaces = former or (destination.own_name(one.item.path, one.file.generation), None)
            if path == one.item.path:
                self._refuse(
                    one.file, f"at {self._transport.name}, {path!r} changed by itself; look at it, then {_RETRY}"
                )
                return
            item = one.item._replace(path=path, replaces=replaces)
            log.warning("%s goes to %s as %r: %s", one.file.path, self._transport.name, path, reason)
        under_way.again[one.file.id] = _Traveller(one.file, item)
