"""One item's trouble is one item's.

A pass handles many things that others made: files, folders, messages, destinations. Whatever the handling of one raises
is that one's own: it waits with the reason, is handled less and less often, and the log names it; all others are handled
in the same pass. Only what `agent.errors.is_agents` names goes on to whoever runs the pass.
"""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Generic, NamedTuple, TypeVar

from agent.errors import Refused, Transient, is_agents
from rules.retry import backoff

T = TypeVar("T")
LONGEST_WAIT = 300.0
"""Seconds until an item that failed again and again is handled once more."""
_REMEMBERED = 10_000
"""Items that failed. Of more, those that failed first are handled as if they had not."""
_LONGEST_REASON = 500
"""Characters: some errors quote what they are about."""

log = logging.getLogger(__name__)


def in_time(items: Iterable[T], seconds: float) -> Iterator[T]:
    """As many of the items as are handled in so many seconds, the first in any case: the others are for the next pass."""
    until = time.monotonic() + seconds
    for number, item in enumerate(items):
        if number and time.monotonic() >= until:
            return
        yield item


class Failure(NamedTuple):
    """An item was not handled."""

    reason: str
    """For people."""
    again: float
    """When it is to be handled once more."""
    times: int
    """In a row."""


Failed = Callable[[T, Failure], object]


def ignore(item: object, failure: Failure) -> None:
    """Nothing is to be done about an item that failed: whoever offers it again, does so later."""


class Bulkhead(Generic[T]):
    """Handles items of one kind, for one thread."""

    def __init__(
        self,
        kind: str,
        name: Callable[[T], str],
        savepoint: Callable[[], AbstractContextManager[object]] = nullcontext,
        through: tuple[type[Exception], ...] = (),
    ) -> None:
        """
        Args:
            kind: what the items are, for the log.
            name: what people know an item by.
            savepoint: undoes in the ledger what was written for an item that fails; needed inside a transaction.
            through: exceptions that say something of more than one item here. They go on to the caller.
        """
        self._kind = kind
        self._name = name
        self._savepoint = savepoint
        self._through = through
        self._failures: OrderedDict[str, Failure] = OrderedDict()

    def each(
        self, items: Iterable[T], now: float = math.inf, failed: Failed[T] = ignore
    ) -> Iterator[AbstractContextManager[T]]:
        """Each item, to be handled inside the `with` of what is yielded: `for one in b.each(...): with one as item: ...`.

        Args:
            items: what is handled.
            now: seconds. An item that failed is handled again when its time has come. Without it nothing waits.
            failed: called instead where an item fails, or failed before and waits.
        """
        for item in items:
            if self._failures and (known := self.failure(item, now)) is not None:
                self._note(item, known, failed)
            else:
                yield self._alone(item, now, failed)

    def together(
        self, items: Sequence[T], handle: Callable[[Sequence[T]], object], now: float = math.inf,
        failed: Failed[T] = ignore,
    ) -> None:  # fmt: skip
        """Handle all items at once, which costs less; where that fails, each half of them, and so on. See `each`.

        `handle` keeps nothing in memory of a call that it leaves by an exception. It is called without items, too.
        """
        waiting: list[T] = []
        ready: list[T] = []
        for item in items if self._failures else ():
            (ready if self.failure(item, now) is None else waiting).append(item)
        parts: list[Sequence[T]] = [ready if self._failures else items]
        while parts:
            some = parts.pop()
            if len(some) == 1:
                with self._alone(some[0], now, failed):
                    handle(some)
                continue
            try:
                with self._savepoint():
                    handle(some)
            except Exception as error:
                if not some or not self._is_items(error):
                    raise
                middle = len(some) // 2
                parts += [some[middle:], some[:middle]]
            else:
                for item in some if self._failures else ():
                    self._went_well(item)
        for item in waiting:
            self._note(item, self._failures[self._name(item)], failed)

    def failure(self, item: T, now: float = -math.inf) -> Failure | None:
        """How an item failed that is not to be handled by now; None: it did not, or may be handled."""
        known = self._failures.get(self._name(item))
        return known if known is not None and known.again > now else None

    @contextmanager
    def _alone(self, item: T, now: float, failed: Failed[T]) -> Iterator[T]:
        try:
            with self._savepoint():
                yield item
        except Exception as error:
            if not self._is_items(error):
                raise
            self._note(item, self._fails(item, error, now), failed)
        else:
            self._went_well(item)

    def _is_items(self, error: Exception) -> bool:
        """Whether it says something of one item only."""
        return not (is_agents(error) or isinstance(error, self._through))

    def _note(self, item: T, failure: Failure, failed: Failed[T]) -> None:
        try:
            with self._savepoint():
                failed(item, failure)
        except Exception as error:
            if not self._is_items(error):
                raise
            log.exception("%s %s: that it failed could not be noted", self._kind, self._name(item))

    # What failed

    def _fails(self, item: T, error: Exception, now: float) -> Failure:
        name = self._name(item)
        known = self._failures.pop(name, None)
        times = 1 if known is None else known.times + 1
        failure = Failure(reason_of(error), now + backoff(times, LONGEST_WAIT), times)
        self._failures[name] = failure
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        if known is None or known.reason != failure.reason:
            unforeseen = None if _is_ours(error) else error
            log.error("%s %s: %s; it waits, all else goes on", self._kind, name, failure.reason, exc_info=unforeseen)
        return failure

    def _went_well(self, item: T) -> None:
        if self._failures and self._failures.pop(self._name(item), None) is not None:
            log.info("%s %s: it goes on", self._kind, self._name(item))


def reason_of(error: Exception) -> str:
    """Why something failed, for people."""
    return (str(error) if _is_ours(error) else f"{type(error).__name__}: {error}")[:_LONGEST_REASON]


def _is_ours(error: Exception) -> bool:
    """Whether its message is enough."""
    return isinstance(error, (Transient, Refused)) or hasattr(error, "whose")
