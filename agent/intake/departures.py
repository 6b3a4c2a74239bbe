"""What went away: names that the ledger has, and the disk has not."""

import os

from agent.files.posix import writer_probe as probe
from agent.ledger import Known, Ledger, State
from rules.model import Observation


class Departures:
    """Notes in the ledger what is not there any more. Inside its transactions."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def gone(self, path: str, known: Known) -> None:
        """The name is not there any more, unless its file system is not mounted."""
        if device_at(path) != known.device:
            return
        if known.state is State.VERIFIED:
            reason = "removed by somebody else, after it was proved at its destinations"
            self._ledger.files.removed([(known.id, known.rule, path, reason)])
        else:
            self._ledger.files.vanished([(known.id, known.rule, path, "it went away before it was delivered")])

    def replaced(self, path: str, known: Known) -> Known:
        """Another file came to the name: the copies at the destinations may be all there is of the former one."""
        self.gone(path, known)
        return known._replace(state=State.RECLAIMED)

    def huge(self, directory: str) -> None:
        """A directory of which no listing is whole: each name is looked for."""
        after = ""
        while page := self._ledger.files.expected(directory, after, 1000):
            for name, known in page:
                after = name
                if not os.path.lexists(f"{directory}/{name}"):
                    self.gone(f"{directory}/{name}", known)

    def directory(self, directory: str) -> None:
        """Whatever is known at or below a directory, in directories that are not there any more."""
        for below in self._ledger.files.directories_below(directory):
            if not os.path.lexists(below):
                self.huge(below)


def same_file(path: str, seen: Observation, known: Known) -> bool:
    """Whether what stands there is the file that is known, changed in place.

    Inode numbers are used again at once; a file that was made after the known one last changed is another one.
    """
    _, _, changed_ns, inode = known.version
    if inode != seen.version.inode:
        return False
    born_ns = probe.born(path)
    return born_ns is None or born_ns <= changed_ns


def device_at(path: str) -> int | None:
    """The device of the nearest directory above a path that is there: another one than the file's means unmounted."""
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        try:
            return os.stat(path).st_dev
        except OSError:
            continue  # look further up
    return None
