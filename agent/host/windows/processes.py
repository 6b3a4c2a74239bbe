"""Programs that the agent starts: what they inherit, how they end, and their priority."""

import ctypes
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # worker processes do without it
    import subprocess

LOWEST_IO: Final = "IOPRIO_VERYLOW"
"""psutil's name of the lowest I/O priority."""
_NO_WINDOW, _NEW_GROUP = 0x08000000, 0x200
"""CREATE_NO_WINDOW, and CREATE_NEW_PROCESS_GROUP: a Ctrl-C at the console is the agent's."""
_BELOW_NORMAL, _IDLE = 0x4000, 0x40
_RANK: Final = {0x40: 0, 0x4000: 1, 0x20: 2, 0x8000: 3, 0x80: 4, 0x100: 5}
"""Priority classes, the lowest first."""
_windows: Any = ctypes
"""Other systems have none of its names, and the types are checked there."""


def inheriting(locks: tuple[int, ...]) -> dict[str, Any]:
    """Arguments of Popen for a worker process: it gets these locks."""
    import subprocess

    kernel = _windows.WinDLL("kernel32", use_last_error=True)
    kernel.SetHandleInformation.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32]
    for lock in locks:
        kernel.SetHandleInformation(lock, 1, 1)  # HANDLE_FLAG_INHERIT
    startup: Any = getattr(subprocess, "STARTUPINFO")(lpAttributeList={"handle_list": list(locks)})  # noqa: B009
    return {"startupinfo": startup, "creationflags": _NO_WINDOW | _NEW_GROUP}


def apart() -> dict[str, Any]:
    """Arguments of Popen for a program of the configuration, which is ended with whatever it starts."""
    return {"creationflags": _NO_WINDOW | _NEW_GROUP}


def kill(process: "subprocess.Popen[bytes]") -> str | None:
    """Kill a program that was started `apart`, and whatever it started. Returns why that is refused."""
    import psutil  # programs are killed seldom

    try:
        whole = psutil.Process(process.pid)
        for one in [*whole.children(recursive=True), whole]:
            one.kill()
    except psutil.NoSuchProcess:
        return None
    except psutil.Error as error:
        return str(error)
    return None


def lower(nice: int) -> None:
    """Take less of the processor: never more than the agent was started with. Raises OSError.

    Not PROCESS_MODE_BACKGROUND_BEGIN: it leaves the process 32 MiB of memory.
    """
    wanted = _IDLE if nice >= 15 else _BELOW_NORMAL if nice > 0 else None
    kernel = _windows.WinDLL("kernel32", use_last_error=True)
    kernel.GetPriorityClass.argtypes = [ctypes.c_void_p]
    kernel.SetPriorityClass.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    this = ctypes.c_void_p(-1)
    if wanted is None or _RANK.get(kernel.GetPriorityClass(this), 2) <= _RANK[wanted]:
        return
    if not kernel.SetPriorityClass(this, wanted):
        raise _windows.WinError(_windows.get_last_error())
