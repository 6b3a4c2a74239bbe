"""What becomes of a known file when the configuration changed: the rule that claims it now, and where its copies must be."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from rules.match import match, relative
from rules.rule import Rule, Target
from rules.versions.age import ignored


class Stage(Enum):
    """How far a version of a file has come."""

    WAITING = "candidate, or complete and not in a sealed batch"
    TRAVELLING = "in a sealed batch, not at every destination of it"
    DELIVERED = "verified; the local copy is here, or in the trash"
    GONE = "verified; the local copy was removed"
    REFUSED = "a person must act"
    IGNORED = "it was there before the agent"


class What(Enum):
    """What becomes of the version."""

    STAYS = "it goes on as it is"
    AGAIN = "it is a candidate again"
    IGNORED = "it was there before the agent, and stays as it is"
    LEFT = "no rule wants it, and the next sweep counts it"
    REFUSED = "no rule watches its directory, and a person must act"


class At(Enum):
    """What becomes of its delivery to one destination."""

    BEGINS = "it goes there, too"
    DROPPED = "it need not go there any more"
    SKIPPED = "it was delivered before the destination came, and need not go there"
    UNDECIDED = "it was delivered before the destination came, and nobody said whether it is to go there"
    FETCHED = "it would go there, and has no local copy any more"


@dataclass(frozen=True, slots=True)
class Planned:
    """A version and what was planned for it."""

    path: str
    rule: str
    stage: Stage
    planned: Collection[str] = ()
    """Destinations of its batch; what is not configured any more has a name that no destination has."""
    proved: Collection[str] = ()
    """Destinations that are proved to have it."""
    later: Collection[str] = ()
    """Destinations that came when it had been delivered, and to which its batch does not go."""
    newest_ns: int | None = None
    """Its newest time, or that of its dataset; None: it came after the first sweep, or is further on its way."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a version, and why."""

    what: What
    rule: str
    """The rule that it belongs to from now on."""
    reason: str
    at: Mapping[str, At] = field(default_factory=dict)
    """Destination -> what changes there."""


def replan(rules: Sequence[Rule], one: Planned) -> Plan:
    """What becomes of a version under the rules as they are now."""
    claim = match(rules, one.path)
    if claim.rule is None:
        return _unclaimed(rules, one, claim.reason, excluded=claim.excluded)
    rule = claim.rule
    if one.stage is Stage.REFUSED:
        return Plan(What.STAYS, rule.name, claim.reason)
    older = ignored(rule, one.newest_ns)
    if one.stage is Stage.IGNORED:
        return Plan(What.STAYS if older else What.AGAIN, rule.name, older or "`newer_than` takes it now")
    if older and not one.proved and one.stage in (Stage.WAITING, Stage.TRAVELLING):
        return Plan(What.IGNORED, rule.name, older)
    if one.stage is Stage.WAITING or (one.stage is Stage.TRAVELLING and rule.name != one.rule):
        if rule.name == one.rule:
            return Plan(What.STAYS, rule.name, claim.reason)
        return Plan(What.AGAIN, rule.name, f"{claim.reason}, and no more by rule {one.rule!r}")
    if one.stage is Stage.TRAVELLING:
        missing = [target for target in rule.deliver if target.to not in (*one.planned, *one.proved)]
        at = {target.to: _later(target, one.stage) if target.to in one.later else At.BEGINS for target in missing}
        dropped = dict.fromkeys(unwanted(rules, rule.name, one.planned), At.DROPPED)
        return Plan(What.STAYS, rule.name, claim.reason, dropped | {to: what for to, what in at.items() if what})
    at = {target.to: _later(target, one.stage) for target in rule.deliver if target.to not in one.proved}
    return Plan(What.STAYS, rule.name, claim.reason, {to: what for to, what in at.items() if what})


def _later(target: Target, stage: Stage) -> At | None:
    """What becomes of a delivered version at a destination that came later."""
    if stage is Stage.GONE:
        return None if target.backfill is False else At.FETCHED
    return {None: At.UNDECIDED, False: At.SKIPPED, True: At.BEGINS}[target.backfill]


def _unclaimed(rules: Sequence[Rule], one: Planned, reason: str, *, excluded: bool) -> Plan:
    """No rule claims it: what was delivered stays as it is, and what was not is not forgotten."""
    if one.stage in (Stage.DELIVERED, Stage.GONE):
        return Plan(What.STAYS, one.rule, reason)
    if excluded or any(relative(one.path, rule.watch) is not None for rule in rules):
        return Plan(What.LEFT, one.rule, f"no rule claims it any more: {reason}")
    if one.stage is Stage.REFUSED:
        return Plan(What.STAYS, one.rule, reason)
    if one.stage is Stage.IGNORED:
        return Plan(What.LEFT, one.rule, reason)
    return Plan(What.REFUSED, one.rule, unwatched(one.rule))


def unwatched(rule: str) -> str:
    """Why a file that was not delivered is refused where no rule watches its directory any more, with the hint."""
    return (
        f"not delivered: rule {rule!r} does not watch its directory any more, nor does another;"
        " let a rule watch it, or remove the file, then `dropline retry`"
    )


def unwanted(rules: Sequence[Rule], rule: str, planned: Collection[str]) -> list[str]:
    """Those of the destinations of a sealed batch to which its rule does not deliver any more; all, where the rule is gone."""
    required = {target.to for one in rules if one.name == rule for target in one.deliver}
    return sorted(to for to in planned if to not in required)


def heir(rules: Sequence[Rule], rule: str, paths: Sequence[str]) -> str:
    """The rule that a sealed batch belongs to from now on: another one where its own is gone, and that one claims its files."""
    if any(one.name == rule for one in rules):
        return rule
    claimed = (match(rules, path).rule for path in paths)
    return next((one.name for one in claimed if one is not None), rule)


def line_for(destination: str) -> str:
    """What a person adds to the configuration where it is undecided."""
    return (
        f'add `backfill = true` to {{ to = "{destination}" }} in `deliver` to bring them there, too,'
        " or `backfill = false` to leave them where they are"
    )
