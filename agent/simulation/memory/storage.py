"""A computer's storage in memory: what an instrument and an administrator do with it, and hints of what happens."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.files.events import Hint, Put
from agent.files.trouble import Trouble, What
from agent.files.volumes import Volume
from agent.simulation.memory.content import Read
from agent.simulation.memory.nodes import Node, Nodes
from rules.model import OWN_PREFIX, Kind


@dataclass(slots=True, eq=False)
class Watcher:
    """Somebody who gets hints of what happens in a directory tree."""

    root: str
    node: Node
    put: Put
    lost: Callable[[str], None]


class Storage:
    """Paths are absolute. Operations raise `Trouble` where an operating system would refuse them."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """`clock`: of the file systems, in nanoseconds."""
        self.watchers: list[Watcher] = []
        self.nodes = Nodes(clock, self._tell, self._removed)
        self._table: set[str] = set()
        """Where something was ever mounted."""

    # What an instrument and an administrator do

    def directory(self, path: str) -> None:
        """Make a directory, and what is missing above it."""
        at = self.nodes.find("/")
        for name in path.strip("/").split("/"):
            try:
                at = self.nodes.child(at, name)
            except Trouble as trouble:
                if trouble.what is not What.ABSENT:
                    raise
                at = self.nodes.add(at, name, Kind.DIRECTORY)

    def open(self, path: str, *, truncate: bool = False) -> "Pen":
        """Open a file for writing at its end, made with its directories where it is missing. `truncate`: cut it off first."""
        above, _, name = path.rpartition("/")
        self.directory(above)
        directory = self.nodes.find(above)
        node = directory.children.get(name) or self.nodes.add(directory, name, Kind.FILE)
        if truncate and node.content.size:
            node.content.set_size(0)
            self.nodes.changed(node)
        return Pen(self.nodes, directory, name, node)

    def write(self, path: str, content: bytes | Read = b"", size: int | None = None) -> None:
        """Write a file and close it: these bytes, followed by a hole up to `size`, or what a reader gives."""
        pen = self.open(path, truncate=True)
        if callable(content):
            assert size is not None, "a reader does not say where it ends"
            pen.node.content.put(0, size, content)
            self.nodes.changed(pen.node)
        else:
            pen.write(content)
            if size is not None and size > len(content):
                pen.set_size(size)
        pen.close()

    def rename(self, source: str, target: str) -> None:
        """Rename, onto what has the name."""
        self.nodes.move(*self.nodes.split(source), *self.nodes.split(target), onto=True)

    def remove(self, path: str) -> None:
        """Remove a file or a link, or an empty directory."""
        directory, name = self.nodes.split(path)
        node = self.nodes.child(directory, name)
        (self.nodes.unlink_directory if node.kind is Kind.DIRECTORY else self.nodes.unlink)(directory, name)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self.nodes.link(*self.nodes.split(path), target)

    def hard_link(self, path: str, other: str) -> None:
        """Give a file a second name."""
        directory, name = self.nodes.split(path)
        self.nodes.enter(directory, name, self.nodes.find(other))
        self._tell(directory, name, below=False, gone=False)

    def special(self, path: str, kind: Kind) -> None:
        """Make a FIFO, a socket or a device."""
        self.nodes.add(*self.nodes.split(path), kind)

    def set_mtime(self, path: str, mtime_ns: int) -> None:
        """Set the time of the last change."""
        self.nodes.dated(self.nodes.find(path), mtime_ns)

    def mount(self, path: str, kind: str = "ext4") -> None:
        """Mount an empty file system on a directory."""
        point, disk = self.nodes.find(path), self.nodes.new_disk(kind)
        disk.root.parent, disk.root.name, point.mounted = point.parent, point.name, disk
        self._table.add(path)

    def unmount(self, path: str) -> None:
        """Take away what was mounted there last. What is open of it stays so."""
        root = self.nodes.find(path)
        assert root.parent is not None, "the disk of all is not taken away"
        point = root.parent.children[root.name]
        while point.mounted is not root.disk:
            assert point.mounted is not None, "nothing is mounted there"
            point = point.mounted.root
        point.mounted = None
        for watcher in self.watchers:
            if _between(watcher.node, root) is not None:
                watcher.lost("a file system in it was unmounted")
        root.parent = None

    def volume(self, path: str) -> Volume:
        """The file system of a path, or of its nearest existing parent."""
        disk = self.nodes.nearest(path).disk
        return Volume(disk.kind, self.nodes.path(disk.root))

    def resolve(self, path: str) -> str:
        """A path without links, as far as it leads to something."""
        rest = ""
        while True:
            try:
                at = self.nodes.find(path)
            except Trouble:
                path, _, name = path.rpartition("/")
                rest = f"/{name}{rest}"
            else:
                return (self.nodes.path(at).rstrip("/") + rest) or "/"

    def unmounted(self, path: str) -> str | None:
        """The point at or above a path where something was mounted once, and nothing is now."""
        for point in self._table:
            if path == point or path.startswith(point + "/"):
                node = self.nodes.nearest(point)
                if node.disk.root is not node:
                    return point
        return None

    # Hints

    def _tell(self, directory: Node, name: str, below: bool, gone: bool) -> None:
        if below and name.startswith(OWN_PREFIX):
            return
        for watcher in list(self.watchers):
            above = _between(watcher.node, directory)
            if above is not None:
                watcher.put([Hint("/".join([watcher.root, *above, name]), below, gone)])

    def _removed(self, directory: Node) -> None:
        for watcher in self.watchers:
            if watcher.node is directory:
                watcher.lost("the directory was removed")


class Pen:
    """A file that an instrument has open for writing."""

    def __init__(self, nodes: Nodes, directory: Node, name: str, node: Node) -> None:
        self.node = node
        self._nodes = nodes
        self._at = directory, name
        node.open += 1
        node.open_for_writing()

    def write(self, data: bytes) -> None:
        """Write at the end."""
        self.node.content.write(data, self.node.content.size)
        self._nodes.changed(self.node)

    def set_size(self, size: int) -> None:
        """Cut it off, or lengthen it by a hole."""
        self.node.content.set_size(size)
        self._nodes.changed(self.node)

    def close(self) -> None:
        """It is done with."""
        self._nodes.closed(*self._at, self.node)


def _between(root: Node, directory: Node | None) -> list[str] | None:
    """Names of the directories that lead from one to another; None where it is not below, or the agent's own is on the way."""
    names: list[str] = []
    while directory is not root:
        if directory is None or directory.name.startswith(OWN_PREFIX):
            return None
        names.append(directory.name)
        directory = directory.parent
    return names[::-1]
