"""The service's own time: the machine's, plus what a test has let pass."""

import threading
import time
from datetime import UTC, datetime


class Clock:
    """Seconds since 1970 that a test can move on."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since 1970, as the service sees them."""
        return time.time() + self._passed

    def advance(self, seconds: float) -> None:
        """Let this much time pass for the service alone: tokens expire, deadlines are reached."""
        with self._lock:
            self._passed += seconds


def text(when: float | None) -> str | None:
    """A time as task documents write it, or null."""
    return None if when is None else datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds")


def parse(written: str) -> float:
    """Seconds since 1970 of an ISO 8601 time; without a zone it is UTC. Raises ValueError."""
    when = datetime.fromisoformat(written)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
