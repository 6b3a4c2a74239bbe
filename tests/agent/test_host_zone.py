"""The zone that people write times in."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from agent.host.zone import zone

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


def test_a_time_beyond_the_rules_of_the_computer_has_an_offset() -> None:
    """The last and first years of the calendar."""
    for at in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)):
        assert at.replace(tzinfo=zone("local")).utcoffset() is not None
