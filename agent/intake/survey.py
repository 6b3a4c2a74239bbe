"""What is on the disk: hints and sweeps become candidates, and what went away is noted."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from agent.files import CannotTell, Files, Tree, Trouble
from agent.files.events import Hint
from agent.intake.departures import Departures, volume_above
from agent.intake.register import Register
from agent.intake.root import MOST_UNSEEN, Root, Sweep
from agent.intake.scan import Walk
from agent.intake.zones import IDENTITY, Zones
from agent.ledger import HERE, Known, Ledger
from rules.match import match, relative
from rules.model import Kind, Observation, Rule

HINTS_A_PASS = 2_000
ENTRIES_A_PASS = 500
"""Directory entries that one pass takes from a sweep: new data must not wait for the whole walk."""
_AGAIN = 5.0
"""Seconds until a sweep that broke off begins again."""

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

    @contextmanager
    def _register(self, root: Root, now: float) -> Iterator[tuple[Tree, Register]]:
        """A transaction in which something is entered. Raises Trouble where the watched directory cannot be opened."""
        with self._files.tree(root.watch.root) as tree, self._ledger.transaction():
            register = Register(self._ledger, self._departures, root, tree, now)
            yield tree, register
            register.flush()
        for rule, count in register.found_by_sweep.items():
            root.found_by_sweep[rule] = root.found_by_sweep.get(rule, 0) + count

    # Hints

    def take_hints(self, now: float) -> bool:
        """Look at what events spoke of. Returns whether there may be more."""
        more = False
        for root in self._roots:
            hints = root.watch.drain(HINTS_A_PASS)
            if not hints:
                continue
            try:
                with self._register(root, now) as (tree, register):
                    directories = self._look_at(root, hints, tree, register)
            except Trouble as trouble:
                root.watch.give_back(hints)
                self._departures.doubt(root.watch.root, trouble)
            except BaseException:
                root.watch.give_back(hints)
                raise
            else:
                more = more or len(hints) == HINTS_A_PASS
                for part in directories:
                    root.want(part)
        self._departures.report()
        return more

    def _look_at(self, root: Root, hints: Sequence[Hint], tree: Tree, register: Register) -> list[Hint]:
        """Enter what has the names. Returns the directories, which are to be swept."""
        directories = [hint for hint in hints if hint.below or hint.names]
        files = {hint.path: hint.gone for hint in hints if not (hint.below or hint.names)}
        known = self._known(list(files))
        for path, left in files.items():
            if self._hint(tree, register, path, left, known.get(path)):
                directories.append(Hint(path, below=True))  # it took the name of what the event was about
        return directories

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

    def _hint(self, tree: Tree, register: Register, path: str, left: bool, known: Known | None) -> bool:
        """Returns whether a directory has the name. `left`: the name went away at some time since."""
        inside = relative(path, tree.root)
        if inside is None:
            return False
        above, _, name = inside.rpartition("/")
        if name == IDENTITY:
            self._zones.forget()
        if self._zones.hold(tree, above):
            return False
        seen = tree.look(inside)
        if isinstance(seen, CannotTell):
            self._departures.doubt(path, seen.trouble)
        elif not isinstance(seen, Observation):
            if known is not None and known.state in HERE:
                self._departures.gone(path, known, volume_above(tree, inside))
        elif seen.kind is Kind.DIRECTORY:
            return True
        else:
            register.entry(path, seen, known, left=left)
        return False

    # Sweeps

    def take_sweeps(self, now: float) -> bool:
        """Go on with the sweeps that are wanted, a slice of each. Returns whether there is more of them."""
        for root in self._roots:
            left = ENTRIES_A_PASS
            while left > 0 and root.again_at is None and (root.partial is not None or root.wanted):
                if root.partial is None:
                    part = next(iter(root.wanted))
                    del root.wanted[part]
                    root.partial = self._sweep(root, part)
                left = self._go_on(root, root.partial, now, left)
            if root.sweep is None and root.why is not None:
                log.info("sweep of %s: %s", root.watch.root, root.why)
                root.sweep, root.why, root.again_at = self._sweep(root, None), None, None
                self._zones.forget()
            if root.sweep is not None:
                self._go_on(root, root.sweep, now, ENTRIES_A_PASS)
        self._departures.report()
        return any(
            root.sweep is not None or (root.again_at is None and (root.partial is not None or root.wanted))
            for root in self._roots
        )

    def _sweep(self, root: Root, part: Hint | None) -> Sweep:
        if part is None:
            walk = Walk(self._files, root.watch.root, zones=self._zones)
            return Sweep(None, walk, counted=root.swept_at is not None)
        begin = relative(part.path, root.watch.root) or ""
        below = Walk(self._files, root.watch.root, begin, self._zones, below=part.below)
        return Sweep(part, None if part.gone else below, counted=False)

    def _go_on(self, root: Root, sweep: Sweep, now: float, left: int) -> int:
        """A slice of about `left` entries. Returns how many more may be taken. Where it fails, nothing of the sweep counts."""
        ended, unseen = False, root.unseen
        try:
            with self._register(root, now) as (tree, register):
                while left > 0 and not ended:
                    taken = self._take(root.rules, sweep, tree, register)
                    ended, left = taken == 0, left - taken
                sweep.unclaimed += register.unclaimed
                sweep.example = register.example or sweep.example
                if ended:
                    unseen = self._ended(root, sweep)
            if sweep.walk is not None:
                sweep.walk.pause()
        except Trouble as trouble:
            root.broke_off(sweep, now + _AGAIN)
            self._departures.doubt(root.watch.root, trouble)
            return 0
        except BaseException:
            root.broke_off(sweep, now + _AGAIN)
            raise
        root.unseen = unseen
        if ended and sweep.of is None:
            root.sweep, root.swept_at, root.sweep_seconds = None, now, time.monotonic() - sweep.began
        elif ended:
            root.partial = None
        return left

    def _take(self, rules: Sequence[Rule], sweep: Sweep, tree: Tree, register: Register) -> int:
        """The next step of a sweep. Returns how many entries it was about; 0 at the end."""
        if sweep.by_name:
            directory, after = sweep.by_name.pop()
            next_after = self._departures.huge(tree, directory, after, ENTRIES_A_PASS)
            if next_after is not None:
                sweep.by_name.append((directory, next_after))
            return ENTRIES_A_PASS
        listing = None if sweep.walk is None or sweep.walk.ended else sweep.walk.next()
        if listing is not None:
            register.listing(listing, counted=sweep.counted)
            wanted = listing.error is not None and not match(rules, f"{listing.directory}/any").excluded
            if listing.error is not None and wanted and len(sweep.unseen) < MOST_UNSEEN:
                sweep.unseen[listing.directory] = listing.error
            if not listing.whole and listing.last and listing.volume is not None:
                sweep.by_name.append((listing.directory, ""))
            return len(listing.entries) + 1
        if sweep.known is None:
            sweep.known = []
            if sweep.of is None or sweep.of.gone:
                sweep.known = self._ledger.files.directories_below(tree.root if sweep.of is None else sweep.of.path)
            return 1
        if sweep.known:
            directory = sweep.known.pop()
            if self._departures.directory(tree, directory):
                sweep.by_name.append((directory, ""))
            return 1
        return 0

    def _ended(self, root: Root, sweep: Sweep) -> dict[str, str]:
        """Note what a sweep found that is nobody's, or could not see. Returns all that cannot be seen. Inside its transaction."""
        where, unseen = root.watch.root, dict(sweep.unseen)
        if sweep.of is None:
            self._ledger.reports.left_unclaimed(where, sweep.unclaimed, sweep.example)
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
