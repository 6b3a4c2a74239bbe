"""Runs `dropline` commands in forked children, so that only the first pays for the imports: a driver for conftest.py.

Each line on standard input is a JSON object: arguments, directory, environment, and the files for what the command says.
The answer is a line with its exit code. Each child is a process of its own that runs `main` to its end and exits.
"""

import gc
import json
import os
import signal
import sys
from typing import Any

import typer

import agent.app.run  # noqa: F401  (what its commands import when they run)
from agent.cli import app, main

PATIENCE = 60
"""Seconds after which a command that does not end is killed."""


def become(order: dict[str, Any]) -> None:
    """Make this process what a shell would have started."""
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = map(os.fsdecode, map(bytes.fromhex, order["arguments"]))
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    streams = (os.open(os.devnull, os.O_RDONLY), *(os.open(order[name], flags, 0o600) for name in ("out", "err")))
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    signal.alarm(PATIENCE)


def serve() -> bool:
    """Take orders. Returns False when there are no more, True in each child."""
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            become(json.loads(line))
            return True
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return False


if __name__ == "__main__":
    list(typer.main.get_command(app).commands.values())  # type: ignore[attr-defined]  # imports each of them
    gc.freeze()  # else each child copies all objects to look at them once, at its end
    if serve():
        main()
