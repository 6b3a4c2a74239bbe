"""Open files."""

import os
from types import TracebackType
from typing import Self

from agent.files.posix import durable, writer_probe
from agent.files.posix.errors import trouble
from agent.files.posix.observing import observation
from agent.files.posix.volume_ids import TreeVolumes
from agent.files.tree import Handle
from rules.model import Observation, Writer

BLOCK = 512
"""Bytes that st_blocks counts in (stat(2))."""


class PosixHandle:
    """A descriptor. See `agent.files.tree.Handle`."""

    __slots__ = ("_opened", "_status", "_volumes", "fd")

    def __init__(self, fd: int, volumes: TreeVolumes, status: os.stat_result | None = None) -> None:
        """Take the descriptor over.

        Args:
            fd: the descriptor.
            volumes: the file systems of its tree.
            status: what it is now; None: it is new, and is looked at when somebody asks.
        """
        self.fd = fd
        self._volumes = volumes
        self._status = status
        self._opened: Observation | None = None

    @property
    def status(self) -> os.stat_result:
        """What it was when it was opened. Raises Trouble."""
        if self._status is None:
            try:
                self._status = os.fstat(self.fd)
            except OSError as error:
                raise trouble(error) from error
        return self._status

    @property
    def opened(self) -> Observation:
        """See `Handle`."""
        if self._opened is None:
            self._opened = self._seen(self.status)
        return self._opened

    def _seen(self, status: os.stat_result) -> Observation:
        return observation(status, self._volumes.volume(status.st_dev, self.fd))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back, once. Raises Trouble where the storage reports an error that it did not report before."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        try:
            os.close(fd)
        except OSError as error:
            raise trouble(error) from error

    def look(self) -> Observation:
        """See `Handle`."""
        try:
            return self._seen(os.fstat(self.fd))
        except OSError as error:
            raise trouble(error) from error

    def writer(self) -> Writer:
        """See `Handle`."""
        return writer_probe.writer(self.fd, remote=self._volumes.remote(self.status.st_dev, self.fd))

    def lease(self) -> Writer:
        """Take a read lease, which is held where the answer is NONE, and only there."""
        return writer_probe.lease(self.fd, remote=self._volumes.remote(self.status.st_dev, self.fd))

    def lease_is_whole(self) -> bool:
        """Whether the lease is held, and no program waits to open the file for writing."""
        return writer_probe.lease_is_whole(self.fd)

    def give_lease_back(self) -> None:
        """Programs need not wait for the file any more."""
        writer_probe.give_lease_back(self.fd)

    def named(self) -> bool:
        """See `Handle`."""
        try:
            return os.fstat(self.fd).st_nlink > 0
        except OSError as error:
            raise trouble(error) from error

    def allocated(self) -> int:
        """See `Handle`; as it was when the file was opened."""
        return self.status.st_blocks * BLOCK

    @property
    def permissions(self) -> int:
        """Its permissions: the lower nine bits of st_mode."""
        return self.status.st_mode & 0o777

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
        try:
            done = os.pwrite(self.fd, data, offset)
            while done < len(data):  # a signal, or a file system that is almost full
                done += os.pwrite(self.fd, memoryview(data)[done:], offset + done)
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
            os.utime(self.fd, ns=(like.status.st_atime_ns, mtime_ns))
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


def give_back(fd: int) -> None:
    """Close a descriptor that nothing was written to: an error says nothing then, and it is closed all the same (close(2))."""
    try:
        os.close(fd)
    except OSError:
        pass
