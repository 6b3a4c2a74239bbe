"""What `dropline status`, the status page and /healthz say."""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from agent.host.zone import stamp
from agent.ledger import UNPROVED, Behind, Finding, Ledger, State
from agent.observe.doubts import deletion_unseen
from agent.observe.rows import Rows, Unshown
from agent.observe.waiting import Reasons
from rules.config.replan import line_for
from rules.links import leads_out_in_words
from rules.rule import Rule
from rules.scrub import Scrub

if TYPE_CHECKING:  # of an agent that runs, which a command is not
    from agent.host.worker import Worker
    from agent.intake import Root

T = TypeVar("T")
_WAITING = 100
"""Datasets that wait which are named, longest waiting first."""
_CAME_BACK = 20
"""Files that wait longer because writers came back which are named, newest first."""
_FINDINGS = 100
"""Copies that are not what was proved which are named."""


def status(
    ledger: Ledger, rules: Sequence[Rule], destinations: Sequence[tuple[str, str]], scrubs: Mapping[str, Scrub],
    doubts: Mapping[str, str], refused: str | None = None, rows: Rows | None = None, consumed: Collection[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """The whole state as plain values.

    Args:
        ledger: a connection.
        rules: in the order of the configuration.
        destinations: (name, address) as configured; others that the ledger knows are of former configurations.
        scrubs: how much is read again, of destinations where anything is.
        doubts: destinations on whose proof nothing is deleted, though a rule reclaims, with the reason.
        refused: why the configuration file, as it is now, is not in effect.
        consumed: destinations where files are taken away after their arrival.
        rows: makes the rows; those of whoever asks again and again, so that the log names a bad one once.
    """
    makes, unshown = rows or Rows(), list[Unshown]()

    def each(what: str, items: Iterable[T], make: Callable[[T], dict[str, Any]]) -> list[dict[str, Any]]:
        return makes.of(what, items, make, lambda _, failure: unshown.append(failure))

    def waiting(state: State) -> dict[str, Any]:
        file = ledger.reports.newest(state)
        reason = f"see `dropline files --state {state.value}`" if file is None else Reasons(ledger).of(file)
        example = "a file that was found long ago" if file is None else file.path
        return {"state": state.value, "files": files[state.value], "example": example, "reason": reason}

    files: dict[str, int] = {}
    size: dict[str, int] = {}
    of_rules: dict[str, dict[str, int]] = {}
    for rule, state, count, held in ledger.reports.tally():
        files[state] = files.get(state, 0) + count
        size[state] = size.get(state, 0) + held
        of_rules.setdefault(rule, {})[state] = count
    deliveries: dict[str, dict[str, int]] = {}
    for name, state, count in ledger.reports.deliveries():
        deliveries.setdefault(name, {})[state] = count
    known = {(name, address): (up, reason) for name, address, up, reason in ledger.reports.destinations()}
    refusing, since = set(ledger.reports.refusing()), ledger.reports.since()
    places: list[dict[str, Any]] = []
    for name, address in destinations:
        up, reason = known.get((name, address), (None, None))
        why = reason or ("" if up else "not yet looked at")
        refuses = (name, address) in refusing
        changed, proved = since.get((name, address), (None, None))
        place = {"name": name, "address": address, "up": up, "refused": refuses, "reason": why}
        doubt = doubts.get(name) or ledger.scrubs.gone_at_once(name)
        keeps = ({"keeps": doubt} if doubt is not None else {}) | ({"consumed": True} if name in consumed else {})
        places.append({**place, "since": changed, "proved_at": proved} | keeps)
    found = {
        "configuration": None if refused is None else old_rules(refused),
        "files": files,
        "bytes": size,
        "deliveries": deliveries,
        "destinations": places,
        "held_up": [
            {"destination": name, "reason": reason, "deliveries": count}
            for name, reason, count in ledger.reports.held_up()
        ],
        "scrub": [
            {
                "destination": one.destination,
                "per_day": scrubs[one.destination].per_day if one.destination in scrubs else None,
                "every": scrubs[one.destination].every if one.destination in scrubs else None,
                "last_at": one.last_at,
                "oldest_at": one.oldest_at,
                "findings": one.findings,
            }
            for one in ledger.scrubs.standings()
            if (one.destination, one.address) in destinations and (one.destination in scrubs or one.last_at is not None)
        ],
        "findings": each("findings", ledger.scrubs.open(limit=_FINDINGS), described),
        "outbox": [
            {"rule": rule, "action": action, "waiting": count, "failed": failed, "reason": reason, "since": since}
            for rule, action, count, failed, reason, since in ledger.outbox.actions()
        ],
        "rules": [{"name": rule.name, "watch": rule.watch, "files": of_rules.get(rule.name, {})} for rule in rules],
        "kept": [
            one._asdict() for one in ledger.reports.kept([rule.name for rule in rules if rule.reclaim is not None])
        ],
        "unclaimed": [
            {"watch": root, "files": count, "example": example} for root, count, example in ledger.reports.unclaimed()
        ],
        "left_out": [
            {"watch": root, "directories": count, "example": example}
            for root, count, example in ledger.reports.landing()
        ],
        "without_events": [
            {"watch": root, "reason": sweeps_only(reason)} for root, reason in ledger.reports.without_events().items()
        ],
        "unseen": [
            {"watch": root, "directories": count, "example": example}
            for root, count, example in ledger.reports.unseen()
        ],
        "came_back": each(
            "came_back", ledger.returns.all(_CAME_BACK),
            lambda one: {"files": f"{one.directory}/{one.name or '*' + one.suffix}", "quiet": one.quiet},
        ),
        "datasets": each(
            "datasets", ledger.datasets.waiting(_WAITING),
            lambda one: {
                "name": one.key, "rule": one.rule, "since": one.seen_at, "reason": one.reason or "found a moment ago"
            },
        ),
        "waiting": each("waiting", [state for state in UNPROVED if files.get(state.value)], waiting),
        "skipped_links": ledger.links.of_rules(),
        "links": each(
            "links", ledger.links.outside([rule.name for rule in rules if rule.links is None], _WAITING),
            lambda one: {**one._asdict(), "reason": leads_out_in_words(one.rule)},
        ),
        "copied_links": [
            {"rule": rule, "destination": to, "links": count} for rule, to, count in ledger.links.copied()
        ],
        "refused_links": each(
            "refused_links", ledger.links.refused([rule.name for rule in rules if rule.links == "copy"], _WAITING),
            lambda one: one._asdict(),
        ),
        "paused": ledger.pauses.all(),
        "replanning": ledger.plans.under_change(),
        "deletion": deletion_unseen(rules),
        "behind": each(
            "behind", ledger.plans.behind(), lambda one: one._asdict() | {"hint": behind_in_words(one)}
        ),
    }  # fmt: skip
    return found | {"not_shown": [one._asdict() for one in unshown]}


def behind_in_words(one: Behind) -> str:
    """What is not at a destination that came later, and what to do."""
    found = []
    if one.undecided:
        found.append(f"{one.undecided:,} that were delivered before it came stay here: {line_for(one.destination)}")
    if one.gone:
        found.append(
            f"{one.gone:,} have no local copy any more: `dropline fetch` brings them from where they are,"
            f" then `dropline send --to {one.destination}`"
        )
    return "; ".join(found)


def described(finding: Finding) -> dict[str, Any]:
    """A copy that is not what was proved, as plain values."""
    return {
        "destination": finding.destination,
        "address": finding.address,
        "copy": finding.copy.path,
        "kind": finding.copy_status.value,
        "path": finding.copy.file.path,
        "rule": finding.copy.file.rule,
        "size": finding.copy.file.version.size,
        "since": finding.found_at,
        "reason": finding.reason,
    }


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the agent does its work; each problem is a sentence."""

    problems: list[str]
    away: list[str] = field(default_factory=list)
    """What is to know that is no problem of the agent's, such as a destination that is down: starting it again would not help."""
    refused: str | None = None
    """Why the configuration file, as it is now, is not in effect."""
    stopped_at: float | None = None
    """When a person stopped the agent; None: it runs."""

    @property
    def good(self) -> bool:
        """No problems."""
        return not self.problems

    @property
    def notes(self) -> list[str]:
        """The lines below the verdict."""
        return [*([old_rules(self.refused)] if self.refused else []), *self.away]


def sweeps_only(reason: str) -> str:
    """The computer gives no events of a watched tree."""
    return f"file events do not come, and new files are found by sweeps only: {reason}"


def old_rules(reason: str) -> str:
    """The configuration file, as it is now, is not in effect."""
    return f"the configuration is not taken, the old rules go on: {reason}"


STALLED_AFTER = 120.0
"""Seconds without the end of a pass after which a thread counts as stalled."""


def health(
    workers: "Sequence[Worker]", roots: "Sequence[Root]", sweep_every: float, refusals: Mapping[str, str | None],
    away: Mapping[str, str | None], silent: Mapping[str, float], now: float,
) -> Health:  # fmt: skip
    """What /healthz answers: dead or stalled threads, a ledger that cannot be written, late sweeps, destinations that refuse.

    `silent`: directories that do not answer, each with the time since when.
    """
    problems = []
    for worker in workers:
        if not worker.alive:
            problems.append(f"thread {worker.name} is dead")
        elif worker.failure is not None:
            problems.append(f"{worker.name}: {worker.failure}")
        elif now - worker.passed_at > STALLED_AFTER:
            problems.append(f"thread {worker.name} has not ended a pass for {now - worker.passed_at:.0f} s")
    for root in roots:
        if root.watch.present is False:
            problems.append(f"{root.watch.root}: {root.watch.reason}")
        elif root.swept_at is not None and now - root.swept_at > 3 * sweep_every + STALLED_AFTER:
            problems.append(f"{root.watch.root}: the last sweep ended {now - root.swept_at:.0f} s ago")
    problems += [f"destination {name}: {reason}" for name, reason in refusals.items() if reason is not None]
    notes = [f"destination {name} is down: {reason}" for name, reason in away.items() if reason is not None]
    notes += [f"{path}: {no_answer(since)}" for path, since in silent.items()]
    for root in roots:
        if root.watch.refused is not None:
            notes.append(f"{root.watch.root}: {sweeps_only(root.watch.refused)}")
        for path, reason in itertools.islice((root.unseen or {}).items(), 1):
            count = len(root.unseen or ())
            notes.append(f"{root.watch.root}: {count} directories cannot be listed, such as {path}: {reason}")
    return Health(problems, notes)


def no_answer(since: float) -> str:
    """A file system does not answer."""
    return f"no answer since {stamp(since)}"
