"""Groups of complete files that become batches."""

from collections.abc import Mapping, Sequence

from agent.ledger import File, Ledger, Sealed
from rules import batch
from rules.model import OpenBatch, Rule, counted


class Groups:
    """The batches that still take files. Memory follows the ledger, where they are too."""

    def __init__(self, ledger: Ledger, rules: Sequence[Rule], destinations: Mapping[str, int], host: str) -> None:
        self._ledger = ledger
        self._rules = {rule.name: rule for rule in rules}
        self._places = {rule.name: [destinations[target.to] for target in rule.deliver] for rule in rules}
        self._host = host
        self._open: dict[tuple[str, str], tuple[int, OpenBatch]] | None = None
        self._touched: dict[int, OpenBatch] = {}
        self._full: list[tuple[int, str, str]] = []
        self._sealed = False

    def forget(self) -> None:
        """Read the groups from the ledger again before their next use."""
        self._open = None
        self._touched.clear()
        self._full.clear()

    def _groups(self) -> dict[tuple[str, str], tuple[int, OpenBatch]]:
        if self._open is None:
            self._open = {(rule, group.key): (number, group) for number, rule, group in self._ledger.batches.open()}
        return self._open

    def join(self, file: File, rule: Rule, now: float) -> int:
        """The number of the batch that the file joins. Inside a transaction, which `joined` has to end."""
        number = self._join(file, rule, now, None)
        group = self._touched[number]
        if batch.full(rule.batch, group):
            self._full.append((number, rule.name, batch.seal(rule.batch, group, now).reason))
            del self._groups()[rule.name, group.key]  # the next file begins another
        return number

    def _join(self, file: File, rule: Rule, now: float, name: str | None) -> int:
        relpath = rule.relpath(file.path)
        key = batch.key(rule, relpath, file.version.mtime_ns, self._host) if name is None else name
        key = key.encode("utf-8", "backslashreplace").decode()  # the ledger's text is UTF-8, file names may be anything
        groups = self._groups()
        if (rule.name, key) not in groups:
            number = self._ledger.batches.opened(rule.name, key, now)
            groups[rule.name, key] = number, OpenBatch(key, 0, 0, now, now)
        number, group = groups[rule.name, key]
        group = OpenBatch(key, group.files + 1, group.bytes + counted(file.version.size), group.first_at, now)
        groups[rule.name, key] = number, group
        self._touched[number] = group
        return number

    def join_together(self, files: Sequence[File], rule: Rule, name: str, now: float) -> list[int]:
        """The number of the batch of each file of a dataset: no batch is full before all its files have joined.

        `name`: what the batch is called where the dataset has one for itself. Inside a transaction, as `join`.
        """
        alone = rule.batch.by == "dataset"
        numbers = [self._join(file, rule, now, name if alone else None) for file in files]
        joined = set(numbers)
        for (owner, key), (number, group) in list(self._groups().items()):
            if number not in joined:
                continue
            verdict = batch.seal(rule.batch, group, now)
            if alone and rule.batch.schedule is None:
                self._full.append((number, rule.name, "the dataset is complete"))
            elif batch.full(rule.batch, group):
                self._full.append((number, rule.name, verdict.reason))
            else:
                continue
            del self._groups()[owner, key]
        return numbers

    def joined(self, now: float) -> None:
        """Write down who joined, and seal what is full. Ends what `join` began, in the same transaction."""
        for number, group in self._touched.items():
            self._ledger.batches.joined(number, group)
        self._seal(self._full, now)
        self._touched.clear()
        self._full.clear()

    def seal(self, now: float) -> float | None:
        """Seal the groups whose time has come, inside a transaction. Returns when the next one's comes."""
        waiting: list[float] = []
        due: list[tuple[tuple[str, str], int, str]] = []
        for (rule, key), (number, group) in self._groups().items():
            if rule not in self._rules:
                continue  # its rule is no longer configured: the files wait until one is again
            verdict = batch.seal(self._rules[rule].batch, group, now)
            if verdict.ok:
                due.append(((rule, key), number, verdict.reason))
            elif verdict.again_at is not None:
                waiting.append(verdict.again_at)
        for group_key, _, _ in due:
            del self._groups()[group_key]
        self._seal([(number, rule, reason) for (rule, _), number, reason in due], now)
        return min(waiting, default=None)

    def seal_all(self, now: float) -> None:
        """Seal every group, inside a transaction: nothing more will come in this run."""
        groups = self._groups().items()
        ended = [(number, rule, "the end of the run") for (rule, _), (number, _) in groups if rule in self._rules]
        self._seal(ended, now)
        self._open = None

    def _seal(self, groups: Sequence[tuple[int, str, str]], now: float) -> None:
        """(number, rule, reason) of groups that become batches."""
        self._ledger.batches.sealed([Sealed(*group, self._places[group[1]]) for group in groups], now)
        self._sealed = self._sealed or bool(groups)

    def sealed_some(self) -> bool:
        """Whether a batch was sealed since the last question."""
        sealed, self._sealed = self._sealed, False
        return sealed
