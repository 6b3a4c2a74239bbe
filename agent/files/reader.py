"""Reading a version of a file, and nothing but that version.

The file is opened without following links, checked to be the very version that was sealed and without a writer, read
once, and checked again: a reading during which anything moved counts for nothing.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Protocol, Self

from blake3 import blake3

from agent.destinations import Changed, Gone, Item, Outcome, Unfit
from agent.errors import cause
from agent.files.posix import durable as disk
from agent.files.posix import writer_probe as probe
from agent.files.posix.tree import Tree
from agent.files.posix.volumes import remote
from agent.host.steps import Steps
from rules.model import Observation, Writer

BLOCK = 2**20
"""Bytes read at a time."""
WRITE_BACK = 8 * 2**20
"""Bytes after which the storage begins to take what is written, so that making it durable has little left to wait for."""
ChecksumName = Literal["sha256", "blake3", "md5"]
_ZEROS = bytes(BLOCK)


class Hash(Protocol):
    """What hashlib and blake3 have in common."""

    def update(self, data: bytes | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


def _md5() -> Hash:
    return hashlib.md5(usedforsecurity=False)


_HASHES: dict[str, Callable[[], Hash]] = {"sha256": hashlib.sha256, "blake3": blake3, "md5": _md5}


def checksum_of(fd: int, algorithm: str, size: int, passing: Callable[[int], None] = lambda _: None) -> bytes:
    """The checksum of a file from the descriptor's position on.

    Args:
        fd: the open file.
        algorithm: of the checksum.
        size: bytes that it should have; more or fewer are hashed all the same.
        passing: told how long each block is; it may wait, or end this by raising.
    """
    found = _HASHES[algorithm]()
    block = bytearray(min(BLOCK, size + 1))
    view = memoryview(block)
    while length := os.readv(fd, [block]):
        passing(length)
        found.update(view[:length])
        if length < len(block):
            break  # a short read is the end (POSIX, regular files)
    return found.digest()


class SourceChanged(Exception):
    """What is at the source is not what was sealed. Carries the outcome for this file."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class Reading:
    """An open source file."""

    def __init__(self, fd: int, item: Item, algorithm: str, remote: bool, steps: Steps) -> None:
        self.fd = fd
        self.status = os.fstat(fd)
        self._item = item
        self._algorithm = algorithm
        self._remote = remote
        self._steps = steps
        self._same_version(self.status)

    def copy_to(self, target: int | None, place: str = "") -> bytes:
        """Read it once, hashing, writing to `target` (below `place`) where one is given. Returns the checksum.

        Holes of a sparse file are not written out. Raises SourceChanged where the version moved meanwhile, or where a
        writer has it open now: what was read then proves nothing.
        """
        found = _HASHES[self._algorithm]()
        size = self._item.version.size
        sparse = self.status.st_blocks * 512 < size
        # One byte more than the file should have: a short read is the end (POSIX, regular files), a full one is growth.
        # One buffer for all blocks: a new one each time costs more page faults than the copying.
        block = memoryview(bytearray(min(BLOCK, size + 1)))
        length = len(block)
        written = begun = ended = 0
        while length == len(block):
            self._steps.at(self._item.root)
            try:
                length = os.readv(self.fd, [block])
            except OSError as error:
                hint = "check the disk, then `dropline retry`"
                raise SourceChanged(Unfit(self._item.file, f"cannot be read: {cause(error)}", hint)) from error
            found.update(block[:length])
            if target is None:
                self._steps.go_on()
                continue
            rest = block[:length]
            if sparse and rest.tobytes() == _ZEROS[:length]:
                os.lseek(target, length, os.SEEK_CUR)
                rest = block[:0]
            self._steps.wrote(len(rest))
            self._steps.at(place)
            while rest:
                rest = rest[os.write(target, rest) :]
            written += length
            if written - begun >= WRITE_BACK:
                disk.begin_write_back(target, begun, written - begun)
                if begun:
                    disk.end_write_back(target, ended, begun - ended)
                ended, begun = begun, written
        if target is not None and sparse:
            os.ftruncate(target, size)
        self._steps.at(self._item.root)
        seen = self._same_version(os.fstat(self.fd))
        path = f"{self._item.root}/{self._item.relpath}"
        if probe.writer(self.fd, path, remote=self._remote) is Writer.OPEN:
            raise SourceChanged(Changed(self._item.file, seen, Writer.OPEN.value))
        return found.digest()

    def _same_version(self, status: os.stat_result) -> Observation:
        seen = probe.observation(status)
        if seen.kind != "file" or seen.version != self._item.version:
            raise SourceChanged(Changed(self._item.file, seen, "it changed before it was delivered"))
        return seen


class Source:
    """The watched directories that items of one group come from."""

    def __init__(self, algorithm: str, steps: Steps) -> None:
        self._algorithm = algorithm
        self._steps = steps
        self._trees: dict[str, tuple[Tree, bool]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for tree, _ in self._trees.values():
            tree.close()

    @contextmanager
    def opened(self, item: Item) -> Iterator[Reading]:
        """The version, open for reading. Raises SourceChanged where it is not there as it was."""
        self._steps.at(item.root)
        try:
            if item.root not in self._trees:
                tree = Tree(item.root)
                self._trees[item.root] = tree, remote(item.root, os.fstat(tree.fd).st_dev)
            tree, is_remote = self._trees[item.root]
            directory, name = tree.place(item.relpath)
            seen = probe.observation(os.stat(name, dir_fd=directory, follow_symlinks=False))
            if seen.kind != "file":
                # Looked at before it is opened: opening a FIFO or a device may have effects.
                raise SourceChanged(Changed(item.file, seen, f"a {seen.kind} stands in its place"))
            fd = os.open(name, probe.OPEN_FLAGS, dir_fd=directory)
        except FileNotFoundError:
            raise SourceChanged(Gone(item.file)) from None
        except BlockingIOError:
            # A write lease, such as a Samba server takes for a client: it is asked to give it up, and is a writer till then.
            raise SourceChanged(Changed(item.file, seen, Writer.OPEN.value)) from None
        except OSError as error:
            hint = "make it readable for the agent's user, then `dropline retry`"
            raise SourceChanged(Unfit(item.file, f"cannot be read: {cause(error)}", hint)) from error
        try:
            yield Reading(fd, item, self._algorithm, is_remote, self._steps)
        finally:
            os.close(fd)

    def checksum(self, item: Item) -> bytes:
        """The version's checksum. Raises SourceChanged."""
        with self.opened(item) as reading:
            return reading.copy_to(None)
