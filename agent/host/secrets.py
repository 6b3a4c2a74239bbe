"""Secrets that are kept in files of their own."""

import os
import stat
from pathlib import Path

from agent.errors import Refused, cause

_AT_MOST = 64 * 1024
"""Bytes."""


def open_to_others(status: os.stat_result) -> bool:
    """Whether others than the owner and the group may read a file, or others than the owner may write it."""
    return os.name == "posix" and bool(status.st_mode & 0o027)


def read(path: Path) -> str:
    """The secret in a file. Raises Refused where it cannot be read, or can be by others."""
    try:
        # Not waiting for the other end of a pipe. What is looked at is what is read, whatever has the name since.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _AT_MOST:
                raise Refused(f"{path} holds no secret: it is no file, or a large one", "name the file with the secret")
            if open_to_others(status):
                raise Refused(f"the secret in {path} can be read by others", f"chmod 600 {path}")
            secret = file.read(_AT_MOST).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = cause(error) if isinstance(error, OSError) else "it is not text"
        raise Refused(f"the secret in {path} cannot be read: {why}", "mend that, or name another file") from None
    if not secret:
        raise Refused(f"{path} is empty", "write the secret into it")
    return secret
