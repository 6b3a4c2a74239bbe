"""Datasets: their files have settled one by one; are they complete as a whole?"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from agent.files import CannotTell, Files, Tree, Trouble
from agent.files.reader import Trees
from agent.host.bulkhead import Bulkhead, Failure, in_time
from agent.intake.content import Content, Formats, OwnMarkers, Sums
from agent.intake.groups import Groups
from agent.intake.texts import Texts
from agent.ledger import File, Ledger
from agent.ledger.datasets import Directory, Known
from rules.datasets.conditions import is_marker, released
from rules.datasets.facts import judge
from rules.datasets.membership import Dataset, dataset_of, date_ns, travels_last
from rules.datasets.question import Facts, Mismatch
from rules.formats import Finding
from rules.model import Observation, Verdict
from rules.retry import look_again
from rules.rule import Rule
from rules.versions.identity import made_again

DATASETS_A_PASS = 200
SECONDS_A_PASS = 1.0
"""For looks at datasets."""
_ASK_AGAIN = 2.0
"""Seconds between two looks at a dataset that has something on its way."""

log = logging.getLogger(__name__)

LookAgain = Callable[[Rule, str, bool], None]
"""(rule, directory relative to `watch`, with all below it): list it again, soon."""
Looking = Callable[[Rule, str, bool, float], float | None]
"""The same, and now: when that goes on; None: it has ended."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A dataset, and what was decided about it."""

    known: Known
    rule: Rule
    dataset: Dataset | None
    answer: Verdict | Mismatch
    listing: bool = False
    """Its directories are being listed once more."""
    checksums: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name in the dataset → (algorithm, hexadecimal), of those that a list gave and that are right."""
    took: float = 0.0
    """Seconds."""
    directory: Observation | None = None
    """Its directory."""
    ended: str | None = None
    """Why what waits is another dataset, with the same name; None: it is more of this one."""


def _name(known: Known) -> str:
    return f"{known.key} of rule {known.rule}"


class DatasetCompleter:
    """Decides about datasets that are due, and writes the decisions down."""

    def __init__(
        self,
        ledger: Ledger,
        files: Files,
        rules: Sequence[Rule],
        groups: Groups,
        swept: Callable[[Rule], bool],
        look_again: LookAgain,
        looking: Looking,
    ) -> None:
        """
        Args:
            ledger: intake's connection.
            files: where the rules' directories are.
            rules: in the order of the configuration.
            groups: where complete files go.
            swept: whether all that was there when the agent started has been seen.
            look_again: asks for a listing, before a dataset is complete.
            looking: when a listing that was asked for goes on, where it has not ended.
        """
        self._ledger = ledger
        self._files = files
        self._rules = {rule.name: rule for rule in rules}
        self.any = any(rule.whole for rule in rules)
        """Whether any rule has datasets: without, nothing here costs anything."""
        self._groups = groups
        self._swept = swept
        self._look_again = look_again
        self._looking = looking
        self._sums = Sums()
        self._texts = Texts()
        self._formats = Formats()
        self._read_alone = Bulkhead[Known]("dataset", _name)
        self._judged = Bulkhead[Judged]("dataset", lambda one: _name(one.known), ledger.savepoint)

    def start(self, now: float) -> None:
        """Before the first pass, inside a transaction: nothing settled in this run yet, and rules may be others."""
        self._ledger.datasets.restarted(now)
        for known in self._ledger.datasets.waiting():
            rule = self._rules.get(known.rule)
            if rule is None or not rule.whole:
                self._ledger.datasets.left(known.id, "its rule has no datasets any more")

    def read(self, now: float) -> list[Judged]:
        """Look at what is due, and decide. Reads the disk, writes nothing."""
        if not self.any:
            return []
        self._sums.begin()
        self._texts.begin()
        self._formats.begin()
        found: list[Judged] = []
        with Trees(self._files) as trees:
            contents: dict[str, Content] = {}
            due = in_time(self._ledger.datasets.due(now, DATASETS_A_PASS), SECONDS_A_PASS)
            for one in self._read_alone.each(
                due, now, lambda known, failure: found.append(self._failed(known, failure))
            ):
                with one as known:
                    began = time.monotonic()
                    judged = self._judge(known, trees, contents, now)
                    found.append(replace(judged, took=time.monotonic() - began))
        return found

    def _failed(self, known: Known, failure: Failure) -> Judged:
        return Judged(known, self._rules[known.rule], None, Verdict(False, failure.reason, failure.again))

    def next_due(self) -> float | None:
        """When the next is to be looked at."""
        return self._ledger.datasets.next_due() if self.any else None

    def _judge(self, known: Known, trees: Trees, contents: dict[str, Content], now: float) -> Judged:
        rule = self._rules[known.rule]
        if not self._swept(rule):
            waits = Verdict(False, "not all of its files have been seen since the start", now + _ASK_AGAIN)
            return Judged(known, rule, None, waits)
        unfinished = self._ledger.datasets.unfinished(known.id)
        if unfinished is not None and not known.released:
            at, path, reason = unfinished
            why = f"{rule.relpath(path)}: {reason or 'changed a short time ago'}"
            return Judged(known, rule, None, Verdict(False, why, max(at, now + _ASK_AGAIN)))
        first = next(iter(self._ledger.datasets.fresh(known.id, 1)), None)
        if first is None:
            return Judged(known, rule, None, Verdict(False, "none of its files is there"))
        dataset = dataset_of(rule, rule.relpath(first.path))
        if dataset is None or dataset.key != known.key:
            return Judged(known, rule, None, Verdict(False, "the rule makes other datasets now"))
        try:
            tree = trees.at(rule.watch)
            ended = self._ended(known, rule, dataset, tree)
        except Trouble as trouble:
            return Judged(known, rule, dataset, Verdict(False, f"{rule.watch} cannot be read: {trouble.reason}"))
        if ended is not None:
            return Judged(known, rule, dataset, Verdict(False, ended, now), ended=ended)
        places = self._places(known, rule, dataset) if known.checked_at is not None else []
        looking = [self._looking(rule, *one, now) for one in places]
        again = max((at for at in looking if at is not None), default=None)
        if again is not None:
            waits = Verdict(False, "its directories are listed once more before it is complete", again)
            return Judged(known, rule, None, waits, listing=True)
        try:
            content = contents.setdefault(rule.watch, Content(tree, self._texts))
            return self._decide(known, rule, dataset, tree, content, now)
        except Trouble as trouble:
            return Judged(known, rule, dataset, Verdict(False, f"{rule.watch} cannot be read: {trouble.reason}"))

    def _ended(self, known: Known, rule: Rule, dataset: Dataset, tree: Tree) -> str | None:
        """Why what waits is another dataset than the one that was complete. Raises Trouble.

        Its directory was removed and made again, its marker is written again, or a file that was delivered comes back.
        """
        if not known.generation or known.released:
            return None
        datasets = self._ledger.datasets
        back = datasets.back(known.id)
        if back is not None:
            return f"{rule.relpath(back)}, which was delivered and was gone, is written again"
        again = [rule.relpath(path) for path in datasets.written_again(known.id)]
        within = len(dataset.base) + 1 if dataset.base else 0
        markers = [path for path in again if is_marker(rule.complete.require, dataset.fields, path[within:])]
        if markers and len(datasets.fresh(known.id, len(markers) + 1)) > len(markers):
            return f"its marker {markers[0]} is written again"
        if known.directory is not None and dataset.whole:
            seen = tree.look(dataset.base)
            if isinstance(seen, CannotTell):
                raise seen.trouble
            before = known.directory
            if isinstance(seen, Observation) and made_again(
                before.file, before.ctime_ns, seen, tree.born(dataset.base)
            ):
                return "its directory was removed, and made again"
        return None

    def _decide(self, known: Known, rule: Rule, dataset: Dataset, tree: Tree, content: Content, now: float) -> Judged:
        datasets = self._ledger.datasets

        def sums(wanted: Sequence[tuple[str, str]]) -> list[str]:
            versions = {rule.relpath(file.path): file.version for file in datasets.fresh(known.id)}
            return self._sums.make(known.id, tree, wanted, versions)

        def members() -> list[tuple[str, int, bool]]:
            return [(rule.relpath(path), size, fresh) for path, size, fresh in datasets.members(known.id)]

        def looks(names: tuple[str, ...], wanted: Sequence[Callable[[], Finding]]) -> list[Finding | None]:
            return self._formats.made(known.id, datasets.changed_at(known.id), names, wanted)

        facts = Facts(dataset.fields, generation=known.generation + 1)
        disk = content if known.ordinal == 1 else OwnMarkers(content, tree, datasets.first_ctime_ns(known.id))
        answer, facts = judge(
            rule.complete, dataset, facts, disk, sums, looks, members,
            lambda: datasets.changed_at(known.id) or now, now,
        )  # fmt: skip
        right: dict[str, tuple[str, str]] = {}
        if isinstance(answer, Verdict) and answer.ok:
            right = {key.partition(":")[2]: (key.partition(":")[0], value) for key, value in facts.sums.items()}
        elif known.released:
            answer = Verdict(True, released(rule.complete, facts, now))
        ended = isinstance(answer, Verdict) and answer.ok
        directory = tree.look(dataset.base) if ended and dataset.whole else None
        seen = directory if isinstance(directory, Observation) else None
        return Judged(known, rule, dataset, answer, checksums=right, directory=seen)

    def gather(self, items: Sequence[tuple[File, Rule]], now: float) -> None:
        """Files have no writer and have not changed for their quiet period. Inside a transaction."""
        rows = []
        for file, rule in items:
            dataset = dataset_of(rule, rule.relpath(file.path))
            if dataset is None:
                self._ledger.files.vanished(
                    [(file.id, file.rule, file.path, "its rule has no dataset for it any more")], now
                )
                continue
            rows.append((self._ledger.datasets.number(self._ledger.files.rule(rule.name), dataset.key, now), file.id))
        self._ledger.datasets.gathered(
            (number, "it waits for the rest of its dataset", ident) for number, ident in rows
        )
        self._ledger.datasets.touched({number for number, _ in rows}, now)

    def apply(self, judged: Sequence[Judged], now: float) -> bool:
        """Write the decisions down, inside a transaction. Returns whether more is due at once."""
        more = len(judged) == DATASETS_A_PASS
        for one in self._judged.each(judged, now, lambda one, failure: self._postpone(one.known, failure)):
            with one as dataset:
                more = self._apply(dataset, now) or more
        return more

    def _postpone(self, known: Known, failure: Failure) -> None:
        self._ledger.datasets.waits(known.id, failure.again, failure.reason, checking=False)

    def _apply(self, one: Judged, now: float) -> bool:
        datasets, known = self._ledger.datasets, one.known
        answer = one.answer
        if one.ended is not None:
            log.info(
                "dataset %s of rule %s ended: %s; what comes is another dataset", known.name, known.rule, one.ended
            )
            datasets.ended(known.id, one.ended, now)
            self._forget(known)
            return True
        if isinstance(answer, Mismatch):
            assert one.dataset is not None, "it was judged by its files"
            self._refuse(one, one.dataset, answer)
            return False
        changed_at = datasets.changed_at(known.id)
        if changed_at is None:
            self._forget(known)
            datasets.left(known.id, None)
            return False
        unfinished = datasets.unfinished(known.id)
        if not answer.ok:
            busy = answer.again_at is not None and answer.again_at <= now
            again = look_again(changed_at, now, one.took)
            again = again if answer.again_at is None else min(answer.again_at, again)
            if one.dataset is None and answer.again_at is not None:
                again = answer.again_at
            checking = one.listing or (unfinished is not None and unfinished[2] is None)
            datasets.waits(known.id, again, answer.reason, checking=checking)
            return busy
        assert one.dataset is not None, "it was judged by its files"
        if not known.released:
            if unfinished is not None:
                return True  # a deliverer gave a file back since it was judged
            if known.checked_at is None or changed_at > known.checked_at:
                self._check(one, one.dataset, now)
                return True
        self._complete(one, one.dataset, answer.reason, now)
        return True

    def _check(self, one: Judged, dataset: Dataset, now: float) -> None:
        """Everything is as it should be. Look once more for files not seen yet, and for writers of those that are."""
        for place in self._places(one.known, one.rule, dataset):
            self._look_again(one.rule, *place)
        self._ledger.datasets.checked(one.known.id, now)

    def _places(self, known: Known, rule: Rule, dataset: Dataset) -> list[tuple[str, bool]]:
        """The directories of its files, relative to `watch`, and whether it has all that is below."""
        if dataset.whole:
            return [(dataset.base, True)]
        fresh = self._ledger.datasets.fresh(known.id)
        return [(place, False) for place in sorted({rule.relpath(file.path).rpartition("/")[0] for file in fresh})]

    def _complete(self, one: Judged, dataset: Dataset, reason: str, now: float) -> None:
        files = self._ledger.datasets.fresh(one.known.id)
        generation = one.known.generation + 1
        what = f"dataset {one.known.name}" + (f", supplement {generation - 1}" if generation > 1 else "")
        why = f"{what} is complete" + (f": {reason}" if reason else "")
        joining = self._groups.joining(now)
        dated_ns = one.known.mtime_ns
        if dated_ns is None:
            dated_ns = date_ns([file.version.mtime_ns for file in files])
        last = [file for file in files if travels_last(one.rule, dataset, one.rule.relpath(file.path))]
        closing = {file.id for file in last}
        data = [file for file in files if file.id not in closing]
        batches = joining.together(data, one.rule, what, dated_ns)
        if last:
            batches += [joining.closing(last, one.rule, what, one.known.id)] * len(last)
        self._ledger.files.completed(
            [(file, batch, why) for file, batch in zip([*data, *last], batches, strict=True)], now
        )
        named = {dataset.inside(one.rule.relpath(file.path)): file.id for file in files}
        self._ledger.datasets.proved_by_list(
            (named[name], algorithm, checksum) for name, (algorithm, checksum) in one.checksums.items() if name in named
        )
        self._forget(one.known)
        directory = None if one.directory is None else Directory(one.directory.file, one.directory.version.ctime_ns)
        self._ledger.datasets.completed(one.known.id, reason or "all its files have settled", dated_ns, directory)
        joining.end()  # the paths of a batch need the date of its datasets
        if one.known.released and self._ledger.datasets.unfinished(one.known.id) is not None:
            self._ledger.datasets.touched([one.known.id], now)  # what has a writer comes later, as a supplement

    def _forget(self, known: Known) -> None:
        """It is decided."""
        self._sums.forget(known.id)
        self._formats.forget(known.id)

    def _refuse(self, one: Judged, dataset: Dataset, mismatch: Mismatch) -> None:
        """Files are not what the list says: they are refused, the rest waits for them, and nothing travels."""
        hint = "nothing of its dataset travels; copy it again or correct the list, then `dropline retry`"
        items = []
        for file in self._ledger.datasets.fresh(one.known.id):
            why = mismatch.files.get(dataset.inside(one.rule.relpath(file.path)))
            if why is not None:
                items.append((file.id, file.rule, file.path, f"{why}; {hint}"))
        self._ledger.files.refused(items)
        self._forget(one.known)
        self._ledger.datasets.left(one.known.id, mismatch.reason)
