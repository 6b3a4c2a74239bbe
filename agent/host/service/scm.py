"""The service control manager of Windows: a service of the whole computer, with the computer's start."""

import ctypes
import importlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, Final

from agent.errors import Refused, cause
from agent.host import own_files
from agent.host.service import MARK, Condition, Job
from agent.host.service.job import of_windows
from agent.host.windows import access_lists, event_log
from agent.host.windows.advapi import advapi, must

_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""
_KEY: Final = r"SYSTEM\CurrentControlSet\Services" + "\\"
_NO_PASSWORD: Final = ("nt authority\\", "nt service\\")
"""Beginnings of accounts that have none; nor have LocalSystem, and managed accounts, which end in `$`."""
_ALL_OF_MANAGER, _ALL_OF_SERVICE, _READ_OF_SERVICE = 0x3, 0xF01FF, 0x5
"""SC_MANAGER_CONNECT | SC_MANAGER_CREATE_SERVICE; SERVICE_ALL_ACCESS; SERVICE_QUERY_CONFIG | SERVICE_QUERY_STATUS."""
_OWN_PROCESS, _AUTOMATIC, _LOGGED = 0x10, 2, 1
_DESCRIPTION, _FAILURES, _DELAYED, _ALSO_BY_STATUS = 1, 2, 3, 4
"""SERVICE_CONFIG_ levels."""
_STOPPED, _RUNNING = 1, 4
_DENIED, _NOT_THERE, _NOT_ACTIVE, _LOGON = 5, 1060, 1062, 1069
_STATES: Final = {1: "stopped", 2: "starts", 3: "stops", 4: "runs", 5: "continues", 6: "pauses", 7: "paused"}
_STARTS_WITHIN, _STOPS_WITHIN = 900.0, 30.0
"""Seconds. A newer Dropline may have to bring a large ledger up to date first."""
_POLL: Final = 0.2
_REMOTE_DRIVE: Final = 4


class _Process(ctypes.Structure):
    """SERVICE_STATUS_PROCESS"""

    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in ("kind", "state", "accepted", "code", "specific", "checkpoint", "hint", "pid", "flags")
    )


class _Action(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_uint32), ("milliseconds", ctypes.c_uint32))


class _Failures(ctypes.Structure):
    _fields_ = (
        ("reset", ctypes.c_uint32), ("message", ctypes.c_wchar_p), ("command", ctypes.c_wchar_p),
        ("count", ctypes.c_uint32), ("actions", ctypes.POINTER(_Action)),
    )  # fmt: skip


class Scm:
    """Services of the computer. Only an administrator may install them."""

    def __init__(self, password: Callable[[str], str]) -> None:
        """`password`: asks for that of an account, where it has one."""
        self._password = password
        api, pointer, number, text = advapi(), ctypes.c_void_p, ctypes.c_uint32, ctypes.c_wchar_p
        api.OpenSCManagerW.restype = api.OpenServiceW.restype = api.CreateServiceW.restype = pointer
        api.OpenSCManagerW.argtypes = [text, text, number]
        api.OpenServiceW.argtypes = [pointer, text, number]
        config = [number, number, number, text, text, pointer, text, text, text]
        api.CreateServiceW.argtypes = [pointer, text, text, number, *config]
        api.ChangeServiceConfigW.argtypes = [pointer, *config, text]
        api.ChangeServiceConfig2W.argtypes = [pointer, number, pointer]
        api.QueryServiceConfig2W.argtypes = [pointer, number, pointer, number, pointer]
        api.QueryServiceStatusEx.argtypes = [pointer, number, pointer, number, pointer]
        api.StartServiceW.argtypes = [pointer, number, pointer]
        api.ControlService.argtypes = [pointer, number, pointer]
        api.DeleteService.argtypes = api.CloseServiceHandle.argtypes = [pointer]

    def text(self, job: Job) -> str:
        """The command line, its environment and its account."""
        environment = "".join(f"{one}\n" for one in _environment())
        return f"{_command(job)}\n{environment}account: {_account(job)}\n"

    def install(self, job: Job) -> list[str]:
        """Make or change the service, start it, and wait until the agent is ready."""
        account = _account(job)
        with _errors(f"the service {job.name} cannot be installed"), _manager(_ALL_OF_MANAGER) as manager:
            _require_no_mapped_drive(job)
            require_own_program(sys.prefix, sys.base_prefix)
            password = None if _has_no_password(account) else self._password(account)
            with _service(manager, job.name, _ALL_OF_SERVICE) as there:
                if there is not None:
                    _require_ours(there, job.name)
                    _stop(there)
                    config = (_OWN_PROCESS, _AUTOMATIC, _LOGGED, _command(job), None, None, None, account, password)
                    must(advapi().ChangeServiceConfigW(there, *config, _shown(job.name)))
                else:
                    made = advapi().CreateServiceW(
                        manager, job.name, _shown(job.name), _ALL_OF_SERVICE, _OWN_PROCESS, _AUTOMATIC, _LOGGED,
                        _command(job), None, None, None, account, password,
                    )  # fmt: skip
                    must(made)
                    advapi().CloseServiceHandle(made)
            with _service(manager, job.name, _ALL_OF_SERVICE) as service:
                assert service is not None, "it was made above"
                left = _describe(service, job)
                _write_environment(job.name)
                event_log.register(job.name)
                own_files.make_private_directory(job.state_dir)
                access_lists.keep_to(job.state_dir, access_lists.sid_of(account.removeprefix(".\\")))
                _start(service, job.name)
        log = f"its events are in the event log, Application, source {job.name}"
        return [f"{job.name} runs as {account}, and will with every start of the computer; {log}", *left]

    def uninstall(self, name: str) -> list[str]:
        """Stop and remove it."""
        with _errors(f"the service {name} cannot be removed"), _manager(0x1) as manager:
            with _service(manager, name, _ALL_OF_SERVICE) as service:
                if service is None:
                    raise Refused(
                        f"the service {name} is not there", "`dropline service status` says what is installed"
                    )
                _require_ours(service, name)
                _stop(service)
                must(advapi().DeleteService(service))
            event_log.forget(name)
        return [f"{name} was stopped and removed; its state and configuration are still there"]

    def condition(self, name: str) -> Condition:
        """What the manager says."""
        with (
            _errors(f"the service {name} cannot be asked"),
            _manager(0x1) as manager,
            _service(manager, name, _READ_OF_SERVICE) as service,
        ):
            if service is None or MARK not in _description(service):
                return Condition(installed=None, detail="there is no such service of Dropline")
            found = _status(service)
        running = found.state == _RUNNING
        detail = _STATES.get(found.state, "?")
        if not running and found.code:
            detail += f", ended with {found.specific or found.code}"
        return Condition(
            f"{name} of the service control manager", running, _since(found.pid) if running else None, detail
        )


def _shown(name: str) -> str:
    return f"Dropline ({name})"


def _account(job: Job) -> str:
    """The account as the manager wants it: one of this computer begins with `.\\`."""
    assert job.user is not None, "asked for services of the computer only"
    plain = "\\" in job.user or "@" in job.user or job.user.lower() == "localsystem"
    return job.user if plain else f".\\{job.user}"


def _has_no_password(account: str) -> bool:
    lower = account.lower()
    return lower == "localsystem" or lower.startswith(_NO_PASSWORD) or lower.endswith("$")


def _command(job: Job) -> str:
    # The interpreter itself, for that of an environment only starts it, and the manager waits for the process that it started.
    interpreter = getattr(sys, "_base_executable", sys.executable)
    return subprocess.list2cmdline(of_windows(interpreter, job.name, job.config))


def _environment() -> list[str]:
    """What the interpreter needs to be that of its environment, as the `python.exe` there sets it."""
    own = [] if sys.prefix == sys.base_prefix else [f"__PYVENV_LAUNCHER__={sys.executable}"]
    return ["PYTHONUTF8=1", *own]


def _write_environment(name: str) -> None:
    winreg: Any = importlib.import_module("winreg")  # other systems have none
    with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, _KEY + name) as key:
        winreg.SetValueEx(key, "Environment", 0, winreg.REG_MULTI_SZ, _environment())


def _require_no_mapped_drive(job: Job) -> None:
    """Raises Refused: a drive letter that a person mapped exists in that person's sessions only."""
    for path in (job.config, job.state_dir, *job.writes, *job.reads):
        drive = PurePath(path).drive
        if len(drive) == 2 and _windows.WinDLL("kernel32").GetDriveTypeW(drive + "\\") == _REMOTE_DRIVE:
            raise Refused(
                f"{path} is on a mapped drive, and a service has none",
                rf"write the path with the share's own name, '\\server\share\...'; `net use {drive}` shows it",
            )


def require_own_program(*folders: str) -> None:
    """Raises Refused where everybody may write what the service would run: they would do it as its account."""
    for folder in folders:
        if own_files.facts(folder).anybody_may_write:
            grants = "*S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F *S-1-5-32-545:(OI)(CI)RX"
            raise Refused(
                f"everybody may write {folder}, from where the service would run",
                f'install Dropline below C:\\Program Files, or icacls "{folder}" /inheritance:r /grant:r {grants}',
            )


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Raises Refused for what Windows refuses."""
    try:
        yield
    except OSError as error:
        number = getattr(error, "winerror", None)
        hint = "mend that and try again"
        if number == _DENIED:
            hint = "use a terminal that runs as administrator, or --user for a service of yours"
        elif number == _LOGON:
            hint = (
                "give the account the right to log on as a service (secpol.msc, Local Policies), and the right password"
            )
        raise Refused(f"{what}: {cause(error)}", hint) from None


@contextmanager
def _manager(access: int) -> Iterator[int]:
    handle = advapi().OpenSCManagerW(None, None, access)
    must(handle)
    try:
        yield handle
    finally:
        advapi().CloseServiceHandle(handle)


@contextmanager
def _service(manager: int, name: str, access: int) -> Iterator[int | None]:
    """A service; None: there is none."""
    handle = advapi().OpenServiceW(manager, name, access)
    if not handle and _windows.get_last_error() != _NOT_THERE:
        must(handle)
    try:
        yield handle
    finally:
        if handle:
            advapi().CloseServiceHandle(handle)


def _describe(service: int, job: Job) -> list[str]:
    """Set what is not in the call that makes it. Returns what could not be had, in sentences."""
    words = ctypes.c_wchar_p(f"Watches instrument folders and delivers their files ({job.config}). {MARK}.")
    must(advapi().ChangeServiceConfig2W(service, _DESCRIPTION, ctypes.byref(words)))
    # It goes on trying for ever: nobody sits beside an instrument's workstation.
    actions = (_Action * 2)(_Action(1, 5_000), _Action(1, 60_000))
    failures = _Failures(86_400, None, None, len(actions), actions)
    true = ctypes.c_int(1)
    wanted = {
        "it is not started again after a failure": (_FAILURES, failures),
        "it is not started again after it ended with an error": (_ALSO_BY_STATUS, true),
        "it starts with the first services, not after them": (_DELAYED, true),
    }
    return [
        f"note: {sentence}: {cause(_windows.WinError(_windows.get_last_error()))}"
        for sentence, (level, value) in wanted.items()
        if not advapi().ChangeServiceConfig2W(service, level, ctypes.byref(value))
    ]


def _description(service: int) -> str:
    answer, needed = ctypes.create_string_buffer(8192), ctypes.c_uint32()
    must(advapi().QueryServiceConfig2W(service, _DESCRIPTION, answer, len(answer), ctypes.byref(needed)))
    return ctypes.c_wchar_p.from_buffer(answer).value or ""


def _require_ours(service: int, name: str) -> None:
    if MARK not in _description(service):
        raise Refused(f"the service {name} is there and was not made by Dropline", "give --name another name")


def _status(service: int) -> _Process:
    found, needed = _Process(), ctypes.c_uint32()
    must(advapi().QueryServiceStatusEx(service, 0, ctypes.byref(found), ctypes.sizeof(found), ctypes.byref(needed)))
    return found


def _stop(service: int) -> None:
    """Ask it to stop, and wait for its end. Raises OSError."""
    status = _Process()
    if not advapi().ControlService(service, 1, ctypes.byref(status)):
        if _windows.get_last_error() == _NOT_ACTIVE:
            return
        must(False)
    deadline = time.monotonic() + _STOPS_WITHIN
    while _status(service).state != _STOPPED:
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not stop within {_STOPS_WITHIN:g} s")
        time.sleep(_POLL)


def _start(service: int, name: str) -> None:
    """Start it, and wait until the agent is ready. Raises OSError, and Refused where it ends."""
    must(advapi().StartServiceW(service, 0, None))
    deadline = time.monotonic() + _STARTS_WITHIN
    while (found := _status(service)).state != _RUNNING:
        if found.state == _STOPPED:
            hint = f"the event log (Application, source {name}) and `dropline check` say more"
            raise Refused(f"the service {name} ended at its start, with {found.specific or found.code}", hint)
        if time.monotonic() > deadline:
            raise TimeoutError(f"it was not ready within {_STARTS_WITHIN:g} s")
        time.sleep(_POLL)


def _since(pid: int) -> float | None:
    """When a process was started; None: that cannot be known."""
    import psutil  # the other commands do without it

    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
