"""Candidates, looked at again until their writers are done."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import dirname

from agent.files import ABSENT, CannotTell, Files, Tree, Trouble, What, Whose
from agent.files.reader import CHECKSUMS, Examined, Trees, adopt, begins_with, examine
from agent.host.bulkhead import Bulkhead, Failure, in_time
from agent.intake.dataset_completer import DatasetCompleter
from agent.intake.groups import Groups
from agent.intake.missing_files import volume_above
from agent.ledger import File, Former, Ledger
from rules.complete import came_back, complete, first_look, granule, learned, next_look, without_marker
from rules.config.replan import unwatched
from rules.match import is_marker, marker_for
from rules.model import Candidate, Kind, Writer
from rules.patterns.glob import Glob, Names
from rules.rule import Rule
from rules.units import in_words
from rules.versions.identity import Adoption
from rules.versions.volumes import SameVolume, same_volume, unchanged

LOOKS_A_PASS = 2_000
SECONDS_A_PASS = 1.0
"""For looks, which are slow on some storage."""
_COMPARED = 16 * 2**20
"""Bytes at the beginning of a file that are compared with its former version."""
_MOUNT_AGAIN = 5.0
_RETRY = "`dropline retry`"
_PASSING = {What.ABSENT, What.NOT_A_DIRECTORY, What.LINK, What.STALE, What.NO_ANSWER}
"""Troubles that say nothing of a file: it was moved while the agent looked, or its file system does not answer now."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Complete:
    """The writer is done."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Rested:
    """The writer is done; the file waits for the rest of its dataset."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again then; the reason is None where only time is missing."""

    again: float
    reason: str | None


@dataclass(frozen=True, slots=True)
class CameBack:
    """Its writer had closed it before, and came back to it: such files wait so many seconds unchanged from now on."""

    quiet: float


@dataclass(frozen=True, slots=True)
class Changed:
    """It has a new reading."""

    adoption: Adoption


@dataclass(frozen=True, slots=True)
class Refuse:
    """A person must act."""

    reason: str


@dataclass(frozen=True, slots=True)
class Vanish:
    """It is not there any more, or no rule wants it."""

    reason: str


Decision = Complete | Rested | Wait | CameBack | Changed | Refuse | Vanish
Decided = tuple[File, Decision]


class Candidates:
    """Decides about the candidates that are due, and writes the decisions down."""

    def __init__(
        self, ledger: Ledger, files: Files, rules: Sequence[Rule], groups: Groups, dataset_completer: DatasetCompleter
    ) -> None:
        self._ledger = ledger
        self._files = files
        self._rules = {rule.name: rule for rule in rules}
        self._groups = groups
        self._dataset_completer = dataset_completer
        self._read_alone = Bulkhead[File]("candidate", lambda file: file.path)
        self._decided = Bulkhead[Decided]("candidate", lambda one: one[0].path, ledger.savepoint)

    def read(self, now: float) -> list[Decided]:
        """Look at what is due, and decide. Reads the disk, writes nothing."""
        due = self._ledger.files.due(now, LOOKS_A_PASS)
        if not due:
            return []
        found: list[Decided] = []
        with Trees(self._files) as trees:
            markers = _Markers()
            some = in_time(due, SECONDS_A_PASS)
            for one in self._read_alone.each(some, now, lambda file, failure: found.append((file, _failed(failure)))):
                with one as file:
                    found.append((file, self._decide(trees, markers, file, now)))
        # What was learned holds for the others of the folder, too: they are decided about again.
        learned_in = {dirname(file.path) for file, decision in found if isinstance(decision, CameBack)}
        return [
            one for one in found
            if dirname(one[0].path) not in learned_in or not isinstance(one[1], Complete | Rested)
        ]  # fmt: skip

    def apply(self, decisions: Sequence[Decided], now: float) -> bool:
        """Write the decisions down, inside a transaction. Returns whether more may be due at once."""
        more = [len(decisions) == LOOKS_A_PASS]
        self._decided.together(
            decisions, lambda some: more.append(self._apply(some, now)), now,
            lambda one, failure: self._ledger.files.waits([(failure.again, failure.reason, one[0].id)]),
        )  # fmt: skip
        return any(more)

    def _apply(self, decisions: Sequence[Decided], now: float) -> bool:
        files, joining = self._ledger.files, self._groups.joining(now)
        completed: list[tuple[File, int, str]] = []
        rested: list[tuple[File, Rule]] = []
        waits: list[tuple[float, str | None, int]] = []
        more = False
        for file, decision in decisions:
            match decision:
                case Complete(rule, reason):
                    completed.append((file, joining.alone(file, rule), reason))
                case Rested(rule):
                    rested.append((file, rule))
                case Wait(again, reason):
                    waits.append((again, reason, file.id))
                case CameBack(quiet):
                    self._came_back(file.path, quiet, now)
                    waits.append((max(now, file.since + quiet), None, file.id))
                    more = True
                case Changed(adoption):
                    again = first_look(self._rules[file.rule].complete, adoption.seen.version.ctime_ns, now)
                    files.changed(file.id, adoption, now, again)
                    more = more or again <= now
                case Refuse(reason):
                    files.refused([(file.id, file.rule, file.path, reason)])
                case Vanish(reason):
                    files.vanished([(file.id, file.rule, file.path, reason)], now)
        files.completed(completed, now)
        files.waits(waits)
        joining.end()
        if rested:
            self._dataset_completer.gather(rested, now)
        return more or bool(rested)

    def _decide(self, trees: Trees, markers: "_Markers", file: File, now: float) -> Decision:
        """Read one candidate again, and decide about it."""
        rule = self._rules.get(file.rule)
        if rule is None or not file.path.startswith(rule.watch.rstrip("/") + "/"):
            if self._files.look(file.path) is ABSENT:
                return Vanish("it went away before it was delivered")
            return Refuse(unwatched(file.rule))
        try:
            tree = trees.at(rule.watch)
        except Trouble as trouble:
            return Wait(now + _MOUNT_AGAIN, f"the watched directory cannot be opened: {trouble.reason}")
        path = rule.relpath(file.path)
        directory, _, name = path.rpartition("/")
        marker = marker_for(rule, name)
        has_marker = marker is None or is_marker(rule, name) or markers.has(tree, directory, marker)
        if isinstance(has_marker, Trouble):
            return Wait(
                next_look(rule.complete, file.since, now), f"its marker cannot be looked for: {has_marker.reason}"
            )
        missing = None if has_marker else without_marker(rule.complete, file.since, now)
        # One that has waited for its marker already is not opened again: there may be many, and they may wait for long.
        opened = missing is None or file.reason is None
        found = examine(tree, path, file.version) if opened else tree.look(path)
        if isinstance(found, CannotTell):
            return _cannot_tell(found.trouble, now)
        if found is ABSENT:
            same = same_volume(file.volume, volume_above(tree, path))
            if same is SameVolume.YES:
                return Vanish("it went away before it was delivered")
            return Wait(now + _MOUNT_AGAIN, f"it is not there, and {same.value}")
        seen, writer = found if isinstance(found, Examined) else (found, Writer.CANNOT_TELL)
        if seen.kind is Kind.LINK and rule.links != "refuse":
            return Vanish("a symbolic link stands in its place, and links are skipped")
        if seen.kind is not Kind.FILE:
            return Refuse(f"a {seen.kind} stands in its place; remove it, then {_RETRY}")
        if not unchanged(file.version, file.volume, seen):
            return Changed(adopt(tree, path, file.version, file.volume, seen))
        if missing is not None and not opened:
            return Wait(next_look(rule.complete, file.since, now), missing)
        longer = learned(rule.complete, self._ledger.returns.quiet(file.path), file.seen_at, now)
        candidate = Candidate(name, file.version.size, file.since, granule(file.version.ctime_ns), longer)
        verdict = complete(rule.complete, candidate, has_marker, writer, now)
        if verdict.ok:
            quiet = self._returned(tree, path, rule, file)
            if quiet is not None:
                return CameBack(quiet)
            return Rested(rule) if rule.whole else Complete(rule, verdict.reason)
        if verdict.again_at is not None:
            return Wait(verdict.again_at, None)
        return Wait(next_look(rule.complete, file.since, now), verdict.reason)

    def _returned(self, tree: Tree, path: str, rule: Rule, file: File) -> float | None:
        """How long such files wait from now on, where the writer of a complete file came back, and that is not known yet.

        Raises Trouble where its first bytes cannot be read.
        """
        former = self._ledger.files.former(file) if file.generation > 1 else None
        if former is None:
            return None
        quiet = came_back(rule.complete, former.version, former.complete_at, file.version, file.seen_at)
        if quiet is None or quiet <= self._ledger.returns.quiet(file.path):
            return None
        return quiet if _goes_on(tree, path, file, former) else None

    def _came_back(self, path: str, quiet: float, now: float) -> None:
        made = self._ledger.returns.came_back(path, quiet, now)
        of = f"files {made.suffix or 'without a suffix'} in {made.directory}" if made.name is None else "it"
        log.info("the writer of %s came back: %s waits %s unchanged from now on", path, of, in_words(made.quiet))


def _goes_on(tree: Tree, path: str, file: File, former: Former) -> bool:
    """Whether a longer file goes on from its former version, and was not written from its beginning. Raises Trouble.

    A transfer that broke off goes on in another file with the same first bytes. Where these are too many to be compared, it
    goes on: waiting costs less than a piece.
    """
    same_file = file.version.file_id == former.version.file_id
    if former.written_again and same_file:
        return False
    if not former.version.size:
        return True
    if former.content is None or former.algorithm not in CHECKSUMS:
        return same_file
    if former.version.size > _COMPARED:
        return True
    with tree.open(path) as handle:
        return begins_with(handle, former.content, former.algorithm)


def _failed(failure: Failure) -> Decision:
    return Wait(failure.again, failure.reason)


def _cannot_tell(trouble: Trouble, now: float) -> Decision:
    """The file may be there. A person is asked only where the trouble is the file's own, or the storage's."""
    if trouble.what in _PASSING or trouble.whose is Whose.AGENT:
        return Wait(now + _MOUNT_AGAIN, f"it cannot be opened now: {trouble.reason}")
    if trouble.what in (What.DENIED, What.NOT_PERMITTED):
        return Refuse(f"cannot be read: {trouble.reason}; make it readable for the agent's user, then {_RETRY}")
    return Refuse(f"cannot be opened: {trouble.reason}; mend that, then {_RETRY}")


class _Markers:
    """The names beside candidates: each directory is listed once a pass, and only for patterns that take several names."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], Names | Trouble] = {}

    def has(self, tree: Tree, directory: str, marker: Glob) -> bool | Trouble:
        """Whether a directory has a name that the pattern matches, or why that cannot be told."""
        if marker.name is not None:
            seen = tree.look(f"{directory}/{marker.name}" if directory else marker.name)
            return seen.trouble if isinstance(seen, CannotTell) else seen is not ABSENT
        key = tree.root, directory
        if key not in self._names:
            try:
                self._names[key] = Names(tree.names(directory))
            except Trouble as trouble:
                self._names[key] = trouble
        names = self._names[key]
        return names if isinstance(names, Trouble) else names.any_like(marker)
