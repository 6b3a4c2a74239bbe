"""Starts `dropline` commands by forking a process that has imported everything: a thousand of them pay for the imports once.

Each is its own process, in its own session, that runs the product's `main` to its end.
"""

import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ROOT = Path(__file__).parents[1]
ADDING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


class Process:
    """A command that was started."""

    def __init__(self, zygote: "Zygote", pid: int) -> None:
        self.pid = pid
        """Its own until `wait` has told of its end."""
        self.code: int | None = None
        self._zygote = zygote

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.wait(0.0) is None

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        if self.code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)

    def wait(self, seconds: float) -> int | None:
        """Its exit code; None: it did not end in time."""
        if self.code is None:
            self.code = self._zygote.ask(wait=self.pid, seconds=seconds)
        return self.code


class Zygote:
    """Where the processes come from."""

    def __enter__(self) -> Self:
        # watchdog warns of its own races, and goes on.
        warnings = ["-W", "error", "-W", "ignore::RuntimeWarning:watchdog.observers.inotify"]
        with ExitStack() as stack:
            self._process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-P", *warnings, "-m", "tests.zygote"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=os.environ | {"PYTHONPATH": str(_ROOT)},
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def ask(self, **order: object) -> Any:
        """The answer to an order."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def start(
        self, words: Sequence[str | Path], directory: Path, environment: Mapping[str, str], *,
        out: str | Path = os.devnull, err: str | Path = os.devnull, stdin: str | Path = os.devnull,
        clock: Path | None = None, patience: float | None = None, rest: float | None = None,
    ) -> Process:  # fmt: skip
        """Start a command. It adds what it says to `out` and `err`.

        Its wall clock is the computer's plus the seconds that the file `clock` says, so that it can be stepped while the
        command runs. `patience`: seconds that it waits for an answer of a destination, `rest`: seconds between two passes of
        a part that nobody wakes; None: as the product does.
        """
        for path in (out, err):
            os.close(os.open(path, ADDING, 0o600))  # whoever started it may read them at once
        order = {
            "arguments": [os.fsencode(word).hex() for word in words], "directory": str(directory),
            "environment": dict(environment), "streams": [str(stdin), str(out), str(err)],
            "clock": None if clock is None else str(clock), "patience": patience, "rest": rest,
        }  # fmt: skip
        return Process(self, self.ask(start=order))


# The process that is forked


def prepare() -> None:
    """Import all that a command might, and have its children share it."""
    import agent
    import rules

    for package in (agent, rules):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "windows" in module.name.split("."):
                continue  # they call what only Windows has
            importlib.import_module(module.name)
    from agent.destinations.globus import session
    from rules.globus import task

    task.FIRST_LOOK, session.A_SECOND = 0.02, 1000  # the stand-in for Globus needs no sparing
    gc.freeze()  # else each child copies all objects to look at them once, at its end


def become(order: dict[str, Any]) -> None:
    """Make this process what a shell would have started."""
    if sys.platform != "win32":
        os.setsid()
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = map(os.fsdecode, map(bytes.fromhex, order["arguments"]))
    for number, path in enumerate(order["streams"]):
        fd = os.open(path, ADDING if number else os.O_RDONLY, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order["clock"] is not None:
        real, path = time.time, order["clock"]

        def stepped() -> float:
            with open(path) as file:
                return real() + float(file.read() or 0)

        time.time = stepped
    if order["patience"] is not None:
        from agent.host import worker_process

        worker_process.ANSWERS_WITHIN = order["patience"]
    if order["rest"] is not None:
        from agent.host import worker

        worker.LONGEST_WAIT = order["rest"]


def _ended(pid: int, seconds: float) -> int | None:
    """The exit code of a child that ends in time."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.002)


def serve() -> bool:
    """Take orders, one a line. Returns False when there are no more, True in each child."""
    running = set()
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "start" in order:
            pid = os.fork()
            if pid == 0:
                become(order["start"])
                return True
            running.add(pid)
            print(pid, flush=True)
        else:
            code = _ended(order["wait"], order["seconds"])
            if code is not None:
                running.remove(order["wait"])
            print(json.dumps(code), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    return False


if __name__ == "__main__":
    prepare()
    if serve():
        from agent.cli import main

        main()
