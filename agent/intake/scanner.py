"""What is on the disk: hints and sweeps become candidates, and what went away is noted."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat

from agent.errors import is_agents
from agent.files import CannotTell, Files, Tree, Trouble
from agent.files.events import Hint
from agent.host.bulkhead import Bulkhead
from agent.intake.missing_files import MissingFiles, volume_above
from agent.intake.register import Register
from agent.intake.root import MOST_UNSEEN, Root, Sweep
from agent.intake.scan import Listing, Walk
from agent.intake.zones import IDENTITY, NONE, Zones
from agent.ledger import HERE, Known, Ledger
from rules.match import match, pruned, relative
from rules.model import Entry, Kind, Observation

HINTS_A_PASS = 2_000
ENTRIES_A_PASS = 500
"""Directory entries that one pass takes from a sweep: new data must not wait for the whole walk."""
_AGAIN = 5.0
"""Seconds until a sweep that broke off begins again."""

log = logging.getLogger(__name__)


_Named = tuple[str, Entry, Kind]
"""A directory, and an entry of it."""


def _parts(root: Root) -> list[Hint]:
    """Directories that are swept because events or datasets want it, the one under way first."""
    under_way = root.partial.of if root.partial is not None else None
    return [*([under_way] if under_way is not None else []), *root.wanted]


class Scanner:
    """Compares the disk with the ledger."""

    def __init__(self, ledger: Ledger, files: Files, roots: Sequence[Root], zones: Zones = NONE) -> None:
        """`zones`: destinations below the watched directories, which are left out."""
        self._ledger = ledger
        self._files = files
        self._missing_files = MissingFiles(ledger)
        self._roots = roots
        self._rules = [rule for root in roots for rule in root.rules]
        self._zones = zones
        self._hinted = Bulkhead[Root]("events of", lambda root: root.watch.root)
        self._swept = Bulkhead[Root]("sweep of", lambda root: root.watch.root)
        self._hints = Bulkhead[Hint]("event of", lambda hint: hint.path, ledger.savepoint)
        self._parts = Bulkhead[Hint]("sweep of", lambda part: part.path)
        self._directories = Bulkhead[str]("directory", str, ledger.savepoint)
        self._names = Bulkhead[_Named]("name", lambda one: f"{one[0]}/{os.fsdecode(one[1][0])}", ledger.savepoint)

    def start(self) -> None:
        """Sweeps that a former configuration began begin again: they know its landing zones."""
        for root in self._roots:
            for sweep in filter(None, (root.sweep, root.partial)):
                if sweep.of is None:
                    root.why = root.why or "another configuration"
                root.broke_off(sweep, None)

    # Hints

    def take_hints(self, now: float) -> bool:
        """Look at what events spoke of. Returns whether there may be more."""
        more = False
        for one in self._hinted.each(self._roots, now):
            with one as root:
                more = self._take_hints(root, now) or more
        self._missing_files.report()
        return more

    def _take_hints(self, root: Root, now: float) -> bool:
        hints = root.watch.drain(HINTS_A_PASS)
        if not hints:
            return False
        directories = [hint for hint in hints if hint.below or hint.names]
        files = [hint for hint in hints if not (hint.below or hint.names)]
        try:
            with self._files.tree(root.watch.root) as tree, self._ledger.transaction():
                self._hints.together(
                    files, lambda some: directories.extend(self._look_at(root, some, tree, now)), now,
                    lambda hint, failure: self._not_seen(root, hint.path, failure.reason),
                )  # fmt: skip
        except Trouble as trouble:
            root.watch.give_back(hints)
            self._missing_files.doubt(root.watch.root, trouble)
            return False
        except BaseException:
            root.watch.give_back(hints)
            raise
        for part in directories:
            root.want(part)
        return len(hints) == HINTS_A_PASS

    def _look_at(self, root: Root, hints: Sequence[Hint], tree: Tree, now: float) -> list[Hint]:
        """Enter what has the names. Returns the directories, which took the names of what the events were about."""
        register = Register(self._ledger, self._missing_files, root, tree, self._rules, now)
        known = self._known([hint.path for hint in hints])
        directories = [
            Hint(hint.path, below=True)
            for hint in hints
            if self._hint(root, tree, register, hint.path, hint.gone, known.get(hint.path))
        ]
        register.flush()
        return directories

    def _not_seen(self, root: Root, path: str, reason: str) -> None:
        """What an event spoke of is not known. The next sweep, which says so, too, tries again. Inside a transaction."""
        if root.unseen is not None and len(root.unseen) < MOST_UNSEEN:
            root.unseen[path] = reason
            self._ledger.reports.left_unseen(root.watch.root, len(root.unseen), f"{path}: {reason}")

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

    def _hint(
        self, root: Root, tree: Tree, register: Register, path: str, left: bool, known: Known | None
    ) -> bool:  # fmt: skip
        """Returns whether a directory has the name. `left`: the name went away at some time since."""
        inside = relative(path, tree.root)
        if inside is None:
            return False
        above, _, name = inside.rpartition("/")
        if name == IDENTITY:
            self._zones.forget()
        zone = self._zones.hold(tree, above)
        if isinstance(zone, CannotTell):
            self._not_seen(root, f"{tree.root}/{above}", zone.reason)
        if zone:
            return False
        seen = tree.look(inside)
        if isinstance(seen, CannotTell):
            self._missing_files.doubt(path, seen.trouble)
        elif not isinstance(seen, Observation):
            if known is not None and known.state in HERE:
                self._missing_files.gone(path, known, volume_above(tree, inside), register.now)
        elif seen.kind is Kind.DIRECTORY:
            return True
        else:
            register.entry(path, seen, known, left=left, written=True)
        return False

    # Sweeps

    def take_sweeps(self, now: float) -> bool:
        """Go on with the sweeps that are wanted, a slice of each. Returns whether there is more of them."""
        more = False
        for one in self._swept.each(self._roots, now):
            with one as root:
                more = self._take_sweeps(root, now) or more
        self._missing_files.report()
        return more

    def next_sweep(self, root: Root, part: Hint, now: float) -> float | None:
        """When the sweep of a part goes on; None: it has ended."""
        if not root.wants(part):
            return None
        failure = self._parts.failure(part)
        return max(now, root.again_at or now, failure.again if failure is not None else now)

    def _take_sweeps(self, root: Root, now: float) -> bool:
        left = ENTRIES_A_PASS
        for one in self._parts.each(_parts(root), now):
            if left <= 0 or root.again_at is not None:
                break
            with one as part:
                root.wanted.pop(part, None)
                root.partial = root.partial or self._sweep(root, part)
                left = self._go_on(root, root.partial, now, left)
        if root.sweep is None and root.why is not None:
            log.info("sweep of %s: %s", root.watch.root, root.why)
            root.sweep, root.why, root.again_at = self._sweep(root, None), None, None
            self._zones.ask_again()
        if root.sweep is not None:
            self._go_on(root, root.sweep, now, ENTRIES_A_PASS)
        parts = [] if root.again_at is not None else _parts(root)
        return root.sweep is not None or any(self._parts.failure(part, now) is None for part in parts)

    def _sweep(self, root: Root, part: Hint | None) -> Sweep:
        pruning = partial(pruned, root.rules)
        if part is None:
            walk = Walk(self._files, root.watch.root, zones=self._zones, pruned=pruning)
            return Sweep(None, walk, counted=root.swept_at is not None)
        begin = relative(part.path, root.watch.root) or ""
        below = Walk(self._files, root.watch.root, begin, self._zones, below=part.below, pruned=pruning)
        return Sweep(part, None if part.gone else below, counted=False)

    def _go_on(self, root: Root, sweep: Sweep, now: float, left: int) -> int:
        """A slice of about `left` entries. Returns how many more may be taken. Where it fails, nothing of the sweep counts."""
        ended, unseen = False, root.unseen
        try:
            with self._files.tree(root.watch.root) as tree, self._ledger.transaction():
                while left > 0 and not ended:
                    taken = self._take(root, sweep, tree, now)
                    ended, left = taken == 0, left - taken
                if ended:
                    unseen = self._ended(root, sweep, now)
            if sweep.walk is not None:
                sweep.walk.pause()
        except Trouble as trouble:
            root.broke_off(sweep, now + _AGAIN)
            self._missing_files.doubt(root.watch.root, trouble)
            return 0
        except BaseException as error:
            root.broke_off(sweep, now + _AGAIN if sweep.of is None or is_agents(error) else None)
            raise
        root.unseen = unseen
        if ended and sweep.of is None:
            root.sweep, root.swept_at, root.sweep_seconds = None, now, time.monotonic() - sweep.began
        elif ended:
            root.partial = None
        return left

    def _take(self, root: Root, sweep: Sweep, tree: Tree, now: float) -> int:
        """The next step of a sweep. Returns how many entries it was about; 0 at the end."""
        if sweep.by_name:
            directory, after = sweep.by_name.pop()
            for one in self._directories.each([directory]):
                with one:
                    next_after = self._missing_files.huge(tree, directory, after, ENTRIES_A_PASS, now)
                    if next_after is not None:
                        sweep.by_name.append((directory, next_after))
            return ENTRIES_A_PASS
        listing = None if sweep.walk is None or sweep.walk.ended else sweep.walk.next()
        if listing is not None:
            for one in self._directories.each([listing.directory], failed=sweep.not_seen):
                with one:
                    self._listed(root, sweep, listing, tree, now)
            return len(listing.entries) + 1
        if sweep.known is None:
            sweep.known = []
            if sweep.of is None or sweep.of.gone:
                top = tree.root if sweep.of is None else sweep.of.path
                found = (*self._ledger.files.directories_below(top), *self._ledger.links.directories_below(top))
                sweep.known = list(dict.fromkeys(found))
            return 1
        if sweep.known:
            for one in self._directories.each([sweep.known.pop()]):
                with one as directory:
                    if self._missing_files.directory(tree, directory):
                        self._ledger.links.found(directory, (), whole=True)
                        sweep.by_name.append((directory, ""))
            return 1
        return 0

    def _listed(self, root: Root, sweep: Sweep, listing: Listing, tree: Tree, now: float) -> None:
        """Enter what is new in a listing, and note what of it was not seen."""
        whole = listing.whole

        def enter(some: Sequence[_Named]) -> None:
            nonlocal whole
            seen = listing
            if len(some) < len(listing.entries):
                whole, seen = False, replace(listing, entries={entry: kind for _, entry, kind in some}, whole=False)
            register = Register(self._ledger, self._missing_files, root, tree, self._rules, now)
            register.listing(seen, counted=sweep.counted)
            register.flush()
            sweep.unclaimed += register.unclaimed
            sweep.example = register.example or sweep.example
            for rule, count in register.found_by_sweep.items():
                root.found_by_sweep[rule] = root.found_by_sweep.get(rule, 0) + count

        if listing.error is not None and not match(root.rules, f"{listing.directory}/any").excluded:
            sweep.not_seen(listing.directory, listing.error)
        try:
            entries = list(zip(repeat(listing.directory), listing.entries, listing.entries.values(), strict=False))
            self._names.together(entries, enter, now, lambda one, failure: sweep.not_seen(one[0], failure))
        finally:
            if not whole and listing.last and listing.volume is not None:
                sweep.by_name.append((listing.directory, ""))

    def _ended(self, root: Root, sweep: Sweep, now: float) -> dict[str, str]:
        """Note what a sweep found that is nobody's, or could not see. Returns all that cannot be seen. Inside its transaction."""
        where, unseen = root.watch.root, dict(sweep.unseen)
        if sweep.of is None:
            for rule in root.rules:
                self._ledger.files.swept(rule.name, rule.watch, now)
            self._ledger.reports.left_unclaimed(where, sweep.unclaimed, sweep.example)
            if sweep.walk is not None:
                self._ledger.reports.left_out(where, sweep.walk.left_out, sweep.walk.example)
            if sweep.unclaimed:
                log.warning("%s: no rule claims %d files, such as %s", where, sweep.unclaimed, sweep.example)
        else:
            if root.sweep is not None:
                root.sweep.unseen.update(unseen)
            seen = sweep.of.path
            for path, reason in (root.unseen or {}).items():
                if path != seen and not (sweep.of.below and path.startswith(seen + "/")):
                    unseen[path] = reason
        if root.unseen is None or root.unseen.keys() != unseen.keys():
            path, reason = next(iter(unseen.items()), ("", ""))
            self._ledger.reports.left_unseen(where, len(unseen), path and f"{path}: {reason}")
            if unseen:
                log.warning("%s: %d directories cannot be listed, such as %s: %s", where, len(unseen), path, reason)
        return unseen
