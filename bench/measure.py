"""Run a command and its children; take wall clock, CPU and memory. Linux: reads /proc."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")  # per second
_SAMPLE = 0.05  # seconds between two looks at the memory, at most: the first come sooner
_PREFIXES = ("DROPLINE_", "FERRY_")  # settings from the caller's environment would change what is measured


@dataclass(frozen=True)
class Usage:
    """What one run cost: seconds of wall clock and of CPU, peak memory in bytes, exit status (negative: a signal)."""

    wall: float
    user: float
    system: float
    peak: int
    status: int


@dataclass(frozen=True)
class Snapshot:
    """A process tree at one moment: seconds of CPU since it started, resident bytes now, and at their peak."""

    cpu: float
    resident: int
    peak: int


def environment() -> Mapping[str, str]:
    """The caller's environment without the contenders' own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}


def start(
    command: Sequence[str], folder: Path, log: Path, more: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command in its own session, with its output in `log` and `more` in its environment."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**environment(), **(more or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that `start` began, and what it left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(command: Sequence[str], folder: Path, log: Path, limit: float, more: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end, or kill it after `limit` seconds. `more`: variables of its environment.

    CPU comes from wait4 and so includes every child that was waited for. Peak memory is the largest sum, over samples
    2 to 50 ms apart, of the high-water marks of the processes then alive: pages they share count more than once.
    (wait4's own ru_maxrss is no use: a child inherits the size that its parent, this benchmark, had when it forked.)
    """
    began = time.monotonic()
    process = start(command, folder, log, more)
    watched = os.pidfd_open(process.pid)
    peak, interval = 0, 0.002
    try:
        while not select.select([watched], [], [], interval)[0]:
            interval = min(2 * interval, _SAMPLE)
            peak = max(peak, snapshot(process.pid).peak)
            if time.monotonic() - began > limit:
                os.killpg(process.pid, signal.SIGKILL)
        wall = time.monotonic() - began
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        os.close(watched)
        if process.returncode is None:
            kill(process)
    return Usage(wall, used.ru_utime, used.ru_stime, peak, process.returncode)


def snapshot(pid: int) -> Snapshot:
    """CPU (in steps of one clock tick, usually 10 ms) and memory of a process and all that descend from it."""
    cpu = 0.0
    resident = peak = 0
    for member in _tree(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{member}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        cpu += sum(int(field) for field in fields[11:15]) / _TICKS  # utime stime cutime cstime
        resident += _kib(status, "VmRSS:") * 1024
        peak += _kib(status, "VmHWM:") * 1024
    return Snapshot(cpu, resident, peak)


def settle(process: subprocess.Popen[bytes], quiet: float, limit: float) -> None:
    """Wait until a process has used next to no CPU (2 ticks) for `quiet` seconds, or ended; at most `limit` seconds."""
    began = since = time.monotonic()
    cpu = snapshot(process.pid).cpu
    while process.poll() is None and (now := time.monotonic()) - began < limit and now - since < quiet:
        time.sleep(0.1)
        used = snapshot(process.pid).cpu
        if used - cpu > 2.5 / _TICKS:
            cpu, since = used, time.monotonic()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            members = children.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended meanwhile
        for member in members:
            yield from _tree(int(member))


def _kib(status: str, field: str) -> int:
    _, found, rest = status.partition(field)
    return int(rest.split(maxsplit=1)[0]) if found else 0  # a process that is exiting has no memory left to report
