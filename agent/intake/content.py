"""What conditions of datasets ask of the disk: names, sizes, content, checksums."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.files.posix import writer_probe as probe
from agent.files.posix.tree import Tree
from agent.files.posix.volumes import file_system
from rules.model import Version, Writer

_BLOCK = 2**20
BYTES_A_PASS = 256 * 2**20
"""Of files whose checksums are made: new data must not wait for the whole of a large dataset."""


class Content:
    """A watched directory, open for one pass. Never follows a link, never opens what is no regular file."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._remote = file_system(tree.root).remote

    def names(self, directory: str) -> Sequence[str]:
        """Names in a directory; none where it cannot be read: then nothing is found, and the dataset waits."""
        try:
            return os.listdir(self._tree.directory(directory))
        except OSError:
            return ()

    def size(self, path: str) -> int | None:
        """Bytes of a regular file that nobody is seen to write; None where there is none such."""
        try:
            directory, name = self._tree.place(path)
            if probe.observation(os.stat(name, dir_fd=directory, follow_symlinks=False)).kind != "file":
                return None
            fd = os.open(name, probe.OPEN_FLAGS, dir_fd=directory)
        except OSError:
            return None  # gone, or not ours to read: it is not there for the agent
        try:
            if probe.writer(fd, f"{self._tree.root}/{path}", remote=self._remote) is Writer.OPEN:
                return None
            return os.fstat(fd).st_size
        finally:
            os.close(fd)

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file; none where they cannot be read, which no condition takes for good."""
        try:
            directory, name = self._tree.place(path)
            with probe.content(name, directory=directory) as (read, _):
                return _whole(read, offset, length)
        except OSError:
            return b""


def _whole(read: Any, offset: int, length: int) -> bytes:
    """A single read may bring less than there is (2 GiB at most, and less from some network file systems)."""
    parts: list[bytes] = []
    while length > 0 and (part := read(offset, length)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


@dataclass(slots=True)
class _UnderWay:
    version: Version
    digest: Any
    done: int = 0
    result: str = ""


class Sums:
    """Checksums of files, made a part a pass. Forgotten with the process: then they are made again."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], _UnderWay] = {}
        self._left = BYTES_A_PASS

    def begin(self) -> None:
        """A new pass."""
        self._left = BYTES_A_PASS

    def make(self, tree: Tree, wanted: Sequence[tuple[str, str]], versions: Mapping[str, Version]) -> list[str]:
        """(algorithm, path) ... → checksums, see `rules.datasets.facts.Sums`.

        Args:
            tree: the watched directory.
            wanted: paths relative to it.
            versions: what the files were when they settled; another version is as good as unreadable.
        """
        return [self._make(tree, algorithm, path, versions.get(path)) for algorithm, path in wanted]

    def forget(self, root: str, paths: Sequence[str]) -> None:
        """Their dataset is decided."""
        gone = {f"{root}/{path}" for path in paths}
        self._files = {key: one for key, one in self._files.items() if key[1] not in gone}

    def _make(self, tree: Tree, algorithm: str, path: str, version: Version | None) -> str:
        if version is None:
            return "?"
        key = algorithm, f"{tree.root}/{path}"
        known = self._files.get(key)
        if known is None or known.version != version:
            known = self._files[key] = _UnderWay(version, hashlib.new(algorithm, usedforsecurity=False))
        if known.result or self._left <= 0:
            return known.result
        try:
            directory, name = tree.place(path)
            with probe.content(name, directory=directory) as (read, _):
                while self._left > 0 and (block := read(known.done, _BLOCK)):
                    known.digest.update(block)
                    known.done += len(block)
                    self._left -= len(block)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            del self._files[key]
            return "?"
        if probe.version(status) != version:
            del self._files[key]
            return "?"
        if known.done >= version.size:
            known.result = known.digest.hexdigest()
        return known.result
