"""The agent's process: its signals and its priority."""

import ctypes
import subprocess
import sys
from typing import Any

import pytest

from agent.host.priority import lower_priority

if sys.platform != "win32":
    pytest.skip("needs Windows; tests/windows/test_lane.py runs it in Wine", allow_module_level=True)

PATIENCE = 60.0
_windows: Any = ctypes
CLASSES = {0: 0x20, 10: 0x4000, 19: 0x40}
"""`nice` → NORMAL_PRIORITY_CLASS, BELOW_NORMAL_PRIORITY_CLASS, IDLE_PRIORITY_CLASS."""
STOPPED = """
import signal, time
from agent.host.signals import Signals
signals = Signals()
signals.install()
signal.raise_signal(getattr(signal, {name!r}))
print(signals.changed.wait(5), signals.stop, signals.reload)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGBREAK", "SIGTERM"])
def test_each_way_to_end_a_program_stops_the_agent(name: str) -> None:
    """Ctrl-C; Ctrl-Break, and the closing of its window; and what Python sends itself."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED.format(name=name)], capture_output=True, check=True, text=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True", "False"]


@pytest.mark.parametrize("nice", CLASSES)
def test_the_priority_is_a_class_of_windows(nice: int) -> None:
    """Below normal from `nice = 1` on; the disk is used with very low priority, or why not is said."""
    code = f"""
import ctypes
from agent.host.priority import lower_priority
print(lower_priority({nice}, "normal"))
kernel = ctypes.WinDLL("kernel32")
kernel.GetPriorityClass.argtypes = [ctypes.c_void_p]
print(kernel.GetPriorityClass(ctypes.c_void_p(-1)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.split() == ["[]", str(CLASSES[nice])]


def test_a_disk_priority_that_cannot_be_had_is_said() -> None:
    """Wine has none; Windows takes it."""
    failed = lower_priority(0, "idle")
    assert all(sentence.startswith('io_priority = "idle" cannot be had: ') for sentence in failed)
    assert len(failed) == (1 if hasattr(_windows.WinDLL("ntdll"), "wine_get_version") else 0)
