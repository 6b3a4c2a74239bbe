"""Hints from events, and sweeps of the disk. The only place that imports watchdog.

Events are hints: the kernel's queue overflows, network file systems have none, a watcher dies in silence. Sweeps are the
truth. Measured defects of watchdog that this works around: a raise in a handler ends the dispatcher, so ours only
enqueues; an emitter dies while its observer says it is alive, so the emitters are asked, and a canary file shows that
events still come; directories made and filled in one breath raise too few events, so each new one is swept.
"""

import errno
import logging
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from agent.errors import cause
from agent.mounts import file_system
from agent.tree import Tree
from rules.model import OWN_PREFIX

CANARY = OWN_PREFIX + "-canary"
CHUNK = 5000
"""Directory entries that a sweep holds in memory at a time."""

log = logging.getLogger(__name__)
# What watchdog says of directories that it came upon twice, and of threads that are being stopped, alarms for nothing.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, "watchdog")
logging.getLogger("watchdog.observers.inotify").addFilter(lambda record: "is inactive" not in record.getMessage())


@dataclass(frozen=True, slots=True)
class Hint:
    """A path may have changed, or a directory appeared (`below`: sweep it) or a name went away (`gone`)."""

    path: str
    below: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """Some entries of one directory, as the sweep saw them."""

    directory: str
    device: int
    entries: dict[str, os.stat_result]
    whole: bool
    """These are all entries: what is known and not among them is gone."""
    last: bool
    """The last listing of this directory."""
    error: str | None = None


class _Enqueue(FileSystemEventHandler):
    """Puts hints in a queue, and nothing else."""

    def __init__(self, put: Callable[[Hint], None]) -> None:
        self._put = put

    def dispatch(self, event: FileSystemEvent) -> None:
        source, target = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        if isinstance(event, DirCreatedEvent):
            self._put(Hint(source, below=True))
        elif isinstance(event, DirMovedEvent):
            if source:
                self._put(Hint(source, below=True, gone=True))
            if target:
                self._put(Hint(target, below=True))
        elif isinstance(event, FileMovedEvent):
            if source:
                self._put(Hint(source, gone=True))
            if target:
                self._put(Hint(target))
        elif isinstance(event, FileDeletedEvent):
            self._put(Hint(source, gone=True))
        elif isinstance(event, FileClosedEvent):
            self._put(Hint(source))


class _Overflow(logging.Handler):
    """watchdog tells of an overflowed kernel queue in its log only."""

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._told()


def _observer() -> BaseObserver:
    try:
        from watchdog.observers.inotify import InotifyObserver
    except ImportError:
        return Observer()
    # Full events: files renamed in from outside show as moves, so plain creations need no event at all.
    return InotifyObserver(generate_full_events=True)


class Watch:
    """Hints about one directory tree, kept alive.

    `check` looks whether they still come, and says why a sweep is needed; `drain` gives the hints.
    """

    def __init__(self, root: str, wake: Callable[[], None]) -> None:
        self.root = root
        self.up = False
        """Whether events come: False on file systems without them, and while the directory is absent."""
        self.present = False
        self.reason = "not yet looked at"
        self.lost = 0
        """How often events were lost, or may have been."""
        self.canary_at: float | None = None
        """When the canary was last seen to come through."""
        self.skew: float | None = None
        """Seconds that the file system's clock is ahead of ours."""
        self._wake = wake
        self._hints: deque[Hint] = deque()
        self._observer: BaseObserver | None = None
        self._identity: tuple[int, int] | None = None
        self._overflowed = threading.Event()
        self._canary_sent: float | None = None
        self._canary_back = threading.Event()
        self._unanswered = 0
        self._listener = _Overflow(self._on_overflow)
        logging.getLogger("watchdog").addHandler(self._listener)

    def _on_overflow(self) -> None:
        self._overflowed.set()
        self._wake()

    def _put(self, hint: Hint) -> None:
        if os.path.basename(hint.path) == CANARY:
            self._canary_back.set()
            return
        self._hints.append(hint)
        self._wake()

    def drain(self, limit: int) -> list[Hint]:
        """Hints that came since, oldest first, without repetitions that follow each other."""
        hints: dict[Hint, None] = {}
        while self._hints and len(hints) < limit:
            hints[self._hints.popleft()] = None
        return list(hints)

    def check(self, now: float) -> str | None:
        """Look after the watch. Returns why the tree must be swept, or None."""
        try:
            status = os.stat(self.root)
            identity = (status.st_dev, status.st_ino)
        except OSError as error:
            reason = f"the directory is not there: {cause(error)}"
            if self.reason != reason:
                log.warning("%s: %s; waiting for it", self.root, reason)
            self.lost += self.present
            self.present, self._identity, self.reason = False, None, reason
            self._stop()
            return None
        self.present = True
        if identity != self._identity:
            replaced, self._identity = self._identity is not None, identity
            self.lost += replaced
            self._start()
            return "another directory stands in its place" if replaced else "start"
        if self._overflowed.is_set():
            self.lost += 1
            self._start()  # watchdog renews its watches itself, but what happens meanwhile would be lost
            self._overflowed.clear()  # what was said until here is one loss, and the sweep to come finds it
            return "the kernel's event queue overflowed"
        observer = self._observer
        if observer is not None and not (
            observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)
        ):
            self.lost += 1
            self._start()
            return "the event thread had died"
        return None

    def canary(self, now: float, every: float, wall: float) -> str | None:
        """Write a small file, and look whether the event of the last one came. Returns why the tree must be swept.

        Args:
            now: the agent's clock.
            every: seconds between two canaries; two without an event mean that events no longer come.
            wall: the computer's clock, to compare the file system's with.
        """
        if self._canary_back.is_set():
            self._canary_back.clear()
            self.canary_at, self._unanswered = self._canary_sent, 0
        if not self.present or (self._canary_sent is not None and now < self._canary_sent + every):
            return None
        path = os.path.join(self.root, CANARY)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o644)
            try:
                os.write(fd, b"Dropline writes this file to see that events come through.\n")
                self.skew = os.fstat(fd).st_mtime - wall
            finally:
                os.close(fd)
        except OSError:
            # A directory that the agent may only read has no canary; its age is then not exported.
            self.canary_at = self._canary_sent = None
            return None
        if self.canary_at is None:
            self.canary_at = now  # the count begins: no event is due before this one
        self._canary_sent = now
        self._unanswered += 1
        if self.up and self._unanswered > 2:
            self._unanswered = 0
            self.lost += 1
            self._start()
            return "events stopped coming"
        return None

    def _start(self) -> None:
        self._stop()
        kind = file_system(self.root)
        if kind.remote:
            self.up, self.reason = False, f"{kind.kind} gives no events of what other machines write: sweeps only"
            log.warning("%s: %s", self.root, self.reason)
            return
        observer: BaseObserver | None = None
        try:
            observer = _observer()
            observer.schedule(
                _Enqueue(self._put),
                self.root.rstrip("/") + "/",  # with the slash a root that is a link is followed
                recursive=True,
                event_filter=[FileClosedEvent, FileMovedEvent, FileDeletedEvent, DirCreatedEvent, DirMovedEvent],
            )
            observer.start()
        except OSError as error:
            if observer is not None:
                observer.stop()  # a part of it runs from the beginning
            self.up, self.reason = False, f"no events: {cause(error)}; raise fs.inotify.max_user_watches; sweeps only"
            log.warning("%s: %s", self.root, self.reason)
            return
        self._observer, self.up, self.reason = observer, True, "events come"

    def _stop(self) -> None:
        self.up = False
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            if observer.is_alive():
                observer.join(5.0)

    def close(self) -> None:
        """Stop the threads, and take the canary away."""
        logging.getLogger("watchdog").removeHandler(self._listener)
        self._stop()
        if self._canary_sent is not None:
            try:
                os.unlink(os.path.join(self.root, CANARY))
            except OSError:
                pass  # the directory is away; the next run writes over it


def sweep(top: str) -> Iterator[Listing]:
    """Walk the tree, a directory (or a part of a huge one) at a time. Symbolic links are not followed.

    A directory that cannot be listed comes as a listing with its error; one that went away meanwhile does not come.
    """
    waiting = [""]
    while waiting:
        part = waiting.pop()
        directory = os.path.join(top, part) if part else top
        entries: dict[str, os.stat_result] = {}
        below: list[str] = []
        whole = True
        try:
            with Tree(top) as tree, os.scandir(tree.directory(part)) as scan:
                device = os.fstat(tree.directory(part)).st_dev
                for entry in scan:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone since the listing: not there
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith(OWN_PREFIX):
                            below.append(f"{part}/{entry.name}" if part else entry.name)
                        continue
                    entries[entry.name] = status
                    if len(entries) >= CHUNK:
                        whole = False
                        yield Listing(directory, device, entries, whole=False, last=False)
                        entries = {}
        except FileNotFoundError:
            continue
        except OSError as error:
            if part and error.errno in (errno.ENOTDIR, errno.ELOOP):
                continue  # something else stands in its place now
            yield Listing(directory, 0, entries, whole=False, last=True, error=cause(error))
            continue
        waiting.extend(reversed(below))
        yield Listing(directory, device, entries, whole=whole, last=True)
