"""Opportunistic locks: Windows lets a program that wants a file wait, calls us, and lets it go on when the file is given back.

Facts: learn.microsoft.com, "Granting oplocks", "Breaking oplocks", FSCTL_REQUEST_FILTER_OPLOCK, FSCTL_REQUEST_OPLOCK. Only file
systems of this computer grant them. Wine grants none.
"""

import ctypes
import struct
from collections.abc import Callable
from ctypes import wintypes
from typing import Any, Final

_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""
_kernel = _windows.WinDLL("kernel32", use_last_error=True)
_HANDLE, _DWORD, _POINTER = wintypes.HANDLE, wintypes.DWORD, ctypes.c_void_p
_kernel.CreateEventW.restype = _HANDLE
_kernel.CreateEventW.argtypes = [_POINTER, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR]
_kernel.DeviceIoControl.argtypes = [_HANDLE, _DWORD, _POINTER, _DWORD, _POINTER, _DWORD, _POINTER, _POINTER]
_kernel.WaitForSingleObject.argtypes = [_HANDLE, _DWORD]
_kernel.UnregisterWaitEx.argtypes = [_HANDLE, _HANDLE]
_kernel.CloseHandle.argtypes = _kernel.SetEvent.argtypes = [_HANDLE]
_Callback: Any = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)(None, _POINTER, ctypes.c_ubyte)
_kernel.RegisterWaitForSingleObject.argtypes = [_POINTER, _HANDLE, _Callback, _POINTER, _DWORD, _DWORD]
_FILTER, _REQUEST = 0x9005C, 0x90240
_READ_AND_HANDLE: Final = struct.pack("<HHII", 1, 12, 0x1 | 0x2, 1)
"""REQUEST_OPLOCK_INPUT_BUFFER: a lock of level read and handle."""
_PENDING: Final = 997
"""ERROR_IO_PENDING: granted, until it is broken."""
_ONCE: Final = 0x8
_FOREVER: Final = 0xFFFFFFFF
_ENDS_WITHIN: Final = 5000
"""Milliseconds in which a request ends when its handle is closed."""
_lost: list[object] = []
"""Blocks that Windows may still write to: they are never freed."""


class Oplock:
    """A lock of an open file. `broken` is called from a thread of Windows', and must close every handle of the file."""

    def __init__(self, handle: int, broken: Callable[[], None]) -> None:
        """Ask for one. `granted` says whether there is one, and `alone` whether nobody else has the file open.

        Args:
            handle: of the file, opened for its attributes alone, with calls that do not wait.
            broken: closes it, and whatever else of this process has the file open.
        """
        self._block = ctypes.create_string_buffer(32)  # OVERLAPPED
        self._answer = ctypes.create_string_buffer(24)  # REQUEST_OPLOCK_OUTPUT_BUFFER
        self._wait = _HANDLE()
        self._callback = _Callback(lambda context, timed_out: broken())
        self.event = _kernel.CreateEventW(None, True, False, None)
        self.alone = self._asked(handle, _FILTER, b"")
        self.granted = self.alone or self._asked(handle, _REQUEST, _READ_AND_HANDLE)
        waits = self.granted and _kernel.RegisterWaitForSingleObject(
            ctypes.byref(self._wait), self.event, self._callback, None, _FOREVER, _ONCE
        )
        if self.granted and not waits:
            broken()  # nobody would let the program go on

    def _asked(self, handle: int, request: int, data: bytes) -> bool:
        struct.pack_into("<QQIIQ", self._block, 0, 0, 0, 0, 0, self.event or 0)
        done = self.event and _request(handle, request, data, self._answer, self._block)
        return bool(done) and not self.is_broken

    @property
    def is_broken(self) -> bool:
        """Whether a program wanted the file since."""
        return bool(_kernel.WaitForSingleObject(self.event, 0) == 0)

    def release(self, close: Callable[[], None]) -> None:
        """Give it back. `close`: as `broken`, which is not called any more."""
        if self._wait:
            _kernel.UnregisterWaitEx(self._wait, _HANDLE(-1))  # waits for the callback
        close()
        if self.granted and _kernel.WaitForSingleObject(self.event, _ENDS_WITHIN):
            _lost.append((self._block, self._answer))
        elif self.event:
            _kernel.CloseHandle(self.event)
        self.event = self._wait = _HANDLE()


def _request(handle: int, request: int, data: bytes, answer: Any, block: Any) -> bool:
    """Whether it is granted: then the event of the block comes when it is broken, or the handle closed."""
    done = _kernel.DeviceIoControl(handle, request, data or None, len(data), answer, len(answer), None, block)
    return not done and _windows.get_last_error() == _PENDING
