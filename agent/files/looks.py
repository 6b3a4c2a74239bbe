"""Looking at files by their paths: what stands there, and has it a writer?"""

import os
from types import TracebackType
from typing import Self

from agent.files.posix import writer_probe as probe
from agent.files.posix.tree import Tree
from agent.files.posix.volumes import remote
from rules.model import Observation, Version, Writer


class Looks:
    """Directory trees, open for one pass. Not safe between threads."""

    def __init__(self) -> None:
        self._trees: dict[str, tuple[Tree, bool]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for tree, _ in self._trees.values():
            tree.close()

    def _tree(self, root: str) -> tuple[Tree, bool]:
        if root not in self._trees:
            tree = Tree(root)
            self._trees[root] = tree, remote(root, os.fstat(tree.fd).st_dev)
        return self._trees[root]

    def status(self, root: str, path: str) -> os.stat_result:
        """What stands at a path below a root. Raises OSError."""
        directory, name = self._tree(root)[0].place(path[len(root.rstrip("/")) + 1 :])
        return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def names(self, root: str, directory: str) -> list[str]:
        """The names in a directory, which is the root or below it. Raises OSError."""
        return os.listdir(self._tree(root)[0].directory(directory[len(root.rstrip("/")) + 1 :]))

    def read(self, root: str, path: str, expected: Version) -> tuple[Observation, Writer]:
        """What stands at a path below a root now; of the expected version, whether it has a writer.

        Raises OSError: BlockingIOError where a file server holds a write lease for a client, which is a writer.
        """
        tree, is_remote = self._tree(root)
        directory, name = tree.place(path[len(root.rstrip("/")) + 1 :])
        seen = probe.observation(os.stat(name, dir_fd=directory, follow_symlinks=False))
        if seen.kind != "file" or seen.version != expected:
            return seen, Writer.CANNOT_TELL  # never opened: opening a FIFO or a device may have effects
        fd = os.open(name, probe.OPEN_FLAGS, dir_fd=directory)
        try:
            return probe.observation(os.fstat(fd)), probe.writer(fd, path, remote=is_remote)
        finally:
            os.close(fd)
