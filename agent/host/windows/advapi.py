"""advapi32.dll: accounts, access control lists, services, events."""

import ctypes
from functools import lru_cache
from typing import Any

_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""


@lru_cache(maxsize=1)
def advapi() -> Any:
    """The library, in which each module declares the functions that it calls."""
    return _windows.WinDLL("advapi32", use_last_error=True)


def must(success: object) -> None:
    """Raises OSError, with the last error, where a call had none."""
    if not success:
        raise _windows.WinError(_windows.get_last_error())
