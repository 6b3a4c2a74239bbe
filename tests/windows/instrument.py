"""An instrument's program on Windows: it opens its files with the share modes that such programs use."""

import ctypes
from pathlib import Path
from typing import Any, Final

from agent.simulation.disk import Disk
from agent.simulation.instrument import Pen

_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""
READ, WRITE, DELETE = 1, 2, 4
"""What others may do with a file that is open: FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_SHARE_DELETE."""
MODES: Final = {
    "exclusive": 0,
    "denies writing": READ,
    "denies reading": WRITE,
    "denies nothing": READ | WRITE | DELETE,
}
"""As .NET's File.Open and LabVIEW, as FileStream by default, as some controllers, as the C library and more."""
_READ_DATA, _WRITE_DATA, _ALWAYS, _TRUNCATED = 0x80000000, 0x40000000, 4, 2


def _kernel() -> Any:
    kernel = _windows.WinDLL("kernel32", use_last_error=True)
    kernel.CreateFileW.restype = ctypes.c_void_p
    kernel.CreateFileW.argtypes = [
        ctypes.c_wchar_p, *[ctypes.c_uint32] * 2, ctypes.c_void_p, *[ctypes.c_uint32] * 2, ctypes.c_void_p
    ]  # fmt: skip
    kernel.CloseHandle.argtypes = [ctypes.c_void_p]
    kernel.WriteFile.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
    kernel.SetFilePointerEx.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_uint32]
    kernel.SetEndOfFile.argtypes = [ctypes.c_void_p]
    return kernel


class SharedPen:
    """A file that is open for reading and writing, at its end. See `agent.simulation.instrument.Pen`."""

    def __init__(self, path: Path, share: int) -> None:
        """Raises OSError."""
        self._kernel = _kernel()
        found = self._kernel.CreateFileW(str(path), _READ_DATA | _WRITE_DATA, share, None, _ALWAYS, 0x80, None)
        if found in (None, ctypes.c_void_p(-1).value):
            raise _windows.WinError(_windows.get_last_error())
        self._handle = found
        self._seek(0, 2)

    def _checked(self, done: object) -> None:
        if not done:
            raise _windows.WinError(_windows.get_last_error())

    def _seek(self, offset: int, whence: int) -> None:
        self._checked(self._kernel.SetFilePointerEx(self._handle, offset, None, whence))

    def write(self, data: bytes, /) -> None:
        """See `Pen`."""
        self._checked(self._kernel.WriteFile(self._handle, data, len(data), ctypes.byref(ctypes.c_uint32()), None))

    def set_size(self, size: int) -> None:
        """See `Pen`."""
        self._seek(size, 0)
        self._checked(self._kernel.SetEndOfFile(self._handle))

    def close(self) -> None:
        """See `Pen`."""
        self._checked(self._kernel.CloseHandle(self._handle))


class SharingDesk(Disk):
    """A directory in which an instrument opens its files with one share mode."""

    def __init__(self, root: Path, share: int) -> None:
        super().__init__(str(root))
        self._root = root
        self._share = share

    def open(self, name: str, *, truncate: bool) -> Pen:
        """See `Desk`."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pen = SharedPen(path, self._share)
        if truncate:
            pen.set_size(0)
        return pen
