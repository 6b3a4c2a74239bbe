"""A Windows computer whose files are under test. What Windows or Wine has not is skipped, with its reason."""

import os
from pathlib import Path

import pytest

from agent.files.trouble import Trouble
from agent.files.windows import nt
from agent.files.windows.facts import new_part
from rules.model import Kind
from tests.contract.files.computers import Here


def possible(path: str) -> None:
    """Skips where Windows has no such name."""
    try:
        new_part(path.rpartition("/")[2])
    except Trouble as trouble:
        pytest.skip(trouble.reason)


class HereOnWindows(Here):
    """This computer."""

    def __init__(self, path: os.PathLike[str]) -> None:
        super().__init__(Path(path))
        self.root, self.outside = (one.replace(os.sep, "/") for one in (self.root, self.outside))

    def write(self, path: str, content: bytes = b"", size: int | None = None) -> None:
        possible(path)
        super().write(path, content, size)

    def remove(self, path: str) -> None:
        super().remove(path)
        if os.path.isdir(path):
            pytest.skip("Windows removes an open directory when it is closed")

    def rename(self, source: str, target: str) -> None:
        try:
            os.replace(source, target)
        except PermissionError:
            pytest.skip("Windows replaces no file that is open")

    def link(self, path: str, target: str) -> None:
        try:
            os.symlink(target, path)
        except OSError:
            pytest.skip("Windows lets administrators and developers make symbolic links")
        if not os.path.lexists(path):
            pytest.skip("Wine makes no symbolic links")

    def special(self, path: str, kind: Kind) -> None:
        pytest.skip(f"Windows has no {kind} in a directory")

    def is_open(self) -> int:
        return nt.open_handles()
