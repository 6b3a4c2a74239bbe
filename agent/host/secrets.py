"""Secrets that are kept in files of their own."""

import os
import stat

from agent.errors import Refused, cause
from agent.host import protection
from agent.host.own_files import OPEN_TO_OTHERS, StrPath

_AT_MOST = 64 * 1024
"""Bytes."""


def read(path: StrPath) -> str:
    """The secret in a file. Raises Refused where it cannot be read, or can be by others."""
    try:
        # Not waiting for the other end of a pipe. What is looked at is what is read, whatever has the name since.
        with open(os.open(path, os.O_RDONLY | protection.NEVER_WAITS), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _AT_MOST:
                raise Refused(f"{path} holds no secret: it is no file, or a large one", "name the file with the secret")
            if protection.permissions(file.fileno(), status) & OPEN_TO_OTHERS:
                raise Refused(f"the secret in {path} can be read by others", protection.private_hint(path))
            secret = file.read(_AT_MOST).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = cause(error) if isinstance(error, OSError) else "it is not text"
        raise Refused(f"the secret in {path} cannot be read: {why}", "mend that, or name another file") from None
    if not secret:
        raise Refused(f"{path} is empty", "write the secret into it")
    return secret
