"""A program that is run with the event on its standard input."""

import logging
import math
import os
import subprocess
import threading
import time
from typing import IO

from agent.errors import Transient, cause
from agent.host import own_files, processes
from agent.ledger import Queued
from rules.actions import Command
from rules.actions.event import batch_of

_SHOWN = 2000
"""Bytes of the end of standard error that are looked at for a reason."""
_KEPT = 2**20
"""Bytes of standard error after which what was written so far is dropped: it may be written without end."""
_LOOK = 0.1
"""Seconds between two looks at how much that is."""
_DIES = 1.0
"""Seconds after which what was killed and has not ended is taken to run on."""

log = logging.getLogger(__name__)


class Runner:
    """Runs programs, and ends those that still run when the agent stops."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, action: Command, queued: Queued) -> None:
        """Run it to its end; only exit status 0 is success. Raises Transient."""
        with own_files.temporary() as event, own_files.temporary() as said:
            event.write(queued.payload)
            event.seek(0)
            process = self._start(action, queued, event, said)
            try:
                status = self._follow(process, said, action.timeout)
                if status is None:
                    refused = processes.kill(process)
                    status = _ended(process, _DIES)
                    if status is not None and refused is None:
                        raise Transient(f"{action.shown} did not end within {action.timeout:g} s and was killed")
                if status is None:  # another copy would run beside it, and one more after each timeout
                    why = refused or "it does not end"
                    stuck = f"{action.shown} did not end within {action.timeout:g} s and cannot be killed: {why}"
                    log.warning("%s; it is not run again while it runs (process %d)", stuck, process.pid)
                    status = self._follow(process, said, math.inf)
                    if status is None:
                        raise Transient(stuck)
            finally:
                with self._lock:
                    self._running.discard(process)
            if status:
                how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
                raise Transient(f"{action.shown} {how}{_last_line(said)}")

    def close(self) -> None:
        """Kill what still runs. What cannot be killed is left."""
        with self._lock:
            self._closed = True
            running = [process for process in self._running if process.poll() is None]
            for process in running:  # one that ended has no number any more, it may be another's by now
                processes.kill(process)
        until = time.monotonic() + _DIES
        for process in running:
            if _ended(process, until - time.monotonic()) is None:
                log.warning("process %d, which the agent started, cannot be killed, and runs on", process.pid)

    def _follow(self, process: "subprocess.Popen[bytes]", said: IO[bytes], seconds: float) -> int | None:
        """Its exit status; None: it goes on after that time, or, where there is no bound, when the agent stops."""
        until = time.monotonic() + seconds
        while (status := _ended(process, min(until - time.monotonic(), _LOOK))) is None:
            own_files.empty_beyond(said, _KEPT)
            if time.monotonic() >= until or (self._closed and seconds == math.inf):
                return None
        return status

    def _start(self, action: Command, queued: Queued, event: IO[bytes], said: IO[bytes]) -> "subprocess.Popen[bytes]":
        # Our own variables may hold the service account's secret.
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("DROPLINE_")}
        own = {"DROPLINE_BATCH": batch_of(queued.payload), "DROPLINE_RULE": queued.rule}
        with self._lock:
            if self._closed:
                raise Transient(f"{action.shown} is not started: the agent stops")
            try:
                process = subprocess.Popen(  # noqa: S603  (the configuration names it; no shell reads it)
                    action.argv, stdin=event, stdout=subprocess.DEVNULL, stderr=said, env=kept | own,
                    **processes.apart(),
                )  # fmt: skip
            except OSError as error:
                raise Transient(f"{action.shown} cannot be started: {cause(error)}") from None
            self._running.add(process)
        return process


def _ended(process: "subprocess.Popen[bytes]", within: float) -> int | None:
    """Its exit status; None: it goes on."""
    try:
        return process.wait(max(within, 0.0))
    except subprocess.TimeoutExpired:
        return None


def _last_line(said: IO[bytes]) -> str:
    end = said.seek(0, os.SEEK_END)
    said.seek(max(end - _SHOWN, 0))
    # Where it was emptied since, it begins with zeros.
    lines = said.read().replace(b"\0", b"").decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1].strip()[:300]}" if lines else ""
