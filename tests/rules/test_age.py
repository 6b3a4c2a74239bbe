"""`newer_than`: which files were there before the agent."""

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from rules.config.config_error import RuleError
from rules.config.describe import describe
from rules.model import FileId, Version
from rules.rule import Rule, Target
from rules.versions.age import ignored, newest_ns
from tests import configured

RULE = Rule("tomo", "/data", deliver=(Target("share"),), newer_than=date(2026, 1, 31))


def ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[arg-type, misc]


@pytest.mark.parametrize("which", ["mtime", "ctime", "born"])
def test_the_newest_of_all_times_counts(which: str) -> None:
    """A copy carries an old mtime, and a file system may show only of one time that it came later."""
    old, new = ns(2025, 1, 1), ns(2026, 2, 1)
    times = {"mtime": old, "ctime": old, "born": old} | {which: new}
    newest = newest_ns(Version(1, times["mtime"], times["ctime"], FileId(1)), times["born"])
    assert (newest, ignored(RULE, newest)) == (new, None)
    assert newest_ns(Version(1, old, old, FileId(1)), None) == old


def test_the_day_begins_by_the_clock_of_the_rule() -> None:
    """A file of that day is taken, one of the last nanosecond before it is not."""
    there = replace(RULE).in_zone(ZoneInfo("Europe/Berlin"))
    for rule, midnight in ((RULE, ns(2026, 1, 31)), (there, ns(2026, 1, 30, 23))):
        assert [ignored(rule, at) is None for at in (midnight - 1, midnight)] == [False, True]


def test_what_came_later_is_delivered_however_old_it_is() -> None:
    """And so is everything of a rule without the key."""
    assert ignored(RULE, None) is None
    assert ignored(replace(RULE, newer_than=None), 0) is None
    why = "from before the agent: it is older than 2026-01-31 (`newer_than` of rule 'tomo'); an earlier date there, or"
    assert ignored(RULE, 0) == f"{why} `dropline send`, delivers it"


def test_it_is_written_as_a_date() -> None:
    """TOML has dates, and the environment texts; an age is an error that says why, and check has words for it."""
    table = {"name": "r", "watch": "/data", "deliver": [{"to": "share"}]}
    for written in (date(2026, 1, 31), "2026-01-31"):
        rule = configured.rule({**table, "newer_than": written})
        assert rule.newer_than == date(2026, 1, 31)
        assert describe(rule)[1] == (
            "of what is there when it first looks, leaves files that are older than 2026-01-31 by every time they have:"
            " they are not delivered, and never called safe"
        )
    for wrong in ("30d", datetime(2026, 1, 31, 12, tzinfo=UTC), 20260131.5):
        with pytest.raises(RuleError, match=r"newer_than: .*is no date such as 2026-01-31; an age would slide on"):
            configured.rule({**table, "newer_than": wrong})
