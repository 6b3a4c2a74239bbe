"""Verified → reclaimed: removing local copies that every required destination has proved to hold.

The order of every removal: the intent is written down; the file is moved aside by a rename in its own directory (or to
the trash); it is checked once more; it is unlinked, or put back; the result is written down. A restart redoes intents.
"""

import errno
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent import disk, probe
from agent.errors import Transient, cause
from agent.ledger import File, Intent, Ledger, State
from agent.mounts import remote
from agent.tree import Tree
from rules.destination import own_name
from rules.model import OWN_PREFIX, Evidence, Rule, Verdict, Version, Writer, proof_in_words
from rules.retention import retention

TRASH = OWN_PREFIX + "-trash"
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_LATER = 60.0
"""Seconds until a batch that could not be reclaimed is thought of again."""
_BATCHES_A_PASS = 50

Confirm = Callable[[str, Version, bytes, str, str], Verdict]
"""(path, version, checksum, algorithm, identity) → is it still at the destination, asked now? Raises Transient."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Required:
    """A destination as reclaim needs it: where it is, and how to ask it."""

    address: str
    ask: Confirm


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a verified file."""

    file: File
    verdict: Verdict
    disproved_at: str | None = None
    """The destination which, asked again, has not got what it was proved to have."""


class Record:
    """The append-only record of deletions, one JSON object a line, for people and for the day the ledger is lost."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, lines: Sequence[dict[str, object]]) -> None:
        """Add lines and make them durable. Raises Transient."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.write(fd, "".join(json.dumps(line) + "\n" for line in lines).encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise Transient(f"deletions cannot be recorded in {self._path}: {cause(error)}") from error


class Reclaimer:
    """Decides about verified files and removes those that may go."""

    def __init__(
        self, ledger: Ledger, rules: Sequence[Rule], required: Mapping[str, Required], record: Record,
        free: Callable[[str], float | None] = disk.free_fraction,
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            rules: in the order of the configuration.
            required: every configured destination by its name.
            record: where deletions are recorded.
            free: the fraction of free space at a path, None when unknown.
        """
        self._ledger = ledger
        self._rules = {rule.name: rule for rule in rules}
        self._required = required
        self._record = record
        self._free = free

    def start(self, now: float) -> None:
        """Before the first pass: the policy may have changed since the last run, so think of every batch again."""
        with self._ledger.transaction():
            self._ledger.reclaims.reconsider()
        for intent in self._ledger.reclaims.unfinished():
            try:
                with Tree(intent.root) as tree:
                    if _reading(tree, intent.aside, intent.file.path) is None:
                        self._not_aside(tree, intent, now)
            except OSError as error:
                log.warning("%s cannot be looked at: %s", intent.file.path, cause(error))

    def step(self, now: float) -> float | None:
        """One whole pass. Returns when the next is due."""
        if self._ledger.pauses.hold("reclaim"):
            return None
        due: list[float | None] = []
        for intent in self._ledger.reclaims.intents(now, 1000):
            self._finish([intent], now, asked=False)
        for rule in self._rules.values():
            if rule.reclaim is None:
                continue
            if rule.reclaim.when_free_below is not None:
                self._make_room(rule, rule.reclaim.when_free_below, now)
            for batch in self._ledger.reclaims.due_batches(rule.name, now, _BATCHES_A_PASS):
                self._batch(rule, batch, None, now)
            due.append(self._ledger.reclaims.next_due(rule.name))
        due.append(self._ledger.reclaims.next_purge())
        return min((at for at in due if at is not None), default=None)

    def plan(self, now: float) -> Iterator[Decision]:
        """Every verified file of every rule with the verdict about it; nothing is changed."""
        for rule in self._rules.values():
            for batch in self._ledger.reclaims.batches(rule.name):
                free = self._free(rule.watch) if rule.reclaim and rule.reclaim.when_free_below else None
                yield from self._decisions(rule, batch, free, now)

    # Deciding

    def _decisions(self, rule: Rule, batch: int, free: float | None, now: float) -> Iterator[Decision]:
        """What is to become of each file of a batch; those of a dataset go together, or stay together."""
        files = self._ledger.reclaims.verified(batch)
        if not rule.whole:
            yield from (self._decide(rule, file, free, now) for file in files)
            return
        datasets: dict[int | None, list[File]] = {}
        for file in files:
            datasets.setdefault(file.dataset, []).append(file)
        for number, together in datasets.items():
            yield from self._together(rule, number, together, free, now)

    def _together(
        self, rule: Rule, dataset: int | None, files: Sequence[File], free: float | None, now: float
    ) -> Iterator[Decision]:
        left = self._ledger.datasets.on_its_way(dataset) if dataset is not None else 0
        stays: Verdict | None
        if left:
            stays = Verdict(False, f"{left} files of its dataset are not proved yet", now + _LATER)
        else:
            # What costs little comes first: asking the destinations may mean that they read all the copies.
            stays = next((one for file in files if not (one := self._due(rule, file, free, now)).ok), None)
        if stays is not None:
            yield from (Decision(file, stays) for file in files)
            return
        decisions = [self._decide(rule, file, free, now) for file in files]
        bad = next((each for each in decisions if not each.verdict.ok), None)
        for each in decisions:
            if bad is None or not each.verdict.ok:
                yield each
            else:
                reason = f"its dataset stays together: {bad.file.path}: {bad.verdict.reason}"
                yield Decision(each.file, Verdict(False, reason, now + _LATER))

    def _due(self, rule: Rule, file: File, free: float | None, now: float) -> Verdict:
        """The policy and the local file, without asking the destinations."""
        evidence = [item for item, _ in self._evidence(rule, file)]
        verdict = retention(rule.reclaim, self._destinations(rule), evidence, free, now)
        return self._untouched(rule, file) if verdict.ok else verdict

    def _decide(self, rule: Rule, file: File, free: float | None, now: float) -> Decision:
        """The policy, then the destinations asked again, then the local file."""
        evidence = self._evidence(rule, file)
        verdict = retention(rule.reclaim, self._destinations(rule), [item for item, _ in evidence], free, now)
        if not verdict.ok:
            return Decision(file, verdict)
        try:
            for item, path in evidence:
                there = self._ask(file, item, path)
                if not there.ok:
                    return Decision(file, there, disproved_at=item.destination)
        except Transient as error:
            return Decision(file, Verdict(False, f"cannot be asked: {error}", now + _LATER))
        local = self._untouched(rule, file)
        return Decision(file, verdict if local.ok else local)

    def _destinations(self, rule: Rule) -> list[str]:
        return [target.to for target in rule.deliver]

    def _evidence(self, rule: Rule, file: File) -> list[tuple[Evidence, str]]:
        """Evidence from the required destinations as they are configured now, with the path there."""
        return [
            (item, path)
            for item, address, path in self._ledger.deliveries.evidence(file.id)
            if item.destination in self._destinations(rule) and self._required[item.destination].address == address
        ]

    def _ask(self, file: File, item: Evidence, path: str) -> Verdict:
        required = self._required[item.destination]
        identity = self._ledger.deliveries.identity(item.destination, required.address)
        if identity is None:
            return Verdict(False, f"destination {item.destination} was never set up")
        return required.ask(path, file.version, item.checksum, item.algorithm, identity)

    def _untouched(self, rule: Rule, file: File) -> Verdict:
        try:
            with Tree(rule.watch) as tree:
                seen = _reading(tree, _relative(rule, file), file.path)
        except OSError as error:
            return Verdict(False, f"the local file cannot be read: {cause(error)}")
        if seen is None or seen[0] != file.version:
            return Verdict(False, "the local file is not the version that was proved")
        return Verdict(False, Writer.OPEN.value) if seen[1] is Writer.OPEN else Verdict(True, "unchanged, no writer")

    # Doing

    def _make_room(self, rule: Rule, below: float, now: float) -> None:
        """Space is short: the trash goes first, then the oldest verified batches, until there is enough."""
        for intent in self._ledger.reclaims.trashed(rule.name):
            if not self._short(rule, below):
                return
            log.warning("%s: space is short, so it leaves the trash early", intent.file.path)
            self._finish([intent], now, asked=False)
        for batch in self._ledger.reclaims.batches(rule.name):
            free = self._free(rule.watch)
            if free is None or free >= below:
                return
            self._batch(rule, batch, free, now)

    def _short(self, rule: Rule, below: float) -> bool:
        free = self._free(rule.watch)
        return free is not None and free < below

    def _batch(self, rule: Rule, batch: int, free: float | None, now: float) -> None:
        """Reclaim what may go of one batch; note when to think of the rest."""
        again: list[float] = []
        intents: list[Intent] = []
        for decision in self._decisions(rule, batch, free, now):
            if decision.verdict.ok:
                intents.append(self._intent(rule, decision.file, decision.verdict.reason, now, trash=free is None))
            elif decision.disproved_at is not None:
                self._disproved(decision.file, decision.disproved_at, decision.verdict.reason)
            else:
                again.append(decision.verdict.again_at or now + _LATER)
        with self._ledger.transaction():
            # Asking takes long: evidence that was withdrawn meanwhile took the file out of its batch.
            still = {file.id for file in self._ledger.reclaims.verified(batch)}
            intents = [intent for intent in intents if intent.file.id in still]
            self._ledger.reclaims.intended(intents)
            self._ledger.reclaims.later(batch, min(again, default=None))
        moved = [intent for intent in intents if self._move_aside(intent, now)]
        self._finish([intent for intent in moved if intent.purge_at <= now], now, asked=True)

    def _disproved(self, file: File, destination: str, reason: str) -> None:
        """The copy is not what was proved: say so loudly, and keep the file."""
        log.error("%s: %s; the local file is kept", file.path, reason)
        hint = "the local file is kept; look at the destination, then `dropline retry` delivers it again"
        with self._ledger.transaction():
            self._ledger.deliveries.disproved(file, destination)
            self._ledger.files.refused([(file.id, file.rule, file.path, f"{reason}; {hint}")])

    def _intent(self, rule: Rule, file: File, reason: str, now: float, *, trash: bool) -> Intent:
        relpath = _relative(rule, file)
        window = rule.reclaim.trash if rule.reclaim is not None and trash else None
        if window:
            return Intent(file, rule.watch, relpath, f"{TRASH}/{file.id}/{relpath}", now + window, reason)
        parent, slash, _ = relpath.rpartition("/")
        return Intent(file, rule.watch, relpath, f"{parent}{slash}{OWN_PREFIX}-reclaim-{file.id}", now, reason)

    def _move_aside(self, intent: Intent, now: float) -> bool:
        try:
            with Tree(intent.root) as tree:
                source, name = tree.place(intent.original)
                target, aside = tree.place(intent.aside, make=True)
                disk.rename_new(name, aside, source, target)
        except OSError as error:
            self._keep(intent, f"cannot be moved aside: {cause(error)}", now + _LATER)
            return False
        return True

    def _finish(self, intents: Sequence[Intent], now: float, *, asked: bool) -> None:
        """Check once more what stands aside, and unlink it or put it back. `asked`: the destinations were, just now."""
        gone: list[tuple[Intent, list[tuple[Evidence, str]]]] = []
        parents: dict[tuple[str, str], None] = {}
        for intent in intents:
            if self._ledger.pauses.hold("reclaim"):
                break
            rule = self._rules.get(intent.file.rule)
            evidence = self._evidence(rule, intent.file) if rule is not None else []
            if self._remove(intent, rule, evidence, now, asked=asked):
                gone.append((intent, evidence))
                parents[intent.root, intent.original.rpartition("/")[0]] = None
                parents[intent.root, intent.aside.rpartition("/")[0]] = None
        self._sync(parents)
        if gone:
            self._record.append([_line(intent, evidence, now) for intent, evidence in gone])
            with self._ledger.transaction():
                self._ledger.reclaims.reclaimed([intent for intent, _ in gone])
        for intent, _ in gone:
            self._tidy(intent)

    def _remove(
        self, intent: Intent, rule: Rule | None, evidence: Sequence[tuple[Evidence, str]], now: float, *, asked: bool
    ) -> bool:
        """Unlink one file that stands aside. Returns whether it is gone."""
        try:
            with Tree(intent.root) as tree:
                seen = _reading(tree, intent.aside, intent.file.path)
                if seen is None:
                    return self._not_aside(tree, intent, now)
                if rule is None or rule.reclaim is None:
                    return self._put_back(tree, intent, now, "its rule does not reclaim any more")
                if not _same(seen[0], intent.file.version) or seen[1] is Writer.OPEN:
                    return self._put_back(tree, intent, now, "it changed while it was moved aside", changed=True)
                wrong = self._unproved(rule, evidence)
                if wrong is None and not asked:
                    wrong = self._wrong(intent.file, evidence)
                if wrong is not None:
                    return self._put_back(tree, intent, now, wrong)
                directory, name = tree.place(intent.aside)
                os.unlink(name, dir_fd=directory)
                return True
        except Transient as error:
            log.warning("%s stays aside: %s", intent.file.path, error)
        except OSError as error:
            log.warning("%s stays aside: %s", intent.file.path, cause(error))
        return False

    def _unproved(self, rule: Rule, evidence: Sequence[tuple[Evidence, str]]) -> str | None:
        """Where evidence is missing by now: it may have been withdrawn; None: nowhere."""
        missing = set(self._destinations(rule)) - {item.destination for item, _ in evidence}
        return f"not proved at {', '.join(sorted(missing))}" if missing else None

    def _wrong(self, file: File, evidence: Sequence[tuple[Evidence, str]]) -> str | None:
        """Why the file may not go, asked again at every required destination; None: it may. Raises Transient."""
        verdicts = (self._ask(file, item, path) for item, path in evidence)
        return next((verdict.reason for verdict in verdicts if not verdict.ok), None)

    def _not_aside(self, tree: Tree, intent: Intent, now: float) -> bool:
        """A former run wrote the intent: did it get as far as the rename, or as far as the unlink?"""
        seen = _reading(tree, intent.original, intent.file.path)
        if seen is None or not _same(seen[0], intent.file.version):
            return True
        if seen[0] == intent.file.version:
            self._keep(intent, "it had not been moved yet", now)
            return False
        # Taken out of the trash by a person, who gets the whole period again: it is proved anew, as a newer version.
        log.warning("%s is back at its place", intent.file.path)
        with self._ledger.transaction():
            self._ledger.reclaims.kept(intent, State.SUPERSEDED, "it is back at its place", None, now + _LATER)
        return False

    def _put_back(self, tree: Tree, intent: Intent, now: float, reason: str, *, changed: bool = False) -> bool:
        source, aside = tree.place(intent.aside)
        target, name = tree.place(intent.original, make=True)
        try:
            disk.rename_new(aside, name, source, target)
        except FileExistsError:
            kept = own_name(intent.original, intent.file.generation)
            target, name = tree.place(kept)
            disk.rename_new(aside, name, source, target)
            reason, changed = f"{reason}; a newer file has its name, so it is kept as {kept!r}", True
        disk.sync_directory(target)
        ctime = os.stat(name, dir_fd=target, follow_symlinks=False).st_ctime_ns
        log.warning("%s was put back: %s", intent.file.path, reason)
        with self._ledger.transaction():
            state = State.SUPERSEDED if changed else State.VERIFIED
            self._ledger.reclaims.kept(intent, state, reason, ctime, now + _LATER)
        return False

    def _keep(self, intent: Intent, reason: str, again: float) -> None:
        log.warning("%s is kept: %s", intent.file.path, reason)
        with self._ledger.transaction():
            self._ledger.reclaims.kept(intent, State.VERIFIED, reason, None, again)

    def _sync(self, parents: Mapping[tuple[str, str], None]) -> None:
        for root, parent in parents:
            try:
                with Tree(root) as tree:
                    disk.sync_directory(tree.directory(parent))
            except OSError as error:
                if error.errno not in _NOT_THERE:  # else removed together with its content, or something has its name
                    raise Transient(f"{root}/{parent}: {cause(error)}") from error

    def _tidy(self, intent: Intent) -> None:
        """Remove directories that this removal left empty: of the trash always, of the data where the rule asks for it."""
        rule = self._rules.get(intent.file.rule)
        paths = [intent.aside] if intent.aside.startswith(TRASH) else []
        if rule is not None and rule.reclaim is not None and rule.reclaim.empty_dirs:
            paths.append(intent.original)
        for path in paths:
            parent = path.rpartition("/")[0]
            while parent:
                try:
                    with Tree(intent.root) as tree:
                        directory, name = tree.place(parent)
                        os.rmdir(name, dir_fd=directory)
                except OSError:
                    break  # not empty, or in use: it stays
                parent = parent.rpartition("/")[0]


def _relative(rule: Rule, file: File) -> str:
    return file.path[len(rule.watch.rstrip("/")) + 1 :]


def _same(seen: Version, proved: Version) -> bool:
    """Whether a file that we renamed is the one that was proved: the rename itself moved its ctime."""
    return (seen.size, seen.mtime_ns, seen.inode) == (proved.size, proved.mtime_ns, proved.inode)


def _reading(tree: Tree, relpath: str, path: str) -> tuple[Version, Writer] | None:
    """What stands there, and whether it has a writer; None where nothing does. Raises OSError."""
    try:
        directory, name = tree.place(relpath)
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if probe.observation(status).kind != "file":
            return None
        fd = os.open(name, probe.OPEN_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        is_remote = remote(tree.root, os.fstat(tree.fd).st_dev)
        return probe.version(os.fstat(fd)), probe.writer(fd, path, remote=is_remote)
    finally:
        os.close(fd)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _line(intent: Intent, evidence: Sequence[tuple[Evidence, str]], now: float) -> dict[str, object]:
    return {
        "at": _iso(now),
        "rule": intent.file.rule,
        "file": intent.file.path,
        "size": intent.file.version.size,
        "reason": intent.reason,
        "copies": [
            {
                "destination": item.destination,
                "path": path,
                "checksum": proof_in_words(item.algorithm, item.checksum),
                "proved_at": _iso(item.proved_at),
            }
            for item, path in evidence
        ],
    }
