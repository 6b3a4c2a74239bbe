"""Files that one process at a time has, and those that inherit it from it: opened so that nobody else may open them.

Locks of a part of a file do not do: a process that inherits the handle does not have them.
"""

import ctypes
import os
from pathlib import PurePath
from typing import Any, Final

_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""
_SHARING_VIOLATION: Final = 32
_OPEN_ALWAYS: Final = 4
_TEMPORARY: Final = 0x04000000
"""FILE_FLAG_DELETE_ON_CLOSE"""
_NONE: Final = ctypes.c_void_p(-1).value


def take(path: PurePath) -> int | None:
    """A handle that is the lock; None where another process has it. Raises OSError."""
    return _take(os.fspath(path), 0)


def take_part(path: PurePath, number: int) -> int | None:
    """The same for one of many: a file for each, which goes with its handle."""
    return _take(f"{path}-{number}", _TEMPORARY)


def _take(path: str, flags: int) -> int | None:
    kernel = _windows.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = ctypes.c_void_p
    kernel.CreateFileW.argtypes = [
        ctypes.c_wchar_p,
        *[ctypes.c_uint32] * 2,
        ctypes.c_void_p,
        *[ctypes.c_uint32] * 2,
        ctypes.c_void_p,
    ]
    # GENERIC_READ | GENERIC_WRITE, and DELETE where the file goes with its handle
    access = 0xC0000000 | (0x10000 if flags else 0)
    handle: int | None = kernel.CreateFileW(path, access, 0, None, _OPEN_ALWAYS, 0x80 | flags, None)
    if handle is not None and handle != _NONE:
        return handle
    error = _windows.get_last_error()
    if error == _SHARING_VIOLATION:
        return None
    raise _windows.WinError(error)


def holder(path: PurePath) -> int | None:
    """Process id of the holder, which nobody can read as long as it holds the file."""
    return None


def give_back(lock: int) -> None:
    """Processes that inherited it still have it until they end."""
    kernel = _windows.WinDLL("kernel32", use_last_error=True)
    kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    kernel.CloseHandle(lock)
