"""Worker processes that work at destinations.

A share whose server is gone may never answer a system call. The thread in that call cannot be ended, nor can its process,
not even by SIGKILL. So what touches a destination that may hang is done by a worker process: the agent waits for its answers with
patience, and leaves it behind when it does not end. It then holds the lock of its destination, which it inherits: nobody
else writes there as long as a call of its may still be carried out.

Groups of many small files go to worker processes wherever they go: one interpreter runs Python code on one processor at a time,
and small files are mostly Python code and short system calls: threads would spend their time handing the interpreter to
each other (measured: bench/README.md).

This is the agent's side of it; `agent.host.worker_main` is the worker's.
"""

import logging
import pickle
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

from agent.errors import Exhausted, Transient, cause
from agent.host import exclusive, processes
from agent.host.heartbeat import Stall
from agent.host.worker_main import MOVES, PAUSE, RESUME, command
from rules.rate import Limit

ANSWERS_WITHIN = 30.0
"""Seconds without a step after which what was asked of a destination counts as unanswered."""
STANDS_AFTER = 120.0
"""Seconds without a step after which files under way stand still: making a large one durable may take long."""
ENDS_WITHIN = 3.0
"""Seconds in which a worker process must end what is under way, once it is asked to. Then it is left behind."""
_LOOK = 1.0
_PROMPT = 5.0
"""Seconds in which the worker process itself answers, whatever its threads wait for."""

log = logging.getLogger(__name__)

Keep = Callable[[], Sequence[int]]
"""→ descriptors that a worker process inherits. Raises Transient where there must be none yet."""


def release(descriptor: int) -> None:
    """Give back what worker processes inherited; those that still run have it until they end."""
    exclusive.give_back(descriptor)


class Call:
    """Something that a worker process was asked to do."""

    def __init__(self, number: int, job: str, where: str) -> None:
        self.number = number
        self.job = job
        self.where = where
        """The directory that it is about."""
        self.began = time.monotonic()
        self.answered = threading.Event()
        self.answer: Any = None
        self.hung: str | None = None
        """Why nobody waits for the answer any more."""

    def settle(self, answer: Any) -> None:
        """This is the answer."""
        self.answer = answer
        self.answered.set()


class WorkerProcess:
    """A process that does what may hang; started when it is first needed, and again when it has died."""

    def __init__(self, module: str, keep: Keep, limits: Sequence[Limit] = ()) -> None:
        """
        Args:
            module: its `main` serves the jobs.
            keep: what the process inherits.
            limits: how fast it may copy; without them those who hand something over wait for their turn.
        """
        self._module = module
        self._keep = keep
        self._limits = tuple(limits)
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._calls: dict[int, Call] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        """Takes the answers of the process, and ends after it."""
        self._closed = False

    def begin(self, job: str, *words: Any) -> Call:
        """Ask for something. Raises Transient."""
        with self._lock:
            if self._closed:
                raise Transient("the agent stops")
            process = self._process or self._start()
            call = Call(next(self._numbers), job, getattr(words[0], "path", words[0]) if words else "")
            self._calls[call.number] = call
            assert process.stdin is not None, "opened as a pipe"
            try:
                pickle.dump((call.number, job, words), process.stdin, pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
            except (OSError, ValueError):
                pass  # it has died, and its pipe may be closed already: who reads its answers settles its calls
        return call

    def result(self, call: Call) -> Any:
        """Wait for the answer, however long it takes. Raises what the job raises, and Transient."""
        call.answered.wait()
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def pause(self) -> None:
        """What it copies stands still, until `resume`."""
        self._tell(PAUSE)

    def resume(self) -> None:
        """It goes on."""
        self._tell(RESUME)

    def _tell(self, word: str) -> None:
        if self._process is not None:
            try:
                self.begin(word)
            except Transient:
                pass  # the agent stops, and with it what it copies

    def ask(
        self, job: str, *words: Any, within: float | None = None, waiting: Callable[[], object] = lambda: None
    ) -> Any:
        """Ask, and wait for the answer as long as it moves. Raises what the job raises, and Transient.

        `waiting`: called now and then; what it raises ends the waiting.
        A question that went unanswered is not asked again before it is.
        """
        within = ANSWERS_WITHIN if within is None else within
        with self._lock:
            hung = next((one.hung for one in self._calls.values() if one.job == job and one.hung), None)
        if hung is not None:
            raise Transient(hung)
        call = self.begin(job, *words)
        while not call.answered.wait(min(_LOOK, within)):
            waiting()
            found = self.still(call, within)
            if found is not None:
                call.hung = str(found)
                raise Transient(call.hung)
        return self.result(call)

    def still(self, call: Call, after: float) -> Stall | None:
        """What the call stands still at, after so many seconds; None: it moves, or has ended."""
        if time.monotonic() - call.began < after or call.answered.is_set():
            return None
        try:
            asked = self.begin(MOVES)
        except Transient:
            return None  # it is ended: so is the call
        if not asked.answered.wait(_PROMPT):
            return Stall(call.where, call.began)  # it was killed, and cannot die
        moves = asked.answer if isinstance(asked.answer, dict) else {}
        where, seconds = moves.get(call.number, ("", 0.0))
        if call.answered.is_set() or seconds < after:
            return None
        return Stall(where, time.monotonic() - seconds)

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(  # noqa: S603  (our own interpreter, no shell, no input of others)
                command(self._module),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                **processes.inheriting(tuple(self._keep())),
            )
        except OSError as error:
            raise Exhausted(f"a worker process cannot be started: {cause(error)}") from error
        self._process = process
        assert process.stdin is not None, "opened as a pipe"
        pickle.dump(self._limits, process.stdin, pickle.HIGHEST_PROTOCOL)
        self._reader = threading.Thread(target=self._read, args=(process,), name="worker process", daemon=True)
        self._reader.start()
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Take the answers of a process, to its end."""
        assert process.stdout is not None, "opened as a pipe"
        try:
            while True:
                number, answer = pickle.load(process.stdout)  # noqa: S301  (from our own child, over our own pipe)
                with self._lock:
                    call = self._calls.pop(number, None)
                if call is not None:
                    call.settle(answer)
        except Exception as error:
            # A call whose answer nobody reads would be waited for without end, whatever was the reason.
            if not isinstance(error, (OSError, EOFError, pickle.UnpicklingError)):
                log.exception("a worker process answered what cannot be understood")
            process.kill()
            process.wait()
            process.stdout.close()
            _close(process)
            self._settle_all()

    def _settle_all(self) -> None:
        with self._lock:
            reason = "the agent stops" if self._closed else "a worker process ended unexpectedly; it is started again"
            calls, self._calls, self._process = self._calls, {}, None
        for call in calls.values():
            call.settle(Transient(reason))

    def end(self) -> None:
        """Let what is under way end. Nothing is begun any more."""
        with self._lock:
            process, self._closed = self._process, True
        if process is not None:
            _close(process)

    def leave(self, deadline: float) -> None:
        """Wait for the end until then (in monotonic seconds); leave it behind where that does not come."""
        process, reader = self._process, self._reader
        if process is None or reader is None:
            return
        reader.join(max(deadline - time.monotonic(), 0.0))
        if reader.is_alive():
            process.kill()  # it dies when the call that hangs returns, and does nothing any more
            self._settle_all()


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close its input, at which it ends."""
    assert process.stdin is not None, "opened as a pipe"
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass  # it has ended


class WorkerProcesses:
    """A few worker processes for groups of small files, each with one thread that speaks to it."""

    def __init__(self, module: str, number: int, name: str, keep: Keep) -> None:
        self._module = module
        self._keep = keep
        self._mine = threading.local()
        self._all: list[WorkerProcess] = []
        self.threads = ThreadPoolExecutor(number, f"{name}-bulk")

    @property
    def all(self) -> Sequence[WorkerProcess]:
        """Those that were needed."""
        return self._all

    @property
    def mine(self) -> WorkerProcess:
        """The worker process of this thread, which must be one of `threads`."""
        found: WorkerProcess | None = getattr(self._mine, "helper", None)
        if found is None:
            found = self._mine.helper = WorkerProcess(self._module, self._keep)
            self._all.append(found)
        return found
