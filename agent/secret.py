"""Secrets that are kept in files of their own."""

import os
from pathlib import Path

from agent.errors import Refused, cause


def read(path: Path) -> str:
    """The secret in a file. Raises Refused where it cannot be read, or can be by others."""
    try:
        if os.name == "posix" and path.stat().st_mode & 0o027:
            raise Refused(f"the secret in {path} can be read by others", f"chmod 600 {path}")
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = cause(error) if isinstance(error, OSError) else "it is not text"
        raise Refused(f"the secret in {path} cannot be read: {why}", "mend that, or name another file") from None
    if not secret:
        raise Refused(f"{path} is empty", "write the secret into it")
    return secret
