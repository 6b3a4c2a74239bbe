"""What is on the disk: hints and sweeps become candidates, and what went away is noted."""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence

from agent.files import CannotTell, Files, Tree, Trouble
from agent.files.events import Hint
from agent.files.reader import Trees, adopt
from agent.intake.departures import Departures, volume_above
from agent.intake.root import Root
from agent.intake.scan import Listing, sweep
from agent.intake.zones import IDENTITY, Zones
from agent.ledger import HERE, Found, Known, Ledger, State
from rules.complete import first_look
from rules.datasets.membership import dataset_of
from rules.match import is_marker, match, relative
from rules.model import OWN_PREFIX, Kind, Observation, Rule
from rules.versions.identity import Adoption
from rules.versions.volumes import unchanged

HINTS_A_PASS = 2_000
ENTRIES_A_PASS = 500
"""Directory entries that one pass takes from a sweep: new data must not wait for the whole walk."""
_NAMED = (*HERE, State.RECLAIMING)
"""States of versions that may have their names still."""
_FEW = 100
"""Names that the ledger is asked for one by one."""

log = logging.getLogger(__name__)


class Survey:
    """Compares the disk with the ledger."""

    def __init__(self, ledger: Ledger, files: Files, roots: Sequence[Root], own: Sequence[str] = ()) -> None:
        """`own`: destinations below the watched directories, as they are reached there; others are known by their identity."""
        self._ledger = ledger
        self._files = files
        self._departures = Departures(ledger)
        self._roots = roots
        self._zones = Zones(ledger.destinations.identities, own)
        self._fresh: list[Found] = []
        self._touched: dict[int, float] = {}
        """Datasets that wait for what was found since, and when that was."""

    def take_hints(self, now: float) -> bool:
        """Look at what events spoke of. Returns whether there may be more."""
        more = False
        for root in self._roots:
            hints = root.watch.drain(HINTS_A_PASS)
            more = more or len(hints) == HINTS_A_PASS
            if not hints:
                continue
            files, gone = _sort(root, hints)
            try:
                with self._files.tree(root.watch.root) as tree, self._ledger.transaction():
                    known = self._known(list(files))
                    for path, left in files.items():
                        self._hint(root, tree, path, left, known.get(path), now)
                    for path in gone:
                        self._departures.directory(tree, path)
                        root.watch.writing.left_below(path)
                    self._flush()
            except Trouble as trouble:
                self._departures.doubt(root.watch.root, trouble)
        self._departures.report()
        return more

    def _known(self, paths: Sequence[str]) -> dict[str, Known]:
        """What the ledger has of these paths, asked once per directory."""
        names: dict[str, list[str]] = {}
        for path in paths:
            directory, _, name = path.rpartition("/")
            names.setdefault(directory, []).append(name)
        return {
            f"{directory}/{name}": known
            for directory, wanted in names.items()
            for name, known in self._ledger.files.known(directory, wanted).items()
        }

    def _hint(self, root: Root, tree: Tree, path: str, left: bool, known: Known | None, now: float) -> None:
        """`left`: the name went away at some time since."""
        inside = relative(path, tree.root)
        if inside is None:
            return
        above, _, name = inside.rpartition("/")
        if name == IDENTITY:
            self._zones.forget()
        if self._zones.hold(tree, above):
            return
        seen = tree.look(inside)
        if isinstance(seen, CannotTell):
            self._departures.doubt(path, seen.trouble)
            return
        if not isinstance(seen, Observation):
            root.watch.writing.left(path)
            if known is not None and known.state in HERE:
                self._departures.gone(path, known, volume_above(tree, inside))
            return
        if seen.kind is Kind.DIRECTORY:
            root.parts.append(path)  # it took the name of what the event was about
            return
        self._entry(root, tree, path, seen, known, now, left=left)

    def take_sweeps(self, now: float) -> bool:
        """Go on with the sweeps that are wanted. Returns whether there is more of them."""
        for root in self._roots:
            while root.parts:
                part = root.parts.popleft()
                for listing in self._sweep(root, part):
                    self._enter(root, [listing], now, counted=False)
            while root.places:
                place = root.places.pop()
                for listing in self._sweep(root, place):
                    if listing.directory != place:
                        break
                    self._enter(root, [listing], now, counted=False)
            if root.walk is None and root.why is not None:
                log.info("sweep of %s: %s", root.watch.root, root.why)
                root.walk, root.why, root.unclaimed = self._sweep(root, root.watch.root), None, 0
                self._zones.forget()
                root.walk_began, root.walk_mark = time.monotonic(), root.watch.writing.mark()
            if root.walk is not None:
                self._go_on(root, root.walk, now)
        self._departures.report()
        return any(root.walk is not None or root.parts for root in self._roots)

    def _sweep(self, root: Root, directory: str) -> Iterator[Listing]:
        return sweep(self._files, root.watch.root, relative(directory, root.watch.root) or "", self._zones)

    def _go_on(self, root: Root, walk: Iterator[Listing], now: float) -> None:
        listings: list[Listing] = []
        entries = 0
        for listing in walk:
            listings.append(listing)
            entries += len(listing.entries) + 1
            if entries >= ENTRIES_A_PASS:
                break
        else:
            root.walk = None
        self._enter(root, listings, now, counted=root.swept_at is not None, ended=root.walk is None)

    def _enter(
        self, root: Root, listings: Sequence[Listing], now: float, *, counted: bool, ended: bool = False
    ) -> None:
        """`ended`: these are the last listings of a whole sweep."""
        with self._ledger.transaction(), Trees(self._files) as trees:
            for listing in listings:
                self._listing(root, trees, listing, now, counted=counted)
            self._flush()
            if ended:
                self._swept(root, trees, now)

    def _swept(self, root: Root, trees: Trees, now: float) -> None:
        tree = self._tree(root, trees)
        if tree is not None:
            self._departures.directory(tree, root.watch.root)
        root.swept_at, root.sweep_seconds = now, time.monotonic() - root.walk_began
        root.watch.writing.swept(root.walk_mark)
        self._ledger.reports.left_unclaimed(root.watch.root, root.unclaimed, root.example if root.unclaimed else "")
        if root.unclaimed:
            log.warning("%s: no rule claims %d files, such as %s", root.watch.root, root.unclaimed, root.example)

    def _tree(self, root: Root, trees: Trees) -> Tree | None:
        """The watched directory; None where it cannot be opened, so that nothing can be told."""
        try:
            return trees.at(root.watch.root)
        except Trouble as trouble:
            self._departures.doubt(root.watch.root, trouble)
            return None

    def _listing(self, root: Root, trees: Trees, listing: Listing, now: float, *, counted: bool) -> None:
        if listing.error is not None:
            log.warning("%s cannot be listed: %s; its files are not seen", listing.directory, listing.error)
        files, entries = self._ledger.files, listing.entries
        expected = files.entries(listing.directory, None if listing.whole else [entry[0] for entry in entries])
        other = dict(listing.seen(but=expected))
        gone: set[str] = set()
        if listing.whole:
            gone = {os.fsdecode(entry[0]) for entry in expected - entries.keys()} - other.keys()
        # By name, where that is less than the whole directory, and no more than a statement takes.
        few = not listing.whole or len(other) + len(gone) <= _FEW
        known = files.known(listing.directory, [*other, *gone] if few else None) if other or gone else {}
        known = self._mounted_again(root, known, other)
        for name, seen in other.items():
            item = known.get(name)
            if item is not None and item.state in _NAMED and unchanged(item.version, item.volume, seen):
                continue
            path = f"{listing.directory}/{name}"
            tree = None if item is None else self._tree(root, trees)
            rule = self._entry(root, tree, path, seen, item, now)
            if counted and rule is not None and (item is None or item.state is not State.CANDIDATE):
                root.found_by_sweep[rule] = root.found_by_sweep.get(rule, 0) + 1
        for name in gone:
            if known[name].state in HERE:
                self._departures.gone(f"{listing.directory}/{name}", known[name], listing.volume)
        if not listing.whole and listing.last and listing.error is None:
            tree = self._tree(root, trees)
            if tree is not None:
                self._departures.huge(tree, listing.directory)

    def _mounted_again(self, root: Root, known: dict[str, Known], seen: Mapping[str, Observation]) -> dict[str, Known]:
        """Follow file systems that have another identity since they were mounted again: one unchanged file proves it for all."""
        pairs = {
            (item.volume, seen[name].volume)
            for name, item in known.items()
            if name in seen and item.state in _NAMED and unchanged(item.version, item.volume, seen[name])
        }
        now = {before: after for before, after in pairs if before != after}
        for before, after in now.items():
            self._ledger.files.mounted_again(root.watch.root, before, after)
        return (
            {name: item._replace(volume=now.get(item.volume, item.volume)) for name, item in known.items()}
            if now
            else known
        )

    def _entry(
        self, root: Root, tree: Tree | None, path: str, seen: Observation, known: Known | None, now: float, *,
        left: bool = False,
    ) -> str | None:  # fmt: skip
        """A path that is new, or not as the ledger has it. Returns the rule that took it up.

        `tree`: the watched directory, where it can be asked; `left`: the name went away at some time since.
        """
        directory, _, name = path.rpartition("/")
        if name.startswith(OWN_PREFIX):
            return None
        root.watch.writing.left(path)
        taken: Adoption | None = None
        if known is not None and known.state in HERE and not unchanged(known.version, known.volume, seen):
            inside = relative(path, root.watch.root) or ""
            taken = adopt(tree, inside, known.version, known.volume, seen, left=left)
            if not taken.same_file and known.state is not State.CANDIDATE:
                known = self._departures.replaced(path, known, seen)
        found = match(root.rules, path)
        for rule in root.rules:
            if is_marker(rule, name):
                if rule.whole:
                    self._ledger.datasets.woken(self._ledger.files.rule(rule.name), now)
                else:
                    self._ledger.files.woken(self._ledger.files.directory(directory), now)
        if found.rule is None:
            if not found.excluded:
                root.unclaimed += 1
                root.example = f"{path}: {found.reason}"
            return None
        if known is not None and taken is None and known.state in HERE:
            return None  # a hint of something that changed nothing
        again = first_look(found.rule.complete, seen.version.ctime_ns, now)
        if known is not None and taken is not None and known.state is State.CANDIDATE and seen.kind is Kind.FILE:
            self._ledger.files.changed(known.id, taken, now, again)
        else:
            self._found(path, found.rule, seen, known, now, again)
        return found.rule.name

    def _found(self, path: str, rule: Rule, seen: Observation, known: Known | None, now: float, again: float) -> None:
        files = self._ledger.files
        if known is not None and known.state in HERE:
            files.superseded([(known.id, known.rule, path, "a newer version of the file is here")])
        generation = 1 if known is None else known.generation + 1
        directory, _, name = path.rpartition("/")
        number = self._dataset(path, rule, now) if rule.whole else None
        self._fresh.append(Found(files.directory(directory), path, rule.name, seen, generation, now, again, number))
        if seen.kind is not Kind.FILE:
            self._flush()
            number = files.known(directory, [name])[name].id
            hint = "remove it, or exclude it"
            if seen.kind is Kind.LINK:
                hint = "the file it points to travels if it is watched itself; exclude the link"
            files.refused([(number, rule.name, path, f"a {seen.kind}, not a file; {hint}")])

    def _dataset(self, path: str, rule: Rule, now: float) -> int | None:
        """The number of the file's dataset, which now waits for it."""
        dataset = dataset_of(rule, rule.relpath(path))
        if dataset is None:
            return None
        number = self._ledger.datasets.number(self._ledger.files.rule(rule.name), dataset.key, now)
        self._touched[number] = now
        return number

    def _flush(self) -> None:
        """Enter what was found since, in one statement. Inside the transaction in which it was found."""
        fresh, self._fresh = self._fresh, []
        self._ledger.files.found(fresh)
        if self._touched:
            self._ledger.datasets.touched(self._touched, max(self._touched.values()))
            self._touched.clear()


def _sort(root: Root, hints: Sequence[Hint]) -> tuple[dict[str, bool], list[str]]:
    """Hints as files (path → whether its name went away meanwhile) and directories that went away.

    Directories that appeared are noted at the root, to be swept.
    """
    files: dict[str, bool] = {}
    gone: list[str] = []
    for hint in hints:
        if not hint.below:
            files[hint.path] = files.get(hint.path, False) or hint.gone
        elif hint.gone:
            gone.append(hint.path)
        else:
            root.parts.append(hint.path)
    return files, gone
