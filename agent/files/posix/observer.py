"""Events where there is no inotify (macOS), by watchdog. The only place that imports it.

Measured defects that this works around: a raise in a handler ends the dispatcher, so ours only passes hints on; an
emitter dies while its observer says that it is alive, so the emitters are asked too; an overflow shows in watchdog's
log only; directories made and filled in one breath raise too few events, so each new one is announced, to be swept.
"""

import logging
import os
import warnings
from collections.abc import Callable

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from agent.files.events import Hint, Put

# What watchdog says of directories that it came upon twice, and of threads that are being stopped, alarms for nothing.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, "watchdog")
logging.getLogger("watchdog.observers.inotify").addFilter(lambda record: "is inactive" not in record.getMessage())


class _PassOn(FileSystemEventHandler):
    """Passes hints on, and does nothing else."""

    def __init__(self, put: Put) -> None:
        self._put = put

    def dispatch(self, event: FileSystemEvent) -> None:
        source, target = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        if isinstance(event, DirCreatedEvent):
            self._put([Hint(source, below=True)])
        elif isinstance(event, DirMovedEvent):
            self._put([Hint(source, below=True, gone=True), Hint(target, below=True)])
        elif isinstance(event, DirDeletedEvent):
            self._put([Hint(source, below=True, gone=True)])
        elif isinstance(event, FileMovedEvent):
            self._put([Hint(source, gone=True), Hint(target)])
        elif isinstance(event, FileDeletedEvent):
            self._put([Hint(source, gone=True)])
        elif isinstance(event, (FileCreatedEvent, FileModifiedEvent, FileClosedEvent)):
            self._put([Hint(source)])


class _Overflow(logging.Handler):
    """Listens to watchdog's log."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._lost = lost

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._lost("the kernel's event queue overflowed")


class Observed:
    """Hints about `root` and the directories below it."""

    def __init__(self, root: str, put: Put, lost: Callable[[str], None]) -> None:
        """Start the observer. Raises OSError where the system refuses. The arguments are those of `inotify.Inotify`."""
        self._listener = _Overflow(lost)
        self._observer = Observer()
        try:
            self._observer.schedule(
                _PassOn(put),
                root.rstrip("/") + "/",  # with the slash a root that is a link is followed
                recursive=True,
            )
            self._observer.start()
        except OSError:
            self._observer.stop()  # a part of it runs from the beginning
            raise
        logging.getLogger("watchdog").addHandler(self._listener)

    @property
    def alive(self) -> bool:
        """Whether the observer and its emitters run."""
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def close(self) -> None:
        """End the threads."""
        logging.getLogger("watchdog").removeHandler(self._listener)
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(5.0)
