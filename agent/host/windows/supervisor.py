"""Reports to the service control manager, where it started the agent: that it is ready, that it stops; and takes its stop.

`agent.host.service.scm` installs such a service.
"""

import atexit
import ctypes
import logging
import os
import signal
import sys
import threading
from typing import IO, Any, Final

from agent.host.windows import event_log
from agent.host.windows.advapi import advapi, must

_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""
_CONNECTS_WITHIN: Final = 30.0
"""Seconds: the manager itself waits as long."""
_STOPPED, _START_PENDING, _STOP_PENDING, _RUNNING = 1, 2, 3, 4
_ENDS: Final = (1, 5, 15)
"""SERVICE_CONTROL_STOP, _SHUTDOWN, _PRESHUTDOWN."""
_ACCEPTED: Final = 0x1 | 0x4 | 0x100
"""The same, as SERVICE_ACCEPT_."""
_INTERROGATE, _NOT_IMPLEMENTED = 4, 120
_NOT_STARTED_BY_MANAGER: Final = 1063
"""ERROR_FAILED_SERVICE_CONTROLLER_CONNECT"""
_FAILED: Final = 1066
"""ERROR_SERVICE_SPECIFIC_ERROR: the exit status is in the next field."""
_HINTS: Final = {_START_PENDING: 900_000, _STOP_PENDING: 20_000}
"""Milliseconds: a newer Dropline may have to bring a large ledger up to date first."""


class _Status(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint32) for name in ("kind", "state", "accepted", "code", "specific", "checkpoint", "hint")
    )


class _Service:
    """This process as the manager sees it."""

    def __init__(self, name: str) -> None:
        """Connect. Raises OSError; of number 1063 where the manager did not start this process."""
        self.name = name
        self.report = event_log.reporter(name)
        self.state = 0
        self._connected, self._ended = threading.Event(), threading.Event()
        self._error: OSError | None = None
        # Kept, since the manager calls them.
        self._main = _windows.WINFUNCTYPE(None, ctypes.c_uint32, ctypes.c_void_p)(self._on_start)
        self._handler = _windows.WINFUNCTYPE(
            ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p
        )(self._on_control)
        self._handle: int | None = None
        threading.Thread(target=self._serve, name="service control", daemon=True).start()
        self._connected.wait(_CONNECTS_WITHIN)
        if self._error is not None:
            raise self._error
        if self._handle is None:
            raise TimeoutError("the service control manager does not answer")

    def _serve(self) -> None:
        """Take what the manager asks for, until the service has stopped. Not the main thread, which handles signals."""
        table = (ctypes.c_void_p * 4)()
        name = ctypes.create_unicode_buffer(self.name)
        table[0], table[1] = ctypes.addressof(name), ctypes.cast(self._main, ctypes.c_void_p).value
        try:
            must(advapi().StartServiceCtrlDispatcherW(table))
        except OSError as error:
            self._error = error
            self._connected.set()

    def _on_start(self, count: int, arguments: int) -> None:
        api = advapi()
        api.RegisterServiceCtrlHandlerExW.restype = ctypes.c_void_p
        api.RegisterServiceCtrlHandlerExW.argtypes = [ctypes.c_wchar_p, ctypes.c_void_p, ctypes.c_void_p]
        api.SetServiceStatus.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self._handle = api.RegisterServiceCtrlHandlerExW(self.name, self._handler, None)
        self.becomes(_START_PENDING)
        self._connected.set()
        self._ended.wait()

    def _on_control(self, control: int, kind: int, data: int, context: int) -> int:
        if control in _ENDS:
            self.becomes(_STOP_PENDING)
            signal.raise_signal(signal.SIGTERM)  # its handlers are those of the agent in the foreground
        elif control != _INTERROGATE:
            return _NOT_IMPLEMENTED
        return 0

    def becomes(self, state: int, code: int = 0) -> None:
        """Report a state; with `code`, the exit status of a service that failed."""
        self.state = state
        accepted = _ACCEPTED if state == _RUNNING else 0
        status = _Status(0x10, state, accepted, _FAILED if code else 0, code, 0, _HINTS.get(state, 0))
        advapi().SetServiceStatus(self._handle, ctypes.byref(status))

    def end(self, code: int) -> None:
        """The last that is reported."""
        self.becomes(_STOPPED, code)
        self._ended.set()


_service: list[_Service] = []
"""One at the most."""


def connect(name: str) -> None:
    """Be the service that the manager started; where a person or a task started this process, change nothing.

    Raises OSError.
    """
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, stream) is None:  # a service has none of them
            setattr(sys, stream, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (until the process ends)
    try:
        _service.append(_Service(name))
    except OSError as error:
        if getattr(error, "winerror", None) != _NOT_STARTED_BY_MANAGER:
            raise
    atexit.register(ended, 1)  # the manager would wait for a process that ended without a report


def ready() -> None:
    """The agent runs, with the configuration that it was last given."""
    for service in _service:
        if service.state == _START_PENDING:
            service.becomes(_RUNNING)
            service.report(event_log.STARTED, f"{service.name} started")


def reloading() -> None:
    """The configuration is read again: the manager has no state for that."""


def report(status: str, *, alive: bool) -> None:
    """How it goes: the manager has no words for that."""


def stopping() -> None:
    """The agent ends."""
    for service in _service:
        service.becomes(_STOP_PENDING)


def ended(code: int, reason: str = "") -> None:
    """The process is about to end with this exit status: 0 as it was asked to, else because of `reason`."""
    while _service:
        service = _service.pop()
        if code:
            service.report(event_log.ERROR, f"{service.name} ended: {reason or f'exit status {code}'}")
        else:
            service.report(event_log.STOPPED, f"{service.name} stopped")
        service.end(code)


def handlers() -> list[logging.Handler]:
    """Logs of the system, beside standard error: the event log, for a service."""
    return [event_log.EventLog(service.report) for service in _service]


def is_journal(stream: IO[str]) -> bool:
    """Whether what is written there goes to systemd's journal."""
    return False
