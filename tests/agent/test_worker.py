"""A thread that does passes until it is told to stop, and never dies of one."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from agent.errors import Transient
from agent.host.worker import GATHER, LONGEST_WAIT, Clock, Worker

PATIENCE = 20.0
NOW = 1000.0


class Waits(threading.Event):
    """An event that notes how long it is waited for, and lets nobody wait."""

    def __init__(self, said: list[float], enough: int) -> None:
        super().__init__()
        self._said = said
        self._enough = enough

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._said.append(timeout)
        if len(self._said) >= self._enough:
            self.set()
        return self.is_set()


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker whose clock stands still."""
    made = Worker("part", lambda: NOW)
    yield made
    made.stop()
    assert made.join(PATIENCE)


def run(worker: Worker, step: Callable[[float], float | None], enough: int) -> list[float]:
    """Let it run without waiting until it has waited so often while it failed. Returns how long it would have waited."""
    said: list[float] = []
    worker._stop = Waits(said, enough)
    worker.start(step)
    assert worker.join(PATIENCE)
    return said


def test_a_pass_gets_the_time_and_is_repeated_when_woken(worker: Worker) -> None:
    """Each wake brings another pass, which gets the clock's time."""
    passes: list[float] = []
    passed = threading.Semaphore(0)

    def step(now: float) -> None:
        passes.append(now)
        passed.release()

    worker.start(step)
    for _ in range(5):
        assert passed.acquire(timeout=PATIENCE)
        worker.wake()
    assert passes[:5] == [NOW] * 5


def test_a_wake_during_a_pass_is_not_lost(worker: Worker) -> None:
    """What is announced while a pass is under way gets another pass at once."""
    began, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def step(now: float) -> None:
        began.release()
        go_on.acquire()

    worker.start(step)
    assert began.acquire(timeout=PATIENCE)
    worker.wake()
    go_on.release()
    assert began.acquire(timeout=LONGEST_WAIT / 2), "it waited although it had been woken"
    worker.stop()
    go_on.release()
    assert worker.join(PATIENCE)


def test_the_next_pass_comes_when_it_is_due() -> None:
    """A pass that names a time is followed by the next one then, without being woken."""
    worker, passed = Worker("part", Clock()), threading.Semaphore(0)

    def step(now: float) -> float:
        passed.release()
        return now + 0.001

    worker.start(step)
    try:
        for _ in range(20):
            assert passed.acquire(timeout=LONGEST_WAIT / 2)
    finally:
        worker.stop()
        assert worker.join(PATIENCE)


@pytest.mark.parametrize(
    ("again", "wait"),
    [(None, LONGEST_WAIT), (NOW + 3600, LONGEST_WAIT), (NOW + 1.5, 1.5), (NOW, 0.0), (NOW - 100, 0.0)],
)
def test_nobody_waits_too_long(worker: Worker, again: float | None, wait: float) -> None:
    """The wait is until the time that the pass named, at most the longest wait, and never negative."""
    said: list[float] = []
    worker._woken = Waits(said, 1)

    def step(now: float) -> float | None:
        if said:
            worker.stop()
        return again

    worker.start(step)
    assert worker.join(PATIENCE)
    assert said[0] == wait


@pytest.mark.parametrize(
    ("error", "shown"), [(Transient("share is away"), "share is away"), (KeyError("x"), "KeyError: 'x'")]
)
def test_a_pass_that_fails_is_tried_again_later_and_later(worker: Worker, error: Exception, shown: str) -> None:
    """Whatever a pass raises, the thread lives on; it waits twice as long after each failure, up to a minute."""

    def step(now: float) -> None:
        raise error

    assert run(worker, step, 9) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert worker.failure == shown


def test_success_forgets_the_failure(worker: Worker) -> None:
    """After a pass that went well nothing is shown any more, and the next failure begins with a short wait."""
    shown: list[str | None] = []
    outcomes = iter([Transient("one"), Transient("one"), None, Transient("two")])

    def step(now: float) -> float:
        shown.append(worker.failure)
        outcome = next(outcomes, None)
        if outcome is not None:
            raise outcome
        if len(shown) == 5:
            worker.stop()
        return now

    said = run(worker, step, 100)
    assert shown == [None, "one", "one", None, "two"]
    assert said == [1.0, 2.0, 1.0, GATHER]
    assert worker.failure is None


def test_a_failure_is_told_once(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """The same expected failure again and again is one line in the log; another one is another line."""
    reasons = iter(["away", "away", "away", "full", "full", "full"])

    def step(now: float) -> None:
        raise Transient(next(reasons))

    with caplog.at_level(logging.ERROR, "agent.host.worker"):
        run(worker, step, 6)
    assert [record.getMessage() for record in caplog.records] == [
        "part: away; will be tried again",
        "part: full; will be tried again",
    ]


def test_an_unexpected_failure_shows_where_it_was(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    """A defect is logged with its traceback, for anyone who has to find it."""

    def step(now: float) -> None:
        raise ZeroDivisionError("division by zero")

    with caplog.at_level(logging.ERROR, "agent.host.worker"):
        run(worker, step, 1)
    assert [record.exc_info is not None for record in caplog.records] == [False, True]


def test_waking_does_not_shorten_the_wait_after_a_failure(worker: Worker) -> None:
    """A part that fails is not driven by events: it waits in full, whoever wakes it."""
    passes = []

    def step(now: float) -> None:
        passes.append(now)
        worker.wake()
        raise Transient("away")

    assert run(worker, step, 3) == [1.0, 2.0, 4.0]
    assert len(passes) == 3


def test_stop_ends_at_once(worker: Worker) -> None:
    """A worker that waits ends when it is told to, without another pass."""
    passes = []
    passed = threading.Event()

    def step(now: float) -> None:
        passes.append(now)
        passed.set()

    worker.start(step)
    assert passed.wait(PATIENCE)
    began = time.monotonic()
    worker.stop()
    assert worker.join(PATIENCE)
    assert time.monotonic() - began < LONGEST_WAIT / 2
    assert (len(passes), worker.alive) == (1, False)


def test_stop_ends_a_wait_after_a_failure(worker: Worker) -> None:
    """A worker that waits after a failure ends when it is told to."""
    failed = threading.Event()

    def step(now: float) -> None:
        failed.set()
        raise Transient("away")

    worker.start(step)
    assert failed.wait(PATIENCE)
    worker.stop()
    assert worker.join(PATIENCE)


def test_stop_is_never_lost(worker: Worker) -> None:
    """A stop at the moment between two passes ends the thread at once, not after the longest wait."""

    class StopsHere(threading.Event):
        def clear(self) -> None:
            if passes:
                worker.stop()
            super().clear()

    passes: list[float] = []
    worker._woken = StopsHere()

    def step(now: float) -> float:
        passes.append(now)
        return now if len(passes) == 1 else now + 3600

    worker.start(step)
    assert worker.join(LONGEST_WAIT / 2), "it went to sleep although it had been stopped"
    assert len(passes) == 1


def test_a_pass_under_way_is_not_cut_off(worker: Worker) -> None:
    """Stopping waits for the pass; join says whether the end came in time."""
    began, go_on = threading.Event(), threading.Event()
    ended = []

    def step(now: float) -> None:
        began.set()
        go_on.wait(PATIENCE)
        ended.append(now)

    worker.start(step)
    assert began.wait(PATIENCE)
    worker.stop()
    assert not worker.join(0.01)
    assert worker.alive
    go_on.set()
    assert worker.join(PATIENCE)
    assert ended == [NOW]


def test_a_worker_that_never_ran_is_not_alive(worker: Worker) -> None:
    """Before its start a worker is not alive, and joining it is no wait."""
    assert not worker.alive
    assert worker.join(0.0)


def test_the_end_of_a_pass_is_noted() -> None:
    """When the last pass ended is kept, whether it went well or not: a thread that hangs is seen."""
    times = iter(range(100))
    worker = Worker("part", lambda: float(next(times)))
    assert worker.passed_at == 0.0

    def step(now: float) -> float:
        if now > 3:
            worker.stop()
        return now

    worker.start(step)
    assert worker.join(PATIENCE)
    assert worker.passed_at > 3


def test_a_long_pass_says_that_it_goes_on_and_hears_that_it_is_to_end() -> None:
    """`heartbeat` moves the time of the last sign of life, and raises in a pass that should stop."""
    ticks = iter(range(10, 100))
    worker = Worker("part", lambda: float(next(ticks)))
    seen: list[float] = []

    def step(now: float) -> None:
        for _ in range(2):
            worker.heartbeat()
            seen.append(worker.passed_at - now)
        worker.stop()
        worker.heartbeat()
        seen.append(-1.0)

    worker.start(step)
    assert worker.join(PATIENCE)
    assert seen == [1.0, 2.0]
    assert worker.failure == "the agent stops"


def test_the_clock_never_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock starts with the computer's time and goes on evenly, whatever is done to that."""
    clock = Clock()
    first = clock()
    assert abs(first - time.time()) < 5.0
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert first <= clock() < first + 5.0


def test_what_comes_together_shares_a_pass(worker: Worker) -> None:
    """Being woken, a worker lets a moment pass, so that what else comes is taken with it."""
    said: list[float] = []
    worker._woken.set()
    worker._stop = Waits(said, 1)

    def step(now: float) -> float:
        worker.wake()
        return now + 3600

    worker.start(step)
    assert worker.join(PATIENCE)
    assert said == [GATHER]


def test_a_worker_process_whose_agent_ended_before_it_said_anything_ends_without_a_word() -> None:
    """The agent may be killed between the start of a process and its first words to it."""
    code = "from agent.destinations.directory.worker import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], input=b"", capture_output=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
