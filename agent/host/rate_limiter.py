"""How fast files may go to one destination, and whether they may go on at all."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Event, Lock

from agent.errors import Transient
from rules.rate import Limit, allowed

_LOOK = 5.0
"""Seconds that are waited in one go while copying is paused."""


class TokenBucket:
    """What may pass by now. Time in which nothing passed is not saved up: after a pause there is no flood."""

    def __init__(self) -> None:
        self._free_at = 0.0
        self._lock = Lock()

    def take(self, count: int, rate: float, now: float) -> float:
        """Let `count` bytes pass at `rate` bytes a second. Returns the seconds until they have, after all before them.

        `now`: seconds of a clock that never goes back.
        """
        with self._lock:
            self._free_at = max(self._free_at, now) + count / rate
            return self._free_at - now


class RateLimiter:
    """Limits what goes to and from one destination, block by block; for groups in worker processes, the caller asks.

    So the sum counts. What is written and what is read back are limited separately, as a network takes both at once.
    """

    def __init__(self, rate: Callable[[], int | None] = lambda: None, clock: Callable[[], float] = lambda: 0.0) -> None:
        """
        Args:
            rate: bytes a second that are allowed now; None: as many as will go.
            clock: seconds, for the rate; it never goes back.
        """
        self._rate = rate
        self._clock = clock
        self._written, self._read = TokenBucket(), TokenBucket()
        self._stopping, self._open = Event(), Event()
        self._open.set()

    @property
    def stopping(self) -> bool:
        """Whether the agent stops."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Nobody goes on from here, whatever they wait for."""
        self._stopping.set()
        self._open.set()

    def pause(self) -> None:
        """Each call waits until `resume`."""
        self._open.clear()

    def resume(self) -> None:
        """They go on."""
        self._open.set()

    def go_on(self) -> None:
        """Return when it is not paused. Raises Transient once the agent stops."""
        while not self._open.is_set():
            self._open.wait(_LOOK)
        if self._stopping.is_set():
            raise Transient("the agent stops")

    def wrote(self, count: int) -> None:
        """Return when so many bytes more may have been written there. Raises Transient once the agent stops."""
        self._pass(self._written, count)

    def read(self, count: int) -> None:
        """Return when so many bytes more may have been read from there. Raises Transient once the agent stops."""
        self._pass(self._read, count)

    def ask(self, count: int) -> None:
        """As `read`, for those who cannot stand still: raises Transient while it is paused, too."""
        if not self._open.is_set():
            raise Transient("deliveries there are paused")
        self.read(count)

    def _pass(self, bucket: TokenBucket, count: int) -> None:
        self.go_on()
        rate = self._rate()
        if rate is not None:
            self._stopping.wait(bucket.take(count, rate, self._clock()))

    def together(self, most: int) -> int:
        """Bytes that may go in one go: what a second lets pass, `most` at the most."""
        rate = self._rate()
        return most if rate is None else min(most, rate)


def limited(limits: Sequence[Limit]) -> RateLimiter:
    """How fast files go to a destination: by the clock of the limits' zone."""
    return (
        RateLimiter()
        if not limits
        else RateLimiter(lambda: allowed(limits, datetime.now(limits[0].zone)), time.monotonic)
    )
