"""Files that are being written, and that the ledger does not know yet."""

import threading
from collections.abc import Sequence
from typing import NamedTuple

from rules.model import OWN_PREFIX

AT_MOST = 1000
"""Names that are remembered for each watched directory."""


class Count(NamedTuple):
    """How many files are being written."""

    files: int
    at_least: bool
    """There may be more: not all names were remembered."""
    examples: tuple[str, ...]


class Writing:
    """Files below one watched directory that were created, and of which nothing else has come yet.

    A hint about a file comes when its writer closes it; until then only its creation tells of it. A file leaves when it
    becomes known to the ledger, when it goes away, and when a sweep has passed that began after its creation. Safe between
    threads: the one that reads events adds, intake takes away, the status page reads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[str, int] = {}
        """Path → how many creations were seen before it."""
        self._created = 0
        self._left_out: int | None = None
        """The last creation that was not remembered."""

    def created(self, path: str) -> None:
        """A file was created."""
        if path.rpartition("/")[2].startswith(OWN_PREFIX):
            return
        with self._lock:
            self._created += 1
            if path in self._paths or len(self._paths) < AT_MOST:
                self._paths[path] = self._created
            else:
                self._left_out = self._created

    def left(self, path: str) -> None:
        """The file is known to the ledger now, or is not there any more."""
        with self._lock:
            self._paths.pop(path, None)

    def left_below(self, directory: str) -> None:
        """The directory went away."""
        with self._lock:
            for path in [one for one in self._paths if one.startswith(directory + "/")]:
                del self._paths[path]

    def mark(self) -> int:
        """What a sweep that begins now is to hand back when it has ended."""
        with self._lock:
            return self._created

    def swept(self, mark: int) -> None:
        """A whole sweep has ended that began at this mark: it saw what had been created by then."""
        with self._lock:
            self._paths = {path: number for path, number in self._paths.items() if number > mark}
            if self._left_out is not None and self._left_out <= mark:
                self._left_out = None

    def count(self, directory: str = "") -> Count:
        """The files that are being written below a directory; without one, all."""
        with self._lock:
            paths: Sequence[str] = [one for one in self._paths if not directory or one.startswith(directory + "/")]
            return Count(len(paths), self._left_out is not None, tuple(paths[:3]))
