"""What is done at a destination, by name, and the life of a helper process that does it.

A helper gets pickled calls on its standard input, does each in a thread of its own, and answers on its standard output.
It ends when its input ends. It imports little: there may be many.
"""

import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from agent import child, probe
from agent.errors import Transient
from agent.transport.group import write
from agent.transport.pace import limited
from agent.transport.place import check, confirm, discard, set_up, there
from agent.transport.rereading import reread
from agent.transport.steps import Steps

JOBS: Mapping[str, Callable[..., Any]] = {
    one.__name__: one for one in (check, confirm, discard, reread, set_up, there, write)
}  # fmt: skip
"""What a helper does, by name. The last argument of each are its Steps."""
MOVES, PAUSE, RESUME = "moves", "pause", "resume"


def main(source: BinaryIO = sys.stdin.buffer, target: BinaryIO = sys.stdout.buffer) -> None:
    """A helper's life: calls in, answers out, until the input ends."""
    child.leave_signals()
    probe.prepare()
    pace, speaking = limited(pickle.load(source)), threading.Lock()  # noqa: S301  (from the agent that started us)
    under_way: dict[int, Steps] = {}

    def answer(number: int, found: Any) -> None:
        with speaking:
            try:
                pickle.dump((number, found), target, pickle.HIGHEST_PROTOCOL)
                target.flush()
            except BrokenPipeError:
                child.hush(target)  # what was written at the destination is found and adopted by the next agent

    def work(number: int, job: str, words: Sequence[Any]) -> None:
        try:
            found = JOBS[job](*words, under_way[number])
        except Transient as error:
            found = error
        except Exception as error:  # noqa: BLE001  (the boundary of the process: it is raised again in the agent)
            found = RuntimeError("".join(traceback.format_exception(error)))
        del under_way[number]
        answer(number, found)

    while True:
        try:
            number, job, words = pickle.load(source)  # noqa: S301  (from the agent that started us)
        except (EOFError, pickle.UnpicklingError):  # the latter where the agent was killed in the middle of a call
            break
        if job == MOVES:
            now = time.monotonic()
            answer(number, {one: (steps.where, now - steps.moved_at) for one, steps in list(under_way.items())})
            continue
        if job in (PAUSE, RESUME):
            (pace.pause if job == PAUSE else pace.resume)()
            answer(number, None)
            continue
        under_way[number] = Steps(pace)
        threading.Thread(target=work, args=(number, job, words), name=job).start()
    pace.stop()
