"""The zone that people write and read times in."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from agent.host.zone import LOCAL_ZONE, show_in, stamp, zone
from agent.observe.logs import JsonFormatter, TextFormatter
from agent.observe.web.words import clock

_COMPARE = """
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo
from agent.host.zone import zone
from rules.batch import next_times
local, named = zone("local"), zone(sys.argv[1])
begin = datetime(2026, 1, 1, tzinfo=UTC)
for hour in range(0, 24 * 366):
    at = begin + timedelta(hours=hour, minutes=30)
    here, there = at.astimezone(local), at.astimezone(named)
    assert (str(here), here.fold, here.timestamp()) == (str(there), there.fold, at.timestamp()), (here, there)
    assert here.astimezone(UTC) == at and here.tzname() == there.tzname()
for day in ("2026-03-28", "2026-10-24", "2026-10-25"):
    after = datetime.fromisoformat(f"{day}T12:00+00:00").timestamp()
    for schedule in ("30 2 * * *", "*/20 * * * *"):
        here, there = (list(map(str, next_times(schedule, after, one, 50))) for one in (local, named))
        assert here == there
"""


@pytest.mark.skipif(sys.platform == "win32", reason="TZ chooses the zone")
@pytest.mark.parametrize("name", ["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "UTC"])
def test_the_zone_of_the_computer_is_as_the_named_one(name: str) -> None:
    """At each hour of a year, when the clock is put forward and back, and for schedules."""
    subprocess.run([sys.executable, "-P", "-c", _COMPARE, name], check=True, env=os.environ | {"TZ": name}, timeout=60)


def test_a_zone_that_is_not_there_says_what_to_write() -> None:
    """Also where the name is a path."""
    for name in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(ValueError, match=r'write "local", "UTC" or a name such as "Europe/Berlin"'):
            zone(name)
    assert zone("UTC") is UTC
    assert zone("local") == zone("local")


@pytest.fixture
def berlin() -> Iterator[None]:
    """Times are shown by the clock of Berlin."""
    show_in(zone("Europe/Berlin"))
    yield
    show_in(LOCAL_ZONE)


@pytest.mark.usefixtures("berlin")
def test_an_hour_that_comes_twice_is_told_by_its_offset() -> None:
    """In reports and the text log, when daylight saving time ends; the hour that it skips in spring is never shown."""
    at = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    spring = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC).timestamp()
    assert [stamp(at), stamp(at + 3600)] == ["2026-10-25 02:30:00+02:00", "2026-10-25 02:30:00+01:00"]
    assert [stamp(spring), stamp(spring + 1)] == ["2026-03-29 01:59:59+01:00", "2026-03-29 03:00:00+02:00"]
    records = [logging.makeLogRecord({"msg": "x", "levelname": "INFO", "created": when}) for when in (at, at + 3600)]
    assert [TextFormatter().format(record) for record in records] == [
        "2026-10-25T02:30:00.000+02:00 INFO x", "2026-10-25T02:30:00.000+01:00 INFO x",
    ]  # fmt: skip
    assert JsonFormatter().format(records[1]) == '{"time": "2026-10-25T01:30:00.000Z", "level": "INFO", "message": "x"}'


@pytest.mark.usefixtures("berlin")
def test_the_page_has_the_date_where_it_is_not_todays() -> None:
    """By the clock that people read: 22:30 in UTC is the next day in Berlin's summer."""
    now = datetime(2026, 7, 2, 6, 0, tzinfo=UTC).timestamp()
    times = [datetime(year, 7, 1, hour, 30, tzinfo=UTC) for year, hour in ((2026, 22), (2026, 21), (2025, 22))]
    assert [clock(at.timestamp(), now) for at in times] == ["00:30", "1 Jul 23:30", "2025-07-02 00:30"]


def test_a_time_beyond_the_rules_of_the_computer_has_an_offset() -> None:
    """The last and first years of the calendar."""
    for at in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)):
        assert at.replace(tzinfo=zone("local")).utcoffset() is not None
