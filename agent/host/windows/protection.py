"""Who may do what with the agent's own files: access control lists. Modes mean nothing on Windows."""

import ctypes
import os
import stat
from typing import Any, Final

OPEN: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
"""Added to each open of a file of the agent's own: no line end is translated, and no other program inherits it."""
NEVER_WAITS: Final = 0
_OWNER_ALONE: Final = "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
"""A protected list: full access for the owner, the system and administrators, also to what is made below; nothing inherited."""
_DACL_INFORMATION: Final = 0x80000004
"""PROTECTED_DACL_SECURITY_INFORMATION and DACL_SECURITY_INFORMATION."""
_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""


def permissions(status: os.stat_result) -> int:
    """The mode of a file, without what it makes up of others: the list of the state directory says who may use it."""
    return status.st_mode & ~(stat.S_IRWXG | stat.S_IRWXO)


def is_foreign(owner: int) -> bool:
    """Whether a file is neither the system's nor the agent's user's. Python knows no owners on Windows."""
    return False


def in_the_hands_of_others(path: str | os.PathLike[str]) -> str | None:
    """Which part of a path others may replace; None: no part. The state directory has its own list."""
    return None


def protect(fd: int, mode: int) -> None:
    """An open file has the list of its directory."""


def protect_directory(path: str | os.PathLike[str]) -> None:
    """Let nobody but its owner, the system and administrators into a directory and what is made in it. Raises OSError."""
    advapi = _windows.WinDLL("advapi32", use_last_error=True)
    kernel = _windows.WinDLL("kernel32", use_last_error=True)
    descriptor = ctypes.c_void_p()
    convert = advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW
    convert.argtypes = [ctypes.c_wchar_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
    advapi.SetFileSecurityW.argtypes = [ctypes.c_wchar_p, ctypes.c_uint32, ctypes.c_void_p]
    kernel.LocalFree.argtypes = [ctypes.c_void_p]
    if not convert(_OWNER_ALONE, 1, ctypes.byref(descriptor), None):
        raise _windows.WinError(_windows.get_last_error())
    try:
        if not advapi.SetFileSecurityW(os.fspath(path), _DACL_INFORMATION, descriptor):
            raise _windows.WinError(_windows.get_last_error())
    finally:
        kernel.LocalFree(descriptor)


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
