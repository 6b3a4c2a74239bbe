"""Work that can be told to end, and of which one can see whether it still moves."""

import threading
import time
from datetime import UTC, datetime
from typing import NamedTuple

from agent.errors import Transient


class Still(NamedTuple):
    """What does not move."""

    where: str
    """The directory that does not answer."""
    since: float
    """In monotonic seconds."""

    def __str__(self) -> str:
        at = datetime.fromtimestamp(time.time() - (time.monotonic() - self.since), UTC)
        return f"{self.where} has not answered since {at:%Y-%m-%d %H:%M:%S} UTC"


class Pace:
    """Of one piece of work: where its last step went, and when. Read from other threads."""

    def __init__(self, stopping: threading.Event | None = None) -> None:
        """`stopping`: set, where the work is to end at its next step."""
        self._stopping = stopping or threading.Event()
        self.where = ""
        """The directory that the step under way asks: a file system that hangs does not let it end."""
        self.moved_at = time.monotonic()
        """When that step began, in monotonic seconds."""

    def at(self, where: str) -> None:
        """The next step asks this directory."""
        self.where, self.moved_at = where, time.monotonic()

    def go_on(self) -> None:
        """Between two steps at the same place. Raises Transient where the work is to end."""
        self.moved_at = time.monotonic()
        if self._stopping.is_set():
            raise Transient("the agent stops")

    def still(self, after: float) -> Still | None:
        """What the work stands still at, after so many seconds; None: it moves."""
        moved_at, where = self.moved_at, self.where
        return Still(where, moved_at) if time.monotonic() - moved_at >= after else None
