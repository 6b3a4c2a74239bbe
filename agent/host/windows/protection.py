"""Who may do what with the agent's own files: access control lists. Modes mean nothing on Windows."""

import ctypes
import os
import stat
from typing import Any, Final

from agent.host.windows import access, access_lists

OPEN: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
"""Added to each open of a file of the agent's own: no line end is translated, and no other program inherits it."""
NEVER_WAITS: Final = 0
_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""
_ANYBODY: Final = 0o007
"""What everybody may do. An account with an entry for itself was let in by somebody who may do that."""


def permissions(where: str | os.PathLike[str] | int, status: os.stat_result) -> int:
    """The mode of a file that its access control list comes to. Raises OSError."""
    return stat.S_IFMT(status.st_mode) | 0o700 | access.mode(access_lists.read(where).grants, access_lists.user())


def foreign_owner(where: str | os.PathLike[str] | int, status: os.stat_result) -> str | None:
    """The owner of a file, where that is neither the system, nor an administrator, nor the agent's account; None: no other."""
    owner = access_lists.read(where).owner
    return None if owner is None or access.is_trusted(owner, access_lists.user()) else owner


def private_hint(path: str | os.PathLike[str]) -> str:
    """The command with which a person takes away what others may do with a file or directory."""
    below = "(OI)(CI)" if os.path.isdir(path) else ""
    grants = " ".join(f"*{sid}:{below}F" for sid in dict.fromkeys((access_lists.user(), "S-1-5-18", "S-1-5-32-544")))
    return f'icacls "{os.path.abspath(path)}" /inheritance:r /grant:r {grants}'


def unwritable_hint(path: str | os.PathLike[str]) -> str:
    """The command with which a person takes away that everybody may write a file."""
    return private_hint(path)


def owner_hint(path: str | os.PathLike[str]) -> str:
    """The command with which a person makes the agent's account the owner of a file and all below."""
    return f'icacls "{os.path.abspath(path)}" /setowner *{access_lists.user()} /T'


def in_the_hands_of_others(path: str | os.PathLike[str]) -> str | None:
    """Which part of a path others may replace; None: no part. The state directory has a list that nothing above it changes."""
    return None


def protect(fd: int, mode: int) -> None:
    """An open file has the list of its directory."""


def make_private(path: str | os.PathLike[str]) -> bool:
    """Take away what others may do with a file. Returns whether there was anything. Raises OSError."""
    if not permissions(path, os.stat(path)) & _ANYBODY:
        return False
    access_lists.keep_to(path, access_lists.user())
    return True


def make_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory for the agent's account, the system and administrators. Raises OSError."""
    access_lists.make_directory(path)


def protect_directory(path: str | os.PathLike[str]) -> None:
    """Take away what others may do in a directory and with what is made in it. Raises OSError."""
    make_private(path)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable: by a handle that may add files to it."""
    kernel = _windows.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = ctypes.c_void_p
    kernel.CreateFileW.argtypes = [
        ctypes.c_wchar_p,
        *[ctypes.c_uint32] * 2,
        ctypes.c_void_p,
        *[ctypes.c_uint32] * 2,
        ctypes.c_void_p,
    ]
    kernel.FlushFileBuffers.argtypes = kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    # FILE_ADD_FILE | SYNCHRONIZE, everything shared, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS
    handle = kernel.CreateFileW(path or ".", 0x100002, 7, None, 3, 0x02000000, None)
    if handle in (None, ctypes.c_void_p(-1).value):
        raise _windows.WinError(_windows.get_last_error())
    try:
        if not kernel.FlushFileBuffers(handle):
            raise _windows.WinError(_windows.get_last_error())
    finally:
        kernel.CloseHandle(handle)
