"""How much may go in a second, by the hour of the day."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.rate import Hours, Limit, allowed, in_words

DAY, NIGHT, ELSE = Limit(20, Hours.read("08:00-18:00")), Limit(500, Hours.read("22:00-06:00")), Limit(100)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("at", "rate"),
    [
        ("00:00", 500), ("05:59", 500), ("06:00", 100), ("07:59", 100), ("08:00", 20), ("12:00", 20), ("17:59", 20),
        ("18:00", 100), ("21:59", 100), ("22:00", 500), ("23:59", 500),
    ],
)  # fmt: skip
def test_hours_begin_at_their_first_minute_and_end_before_their_last(at: str, rate: int) -> None:
    """Within a day and across midnight; what no hours hold has the limit without hours."""
    assert allowed([DAY, NIGHT, ELSE], datetime.fromisoformat(f"2026-01-31T{at}:59")) == rate


def test_without_a_limit_as_much_goes_as_will() -> None:
    """No limits at all, or none for this hour."""
    noon = datetime.fromisoformat("2026-01-31T12:00")
    assert (allowed([], noon), allowed([NIGHT], noon), allowed([ELSE], noon)) == (None, None, 100)


def test_the_first_limit_that_holds_counts() -> None:
    """An exception stands before what it is an exception from."""
    lunch = Limit(1000, Hours.read("12:00-13:00"))
    at = datetime.fromisoformat("2026-01-31T12:30")
    assert (allowed([lunch, DAY], at), allowed([DAY, lunch], at)) == (1000, 20)


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 0), ("2026-03-30", 1), ("2026-10-25", 2)], ids=["spring", "between", "autumn"]
)
def test_the_clock_on_the_wall_counts_where_it_is_changed(day: str, hours: int) -> None:
    """From 02:00 to 03:00 there is no time in spring, and twice as much in autumn; the rest of the day is as always."""
    small = Limit(7, Hours.read("02:00-03:00"))
    begin = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=BERLIN).astimezone(UTC)
    minutes = [(begin + timedelta(minutes=n)).astimezone(BERLIN) for n in range(24 * 60)]
    assert sum(allowed([small], at) == 7 for at in minutes) == 60 * hours
    assert all(allowed([DAY], at) == (20 if 8 <= at.hour < 18 else None) for at in minutes)


@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 1439))
def test_each_minute_is_in_hours_or_in_those_that_are_left(begin: int, end: int, minute: int) -> None:
    """Hours and the hours from their end to their beginning share no minute, and leave none out."""
    if begin == end % 1440:
        return
    hours, others = Hours(begin, end), Hours(end % 1440, begin or 1440)
    assert hours.hold(minute) != others.hold(minute)
    assert Hours.read(str(hours)) == hours


@pytest.mark.parametrize(
    "text", ["", "8-18", "08:00", "24:00-08:00", "08:60-09:00", "08:00-24:01", "8:00-8:00", "0:00-24:00"]
)
def test_what_are_no_hours_is_said(text: str) -> None:
    """With an example of what are."""
    with pytest.raises(ValueError, match=r'hours|"23:59"|leave `hours` out'):
        Hours.read(text)


def test_limits_in_words() -> None:
    """What `dropline check` says of them."""
    assert in_words([]) == ""
    assert in_words([Limit(50_000_000)]) == "at most 50 MB a second"
    words = "at most 20 MB a second at 08:00-18:00, 100 MB a second else"
    assert in_words([Limit(20_000_000, DAY.hours), Limit(100_000_000)]) == words
