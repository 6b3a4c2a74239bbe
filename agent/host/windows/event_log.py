"""The event log of Windows: that the service starts and stops, and what the agent warns of."""

import ctypes
import importlib
import logging
from collections.abc import Callable
from typing import Any, Final

from agent.host.windows.advapi import advapi, must

STARTED, STOPPED, WARNING, ERROR = 1, 2, 3, 4
"""Ids of events. EventCreate.exe, which has the texts, knows those from 1 to 1000."""
_KINDS: Final = {STARTED: 4, STOPPED: 4, WARNING: 2, ERROR: 1}
"""EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, EVENTLOG_ERROR_TYPE."""
_KEY: Final = r"SYSTEM\CurrentControlSet\Services\EventLog\Application" + "\\"
_LONGEST: Final = 31_839
"""Characters of one text, at the most."""
_AN_HOUR: Final = 60
"""Events of the log in an hour, at the most: the system keeps a bounded number for all programs together."""

Report = Callable[[int, str], None]
"""Takes an id and a text."""


def register(name: str) -> None:
    """Make a source of events, whose texts are those that are reported. Raises OSError."""
    winreg: Any = importlib.import_module("winreg")  # other systems have none
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, _KEY + name) as key:
        texts = r"%SystemRoot%\System32\EventCreate.exe"
        winreg.SetValueEx(key, "EventMessageFile", 0, winreg.REG_EXPAND_SZ, texts)
        winreg.SetValueEx(key, "TypesSupported", 0, winreg.REG_DWORD, 7)


def forget(name: str) -> None:
    """Remove the source, if it is there; its events stay. Raises OSError."""
    winreg: Any = importlib.import_module("winreg")
    try:
        winreg.DeleteKey(winreg.HKEY_LOCAL_MACHINE, _KEY + name)
    except FileNotFoundError:
        pass


def reporter(name: str) -> Report:
    """Writes events of a source. Raises OSError."""
    api = advapi()
    api.RegisterEventSourceW.restype = ctypes.c_void_p
    api.RegisterEventSourceW.argtypes = [ctypes.c_wchar_p] * 2
    api.ReportEventW.argtypes = [
        ctypes.c_void_p, ctypes.c_uint16, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint16,
        ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    log = api.RegisterEventSourceW(None, name)
    must(log)

    def report(number: int, text: str) -> None:
        texts = (ctypes.c_wchar_p * 1)(text[:_LONGEST].replace("\0", " "))
        must(api.ReportEventW(log, _KINDS[number], 0, number, None, 1, 0, texts, None))

    return report


class EventLog(logging.Handler):
    """Warnings and errors of the agent's log, as events. Beyond a bound they are left to the agent's own log."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report
        self._began = 0.0
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """One event for a record."""
        if record.created - self._began >= 3600:
            self._began, self._count = record.created, 0
        self._count += 1
        if self._count > _AN_HOUR:
            return
        text = self.format(record)
        if self._count == _AN_HOUR:
            text += "\nMore warnings of this hour are only in the log folder of the state directory."
        try:
            self._report(ERROR if record.levelno >= logging.ERROR else WARNING, text)
        except OSError:
            self.handleError(record)
