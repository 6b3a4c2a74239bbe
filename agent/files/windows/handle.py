"""Open files."""

from types import TracebackType
from typing import NamedTuple, Self

from agent.files.tree import Handle
from agent.files.trouble import Trouble, What
from agent.files.windows import nt
from agent.files.windows.facts import Facts, ticks
from rules.model import Observation, VolumeId, Writer


class Where(NamedTuple):
    """The file system of a tree. A tree has one: what is mounted in a directory is a reparse point, which is not followed."""

    id: VolumeId
    knows_writers: bool
    """Whether its share modes are those of every writer there may be."""


class WindowsHandle:
    """A file handle. See `agent.files.tree.Handle`."""

    __slots__ = ("_opened", "_where", "handle")

    def __init__(self, handle: int, where: Where, opened: Facts | None = None) -> None:
        """Take the handle over. `opened`: what it is of; None: it is new, and asked when it is needed."""
        self.handle = handle
        self._where = where
        self._opened = opened

    @property
    def facts(self) -> Facts:
        """What it was when it was opened. Raises Trouble."""
        if self._opened is None:
            self._opened = nt.look(self.handle)
        return self._opened

    @property
    def opened(self) -> Observation:
        """See `Handle`."""
        return observation(self.facts, self._where.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give it back, once."""
        handle, self.handle = self.handle, 0
        if handle:
            nt.close(handle)

    def look(self) -> Observation:
        """See `Handle`."""
        return observation(nt.look(self.handle), self._where.id)

    def writer(self) -> Writer:
        """See `Handle`. An open that denies writing is refused while a writer, or a writable mapping, has the file.

        It is given back at once: a program that opens the file for writing in between is refused.
        """
        try:
            nt.close(
                nt.opened("", self.handle, nt.READ_DATA, share=nt.SHARE_READ | nt.SHARE_DELETE, options=nt.NO_RECALL)
            )
        except Trouble as trouble:
            return Writer.OPEN if trouble.what is What.BUSY else Writer.CANNOT_TELL
        return Writer.NONE if self._where.knows_writers else Writer.CANNOT_TELL

    def named(self) -> bool:
        """See `Handle`."""
        return nt.look(self.handle).links > 0

    def allocated(self) -> int:
        """See `Handle`; as it was when the file was opened."""
        return self.facts.allocated

    def read(self, offset: int, length: int) -> bytes:
        """See `Handle`."""
        block = bytearray(length)
        return bytes(block[: self.read_into(memoryview(block), offset)])

    def read_into(self, block: memoryview, offset: int) -> int:
        """See `Handle`."""
        return nt.read_into(self.handle, block, offset) if block else 0

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """See `Handle`."""
        nt.write(self.handle, data, offset)

    def set_size(self, size: int) -> None:
        """See `Handle`."""
        nt.set_size(self.handle, size)

    def set_times(self, like: Handle, mtime_ns: int) -> None:
        """See `Handle`."""
        assert isinstance(like, WindowsHandle), "handles of two platforms do not meet"
        nt.set_basic(self.handle, like.facts.accessed, ticks(mtime_ns))

    def sync(self) -> None:
        """See `Handle`."""
        nt.flush(self.handle)

    def begin_write_back(self, offset: int, length: int) -> None:
        """See `Handle`. Windows has no such hint."""

    def end_write_back(self, offset: int, length: int) -> None:
        """See `Handle`. Windows has no such call for a part of a file."""

    def forget(self) -> None:
        """See `Handle`. Windows has no such hint."""


def observation(facts: Facts, volume: VolumeId) -> Observation:
    """The agent's reading of a file."""
    return Observation(facts.version, volume, facts.kind)
