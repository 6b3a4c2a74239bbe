"""Enters what was found on the disk into the ledger."""

import logging
import os
from collections.abc import Mapping, Sequence
from posixpath import dirname, join, normpath

from agent.files import ABSENT, Tree, Trouble
from agent.files.reader import adopt
from agent.intake.missing_files import MissingFiles
from agent.intake.root import Root
from agent.intake.scan import Listing
from agent.ledger import HERE, NAMED, Found, Known, Ledger, Link, State
from rules.complete import first_look
from rules.datasets.membership import dataset_of
from rules.match import Match, is_marker, leads_out, marked_by, match, relative
from rules.model import OWN_PREFIX, Kind, Observation
from rules.patterns.partial import LEFT_OVER
from rules.rule import Rule
from rules.versions.age import ignored, newest_ns
from rules.versions.identity import Adoption, restamped, stamps_alone
from rules.versions.volumes import unchanged

_FEW = 100
"""Names that the ledger is asked for one by one."""

log = logging.getLogger(__name__)


class Register:
    """What a part of a transaction found. Made inside it, and of no use after it; `flush` comes before its end."""

    def __init__(
        self, ledger: Ledger, missing_files: MissingFiles, root: Root, tree: Tree, rules: Sequence[Rule], now: float
    ) -> None:
        """`tree`: the watched directory of `root`. `rules`: those of all watched directories, for what links lead to."""
        self._ledger = ledger
        self._missing_files = missing_files
        self._root = root
        self._tree = tree
        self._rules = rules
        self.now = now
        self._fresh: list[Found] = []
        self._touched: set[int] = set()
        """Datasets that wait for what was found."""
        self._older: dict[str, dict[str, tuple[str, str]]] = {}
        """Directory → name → (rule, reason) of what is not delivered, by `newer_than`."""
        self._aged: set[int] = set()
        """Datasets of rules with `newer_than` that files were found of."""
        self._woken: set[tuple[int, str | None]] = set()
        """(rule, key; None: any) of datasets that a file may concern which their conditions look for."""
        self._beside: set[tuple[str, str, str]] = set()
        """(directory, first, beyond): names of candidates that are to be looked at now."""
        self._links: dict[str, list[Link]] = {}
        """Directory → links in it that are skipped."""
        self.found_by_sweep: dict[str, int] = {}
        self.unclaimed = 0
        self.example = ""

    def listing(self, listing: Listing, *, counted: bool) -> None:
        """What a sweep saw of a directory. `counted`: events should have announced what is new in it."""
        files, entries = self._ledger.files, listing.entries
        expected = files.entries(listing.directory, None if listing.whole else [entry[0] for entry in entries])
        other = dict(listing.seen(but=expected))
        gone: set[str] = set()
        if listing.whole:
            gone = {os.fsdecode(entry[0]) for entry in expected - entries.keys()} - other.keys()
        # By name, where that is less than the whole directory, and no more than a statement takes.
        few = not listing.whole or len(other) + len(gone) <= _FEW
        known = files.known(listing.directory, [*other, *gone] if few else None) if other or gone else {}
        known = self._mounted_again(known, other)
        for name, seen in other.items():
            item = known.get(name)
            if item is not None and item.state in NAMED and unchanged(item.version, item.volume, seen):
                continue
            path = f"{listing.directory}/{name}"
            found = self.entry(path, seen, item)
            if found is None:
                continue
            if found.rule is None:
                left_over = found.partial and self.now - seen.version.mtime_ns / 1e9 > LEFT_OVER
                if left_over or not found.excluded:
                    self.unclaimed += 1
                    self.example = f"{path}: {'left-over partial file; ' if left_over else ''}{found.reason}"
            elif counted and seen.kind is not Kind.LINK and (item is None or item.state is not State.CANDIDATE):
                self.found_by_sweep[found.rule.name] = self.found_by_sweep.get(found.rule.name, 0) + 1
        if listing.whole and (listing.directory in self._links or self._ledger.links.any()):
            self._ledger.links.found(listing.directory, self._links.pop(listing.directory, ()), whole=True)
        missing = [(f"{listing.directory}/{name}", known[name]) for name in gone if known[name].state in HERE]
        self._missing_files.all_gone(missing, listing.volume, self.now)

    def _mounted_again(self, known: dict[str, Known], seen: Mapping[str, Observation]) -> dict[str, Known]:
        """Follow file systems that have another identity since they were mounted again: one unchanged file proves it for all."""
        pairs = {
            (item.volume, seen[name].volume)
            for name, item in known.items()
            if name in seen and item.state in NAMED and unchanged(item.version, item.volume, seen[name])
        }
        now = {before: after for before, after in pairs if before != after}
        for before, after in now.items():
            self._ledger.files.mounted_again(self._root.watch.root, before, after)
        return (
            {name: item._replace(volume=now.get(item.volume, item.volume)) for name, item in known.items()}
            if now
            else known
        )

    def entry(
        self, path: str, seen: Observation, known: Known | None, *, left: bool = False, written: bool = False
    ) -> Match | None:
        """A path that is new, or not as the ledger has it. Returns which rule takes it, None for the agent's own files.

        Args:
            path: absolute.
            seen: the file there.
            known: what the ledger has of it.
            left: the name went away at some time since.
            written: an event says that a program wrote the file, or gave it the name; a mode that changes makes none.
        """
        directory, _, name = path.rpartition("/")
        if name.startswith(OWN_PREFIX):
            return None
        files, now = self._ledger.files, self.now
        taken: Adoption | None = None
        if known is not None and known.state in HERE and not unchanged(known.version, known.volume, seen):
            inside = relative(path, self._root.watch.root) or ""
            taken = adopt(self._tree, inside, known.version, known.volume, seen, left=left)
            if not taken.same_file and not taken.replaced and known.state is not State.CANDIDATE:
                known = self._missing_files.replaced(path, known, seen, now)
        for rule in self._root.rules:
            if is_marker(rule, name):
                if rule.whole:
                    self._woken.add((files.rule(rule.name), _concerned(rule, path)))
                else:
                    self._beside.add((directory, *marked_by(rule, name)))
        found = match(self._root.rules, path)
        if found.rule is None:
            return found
        if seen.kind is Kind.LINK and found.rule.links != "refuse":
            if known is not None and known.state in HERE:
                files.superseded([(known.id, known.rule, path, "a symbolic link stands in its place")], now)
            self._links.setdefault(directory, []).append(self._link(path, found.rule, seen))
            return found
        if known is not None and taken is None and known.state in HERE:
            if known.state is State.CANDIDATE:  # nothing changed since the last look, but its writer may have closed it
                self._beside.add((directory, name, name + "\0"))
            if not written or known.state is not State.VERIFIED or not files.is_restamped(known.id):
                return found  # else a sweep saw it before the event was read
        elif (
            known is not None and taken is not None and taken.same_file and known.state is State.VERIFIED and not written
            and known.rule == found.rule.name and restamped(known.version, seen.version)
        ):  # fmt: skip
            files.restamped(known.id, seen, now)
            return found
        if (
            known is not None and taken is not None and taken.same_file and known.state is State.IGNORED and not written
            and restamped(known.version, seen.version)
        ):  # fmt: skip
            files.still_ignored(known.id, seen)
            return found
        again = first_look(found.rule.complete, seen.version.ctime_ns, now)
        if (
            known is not None and taken is not None and taken.same_file and known.state is State.REFUSED
            and known.rule == found.rule.name and seen.kind is Kind.FILE
            and (restamped(known.version, seen.version)
                 or (stamps_alone(known.version, seen.version) and not files.has_evidence(known.id)))
        ):  # fmt: skip
            files.touched(known.id, seen, now, again)
            if found.rule.whole:
                self._dataset(path, found.rule)
            return found
        if known is not None and taken is not None and known.state is State.CANDIDATE and seen.kind is Kind.FILE:
            files.changed(known.id, taken, now, again)
        else:
            self._found(path, found.rule, seen, known, again, rewritten=taken is not None and taken.replaced)
        return found

    def _link(self, path: str, rule: Rule, seen: Observation) -> Link:
        """A symbolic link, which is skipped, or copied as it is written."""
        target: str | None = None
        inside = relative(path, self._root.watch.root) or ""
        try:
            target = self._tree.target(inside)
        except Trouble as trouble:
            outside: str | None = f"? ({trouble.reason})"
        else:
            to = normpath(join(dirname(path), target))
            below = relative(to, self._root.watch.root)
            there = None if below is None else self._tree.look(below)
            is_directory = isinstance(there, Observation) and there.kind is Kind.DIRECTORY
            outside = leads_out(self._rules, path, target, directory=is_directory)
            if outside is None and there is ABSENT and not self._ledger.links.delivered(to):
                outside = to  # not even a file that was deleted after its proof
        dataset = dataset_of(rule, rule.relpath(path)) if rule.whole else None
        number = self._ledger.files.rule(rule.name)
        of = None if dataset is None else self._ledger.datasets.number(number, dataset.key, self.now)
        copied = target if rule.links == "copy" else None
        return Link(path.rpartition("/")[2], number, of, outside, copied, seen.version.mtime_ns)

    def _found(
        self, path: str, rule: Rule, seen: Observation, known: Known | None, again: float, *, rewritten: bool
    ) -> None:
        files = self._ledger.files
        if known is not None and known.state in HERE:
            files.superseded([(known.id, known.rule, path, "a newer version of the file is here")], self.now)
        generation = 1 if known is None else known.generation + 1
        directory, _, name = path.rpartition("/")
        why = self._ignored(path, rule, seen)
        number = self._dataset(path, rule, waits=why is None) if rule.whole else None
        if why is not None:
            self._older.setdefault(directory, {})[name] = rule.name, why
        self._fresh.append(
            Found(files.directory(directory), path, rule.name, seen, generation, self.now, again, number, rewritten)
        )
        if seen.kind is not Kind.FILE:
            self.flush()
            number = files.known(directory, [name])[name].id
            hint = "remove it, or exclude it"
            if seen.kind is Kind.LINK:
                hint = "the file it points to travels if it is watched itself; exclude the link"
            files.refused([(number, rule.name, path, f"a {seen.kind}, not a file; {hint}")])

    def _ignored(self, path: str, rule: Rule, seen: Observation) -> str | None:
        """Why a file that the first sweep finds is not delivered; None: it is, or that sweep has ended."""
        if seen.kind is not Kind.FILE or self._ledger.files.first_sweep(rule.name, rule.watch) is not None:
            return None
        why = ignored(rule, newest_ns(seen.version))
        if why is None:
            return None
        return ignored(rule, newest_ns(seen.version, self._tree.born(relative(path, self._root.watch.root) or "")))

    def _dataset(self, path: str, rule: Rule, *, waits: bool = True) -> int | None:
        """The number of the file's dataset, which now waits for it, or not."""
        dataset = dataset_of(rule, rule.relpath(path))
        if dataset is None:
            return None
        number = self._ledger.datasets.number(self._ledger.files.rule(rule.name), dataset.key, self.now)
        if waits:
            self._touched.add(number)
        if rule.newer_than is not None:
            self._aged.add(number)
        return number

    def flush(self) -> None:
        """Enter what was found, in one statement."""
        for directory, links in self._links.items():
            self._ledger.links.found(directory, links, whole=False)
        self._links = {}
        self._ledger.links.targets_found(self._root.watch.root, [one.path for one in self._fresh])
        self._ledger.files.found(self._fresh)
        for directory, reasons in self._older.items():
            known = self._ledger.files.known(directory, list(reasons))
            self._ledger.files.ignored(
                [(known[name].id, rule, f"{directory}/{name}", why) for name, (rule, why) in reasons.items()]
            )
        self._with_newer()
        self._ledger.datasets.touched(self._touched, self.now)
        self._ledger.datasets.woken(self._woken, self.now)
        self._ledger.files.woken(self._beside, self.now)
        self._fresh, self._touched, self._woken, self._beside = [], set(), set(), set()
        self._older, self._aged = {}, set()

    def _with_newer(self) -> None:
        """A dataset is delivered as a whole, or not at all: its older files go with the newer ones."""
        for number in self._aged:
            older = self._ledger.files.ignored_of(number)
            if older:
                self._ledger.files.put_back([(file, "newer files of its dataset are here") for file in older], self.now)
                self._touched.add(number)


def _concerned(rule: Rule, path: str) -> str | None:
    """The key of the dataset that a file concerns which conditions look for; None: it may be any of the rule's."""
    if rule.complete.looks_beyond or rule.dataset is None or rule.dataset.dir is None:
        return None
    relpath = relative(path, rule.watch)
    dataset = None if relpath is None else dataset_of(rule, relpath)
    return None if dataset is None else dataset.key
