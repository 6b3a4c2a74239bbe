"""Questions that may never be answered: a call to a file system whose server is gone does not return.

Each is put by its own thread, which is left behind where no answer comes.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Silence(NamedTuple):
    """No answer came."""

    since: float
    """When the question was put that is not answered."""


class _Place:
    """One that is asked: one question at a time."""

    def __init__(self) -> None:
        self.free = threading.Lock()
        self.since = 0.0
        """When the question under way was put."""
        self.hangs = False
        """Somebody waited in vain for its answer."""


class Asker:
    """Puts questions to places that may hang. Safe between threads."""

    def __init__(self, clock: Callable[[], float], patience: float) -> None:
        """`patience`: seconds to wait for an answer."""
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}

    def ask(self, place: str, question: Callable[[], T]) -> T | Silence:
        """The answer, or that none comes. A place is asked nothing while a question to it is not answered.

        Args:
            place: what may hang, such as a watched directory.
            question: answers in another thread. What it raises is raised here, where it comes in time.
        """
        with self._lock:
            asked = self._places.setdefault(place, _Place())
        # Where somebody waited in vain already, nobody else waits.
        if not asked.free.acquire(timeout=0 if asked.hangs else self._patience):
            return self._in_vain(asked, asked.since)
        asked.since = since = self._clock()
        answered = threading.Event()
        answers: list[T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                answers.append(question())
            except BaseException as error:  # noqa: BLE001  (it is raised by the thread that asked)
                failures.append(error)
            with self._lock:
                asked.hangs = False
                asked.free.release()
            answered.set()

        try:
            threading.Thread(target=run, name=f"asks {place}", daemon=True).start()
        except BaseException:
            asked.free.release()
            raise
        if not answered.wait(self._patience):
            return self._in_vain(asked, since)
        if failures:
            raise failures[0]
        return answers[0]

    def silent(self) -> dict[str, float]:
        """Places that do not answer, each with the time since when."""
        with self._lock:
            return {name: one.since for name, one in self._places.items() if one.hangs}

    def _in_vain(self, asked: _Place, since: float) -> Silence:
        with self._lock:
            asked.hangs = asked.free.locked()
        return Silence(since)
