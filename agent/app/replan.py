"""Makes what is planned for known files follow the configuration, at each start and reload."""

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from agent.host.bulkhead import LONGEST_WAIT, Bulkhead
from agent.intake.paths import PathRenderer
from agent.ledger import CAME_LATER, UNFINISHED, DeliveryState, File, Group, Ledger, State
from rules.config.replan import At, Plan, Planned, Stage, What, heir, line_for, replan, unwanted
from rules.config.settings import Configuration
from rules.model import SENT
from rules.rule import Rule
from rules.versions.age import newest_ns

_FILES_A_PASS = 2_000
_STAGES = {
    State.CANDIDATE: Stage.WAITING,
    State.COMPLETE: Stage.WAITING,
    State.BATCHED: Stage.TRAVELLING,
    State.VERIFIED: Stage.DELIVERED,
    State.RECLAIMING: Stage.DELIVERED,
    State.RECLAIMED: Stage.GONE,
    State.REMOVED: Stage.GONE,
    State.REFUSED: Stage.REFUSED,
    State.IGNORED: Stage.IGNORED,
}
_LATER = {At.SKIPPED: DeliveryState.SKIPPED, At.UNDECIDED: DeliveryState.UNDECIDED}

log = logging.getLogger(__name__)


class Replan:
    """Carries out what `rules.config.replan` decides: first for what is on its way, then, bit by bit, for what was delivered."""

    def __init__(
        self, ledger: Ledger, rules: Sequence[Rule], places: Mapping[str, int], host: str,
        enqueue: Callable[[int, float], object],
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: intake's connection.
            rules: in the order of the configuration.
            places: name of each configured destination -> its number.
            host: this computer's name, for templates.
            enqueue: called for each batch that is verified because a destination left, in the transaction.
        """
        self._ledger = ledger
        self._rules = rules
        self._places = places
        self._names = {number: name for name, number in places.items()}
        self._enqueue = enqueue
        self._paths = PathRenderer(ledger, rules, places, host)
        self._plan = hashlib.sha256(
            repr(
                [
                    (
                        one.name,
                        one.watch,
                        one.include,
                        one.exclude,
                        one.skip_partial,
                        one.dataset,
                        one.deliver,
                        one.newer_than,
                    )
                    for one in rules
                ]
            ).encode("utf-8", "surrogateescape")
            + repr(sorted(places.items())).encode()
        ).hexdigest()
        self._aged = {rule.name: rule for rule in rules if rule.newer_than is not None}
        self._after: int | None = None
        """The last batch that was looked at of those that were delivered; None: all were."""
        self._behind: dict[tuple[str, int], list[int]] = {}
        """(rule, destination) -> files that are not there: [undecided, gone from here]."""
        self._changes: dict[str, int] = {}
        self._again_at: float | None = None
        """When all is looked at again, since something of it could not be replanned."""
        self._deciding = Bulkhead[File]("replanning of", lambda file: file.path)
        self._applying = Bulkhead[tuple[File, Plan]]("replanning of", lambda one: one[0].path, ledger.savepoint)
        self._batches = Bulkhead[Group](
            "replanning of batch", lambda one: f"{one.id} of rule {one.rule}", ledger.savepoint
        )

    def start(self, now: float) -> None:
        """Before the other parts: what is on its way follows the configuration."""
        plans = self._ledger.plans
        changed = plans.made_for() != self._plan
        if changed or plans.behind() or plans.under_change():
            with self._ledger.transaction():
                plans.replanning()
            self._after = 0
        self._begin(now, changed=changed)

    def _begin(self, now: float, *, changed: bool) -> None:
        if changed:
            self._undelivered(now)
        self._under_way(now)
        self._say()

    def step(self, now: float) -> bool:
        """A part of what was delivered, and what waits for a destination that is gone. Returns whether there is more."""
        if self._ledger.plans.waits_at_others(self._places.values()):
            self._under_way(now)
        if self._again_at is not None and self._after is None and self._again_at <= now:
            self._again_at, self._after = None, 0
            self._behind.clear()
            self._begin(now, changed=True)
        if self._after is None:
            return False
        before = {key: [*counts] for key, counts in self._behind.items()}
        try:
            with self._ledger.transaction():
                found = self._ledger.plans.sealed(self._after, _FILES_A_PASS, ended=True)
                self._replan(found, now)
                if not found and self._again_at is None:
                    self._ledger.plans.followed(self._plan, self._behind)
        except BaseException:
            self._behind = before  # what was noted is undone, too
            raise
        self._after = found[-1].id if found else None
        if self._after is None:
            self._say()
        return self._after is not None

    def _undelivered(self, now: float) -> None:
        """Candidates, complete, refused and ignored files."""
        after = 0
        while True:
            with self._ledger.transaction():
                files = self._ledger.plans.undelivered(after, _FILES_A_PASS)
                self._apply(
                    self._decided(
                        files, lambda file: self._decide(file, file.rule, newest_ns=self._newest_ns(file)), now
                    ),
                    now,
                )
            if not files:
                break
            after = files[-1].id
        with self._ledger.transaction():
            self._ledger.plans.closed({rule.name for rule in self._rules}, now)

    def _under_way(self, now: float) -> None:
        """Sealed batches with a delivery that has not ended."""
        after: int | None = 0
        while after is not None:
            with self._ledger.transaction():
                found = self._ledger.plans.sealed(after, _FILES_A_PASS, ended=False)
                self._replan(found, now)
            after = found[-1].id if found else None

    def _replan(self, batches: Sequence[Group], now: float) -> None:
        """Inside a transaction."""
        for one in self._batches.each(batches, now, lambda *_: self._later(now)):
            behind, changes = {key: [*counts] for key, counts in self._behind.items()}, self._changes.copy()
            with one as batch:
                try:
                    self._batch(batch, now)
                except BaseException:
                    self._behind, self._changes = behind, changes  # what was noted is undone, too
                    raise

    def _later(self, now: float) -> None:
        """Something could not be replanned: the plan is not followed yet."""
        self._again_at = now + LONGEST_WAIT

    def _decided(self, files: Sequence[File], decide: Callable[[File], Plan], now: float) -> list[tuple[File, Plan]]:
        """Of each file what becomes of it; a file for which that cannot be decided stays as it is."""
        found: list[tuple[File, Plan]] = []
        for one in self._deciding.each(files, now, lambda *_: self._later(now)):
            with one as file:
                found.append((file, decide(file)))
        return found

    def _decide(
        self, file: File, rule: str, planned: Sequence[str] = (), proved: Sequence[str] = (), later: Sequence[str] = (),
        newest_ns: int | None = None,
    ) -> Plan:  # fmt: skip
        return replan(self._rules, Planned(file.path, rule, _STAGES[file.state], planned, proved, later, newest_ns))

    def _newest_ns(self, file: File) -> int | None:
        """The newest time of a file, or of its dataset; None: it came after the first sweep."""
        rule = self._aged.get(file.rule)
        swept_at = None if rule is None else self._ledger.files.first_sweep(file.rule, rule.watch)
        first_sweep = math.inf if swept_at is None else swept_at
        if (rule is None and file.state is not State.IGNORED) or file.seen_at > first_sweep:
            return None
        if file.dataset is not None:
            return self._ledger.datasets.newest_ns(file.dataset, first_sweep)
        return file.version.mtime_ns if file.restamped else newest_ns(file.version)

    def _apply(self, items: Sequence[tuple[File, Plan]], now: float) -> None:
        """What becomes of files themselves. Inside a transaction."""
        self._applying.together(items, lambda some: self._write(some, now), now, lambda *_: self._later(now))

    def _write(self, items: Sequence[tuple[File, Plan]], now: float) -> None:
        files = self._ledger.files
        again = [(file, plan) for file, plan in items if plan.what is What.AGAIN]
        files.put_back(((file._replace(rule=plan.rule, dataset=None), plan.reason) for file, plan in again), now)
        ended = {
            what: [(file.id, file.rule, file.path, plan.reason) for file, plan in items if plan.what is what]
            for what in (What.LEFT, What.REFUSED, What.IGNORED)
        }
        files.vanished(ended[What.LEFT], now)
        files.refused(ended[What.REFUSED])
        files.ignored(ended[What.IGNORED])
        self._ledger.plans.reassigned(
            (file.id, plan.rule) for file, plan in items if plan.what is What.STAYS and plan.rule != file.rule
        )
        for file, plan in items:
            if plan.what is not What.STAYS:
                self._count(
                    f"rule {file.rule}: {plan.what.value}" + f", of rule {plan.rule}" * (plan.what is What.AGAIN)
                )

    def _batch(self, batch: Group, now: float) -> None:
        """Inside a transaction."""
        plans = self._ledger.plans
        if batch.rule == SENT:
            reason = "its destination is not configured any more; configure it again, then `dropline retry`, or send it elsewhere"
            plans.stranded(batch.id, self._names, reason, now)
            return
        files = plans.members(batch.id)
        rule = heir(self._rules, batch.rule, [file.path for file in files])
        if rule != batch.rule:
            plans.inherited(batch, rule)
            self._count(f"rule {batch.rule}: its batch belongs to rule {rule} now")
        states, proved = plans.deliveries(batch.id), plans.proved(batch.id)
        planned = [self._name(place) for place, state in states.items() if state not in CAME_LATER]
        later = [self._name(place) for place, state in states.items() if state in CAME_LATER]
        begun = any(state is not DeliveryState.PENDING for state in states.values())
        items = self._decided(
            files,
            lambda file: self._decide(
                file,
                rule,
                planned,
                [self._name(place) for place in proved.get(file.id, ())],
                later,
                newest_ns=None if begun else self._newest_ns(file),
            ),
            now,
        )
        self._apply(items, now)
        on_their_way = [item for item in items if item[0].state is State.BATCHED]
        self._on_their_way(Group(batch.id, rule), states, on_their_way, now)
        self._paths.render(batch.id, rule)
        self._delivered(batch.id, rule, items, now)

    def _name(self, place: int) -> str:
        """No destination has the name of one that is not configured any more."""
        return self._names.get(place, f"#{place}")

    def _on_their_way(
        self, batch: Group, states: Mapping[int, DeliveryState], items: Sequence[tuple[File, Plan]], now: float
    ) -> None:
        plans = self._ledger.plans
        at = {(to, what) for _, plan in items if plan.what is What.STAYS for to, what in plan.at.items()}
        begins = sorted(to for to, what in at if what is At.BEGINS)
        if begins:
            plans.begun(batch.id, (self._places[to] for to in begins), now)
            self._count(f"batches of rule {batch.rule} that go to {', '.join(begins)}, too")
        for to, what in at:
            if what in _LATER:
                plans.left_as_is(batch.id, {self._places[to]: (_LATER[what], self._why(to, what))}, now)
        waiting = {self._name(one): one for one, state in states.items() if state in UNFINISHED}
        drops = [waiting[to] for to in unwanted(self._rules, batch.rule, waiting)]
        if drops:
            for verified in plans.dropped(batch.id, drops, At.DROPPED.value, now):
                self._enqueue(verified, now)
            self._count(f"batches of rule {batch.rule} that wait no more for a destination which the rule has not")

    def _delivered(self, batch: int, rule: str, items: Sequence[tuple[File, Plan]], now: float) -> None:
        """What was delivered before a destination came, and what another rule claims now."""
        here: dict[tuple[str, tuple[tuple[str, str], ...]], list[File]] = {}
        for file, plan in items:
            for to, at in plan.at.items() if plan.what is What.STAYS else ():
                gone = at is At.FETCHED and not self._ledger.plans.has_copy(file, self._places[to])
                if gone or at is At.UNDECIDED:
                    self._note(plan.rule, to, int(gone))
            if file.state in (State.VERIFIED, State.RECLAIMING):
                here.setdefault((plan.rule, tuple(sorted((to, at.value) for to, at in plan.at.items()))), []).append(
                    file
                )
        travelling = any(file.state is State.BATCHED for file, _ in items)
        for (owner, later_at), files in here.items():
            place, each = batch, [(to, At(what)) for to, what in later_at]
            later = {self._places[to]: (_LATER[what], self._why(to, what)) for to, what in each if what in _LATER}
            if owner != rule or (later and travelling) or (len(here) > 1 and later):
                place = self._ledger.plans.split(batch, owner, files, now)
            if not travelling or place != batch:
                self._ledger.plans.left_as_is(place, later, now)
            begins = [self._places[to] for to, what in each if what is At.BEGINS]
            verified = [file for file in files if file.state is State.VERIFIED]
            if begins and verified:
                self._again(begins, verified, owner, later, now)

    def _again(
        self, places: Sequence[int], files: Sequence[File], rule: str,
        later: Mapping[int, tuple[DeliveryState, str]], now: float,
    ) -> None:  # fmt: skip
        batch = self._ledger.batches.sealed_again(
            places, [file._replace(rule=rule) for file in files], "backfill: its destination came later", now
        )
        self._paths.render(batch, rule)
        self._ledger.plans.left_as_is(batch, later, now)
        self._count(f"files of rule {rule} that go to {', '.join(self._name(one) for one in places)}, too", len(files))

    def _note(self, rule: str, to: str, which: int) -> None:
        self._behind.setdefault((rule, self._places[to]), [0, 0])[which] += 1

    @staticmethod
    def _why(to: str, what: At) -> str:
        return f"{what.value}; {line_for(to)}" if what is At.UNDECIDED else what.value

    def _count(self, what: str, by: int = 1) -> None:
        self._changes[what] = self._changes.get(what, 0) + by

    def _say(self) -> None:
        """Log what changed: a line each, however many files it is about."""
        for what, count in self._changes.items():
            log.warning("the configuration changed: %s (%d)", what, count)
        self._changes.clear()
        if self._after is None:
            for one in self._ledger.plans.behind():
                if one.undecided:
                    log.warning(
                        "rule %s: %d files are not at %s; %s",
                        one.rule,
                        one.undecided,
                        one.destination,
                        line_for(one.destination),
                    )


def preview(ledger: Ledger, config: Configuration) -> Iterator[str]:
    """What this configuration changes for files that the ledger knows, before it is taken."""
    addresses = {name: table.address for name, table in config.settings.destinations.items()}
    for rule in config.rules:
        for target in rule.deliver:
            count = ledger.plans.later(rule.name, addresses[target.to])
            if count:
                does = {
                    None: f"they stay here; {line_for(target.to)}",
                    True: "those that are still here go there, too",
                    False: "they need not go there, and may be reclaimed",
                }
                yield f"rule {rule.name}: {count:,} files were delivered before {target.to} came: {does[target.backfill]}"
    for name, address, count in ledger.plans.waiting():
        if address not in addresses.values():
            yield f"{count:,} deliveries wait for {name} ({address}), which is not configured any more: they are dropped"
    undelivered: dict[str, int] = {}
    for rule_name, state, count, _ in ledger.reports.tally():
        if state in ("candidate", "complete", "batched") and rule_name != SENT:
            undelivered[rule_name] = undelivered.get(rule_name, 0) + count
    for rule_name, count in undelivered.items():
        if all(rule.name != rule_name for rule in config.rules):
            yield f"{count:,} files of rule {rule_name}, which is gone, are not delivered: the rules that claim them take them"
