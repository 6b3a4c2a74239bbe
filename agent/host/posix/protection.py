"""Who may do what with the agent's own files: owners and permissions."""

import os
import stat
from pathlib import PurePath
from typing import Final

OPEN: Final = os.O_NOFOLLOW | os.O_CLOEXEC
"""Added to each open of a file of the agent's own: no link is followed, and no other program inherits it."""
NEVER_WAITS: Final = os.O_NONBLOCK
"""Added to an open that must not wait for the other end of a pipe."""


def permissions(where: str | os.PathLike[str] | int, status: os.stat_result) -> int:
    """The mode of a file."""
    return status.st_mode


def foreign_owner(where: str | os.PathLike[str] | int, status: os.stat_result) -> str | None:
    """The owner of a file, where that is neither root nor the agent's user; None: no other."""
    return None if status.st_uid in (0, os.geteuid()) else f"uid {status.st_uid}"


def private_hint(path: str | os.PathLike[str]) -> str:
    """The command with which a person takes away what others may do with a file or directory."""
    return f"chmod {700 if os.path.isdir(path) else 600} {path}"


def unwritable_hint(path: str | os.PathLike[str]) -> str:
    """The command with which a person takes away that everybody may write a file."""
    return f"chmod o-w {path}"


def owner_hint(path: str | os.PathLike[str]) -> str:
    """The command with which a person makes the agent's user the owner of a file and all below."""
    return f"chown -R {os.geteuid()} {path}"


def in_the_hands_of_others(path: str | os.PathLike[str]) -> str | None:
    """Which part of a path another user made, or may replace, in a directory that everybody may write; None: no part.

    Raises OSError. What is not there yet is nobody's.
    """
    for whole in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
        above, mode = "/", 0
        for part in PurePath(whole).parts:
            above = os.path.join(above, part)
            try:
                status = os.lstat(above)
            except FileNotFoundError:
                break
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return f"everybody may replace {above}"
            if mode & stat.S_IWOTH and foreign_owner(above, status) is not None:
                return f"{above} was made by another user"
            mode = status.st_mode if stat.S_ISDIR(status.st_mode) else 0  # the mode of a link says nothing
    return None


def protect(fd: int, mode: int) -> None:
    """Set the mode of an open file."""
    os.fchmod(fd, mode)


def make_private(path: str | os.PathLike[str]) -> bool:
    """Take away what others may do with a file. Returns whether there was anything. Raises OSError."""
    mode = os.stat(path).st_mode
    if not mode & 0o077:
        return False
    os.chmod(path, stat.S_IMODE(mode) & ~0o077)
    return True


def make_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory that only its owner may use. Raises OSError."""
    os.mkdir(path, 0o700)


def protect_directory(path: str | os.PathLike[str]) -> None:
    """Take away what others than its owner may do in a directory. Raises OSError, also where it is a link."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | OPEN)
    try:
        if os.fstat(fd).st_mode & 0o077:
            os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
