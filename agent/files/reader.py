"""Reading a version of a file, and nothing but that version. The one way there is.

The file is opened without following links, checked to be the very version that is meant and without a writer, read once,
and checked again: a reading during which anything moved counts for nothing.
"""

import hashlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

from blake3 import blake3

from agent.files.tree import Files, Handle, Tree
from agent.files.trouble import Absent, CannotTell, NotAFile, Trouble, What
from agent.host.heartbeat import Heartbeat
from rules.model import Content, Kind, Observation, Version, VolumeId, Writer
from rules.versions.identity import Adoption, adoption

BLOCK = 2**20
"""Bytes read at a time."""
WRITE_BACK = 8 * 2**20
"""Bytes after which the storage begins to take what is written, so that making it durable has little left to wait for."""
ChecksumName = Literal["sha256", "blake3", "md5"]
_ZEROS = bytes(BLOCK)
_CHECK = "check the disk, then `dropline retry`"


class Hash(Protocol):
    """What hashlib and blake3 have in common."""

    def update(self, data: bytes | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...

    def copy(self) -> Self: ...


def _md5() -> Hash:
    return hashlib.md5(usedforsecurity=False)


_HASHES: dict[str, Callable[[], Hash]] = {"sha256": hashlib.sha256, "blake3": blake3, "md5": _md5}
CHECKSUMS = frozenset(_HASHES)
"""Algorithms that `checksum_of` knows."""


class Examined(NamedTuple):
    """What stands at a name, and whether it has a writer: CANNOT_TELL where it is no file, or not the one that is meant."""

    seen: Observation
    writer: Writer


def examine(tree: Tree, path: str, expected: Version | None = None) -> Examined | Absent | CannotTell:
    """Look at a name; if the version that is meant stands there (None: any file), ask whether it has a writer.

    Where a file server holds a write lease for a client, that is a writer.
    """
    seen = tree.look(path)
    if not isinstance(seen, Observation):
        return seen
    if seen.kind is not Kind.FILE or (expected is not None and seen.version != expected):
        return Examined(seen, Writer.CANNOT_TELL)
    try:
        with tree.open(path, seen) as handle:
            return Examined(handle.opened, handle.writer())
    except NotAFile as error:
        return Examined(error.seen, Writer.CANNOT_TELL)
    except Trouble as trouble:
        if trouble.what is What.BUSY:
            return Examined(seen, Writer.OPEN)
        if trouble.what is What.ABSENT:
            return _again(tree, path, trouble)
        return CannotTell(trouble)


def _again(tree: Tree, path: str, trouble: Trouble) -> Examined | Absent | CannotTell:
    """It went away between the look and the open."""
    seen = tree.look(path)
    return CannotTell(trouble) if isinstance(seen, Observation) else seen


def adopt(
    tree: Tree | None, path: str, known: Version, volume: VolumeId, seen: Observation, *, left: bool = False
) -> Adoption:
    """Whether a new reading of a name is of the file that is known there. The one place where this is asked.

    Args:
        tree: None where it cannot be asked any more.
        path: the name.
        known: what was read before.
        volume: the file system that it was read on.
        seen: the new reading.
        left: the name went away at some time since.
    """
    ask = not left and known.file_id == seen.version.file_id and tree is not None
    return adoption(known, volume, seen, tree.born(path) if ask and tree is not None else None, left=left)


def whole(handle: Handle, offset: int, length: int) -> bytes:
    """Bytes of a file. One call of the system may bring less than there is (2 GiB at most, and less from network file systems)."""
    parts: list[bytes] = []
    while length > 0 and (part := handle.read(offset, length)):
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return b"".join(parts)


def blocks(read: Callable[[memoryview, int], int], size: int, begin: int = 0) -> Iterator[memoryview]:
    """The bytes of a file up to its end, and one byte beyond its size at most: enough to see that it has more.

    Only a call of the system that brings nothing is the end: before a damaged sector, and from network file systems, one
    brings fewer bytes than there are. Each block is valid until the next.

    Args:
        read: as `Handle.read_into`; what it raises ends this.
        size: bytes that the file should have.
        begin: the first byte to read.
    """
    # One buffer for all blocks: a new one each time costs more page faults than the copying.
    buffer = memoryview(bytearray(min(BLOCK, size + 1 - begin)))
    done = begin
    while done <= size and (length := read(buffer[: size + 1 - done], done)):
        yield buffer[:length]
        done += length


def incomplete(size: int, done: int) -> Trouble:
    """The trouble of a file that has other bytes than its size says, though nothing changed it."""
    return Trouble(What.DAMAGED, f"it has {size} bytes, and {done if done < size else 'more'} could be read")


def checksum_of(
    handle: Handle, algorithm: str, size: int, passing: Callable[[int], object] = lambda length: None
) -> Content:
    """The content of a file: its checksum and how many bytes it is of.

    Raises Trouble, also where fewer bytes could be read than the file has: that says nothing of its content.

    Args:
        handle: the open file.
        algorithm: of the checksum.
        size: bytes that it should have. One more is read at most: a larger file is other content, whatever follows.
        passing: gets the length of each block; it may wait, or end this by raising.
    """
    found, done = _HASHES[algorithm](), 0
    for block in blocks(handle.read_into, size):
        passing(len(block))
        found.update(block)
        done += len(block)
    if done < size and handle.look().version.size >= size:
        raise incomplete(size, done)
    return Content(found.digest(), done)


def begins_with(handle: Handle, content: Content, algorithm: str) -> bool:
    """Whether a file's first bytes, as many as the content has, are that content. Raises Trouble."""
    found, left = _HASHES[algorithm](), content.size
    for block in blocks(handle.read_into, content.size):
        found.update(block[:left])
        left -= min(left, len(block))
    return not left and found.digest() == content.checksum


class NotTheVersion(Exception):
    """What is at the source is not what was sealed, or has a writer."""

    def __init__(self, seen: Observation | None, reason: str) -> None:
        """`seen`: what has the name; None: nothing."""
        super().__init__(reason)
        self.seen = seen
        self.reason = reason


class Unreadable(Exception):
    """The source cannot be read. Its own type, for what fails at the other end of a copy is another thing."""

    def __init__(self, trouble: Trouble, hint: str) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble
        self.hint = hint


class Reading:
    """An open version of a file."""

    def __init__(self, handle: Handle, where: str, version: Version, algorithm: str, heartbeat: Heartbeat) -> None:
        """`where`: the watched directory, which may hang. Raises NotTheVersion."""
        self.handle = handle
        self._where = where
        self._version = version
        self._algorithm = algorithm
        self._heartbeat = heartbeat
        self.begin: bytes | None = None
        """Checksum of the first bytes, as many as `copy_to` was asked for; None: it has fewer."""
        self._same_version(handle.opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.handle.close()

    def copy_to(self, target: Handle | None, where: str = "", begin: int | None = None) -> Content:
        """Read it once, hashing, writing to `target` (below `where`) where one is given. Returns what was read.

        `begin`: so many of its first bytes get a checksum, too.

        Never more than the size of the version is written. Holes of a sparse file are not written out.
        Raises NotTheVersion where the version changed, or where a writer has it open now: what was read then
        proves nothing. Raises Unreadable, and the target's Trouble.
        """
        found = _HASHES[self._algorithm]()
        size = self._version.size
        sparse = self.handle.allocated() < size
        done = begun = ended = 0
        for block in blocks(self._read, size):
            length = len(block)
            if done + length > size:
                done += length
                break  # it grows: not the version, or not what its size says
            if begin is not None and done <= begin <= done + length:
                first = found.copy()
                first.update(block[: begin - done])
                self.begin = first.digest()
            found.update(block)
            if target is None:
                done += length
                self._heartbeat.go_on()
                continue
            hole = sparse and block.tobytes() == _ZEROS[:length]
            self._heartbeat.wrote(0 if hole else length)
            self._heartbeat.at(where)
            if not hole:
                target.write(block, done)
            done += length
            if done - begun >= WRITE_BACK:
                target.begin_write_back(begun, done - begun)
                if begun:
                    target.end_write_back(ended, begun - ended)
                ended, begun = begun, done
        if target is not None and sparse:
            target.set_size(size)
        self._heartbeat.at(self._where)
        try:
            seen = self._read_whole(self.handle.look())
        except Trouble as trouble:
            raise self._failed(trouble) from trouble
        if self.handle.writer() is Writer.OPEN:
            raise NotTheVersion(seen, Writer.OPEN.value)
        if done != size:
            raise Unreadable(incomplete(size, done), _CHECK)
        return Content(found.digest(), done)

    def _read(self, block: memoryview, offset: int) -> int:
        """As `Handle.read_into`. Raises Unreadable."""
        self._heartbeat.at(self._where)
        try:
            return self.handle.read_into(block, offset)
        except Trouble as trouble:
            raise self._failed(trouble) from trouble

    def _failed(self, trouble: Trouble) -> NotTheVersion | Unreadable:
        """Why it could not be read to its end. A file that was given up to a program counts as one with a writer."""
        if trouble.what is What.BUSY:
            return NotTheVersion(self.handle.opened, Writer.OPEN.value)
        return Unreadable(trouble, _CHECK)

    def _read_whole(self, seen: Observation) -> Observation:
        """What was read, where that was the version to its end. Raises NotTheVersion, and Trouble.

        Where its last name was removed, as a ring buffer removes its oldest file, that alone moved its ctime: this
        reading is the last that there will ever be.
        """
        removed = seen._replace(version=seen.version._replace(ctime_ns=self._version.ctime_ns))
        if removed.version == self._version and not self.handle.named():
            return removed
        return self._same_version(seen)

    def _same_version(self, seen: Observation) -> Observation:
        if seen.kind is not Kind.FILE or seen.version != self._version:
            raise NotTheVersion(seen, "it changed before it was delivered")
        return seen


class Trees:
    """Directory trees, open for one pass."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._trees: dict[str, Tree] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for tree in self._trees.values():
            tree.close()

    def at(self, root: str) -> Tree:
        """The tree of a root. Raises Trouble."""
        if root not in self._trees:
            self._trees[root] = self._files.tree(root)
        return self._trees[root]


class Sources(Trees):
    """The watched directories that the files of one group come from."""

    def __init__(self, files: Files, algorithm: str, heartbeat: Heartbeat) -> None:
        super().__init__(files)
        self._algorithm = algorithm
        self._heartbeat = heartbeat

    def opened(self, root: str, path: str, version: Version) -> Reading:
        """The version, open for reading; a context manager closes it.

        Raises NotTheVersion where it is not there as it was, and Unreadable.
        """
        self._heartbeat.at(root)
        try:
            handle = self.at(root).open(path)
        except NotAFile as error:
            raise NotTheVersion(error.seen, error.reason) from None
        except Trouble as trouble:
            raise self._failed(root, path, trouble) from trouble
        try:
            return Reading(handle, root, version, self._algorithm, self._heartbeat)
        except BaseException:
            handle.close()
            raise

    def _failed(self, root: str, path: str, trouble: Trouble) -> NotTheVersion | Unreadable:
        """Why a file could not be opened."""
        tree = self._trees.get(root)
        seen = tree.look(path) if tree is not None and trouble.what in (What.ABSENT, What.BUSY) else CannotTell(trouble)
        if isinstance(seen, Observation):
            # A write lease, such as a Samba server takes for a client: it is asked to give it up, and is a writer till then.
            busy = trouble.what is What.BUSY
            return NotTheVersion(seen, Writer.OPEN.value if busy else "it changed before it was delivered")
        if not isinstance(seen, CannotTell):
            return NotTheVersion(None, "it is gone")
        why = seen.trouble
        if tree is None or why is not trouble:  # the root is not there as it was: that says nothing of the file
            why = Trouble(What.STALE, why.reason) if why.what in (What.ABSENT, What.NOT_A_DIRECTORY) else why
        return Unreadable(why, "make it readable for the agent's user, then `dropline retry`")

    def content(self, root: str, path: str, version: Version) -> Content:
        """What the version holds. Raises NotTheVersion and Unreadable."""
        with self.opened(root, path, version) as reading:
            return reading.copy_to(None)
