"""Tasks in parts: the files that are written together, small ones in groups and large ones singly."""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.destinations import Item

SMALL = 4 * 2**20
"""Bytes up to which files are staged together and made durable with one call."""
GROUP_FILES, GROUP_BYTES = 128, 32 * 2**20
_LANES = (2**30, 2**35, 2**40)
LANES = len(_LANES) + 1
"""Kinds of large files, by size, each with separate threads: none waits behind one that takes hours more."""


def lane(size: int) -> int:
    """Which kind of large file it is."""
    return bisect_left(_LANES, size)


@dataclass(slots=True)
class Task:
    """A submitted request: how many parts are still to come, and what went wrong."""

    name: str
    left: int
    failure: str | None = None
    alone: bool = False
    """The failure is of some files only, and says nothing of the destination."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def failed(self, failure: str | None, alone: Sequence[str]) -> None:
        """A part was not done: `failure` of the destination, or for reasons of single files."""
        if failure is not None:
            self.failure, self.alone = failure if self.failure is None or self.alone else self.failure, False
        elif alone and self.failure is None:
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            self.failure, self.alone = alone[0] + more, True


class Part(NamedTuple):
    """Files of one task that are written together."""

    task: Task
    items: list[Item]

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(item.version.size for item in self.items)


def split(name: str, items: Sequence[Item], most: int) -> tuple[list[Part], list[Part]]:
    """A task in its parts: large files, one each, and groups of small ones.

    Args:
        name: of the task.
        items: its files.
        most: bytes of a group, about.
    """
    large = [[item] for item in items if item.version.size > SMALL]
    small = list(_groups((item for item in items if item.version.size <= SMALL), most))
    task = Task(name, len(large) + len(small))
    return [Part(task, group) for group in large], [Part(task, group) for group in small]


def _groups(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += item.version.size
        if len(group) >= GROUP_FILES or held >= most:
            yield group
            group, held = [], 0
    if group:
        yield group


class Waiting:
    """Groups of small files that nobody writes yet, and the threads that take them. Safe between threads."""

    def __init__(self, threads: int) -> None:
        """`threads`: how many may take them at a time."""
        self._most_threads = threads
        self._lock = threading.Lock()
        self._parts: deque[Part] = deque()
        self._files = 0
        self._threads = 0

    def add(self, parts: Sequence[Part]) -> int:
        """Let them wait. Returns how many more threads are to call `take` until it has nothing for them."""
        with self._lock:
            self._parts.extend(parts)
            self._files += sum(len(part.items) for part in parts)
            # Few files are written by one thread: each has the destination to open and its file system to sync.
            wanted = min(-(-self._files // GROUP_FILES), self._most_threads)
            more = max(wanted - self._threads, 0)
            self._threads += more
        return more

    def take(self, most: int) -> list[Part]:
        """What one thread writes together: parts of several tasks, up to `most` bytes or so. None: it is to end."""
        taken: list[Part] = []
        files = held = 0
        with self._lock:
            while self._parts and files < GROUP_FILES and held < most:
                taken.append(self._parts.popleft())
                files += len(taken[-1].items)
                held += taken[-1].bytes
            self._files -= files
            if not taken:
                self._threads -= 1
        return taken
