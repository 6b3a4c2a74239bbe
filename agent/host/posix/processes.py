"""Programs that the agent starts: what they inherit, how they end, and their priority."""

import os
import signal
from typing import TYPE_CHECKING, Any

from agent.errors import cause

if TYPE_CHECKING:  # worker processes do without it
    import subprocess

LOWEST_IO = "IOPRIO_CLASS_IDLE"
"""psutil's name of the I/O priority that takes the disk only while nobody else wants it."""


def inheriting(locks: tuple[int, ...]) -> dict[str, Any]:
    """Arguments of Popen for a worker process: it gets these locks."""
    return {"pass_fds": locks}


def apart() -> dict[str, Any]:
    """Arguments of Popen for a program of the configuration, which is ended with whatever it starts."""
    return {"start_new_session": True}


def kill(process: "subprocess.Popen[bytes]") -> str | None:
    """Kill a program that was started `apart`, and whatever it started. Returns why that is refused: sudo changes the user."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError as error:
        return cause(error)
    return None


def lower(nice: int) -> None:
    """Take less of the processor: never more than the agent was started with. Raises OSError."""
    if os.getpriority(os.PRIO_PROCESS, 0) < nice:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
