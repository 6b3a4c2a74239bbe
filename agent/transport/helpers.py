"""Helper processes that write groups of small files.

One interpreter runs Python code on one processor at a time, and small files are mostly Python code and short system
calls: threads would spend their time handing the interpreter to each other (measured: bench/README.md). A helper gets
pickled groups on its standard input and answers on its standard output. It ends when its input ends. Meanwhile it
holds the lock of the state directory, which it inherits: no other agent starts while a helper of a killed one works.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from agent import probe
from agent.transport import Item
from agent.transport.group import Place, Written, write
from agent.transport.pace import Pace


class Helpers:
    """A few helper processes, each started when it is first needed, with a thread of ours that speaks to it."""

    def __init__(self, count: int, name: str, keep: Sequence[int]) -> None:
        """`keep`: descriptors that the helpers inherit (the lock)."""
        self._keep = tuple(keep)
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.threads = ThreadPoolExecutor(count, f"{name}-bulk")

    def write(self, place: Place, group: Sequence[Item]) -> Written:
        """Have a group written by the helper of this thread, which must be one of `threads`."""
        process: subprocess.Popen[bytes] | None = getattr(self._mine, "process", None)
        if process is None or process.poll() is not None:
            process = self._start()
            self._mine.process = process
        assert process.stdin is not None, "opened as a pipe"
        assert process.stdout is not None, "opened as a pipe"
        try:
            pickle.dump((place, list(group)), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            answer: Written = pickle.load(process.stdout)  # noqa: S301  (from our own child, over our own pipe)
        except (OSError, EOFError, pickle.UnpicklingError):
            process.kill()
            return Written([], "a helper process ended unexpectedly; it is started again")
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-c", "from agent.transport.helpers import main; main()"]
        with self._lock:
            process = subprocess.Popen(  # noqa: S603  (our own interpreter, no shell, no input of others)
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=self._keep
            )
            self._processes.append(process)
        return process

    def close(self) -> None:
        """Let the groups under way end."""
        self.threads.shutdown(cancel_futures=True)
        for process in self._processes:
            assert process.stdin is not None, "opened as a pipe"
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended by itself
            process.wait()
            assert process.stdout is not None, "opened as a pipe"
            process.stdout.close()


def main(source: BinaryIO = sys.stdin.buffer, target: BinaryIO = sys.stdout.buffer) -> None:
    """A helper's life: groups in, answers out, until the input ends."""
    # Signals are the agent's business; it ends its helpers by closing their input.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    probe.prepare()
    pace = Pace()  # the agent's threads wait before they hand a group over
    while True:
        try:
            place, group = pickle.load(source)  # noqa: S301  (from the agent that started us)
        except EOFError:
            return
        try:
            pickle.dump(write(place, group, pace), target, pickle.HIGHEST_PROTOCOL)
            target.flush()
        except BrokenPipeError:
            # The agent was killed. What was written is found and adopted by the next one.
            os._exit(0)
