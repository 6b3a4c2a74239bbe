"""The life of a worker process beside the agent.

It gets pickled calls on its standard input, does each in its own thread, and answers on its standard output. It ends
when its input ends. It imports little: there may be many.
"""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from agent.errors import Refused, Transient
from agent.host.heartbeat import Heartbeat
from agent.host.rate_limiter import limited

MOVES, PAUSE, RESUME = "moves", "pause", "resume"

Jobs = Mapping[str, Callable[..., Any]]
"""What a worker process does, by name."""


def command(module: str) -> list[str]:
    """Runs `main` of one of our modules in an interpreter like this one, whatever lies in the current directory."""
    return [sys.executable, "-P", "-c", f"from {module} import main; main()"]


def _ignore_signals() -> None:
    """Signals are the agent's business: it ends its processes itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _discard_output(target: BinaryIO) -> None:
    """After BrokenPipeError, for the agent was killed: what is still in the buffer goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())


def serve(jobs: Jobs, source: BinaryIO = sys.stdin.buffer, target: BinaryIO = sys.stdout.buffer) -> None:
    """Take calls, do each in its own thread, answer, until the input ends. `jobs`: the last argument of each is its Heartbeat."""
    _ignore_signals()
    try:
        limits = pickle.load(source)  # noqa: S301  (from the agent that started us)
    except EOFError:
        return  # the agent ended before it said anything
    rate_limiter, speaking = limited(limits), threading.Lock()
    under_way: dict[int, Heartbeat] = {}

    def answer(number: int, found: Any) -> None:
        with speaking:
            try:
                pickle.dump((number, found), target, pickle.HIGHEST_PROTOCOL)
                target.flush()
            except BrokenPipeError:
                _discard_output(target)  # what was written at the destination is found and adopted by the next agent

    def work(number: int, job: str, words: Sequence[Any]) -> None:
        try:
            found = jobs[job](*words, under_way[number])
        except (Transient, Refused) as error:
            found = error
        except Exception as error:  # noqa: BLE001  (the boundary of the process: it is raised again in the agent)
            found = RuntimeError(f"{type(error).__name__}: {error}")
            found.add_note("".join(traceback.format_exception(error)))
        del under_way[number]
        answer(number, found)

    while True:
        try:
            number, job, words = pickle.load(source)  # noqa: S301  (from the agent that started us)
        except (EOFError, pickle.UnpicklingError):  # the latter where the agent was killed in the middle of a call
            break
        if job == MOVES:
            now = time.monotonic()
            answer(
                number, {one: (heartbeat.where, now - heartbeat.moved_at) for one, heartbeat in list(under_way.items())}
            )
            continue
        if job in (PAUSE, RESUME):
            (rate_limiter.pause if job == PAUSE else rate_limiter.resume)()
            answer(number, None)
            continue
        under_way[number] = Heartbeat(rate_limiter)
        threading.Thread(target=work, args=(number, job, words), name=job).start()
    rate_limiter.stop()
