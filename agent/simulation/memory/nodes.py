"""Names, directories, links and file systems in memory. Operations raise `Trouble` where an operating system would."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from agent.files.trouble import Trouble, What
from agent.files.volumes import Space
from agent.simulation.memory.content import Content
from rules.model import STABLE_VOLUME, Entry, FileId, Kind, Observation, Version, VolumeId

_LINKS_AT_MOST = 40
_NAME_AT_MOST = 255


def refused(what: What) -> Trouble:
    """What an operation raises."""
    return Trouble(what, what.name.lower().replace("_", " "))


@dataclass(slots=True, eq=False)
class Node:
    """A file, a directory, or something else that has a name."""

    disk: "Disk"
    kind: Kind
    file_id: FileId
    mtime_ns: int
    ctime_ns: int
    born_ns: int
    content: Content = field(default_factory=Content)
    target: str = ""
    """Of a link."""
    children: dict[str, "Node"] = field(default_factory=dict)
    parent: "Node | None" = None
    """The directory where it last got a name."""
    name: str = ""
    """That name."""
    mounted: "Disk | None" = None
    names: int = 0
    """How many names it has."""
    open: int = 0
    """How often it is open."""
    writers: int = 0
    """How often it is open for writing."""
    opened_for_writing: int = 0
    """How often it was opened for writing, ever."""

    def open_for_writing(self) -> None:
        """Somebody opened it for writing."""
        self.writers += 1
        self.opened_for_writing += 1

    def look(self) -> Observation:
        """What a look shows."""
        version = Version(self.content.size, self.mtime_ns, self.ctime_ns, self.file_id)
        return Observation(version, self.disk.id, self.kind)


class Disk:
    """A file system. It gives the ids of files that are gone to the next ones, the lowest first."""

    root: Node

    def __init__(self, number: int, kind: str) -> None:
        self.id = VolumeId(number | STABLE_VOLUME)
        self.kind = kind
        """As a mount table calls it."""
        self.space = Space(10**12, 0.5)
        self._next = count(1)
        self._free: list[FileId] = []

    def file_id(self) -> FileId:
        """An id that no file has."""
        if not self._free:
            return FileId(next(self._next))
        self._free.sort(reverse=True)
        return self._free.pop()

    def drop(self, node: Node) -> None:
        """Forget what has no name and is not open."""
        if node.names <= 0 and node.open == 0:
            self._free.append(node.file_id)


class Nodes:
    """All that has a name."""

    def __init__(
        self, clock: Callable[[], int], told: Callable[[Node, str, bool, bool], None], removed: Callable[[Node], None]
    ) -> None:
        """
        Args:
            clock: of the file systems, in nanoseconds. Each change gets another time, even while it stands still.
            told: learns of a name in a directory: whether it is a directory's, and whether it is gone.
            removed: learns of a directory that was removed.
        """
        self._clock = clock
        self._told = told
        self._removed = removed
        self._last = 0
        self._numbers = count(1)
        self.disk = self.new_disk("ext4")
        """The one that the others are mounted on."""

    def _tick(self) -> int:
        self._last = max(self._clock(), self._last + 1)
        return self._last

    def _node(self, disk: Disk, kind: Kind) -> Node:
        now = self._tick()
        return Node(disk, kind, disk.file_id(), now, now, now)

    def new_disk(self, kind: str) -> Disk:
        """An empty file system."""
        disk = Disk(next(self._numbers), kind)
        disk.root = self._node(disk, Kind.DIRECTORY)
        disk.root.names = 1
        return disk

    def child(self, directory: Node, name: str) -> Node:
        """What has a name in a directory."""
        _check(name)
        if directory.kind is not Kind.DIRECTORY:
            raise refused(What.NOT_A_DIRECTORY)
        if name not in directory.children:
            raise refused(What.ABSENT)
        return _top(directory.children[name])

    def find(self, path: str, *, follow: bool = True) -> Node:
        """What has a path, by way of links. `follow`: also of one at its end."""
        at, waiting, links = _top(self.disk.root), path.split("/")[::-1], 0
        while waiting:
            name = waiting.pop()
            if name in ("", "."):
                continue
            if name == "..":
                at = at.parent or at
                continue
            found = self.child(at, name)
            if found.kind is not Kind.LINK or not (follow or waiting):
                at = found
                continue
            links += 1
            if links > _LINKS_AT_MOST:
                raise refused(What.LINK)
            at = _top(self.disk.root) if found.target.startswith("/") else at
            waiting += found.target.split("/")[::-1]
        return at

    def path(self, directory: Node) -> str:
        """The path of a directory, or one of a file."""
        parts = []
        while directory.parent is not None:
            parts.append(directory.name)
            directory = directory.parent
        return "/" + "/".join(reversed(parts))

    def split(self, path: str) -> tuple[Node, str]:
        """The directory of a path, and its last part."""
        above, _, name = path.rpartition("/")
        return self.find(above), name

    def add(self, directory: Node, name: str, kind: Kind) -> Node:
        """Make something, and give it a name."""
        _check_room(directory, name)
        if name in directory.children:
            raise refused(What.EXISTS)
        node = self._node(directory.disk, kind)
        self.enter(directory, name, node)
        self._told(directory, name, kind is Kind.DIRECTORY, False)
        return node

    def link(self, directory: Node, name: str, target: str) -> None:
        """Make a symbolic link."""
        node = self.add(directory, name, Kind.LINK)
        node.target, node.content = target, Content(os.fsencode(target))

    def enter(self, directory: Node, name: str, node: Node) -> None:
        """Give it a name."""
        directory.children[name] = node
        node.names += 1
        node.ctime_ns = directory.mtime_ns = directory.ctime_ns = self._tick()
        node.parent, node.name = directory, name

    def _leave(self, directory: Node, name: str) -> Node:
        node = directory.children.pop(name)
        node.names -= 1
        node.ctime_ns = directory.mtime_ns = directory.ctime_ns = self._tick()
        return node

    def unlink(self, directory: Node, name: str) -> None:
        """Take a name away that is no directory's."""
        if self.child(directory, name).kind is Kind.DIRECTORY:
            raise refused(What.DIRECTORY)
        node = self._leave(directory, name)
        node.disk.drop(node)
        self._told(directory, name, False, True)

    def unlink_directory(self, directory: Node, name: str) -> None:
        """Take an empty directory away."""
        node = self.child(directory, name)
        if node.kind is not Kind.DIRECTORY:
            raise refused(What.NOT_A_DIRECTORY)
        if node is not directory.children[name]:
            raise refused(What.BUSY)
        if node.children:
            raise refused(What.NOT_EMPTY)
        self._leave(directory, name)
        node.parent = None
        node.disk.drop(node)
        self._removed(node)

    def move(self, source: Node, name: str, target: Node, new: str, *, onto: bool) -> None:
        """Rename. `onto`: what has the new name goes, as rename(2) has it."""
        node = self.child(source, name)
        _check_room(target, new)
        if node is not source.children[name]:
            raise refused(What.BUSY)
        if node.disk is not target.disk:
            raise refused(What.OTHER_VOLUME)
        above: Node | None = target
        while above is not None:
            if above is node:
                raise refused(What.NAME_REFUSED)
            above = above.parent
        former = target.children.get(new)
        if former is not None:
            if not onto:
                raise refused(What.EXISTS)
            if former is node:
                return
            _may_replace(node, former)
            self._leave(target, new)
            former.disk.drop(former)
            former.parent = None
        self._leave(source, name)
        self.enter(target, new, node)
        below = node.kind is Kind.DIRECTORY
        self._told(source, name, below, True)
        self._told(target, new, below, False)

    def closed(self, directory: Node, name: str, node: Node) -> None:
        """Somebody who had it open for writing has closed it."""
        node.writers -= 1
        self.left(node)
        if directory.children.get(name) is not node and node.parent is not None:
            directory, name = node.parent, node.name  # it was renamed
        if directory.children.get(name) is node:
            self._told(directory, name, False, False)

    def left(self, node: Node) -> None:
        """Somebody who had it open has closed it."""
        node.open -= 1
        node.disk.drop(node)

    def changed(self, node: Node) -> None:
        """Its content is another."""
        node.mtime_ns = node.ctime_ns = self._tick()

    def dated(self, node: Node, mtime_ns: int) -> None:
        """Its time is set; that this was done shows."""
        node.mtime_ns, node.ctime_ns = mtime_ns, self._tick()

    def nearest(self, path: str) -> Node:
        """What has a path, or the nearest directory above that is there."""
        while True:
            try:
                return self.find(path)
            except Trouble:
                path = path.rpartition("/")[0]


def entry_of(name: str, node: Node) -> tuple[Entry, Kind]:
    """An entry of a directory."""
    version, volume, kind = node.look()
    return (os.fsencode(name), *version, volume), kind


def _check_room(directory: Node, name: str) -> None:
    """Whether a name may be made there."""
    _check(name)
    if directory.kind is not Kind.DIRECTORY:
        raise refused(What.NOT_A_DIRECTORY)
    if directory.names <= 0:
        raise refused(What.ABSENT)  # it was removed


def _check(name: str) -> None:
    """Whether a name can be one."""
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError:
        raise refused(What.NAME_REFUSED) from None
    if length > _NAME_AT_MOST:
        raise refused(What.NAME_TOO_LONG)
    if name == ".." or "\0" in name:
        raise refused(What.NAME_REFUSED)


def _top(node: Node) -> Node:
    """What is mounted there last, if anything is."""
    while node.mounted is not None:
        node = node.mounted.root
    return node


def _may_replace(node: Node, former: Node) -> None:
    if former.kind is Kind.DIRECTORY and node.kind is not Kind.DIRECTORY:
        raise refused(What.DIRECTORY)
    if former.kind is not Kind.DIRECTORY and node.kind is Kind.DIRECTORY:
        raise refused(What.NOT_A_DIRECTORY)
    if former.mounted is not None:
        raise refused(What.BUSY)
    if former.children:
        raise refused(What.NOT_EMPTY)
