"""A rule played through in thought: files come, change and go at given times, and the rule decides, with no disk."""

import hashlib
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rules import batch
from rules.complete import TICK, complete, quiet_seconds
from rules.datasets.conditions import released
from rules.datasets.facts import judge
from rules.datasets.membership import Dataset, dataset_of
from rules.datasets.question import Facts, Mismatch
from rules.match import is_marker, marker_for, match
from rules.model import Candidate, OpenBatch, Rule, Verdict, Writer

Read = Callable[[int, int], bytes]


@dataclass(slots=True)
class _File:
    size: int
    read: Read
    writer: Writer
    since: float
    mtime_ns: int
    fresh: bool = True
    dataset: str | None = None


@dataclass(slots=True)
class _Group:
    """A dataset on its way."""

    dataset: Dataset
    files: set[str] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    generation: int = 0
    """How often it was complete."""
    changed_at: float = 0.0
    reason: str = ""
    refused: bool = False
    again: float | None = None


class Happening(NamedTuple):
    """Something that the rule decided."""

    at: float
    what: str
    """`complete`, `refused` or `sealed`."""
    key: str
    """Of the dataset, or of the batch."""
    reason: str
    files: tuple[str, ...]
    bytes: int


class Rehearsal:
    """One rule and the files below its `watch`, by relative path."""

    def __init__(self, rule: Rule, host: str = "pc") -> None:
        self._rule = rule
        self._host = host
        self._files: dict[str, _File] = {}
        self._names: dict[str, set[str]] = {}
        self._groups: dict[str, _Group] = {}
        self._batches: dict[str, tuple[OpenBatch, list[str]]] = {}
        self._settles = quiet_seconds(rule.complete, Writer.NONE)
        self._due: list[tuple[float, str]] = []
        """When to look at which dataset; what does not agree with the dataset any more is passed over."""

    def _at(self, group: _Group, again: float | None) -> None:
        group.again = again
        if again is not None:
            heapq.heappush(self._due, (again, group.dataset.key))

    def changed(
        self, path: str, size: int, read: Read, now: float, *, writer: Writer = Writer.NONE, mine: bool = True
    ) -> None:
        """A file is new, or has other content. Not `mine`: another rule claims it."""
        found = match([self._rule] if mine else [], f"{self._rule.watch.rstrip('/')}/{path}")
        known = self._files.get(path)
        dataset = dataset_of(self._rule, path) if found.rule is not None else None
        key = dataset.key if dataset is not None else None
        self._files[path] = _File(size, read, writer, now, round(now * 1e9), dataset=key)
        if known is None:
            self._appears(path)
        if dataset is not None:
            group = self._groups.setdefault(dataset.key, _Group(dataset))
            group.files.add(path)
            group.fresh.add(path)
            group.changed_at, group.refused = now, False
            self._at(group, now + self._settles)
        self._wake(path, now)

    def closed(self, path: str, now: float) -> None:
        """Its writer is done with it; the content is as it was."""
        file = self._files[path]
        file.writer = Writer.NONE
        if file.dataset is not None:
            self._at(self._groups[file.dataset], max(now, file.since + self._settles))
        self._wake(path, now)

    def gone(self, path: str, now: float) -> None:
        """It is not there any more."""
        file = self._files.pop(path)
        directory, _, name = path.rpartition("/")
        self._names[directory].discard(name)
        if file.dataset is not None:
            group = self._groups[file.dataset]
            group.files.discard(path)
            group.fresh.discard(path)
            self._at(group, now)
        self._wake(path, now)

    def _wake(self, path: str, now: float) -> None:
        if is_marker(self._rule, path.rpartition("/")[2]):
            for group in self._groups.values():
                if group.fresh:
                    self._at(group, now)

    def _appears(self, path: str) -> None:
        directory, slash, name = path.rpartition("/")
        names = self._names.setdefault(directory, set())
        if name not in names:
            names.add(name)
            if slash:
                self._appears(directory)

    def released(self, key: str, now: float) -> list[Happening]:
        """A person says that a dataset is complete."""
        group = self._groups[key]
        reason = released(self._rule.complete, self._facts(group), now)
        return [self._complete(group, reason, now)] if group.fresh else []

    def step(self, now: float) -> list[Happening]:
        """Decide what is due by now."""
        happenings = []
        while self._due and self._due[0][0] <= now:
            again, key = heapq.heappop(self._due)
            group = self._groups[key]
            if group.again != again:
                continue
            group.again = None
            if not group.fresh:
                continue
            verdict = self._verdict(group, now)
            if isinstance(verdict, Mismatch):
                group.refused, group.reason = True, verdict.reason
                files = tuple(sorted(group.fresh))
                group.fresh.clear()
                happenings.append(Happening(now, "refused", group.dataset.key, verdict.reason, files, 0))
            elif verdict.ok:
                happenings.append(self._complete(group, verdict.reason, now))
            else:
                group.reason = verdict.reason
                self._at(group, verdict.again_at)
        return happenings + list(self._seal(now))

    def next(self) -> float | None:
        """When time alone may decide something."""
        while self._due and self._groups[self._due[0][1]].again != self._due[0][0]:
            heapq.heappop(self._due)
        times = [self._due[0][0]] if self._due else []
        for group, _ in self._batches.values():
            again = batch.seal(self._rule.batch, group, group.last_at).again_at
            times += [again] if again is not None else []
        return min(times, default=None)

    @property
    def states(self) -> dict[str, str]:
        """Each dataset → "complete", "complete N", "refused" or "waits", with why."""
        return {key: _state(group) for key, group in self._groups.items() if group.files or group.generation}

    def _verdict(self, group: _Group, now: float) -> Verdict | Mismatch:
        rule = self._rule
        for path in sorted(group.fresh):
            file = self._files[path]
            name = path.rpartition("/")[2]
            marker = marker_for(rule, name) if not rule.whole else None
            there = (
                marker is None
                or is_marker(rule, name)
                or any(map(marker.match_file, self._names.get(path.rpartition("/")[0], ())))
            )
            conditions = replace(rule.complete, patience=None) if rule.whole else rule.complete
            verdict = complete(conditions, Candidate(name, file.size, file.since, TICK), there, file.writer, now)
            if not verdict.ok:
                patience = conditions.patience
                again = verdict.again_at
                if again is None and patience is not None and file.writer is not Writer.OPEN:
                    again = file.since + patience
                return verdict._replace(again_at=again)
        if not rule.whole:
            return verdict
        answer, _ = judge(
            rule.complete, group.dataset, self._facts(group), self, self._sums,
            lambda: [(path, self._files[path].size, path in group.fresh) for path in group.files],
            lambda: group.changed_at, now,
        )  # fmt: skip
        return answer

    def _facts(self, group: _Group) -> Facts:
        return Facts(group.dataset.fields, generation=group.generation + 1)

    def _complete(self, group: _Group, reason: str, now: float) -> Happening:
        files = sorted(group.fresh)
        group.fresh.clear()
        group.generation += 1
        group.reason, group.again = reason, None
        for path in files:
            self._join(path, now)
        return Happening(
            now, "complete", group.dataset.key, reason, tuple(files), sum(self._files[path].size for path in files)
        )

    def _join(self, path: str, now: float) -> None:
        file = self._files[path]
        key = batch.key(self._rule, path, file.mtime_ns, self._host)
        group, files = self._batches.setdefault(key, (OpenBatch(key, 0, 0, now, now), []))
        files.append(path)
        group = replace(group, files=group.files + 1, bytes=group.bytes + file.size, last_at=now)
        self._batches[key] = group, files

    def _seal(self, now: float) -> Iterator[Happening]:
        for key, (group, files) in list(self._batches.items()):
            verdict = batch.seal(self._rule.batch, group, now)
            if self._rule.batch.by == "dataset" and self._rule.batch.schedule is None:
                verdict = Verdict(True, "the dataset is complete")
            if verdict.ok:
                del self._batches[key]
                yield Happening(now, "sealed", key, verdict.reason, tuple(files), group.bytes)

    # The virtual disk

    def names(self, directory: str) -> Sequence[str]:
        """Names in a directory, those of directories among them."""
        return sorted(self._names.get(directory, ()))

    def size(self, path: str) -> int | None:
        """Bytes of a file without a writer."""
        file = self._files.get(path)
        return None if file is None or file.writer is Writer.OPEN else file.size

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file."""
        return self._files[path].read(offset, length)

    def _sums(self, wanted: Sequence[tuple[str, str]]) -> list[str]:
        return [
            hashlib.new(algorithm, self.read(path, 0, self._files[path].size), usedforsecurity=False).hexdigest()
            if path in self._files
            else "?"
            for algorithm, path in wanted
        ]


def _state(group: _Group) -> str:
    if group.refused:
        return f"refused: {group.reason}"
    if group.fresh:
        return f"waits: {group.reason}"
    return f"complete{f' {group.generation}' if group.generation > 1 else ''}: {group.reason}"
