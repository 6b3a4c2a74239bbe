"""What is on the disk: hints and sweeps become candidates, and what went away is noted."""

import logging
import os
import time
from collections.abc import Iterator, Sequence

from agent.files.events import Hint
from agent.files.looks import Looks
from agent.files.posix import writer_probe as probe
from agent.intake.departures import Departures, same_file
from agent.intake.root import Root
from agent.intake.scan import Listing, sweep
from agent.ledger import HERE, Found, Known, Ledger, State
from rules.complete import first_look
from rules.datasets.membership import dataset_of
from rules.match import is_marker, match, relative
from rules.model import OWN_PREFIX, Observation, Rule

HINTS_A_PASS = 2_000
ENTRIES_A_PASS = 500
"""Directory entries that one pass takes from a sweep: new data must not wait for the whole walk."""
_SENT = (State.BATCHED, State.VERIFIED, State.REFUSED)
"""States in which a destination may have a copy."""
_FEW = 100
"""Names that the ledger is asked for one by one."""

log = logging.getLogger(__name__)


class Survey:
    """Compares the disk with the ledger."""

    def __init__(self, ledger: Ledger, roots: Sequence[Root]) -> None:
        self._ledger = ledger
        self._departures = Departures(ledger)
        self._roots = roots
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
            with self._ledger.transaction(), Looks() as looks:
                known = self._known(list(files))
                for path, left in files.items():
                    self._hint(root, looks, path, left, known.get(path), now)
                for path in gone:
                    self._departures.directory(path)
                self._flush()
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

    def _hint(self, root: Root, looks: Looks, path: str, left: bool, known: Known | None, now: float) -> None:
        """`left`: the name went away at some time since."""
        try:
            status = looks.status(root.watch.root, path)
        except OSError:
            if known is not None and known.state in HERE:
                self._departures.gone(path, known)
            return
        seen = probe.observation(status)
        if seen.kind == "directory":
            root.parts.append(path)  # it took the name of what the event was about
            return
        changed = known is not None and known.state in _SENT and known.version != seen.version
        if known is not None and changed and (left or not (root.sure or same_file(path, seen, known))):
            known = self._departures.replaced(path, known)
        self._entry(root, path, seen, known, now)

    def take_sweeps(self, now: float) -> bool:
        """Go on with the sweeps that are wanted. Returns whether there is more of them."""
        for root in self._roots:
            while root.parts:
                part = root.parts.popleft()
                for listing in sweep(root.watch.root, relative(part, root.watch.root) or ""):
                    with self._ledger.transaction():
                        self._listing(root, listing, now, counted=False)
                        self._flush()
            while root.places:
                place = root.places.pop()
                for listing in sweep(root.watch.root, relative(place, root.watch.root) or ""):
                    if listing.directory != place:
                        break
                    with self._ledger.transaction():
                        self._listing(root, listing, now, counted=False)
                        self._flush()
            if root.walk is None and root.why is not None:
                log.info("sweep of %s: %s", root.watch.root, root.why)
                root.walk, root.why, root.unclaimed = sweep(root.watch.root), None, 0
                root.walk_began = time.monotonic()
            if root.walk is not None:
                self._go_on(root, root.walk, now)
        return any(root.walk is not None or root.parts for root in self._roots)

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
        with self._ledger.transaction():
            for listing in listings:
                self._listing(root, listing, now, counted=root.swept_at is not None)
            self._flush()
            if root.walk is None:
                self._swept(root, now)

    def _swept(self, root: Root, now: float) -> None:
        self._departures.directory(root.watch.root)
        root.swept_at, root.sweep_seconds = now, time.monotonic() - root.walk_began
        self._ledger.reports.left_unclaimed(root.watch.root, root.unclaimed, root.example if root.unclaimed else "")
        if root.unclaimed:
            log.warning("%s: no rule claims %d files, such as %s", root.watch.root, root.unclaimed, root.example)

    def _listing(self, root: Root, listing: Listing, now: float, *, counted: bool) -> None:
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
        moved: list[tuple[int, int]] = []
        for name, seen in other.items():
            item = known.get(name)
            if (
                item is not None
                and item.version == seen.version
                and (item.state in HERE or item.state is State.RECLAIMING)
            ):
                if item.device != seen.device:
                    moved.append((seen.device, item.id))
                continue
            path = f"{listing.directory}/{name}"
            if item is not None and item.state in _SENT and not same_file(path, seen, item):
                item = self._departures.replaced(path, item)  # no event told how
            rule = self._entry(root, path, seen, item, now)
            if counted and rule is not None and (item is None or item.state is not State.CANDIDATE):
                root.found_by_sweep[rule] = root.found_by_sweep.get(rule, 0) + 1
        if moved:
            files.moved_device(moved)
        for name in gone:
            if known[name].state in HERE:
                self._departures.gone(f"{listing.directory}/{name}", known[name])
        if not listing.whole and listing.last and listing.error is None:
            self._departures.huge(listing.directory)

    def _entry(self, root: Root, path: str, seen: Observation, known: Known | None, now: float) -> str | None:
        """A path that is new, or not as the ledger has it. Returns the rule that took it up."""
        directory, _, name = path.rpartition("/")
        if name.startswith(OWN_PREFIX):
            return None
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
        if known is not None and known.version == seen.version and known.state in HERE:
            return None  # a hint of something that changed nothing
        again = first_look(found.rule.complete, now)
        if known is not None and known.state is State.CANDIDATE and seen.kind == "file":
            self._ledger.files.changed(known.id, seen, now, again)
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
        if seen.kind != "file":
            self._flush()
            number = files.known(directory, [name])[name].id
            hint = "remove it, or exclude it"
            if seen.kind == "link":
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
