"""Makes the calls that wait in the outbox: actions for verified batches, and messages to people. Each at least once."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from agent.errors import LedgerError, Refused, Transient
from agent.host.bulkhead import Bulkhead, Failure, ignore
from agent.ledger import MESSAGES, Key, Ledger, Queued
from rules.actions import Action, label
from rules.retry import backoff
from rules.rule import Rule

RETRY_AT_MOST = 900.0
"""Seconds between two attempts at one call."""
END_WITHIN = 2.0
"""Seconds for calls under way to end when the agent stops."""

Call = Callable[[Any, Queued], object]
"""Does an action of one kind. Raises Transient, Refused."""

log = logging.getLogger(__name__)


class Queue(NamedTuple):
    """How what waits under one key of the outbox is done."""

    call: Callable[[Sequence[Queued]], object]
    """Raises Transient, Refused."""
    describe: Callable[[Sequence[Queued]], str]
    """For logs."""
    together: int = 1
    """How many of those that wait go in one call."""


class _Beginning(NamedTuple):
    """A call that is to be made."""

    key: Key
    items: Sequence[Queued]


class _Ended(NamedTuple):
    """What came of a call."""

    key: Key
    items: Sequence[Queued]
    failure: Transient | Refused | None


def queues(rules: Sequence[Rule], calls: Mapping[str, Call]) -> dict[Key, Queue]:
    """Of the actions of all rules. `calls`: kind of action -> how it is done."""

    def queue(rule: str, name: str, action: Action) -> Queue:
        call = calls[action.kind]
        return Queue(
            lambda items: call(action, items[0]),
            lambda items: f"{label(name)} of rule {rule} for batch {items[0].batch}",
        )

    return {
        (rule.name, name): queue(rule.name, name, action) for rule in rules for name, action in rule.actions.items()
    }


class Dispatcher:
    """Takes calls out of the outbox and makes them, one at a time for each key and in threads of their own.

    A call that hangs holds up its own queue, and nothing else.
    """

    def __init__(self, ledger: Ledger, queues: Mapping[Key, Queue], wake: Callable[[], None]) -> None:
        """
        Args:
            ledger: this thread's connection.
            queues: of the configuration.
            wake: called, from any thread, when a call ended.
        """
        self._ledger = ledger
        self._queues = queues
        self._wake = wake
        self._under_way: set[Key] = set()
        self._ended: SimpleQueue[_Ended] = SimpleQueue()
        self._unwritten: list[_Ended] = []
        """Kept while the ledger cannot be written."""
        self._followed = True
        """Whether what nobody wants any more was given up."""
        self._failures: dict[Key, tuple[int, float]] = {}
        """(failures in a row, until when what failed before waits): a service that is down is asked now and then."""
        self._beginning = Bulkhead[Key]("queue", " ".join)
        self._trying = Bulkhead[_Beginning]("queue", lambda one: " ".join(one.key), ledger.savepoint)
        self._noting = Bulkhead[_Ended]("what came of a call of", lambda one: " ".join(one.key), ledger.savepoint)
        self._reporting = Bulkhead[_Ended]("what came of a call of", lambda one: " ".join(one.key))

    def start(self, now: float) -> None:
        """Before the first pass: what failed in a former run is due, what nobody wants any more is given up."""
        with self._ledger.transaction():
            self._ledger.outbox.resumed(now)
        self._give_up()

    def follow(self, queues: Mapping[Key, Queue]) -> None:
        """Another configuration: calls under way go on, and none is made a second time beside itself. From any thread."""
        self._queues, self._followed = queues, False

    def _give_up(self) -> None:
        with self._ledger.transaction():
            lost = self._ledger.outbox.given_up(self._queues.keys())
        self._followed = True
        for one in lost:
            whose = (
                f"action {label(one.name)} of rule {one.rule}" if one.rule != MESSAGES else f"messages by {one.name}"
            )
            log.warning(
                "%s: %d waited and are given up, since the configuration does not have it any more", whose, one.calls
            )

    @property
    def waiting(self) -> bool:
        """Whether calls are under way."""
        return bool(self._under_way)

    def step(self, now: float) -> float | None:
        """One whole pass: write down what ended, begin what is due."""
        later: list[float] = []

        def wait(item: object, failure: Failure) -> None:
            later.append(failure.again)

        self._write_down(now, wait)
        if not self._followed:
            self._give_up()
        queues = self._queues
        begin: list[_Beginning] = []
        for one in self._beginning.each(queues.keys() - self._under_way, now, wait):
            with one as key:
                waiting = [(self._when(key, queued), queued) for queued in self._ledger.outbox.due(key)]
                due = [(at, queued) for at, queued in waiting if at <= now]
                if due:
                    first = min(due, key=lambda one: one[0])[1]
                    together = queues[key].together
                    items: Sequence[Queued] = [first] if together == 1 else self._ledger.outbox.oldest(key, together)
                    begin.append(_Beginning(key, items))
                later += [at for at, _ in waiting if at > now]
        tried: list[_Beginning] = []
        if begin:
            with self._ledger.transaction():
                for each in self._trying.each(begin, now, wait):
                    with each as ready:
                        self._ledger.outbox.tried(ready.items)
                        tried.append(ready)
        for key, items in tried:
            threading.Thread(target=self._call, args=(key, queues[key], items), name="outbox call", daemon=True).start()
            self._under_way.add(key)  # afterwards: no thread starts where the computer has no room for another
        return min(later, default=None)

    def wait(self, seconds: float) -> None:
        """Give the calls under way that long to end, and write down what came of them."""
        deadline = time.monotonic() + seconds
        while len(self._under_way) > len(self._unwritten) and (left := deadline - time.monotonic()) > 0:
            try:
                self._unwritten.append(self._ended.get(timeout=left))
            except Empty:
                break
        self._write_down(time.time())

    def close(self) -> None:
        """The agent stops. What has not ended in a moment is done again by the next run."""
        try:
            self.wait(END_WITHIN)
        except LedgerError as error:
            log.warning("what came of the last calls is not written down, they are made again: %s", error)

    def _when(self, key: Key, one: Queued) -> float:
        if one.asked or not one.attempt:
            return one.again
        return max(one.again, self._failures.get(key, (0, 0.0))[1])

    def _call(self, key: Key, queue: Queue, items: Sequence[Queued]) -> None:
        failure: Transient | Refused | None = None
        try:
            queue.call(items)
        except (Transient, Refused) as error:
            failure = error
        except Exception as error:
            log.exception("a call failed unexpectedly; it will be made again")
            failure = Transient(f"{type(error).__name__}: {error}")
        self._ended.put(_Ended(key, items, failure))
        self._wake()

    def _write_down(self, now: float, failed: Callable[[_Ended, Failure], object] = ignore) -> None:
        """What cannot be noted stays, and its queue with it: the call is not made once more."""
        while True:
            try:
                self._unwritten.append(self._ended.get_nowait())
            except Empty:
                break
        if not self._unwritten:
            return
        written: list[_Ended] = []
        with self._ledger.transaction():
            for each in self._noting.each(self._unwritten, now, failed):
                with each as one:
                    self._note(one, now)
                    written.append(one)
        self._unwritten = [one for one in self._unwritten if one not in written]
        self._under_way -= {one.key for one in written}
        for each in self._reporting.each(written):
            with each as one:
                self._report(one, now)

    def _note(self, one: _Ended, now: float) -> None:
        """Inside a transaction."""
        if one.failure is None:
            self._ledger.outbox.done(one.items)
            return
        after = one.failure.after if isinstance(one.failure, Transient) else 0.0
        attempt = 1 + max(item.attempt for item in one.items)
        again = now + max(backoff(attempt, RETRY_AT_MOST), after)
        self._ledger.outbox.failed(one.items, str(one.failure), again)

    def _report(self, one: _Ended, now: float) -> None:
        queue = self._queues.get(one.key)
        what = queue.describe(one.items) if queue is not None else "a call that is not configured any more"
        if one.failure is None:
            self._failures.pop(one.key, None)
            log.info("%s: done", what)
            return
        failures = self._failures.get(one.key, (0, 0.0))[0] + 1
        self._failures[one.key] = failures, now + backoff(failures)
        if failures == 1 or any(item.reason != str(one.failure) for item in one.items):
            log.warning("%s failed and will be tried again: %s", what, one.failure)
