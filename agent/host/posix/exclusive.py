"""Files that one process at a time has, and those that inherit it from it."""

import fcntl
import os
from pathlib import PurePath
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW


def take(path: PurePath) -> int | None:
    """A descriptor that is the lock; None where another process has it. Raises OSError."""
    fd = os.open(path, _FLAGS, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d" % os.getpid(), 0)
    return fd


def take_part(path: PurePath, number: int) -> int | None:
    """The same for one of many: a byte of one file for each, so that nothing is left behind."""
    fd = os.open(path, _FLAGS, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except OSError:
        os.close(fd)
        return None
    return fd


def holder(path: PurePath) -> int | None:
    """Process id that the holder wrote into the lock's file; None where it has not yet, or that cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read(20)
    except OSError:
        return None
    return int(content) if content.isdigit() else None


def give_back(lock: int) -> None:
    """Processes that inherited it still have it until they end."""
    os.close(lock)
