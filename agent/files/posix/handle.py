"""Open files."""

import os
from types import TracebackType
from typing import Self

from agent.files.posix import durable, writer_probe
from agent.files.posix.errors import trouble
from agent.files.posix.observing import observation
from agent.files.tree import Handle
from rules.model import Observation, Writer

BLOCK = 512
"""Bytes that st_blocks counts in (stat(2))."""


class PosixHandle:
    """A descriptor. See `agent.files.tree.Handle`."""

    __slots__ = ("_remote", "_status", "fd", "opened")

    def __init__(self, fd: int, remote: bool) -> None:
        """Take the descriptor over. `remote`: other machines may write to the file. Raises OSError, and closes it then."""
        self.fd = fd
        self._remote = remote
        try:
            self._status = os.fstat(fd)
        except OSError:
            os.close(fd)
            raise
        self.opened = observation(self._status)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)

    def look(self) -> Observation:
        """See `Handle`."""
        try:
            return observation(os.fstat(self.fd))
        except OSError as error:
            raise trouble(error) from error

    def writer(self) -> Writer:
        """See `Handle`."""
        return writer_probe.writer(self.fd, remote=self._remote)

    def allocated(self) -> int:
        """See `Handle`; as it was when the file was opened."""
        return self._status.st_blocks * BLOCK

    @property
    def permissions(self) -> int:
        """Who may do what with it: the lower nine bits of st_mode."""
        return self._status.st_mode & 0o777

    def read(self, offset: int, length: int) -> bytes:
        """See `Handle`."""
        try:
            return os.pread(self.fd, length, offset)
        except OSError as error:
            raise trouble(error) from error

    def read_into(self, block: memoryview, offset: int) -> int:
        """See `Handle`."""
        try:
            return os.preadv(self.fd, [block], offset)
        except OSError as error:
            raise trouble(error) from error

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """See `Handle`."""
        rest = memoryview(data)
        try:
            while rest:
                done = os.pwrite(self.fd, rest, offset)
                rest, offset = rest[done:], offset + done
        except OSError as error:
            raise trouble(error) from error

    def set_size(self, size: int) -> None:
        """See `Handle`."""
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            raise trouble(error) from error

    def set_times(self, like: Handle, mtime_ns: int) -> None:
        """See `Handle`."""
        assert isinstance(like, PosixHandle), "handles of two platforms do not meet"
        try:
            os.utime(self.fd, ns=(like._status.st_atime_ns, mtime_ns))
        except OSError as error:
            raise trouble(error) from error

    def sync(self) -> None:
        """See `Handle`."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise trouble(error) from error

    def begin_write_back(self, offset: int, length: int) -> None:
        """See `Handle`."""
        durable.begin_write_back(self.fd, offset, length)

    def end_write_back(self, offset: int, length: int) -> None:
        """See `Handle`. Raises Trouble where the storage reports an error: it would not do so again."""
        try:
            durable.end_write_back(self.fd, offset, length)
        except OSError as error:
            raise trouble(error) from error

    def forget(self) -> None:
        """See `Handle`."""
        durable.forget(self.fd)
