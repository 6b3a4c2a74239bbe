"""A process of our own beside the agent's: how it is started, and how it behaves."""

import os
import signal
import sys
from typing import BinaryIO


def command(module: str) -> list[str]:
    """Runs `main` of a module of ours in an interpreter like this one, whatever lies in the current directory."""
    return [sys.executable, "-P", "-c", f"from {module} import main; main()"]


def leave_signals() -> None:
    """Signals are the agent's business: it ends its processes itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def hush(target: BinaryIO) -> None:
    """After BrokenPipeError, for the agent was killed: what is still in the buffer goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
