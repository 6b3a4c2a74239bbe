"""Shows whether work still moves."""

import math
import time
from typing import NamedTuple

from agent.host.rate_limiter import RateLimiter
from agent.host.zone import stamp


class Stall(NamedTuple):
    """What does not move."""

    where: str
    """The directory that does not answer."""
    since: float
    """In monotonic seconds."""

    def __str__(self) -> str:
        return f"{self.where} has not answered since {stamp(time.time() - (time.monotonic() - self.since))}"


class Heartbeat:
    """Of one piece of work: where its last step went, and when. Read from other threads.

    Its pace is asked here, so that a step which waits for its turn is not taken for one that gets no answer.
    """

    def __init__(self, rate_limiter: RateLimiter | None = None) -> None:
        """`rate_limiter`: how fast it may go, and whether it is to end."""
        self._rate_limiter = rate_limiter or RateLimiter()
        self.where = ""
        """The directory that the step under way asks: a file system that hangs does not let it end."""
        self.moved_at = time.monotonic()
        """When that step began, in monotonic seconds; infinite while it waits for its turn."""

    def at(self, where: str) -> None:
        """The next step asks this directory."""
        self.where, self.moved_at = where, time.monotonic()

    def go_on(self) -> None:
        """Between two steps at the same place. Raises Transient where the work is to end."""
        self.moved_at = math.inf
        self._rate_limiter.go_on()
        self.moved_at = time.monotonic()

    def wrote(self, count: int) -> None:
        """Return when so many bytes more may have been written. Raises Transient where the work is to end."""
        self.moved_at = math.inf
        self._rate_limiter.wrote(count)
        self.moved_at = time.monotonic()

    def read(self, count: int) -> None:
        """Return when so many bytes more may have been read back. Raises Transient where the work is to end."""
        self.moved_at = math.inf
        self._rate_limiter.read(count)
        self.moved_at = time.monotonic()

    def ask(self, count: int) -> None:
        """As `read`, for those who cannot stand still: raises Transient while it is paused, too."""
        self.moved_at = math.inf
        self._rate_limiter.ask(count)
        self.moved_at = time.monotonic()

    def still(self, after: float) -> Stall | None:
        """What the work stands still at, after so many seconds; None: it moves."""
        moved_at, where = self.moved_at, self.where
        return Stall(where, moved_at) if time.monotonic() - moved_at >= after else None
