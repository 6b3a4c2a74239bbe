"""A thread that calls `step(now)` until told to stop."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from agent.errors import LedgerError, Refused, Transient

log = logging.getLogger(__name__)

LONGEST_WAIT = 5.0
"""Seconds between two passes at the most: a pass also looks after things that nobody announces."""
GATHER = 0.06
"""Seconds from being woken to the pass: what comes until then shares its transactions, and each transaction waits for a disk."""
_RETRY_AT_MOST = 60.0


class Clock:
    """Seconds since the epoch, that never jump: the wall clock at the start, carried on by the monotonic one."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self._offset


class Worker:
    """Runs one part of the agent. A pass that fails is logged and tried again; the thread does not die of it."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.passed_at = clock()
        """When the last pass ended, or a long one went on."""
        self.failure: str | None = None
        """Why the last pass failed."""
        self._clock = clock
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, step: Callable[[float], float | None]) -> None:
        """Start the thread. `step(now)` does a whole pass and returns when the next is due (None: when woken)."""
        self._thread = threading.Thread(target=self._run, args=(step,), name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    def stop(self) -> None:
        """Ask the thread to end after the pass under way."""
        self._stop.set()
        self._woken.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end. Returns whether it came."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.alive

    def heartbeat(self, _: object = None) -> None:
        """The pass under way is long, and goes on. Raises Transient where it is to end. From the thread itself."""
        self.passed_at = self._clock()
        if self._stop.is_set():
            raise Transient("the agent stops")

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def _run(self, step: Callable[[float], float | None]) -> None:
        failures = 0
        while True:
            self._woken.clear()
            if self._stop.is_set():  # asked after the clear: else the wake of `stop` may be lost
                return
            try:
                again = step(self._clock())
                self.failure, failures = None, 0
            except (LedgerError, Transient, Refused) as error:
                failures += 1
                again = self._failed(str(error), failures)
            except Exception as error:
                failures += 1
                again = self._failed(f"{type(error).__name__}: {error}", failures)
                log.exception("%s: a pass failed unexpectedly; it will be tried again", self.name)
            now = self._clock()
            self.passed_at = now
            wait = LONGEST_WAIT if again is None else max(again - now, 0.0)
            if failures:
                self._stop.wait(wait)  # a failing pass waits in full, whoever wakes it
            elif self._woken.wait(min(wait, LONGEST_WAIT)):
                self._stop.wait(GATHER)

    def _failed(self, reason: str, failures: int) -> float:
        if self.failure != reason:
            log.error("%s: %s; will be tried again", self.name, reason)
        self.failure = reason
        return self._clock() + min(2.0 ** (failures - 1), _RETRY_AT_MOST)


class Workers:
    """The threads of the agent, by the names of their parts: while it runs, some are replaced by others."""

    def __init__(self) -> None:
        self._now: dict[str, Worker] = {}

    def replace(self, workers: Mapping[str, Worker]) -> None:
        """These are woken from now on, and no others."""
        self._now = dict(workers)

    def wake(self, name: str) -> Callable[[], None]:
        """How the part of a name is woken, whichever thread it has then."""

        def wake() -> None:
            worker = self._now.get(name)
            if worker is not None:
                worker.wake()

        return wake
