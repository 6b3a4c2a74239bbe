"""Batch → request → task → verified, for one destination."""

import logging
import math
import random as chance
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from agent.delivery.actions import enqueue
from agent.delivery.arrivals import Arrivals
from agent.delivery.dataset_folders import DatasetFolders
from agent.delivery.health import Counter, DestinationHealth
from agent.delivery.in_flight import InFlightFile, Submission
from agent.delivery.link_copies import LinkCopies
from agent.delivery.outcomes import Outcomes
from agent.delivery.requests import Request, Requests
from agent.destinations import Arrived, Busy, Changed, Gone, Report, Transport
from agent.errors import Refused, Transient
from agent.host.bulkhead import Bulkhead, Failure
from agent.ledger import Delivery, DeliveryState, Ledger
from rules.batch import together
from rules.health import Condition
from rules.retry import backoff
from rules.rule import Rule

_WAIT_FOR_OTHERS = 30.0
"""Seconds until a request that had to wait for others is tried again."""
_WRITE_WITHIN = 1.0
"""Seconds until it is written down at the latest that threads of the agent have a request."""
_LIGHT = 32 * 2**20
"""Bytes of a batch that is soon done."""
_ASK_AFTER, _ASK_AGAIN = 20, 2.0
"""Which closing batches are due is asked again after so many times as asking took; with nothing else to do, after seconds."""
_GIANT = 2**35
"""Bytes of a batch that takes hours: these have a quarter of the room at the most."""
_DUE_AT_ONCE = 4096
"""Deliveries that are looked at in one pass, to find those that share a request."""

log = logging.getLogger(__name__)


_Reported = tuple[Report, Submission]


class Deliverer:
    """Brings batches to one destination and writes down what became of them.

    It owns what is in flight: a delivery that has not ended is due in the ledger, or in one submission here, never both
    and never neither. What one process has in its submissions is due again for the next.
    """

    def __init__(
        self, ledger: Ledger, transport: Transport, destination: int, rules: Sequence[Rule], host: str,
        counter: Counter, on_candidates: Callable[[], None], on_actions: Callable[[], None],
        random: Callable[[], float] = chance.random, former: Mapping[int, str] = MappingProxyType({}),
        arrivals: Arrivals | None = None,
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            transport: the way there.
            destination: its number in the ledger.
            rules: in the order of the configuration.
            host: this computer's name, for templates.
            counter: counts requests and resubmissions.
            on_candidates: called when files became candidates again.
            on_actions: called when a verified batch queued an action.
            random: a number from 0 to 1, so that many agents do not come back at the same moment.
            former: the destinations before this one in the configuration, which must all differ: number → name.
            arrivals: the record of what arrived, where files are taken away; None: they stay.
        """
        self._ledger = ledger
        self._transport = transport
        self._destination = destination
        self._rules: Mapping[str, Rule] = {rule.name: rule for rule in rules}
        self._host = host
        self._counter = counter
        self._arrivals = arrivals
        self._on_candidates = on_candidates
        self._on_actions = on_actions
        self._health = DestinationHealth(ledger, transport, destination, counter, random, former)
        self._health.beside = _beside(transport.name, rules)
        self._outcomes = Outcomes(ledger, transport, destination, self._rules, arrivals)
        self._requests = Requests(ledger, transport, destination, rules, host, arrivals)
        self._link_copies = self._copies_of_links()
        self._folders = DatasetFolders(ledger, transport.name, destination, self._rules, self._requests)
        self._in_flight: dict[str, Submission] = {}
        """By task."""
        self._reports: list[Report] = []
        """Not written down yet: kept while the ledger cannot be written."""
        self._written: list[Request] = []
        """Written down, and to be sent now."""
        self._accepted: list[tuple[Submission, str]] = []
        """Sent since the last transaction, with the task."""
        self._unanswered: list[tuple[Submission, str, float]] = []
        """Maybe sent since the last transaction, with the reason, and when to send again."""
        self._follow_ups: list[Submission] = []
        """To be sent next; their deliveries are not due."""
        self._paused = False
        self._actions_queued = False
        self._follow_at = -math.inf
        """When to ask again which closing batches are due."""
        self._not_asked = False
        self._due_requests = Bulkhead[Sequence[Delivery]]("request", _named, through=(Transient, Refused))
        self._made_requests = Bulkhead[Request](
            "request", lambda one: _named(one.submission.deliveries), ledger.savepoint
        )
        self._requests_to_send = Bulkhead[Request](
            "request", lambda one: _named(one.submission.deliveries), through=(Transient, Refused)
        )
        self._former = Bulkhead[Submission]("request", lambda one: _named(one.deliveries))
        self._reported = Bulkhead[_Reported]("request", lambda one: _named(one[1].deliveries), ledger.savepoint)
        self._planned = Bulkhead[InFlightFile]("file", lambda one: one.file.path, ledger.savepoint)
        self._finished = Bulkhead[Delivery]("delivery", lambda one: _named([one]), ledger.savepoint)

    def start(self, now: float) -> None:
        """Before the first pass: what a former run left in flight is sent again."""
        known = self._ledger.destinations.place(self._transport.name, self._transport.address)
        self._health.identity = known.identity
        self._ledger.deliveries.interrupted(self._destination, now)

    def follow(self, rules: Sequence[Rule], former: Mapping[int, str]) -> None:
        """Other rules, which send the same files here: what is in flight goes on. From any thread.

        `former`: as at construction.
        """
        self._rules = {rule.name: rule for rule in rules}
        self._requests = Requests(self._ledger, self._transport, self._destination, rules, self._host, self._arrivals)
        self._outcomes = Outcomes(self._ledger, self._transport, self._destination, self._rules, self._arrivals)
        self._link_copies = self._copies_of_links()
        self._health.former, self._health.beside = former, _beside(self._transport.name, rules)

    def step(self, now: float) -> float | None:
        """One whole pass: take the transport's reports, then send what is due. Returns when the next is due."""
        self._collect_reports(now)
        self._follow_pause()
        if self._reports:
            self._write_reports(self._reports, now)
            self._send_follow_ups(now)
        elif self._accepted or self._unanswered:
            self._write_answers(now)
        if now >= self._health.now.check_at:
            idle = not self.submissions and self._ledger.deliveries.next_due(self._destination) is None
            self._health.check(now, idle=idle)
        again: list[float | None] = []
        if self._sends:
            self._hand_over(now)  # what could not be, for the ledger could not be written
            again.append(now if self._copy_links(now) else self._follow(now))
        if self._sends:
            self._send(self._due(now), now)
            self._send_follow_ups(now)
            next_due = self._ledger.deliveries.next_due(self._destination)
            if next_due is not None and next_due > now:  # else the transport wakes us when there is room again
                again.append(next_due)
        written_by = now + _WRITE_WITHIN if self._accepted else None
        again += [self._health.now.check_at, self._transport.due(), written_by]
        if self._actions_queued:  # and committed by now
            self._actions_queued = False
            self._on_actions()
        return min(at for at in again if at is not None)

    @property
    def waiting(self) -> bool:
        """Whether something in flight may end without a person, or a lost destination that comes back."""
        if self._paused or (self._transport.is_service and self.down):
            return False
        return self._not_asked or any(one.note is None for one in self._in_flight.values())

    @property
    def down(self) -> bool:
        """Whether the destination does not take all that is due."""
        return self._health.now.condition not in (None, Condition.UP)

    @property
    def refusal(self) -> str | None:
        """Why nothing goes there until a person acts."""
        return self._health.now.reason if self._health.now.condition is Condition.REFUSED else None

    @property
    def away(self) -> str | None:
        """Why the destination is down, where it may be up again without a person."""
        return None if self._health.now.condition is Condition.REFUSED else self._health.now.reason

    @property
    def submissions(self) -> list[Submission]:
        """All that it owns: in flight, or to be sent next."""
        to_send = [request.submission for request in self._written]
        unanswered = [submission for submission, _, _ in self._unanswered]
        return [*self._in_flight.values(), *to_send, *unanswered, *self._follow_ups]

    def ready(self, now: float) -> bool:
        """Whether the next pass sends something."""
        due = self._ledger.deliveries.next_due(self._destination)
        return self._sends and ((due is not None and due <= now) or bool(self._link_copies.due()))

    @property
    def _sends(self) -> bool:
        return self._health.now.sends and not self._paused

    def _follow_pause(self) -> None:
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

    def _copies_of_links(self) -> LinkCopies:
        made = self._requests
        return LinkCopies(self._ledger, self._transport, self._destination, made.link, made.copy_links)

    def _copy_links(self, now: float) -> bool:
        """Make links beside the data that is there, before the markers go. Returns whether there are more."""
        if self._health.identity is None:
            return False
        try:
            return self._link_copies.step(self._health.identity, now)
        except (Transient, Refused) as error:
            self._health.stopped(error, now)
            return False

    def _follow(self, now: float) -> float | None:
        """Closing batches are due when the other files of their datasets are there. Returns when to ask again, if any wait."""
        self._not_asked = now < self._follow_at
        if self._not_asked:
            return self._follow_at
        began, waiting = time.monotonic(), 0
        if self._ledger.deliveries.closing(self._destination):
            with self._ledger.transaction():
                waiting = self._ledger.deliveries.followed(self._destination, now)
        self._follow_at = now + _ASK_AFTER * (time.monotonic() - began) if waiting else -math.inf
        return now + _ASK_AGAIN if waiting else None

    # Sending

    def _due(self, now: float) -> list[list[Delivery]]:
        """What is due and has room: the deliveries of each request."""
        room = self._transport.outstanding - len(self._in_flight)
        on_probation = self._health.now.condition is Condition.PROBATION
        if room <= 0 or (on_probation and self._in_flight):
            return []
        if on_probation:
            room = 1
        if self._transport.task_files:
            due = self._ledger.deliveries.due(self._destination, now, _DUE_AT_ONCE)
            found = together(due, self._transport.task_files, self._transport.task_bytes)[:room]
            return [self._ledger.deliveries.resumed_with(one[0]) if one[0].resumed else one for one in found]
        due = self._ledger.deliveries.due(self._destination, now, 1) if on_probation else self._by_size(room, now)
        return [[delivery] for delivery in due]

    def _by_size(self, room: int, now: float) -> list[Delivery]:
        """A quarter of the room is for light batches, which are not to wait until heavy ones end; giants have another."""
        due, kept = self._ledger.deliveries.due, self._transport.outstanding // 4
        giants = max(kept, 1) - sum(one.bytes > _GIANT for one in self._in_flight.values())
        found = due(self._destination, now, max(min(giants, room - kept), 0), least=_GIANT + 1)
        found += due(self._destination, now, max(room - kept - len(found), 0), _GIANT)
        if len(found) < room - kept:
            return found  # there is no more
        light = [one for one in due(self._destination, now, room, _LIGHT) if one not in found]
        return found + light[: room - len(found)]

    def _send(self, due: Sequence[Sequence[Delivery]], now: float) -> None:
        """Make requests and send them."""
        identity = self._health.identity
        if not due or identity is None:
            return
        left = [delivery for some in due for delivery in some]
        # Each request to a service is made when those before it are sent: it must know what is on its way.
        for several in [[some] for some in due] if self._transport.is_service else [due]:
            requests: list[Request] = []
            self._folders.decide([one for some in several for one in some])
            try:
                for one in self._due_requests.each(
                    several, now, lambda some, failure: self._not_made(some, failure.reason, now, failure.again)
                ):
                    with one as some:
                        try:
                            requests.append(self._requests.of(some, identity))
                        except Busy as error:
                            self._not_made(some, str(error), now, now + _WAIT_FOR_OTHERS)
            except (Transient, Refused) as error:
                self._health.stopped(error, now)
                self._not_made(left, str(error), now, self._health.now.check_at)
                return
            del left[: sum(map(len, several))]
            self._write_requests(requests, now)
            self._hand_over(now)
            if not self._health.now.sends:
                return

    def _not_made(self, deliveries: Sequence[Delivery], reason: str, now: float, again: float) -> None:
        """No request could be made."""
        with self._ledger.transaction():
            self._postponed(deliveries, reason, now, again)

    def _postponed(self, deliveries: Sequence[Delivery], reason: str, now: float, again: float) -> None:
        """Nothing was sent. What a former run may have sent stays what it is. Inside a transaction."""
        self._ledger.deliveries.unanswered([one for one in deliveries if one.resumed], reason, now, again)
        self._ledger.deliveries.failed([one for one in deliveries if not one.resumed], reason, now, again)

    def _write_requests(self, requests: Sequence[Request], now: float) -> None:
        """Write down what will be sent, and what need not be sent."""
        to_send: list[tuple[Request, list[Delivery]]] = []
        follow_ups: list[tuple[Submission, list[Delivery]]] = []
        with self._ledger.transaction():
            for one in self._made_requests.each(
                requests, now, lambda request, failure: self._postponed(
                    request.submission.deliveries, failure.reason, now, failure.again
                ),
            ):  # fmt: skip
                with one as request:
                    left = self._write_request(request, now)
                    if request.submission.open or (left and not request.submission.follow_up):
                        to_send.append((request, left))
                    elif request.submission.follow_up:
                        follow_ups.append((request.submission, left))
        for request, left in to_send:
            request.submission.deliveries = left
            self._written.append(request)
        for submission, left in follow_ups:
            submission.deliveries = left
            self._follow_ups.append(submission)
        if any(isinstance(outcome, Changed | Gone) for request in requests for outcome in request.outcomes):
            self._on_candidates()

    def _write_request(self, request: Request, now: float) -> list[Delivery]:
        """Returns the deliveries that have not ended by that. Inside a transaction."""
        submission = request.submission
        for file, reason in request.undeliverable:
            self._outcomes.refuse(file, reason)
        not_sent = submission.deferred | {one.file for one in request.outcomes if not isinstance(one, Arrived)}
        self._planned.together(
            [one for number, one in submission.files.items() if number not in not_sent],
            lambda some: self._ledger.deliveries.planned(
                self._destination, [(one.file.id, one.item.path) for one in some]
            ),
            failed=lambda one, failure: self._outcomes.drop(submission, one.file, failure),
        )
        asides = [(one.file.id, one.item.aside) for one in submission.files.values() if one.item.aside is not None]
        self._ledger.deliveries.setting_aside(self._destination, asides)
        self._outcomes.apply([(submission, request.outcomes)], now)
        left = list(submission.deliveries)
        if not request.resumed:
            ended: list[Delivery] = []
            left = submission.unfinished()
            for one in submission.ended():
                (left if self._leftovers(one) else ended).append(one)
            self._finish(ended, now)
        if submission.open or (left and not submission.follow_up):
            submission.number = self._ledger.deliveries.submitting(left, request.body, now, submission.number)
        return left

    def _hand_over(self, now: float) -> None:
        """Send what is written down, and write down that it was sent."""
        try:
            while self._written:
                for one in self._requests_to_send.each(
                    self._written[:1], now, lambda request, failure: self._unanswered.append(
                        (request.submission, failure.reason, failure.again)
                    ),
                ):  # fmt: skip
                    with one as request:
                        try:
                            self._discard_leftovers(request.submission)
                            self._accepted.append((request.submission, self._submit(request)))
                        except Busy as error:
                            self._unanswered.append((request.submission, str(error), now + _WAIT_FOR_OTHERS))
                self._written.pop(0)
        except (Transient, Refused) as error:
            self._health.stopped(error, now)
            self._unanswered += [(one.submission, str(error), self._health.now.check_at) for one in self._written]
            self._written.clear()
        # What threads of the agent have is written down for people only: it is sent again whether or not that was
        # written. So it waits for the next transaction, which is mostly the one that ends it.
        if self._unanswered or (self._accepted and self._transport.is_service):
            self._write_answers(now)

    def _discard_leftovers(self, submission: Submission) -> None:
        """Remove what earlier attempts left of files that are not to be sent any more. Raises Transient, Refused."""
        leftovers = [one for delivery in submission.deliveries for one in self._leftovers(delivery)]
        if leftovers:
            self._transport.discard(leftovers)

    def _leftovers(self, delivery: Delivery) -> list[tuple[int, str]]:
        if delivery.state is DeliveryState.PENDING:
            return []  # it is the first attempt
        return self._ledger.deliveries.leftovers(delivery, self._destination)

    def _write_answers(self, now: float) -> None:
        """Write down which requests the destination has, and which it may have."""
        with self._ledger.transaction():
            self._submitted(self._accepted, now)
            for submission, reason, again in self._unanswered:
                self._ledger.deliveries.unanswered(submission.deliveries, reason, now, again)
        self._accepted.clear()
        self._unanswered.clear()

    def _submitted(self, accepted: Iterable[tuple[Submission, str]], now: float) -> None:
        """Inside a transaction."""
        for submission, task in accepted:
            assert submission.number is not None, "it was written down before it was sent"
            self._ledger.deliveries.submitted(submission.number, task, now)
            if self._transport.is_service and not submission.refused:
                files = submission.files.keys() - submission.deferred
                self._ledger.deliveries.began(submission.deliveries, task, now, self._destination, files)

    def _submit(self, request: Request) -> str:
        """Hand the request over. Returns its task. Raises Transient (Busy among it) and Refused."""
        assert self._health.identity is not None, "nothing is sent before the destination is set up"
        submission = request.submission
        sent = submission.open - submission.deferred
        items = [one.item for number, one in submission.files.items() if number in sent]
        first = submission.deliveries[0]
        former = first.task if request.resumed and first.state is DeliveryState.ACTIVE else None
        task, how, submission.refused = self._transport.submit(request.body, items, self._health.identity, former)
        if request.resumed:
            self._counter.resubmitted(self._transport.name, how)
        self._in_flight[task] = submission
        return task

    def _send_follow_ups(self, now: float) -> None:
        """Send what ended submissions left over."""
        while self._follow_ups and not self._paused:
            for one in self._former.each(
                self._follow_ups[:1], now, lambda former, failure: self._not_made(
                    former.deliveries, failure.reason, now, failure.again
                ),
            ):  # fmt: skip
                with one as former:
                    self._follow_up(former, now)
            self._follow_ups.pop(0)
            self._hand_over(now)

    def _follow_up(self, former: Submission, now: float) -> None:
        assert self._health.identity is not None, "what came before was sent"
        try:
            request = self._requests.new(former.deliveries, former.follow_up, self._health.identity)
            request.submission.keep(former)
        except (Transient, Refused) as error:
            if not isinstance(error, Busy):
                self._health.stopped(error, now)
            again = max(self._health.now.check_at, now + _WAIT_FOR_OTHERS)
            self._not_made(former.deliveries, str(error), now, again)
        else:
            self._write_requests([request], now)

    # Reports

    def _collect_reports(self, now: float) -> None:
        try:
            self._reports += self._transport.reports(now)
        except (Transient, Refused) as error:
            self._health.stopped(error, now)

    def _write_reports(self, reports: Sequence[Report], now: float) -> None:
        """Write down what became of files, and which deliveries ended."""
        known = [(report, self._in_flight[report.task]) for report in reports if report.task in self._in_flight]
        ended = [(report, submission) for report, submission in known if report.ended]
        tasks = {report.task for report, _ in ended}
        with self._ledger.transaction():
            self._submitted(((submission, task) for submission, task in self._accepted if task not in tasks), now)
            returned = self._outcomes.apply([(submission, report.outcomes) for report, submission in known], now)
            notes = [(report, one) for report, one in known if not report.ended and report.note != one.note]
            for one in self._reported.each(notes):
                with one as (report, submission):
                    self._held_up(submission, report.note)
            self._reported.together(
                ended, lambda some: self._end(some, now), now,
                lambda one, failure: self._not_ended(one[1], failure, now),
            )  # fmt: skip
        self._accepted.clear()
        # First what only this process knows: the ledger may fail again below.
        for report, submission in known:
            submission.note = report.note
        for report, submission in ended:
            del self._in_flight[report.task]
            self._counter.requested(self._transport.name, "deliver", "failed" if report.failure else "ok")
            if report.failure is not None and report.alone:
                log.warning("%s to %s: %s", _named(submission.deliveries), self._transport.name, report.failure)
            submission.deliveries = submission.unfinished()
        self._follow_ups += [one for report, one in ended if _failure(report, one) is None and one.follow_up]
        self._reports.clear()
        if returned:
            self._on_candidates()
        failure = next((one.failure for one, _ in ended if one.failure is not None and not one.alone), None)
        if failure is not None:
            self._health.delivery_failed(failure, now)
        elif ended:
            self._health.delivered(now)

    def _end(self, ended: Sequence[_Reported], now: float) -> None:
        """Requests have ended, with these reports. Inside a transaction."""
        for report, submission in ended:
            if _failure(report, submission) is None:
                submission.follow_up.update(self._left_over(submission))
                submission.open &= submission.failed.keys()
        self._finish([delivery for _, submission in ended for delivery in submission.ended()], now)
        for report, submission in ended:
            failure = _failure(report, submission)
            if failure is not None:
                later = now + backoff(submission.deliveries[0].attempt + 1, self._transport.retry_at_most)
                self._ledger.deliveries.failed(submission.unfinished(), failure, now, later)

    def _not_ended(self, submission: Submission, failure: Failure, now: float) -> None:
        submission.follow_up.clear()
        self._ledger.deliveries.failed(submission.deliveries, failure.reason, now, failure.again)

    def _finish(self, deliveries: Sequence[Delivery], now: float) -> None:
        """Every file of these deliveries has its outcome. Actions of batches that are verified by that are queued.

        Inside a transaction.
        """
        self._finished.together(
            deliveries, lambda some: self._finish_some(some, now), now,
            lambda one, failure: self._ledger.deliveries.failed([one], failure.reason, now, failure.again),
        )  # fmt: skip

    def _finish_some(self, deliveries: Sequence[Delivery], now: float) -> None:
        for batch in self._ledger.deliveries.finished(deliveries, now):
            self._actions_queued = enqueue(self._ledger, self._rules, batch, self._host, now) or self._actions_queued

    def _left_over(self, submission: Submission) -> dict[int, InFlightFile]:
        """Files that a task has no outcome for: where a service wrote, any part of them may be there."""
        found = {number: submission.files[number] for number in submission.open - submission.failed.keys()}
        if not self._transport.is_service:
            return found
        return {
            number: one if number in submission.deferred else replace(one, item=one.item._replace(begun=True))
            for number, one in found.items()
        }

    def _held_up(self, submission: Submission, note: str | None) -> None:
        """A task waits for something, or goes on again. Inside a transaction."""
        self._ledger.deliveries.held_up(submission.deliveries, note)
        if note is not None:
            log.warning("%s to %s waits: %s", _named(submission.deliveries), self._transport.name, note)


def _named(deliveries: Sequence[Delivery]) -> str:
    """Deliveries, for a person."""
    more = f" and {len(deliveries) - 1} more" if len(deliveries) > 1 else ""
    return f"delivery {deliveries[0].id}{more} of rule {deliveries[0].rule}"


def _failure(report: Report, submission: Submission) -> str | None:
    """Why a request that ended is tried again later; None: it is over, or what is left of it goes at once."""
    others = (submission.open | submission.follow_up.keys()) - submission.failed.keys()
    return report.failure or (None if others else next(iter(submission.failed.values()), None))


def _beside(name: str, rules: Sequence[Rule]) -> set[str]:
    """Destinations to which a rule delivers that delivers to this one, too."""
    return {target.to for rule in rules if name in {one.to for one in rule.deliver} for target in rule.deliver} - {name}
