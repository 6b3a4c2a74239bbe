"""Computers whose files are under test: this one, and one in memory. Each is looked at and changed from outside, too.

A new implementation of `agent.files.tree` gets a class here and a line in COMPUTERS; the whole suite then runs over it.
"""

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.files import LOCAL, Files
from agent.files.trouble import Trouble
from agent.simulation.memory import MemoryFiles, Storage
from rules.model import Kind


class Pen(Protocol):
    """A file that an instrument has open for writing."""

    def write(self, data: bytes, /) -> object:
        """Write at the end."""

    def close(self) -> None:
        """Close it."""


class Computer(Protocol):
    """Files, and a way to change them that is not the agent's. Paths are relative to a directory that holds `root`."""

    files: Files
    root: str
    """Absolute path of an empty directory."""
    outside: str
    """Absolute path of another one."""

    def write(self, path: str, content: bytes = b"", size: int | None = None) -> None:
        """Write a file, followed by a hole up to `size`."""

    def pen(self, path: str) -> Pen:
        """Open a file at its end."""

    def directory(self, path: str) -> None:
        """Make a directory, and those above."""

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""

    def hard_link(self, path: str, other: str) -> None:
        """Give a file a second name."""

    def special(self, path: str, kind: Kind) -> None:
        """Make a FIFO or a socket."""

    def rename(self, source: str, target: str) -> None:
        """Rename."""

    def remove(self, path: str) -> None:
        """Remove what has the name, with all below."""

    def set_mtime(self, path: str, mtime_ns: int) -> None:
        """Set the time of the last change."""

    def read(self, path: str) -> bytes:
        """The content of a file."""

    def target(self, path: str) -> str:
        """Where a link leads."""

    def kind(self, path: str) -> Kind | None:
        """What stands there."""

    def names(self, path: str) -> list[str]:
        """What is in a directory, in order."""

    def is_open(self) -> int:
        """How much is open."""


class Here:
    """This computer."""

    def __init__(self, path: Path) -> None:
        self.files: Files = LOCAL
        self.root, self.outside = str(path / "root"), str(path / "outside")
        for one in (self.root, self.outside):
            os.mkdir(one)

    def write(self, path: str, content: bytes = b"", size: int | None = None) -> None:
        with open(path, "wb") as file:
            file.write(content)
            if size is not None:
                file.truncate(size)

    def pen(self, path: str) -> Pen:
        return open(path, "ab", buffering=0)

    def directory(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def link(self, path: str, target: str) -> None:
        os.symlink(target, path)

    def hard_link(self, path: str, other: str) -> None:
        os.link(other, path)

    def special(self, path: str, kind: Kind) -> None:
        if kind is Kind.FIFO:
            os.mkfifo(path)
            return
        above = os.open(os.path.dirname(path), os.O_RDONLY)  # paths of sockets are short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{above}/{os.path.basename(path)}" if sys.platform == "linux" else path)
        os.close(above)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def remove(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def set_mtime(self, path: str, mtime_ns: int) -> None:
        os.utime(path, ns=(0, mtime_ns))

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def target(self, path: str) -> str:
        return os.readlink(path)

    def kind(self, path: str) -> Kind | None:
        for kind, is_kind in (("link", Path.is_symlink), ("FIFO", Path.is_fifo), ("file", Path.is_file)):
            if is_kind(Path(path)):
                return Kind(kind)
        return Kind.DIRECTORY if os.path.isdir(path) else Kind.SOCKET if os.path.lexists(path) else None

    def names(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def is_open(self) -> int:
        return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


class InMemory(Storage):
    """A computer in memory, whose clock is this one's."""

    def __init__(self) -> None:
        super().__init__(time.time_ns)
        self.memory = MemoryFiles(self)
        self.files: Files = self.memory
        self.root, self.outside = "/data/root", "/data/outside"
        for one in (self.root, self.outside):
            self.directory(one)

    def pen(self, path: str) -> Pen:
        return self.open(path)

    def remove(self, path: str) -> None:
        node = self.nodes.find(path, follow=False)
        for name in list(node.children):
            self.remove(f"{path}/{name}")
        super().remove(path)

    def read(self, path: str) -> bytes:
        content = self.nodes.find(path).content
        return content.read(0, content.size)

    def target(self, path: str) -> str:
        return self.nodes.find(path, follow=False).target

    def kind(self, path: str) -> Kind | None:
        try:
            return self.nodes.find(path, follow=False).kind
        except Trouble:
            return None

    def names(self, path: str) -> list[str]:
        return sorted(self.nodes.find(path).children)

    def is_open(self) -> int:
        return self.memory.faults.open


COMPUTERS: dict[str, Callable[[Path], Computer]] = {"here": Here, "memory": lambda path: InMemory()}
