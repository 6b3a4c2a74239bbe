"""A directory in memory, and what lies below it."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from agent.files.held import HeldByName, kept
from agent.files.tree import Handle, Listed, Tree
from agent.files.trouble import ABSENT, CannotTell, Look, NotAFile, Trouble, What, is_known
from agent.simulation.memory.faults import Faults
from agent.simulation.memory.handle import MemoryHandle
from agent.simulation.memory.nodes import Node, Nodes, entry_of, refused
from rules.model import Kind, Observation, Version


class MemoryTree:
    """See `agent.files.tree.Tree`."""

    def __init__(self, nodes: Nodes, faults: Faults, root: str, node: Node) -> None:
        self.root = root
        self.opened = node.look()
        self._nodes = nodes
        self._faults = faults
        self._node = node
        node.open += 1
        faults.open += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """See `Tree`."""
        self._faults.open -= 1
        self._nodes.left(self._node)

    def _at(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def _directory(self, path: str, *, make: bool = False) -> Node:
        at = self._node
        for name in path.split("/") if path else ():
            try:
                at = self._nodes.child(at, name)
            except Trouble as trouble:
                if not make or trouble.what is not What.ABSENT:
                    raise
                at = self._nodes.add(at, name, Kind.DIRECTORY)
        if at.kind is not Kind.DIRECTORY:
            raise refused(What.NOT_A_DIRECTORY)
        return at

    def _parent(self, path: str, *, make: bool = False) -> tuple[Node, str]:
        above, _, name = path.rpartition("/")
        return self._directory(above, make=make), name

    def _node_at(self, path: str) -> Node:
        return self._nodes.child(*self._parent(path)) if path else self._node

    def look(self, path: str) -> Look:
        """See `Tree`."""
        try:
            with self._faults.operation("look", self._at(path)):
                return self._node_at(path).look()
        except Trouble as trouble:
            if trouble.what not in (What.ABSENT, What.NOT_A_DIRECTORY, What.LINK):
                return CannotTell(trouble)
        try:
            now = self._nodes.find(self.root)
        except Trouble as trouble:
            return CannotTell(trouble)
        return ABSENT if now is self._node else CannotTell(refused(What.STALE))

    def target(self, path: str) -> str:
        """See `Tree`."""
        return self._node_at(path).target

    def born(self, path: str) -> int | None:
        """See `Tree`."""
        try:
            with self._faults.operation("born", self._at(path)):
                return self._node_at(path).born_ns
        except Trouble:
            return None

    def names(self, path: str) -> list[str]:
        """See `Tree`."""
        with self._faults.operation("names", self._at(path)):
            return list(self._directory(path).children)

    def scan(self, path: str, most: int) -> Iterator[Listed]:
        """See `Tree`. A fault "after" comes before the end of the directory does."""
        with self._faults.operation("scan", self._at(path)):
            directory = self._directory(path)
            children, volume = directory.children, directory.disk.id
            directories = [name for name, node in children.items() if node.kind is Kind.DIRECTORY]
            others = [entry_of(name, node) for name, node in children.items() if node.kind is not Kind.DIRECTORY]
            for start in range(0, len(others) - most + 1, most):
                yield Listed(dict(others[start : start + most]), directories, volume, last=False)
                directories = []
        yield Listed(dict(others[len(others) // most * most :]), directories, volume, last=True)

    def open(self, path: str, seen: Observation | None = None) -> MemoryHandle:
        """See `Tree`."""
        with self._faults.operation("open", self._at(path)):
            node = self._node_at(path)
            if node.kind is not Kind.FILE:
                raise NotAFile(node.look())
        return MemoryHandle(self._nodes, self._faults, self._at(path), node, None)

    def create(
        self, path: str, like: Handle | None = None, mode: int | None = None, group: int | None = None
    ) -> MemoryHandle:
        """See `Tree`."""
        with self._faults.operation("create", self._at(path)):
            directory, name = self._parent(path)
            if name in directory.children:
                self._nodes.unlink(directory, name)
            node = self._nodes.add(directory, name, Kind.FILE)
        return MemoryHandle(self._nodes, self._faults, self._at(path), node, (directory, name))

    def mark(self, path: str, content: bytes) -> Observation | None:
        """See `Tree`."""
        with self._faults.operation("mark", self._at(path)):
            directory, name = self._parent(path)
            node = directory.children.get(name) or self._nodes.add(directory, name, Kind.FILE)
            if node.kind is not Kind.FILE or node.names > 1:
                return None
            with MemoryHandle(self._nodes, self._faults, self._at(path), node, (directory, name)) as handle:
                handle.set_size(0)
                handle.write(content, 0)
                return handle.look()

    def make_directory(
        self, path: str, like: tuple[Tree, str] | None = None, mode: int | None = None, group: int | None = None
    ) -> None:
        """See `Tree`. There are no permissions here."""
        with self._faults.operation("make_directory", self._at(path)):
            self._directory(path, make=True)

    def rename_new(self, source: str, target: str) -> None:
        """See `Tree`."""
        self._rename("rename_new", source, target, onto=False)

    def make_link(self, path: str, target: str) -> None:
        """See `Tree`."""
        with self._faults.operation("make_link", self._at(path)):
            directory, name = self._parent(path)
            self._nodes.link(directory, name, target)

    def replace(self, source: str, target: str) -> None:
        """See `Tree`."""
        self._rename("replace", source, target, onto=True)

    def replace_known(self, source: str, target: str, known: Observation) -> None:
        """See `Tree`."""
        with self._faults.operation("replace_known", self._at(source)):
            is_known(self.look(target), known)
            self.replace(source, target)

    def _rename(self, operation: str, source: str, target: str, *, onto: bool) -> None:
        with self._faults.operation(operation, self._at(source)):
            self._nodes.move(*self._parent(source), *self._parent(target, make=True), onto=onto)

    def unlink(self, path: str) -> None:
        """See `Tree`."""
        with self._faults.operation("unlink", self._at(path)):
            self._nodes.unlink(*self._parent(path))

    def move_aside(self, path: str, aside: str, proved: Version) -> HeldByName:
        """See `Tree`."""
        return kept(HeldByName(self, self.open(path), aside, proved), lambda held: held.move(path))

    def hold(self, aside: str, proved: Version, ctime_ns: int | None) -> HeldByName:
        """See `Tree`."""
        return kept(HeldByName(self, self.open(aside), aside, proved), lambda held: held.stands_aside(ctime_ns))

    def remove_directory(self, path: str) -> None:
        """See `Tree`."""
        with self._faults.operation("remove_directory", self._at(path)):
            self._nodes.unlink_directory(*self._parent(path))

    def sync(self, path: str) -> None:
        """See `Tree`."""
        with self._faults.operation("sync", self._at(path)):
            self._directory(path)

    def sync_volumes(self, paths: Iterable[str]) -> None:
        """See `Tree`."""
        for path in paths:
            self.sync(path)

    def writable(self) -> bool:
        """See `Tree`."""
        return True

    def cannot_move_aside(self, path: str, aside: str) -> str | None:
        """See `Tree`."""
        return None
