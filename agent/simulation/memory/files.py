"""The interface of `agent.files` over storage in memory."""

from collections.abc import Callable, Sequence

from agent.files.events import Events, Put
from agent.files.tree import Handle
from agent.files.trouble import ABSENT, CannotTell, Look, Trouble, What
from agent.files.volumes import Location, Space, Volume
from agent.simulation.memory.faults import Faults
from agent.simulation.memory.nodes import refused
from agent.simulation.memory.storage import Storage, Watcher
from agent.simulation.memory.tree import MemoryTree
from rules.model import Kind


class MemoryFiles:
    """The files of a computer that is in memory. See `agent.files.tree.Files`. For one thread."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.faults = Faults()

    def prepare(self) -> None:
        """See `Files`."""

    def tree(self, root: str) -> MemoryTree:
        """See `Files`."""
        with self.faults.operation("tree", root):
            node = self.storage.nodes.find(root)
            if node.kind is not Kind.DIRECTORY:
                raise refused(What.NOT_A_DIRECTORY)
        return MemoryTree(self.storage.nodes, self.faults, root, node)

    def look(self, path: str) -> Look:
        """See `Files`."""
        try:
            with self.faults.operation("look", path):
                return self.storage.nodes.find(path, follow=False).look()
        except Trouble as trouble:
            return ABSENT if trouble.what in (What.ABSENT, What.NOT_A_DIRECTORY) else CannotTell(trouble)

    def volume(self, path: str) -> Volume:
        """See `Files`."""
        return self.storage.volume(path)

    def location(self, path: str) -> Location:
        """See `Files`."""
        return Location(self.storage.volume(path).mounted_at, self.storage.resolve(path))

    def resolve(self, path: str) -> str:
        """See `Files`."""
        return self.storage.resolve(path)

    def unmounted(self, path: str) -> str | None:
        """See `Files`."""
        return self.storage.unmounted(path)

    def open_at_most(self) -> int:
        """See `Files`."""
        return 2**20

    def space(self, path: str) -> Space | None:
        """See `Files`."""
        try:
            return self.storage.nodes.find(path).disk.space
        except Trouble:
            return None

    def make_durable(self, handles: Sequence[Handle]) -> None:
        """See `Files`."""
        for handle in handles:
            handle.sync()

    def drop_cache(self, handles: Sequence[Handle]) -> None:
        """See `Files`."""

    def watch(self, root: str, put: Put, lost: Callable[[str], None]) -> Events:
        """See `Files`. Hints come at once, from the thread that changes the memory."""
        with self.faults.operation("watch", root):
            node = self.storage.nodes.find(root)
            if node.kind is not Kind.DIRECTORY:
                raise refused(What.NOT_A_DIRECTORY)
        return MemoryEvents(self.storage, Watcher(root.rstrip("/"), node, put, lost))


class MemoryEvents:
    """See `agent.files.events.Events`."""

    def __init__(self, storage: Storage, watcher: Watcher) -> None:
        self._storage = storage
        self._watcher = watcher
        storage.watchers.append(watcher)

    @property
    def alive(self) -> bool:
        """See `Events`."""
        return self._watcher in self._storage.watchers

    def close(self) -> None:
        """See `Events`."""
        if self.alive:
            self._storage.watchers.remove(self._watcher)
