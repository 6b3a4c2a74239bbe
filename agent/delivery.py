"""Batch → submission → task → verified, for one destination."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.errors import Refused, Transient
from agent.ledger import Delivery, DeliveryState, File, Ledger, Proof
from agent.transport import Arrived, Changed, Gone, Item, NotNow, Occupied, Outcome, Report, Transport, Unfit
from rules import destination
from rules.destination import Claim, PathRefused
from rules.model import STAT, Rule

_NOT_NOW = 30.0
"""Seconds until a request that had to wait for others is tried again."""
_LOOK_WHEN_REFUSED = 5.0
"""Seconds between two looks whether a person has acted."""
_RETRY_AT_MOST = 60.0
_RETRY = "`dropline retry`"
_SENT = (DeliveryState.SUBMITTING, DeliveryState.ACTIVE, DeliveryState.VERIFYING)

log = logging.getLogger(__name__)


def backoff(attempt: int, at_most: float = _RETRY_AT_MOST) -> float:
    """Seconds to wait after so many failures in a row."""
    return float(min(2.0 ** min(max(attempt - 1, 0), 30), at_most))


@dataclass(frozen=True, slots=True)
class _Traveller:
    """A file and where it goes."""

    file: File
    item: Item


@dataclass(slots=True)
class _UnderWay:
    """A delivery that the transport has taken, or is about to."""

    delivery: Delivery
    travellers: dict[int, _Traveller]
    again: dict[int, _Traveller] = field(default_factory=dict)
    """Files to send once more, under the name that was settled for them."""
    left: set[int] = field(default_factory=set)
    """Files that nothing was told of yet."""
    later: set[int] = field(default_factory=set)
    """Those of them that are not in the request."""
    note: str | None = None
    """What holds it up."""

    def __post_init__(self) -> None:
        self.left.update(self.travellers)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What is about to be sent, and what is known already."""

    under_way: _UnderWay
    request: bytes
    outcomes: Sequence[Outcome] = ()
    unfit: Sequence[tuple[File, str]] = ()
    """Files for which no path can be made, with the reason."""
    resumed: bool = False
    """A former run, or a pass that got no answer, may have sent it."""


class Requests(Protocol):
    """What counts requests: `agent.metrics.Metrics`."""

    def requested(self, destination: str, operation: str, outcome: str) -> None: ...

    def resubmitted(self, destination: str, result: str) -> None: ...


class Courier:
    """Brings batches to one destination and writes down what came of it."""

    def __init__(
        self, ledger: Ledger, transport: Transport, place: int, rules: Sequence[Rule], host: str,
        metrics: Requests, returned: Callable[[], None], chance: Callable[[], float] = random.random,
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
            chance: a number from 0 to 1, so that many agents do not come back at the same moment.
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
        self._chance = chance
        self._identity: str | None = None
        self._up: bool | None = None
        self._doubtful = False
        """It is there, but the last delivery failed: one at a time until one succeeds."""
        self._suspect = False
        """It went down because a delivery failed, not because it was away."""
        self._failures = 0
        self._look_at = 0.0
        self._under_way: dict[str, _UnderWay] = {}
        self.refusal: str | None = None
        """Why nothing goes there until a person acts."""
        self._unread: list[Report] = []
        """Reports that are not written down yet: kept while the ledger cannot be written."""
        self._owed: list[_UnderWay] = []
        """Deliveries of which a part, in `again`, is to be sent next."""

    def start(self, now: float) -> None:
        """Before the first pass: what a former run left under way is sent again."""
        self._identity = self._ledger.deliveries.place(self._transport.name, self._transport.address).identity
        self._ledger.deliveries.interrupted(self._place, now)

    def step(self, now: float) -> float | None:
        """One whole pass: take in what the transport reports, then hand over what is due."""
        self._gather(now)
        if self._unread:
            self._take(self._unread, now)
            self._unread.clear()
            self._send_owed(now)
        if now >= self._look_at:
            self._look(now)
        again = [self._look_at, self._transport.due()]
        if self._up or self._doubtful:
            room = (1 if self._doubtful else self._transport.outstanding) - len(self._under_way)
            if room > 0:
                self._send(self._ledger.deliveries.due(self._place, now, room), now)
                self._send_owed(now)
            next_due = self._ledger.deliveries.next_due(self._place)
            if next_due is not None and next_due > now:  # else woken by the transport when there is room again
                again.append(next_due)
        return min(at for at in again if at is not None)

    @property
    def waiting(self) -> bool:
        """Whether something of ours is under way that may end without a person, or a lost destination that comes back."""
        if self._transport.elsewhere and (self.down or all(one.note for one in self._under_way.values())):
            return False
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
        except (Transient, Refused) as error:
            self._metrics.requested(self._transport.name, "check", "failed")
            self._doubtful = False
            self._stopped(error, now)
            return
        self._metrics.requested(self._transport.name, "check", "ok")
        self._look_at = now + self._transport.check_every
        if self._failures and self._up is False and self._suspect:
            self._doubtful = True
        else:
            self._went_up()

    def _went_up(self) -> None:
        self._failures, self._doubtful, self._suspect, self.refusal = 0, False, False, None
        if self._up is not True:
            self._up = True
            log.info("destination %s is up", self._transport.name)
            with self._ledger.transaction():
                self._ledger.deliveries.went(self._place, True, None)

    def _stopped(self, error: Transient | Refused, now: float) -> None:
        """Nothing goes there for now: it is away, or a person must act."""
        if isinstance(error, Refused):
            self._refused(str(error), now)
        else:
            self._down(str(error), now, error.after)

    def _refused(self, reason: str, now: float) -> None:
        if self.refusal != reason:
            log.error("destination %s is refused: %s", self._transport.name, reason)
        self.refusal, self._up, self._doubtful = reason, False, False
        self._look_at = now + _LOOK_WHEN_REFUSED
        with self._ledger.transaction():
            self._ledger.deliveries.went(self._place, False, reason, refused=True)

    def _down(self, reason: str, now: float, after: float = 0.0) -> None:
        self._failures += 1
        wait = max(backoff(self._failures, self._transport.retry_at_most), after)
        # Many agents lost the same service: what they ask when it is back must not come all at once.
        self._look_at = now + wait * (1.0 + self._chance() / 4 if self._transport.elsewhere else 1.0)
        if self._up is not False or self.refusal is not None:
            log.error(
                "destination %s is down: %s; nothing is written there or deleted here", self._transport.name, reason
            )
        self._up, self.refusal = False, None
        with self._ledger.transaction():
            self._ledger.deliveries.went(self._place, False, reason)

    # Sending

    def _send(self, due: Sequence[Delivery], now: float) -> None:
        """Prepare what will be sent, and send it."""
        if not due or self._identity is None:
            return
        # What others carry out is prepared and sent one by one: each must know what is on its way.
        left = list(due)
        for some in [[delivery] for delivery in due] if self._transport.elsewhere else [due]:
            attempts: list[_Attempt] = []
            try:
                for delivery in some:
                    try:
                        attempts.append(self._attempt(delivery, self._identity))
                    except NotNow as error:
                        with self._ledger.transaction():
                            self._ledger.deliveries.failed(delivery, str(error), now, now + _NOT_NOW)
            except (Transient, Refused) as error:
                self._stopped(error, now)
                with self._ledger.transaction():
                    for delivery in left:
                        self._not_sent(delivery, str(error), now)
                return
            del left[: len(some)]
            self._begin(attempts, now)
            if not (self._up or self._doubtful):
                return

    def _not_sent(self, delivery: Delivery, reason: str, now: float) -> None:
        """It could not be prepared. What a former run may have sent stays what it is."""
        if delivery.request and delivery.state in _SENT:
            self._ledger.deliveries.unanswered(delivery, reason, now, self._look_at)
        else:
            self._ledger.deliveries.failed(delivery, reason, now, self._look_at)

    def _attempt(self, delivery: Delivery, identity: str) -> _Attempt:
        """What to send for a delivery: what may have been sent before, or a new request. Raises Transient, Refused."""
        intents: dict[int, str] = {}
        resumed = delivery.request is not None and delivery.state in _SENT
        if resumed or self._transport.elsewhere:
            intents = self._ledger.deliveries.intents(delivery, self._place)
        travellers: dict[int, _Traveller] = {}
        unfit: list[tuple[File, str]] = []
        for file in self._ledger.deliveries.travellers(delivery, self._place):
            try:
                item = self._item(file)
            except PathRefused as error:
                unfit.append((file, f"{error}; change the rule's `path`, then {_RETRY}"))
                continue
            intended = intents.get(file.id)
            if resumed and intended is not None:
                item = item._replace(path=intended)  # it may go under a name of its own
            begun = self._transport.elsewhere and intended == item.path
            travellers[file.id] = _Traveller(file, item._replace(begun=True) if begun else item)
        if resumed and delivery.request is not None:
            # What has no intent was not sent.
            later = travellers.keys() - intents.keys()
            return _Attempt(_UnderWay(delivery, travellers, later=later), delivery.request, (), unfit, resumed=True)
        return self._prepare(delivery, travellers, identity, unfit)

    def _prepare(
        self, delivery: Delivery, travellers: dict[int, _Traveller], identity: str,
        unfit: Sequence[tuple[File, str]] = (),
    ) -> _Attempt:  # fmt: skip
        items = [one.item for one in travellers.values()]
        busy: set[int] = set()
        if self._transport.elsewhere:
            # Two tasks that write one file at the same time spoil it.
            busy = {item.file for item in items if self._ledger.deliveries.busy(self._place, item.path, item.file)}
            if busy and len(busy) == len(items):
                raise NotNow(f"at {self._transport.name}, other files are on their way to the same names")
        free = [item for item in items if item.file not in busy]
        request, outcomes, later = self._transport.prepare(delivery.id, delivery.batch, free, identity)
        under_way = _UnderWay(delivery, travellers, later=busy.union(later))
        return _Attempt(under_way, request, outcomes, unfit)

    def _begin(self, attempts: Sequence[_Attempt], now: float) -> None:
        """Write down what will be sent, send it, write down that it was sent."""
        deliveries = self._ledger.deliveries
        leftovers: list[tuple[int, str]] = []
        with self._ledger.transaction():
            ready: list[_Attempt] = []
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
            with self._ledger.transaction():
                deliveries.submitted(tasks, now)
                if self._transport.elsewhere:
                    deliveries.began(tasks, now)
                for delivery, reason in waits:
                    deliveries.unanswered(delivery, reason, now, now + _NOT_NOW)
        except (Transient, Refused) as error:
            self._stopped(error, now)
            taken = {id(one) for one in self._under_way.values()}
            with self._ledger.transaction():
                for attempt in ready:
                    if id(attempt.under_way) not in taken:
                        deliveries.unanswered(attempt.under_way.delivery, str(error), now, self._look_at)

    def _freeze(self, attempt: _Attempt, now: float) -> bool:
        """Write down the request before it is sent, and what need not be sent. Returns whether there is something to send.

        Inside a transaction.
        """
        under_way, deliveries = attempt.under_way, self._ledger.deliveries
        for file, reason in attempt.unfit:
            self._refuse(file, reason)
        settled = under_way.later | {one.file for one in attempt.outcomes if not isinstance(one, Arrived)}
        deliveries.planned(
            self._place,
            ((number, one.item.path) for number, one in under_way.travellers.items() if number not in settled),
        )
        if attempt.outcomes:
            self._settle(under_way, attempt.outcomes, now)
            if not under_way.left:
                if not under_way.again:
                    deliveries.finished([under_way.delivery], now)
                return False
        deliveries.submitting(under_way.delivery, attempt.request, now)
        return True

    def _hand_over(self, attempt: _Attempt) -> str:
        assert self._identity is not None, "nothing is sent before it is set up"
        under_way = attempt.under_way
        items = [one.item for number, one in under_way.travellers.items() if number in under_way.left]
        former = (
            under_way.delivery.task if under_way.delivery.state is DeliveryState.ACTIVE and attempt.resumed else None
        )
        task, how = self._transport.submit(attempt.request, items, self._identity, former)
        if attempt.resumed:
            self._metrics.resubmitted(self._transport.name, how)
        self._under_way[task] = under_way
        return task

    def _send_owed(self, now: float) -> None:
        """Send what a settled name, or the size of requests, left over."""
        while self._owed:
            under_way = self._owed[0]
            assert self._identity is not None, "what is owed was handed over before"
            try:
                attempt = self._prepare(under_way.delivery, under_way.again, self._identity)
            except (Transient, Refused) as error:
                if not isinstance(error, NotNow):
                    self._stopped(error, now)
                with self._ledger.transaction():
                    self._ledger.deliveries.failed(
                        under_way.delivery, str(error), now, max(self._look_at, now + _NOT_NOW)
                    )
                self._owed.pop(0)
                continue
            self._owed.pop(0)
            self._begin([attempt], now)

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

    def _gather(self, now: float) -> None:
        """Fetch the transport's reports."""
        try:
            self._unread += self._transport.reports(now)
        except (Transient, Refused) as error:
            self._stopped(error, now)

    def _take(self, reports: Sequence[Report], now: float) -> None:
        known = [(report, self._under_way[report.task]) for report in reports if report.task in self._under_way]
        ended = [(report, under_way) for report, under_way in known if report.ended]
        returned = False
        again: list[_UnderWay] = []
        finished: list[Delivery] = []
        with self._ledger.transaction():
            for report, under_way in known:
                returned = self._settle(under_way, report.outcomes, now) or returned
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
            self._ledger.deliveries.finished(finished, now)
        for report, under_way in ended:
            self._metrics.requested(self._transport.name, "deliver", "failed" if report.failure else "ok")
            if report.failure is not None and report.alone:
                log.warning("delivery %d to %s: %s", under_way.delivery.id, self._transport.name, report.failure)
            del self._under_way[report.task]
        failure = next((one.failure for one, _ in ended if one.failure is not None and not one.alone), None)
        if failure is not None:
            self._suspect, self._doubtful = True, False
            self._down(failure, now)
        elif self._doubtful and ended:
            self._went_up()
        self._owed += again
        if returned:
            self._returned()

    def _left_over(self, under_way: _UnderWay) -> dict[int, _Traveller]:
        """Files that a task told nothing of: where others wrote, any part of them may be there."""
        found = {number: under_way.travellers[number] for number in under_way.left}
        if not self._transport.elsewhere:
            return found
        return {
            number: one if number in under_way.later else _Traveller(one.file, one.item._replace(begun=True))
            for number, one in found.items()
        }

    def _held_up(self, under_way: _UnderWay, report: Report) -> None:
        """A task that others carry out waits for something, or goes on again. Inside a transaction."""
        under_way.note = report.note
        self._ledger.deliveries.held_up(under_way.delivery, report.note)
        if report.note is not None:
            log.warning("delivery %d to %s waits: %s", under_way.delivery.id, self._transport.name, report.note)

    def _settle(self, under_way: _UnderWay, outcomes: Sequence[Outcome], now: float) -> bool:
        """Write down what became of files. Returns whether some became candidates again. Inside a transaction."""
        outcomes = (
            [self._doubted(under_way, outcome) for outcome in outcomes] if self._transport.elsewhere else outcomes
        )
        under_way.left.difference_update(outcome.file for outcome in outcomes)
        self._proved(under_way, outcomes, now)
        return self._others(under_way, outcomes, now)

    def _doubted(self, under_way: _UnderWay, outcome: Outcome) -> Outcome:
        """Equal size and mtime adopt what a lost ledger may have brought, but no other version that this one did bring."""
        if not isinstance(outcome, Arrived) or not outcome.adopted or outcome.algorithm != STAT:
            return outcome
        one = under_way.travellers[outcome.file]
        owners = self._ledger.deliveries.owners(self._place, one.item.path, one.file)
        return Occupied(outcome.file, outcome.checksum) if owners else outcome

    def _proved(self, under_way: _UnderWay, outcomes: Sequence[Outcome], now: float) -> None:
        proofs = []
        for outcome in outcomes:
            if isinstance(outcome, Arrived):
                one = under_way.travellers[outcome.file]
                how = "adopted" if outcome.adopted else "accepted"
                proofs.append(Proof(one.file, one.item.path, outcome.checksum, outcome.algorithm, how))
        if proofs:
            self._ledger.deliveries.proved(self._place, self._transport.name, proofs, now)

    def _others(self, under_way: _UnderWay, outcomes: Sequence[Outcome], now: float) -> bool:
        """What did not arrive. Returns whether files became candidates again."""
        others = [outcome for outcome in outcomes if not isinstance(outcome, Arrived)]
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
                case Occupied(content=content):
                    self._occupied(under_way, one, content)
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
