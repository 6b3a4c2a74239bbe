"""What conditions of datasets ask of the disk: names, sizes, content, checksums."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.files import ABSENT, CannotTell, Tree, Trouble, Whose
from agent.files.reader import blocks, examine, incomplete, whole
from rules.model import Kind, Observation, Version, Writer
from rules.patterns.glob import Names

BYTES_A_PASS = 256 * 2**20
"""Of files whose checksums are made: new data must not wait for the whole of a large dataset."""


class Content:
    """A watched directory, open for one pass, in which each directory is listed once. Never follows a link, never opens what
    is no regular file.

    What is gone, or not the agent's to read, is not there for the agent. Raises Trouble where that cannot be told.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._names: dict[str, Names] = {}

    def names(self, directory: str) -> Names:
        """Names in a directory; none where it cannot be read: then nothing is found, and the dataset waits."""
        if directory not in self._names:
            try:
                self._names[directory] = Names(self._tree.names(directory))
            except Trouble as trouble:
                _of_the_file(directory, trouble)
                return Names(())
        return self._names[directory]

    def size(self, path: str) -> int | None:
        """Bytes of a regular file that nobody is seen to write; None where there is none such."""
        found = examine(self._tree, path)
        if isinstance(found, CannotTell):
            _of_the_file(path, found.trouble)
            return None
        if found is ABSENT or found.seen.kind is not Kind.FILE or found.writer is Writer.OPEN:
            return None
        return found.seen.version.size

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file; none where they cannot be read, which no condition takes for good."""
        try:
            with self._tree.open(path) as handle:
                return whole(handle, offset, length)
        except Trouble as trouble:
            _of_the_file(path, trouble)
            return b""


def _of_the_file(path: str, trouble: Trouble) -> None:
    """Raises Trouble where it says something of more than this file: then nothing can be told."""
    if trouble.whose is not Whose.FILE:
        raise Trouble(trouble.what, f"{path}: {trouble.reason}") from trouble


@dataclass(slots=True)
class _UnderWay:
    version: Version
    digest: Any
    done: int = 0
    result: str = ""


class Sums:
    """Checksums of files, made a part a pass. Forgotten with the process: then they are made again."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, _UnderWay]] = {}
        """Path → algorithm → how far it is."""
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
        for path in paths:
            self._files.pop(f"{root}/{path}", None)

    def _make(self, tree: Tree, algorithm: str, path: str, version: Version | None) -> str:
        if version is None:
            return "?"
        of_file = self._files.setdefault(f"{tree.root}/{path}", {})
        known = of_file.get(algorithm)
        if known is None or known.version != version:
            known = of_file[algorithm] = _UnderWay(version, hashlib.new(algorithm, usedforsecurity=False))
        if known.result or self._left <= 0:
            return known.result
        try:
            with tree.open(path) as handle:
                ended = True
                for block in blocks(handle.read_into, version.size, known.done):
                    known.digest.update(block)
                    known.done += len(block)
                    self._left -= len(block)
                    if self._left <= 0:
                        ended = False
                        break
        except Trouble as trouble:
            _of_the_file(path, trouble)
            del of_file[algorithm]
            return "?"
        seen = tree.look(path)
        if isinstance(seen, CannotTell):
            _of_the_file(path, seen.trouble)
        if not isinstance(seen, Observation) or seen.version != version:
            del of_file[algorithm]
            return "?"
        if known.done == version.size:
            known.result = known.digest.hexdigest()
        elif ended:
            del of_file[algorithm]
            _of_the_file(path, incomplete(version.size, known.done))
        return known.result
