"""Removing local copies.

The order of every removal: the intent is written down; the file is moved aside by a rename in its own directory (or to
the trash); it is checked once more; it is unlinked, or put back; the result is written down. A restart redoes intents.
"""

import logging
from collections.abc import Mapping, Sequence

from agent.errors import Transient
from agent.files import ABSENT, CannotTell, Files, Tree, Trouble, What
from agent.files.reader import Trees, examine
from agent.ledger import Intent, Ledger, State
from agent.reclaim.decisions import LATER, Decisions
from agent.reclaim.record import Record, line
from rules.model import OWN_PREFIX, Evidence, Kind, Observation, Rule, Version, Writer
from rules.naming import own_name

TRASH = OWN_PREFIX + "-trash"

log = logging.getLogger(__name__)


class Removal:
    """Carries intents out."""

    def __init__(
        self, ledger: Ledger, files: Files, rules: Mapping[str, Rule], decisions: Decisions, record: Record
    ) -> None:
        """
        Args:
            ledger: this thread's connection.
            files: where the local copies are.
            rules: by their names.
            decisions: asked once more before an unlink.
            record: where deletions are recorded.
        """
        self._ledger = ledger
        self._files = files
        self._rules = rules
        self._decisions = decisions
        self._record = record

    def resume(self, intent: Intent, now: float) -> None:
        """A former run wrote the intent: where the file does not stand aside, see how far it got."""
        try:
            with self._files.tree(intent.root) as tree:
                aside = tree.look(intent.aside)
                if isinstance(aside, CannotTell):
                    raise aside.trouble
                if aside is ABSENT:
                    self._not_aside(tree, intent, now)
        except Trouble as trouble:
            log.warning("%s cannot be looked at: %s", intent.file.path, trouble.reason)

    def move_aside(self, intent: Intent, now: float) -> bool:
        """Rename the file to where it waits for its end. Returns whether that was done; else it is kept."""
        try:
            with self._files.tree(intent.root) as tree:
                tree.rename_new(intent.original, intent.aside)
        except Trouble as trouble:
            self._keep(intent, f"cannot be moved aside: {trouble.reason}", now + LATER)
            return False
        return True

    def finish(self, intents: Sequence[Intent], now: float, *, asked: bool) -> None:
        """Check once more what stands aside, and unlink it or put it back. `asked`: the destinations were, just now."""
        gone: list[tuple[Intent, list[tuple[Evidence, str]]]] = []
        parents: dict[tuple[str, str], None] = {}
        for intent in intents:
            if self._ledger.pauses.hold("reclaim"):
                break
            rule = self._rules.get(intent.file.rule)
            evidence = self._decisions.evidence(rule, intent.file) if rule is not None else []
            if self._remove(intent, rule, evidence, now, asked=asked):
                gone.append((intent, evidence))
                parents[intent.root, intent.original.rpartition("/")[0]] = None
                parents[intent.root, intent.aside.rpartition("/")[0]] = None
        self._sync(parents)
        if gone:
            self._record.append([line(intent, evidence, now) for intent, evidence in gone])
            with self._ledger.transaction():
                self._ledger.reclaims.reclaimed([intent for intent, _ in gone])
        for intent, _ in gone:
            self._tidy(intent)

    def _remove(
        self, intent: Intent, rule: Rule | None, evidence: Sequence[tuple[Evidence, str]], now: float, *, asked: bool
    ) -> bool:
        """Unlink one file that stands aside. Returns whether it is gone."""
        try:
            with self._files.tree(intent.root) as tree:
                aside = examine(tree, intent.aside)
                if isinstance(aside, CannotTell):
                    raise aside.trouble
                if aside is ABSENT:
                    return self._not_aside(tree, intent, now)
                if rule is None or rule.reclaim is None:
                    return self._put_back(tree, intent, now, "its rule does not reclaim any more")
                if not _same(aside.seen, intent.file.version) or aside.writer is Writer.OPEN:
                    return self._put_back(tree, intent, now, "it changed while it was moved aside", changed=True)
                wrong = self._decisions.unproved(rule, evidence)
                if wrong is None and not asked:
                    wrong = self._decisions.wrong(intent.file, evidence)
                if wrong is not None:
                    return self._put_back(tree, intent, now, wrong)
                tree.unlink(intent.aside)
                return True
        except Transient as error:
            log.warning("%s stays aside: %s", intent.file.path, error)
        except Trouble as trouble:
            log.warning("%s stays aside: %s", intent.file.path, trouble.reason)
        return False

    def _not_aside(self, tree: Tree, intent: Intent, now: float) -> bool:
        """A former run wrote the intent: did it get as far as the rename, or as far as the unlink? Raises Trouble."""
        seen = tree.look(intent.original)
        if isinstance(seen, CannotTell):
            raise seen.trouble
        if seen is ABSENT or not _same(seen, intent.file.version):
            return True
        if seen.version == intent.file.version:
            self._keep(intent, "it had not been moved yet", now)
            return False
        # Taken out of the trash by a person, who gets the whole period again: it is proved anew, as a newer version.
        log.warning("%s is back at its place", intent.file.path)
        with self._ledger.transaction():
            self._ledger.reclaims.kept(intent, State.SUPERSEDED, "it is back at its place", None, now + LATER)
        return False

    def _put_back(self, tree: Tree, intent: Intent, now: float, reason: str, *, changed: bool = False) -> bool:
        """Rename it to its place, or beside what has its name by now. Raises Trouble."""
        place = intent.original
        try:
            tree.rename_new(intent.aside, place)
        except Trouble as trouble:
            if trouble.what is not What.EXISTS:
                raise
            place = own_name(intent.original, intent.file.generation)
            tree.rename_new(intent.aside, place)
            reason, changed = f"{reason}; a newer file has its name, so it is kept as {place!r}", True
        tree.sync(place.rpartition("/")[0])
        seen = tree.look(place)
        # Without a look at it the next sweep sees a new version.
        ctime = seen.version.ctime_ns if isinstance(seen, Observation) else None
        log.warning("%s was put back: %s", intent.file.path, reason)
        with self._ledger.transaction():
            state = State.SUPERSEDED if changed else State.VERIFIED
            self._ledger.reclaims.kept(intent, state, reason, ctime, now + LATER)
        return False

    def _keep(self, intent: Intent, reason: str, again: float) -> None:
        log.warning("%s is kept: %s", intent.file.path, reason)
        with self._ledger.transaction():
            self._ledger.reclaims.kept(intent, State.VERIFIED, reason, None, again)

    def _sync(self, parents: Mapping[tuple[str, str], None]) -> None:
        """Make removals durable. Raises Transient."""
        with Trees(self._files) as trees:
            for root, parent in parents:
                try:
                    trees.at(root).sync(parent)
                except Trouble as trouble:
                    if trouble.what not in (What.ABSENT, What.NOT_A_DIRECTORY, What.LINK):
                        raise Transient(f"{root}/{parent}: {trouble.reason}") from trouble
                    # else removed together with its content, or something has its name

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
                    with self._files.tree(intent.root) as tree:
                        tree.remove_directory(parent)
                except Trouble:
                    break  # not empty, or in use: it stays
                parent = parent.rpartition("/")[0]


def _same(seen: Observation, proved: Version) -> bool:
    """Whether a file that was renamed by the agent is the one that was proved: the rename itself moved its ctime."""
    found = seen.version
    return seen.kind is Kind.FILE and found._replace(ctime_ns=proved.ctime_ns) == proved
