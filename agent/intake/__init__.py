"""Event → observation → candidate → complete → batch."""

from collections.abc import Callable, Mapping, Sequence

from agent.files import Files
from agent.files.events import Hint
from agent.host.bulkhead import Bulkhead
from agent.intake.candidates import Candidates
from agent.intake.dataset_completer import DatasetCompleter
from agent.intake.groups import Groups
from agent.intake.root import Root
from agent.intake.scanner import Scanner
from agent.intake.watch import Watch
from agent.intake.zones import NONE, Zones
from agent.ledger import Ledger
from rules.rule import Rule


class Intake:
    """Finds files, waits until their writers are done, and groups them into batches."""

    def __init__(
        self, ledger: Ledger, files: Files, rules: Sequence[Rule], watches: Sequence[Watch], destinations: Mapping[str, int],
        host: str, sweep_every: float, canary_every: float, wall: Callable[[], float], sealed: Callable[[], None],
        zones: Zones = NONE, known: Sequence[Root] = (),
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            files: where the watched directories are.
            rules: in the order of the configuration.
            watches: one per directory tree; each rule's directory is at or below one of them.
            destinations: numbers of the destinations in the ledger.
            host: this computer's name, for templates.
            sweep_every, canary_every: seconds; canary_every = 0 writes no canary.
            wall: the computer's clock, for comparison with the file systems' clocks.
            sealed: called when batches wait for delivery.
            zones: destinations below the watched directories, which are left out.
            known: trees that were watched until now: one with the same rules need not be swept for that.
        """
        self.roots = [
            next((root for root in known if root.watch is one and root.rules == claims), None) or Root(one, claims)
            for one in watches
            for claims in [tuple(rule for rule in rules if (rule.watch + "/").startswith(one.root.rstrip("/") + "/"))]
        ]
        self._ledger = ledger
        self._watched = Bulkhead[Root]("watched directory", lambda root: root.watch.root)
        self._scanner = Scanner(ledger, files, self.roots, zones)
        self._groups = Groups(ledger, rules, destinations, host)
        self._dataset_completer = DatasetCompleter(
            ledger, files, rules, self._groups, lambda rule: self._root(rule).swept_at is not None, self._look_again,
            self._looking,
        )  # fmt: skip
        self._candidates = Candidates(ledger, files, rules, self._groups, self._dataset_completer)
        self._sweep_every = sweep_every
        self._canary_every = canary_every
        self._wall = wall
        self._refused: Mapping[str, str] | None = None
        """Trees for which the computer gives no events, with the reason, as the ledger has it; None: not written yet."""
        self._sealed = sealed

    def start(self, now: float) -> None:
        """Before the first pass: what a former run read proves nothing about quiet periods in this one."""
        self._scanner.start()
        with self._ledger.transaction():
            self._ledger.files.restarted(now)
            self._dataset_completer.start(now)

    def step(self, now: float) -> float | None:
        """One whole pass. Returns when the next is due: now, where there was more than one pass takes."""
        for one in self._watched.each(self.roots, now):
            with one as root:
                self._look_after(root, now)
        refused = {root.watch.root: root.watch.refused for root in self.roots if root.watch.refused is not None}
        if refused != self._refused:
            self._ledger.reports.events_refused(refused)
            self._refused = refused
        more = self._scanner.take_hints(now)
        more = self._scanner.take_sweeps(now) or more
        looks = self._candidates.read(now)
        judged = self._dataset_completer.read(now)
        with self._ledger.transaction():
            more = self._dataset_completer.apply(judged, now) or more  # first: what settles now is not judged yet
            more = self._candidates.apply(looks, now) or more
            again = self._groups.seal(now)
            self._ledger.history.noted(now)
        if self._groups.sealed_some():
            self._sealed()
        if more:
            return now
        due = [
            again,
            self._ledger.files.next_due(),
            self._dataset_completer.next_due(),
        ]
        for one in self._watched.each(self.roots):
            with one as root:
                due += [self._next_sweep(root), root.again_at]
        return min((at for at in due if at is not None), default=None)

    def _look_after(self, root: Root, now: float) -> None:
        why = root.watch.check(now)
        if why is None and self._canary_every > 0:
            why = root.watch.canary(now, self._canary_every, self._wall())
        next_sweep = self._next_sweep(root)
        if why is None and next_sweep is not None and now >= next_sweep:
            why = "periodic"
        if why is None and root.again_at is not None and now >= root.again_at:
            why = "the last one broke off"
        root.why = (root.why or why) if root.watch.present else None
        root.again_at = root.again_at if root.watch.present else None

    def _root(self, rule: Rule) -> Root:
        return next(root for root in self.roots if rule in root.rules)

    def _look_again(self, rule: Rule, directory: str, below: bool) -> None:
        self._root(rule).want(_part(rule, directory, below), needed=True)

    def _looking(self, rule: Rule, directory: str, below: bool, now: float) -> float | None:
        return self._scanner.next_sweep(self._root(rule), _part(rule, directory, below), now)

    def _next_sweep(self, root: Root) -> float | None:
        return None if root.swept_at is None else root.swept_at + self._sweep_every

    def seal_all(self, now: float) -> bool:
        """Seal the groups that still wait for company: none comes in this run. Returns whether there were any."""
        with self._ledger.transaction():
            self._groups.seal_all(now)
        return self._groups.sealed_some()

    @property
    def busy(self) -> bool:
        """Whether a sweep is under way or wanted."""
        return any(
            root.watch.present
            and (root.sweep or root.why or root.again_at is not None or root.partial or root.wanted)
            for root in self.roots
        )  # fmt: skip


def _part(rule: Rule, directory: str, below: bool) -> Hint:
    """A directory, relative to the rule's, as a part of a tree to be swept."""
    return Hint(f"{rule.watch.rstrip('/')}/{directory}".rstrip("/"), below=below, names=not below)


__all__ = ["Intake", "Root"]
