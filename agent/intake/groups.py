"""Groups of complete files that become batches."""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence

from agent.host.bulkhead import Bulkhead
from agent.intake.paths import PathRenderer
from agent.ledger import File, Ledger, Sealed
from rules import batch
from rules.model import OpenBatch, counted
from rules.rule import Rule

_Key = tuple[str, str, int]
"""(rule, key, 0); the number instead of 0 for a group that is full, and waits for its schedule."""
_Group = tuple[int, OpenBatch]
"""The number in the ledger, and what is in it."""
_AT_ONCE = -math.inf
"""When a group is first to be sealed: in the next pass, which finds out."""


class Groups:
    """The batches that still take files. Memory follows the ledger, where they are too, also when a transaction is undone."""

    def __init__(self, ledger: Ledger, rules: Sequence[Rule], destinations: Mapping[str, int], host: str) -> None:
        self._ledger = ledger
        self._rules = {rule.name: rule for rule in rules}
        self._places = {rule.name: [destinations[target.to] for target in rule.deliver] for rule in rules}
        self._host = host
        self._paths = PathRenderer(ledger, rules, destinations, host)
        self._open: dict[_Key, _Group] | None = None
        self._due: list[tuple[float, int, _Key]] = []
        """A heap: one entry for each open group, of a time not after that at which it may be sealed; and for some that are not."""
        self._sealed = False
        self._waiting = Bulkhead[tuple[_Key, _Group]]("batch", lambda one: f"{one[0][1]} of rule {one[0][0]}")
        self._sealing = Bulkhead[Sealed]("batch", lambda one: f"{one.id} of rule {one.rule}", ledger.savepoint)
        ledger.on_rollback(self._forget)

    def _forget(self) -> None:
        self._open = None

    def open(self) -> dict[_Key, _Group]:
        """The groups that are not sealed."""
        if self._open is None:
            self._open = {}
            for number, name, group in self._ledger.batches.open():
                rule, key = self._rules.get(name), (name, group.key, 0)
                full = key in self._open or (rule is not None and batch.full(rule.batch, group))
                self._open[(name, group.key, number) if full else key] = number, group
            self._due = [(_AT_ONCE, number, key) for key, (number, _) in self._open.items()]
        return self._open

    def begin(self, key: _Key, now: float) -> None:
        """A group that has no files yet. Inside a transaction."""
        rule, name, _ = key
        number = self._ledger.batches.opened(rule, name, now)
        self.open()[key] = number, OpenBatch(name, 0, 0, now, now)
        heapq.heappush(self._due, (_AT_ONCE, number, key))

    def cut(self, key: _Key) -> None:
        """The group is full, and waits for its schedule: the next file of its key begins another."""
        rule, name, _ = key
        number, group = self.open().pop(key)
        self.open()[rule, name, number] = number, group
        heapq.heappush(self._due, (_AT_ONCE, number, (rule, name, number)))

    def joining(self, now: float) -> "Joining":
        """Takes files into the groups. Inside a transaction, which it does not outlive."""
        return Joining(self._ledger, self, self._host, now)

    def seal(self, now: float) -> float | None:
        """Seal the groups whose time has come, inside a transaction. Returns when the next one's comes.

        A group that files join is sealed later, never sooner, unless it is full: so its time is looked at when it comes.
        """
        due: list[Sealed] = []
        candidates = list(self._take_due(now))
        for one in self._waiting.each(candidates, now, lambda one, failure: self._wait(one, failure.again)):
            with one as (key, (number, group)):
                rule = self._rules.get(key[0])
                if rule is None:
                    continue  # its rule is no longer configured: the files wait until one is again
                verdict = batch.seal(rule.batch, group, now, rule.zone)
                if verdict.ok:
                    due.append(self.ended(number, rule.name, verdict.reason))
                    del self.open()[key]
                elif verdict.again_at is not None:
                    self._wait((key, (number, group)), verdict.again_at)
        # As in `seal_these`, which itself would be outside of any bulkhead here.
        self._sealing.together(due, lambda some: self._write(some, now), now, lambda *_: self._forget())
        self._sealed = self._sealed or bool(due)
        self.open()
        return self._due[0][0] if self._due else None

    def _take_due(self, now: float) -> Iterator[tuple[_Key, _Group]]:
        """The open groups whose time may have come. Their entries, and those of groups that are not open, go."""
        groups = self.open()
        while self._due and (self._due[0][0] <= now or self._is_over(self._due[0])):
            _, number, key = heapq.heappop(self._due)
            if key in groups and groups[key][0] == number:
                yield key, groups[key]

    def _is_over(self, entry: tuple[float, int, _Key]) -> bool:
        _, number, key = entry
        return self.open().get(key, (None,))[0] != number

    def _wait(self, one: tuple[_Key, _Group], until: float) -> None:
        key, (number, _) = one
        heapq.heappush(self._due, (until, number, key))

    def seal_all(self, now: float) -> None:
        """Seal every group, inside a transaction: nothing more will come in this run."""
        groups = self.open().items()
        ended = [
            self.ended(number, rule, "the end of the run")
            for (rule, _, _), (number, _) in groups
            if rule in self._rules
        ]
        self.seal_these(ended, now)
        self._open = None

    def ended(self, number: int, rule: str, reason: str, closes: int | None = None) -> Sealed:
        """A group that becomes a batch; `closes`: of the markers of this dataset."""
        return Sealed(number, rule, reason, self._places[rule], closes)

    def seal_these(self, groups: Sequence[Sealed], now: float) -> None:
        """These become batches. Inside a transaction."""
        self._sealing.together(groups, lambda some: self._write(some, now), now, lambda *_: self._forget())
        self._sealed = self._sealed or bool(groups)

    def _write(self, groups: Sequence[Sealed], now: float) -> None:
        self._ledger.batches.sealed(groups, now)
        for one in groups:
            self._paths.render(one.id, one.rule)

    def sealed_some(self) -> bool:
        """Whether a batch was sealed since the last question."""
        sealed, self._sealed = self._sealed, False
        return sealed


class Joining:
    """Files that join groups in one transaction; `end` comes before its end."""

    def __init__(self, ledger: Ledger, groups: Groups, host: str, now: float) -> None:
        self._ledger = ledger
        self._groups = groups
        self._host = host
        self._now = now
        self._joined: dict[int, OpenBatch] = {}
        self._full: list[Sealed] = []

    def alone(self, file: File, rule: Rule) -> int:
        """The number of the batch that the file joins."""
        key = self._join(file, rule, None, file.version.mtime_ns)
        number, group = self._groups.open()[key]
        if batch.full(rule.batch, group):
            self._take_full(key, group, rule)
        return number

    def closing(self, files: Sequence[File], rule: Rule, name: str, dataset: int) -> int:
        """The number of the closing batch of a dataset: sealed at once, it waits at each destination for the other files."""
        number = self._ledger.batches.opened(rule.name, _text(f"{name}, last"), self._now)
        size = sum(counted(file.version.size) for file in files)
        self._joined[number] = OpenBatch(name, len(files), size, self._now, self._now)
        self._full.append(self._groups.ended(number, rule.name, "the last files of the dataset", dataset))
        return number

    def together(self, files: Sequence[File], rule: Rule, name: str, dated_ns: int) -> list[int]:
        """The number of the batch of each file of a dataset: no batch is full before all its files have joined.

        `name`: what the batch is called where the dataset has one for itself. `dated_ns`: the mtime that dates the dataset.
        """
        alone = rule.batch.by == "dataset"
        keys = [self._join(file, rule, name if alone else None, dated_ns) for file in files]
        numbers = [self._groups.open()[key][0] for key in keys]
        for key in dict.fromkeys(keys):
            group = self._groups.open()[key][1]
            if alone and rule.batch.schedule is None:
                self._close(key, "the dataset is complete")
            elif batch.full(rule.batch, group):
                self._take_full(key, group, rule)
        return numbers

    def _join(self, file: File, rule: Rule, name: str | None, dated_ns: int) -> _Key:
        relpath = rule.relpath(file.path)
        key = batch.key(rule, relpath, dated_ns, self._host) if name is None else name
        key = _text(key)
        groups = self._groups.open()
        place = rule.name, key, 0
        if place not in groups:
            self._groups.begin(place, self._now)
        number, group = groups[place]
        group = OpenBatch(key, group.files + 1, group.bytes + counted(file.version.size), group.first_at, self._now)
        groups[place] = number, group
        self._joined[number] = group
        return place

    def _take_full(self, key: _Key, group: OpenBatch, rule: Rule) -> None:
        """The next file begins another group; a full one goes at once, or at the times of its schedule."""
        verdict = batch.seal(rule.batch, group, self._now, rule.zone)
        if verdict.ok:
            self._close(key, verdict.reason)
        else:
            self._groups.cut(key)

    def _close(self, key: _Key, reason: str) -> None:
        number, _ = self._groups.open().pop(key)
        self._full.append(self._groups.ended(number, key[0], reason))

    def end(self) -> None:
        """Write down who joined, and seal what is full."""
        for number, group in self._joined.items():
            self._ledger.batches.joined(number, group)
        self._groups.seal_these(self._full, self._now)


def _text(key: str) -> str:
    """A key as the ledger's text, which is UTF-8: file names may be anything."""
    return key.encode("utf-8", "backslashreplace").decode()
