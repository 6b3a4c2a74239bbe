"""Verified → reclaimed: removing local copies that every required destination has proved to hold.

`decisions` says what may go and why, `removal` carries it out, `record` keeps it for people.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from agent.files import Files
from agent.host.bulkhead import Bulkhead, Failure
from agent.host.record import Record
from agent.ledger import File, Intent, Ledger
from agent.reclaim.aside import aside_for
from agent.reclaim.decisions import LATER, Confirm, Decision, Decisions, Required
from agent.reclaim.empty_dirs import EmptyDirs
from agent.reclaim.removal import Removal
from rules.rule import Rule

_BATCHES_A_PASS = 50
_FRESH = 10.0
"""Seconds from its start in which `run --once` still waits for what comes."""

log = logging.getLogger(__name__)


class Reclaimer:
    """Decides about verified files and removes those that may go."""

    def __init__(
        self, ledger: Ledger, files: Files, rules: Sequence[Rule], required: Mapping[str, Required], record: Record,
        free: Callable[[str], float | None] | None = None,
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            files: where the local copies are.
            rules: in the order of the configuration.
            required: every configured destination by its name.
            record: where deletions are recorded.
            free: the fraction of free space at a path, None when unknown; by default as `files` tells.
        """
        self._ledger = ledger
        self._files = files
        self._rules = {rule.name: rule for rule in rules}
        self._decisions = Decisions(ledger, files, rules, required)
        self._record = record
        self._lie_until: float | None = None
        self._not_before: dict[int, float] = {}
        """Batches of which something stayed though space was short → when they are thought of again."""
        self._empty_dirs = EmptyDirs(ledger, files, self._rules)
        self._removal = Removal(ledger, files, self._rules, self._decisions, record, self._empty_dirs)
        self._free = free or self._fraction
        self._intents = Bulkhead[Intent]("removal of", lambda intent: intent.file.path)
        self._of_rules = Bulkhead[Rule]("reclaim of rule", lambda rule: rule.name)
        self._batches = Bulkhead[tuple[Rule, int]]("reclaim of batch", lambda one: f"{one[1]} of rule {one[0].name}")
        self._decided = Bulkhead[Decision]("reclaim of", lambda one: one.file.path)
        self._wrong = Bulkhead[Decision]("reclaim of", lambda one: one.file.path, ledger.savepoint)
        self._intended = Bulkhead[Intent]("reclaim of", lambda intent: intent.file.path, ledger.savepoint)

    def start(self, now: float) -> None:
        """Before the first pass: the policy may have changed since the last run, so think of every batch again.

        What a former run saw says nothing of how long files lie unmoved in this one. Raises Transient.
        """
        self._decisions.begun = now
        self._record.mend()
        with self._ledger.transaction():
            self._ledger.reclaims.reconsider()
        for one in self._intents.each(self._ledger.reclaims.unfinished()):
            with one as intent:
                self._removal.resume(intent, now)

    def step(self, now: float) -> float | None:
        """One whole pass. Returns when the next is due."""
        if self._ledger.pauses.hold("reclaim"):
            self._lie_until = None
            return None
        if self._lie_until is not None and self._lie_until <= now:
            self._lie_until = None
        due: list[float | None] = []
        self._finish(self._ledger.reclaims.intents(now, 1000), now)
        for one in self._of_rules.each(self._rules.values(), now):
            with one as rule:
                if rule.reclaim is None:
                    continue
                if rule.reclaim.when_free_below is not None:
                    self._make_room(rule, rule.reclaim.when_free_below, now)
                for batch in self._ledger.reclaims.due_batches(rule.name, now, _BATCHES_A_PASS):
                    self._batch(rule, batch, None, now)
                due.append(self._ledger.reclaims.next_due(rule.name))
        due += [self._ledger.reclaims.next_purge(), self._empty_dirs.step(now)]
        return min((at for at in due if at is not None), default=None)

    @property
    def lie_until(self) -> float | None:
        """When files may go that the last pass kept only because they have not lain unmoved for long enough.

        None: there is none, or none whose time began within seconds of this run.
        """
        longest = max((rule.reclaim.min_age for rule in self._rules.values() if rule.reclaim is not None), default=0.0)
        late = self._lie_until is not None and self._lie_until > self._decisions.begun + longest + _FRESH
        return None if late else self._lie_until

    def plan(self, now: float) -> Iterator[Decision]:
        """Every verified file of every rule with the verdict about it; nothing is changed."""
        for one in self._of_rules.each(self._rules.values()):
            with one as rule:
                for each in self._batches.each((rule, batch) for batch in self._ledger.reclaims.batches(rule.name)):
                    with each as (_, batch):
                        free = self._free(rule.watch) if rule.reclaim and rule.reclaim.when_free_below else None
                        yield from self._decisions.of(rule, batch, free, now)

    def _make_room(self, rule: Rule, below: float, now: float) -> None:
        """Space is short: the trash goes first, then the oldest verified batches, until there is enough."""
        for intent in self._ledger.reclaims.trashed(rule.name):
            if not self._short(rule, below):
                return
            log.warning("%s: space is short, so it leaves the trash early", intent.file.path)
            self._finish([intent], now)
        self._not_before = {batch: again for batch, again in self._not_before.items() if again > now}
        for batch in self._ledger.reclaims.batches(rule.name):
            free = self._free(rule.watch)
            if free is None or free >= below:
                return
            if batch not in self._not_before:
                self._batch(rule, batch, free, now)

    def _finish(self, intents: Sequence[Intent], now: float) -> None:
        for one in self._intents.each(
            intents, now, lambda intent, failure: self._removal.stays(intent, failure.reason, failure.again)
        ):
            with one as intent:
                self._removal.finish([intent], now)

    def _fraction(self, path: str) -> float | None:
        space = self._files.space(path)
        return None if space is None else space.fraction

    def _short(self, rule: Rule, below: float) -> bool:
        free = self._free(rule.watch)
        return free is not None and free < below

    def _batch(self, rule: Rule, batch: int, free: float | None, now: float) -> None:
        """Reclaim what may go of one batch; note when to think of the rest."""
        for one in self._batches.each([(rule, batch)], now, lambda _, failure: self._postpone(batch, failure)):
            with one:
                self._reclaim(rule, batch, free, now)

    def _postpone(self, batch: int, failure: Failure) -> None:
        with self._ledger.transaction():
            self._ledger.reclaims.later(batch, failure.again)

    def _reclaim(self, rule: Rule, batch: int, free: float | None, now: float) -> None:
        again: list[float] = []
        intents: list[Intent] = []
        disproved: list[Decision] = []
        compared: list[File] = []
        stayed: list[tuple[File, str | None]] = []
        changed: list[Decision] = []
        decisions = self._decisions.of(rule, batch, free, now)
        for one in self._decided.each(decisions, now, lambda _, failure: again.append(failure.again)):
            with one as decision:
                if decision.compared:
                    compared.append(decision.file)
                if decision.changed:
                    changed.append(decision)
                elif decision.verdict.ok:
                    intents.append(self._intent(rule, decision.file, decision.verdict.reason, now, free))
                elif decision.disproved_at is not None:
                    disproved.append(decision)
                else:
                    again.append(decision.verdict.again_at or now + LATER)
                    stayed.append((decision.file, decision.verdict.reason if decision.by_person else None))
                    if decision.lies_until is not None:
                        self._lie_until = min(decision.lies_until, self._lie_until or decision.lies_until)
        written: list[Intent] = []
        for name in self._decisions.gone_at_once:
            self._ledger.scrubs.gone(name)
        self._decisions.gone_at_once.clear()

        def write(some: Sequence[Intent]) -> None:
            self._ledger.reclaims.intended(some)
            written.extend(some)

        with self._ledger.transaction():
            self._ledger.files.compared(compared)
            self._ledger.reclaims.stayed(stayed)
            for one in self._wrong.each(disproved, now, lambda _, failure: again.append(failure.again)):
                with one as decision:
                    self._disproved(decision)
            for one in self._wrong.each(changed, now, lambda _, failure: again.append(failure.again)):
                with one as decision:
                    log.warning("%s: %s", decision.file.path, decision.verdict.reason)
                    self._ledger.files.put_back([(decision.file, decision.verdict.reason)], now)
            # Asking takes long: evidence that was withdrawn in that time took the file out of its batch.
            still = {file.id for file in self._ledger.reclaims.verified(batch)}
            self._intended.together(
                [intent for intent in intents if intent.file.id in still], write, now,
                lambda _, failure: again.append(failure.again),
            )  # fmt: skip
            self._ledger.reclaims.later(batch, min(again, default=None))
        if free is not None and again:
            self._not_before[batch] = min(again)
        self._removal.carry_out(written, now)

    def _disproved(self, decision: Decision) -> None:
        """The copy is not what was proved: say so loudly, and keep the file. Inside a transaction."""
        file, reason = decision.file, decision.verdict.reason
        assert decision.disproved_at is not None, "asked before"
        log.error("%s: %s; the local file is kept", file.path, reason)
        hint = "the local file is kept; look at the destination, then `dropline retry` delivers it again"
        self._ledger.deliveries.disproved(file, decision.disproved_at)
        self._ledger.files.refused([(file.id, file.rule, file.path, f"{reason}; {hint}")])

    def _intent(self, rule: Rule, file: File, reason: str, now: float, free: float | None) -> Intent:
        with self._files.tree(rule.watch) as tree:
            aside, window = aside_for(tree, rule, file, free)
        return Intent(file, rule.watch, rule.relpath(file.path), aside, now + window, reason)


__all__ = ["Confirm", "Decision", "Reclaimer", "Record", "Required"]
