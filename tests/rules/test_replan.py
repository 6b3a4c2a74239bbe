"""What becomes of a known file when the configuration changed: every edit of a configuration, every stage of a file."""

from dataclasses import replace
from datetime import date
from itertools import product

import pytest

from rules.config.replan import At, Plan, Planned, Stage, What, heir, replan, unwanted
from rules.match import match
from rules.rule import Rule, Target

OLD = Rule("tomo", "/data/tomo", include=("**/*.h5",), deliver=(Target("share"), Target("tape")))
PATH = "/data/tomo/p1/scan.h5"
DAY_NS = 86_400_000_000_000
EDITS: dict[str, tuple[Rule, ...]] = {
    "nothing": (OLD,),
    **{
        f"destination added, backfill {backfill}": (
            replace(OLD, deliver=(*OLD.deliver, Target("new", backfill=backfill))),
        )
        for backfill in (None, True, False)
    },
    "destination removed": (replace(OLD, deliver=OLD.deliver[:1]),),
    "destination replaced": (replace(OLD, deliver=(Target("new"),)),),
    "destination replaced, backfill": (replace(OLD, deliver=(Target("new", backfill=True),)),),
    "path at the destination changed": (replace(OLD, deliver=(Target("share", "{name}"), Target("tape"))),),
    "rule renamed": (replace(OLD, name="ct"),),
    "rule renamed, destination added": (replace(OLD, name="ct", deliver=(*OLD.deliver, Target("new"))),),
    "rule removed": (),
    "rule removed, another watches": (Rule("logs", "/data", include=("*.log",), deliver=OLD.deliver),),
    "rule removed, another claims": (Rule("all", "/data", deliver=(Target("share"),)),),
    "watch moved": (replace(OLD, watch="/data/ct"),),
    "include changed": (replace(OLD, include=("**/*.tif",)),),
    "excluded": (replace(OLD, exclude=("p1/",)),),
    "batch keys changed": (replace(OLD, batch=replace(OLD.batch, by="dir", max_files=1)),),
}
PROVED = {
    Stage.WAITING: ((),), Stage.REFUSED: ((),), Stage.TRAVELLING: ((), ("share",), ("tape",)),
    Stage.IGNORED: ((),), Stage.DELIVERED: (("share", "tape"),), Stage.GONE: (("share", "tape"),),
}  # fmt: skip
TABLE = [(edit, stage, proved) for edit, stage in product(EDITS, Stage) for proved in PROVED[stage]]


def planned(stage: Stage, proved: tuple[str, ...], later: tuple[str, ...] = ()) -> Planned:
    """The file under the rule as it was."""
    return Planned(PATH, "tomo", stage, ("share", "tape") if stage is Stage.TRAVELLING else (), proved, later)


def decided(edit: str, stage: Stage, proved: tuple[str, ...]) -> tuple[tuple[Rule, ...], Plan]:
    """A sealed batch belongs to its heir first."""
    rules, one = EDITS[edit], planned(stage, proved)
    return rules, replan(rules, replace(one, rule=heir(rules, one.rule, [PATH])) if stage is Stage.TRAVELLING else one)


@pytest.mark.parametrize(("edit", "stage", "proved"), TABLE)
def test_nothing_waits_for_what_no_longer_exists(edit: str, stage: Stage, proved: tuple[str, ...]) -> None:
    """After the plan, each destination that a file is on its way to is one of a rule that claims it."""
    rules, plan = decided(edit, stage, proved)
    rule = match(rules, PATH).rule
    if stage is Stage.TRAVELLING and plan.what is What.STAYS:
        assert rule is not None
        dropped = {to for to, at in plan.at.items() if at is At.DROPPED}
        begun = {to for to, at in plan.at.items() if at is At.BEGINS}
        waits = ({"share", "tape"} - dropped | begun) - set(proved)
        assert waits == {target.to for target in rule.deliver} - set(proved)
    if stage in (Stage.WAITING, Stage.TRAVELLING) and plan.what in (What.STAYS, What.AGAIN):
        assert rule is not None
        assert plan.rule == rule.name


@pytest.mark.parametrize(("edit", "stage", "proved"), TABLE)
def test_nothing_undelivered_is_forgotten(edit: str, stage: Stage, proved: tuple[str, ...]) -> None:
    """What is not delivered goes on, begins again, is left to a sweep that counts it, or is refused for a person."""
    rules, plan = decided(edit, stage, proved)
    claim = match(rules, PATH)
    watched = any(PATH.startswith(rule.watch + "/") for rule in rules)
    if stage in (Stage.DELIVERED, Stage.GONE):
        assert plan.what is What.STAYS
    elif stage is Stage.IGNORED:  # no rule has `newer_than` any more
        assert plan.what is (What.LEFT if claim.rule is None else What.AGAIN)
    elif claim.rule is not None:
        moved = claim.rule.name != "tomo" and stage is Stage.WAITING
        assert plan.what is (What.AGAIN if moved else What.STAYS)
    elif watched:
        assert plan.what is What.LEFT
    else:
        assert plan.what is (What.STAYS if stage is Stage.REFUSED else What.REFUSED)
    assert plan.reason


@pytest.mark.parametrize(
    ("edit", "proved"), [(edit, proved) for edit, stage, proved in TABLE if stage is Stage.DELIVERED]
)
def test_each_destination_that_came_later_is_decided_or_shown(edit: str, proved: tuple[str, ...]) -> None:
    """A delivered file goes there where `backfill` is true, need not where it is false, and is undecided where it is unset."""
    rules, plan = decided(edit, Stage.DELIVERED, proved)
    rule = match(rules, PATH).rule
    said = {None: At.UNDECIDED, True: At.BEGINS, False: At.SKIPPED}
    missing = [] if rule is None else [target for target in rule.deliver if target.to not in proved]
    assert plan.at == {target.to: said[target.backfill] for target in missing}


@pytest.mark.parametrize(("backfill", "at"), [(None, {"new": At.FETCHED}), (True, {"new": At.FETCHED}), (False, {})])
def test_what_has_no_local_copy_is_counted(backfill: bool | None, at: dict[str, At]) -> None:
    """Unless nobody wants it at the destination that came later."""
    _, plan = decided(f"destination added, backfill {backfill}", Stage.GONE, ("share", "tape"))
    assert plan.at == at


@pytest.mark.parametrize(("backfill", "at"), [(None, At.UNDECIDED), (True, At.BEGINS), (False, At.SKIPPED)])
def test_what_goes_to_one_destination_later_does_not_go_to_another_unasked(backfill: bool | None, at: At) -> None:
    """A file that is brought to a destination by backfill follows, at another that came later, what is said there."""
    rules = EDITS[f"destination added, backfill {backfill}"]
    assert replan(rules, planned(Stage.TRAVELLING, ("share",), ("new",))).at == {"new": at}


def test_a_renamed_rule_inherits_batches_and_no_other_does() -> None:
    """A batch of a rule that is there stays with it, though another claims its files; of one that is gone, its claimant has it."""
    other = Rule("first", "/data", deliver=OLD.deliver)
    assert heir((other, OLD), "tomo", [PATH]) == "tomo"
    assert heir((other,), "tomo", ["/else/a", PATH]) == "first"
    assert heir((other,), "tomo", ["/else/a"]) == "tomo"


def test_a_travelling_file_of_another_rule_begins_again() -> None:
    """Its batch is of a rule that is there and does not claim it any more."""
    other = Rule("first", "/data", deliver=OLD.deliver)
    plan = replan((other, OLD), planned(Stage.TRAVELLING, ()))
    assert plan == Plan(
        What.AGAIN, "first", "claimed by rule 'first', and no more by rule 'tomo'"
    )  # fmt: skip


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.TRAVELLING, Stage.IGNORED, Stage.DELIVERED, Stage.REFUSED])
@pytest.mark.parametrize(("newest", "older"), [(0, True), (DAY_NS - 1, True), (DAY_NS, False), (None, False)])
def test_what_is_older_than_newer_than_is_ignored_until_it_is_proved(
    stage: Stage, newest: int | None, older: bool
) -> None:
    """What the first sweep found, and no destination has; another date, or none, takes it, and what came later never is."""
    rules = (replace(OLD, newer_than=date(1970, 1, 2)),)
    plan = replan(rules, replace(planned(stage, ()), newest_ns=newest))
    waits = stage in (Stage.WAITING, Stage.TRAVELLING)
    expected = What.IGNORED if older and waits else What.AGAIN if stage is Stage.IGNORED and not older else What.STAYS
    assert (plan.what, plan.rule) == (expected, "tomo")
    assert replan(rules, replace(planned(Stage.TRAVELLING, ("share",)), newest_ns=newest)).what is What.STAYS
    assert replan((OLD,), replace(planned(Stage.IGNORED, ()), newest_ns=newest)).what is What.AGAIN


def test_a_rule_that_is_gone_wants_no_destination() -> None:
    """Its deliveries are dropped, all of them."""
    assert unwanted((), "tomo", ("tape", "share")) == ["share", "tape"]
    assert unwanted((OLD,), "tomo", ("tape", "share", "#7")) == ["#7"]
