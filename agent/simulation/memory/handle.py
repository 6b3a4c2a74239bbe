"""Open files in memory."""

from types import TracebackType
from typing import Self

from agent.files.tree import Handle
from agent.files.volumes import Volume
from agent.simulation.memory.faults import Faults
from agent.simulation.memory.nodes import Node, Nodes
from rules.model import Observation, Writer


class MemoryHandle:
    """See `agent.files.tree.Handle`."""

    def __init__(self, nodes: Nodes, faults: Faults, path: str, node: Node, at: tuple[Node, str] | None) -> None:
        """`at`: where a file that is open for writing has its name."""
        self._nodes = nodes
        self._faults = faults
        self._path = path
        self._node = node
        self._at = at
        self._is_open = True
        self._opened_for_writing: int | None = None
        node.open += 1
        if at is not None:
            node.open_for_writing()
        faults.open += 1
        self.opened = node.look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """See `Handle`."""
        if not self._is_open:
            return
        self._is_open = False
        self._faults.open -= 1
        if self._at is None:
            self._nodes.left(self._node)
        else:
            self._nodes.closed(*self._at, self._node)
        with self._faults.operation("close", self._path):
            pass

    def look(self) -> Observation:
        """See `Handle`."""
        with self._faults.operation("look", self._path):
            return self._node.look()

    def writer(self) -> Writer:
        """See `Handle`."""
        if self._node.writers:
            return Writer.OPEN
        return Writer.CANNOT_TELL if Volume(self._node.disk.kind, "").remote else Writer.NONE

    def lease(self) -> Writer:
        """See `agent.files.held.Leasable`. A program that opens the file for writing waits for nothing, but is noticed."""
        self._opened_for_writing = self._node.opened_for_writing
        return self.writer()

    def lease_is_whole(self) -> bool:
        """See `agent.files.held.Leasable`."""
        return self._opened_for_writing == self._node.opened_for_writing

    def give_lease_back(self) -> None:
        """See `agent.files.held.Leasable`."""
        self._opened_for_writing = None

    def named(self) -> bool:
        """See `Handle`."""
        return self._node.names > 0

    def allocated(self) -> int:
        """See `Handle`."""
        return self._node.content.allocated

    def read(self, offset: int, length: int) -> bytes:
        """See `Handle`."""
        with self._faults.operation("read", self._path):
            return self._node.content.read(offset, min(length, self._faults.most or length))

    def read_into(self, block: memoryview, offset: int) -> int:
        """See `Handle`."""
        data = self.read(offset, len(block))
        block[: len(data)] = data
        return len(data)

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """See `Handle`."""
        with self._faults.operation("write", self._path):
            self._node.content.write(data, offset)
            self._nodes.changed(self._node)

    def set_size(self, size: int) -> None:
        """See `Handle`."""
        with self._faults.operation("set_size", self._path):
            self._node.content.set_size(size)
            self._nodes.changed(self._node)

    def set_times(self, like: Handle, mtime_ns: int) -> None:
        """See `Handle`."""
        with self._faults.operation("set_times", self._path):
            self._nodes.dated(self._node, mtime_ns)

    def sync(self) -> None:
        """See `Handle`."""
        with self._faults.operation("sync", self._path):
            pass

    def begin_write_back(self, offset: int, length: int) -> None:
        """See `Handle`."""

    def end_write_back(self, offset: int, length: int) -> None:
        """See `Handle`."""
        with self._faults.operation("end_write_back", self._path):
            pass

    def forget(self) -> None:
        """See `Handle`."""
