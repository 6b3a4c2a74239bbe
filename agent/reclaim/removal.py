"""Removing local copies.

The order of every removal: the intent is written down; the file is moved aside by a rename in its own directory (or to
the trash); it is checked once more; it is unlinked, or put back; the result is written down. A restart redoes intents.
"""

import errno
import logging
import os
from collections.abc import Mapping, Sequence

from agent.errors import Transient, cause
from agent.files.posix import durable as disk
from agent.files.posix.tree import Tree
from agent.ledger import Intent, Ledger, State
from agent.reclaim.decisions import LATER, Decisions
from agent.reclaim.local import reading, same
from agent.reclaim.record import Record, line
from rules.model import OWN_PREFIX, Evidence, Rule, Writer
from rules.naming import own_name

TRASH = OWN_PREFIX + "-trash"
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

log = logging.getLogger(__name__)


class Removal:
    """Carries intents out."""

    def __init__(self, ledger: Ledger, rules: Mapping[str, Rule], decisions: Decisions, record: Record) -> None:
        """
        Args:
            ledger: this thread's connection.
            rules: by their names.
            decisions: asked once more before an unlink.
            record: where deletions are recorded.
        """
        self._ledger = ledger
        self._rules = rules
        self._decisions = decisions
        self._record = record

    def resume(self, intent: Intent, now: float) -> None:
        """A former run wrote the intent: where the file does not stand aside, see how far it got."""
        try:
            with Tree(intent.root) as tree:
                if reading(tree, intent.aside, intent.file.path) is None:
                    self._not_aside(tree, intent, now)
        except OSError as error:
            log.warning("%s cannot be looked at: %s", intent.file.path, cause(error))

    def move_aside(self, intent: Intent, now: float) -> bool:
        """Rename the file to where it waits for its end. Returns whether that was done; else it is kept."""
        try:
            with Tree(intent.root) as tree:
                source, name = tree.place(intent.original)
                target, aside = tree.place(intent.aside, make=True)
                disk.rename_new(name, aside, source, target)
        except OSError as error:
            self._keep(intent, f"cannot be moved aside: {cause(error)}", now + LATER)
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
            with Tree(intent.root) as tree:
                seen = reading(tree, intent.aside, intent.file.path)
                if seen is None:
                    return self._not_aside(tree, intent, now)
                if rule is None or rule.reclaim is None:
                    return self._put_back(tree, intent, now, "its rule does not reclaim any more")
                if not same(seen[0], intent.file.version) or seen[1] is Writer.OPEN:
                    return self._put_back(tree, intent, now, "it changed while it was moved aside", changed=True)
                wrong = self._decisions.unproved(rule, evidence)
                if wrong is None and not asked:
                    wrong = self._decisions.wrong(intent.file, evidence)
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

    def _not_aside(self, tree: Tree, intent: Intent, now: float) -> bool:
        """A former run wrote the intent: did it get as far as the rename, or as far as the unlink?"""
        seen = reading(tree, intent.original, intent.file.path)
        if seen is None or not same(seen[0], intent.file.version):
            return True
        if seen[0] == intent.file.version:
            self._keep(intent, "it had not been moved yet", now)
            return False
        # Taken out of the trash by a person, who gets the whole period again: it is proved anew, as a newer version.
        log.warning("%s is back at its place", intent.file.path)
        with self._ledger.transaction():
            self._ledger.reclaims.kept(intent, State.SUPERSEDED, "it is back at its place", None, now + LATER)
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
            self._ledger.reclaims.kept(intent, state, reason, ctime, now + LATER)
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
