"""What the operating system has that the tests run on. A test that needs what it has not is skipped, with the reason."""

import os
import sys
from pathlib import Path

import pytest

WINDOWS = sys.platform == "win32"
needs_modes = pytest.mark.skipif(WINDOWS, reason="Windows has no modes of files")
needs_leases = pytest.mark.skipif(WINDOWS, reason="Windows has no leases")


class Slashed(type(Path())):
    """A path that is written with slashes, as the agent writes it."""

    def __str__(self) -> str:
        return super().__str__().replace(os.sep, "/")


def slashes(path: Path) -> str:
    """The path as the agent writes it."""
    return str(Slashed(path))


def make_link(path: Path, target: str | Path) -> None:
    """Make a symbolic link."""
    try:
        path.symlink_to(target)
    except OSError:
        if WINDOWS:
            pytest.skip("Windows lets administrators and developers make symbolic links")
        raise
    if not os.path.lexists(path):
        pytest.skip("Wine makes no symbolic links")


def make_fifo(path: Path) -> None:
    """Make a FIFO."""
    if WINDOWS:
        pytest.skip("Windows has no FIFO in a directory")
    os.mkfifo(path)


def open_handles() -> int:
    """How many files, directories and so on this process has open."""
    if WINDOWS:
        from agent.files.windows import nt

        return nt.open_handles()
    return len(os.listdir("/proc/self/fd"))
