"""Removes directories that reclaiming left empty, once nobody can be expected to write into them."""

import logging
from collections.abc import Mapping, Sequence

from agent.files import CannotTell, Files, Tree, Trouble
from agent.files.reader import Trees
from agent.host.bulkhead import Bulkhead
from agent.ledger import Emptied, Intent, Ledger
from rules.datasets.membership import dataset_of
from rules.model import Kind, Observation
from rules.retention import unused
from rules.rule import Rule

_A_PASS = 200
_AGAIN = 60.0
"""Seconds until a directory that cannot be read is looked at again."""

log = logging.getLogger(__name__)


class EmptyDirs:
    """The directories of rules with `empty_dirs` that files were removed from."""

    def __init__(self, ledger: Ledger, files: Files, rules: Mapping[str, Rule]) -> None:
        """
        Args:
            ledger: this thread's connection.
            files: where the directories are.
            rules: by their names.
        """
        self._ledger = ledger
        self._files = files
        self._rules = rules
        self._removed = Bulkhead[Intent]("directory of", lambda intent: intent.file.path)
        self._due = Bulkhead[Emptied]("empty directory", lambda one: one.path)

    def left(self, removed: Sequence[Intent], now: float) -> None:
        """Files were removed. The directory of a dataset that ended goes at once; any other is noted, for later."""
        ended: dict[int | None, bool] = {None: False}
        noted: dict[tuple[str, str], int] = {}
        with Trees(self._files) as trees:
            for one in self._removed.each(removed):
                with one as intent:
                    rule = self._rules.get(intent.file.rule)
                    directory = intent.original.rpartition("/")[0]
                    if rule is None or rule.reclaim is None or not rule.reclaim.empty_dirs or not directory:
                        continue
                    number = intent.file.dataset
                    if number not in ended:
                        ended[number] = self._ledger.reclaims.dataset_ended(number)
                    dataset = dataset_of(rule, intent.original)
                    try:
                        tree = trees.at(intent.root)
                        if ended[number] and dataset is not None and dataset.whole:
                            self._remove(tree, directory, dataset.base)
                        elif (rule.name, directory) not in noted and (ctime_ns := _ctime_ns(tree, directory)):
                            noted[rule.name, directory] = ctime_ns
                    except Trouble as trouble:
                        log.info("%s is not looked at, and stays: %s", directory, trouble.reason)
        with self._ledger.transaction():
            for (name, directory), ctime_ns in noted.items():
                path = f"{self._rules[name].watch.rstrip('/')}/{directory}"
                self._ledger.reclaims.emptied(name, path, ctime_ns, now, unused(now, 0.0, now).again_at or now)

    def step(self, now: float) -> float | None:
        """Remove what has not been used for long enough. Returns when the next is to be looked at."""
        with Trees(self._files) as trees:
            for one in self._due.each(
                self._ledger.reclaims.emptied_due(now, _A_PASS), now,
                lambda emptied, failure: self._postpone(emptied, failure.again),
            ):  # fmt: skip
                with one as emptied:
                    try:
                        self._look(trees, emptied, now)
                    except Trouble:
                        self._postpone(emptied, now + _AGAIN)
        return self._ledger.reclaims.next_emptied()

    def _look(self, trees: Trees, emptied: Emptied, now: float) -> None:
        """Raises Trouble where the directory cannot be read."""
        rule = self._rules.get(emptied.rule)
        if rule is None or rule.reclaim is None or not rule.reclaim.empty_dirs or not rule.relpath(emptied.path):
            self._forget(emptied)
            return
        tree, directory = trees.at(rule.watch), rule.relpath(emptied.path)
        ctime_ns = _ctime_ns(tree, directory)
        if ctime_ns is None:
            self._forget(emptied)
            return
        since = emptied.since if ctime_ns == emptied.ctime_ns else now
        verdict = unused(since, self._ledger.reclaims.longest_gap(emptied.path), now)
        if not verdict.ok:
            with self._ledger.transaction():
                self._ledger.reclaims.emptied_again(emptied, ctime_ns, since, verdict.again_at or now + _AGAIN)
            return
        above = emptied.path.rpartition("/")[0]
        if self._remove(tree, directory, directory) and self._ledger.reclaims.held_files(above):
            ctime_ns = _ctime_ns(tree, rule.relpath(above)) if rule.relpath(above) else None
            with self._ledger.transaction():
                if ctime_ns is not None:  # it had files, too, and may be empty now
                    self._ledger.reclaims.emptied(
                        rule.name, above, ctime_ns, now, unused(now, 0.0, now).again_at or now
                    )
        self._forget(emptied)

    def _remove(self, tree: Tree, directory: str, last: str) -> bool:
        """Remove a directory, and those above it up to `last`, as far as they are empty. Returns whether it was removed."""
        done = False
        while directory and (directory == last or directory.startswith(last + "/")):
            path = f"{tree.root.rstrip('/')}/{directory}"
            if any(rule.watch == path or rule.watch.startswith(path + "/") for rule in self._rules.values()):
                break
            try:
                tree.remove_directory(directory)
            except Trouble:
                break  # not empty, or in use
            log.info("%s was empty, and is removed", path)
            done, directory = True, directory.rpartition("/")[0]
        return done

    def _postpone(self, emptied: Emptied, again: float) -> None:
        with self._ledger.transaction():
            self._ledger.reclaims.emptied_again(emptied, emptied.ctime_ns, emptied.since, again)

    def _forget(self, emptied: Emptied) -> None:
        with self._ledger.transaction():
            self._ledger.reclaims.not_emptied(emptied)


def _ctime_ns(tree: Tree, directory: str) -> int | None:
    """When a directory was changed last, by its file system; None: none is there. Raises Trouble where that cannot be told."""
    seen = tree.look(directory)
    if isinstance(seen, CannotTell):
        raise seen.trouble
    return seen.version.ctime_ns if isinstance(seen, Observation) and seen.kind is Kind.DIRECTORY else None
