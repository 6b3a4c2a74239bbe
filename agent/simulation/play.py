"""The real intake over files in memory: times jump from one thing that is due to the next."""

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from agent.app.parts import roots
from agent.intake import Intake
from agent.intake.watch import Watch
from agent.ledger import MEMORY, File, Ledger, State, Transition
from agent.ledger.datasets import Known
from agent.simulation.memory import MemoryFiles, Storage
from rules.rule import Rule

_NEVER = 1e9
"""Seconds between two sweeps: hints in memory are not lost."""
_PASSES = 100_000
"""Passes at one time after which the intake counts as stuck."""


class Happening(NamedTuple):
    """Something that a rule decided."""

    at: float
    what: str
    """`complete`, `refused` or `sealed`."""
    key: str
    """Of the dataset, or of the batch."""
    reason: str
    files: tuple[str, ...]
    bytes: int


class Play:
    """Rules, and the computer in memory that they watch. Nothing is written to a disk."""

    def __init__(
        self, rules: Sequence[Rule], host: str, start: float, announce: Callable[[Rule, Happening], None]
    ) -> None:
        """
        Args:
            rules: in the order of the configuration.
            host: this computer's name, for templates.
            start: when the play begins, in seconds since the epoch.
            announce: gets what the rules decide.
        """
        self.now = start
        self.storage = Storage(lambda: round(self.now * 1e9))
        self.files = MemoryFiles(self.storage)
        self._rules = {rule.name: rule for rule in rules}
        self._announce = announce
        self._passing: list[Transition] = []
        self.ledger = Ledger(MEMORY, self._passing.extend)
        for rule in rules:
            self.storage.directory(rule.watch)
        self._watches = [Watch(self.files, root, lambda: None) for root in roots(rules)]
        names = {target.to for rule in rules for target in rule.deliver}
        places = {name: self.ledger.destinations.place(name, f"/{name}").id for name in sorted(names)}
        self.intake = Intake(
            self.ledger, self.files, rules, self._watches, places, host, _NEVER, 0.0, lambda: self.now, lambda: None
        )
        self.intake.start(start)
        self.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for watch in self._watches:
            watch.close()
        self.ledger.close()

    def settle(self) -> None:
        """A sweep, which finds what no event speaks of, such as a file that is still open; and passes until nothing is left."""
        for root in self.intake.roots:
            root.why = "settle"
        self._rest()

    def _rest(self) -> None:
        """Passes until nothing is left to do now."""
        for _ in range(_PASSES):
            again = self._step()
            if again is None or again > self.now:
                return
        raise AssertionError("the passes do not end")

    def until(self, now: float) -> None:
        """Let time pass, from one thing that is due to the next. What the instrument did is seen first, at its time."""
        self._rest()
        while True:
            again = self._step()
            if again is None or again > now:
                break
            self.now = max(self.now, again)
        self.now = now

    def release(self, rule: Rule, key: str) -> None:
        """A person says that a dataset is complete."""
        known = self.ledger.datasets.named(rule.name, key)
        assert known is not None, "it has files"
        with self.ledger.transaction():
            self.ledger.datasets.released(known.id, self.now)
        self.settle()

    def waiting(self, rule: Rule) -> Iterator[tuple[str, str]]:
        """(dataset or file, why it waits) of what is not complete."""
        for known in self.ledger.datasets.waiting():
            if known.rule == rule.name and self.ledger.datasets.changed_at(known.id) is not None:
                yield known.key, known.reason or ""
        for file in self.ledger.reports.files([State.CANDIDATE], -1):
            if file.rule == rule.name and file.dataset is None:
                yield rule.relpath(file.path), file.reason or ""

    def _step(self) -> float | None:
        again = self.intake.step(self.now)
        passed, self._passing[:] = self._passing[:], []
        complete: dict[tuple[str, str], list[File]] = {}
        reasons: dict[tuple[str, str], tuple[str, str]] = {}
        for one in passed:
            if one.event not in ("complete", "refused", "batched"):
                continue
            rule, file = self._rules[one.rule], self.ledger.files.history(one.path)[-1]
            key, reason = self._about(rule, file, one)
            group = one.event, f"{one.rule}/{key}"
            complete.setdefault(group, []).append(file)
            reasons[group] = key, reason
        for (event, name), files in complete.items():
            key, reason = reasons[event, name]
            rule = self._rules[files[0].rule]
            paths = tuple(sorted(rule.relpath(file.path) for file in files))
            size = sum(file.version.size for file in files)
            what = "sealed" if event == "batched" else event
            self._announce(rule, Happening(self.now, what, key, reason, paths, size))
        return again

    def _about(self, rule: Rule, file: File, one: Transition) -> tuple[str, str]:
        """The key of the dataset, or of the batch, and the reason."""
        known: Known | None = self.ledger.datasets.get(file.dataset) if file.dataset is not None else None
        if one.event == "batched":
            assert file.batch is not None, "it was sealed with one"
            if known is not None and rule.batch.by == "dataset":
                return known.key, one.reason
            return self.ledger.batches.key(file.batch), one.reason
        if known is None:
            return rule.relpath(file.path), one.reason
        return known.key, one.reason if one.event == "refused" else known.reason or ""
