"""Does what rules want done for verified batches: at least once, one call at a time for each action of a rule."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from agent.errors import LedgerError, Refused, Transient
from agent.ledger import Errand, Ledger
from rules.actions import Action
from rules.model import Rule
from rules.retry import backoff

RETRY_AT_MOST = 900.0
"""Seconds between two attempts at one errand."""
_END_WITHIN = 2.0
"""Seconds for calls under way to end when the agent stops."""

Call = Callable[[Any, Errand], object]
"""Does an action of one kind for an errand. Raises Transient, Refused."""
Key = tuple[str, str]
"""(rule, action)"""

log = logging.getLogger(__name__)


class _Ended(NamedTuple):
    """What came of a call."""

    key: Key
    errand: Errand
    failure: Transient | Refused | None


class Sender:
    """Takes errands out of the outbox, has them done in threads of their own, and writes down what came of it."""

    def __init__(
        self, ledger: Ledger, rules: Sequence[Rule], calls: Mapping[str, Call], wake: Callable[[], None]
    ) -> None:
        """
        Args:
            ledger: this thread's connection.
            rules: of the configuration.
            calls: kind of action → how it is done.
            wake: called, from any thread, when a call ended.
        """
        self._ledger = ledger
        self._actions: dict[Key, Action] = {
            (rule.name, name): action for rule in rules for name, action in rule.actions.items()
        }
        self._calls = calls
        self._wake = wake
        self._under_way: set[Key] = set()
        self._ended: SimpleQueue[_Ended] = SimpleQueue()
        self._unwritten: list[_Ended] = []
        """Kept while the ledger cannot be written."""
        self._failures: dict[Key, tuple[int, float]] = {}
        """(failures in a row, until when what failed before waits): a service that is down is asked now and then."""

    def start(self, now: float) -> None:
        """Before the first pass: what failed in a former run is due, what nobody wants any more is given up."""
        with self._ledger.transaction():
            self._ledger.outbox.resumed(now)
            lost = self._ledger.outbox.given_up(self._actions.keys(), now)
        if lost:
            log.warning("%d errands were given up: their rules do not have these actions any more", lost)

    @property
    def waiting(self) -> bool:
        """Whether calls are under way."""
        return bool(self._under_way)

    def step(self, now: float) -> float | None:
        """One whole pass: write down what ended, begin what is due."""
        self._settle(now)
        begin: list[tuple[Key, Errand]] = []
        later: list[float] = []
        for key in self._actions.keys() - self._under_way:
            errands = [(self._when(key, errand), errand) for errand in self._ledger.outbox.due(*key)]
            due = [(at, errand) for at, errand in errands if at <= now]
            if due:
                begin.append((key, min(due, key=lambda one: one[0])[1]))
            later += [at for at, _ in errands if at > now]
        if begin:
            with self._ledger.transaction():
                self._ledger.outbox.tried([errand for _, errand in begin])
            for key, errand in begin:
                name = f"{errand.rule} {errand.action}"
                threading.Thread(target=self._call, args=(key, errand), name=name, daemon=True).start()
                self._under_way.add(key)  # afterwards: no thread starts where the computer has no room for another
        return min(later, default=None)

    def close(self) -> None:
        """Give the calls under way a moment to end. What has not ended by then is done again by the next run."""
        deadline = time.monotonic() + _END_WITHIN
        while len(self._under_way) > len(self._unwritten) and (left := deadline - time.monotonic()) > 0:
            try:
                self._unwritten.append(self._ended.get(timeout=left))
            except Empty:
                break
        try:
            self._settle(time.time())
        except LedgerError as error:
            log.warning("what came of the last errands is not written down, they are done again: %s", error)

    def _when(self, key: Key, errand: Errand) -> float:
        if errand.asked or not errand.attempt:
            return errand.again
        return max(errand.again, self._failures.get(key, (0, 0.0))[1])

    def _call(self, key: Key, errand: Errand) -> None:
        failure: Transient | Refused | None = None
        action = self._actions[key]
        try:
            self._calls[action.kind](action, errand)
        except (Transient, Refused) as error:
            failure = error
        except Exception as error:
            log.exception("%s of rule %s failed unexpectedly; it will be tried again", errand.action, errand.rule)
            failure = Transient(f"{type(error).__name__}: {error}")
        self._ended.put(_Ended(key, errand, failure))
        self._wake()

    def _settle(self, now: float) -> None:
        while True:
            try:
                self._unwritten.append(self._ended.get_nowait())
            except Empty:
                break
        if not self._unwritten:
            return
        with self._ledger.transaction():
            for one in self._unwritten:
                self._write(one, now)
        for one in self._unwritten:
            self._tell(one, now)
            self._under_way.discard(one.key)
        self._unwritten.clear()

    def _write(self, one: _Ended, now: float) -> None:
        if one.failure is None:
            self._ledger.outbox.done(one.errand, now)
            return
        after = one.failure.after if isinstance(one.failure, Transient) else 0.0
        wait = max(backoff(one.errand.attempt + 1, RETRY_AT_MOST), after)
        self._ledger.outbox.failed(one.errand, str(one.failure), now + wait)

    def _tell(self, one: _Ended, now: float) -> None:
        what = f"{one.errand.action} of rule {one.errand.rule} for batch {one.errand.batch}"
        if one.failure is None:
            self._failures.pop(one.key, None)
            log.info("%s is done", what)
            return
        failures = self._failures.get(one.key, (0, 0.0))[0] + 1
        self._failures[one.key] = failures, now + backoff(failures)
        if str(one.failure) != one.errand.reason:
            log.warning("%s failed and will be tried again: %s", what, one.failure)
