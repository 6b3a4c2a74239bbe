"""Starts `dropline` commands by forking, so that a thousand restarts pay for the imports once: a driver for station.py.

Each line on standard input is a JSON object. {"start": {directory, environment, arguments, log, clock, patience}} answers the
process's id at once; {"wait": pid} answers its exit code when it has ended. Each child is a process of its own that runs
the product's `main` to its end. Its wall clock is the computer's plus the seconds that the file `clock` says, so that the
clock can be stepped while it runs.
"""

import gc
import json
import os
import signal
import sys
import time
from typing import Any

import typer

import agent.app.run  # noqa: F401  (what its commands import when they run)
from agent.cli import app, main
from agent.destinations.globus import session
from agent.host import worker_process
from rules.globus import task


def become(order: dict[str, Any]) -> None:
    """Make this process what a shell would have started."""
    os.setpgid(0, 0)
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = order["arguments"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    streams = (os.open(os.devnull, os.O_RDONLY), *(os.open(order[name], flags, 0o600) for name in ("out", "log")))
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    real, path = time.time, order["clock"]

    def stepped() -> float:
        with open(path) as file:
            return real() + float(file.read() or 0)

    time.time = stepped
    if order.get("patience"):
        worker_process.ANSWERS_WITHIN = order["patience"]
    task.FIRST_LOOK, session.A_SECOND = 0.02, 1000  # the stand-in for Globus needs no sparing


def serve() -> bool:
    """Take orders. Returns False when there are no more, True in each child."""
    while line := sys.stdin.readline():
        order = json.loads(line)
        if "start" in order:
            pid = os.fork()
            if pid == 0:
                become(order["start"])
                return True
            print(pid, flush=True)
        else:
            _, status = os.waitpid(order["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
    return False


if __name__ == "__main__":
    list(typer.main.get_command(app).commands.values())  # type: ignore[attr-defined]  # imports each of them
    gc.freeze()  # else each child copies all objects to look at them once, at its end
    if serve():
        main()
