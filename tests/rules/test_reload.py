"""Which destinations an edit of the configuration does not concern."""

from dataclasses import replace
from typing import Any

import pytest

from rules.config.reload import unaffected
from rules.config.replan import Plan, Planned, Stage, What, replan
from rules.config.settings import AgentTable, DirectoryTable, GlobusTable, Settings
from rules.match import match
from rules.rule import Rule, Target
from tests.rules.test_replan import EDITS, OLD, PATH

TABLES: dict[str, Any] = {name: DirectoryTable(path=f"/{name}") for name in ("share", "tape", "new", "other")}
OTHER = Rule("other", "/scans", deliver=(Target("other"),))


def settings(*rules: Rule, destinations: dict[str, Any] | None = None, **agent: Any) -> Settings:
    """A configuration."""
    tables = TABLES if destinations is None else destinations
    return Settings.model_construct(agent=AgentTable(**agent), globus=GlobusTable(), destinations=tables, rules=rules)


@pytest.mark.parametrize("edit", EDITS)
def test_files_on_their_way_to_an_unaffected_destination_stay_as_they_are(edit: str) -> None:
    """Whatever the edit is, nothing of what replanning may do to a file in flight happens to one that goes there."""
    rules = EDITS[edit]
    for to in unaffected(settings(OLD), settings(*rules)) & {"share", "tape"}:
        planned = Planned(PATH, OLD.name, Stage.TRAVELLING, planned=("share", "tape"))
        assert replan(rules, planned) == Plan(What.STAYS, OLD.name, match(rules, PATH).reason, {}), to


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_one_rule_does_not_concern_the_destinations_of_another(edit: str) -> None:
    """Their files are in another directory."""
    assert "other" in unaffected(settings(OLD, OTHER), settings(*EDITS[edit], OTHER))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (settings(OLD), {"share", "tape", "new", "other"}),
        (settings(OLD, sweep_every="1m"), {"share", "tape", "new", "other"}),
        (settings(OLD, nice=5), set()),
        (settings(OLD, timezone="Europe/Berlin"), {"share", "tape", "new", "other"}),
        (settings(replace(OLD, batch=replace(OLD.batch, max_files=1))), {"share", "tape", "new", "other"}),
        (settings(OLD, destinations=TABLES | {"share": DirectoryTable(path="/elsewhere")}), {"tape", "new", "other"}),
        (settings(OLD, destinations={"tape": TABLES["tape"]}), {"tape"}),
        (settings(Rule("before", "/data", deliver=(Target("other"),)), OLD), {"new"}),
        (settings(OLD, Rule("after", "/data", deliver=(Target("other"),))), {"share", "tape", "new"}),
    ],
)  # fmt: skip
def test_what_decides_is_the_way_there_and_the_rules_that_deliver_there(now: Settings, expected: set[str]) -> None:
    """A rule before them may take their files, one after them does not."""
    assert unaffected(settings(OLD), now) == expected


def test_another_zone_concerns_destinations_whose_bandwidth_has_hours() -> None:
    """They are read by its clock."""
    limited = DirectoryTable.model_validate({"path": "/share", "bandwidth": [{"limit": "1MB", "hours": "08:00-18:00"}]})
    tables = TABLES | {"share": limited}
    here, there = (settings(OLD, destinations=tables, timezone=zone) for zone in ("UTC", "Europe/Berlin"))
    assert unaffected(here, there) == {"tape", "new", "other"}
    assert unaffected(here, here) == tables.keys()
