"""What went away: names that the ledger has, and the disk has not."""

import logging
from collections.abc import Iterable

from agent.files import ABSENT, CannotTell, Tree, Trouble, Whose
from agent.host.bulkhead import Bulkhead
from agent.ledger import Known, Ledger, State
from rules.match import relative
from rules.model import Kind, Observation, VolumeId
from rules.versions.copies import left_in_words
from rules.versions.volumes import SameVolume, same_volume

Missing = tuple[str, Known]
"""A path, and what the ledger has of it."""
_COVERED = "a file with its name was found where another file system is mounted, or the same one again"

log = logging.getLogger(__name__)


class MissingFiles:
    """Notes in the ledger what is not there any more. Inside its transactions.

    Where a look cannot tell, nothing is noted: the next sweep looks again.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._doubts: dict[str, str] = {}
        self._names = Bulkhead[Missing]("missing file", lambda one: one[0], ledger.savepoint)

    def all_gone(self, missing: Iterable[Missing], volume: VolumeId | None, now: float) -> None:
        """As `gone`, of some names."""
        for one in self._names.each(missing):
            with one as (path, known):
                self.gone(path, known, volume, now)

    def gone(self, path: str, known: Known, volume: VolumeId | None, now: float) -> None:
        """The name is not there any more, unless its file system is not mounted, or that cannot be told.

        `volume`: of the nearest directory above that is there, see `volume_above`.
        """
        same = same_volume(known.volume, volume)
        if same is SameVolume.CANNOT_TELL and volume is not None:
            self._doubts[path] = same.value
        if same is not SameVolume.YES:
            return
        if known.state is State.VERIFIED:
            reason = "removed by somebody else, after it was proved at its destinations"
            self._ledger.files.removed([(known.id, known.rule, path, reason)], now)
        else:
            reason = "it went away before it was delivered"
            proved, missing = self._ledger.files.destinations_of(known.id) if known.state is State.BATCHED else ([], [])
            if proved:
                reason = f"it went away before every destination had it; {left_in_words(proved, missing)}"
            self._ledger.files.vanished([(known.id, known.rule, path, reason)], now)

    def replaced(self, path: str, known: Known, seen: Observation, now: float) -> Known:
        """Another file came to the name: the copies at the destinations may be all there is of the former one."""
        if same_volume(known.volume, seen.volume) is SameVolume.YES:
            self.gone(path, known, known.volume, now)
        elif known.state is State.VERIFIED:
            self._ledger.files.removed([(known.id, known.rule, path, _COVERED)], now)
        else:
            self._ledger.files.vanished([(known.id, known.rule, path, f"{_COVERED}, before it was delivered")], now)
        return known._replace(state=State.REMOVED)

    def huge(self, tree: Tree, directory: str, after: str, limit: int, now: float) -> str | None:
        """A directory without a whole listing: each name after `after` is looked for, so many at a time.

        Returns the last of them; None at the end.
        """
        volume, page = None, self._ledger.files.expected(directory, after, limit)
        for one in self._names.each([(f"{directory}/{name}", known) for name, known in page]):
            with one as (path, known):
                inside = relative(path, tree.root) or ""
                seen = tree.look(inside)
                if isinstance(seen, CannotTell):
                    self.doubt(path, seen.trouble)
                    if seen.trouble.whose is not Whose.FILE:
                        return None  # the others would fare alike
                elif seen is ABSENT:
                    volume = volume or volume_above(tree, inside)
                    self.gone(path, known, volume, now)
        return page[-1][0] if len(page) == limit else None

    def directory(self, tree: Tree, directory: str) -> bool:
        """Whether a directory is not there, so that each name in it is to be looked for."""
        seen = tree.look(relative(directory, tree.root) or "")
        if isinstance(seen, CannotTell):
            self.doubt(directory, seen.trouble)
        return seen is ABSENT

    def doubt(self, path: str, trouble: Trouble) -> None:
        """It cannot be listed."""
        self._doubts[path] = trouble.reason

    def report(self) -> None:
        """Log what could not be told since the last report: one line, however much it is."""
        if not self._doubts:
            return
        path, reason = next(iter(self._doubts.items()))
        more = f" (and {len(self._doubts) - 1} more)" if len(self._doubts) > 1 else ""
        log.warning("%s: its content cannot be listed: %s%s; the next sweep looks again", path, reason, more)
        self._doubts.clear()


def volume_above(tree: Tree, path: str) -> VolumeId | None:
    """The file system of the nearest directory above a path that is there; None where that cannot be told."""
    while path:
        path = path.rpartition("/")[0]
        seen = tree.look(path)
        if isinstance(seen, CannotTell):
            return None
        if isinstance(seen, Observation) and seen.kind is Kind.DIRECTORY:
            return seen.volume
    return None
