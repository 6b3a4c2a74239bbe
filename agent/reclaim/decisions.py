"""What is to become of verified files: the policy, the destinations asked again, and the local copy as it is now."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.errors import Transient
from agent.files import CannotTell, Files, Trouble
from agent.files.reader import CHECKSUMS, Examined, NotTheVersion, Sources, Unreadable, examine
from agent.host.bulkhead import Bulkhead
from agent.host.heartbeat import Heartbeat
from agent.ledger import File, Ledger
from agent.reclaim.aside import aside_for
from rules.globus.collection import joined
from rules.links import leads_out_in_words, not_copied_in_words
from rules.match import match
from rules.model import Content, CopyId, Evidence, Kind, Observation, Verdict, Version, Writer
from rules.retention import TAKEN_AT_MOST, TAKEN_WITHIN, retention, taken_at_once, unmoved
from rules.rule import Rule
from rules.versions.copies import Confirmed, LocalFile, distinct
from rules.versions.volumes import unchanged

_NOWHERE = "no destination that it was delivered to is one of the rule that claims it now"
LATER = 60.0
"""Seconds until a batch that could not be reclaimed is thought of again."""

Confirm = Callable[[str, Version, bytes, str, str, LocalFile | None, str | None], Confirmed]
"""As `agent.destinations.Transport.confirm`."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Required:
    """A destination as reclaim needs it: where it is, and how to ask it."""

    address: str
    ask: Confirm
    doubt: Callable[[], str | None] = lambda: None
    """Why its proof does not count, as things are now; None: it does."""
    is_service: bool = False
    """A service has it, which says where that is."""
    consumed: bool = False
    """Files are taken away there after their arrival: a copy that is gone was proved all the same."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a verified file."""

    file: File
    verdict: Verdict
    disproved_at: str | None = None
    """The destination which, asked again, has not got what it was proved to have."""
    lies_until: float | None = None
    """Set where it may go then, and only stays because it has not lain unmoved for long enough."""
    compared: bool = False
    """Its content was read, and is what was proved: that need not be done again."""
    by_person: bool = False
    """It should go, and stays until a person acts."""
    changed: bool = False
    """Its content is not what was proved, or that cannot be told: it is to be delivered again."""


class Decisions:
    """Decides about verified files, and changes nothing."""

    def __init__(self, ledger: Ledger, files: Files, rules: Sequence[Rule], required: Mapping[str, Required]) -> None:
        """
        Args:
            ledger: this thread's connection.
            files: where the local copies are.
            rules: in the order of the configuration.
            required: every configured destination by its name.
        """
        self._ledger = ledger
        self._files = files
        self._rules = rules
        self._required = required
        self._alone = Bulkhead[File]("verified file", lambda file: file.path)
        self.begun = -math.inf
        """When this run of the agent began."""
        self._gone: dict[str, tuple[float, int]] = {}
        """Destination → when copies were first found gone in the last hour, and how many since."""
        self._kept_in: set[str] = set()
        """Directories from which the agent's user may not remove files, as the log says once."""
        self.gone_at_once: set[str] = set()
        """Destinations at which more are gone than anybody takes: a person must say that they were taken."""

    def of(self, rule: Rule, batch: int, free: float | None, now: float) -> Iterator[Decision]:
        """What is to become of each file of a batch; those of a dataset go together, or stay together."""
        files = self._ledger.reclaims.verified(batch)
        if not rule.whole:
            yield from self._each(self._decide, rule, files, free, now)
            return
        datasets: dict[int | None, list[File]] = {}
        for file in files:
            datasets.setdefault(file.dataset, []).append(file)
        for number, together in datasets.items():
            yield from self._together(rule, number, together, free, now)

    def evidence(self, rule: Rule, file: File) -> list[tuple[Evidence, str]]:
        """Evidence from the required destinations as they are configured now, with the path there."""
        return self._evidence(file, self._destinations(rule, file))

    def _evidence(self, file: File, required: Sequence[str]) -> list[tuple[Evidence, str]]:
        return [
            (item, path)
            for item, address, path in self._ledger.deliveries.evidence(file.id)
            if item.destination in required and self._required[item.destination].address == address
        ]

    def unproved(self, rule: Rule, file: File, evidence: Sequence[tuple[Evidence, str]]) -> str | None:
        """Where evidence is missing by now: it may have been withdrawn; None: nowhere."""
        required = self._destinations(rule, file)
        if not required:
            return _NOWHERE
        missing = set(required) - {item.destination for item, _ in evidence}
        if missing:
            return f"not proved at {', '.join(sorted(missing))}"
        return next(iter(self._doubts(required).values()), None)

    def _destinations(self, rule: Rule, file: File) -> list[str]:
        """Those of the rule's destinations that must have the file; none where another rule claims it by now, or none."""
        if match(self._rules, file.path).rule != rule:
            return []
        free = {target.to for target in rule.deliver if target.backfill is False}
        if free:
            skipped = self._ledger.plans.skipped(file.batch)
            free = {name for name in free if (name, self._required[name].address) in skipped}
        return [target.to for target in rule.deliver if target.to not in free]

    def _doubts(self, required: Sequence[str]) -> dict[str, str]:
        """Destinations whose proof does not count now, with the reason."""
        found = {name: self._required[name].doubt() or self._ledger.scrubs.gone_at_once(name) for name in required}
        return {name: reason for name, reason in found.items() if reason is not None}

    def wrong(self, file: File, evidence: Sequence[tuple[Evidence, str]]) -> str | None:
        """Why the file may not go, asked again at every required destination; None: it may. Raises Transient."""
        copies: dict[str, CopyId | None] = {}
        for item, path in evidence:
            found = self._ask(file, item, path)
            if not found.ok:
                return found.reason
            copies[item.destination] = found.copy
        verdict = self._distinct(copies, evidence)
        return None if verdict.ok else verdict.reason

    def _each(
        self, decide: Callable[[Rule, File, float | None, float], Decision], rule: Rule, files: Sequence[File],
        free: float | None, now: float,
    ) -> Iterator[Decision]:  # fmt: skip
        """One decision after the other; a file without a decision stays."""
        found: list[Decision] = []
        for one in self._alone.each(
            files, now,
            lambda file, failure: found.append(Decision(file, Verdict(False, failure.reason, failure.again))),
        ):  # fmt: skip
            with one as file:
                found.append(decide(rule, file, free, now))
            yield from found
            found.clear()
        yield from found

    def _together(
        self, rule: Rule, dataset: int | None, files: Sequence[File], free: float | None, now: float
    ) -> Iterator[Decision]:
        left = self._ledger.datasets.on_its_way(dataset) if dataset is not None else 0
        if left:
            stays = Verdict(False, f"{left} files of its dataset are not proved yet", now + LATER)
            yield from (Decision(file, stays) for file in files)
            return
        if rule.links is None and dataset is not None and self._ledger.links.outside_of(dataset):
            stays = Verdict(False, leads_out_in_words(rule.name), now + LATER)
            yield from (Decision(file, stays) for file in files)
            return
        if rule.links == "copy" and dataset is not None:
            places = [(target.to, self._required[target.to].address) for target in rule.deliver]
            links = max(self._ledger.links.not_copied(dataset, *place) for place in places)
            if links:
                stays = Verdict(False, not_copied_in_words(links), now + LATER)
                yield from (Decision(file, stays) for file in files)
                return
        markers = self._ledger.reclaims.markers(dataset) if dataset is not None else []
        last = files[0] in markers
        # What costs little comes first: asking the destinations may mean that they read all the copies.
        ready = self._each(self._ready, rule, files if last else [*files, *markers], free, now)
        stay = next((one for one in ready if not one.verdict.ok), None)
        if stay is not None:
            yield from (replace(stay, file=file) for file in files)
            return
        if last and dataset is not None and self._ledger.reclaims.data_is_here(dataset):
            after = Verdict(False, "it goes after the other files of its dataset", now + LATER)
            yield from (Decision(file, after) for file in files)
            return
        decisions = list(self._each(self._decide, rule, files if last else [*files, *markers], free, now))
        bad = next((each for each in decisions if not each.verdict.ok), None)
        for each in decisions[: len(files)]:  # the markers are decided about with their own batch
            if bad is None or not each.verdict.ok:
                yield each
            else:
                reason = f"its dataset stays together: {bad.file.path}: {bad.verdict.reason}"
                yield replace(each, verdict=Verdict(False, reason, now + LATER))

    def _ready(self, rule: Rule, file: File, free: float | None, now: float) -> Decision:
        """The policy and the local file, without asking the destinations."""
        return self._due(rule, file, free, now)[0]

    def _due(
        self, rule: Rule, file: File, free: float | None, now: float
    ) -> tuple[Decision, Sequence[tuple[Evidence, str]]]:
        """The policy and the local file, without asking the destinations; and the evidence for it."""
        required = self._destinations(rule, file)
        evidence = self._evidence(file, required)
        due = self._by_policy(rule, file, required, [item for item, _ in evidence], free, now)
        if due.verdict.ok and not (local := self._untouched(rule, file)).ok:
            due = Decision(file, local)
        if due.verdict.ok and (denied := self._denied(rule, file, free)) is not None:
            due = Decision(file, Verdict(False, denied), by_person=True)
        return due, evidence

    def _by_policy(
        self,
        rule: Rule,
        file: File,
        required: Sequence[str],
        evidence: Sequence[Evidence],
        free: float | None,
        now: float,
    ) -> Decision:
        if rule.reclaim is not None and not required:
            return Decision(file, Verdict(False, _NOWHERE))
        verdict = retention(rule.reclaim, required, file.version.size, evidence, free, now, self._doubts(required))
        if not verdict.ok or rule.reclaim is None:
            return Decision(file, verdict)
        # What a former run saw, by a clock that may have been ahead, says nothing.
        lies = unmoved(rule.reclaim, file.since if self.begun <= file.since <= now else self.begun, now)
        return Decision(file, verdict) if lies.ok else Decision(file, lies, lies_until=lies.again_at)

    def _decide(self, rule: Rule, file: File, free: float | None, now: float) -> Decision:
        """The policy and the local file, then the destinations asked again, which may read all of a copy, then the local file."""
        due, evidence = self._due(rule, file, free, now)
        if not due.verdict.ok:
            return due
        copies: dict[str, CopyId | None] = {}
        try:
            for item, path in evidence:
                there = self._ask(file, item, path)
                if not there.ok:
                    return Decision(file, Verdict(False, there.reason), disproved_at=item.destination)
                copies[item.destination] = there.copy
        except Transient as error:
            return Decision(file, Verdict(False, f"cannot be asked: {error}", now + LATER))
        apart = self._distinct(copies, evidence)
        if not apart.ok:
            return Decision(file, Verdict(False, apart.reason, now + LATER))
        local = self._untouched(rule, file)
        if not local.ok:
            return Decision(file, local)
        return self._compared(rule, due, [item for item, _ in evidence]) if file.restamped else due

    def _compared(self, rule: Rule, due: Decision, evidence: Sequence[Evidence]) -> Decision:
        """The decision about a file whose ctime changed since its proof: its content is read, and compared with the evidence."""
        file = due.file
        strong = next((item for item in evidence if item.strong and item.algorithm in CHECKSUMS), None)
        if strong is None:
            reason = (
                "its ctime changed since its proof, and no checksum says whether its content did; it is delivered again"
            )
            return Decision(file, Verdict(False, reason), changed=True)
        try:
            with Sources(self._files, strong.algorithm, Heartbeat()) as sources:
                content = sources.content(rule.watch, rule.relpath(file.path), file.version)
        except NotTheVersion as error:
            return Decision(file, Verdict(False, error.reason))
        except Unreadable as error:
            return Decision(file, Verdict(False, f"its content cannot be compared: {error.trouble.reason}"))
        if content != Content(strong.checksum, file.version.size):
            reason = "its content is not what was proved, though its size and mtime are; it is delivered again"
            return Decision(file, Verdict(False, reason), changed=True)
        return replace(due, compared=True)

    def _ask(self, file: File, item: Evidence, path: str) -> Confirmed:
        required = self._required[item.destination]
        identity = self._ledger.destinations.identity(item.destination, required.address)
        if identity is None:
            return Confirmed(False, f"destination {item.destination} was never set up")
        if required.consumed and self._ledger.scrubs.taken(item.destination, required.address, file.id):
            return Confirmed(True, f"at {item.destination}, it arrived, and was taken away since")
        local = self._local(file)
        found = required.ask(path, file.version, item.checksum, item.algorithm, identity, local, item.mount)
        if not (required.consumed and found.absent):
            return found
        self._absent(item.destination)
        return Confirmed(True, f"at {item.destination}, it arrived, and was taken away since")

    def _absent(self, destination: str) -> None:
        """One more copy is gone where files are taken away. Raises Transient where that are too many at once."""
        now = time.monotonic()
        first, count = self._gone.get(destination, (now, 0))
        first, count = (first, count + 1) if now < first + TAKEN_WITHIN else (now, 1)
        self._gone[destination] = first, count
        if count > TAKEN_AT_MOST:
            self.gone_at_once.add(destination)
            raise Transient(taken_at_once(destination))

    def _local(self, file: File) -> LocalFile:
        """Which file the local one is: its file system may have got another number since it was last seen."""
        seen = self._files.look(file.path)
        volume = seen.volume if isinstance(seen, Observation) else file.volume
        return LocalFile(file.path, CopyId(volume, file.version.file_id))

    def _distinct(self, copies: Mapping[str, CopyId | None], evidence: Sequence[tuple[Evidence, str]]) -> Verdict:
        """Whether each of the destinations has its own copy."""
        identities = {
            name: self._ledger.destinations.identity(name, self._required[name].address) or "" for name in copies
        }
        paths: dict[str, str | None] = {}
        for item, path in evidence:
            required = self._required[item.destination]
            if required.is_service:
                base = self._ledger.destinations.location(item.destination, required.address)
                paths[item.destination] = None if base is None else joined(base, path)
        return distinct(copies, identities, paths)

    def _untouched(self, rule: Rule, file: File) -> Verdict:
        """Whether the local file is the version that was proved, and has no writer."""
        try:
            with self._files.tree(rule.watch) as tree:
                found = examine(tree, rule.relpath(file.path), file.version)
        except Trouble as trouble:
            found = CannotTell(trouble)
        if isinstance(found, CannotTell):
            return Verdict(False, f"the local file cannot be read: {found.reason}")
        if (
            not isinstance(found, Examined)
            or found.seen.kind is not Kind.FILE
            or not unchanged(file.version, file.volume, found.seen)
        ):
            return Verdict(False, "the local file is not the version that was proved")
        if found.writer is Writer.OPEN:
            return Verdict(False, Writer.OPEN.value)
        return Verdict(True, "unchanged, no writer")

    def _denied(self, rule: Rule, file: File, free: float | None) -> str | None:
        """Why the agent's user cannot rename the file aside, as far as can be told; None: it can."""
        relpath = rule.relpath(file.path)
        try:
            with self._files.tree(rule.watch) as tree:
                reason = tree.cannot_move_aside(relpath, aside_for(tree, rule, file, free)[0])
        except Trouble as trouble:
            reason = trouble.reason
        directory = file.path.rpartition("/")[0]
        if reason is not None and directory not in self._kept_in:
            self._kept_in.add(directory)
            log.warning("%s is kept: %s", file.path, reason)
        return reason
