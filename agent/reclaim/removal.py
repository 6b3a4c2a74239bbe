"""Removing local copies.

The order of every removal: the destinations are asked; the intent is written down; the file is renamed aside in its own
directory (or to the trash), held and compared; it is unlinked, or put back; the result is written down. `Tree.move_aside`
and `Tree.hold` keep the order of the steps from the rename on. A restart takes intents up again.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from agent.errors import Transient
from agent.files import ABSENT, CannotTell, Files, Handle, Held, NotAFile, Tree, Trouble, What
from agent.files.absence import look_on
from agent.files.reader import CHECKSUMS, Trees, checksum_of
from agent.host.bulkhead import Bulkhead
from agent.host.record import Record
from agent.ledger import Intent, Ledger, State
from agent.reclaim.aside import in_trash, standing
from agent.reclaim.decisions import LATER, Decisions
from agent.reclaim.empty_dirs import EmptyDirs
from agent.reclaim.record import line
from rules.model import Content, Evidence, Kind, Observation
from rules.naming import own_name
from rules.rule import Rule

_NAMES = 100
"""Names beside its own that are tried for a file that is put back."""
_CHANGED = "it changed while it was moved aside"

log = logging.getLogger(__name__)

Proofs = Sequence[tuple[Evidence, str]]
"""Evidence, each with the path at its destination."""


class Removal:
    """Carries intents out."""

    def __init__(
        self, ledger: Ledger, files: Files, rules: Mapping[str, Rule], decisions: Decisions, record: Record,
        empty_dirs: EmptyDirs,
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            files: where the local copies are.
            rules: by their names.
            decisions: asked once more before an unlink.
            record: where deletions are recorded.
            empty_dirs: gets what was removed.
        """
        self._ledger = ledger
        self._files = files
        self._rules = rules
        self._decisions = decisions
        self._record = record
        self._empty_dirs = empty_dirs
        self._lasting: set[int] = set()
        """Files with a line in the record which the ledger could not take as reclaimed yet."""
        self._intents = Bulkhead[Intent]("removal of", lambda intent: intent.file.path)
        self._gone = Bulkhead[tuple[Intent, Proofs]]("removal of", lambda one: one[0].file.path)
        self._reclaimed = Bulkhead[Intent]("removal of", lambda intent: intent.file.path, ledger.savepoint)

    def resume(self, intent: Intent, now: float) -> None:
        """A former run wrote the intent: where the file does not stand aside, see how far it got."""
        try:
            with self._files.tree(intent.root) as tree:
                if standing(tree, intent.aside) is ABSENT:
                    self._not_aside(tree, intent, now)
        except Trouble as trouble:
            log.warning("%s cannot be looked at: %s", intent.file.path, trouble.reason)

    def carry_out(self, intents: Sequence[Intent], now: float) -> None:
        """Move files aside whose intents were written just now, and remove those that do not go to the trash.

        The destinations were asked just now.
        """
        gone: list[tuple[Intent, Proofs]] = []
        trashed: list[tuple[Intent, int]] = []
        with Trees(self._files) as trees:
            for one in self._intents.each(
                intents, now, lambda intent, failure: self.stays(intent, failure.reason, failure.again)
            ):
                with one as intent:
                    if self._paused:
                        self._keep(intent, "removing local copies is paused", now, now)
                        continue
                    evidence = self._evidence(intent)
                    try:
                        tree = trees.at(intent.root)
                        with self._move_aside(tree, intent) as held:
                            if not held.whole():
                                self._put_back(tree, held, intent, now, _CHANGED, changed=True)
                            elif intent.purge_at > now:
                                trashed.append((intent, held.ctime_ns))
                            elif self._unlinked(tree, held, intent, evidence, now, compared=True):
                                gone.append((intent, evidence))
                    except _NotMovedError as error:
                        self._keep(intent, f"cannot be moved aside: {error}", now, now + LATER)
                    except Trouble as trouble:
                        self.stays(intent, trouble.reason, now + LATER)
            _sync(trees, [intent for intent, _ in (*gone, *trashed)])
        with self._ledger.transaction():
            self._ledger.reclaims.moved_aside(trashed)
        self._ended(gone, now)

    def finish(self, intents: Sequence[Intent], now: float) -> None:
        """Ask the destinations about what stands aside, check it once more, and unlink it or put it back."""
        gone: list[tuple[Intent, Proofs]] = []
        with Trees(self._files) as trees:
            for intent in intents:
                if self._paused:
                    break
                evidence = self._evidence(intent)
                try:
                    if self._finished(trees.at(intent.root), intent, evidence, now):
                        gone.append((intent, evidence))
                except Transient as error:
                    self.stays(intent, str(error), now + LATER)
                except Trouble as trouble:
                    self.stays(intent, trouble.reason, now + LATER)
            _sync(trees, [intent for intent, _ in gone])
        self._ended(gone, now)

    @property
    def _paused(self) -> bool:
        return self._ledger.pauses.hold("reclaim")

    def _evidence(self, intent: Intent) -> Proofs:
        rule = self._rules.get(intent.file.rule)
        return self._decisions.evidence(rule, intent.file) if rule is not None else []

    def _finished(self, tree: Tree, intent: Intent, evidence: Proofs, now: float) -> bool:
        """Whether the file that should stand aside is gone now. Raises Transient and Trouble."""
        aside = standing(tree, intent.aside)
        if aside is ABSENT:
            return self._not_aside(tree, intent, now)
        original = standing(tree, intent.original)
        if isinstance(aside, Observation) and isinstance(original, Observation) and aside.file == original.file:
            self._release(tree, intent, now)
            return False
        wrong = self._wrong(intent, evidence)  # slow: before the file is held
        if self._paused:
            return False
        try:
            held = tree.hold(intent.aside, intent.file.version, intent.ctime_ns)
        except NotAFile:
            return self._not_aside(tree, intent, now)  # somebody else's
        with held:
            if wrong is not None:
                self._put_back(tree, held, intent, now, wrong, changed=not held.whole())
                return False
            if not intent.leaving:
                with self._ledger.transaction():
                    self._ledger.reclaims.leaving(intent)
            return self._unlinked(tree, held, intent, evidence, now, compared=intent.ctime_ns is not None)

    def _wrong(self, intent: Intent, evidence: Proofs) -> str | None:
        """Why what stands aside may not go; None: it may. Raises Transient."""
        rule = self._rules.get(intent.file.rule)
        if rule is None or rule.reclaim is None:
            return "its rule does not reclaim any more"
        return self._decisions.unproved(rule, intent.file, evidence) or self._decisions.wrong(intent.file, evidence)

    def _unlinked(
        self, tree: Tree, held: Held, intent: Intent, evidence: Proofs, now: float, *, compared: bool
    ) -> bool:
        """Whether it was removed; else it was put back. `compared`: its stamps were, since it was proved. Raises Trouble."""
        if held.unlink(_content(intent, evidence, compared=compared)):
            return True
        self._put_back(tree, held, intent, now, _CHANGED, changed=True)
        return False

    def _move_aside(self, tree: Tree, intent: Intent) -> Held:
        """Raises _NotMovedError where it has its name still, and Trouble where that cannot be told."""
        try:
            return tree.move_aside(intent.original, intent.aside, intent.file.version)
        except Trouble as trouble:
            if standing(tree, intent.aside) is ABSENT:
                raise _NotMovedError(trouble.reason) from trouble
            raise

    def _not_aside(self, tree: Tree, intent: Intent, now: float) -> bool:
        """Nothing stands aside: whether that is because it is gone. Raises Trouble where that cannot be told."""
        for place in (intent.original, own_name(intent.original, intent.file.generation)):
            seen = standing(tree, place)
            if not isinstance(seen, Observation) or not _still_the_file(tree, place, seen, intent):
                continue
            if seen.version == intent.file.version:
                self._keep(intent, "it had not been moved yet", now, now)
                return False
            # Taken out of the trash by a person, who gets the whole period again, or changed: it is proved again.
            log.warning("%s is back at its place", intent.file.path)
            self._is_back(intent, State.SUPERSEDED, "it is back at its place", None, now)
            return False
        if intent.coming_back:
            self._is_back(intent, State.SUPERSEDED, "it was put back", None, now)
            return False
        for path in (intent.aside, intent.original):
            absent = look_on(tree, path, intent.file.volume)
            if isinstance(absent, CannotTell):
                raise absent.trouble
        if intent.leaving or not in_trash(intent.aside):
            return True
        reason = "removed by somebody else, from the trash or before it was moved there"
        with self._ledger.transaction():
            self._ledger.reclaims.taken(intent)
            self._ledger.files.removed([(intent.file.id, intent.file.rule, intent.file.path, reason)], now)
        self._tidy_trash(intent)
        return False

    def _release(self, tree: Tree, intent: Intent, now: float) -> None:
        """A former run was killed while it put the file back by a second name: that one stays. Raises Trouble."""
        tree.unlink(intent.aside)
        self._is_back(intent, State.SUPERSEDED, "it was being put back", None, now)

    def _put_back(self, tree: Tree, held: Held, intent: Intent, now: float, reason: str, *, changed: bool) -> None:
        """Rename it to its place, or beside what has its name by now. Raises Trouble."""
        place, number = intent.original, intent.file.generation
        with self._ledger.transaction():
            self._ledger.reclaims.coming_back(intent)
        while True:
            try:
                ctime_ns = held.put_back(place)  # None: the next sweep sees a new version
                break
            except Trouble as trouble:
                if trouble.what is not What.EXISTS or number > intent.file.generation + _NAMES:
                    raise
            place, number, changed = own_name(intent.original, number), number + 1, True
        if place != intent.original:
            reason = f"{reason}; a newer file has its name, so it is kept as {place!r}"
        for path in (intent.aside, place):
            try:
                tree.sync(path.rpartition("/")[0])
            except Trouble as trouble:
                log.warning("%s: %s", intent.file.path, trouble.reason)
        log.warning("%s was put back: %s", intent.file.path, reason)
        self._is_back(intent, State.SUPERSEDED if changed else State.VERIFIED, reason, ctime_ns, now)

    def _is_back(self, intent: Intent, state: State, reason: str, ctime_ns: int | None, now: float) -> None:
        with self._ledger.transaction():
            self._ledger.reclaims.kept(intent, state, reason, ctime_ns, now, now + LATER)

    def _keep(self, intent: Intent, reason: str, now: float, again: float) -> None:
        if reason != intent.file.reason:  # said once, however often it is tried
            log.warning("%s is kept: %s", intent.file.path, reason)
        with self._ledger.transaction():
            self._ledger.reclaims.kept(intent, State.VERIFIED, reason, None, now, again)

    def stays(self, intent: Intent, reason: str, again: float) -> None:
        """It stays where it is until then."""
        log.warning("%s stays aside: %s", intent.file.path, reason)
        with self._ledger.transaction():
            self._ledger.reclaims.postponed(intent, again)

    def _ended(self, gone: Sequence[tuple[Intent, Proofs]], now: float) -> None:
        """Files are gone: record it, then note it in the ledger. Raises Transient."""
        if not gone:
            return
        lines: list[dict[str, object]] = []
        recorded: list[Intent] = []
        for each in self._gone.each(gone):  # one without a line is recorded when it is found gone again
            with each as (intent, evidence):
                if intent.file.id not in self._lasting:
                    lines.append(line(intent, evidence, now))
                recorded.append(intent)
        if lines:
            self._record.append(lines, now)
        self._lasting |= {intent.file.id for intent in recorded}
        noted: list[Intent] = []

        def note(some: Sequence[Intent]) -> None:
            self._ledger.reclaims.reclaimed(some, now)
            noted.extend(some)

        with self._ledger.transaction():
            self._reclaimed.together(recorded, note)
        self._lasting -= {intent.file.id for intent in noted}
        for one in self._intents.each(recorded):
            with one as intent:
                self._tidy_trash(intent)
        self._empty_dirs.left(recorded, now)

    def _tidy_trash(self, intent: Intent) -> None:
        """Remove the directories of the trash that this removal left empty."""
        if not in_trash(intent.aside):
            return
        try:
            with self._files.tree(intent.root) as tree:
                _remove_empty(tree, intent.aside.rpartition("/")[0])
        except Trouble:
            pass  # the watched directory is away: empty directories stay


def _remove_empty(tree: Tree, directory: str) -> None:
    """Remove a directory and those above it, as far as they are empty."""
    while directory:
        try:
            tree.remove_directory(directory)
        except Trouble:
            return  # not empty, or in use: it stays
        directory = directory.rpartition("/")[0]


def _sync(trees: Trees, intents: Sequence[Intent]) -> None:
    """Make renames and removals durable: what is in the trash first, then that it is nowhere else. Raises Transient."""
    parents = {(one.root, path.rpartition("/")[0]): None for one in intents for path in (one.aside, one.original)}
    for root, parent in parents:
        try:
            trees.at(root).sync(parent)
        except Trouble as trouble:
            if trouble.what not in (What.ABSENT, What.NOT_A_DIRECTORY, What.LINK):
                raise Transient(f"{root}/{parent}: {trouble.reason}") from trouble
            # else removed together with its content, or something has its name


class _NotMovedError(Exception):
    """The file has its name still."""


def _content(intent: Intent, evidence: Proofs, *, compared: bool) -> Callable[[Handle], bool]:
    """Whether an open file has the content that was proved.

    `compared`: its stamps are what was proved. That is enough where the proof itself was no more than that.
    """
    strong = next((item for item, _ in evidence if item.strong and item.algorithm in CHECKSUMS), None)

    def same(handle: Handle) -> bool:
        if strong is None:
            return compared
        size = intent.file.version.size
        return checksum_of(handle, strong.algorithm, size) == Content(strong.checksum, size)

    return same


def _still_the_file(tree: Tree, path: str, seen: Observation, intent: Intent) -> bool:
    """Whether what has the name is the file of the intent, changed or not. File ids are used again at once."""
    proved = intent.file.version
    if seen.kind is not Kind.FILE or seen.version.file_id != proved.file_id:
        return False
    born_ns = tree.born(path)
    return born_ns is None or born_ns <= proved.ctime_ns
