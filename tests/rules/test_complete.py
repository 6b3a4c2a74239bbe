"""Is the writer of a candidate done?"""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rules.complete import COARSE, TICK, came_back, complete, first_look, granule, learned, next_look, quiet_seconds
from rules.model import Candidate, FileId, Verdict, Version, Writer
from rules.retry import look_again
from rules.rule import Conditions

SINCE = 1_000_000.0
laws = settings(max_examples=100, deadline=None)
seconds = st.floats(0, 1e7)
conditions_st = st.builds(
    Conditions,
    quiet=st.none() | seconds,
    marker=st.none() | st.just("*.done"),
    patience=st.none() | seconds,
    min_size=st.integers(0, 3),
)
candidates = st.builds(
    Candidate,
    name=st.just("x"),
    size=st.integers(0, 3),
    since=st.floats(0, 4e9),
    granule=st.sampled_from([TICK, COARSE]),
)
writers = st.sampled_from(Writer)


@pytest.mark.parametrize(
    ("conditions", "size", "has_marker", "writer", "after", "verdict"),
    [
        (
            Conditions(quiet=10.0), 1, True, Writer.OPEN, 1e6,
            Verdict(False, "a process has it open for writing"),
        ),
        (
            Conditions(), 1, True, Writer.NONE, 0.25,
            Verdict(False, "changed less than 500 ms ago", SINCE + 0.5),
        ),
        (
            Conditions(), 1, True, Writer.NONE, 0.5,
            Verdict(True, "no open writer, unchanged for 500 ms"),
        ),
        (
            Conditions(), 1, True, Writer.CANNOT_TELL, 59.0,
            Verdict(False, "changed less than 1 min ago", SINCE + 60.0),
        ),
        (
            Conditions(), 1, True, Writer.CANNOT_TELL, 60.0,
            Verdict(True, "writers cannot be seen here, unchanged for 1 min"),
        ),
        (
            Conditions(quiet=10.0), 1, True, Writer.NONE, 10.0,
            Verdict(True, "no open writer, unchanged for 10 s"),
        ),
        (
            Conditions(quiet=10.0), 1, True, Writer.CANNOT_TELL, 10.0,
            Verdict(False, "changed less than 20 s ago", SINCE + 20.0),
        ),
        (
            Conditions(quiet=0.0), 1, True, Writer.NONE, 0.0,
            Verdict(False, "changed less than 20 ms ago", SINCE + 0.02),
        ),
        (
            Conditions(quiet=0.0), 1, True, Writer.NONE, 0.02,
            Verdict(True, "no open writer, unchanged for 20 ms"),
        ),
        (
            Conditions(quiet=0.0), 1, True, Writer.CANNOT_TELL, 0.0,
            Verdict(False, "changed less than 1 s ago", SINCE + 1.0),
        ),
        (
            Conditions(min_size=2), 1, True, Writer.NONE, 60.0,
            Verdict(False, "1 bytes, fewer than min_size = 2"),
        ),
        (
            Conditions(min_size=2), 2, True, Writer.NONE, 60.0,
            Verdict(True, "no open writer, unchanged for 500 ms"),
        ),
        (
            Conditions(marker="*.done"), 1, False, Writer.NONE, 1e6,
            Verdict(False, "its marker '*.done' is not there"),
        ),
        (
            Conditions(marker="*.done"), 1, True, Writer.NONE, 1.0,
            Verdict(True, "no open writer, unchanged for 500 ms"),
        ),
        (
            Conditions(marker="*.done", patience=60.0), 1, False, Writer.NONE, 59.0,
            Verdict(False, "its marker '*.done' is not there; waiting 1 min at most"),
        ),
        (
            Conditions(marker="*.done", patience=60.0), 1, False, Writer.NONE, 60.0,
            Verdict(True, "marker '*.done' missing, but unchanged for 1 min"),
        ),
        (
            Conditions(marker="*.done", patience=1.0, quiet=10.0), 1, False, Writer.NONE, 5.0,
            Verdict(False, "changed less than 10 s ago", SINCE + 10.0),
        ),
    ],
)  # fmt: skip
def test_the_conditions(
    conditions: Conditions, size: int, has_marker: bool, writer: Writer, after: float, verdict: Verdict
) -> None:
    """A file is complete when it has no writer, was quiet, has its size, and has its marker, judged in this order."""
    assert complete(conditions, Candidate("x", size, SINCE, TICK), has_marker, writer, SINCE + after) == verdict


@pytest.mark.parametrize(
    ("name", "quiet", "seconds"),
    [
        (".scan.h5.aB3xY9", None, 60.0),
        (".scan.h5.aB3xY9", 10.0, 10.0),
        (".scan.h5.aB3xY", None, 0.5),
        ("scan.h5.aB3xY9", None, 0.5),
    ],
)
def test_a_name_as_rsync_gives_it_waits_longer(name: str, quiet: float | None, seconds: float) -> None:
    """A file that may be a transfer under way waits as if writers could not be seen, unless its rule says how long."""
    candidate = Candidate(name, 1, SINCE, TICK)
    verdict = complete(Conditions(quiet=quiet), candidate, True, Writer.NONE, SINCE)
    assert verdict.again_at == SINCE + seconds


@laws
@given(conditions_st, candidates, st.booleans(), st.floats(0, 5e9))
def test_an_open_file_is_never_complete(
    conditions: Conditions, candidate: Candidate, has_marker: bool, now: float
) -> None:
    """Whatever the time and the marker say, a file that somebody has open for writing is not complete."""
    assert complete(conditions, candidate, has_marker, Writer.OPEN, now) == Verdict(False, Writer.OPEN.value)


@laws
@given(conditions_st, candidates, st.booleans(), writers, st.floats(0, 5e9))
def test_never_before_the_quiet_period(
    conditions: Conditions, candidate: Candidate, has_marker: bool, writer: Writer, now: float
) -> None:
    """A complete file has not changed for the quiet period, counted from when this version was first read."""
    if complete(conditions, candidate, has_marker, writer, now).ok:
        assert now >= candidate.since + quiet_seconds(conditions, writer)


@laws
@given(
    st.none() | st.floats(0, 1e3), st.sampled_from([Writer.NONE, Writer.CANNOT_TELL]),
    st.sampled_from([10**7, 10**9, 2 * 10**9]), st.integers(0, 4 * 10**18), st.integers(0, 10**10),
)  # fmt: skip
def test_what_may_be_rewritten_unseen_is_not_complete(
    quiet: float | None, writer: Writer, unit_ns: int, written_ns: int, later_ns: int
) -> None:
    """Whatever the unit of a file system's clock, and whenever a file was seen: once complete, each write leaves another stamp."""
    stamp_ns = written_ns - written_ns % unit_ns
    since = (written_ns + later_ns) / 1e9
    verdict = complete(Conditions(quiet), Candidate("x", 1, since, granule(stamp_ns)), True, writer, since)
    assert verdict.again_at is not None
    ready_ns = int(verdict.again_at * 1e9)
    assert ready_ns - ready_ns % unit_ns > stamp_ns


@laws
@given(conditions_st, candidates, st.booleans(), writers, st.floats(-10, 1e8), st.floats(0, 1e9))
def test_complete_stays_complete(
    conditions: Conditions, candidate: Candidate, has_marker: bool, writer: Writer, after: float, longer: float
) -> None:
    """With nothing changed but the time, a file that is complete stays complete."""
    if complete(conditions, candidate, has_marker, writer, candidate.since + after).ok:
        assert complete(conditions, candidate, has_marker, writer, candidate.since + after + longer).ok


@laws
@given(conditions_st, candidates, st.booleans(), writers, st.floats(0, 5e9))
def test_the_next_look_is_worth_it(
    conditions: Conditions, candidate: Candidate, has_marker: bool, writer: Writer, now: float
) -> None:
    """Until `again_at` the same is missing, and from then on it is not."""
    verdict = complete(conditions, candidate, has_marker, writer, now)
    assume(verdict.again_at is not None)
    assert verdict.again_at is not None
    assert verdict.again_at > now
    before = math.nextafter(verdict.again_at, -math.inf)
    assert complete(conditions, candidate, has_marker, writer, before) == verdict
    assert complete(conditions, candidate, has_marker, writer, verdict.again_at).again_at is None


@laws
@given(conditions_st, candidates, st.booleans(), st.floats(0, 5e9))
def test_not_knowing_never_hurries(conditions: Conditions, candidate: Candidate, has_marker: bool, now: float) -> None:
    """A file that is complete although writers cannot be seen would be complete where they can."""
    assert quiet_seconds(conditions, Writer.CANNOT_TELL) > quiet_seconds(conditions, Writer.NONE)
    if complete(conditions, candidate, has_marker, Writer.CANNOT_TELL, now).ok:
        assert complete(conditions, candidate, has_marker, Writer.NONE, now).ok


@laws
@given(conditions_st, candidates, st.booleans(), writers)
def test_the_first_look_misses_nothing(
    conditions: Conditions, candidate: Candidate, has_marker: bool, writer: Writer
) -> None:
    """Before the first look a file cannot be complete, and at the first look it can, where nothing was learned of it."""
    first = first_look(conditions, 0 if candidate.granule == COARSE else 1, candidate.since)
    assert not complete(conditions, candidate, has_marker, writer, math.nextafter(first, -math.inf)).ok
    candidate = candidate._replace(learned=0.0)
    assert complete(replace(conditions, min_size=0), candidate, True, Writer.NONE, first).ok


def test_how_long_two_writes_may_look_alike() -> None:
    """Two ticks of the slowest kernel; where a stamp is of whole seconds, the two of FAT and what a pass takes."""
    assert [granule(ctime_ns) for ctime_ns in (1, 10**9, 10**9 + 1, 2 * 10**9)] == [0.02, 2.5, 0.02, 2.5]


@laws
@given(conditions_st, st.floats(0, 4e9), st.floats(0, 1e8))
def test_what_waits_without_change_is_looked_at_less_and_less_often(
    conditions: Conditions, since: float, waited: float
) -> None:
    """After a tenth of the time that it has waited, two seconds at the least, five minutes at the most; its patience counts."""
    now = since + waited
    again = next_look(conditions, since, now)
    end = math.inf if conditions.patience is None else since + conditions.patience
    assert again > now
    assert again <= max(now + min(max((now - since) / 10, 2.0), 300.0), math.nextafter(now, math.inf))
    assert not now < end < again
    assert again >= min(now + 2.0, end) or end <= now


@laws
@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e4))
def test_a_look_that_takes_long_is_taken_seldom(since: float, waited: float, took: float) -> None:
    """A tenth of the time at the most, and never sooner than a quick one."""
    now = since + waited
    assert look_again(since, now, took) == max(look_again(since, now), now + 10 * took)


def test_a_day_of_waiting_costs_some_hundred_looks() -> None:
    """Every two seconds it would be 43,200."""
    looks, at = 0, SINCE
    while at < SINCE + 86_400.0:
        looks, at = looks + 1, next_look(Conditions(marker="*.done"), SINCE, at)
    assert looks == 341


@pytest.mark.parametrize(
    ("conditions", "size", "later", "quiet"),
    [
        (Conditions(), 2, 3.0, 6.0),
        (Conditions(), 2, 400.0, 600.0),
        (Conditions(), 2, 601.0, None),
        (Conditions(), 1, 3.0, None),
        (Conditions(), 0, 3.0, None),
        (Conditions(), 2, -3.0, None),
        (Conditions(quiet=1.0), 2, 3.0, None),
        (Conditions(marker="*.done"), 2, 3.0, None),
    ],
)
def test_a_writer_that_comes_back(conditions: Conditions, size: int, later: float, quiet: float | None) -> None:
    """It made the file longer within ten minutes, and the rule says nothing of quiet periods or markers."""
    before = Version(1, 10**18, 10**18, FileId(7))
    after = Version(size, 10**18, 10**18, FileId(7))
    assert came_back(conditions, before, 1e9 + 0.5, after, 1e9 + later) == quiet


@pytest.mark.parametrize(
    ("mtime", "ctime", "gap"), [(0.0, 9.0, 3.0), (9.0, 99.0, 3.0), (99.0, 99.0, 2.0), (0.0, 99.0, 12.0)]
)
def test_the_last_change_before_a_writer_came_back(mtime: float, ctime: float, gap: float) -> None:
    """The later stamp tells of it, unless it is later than the file was complete: then its clock is another one."""
    before = Version(1, int(mtime * 1e9), int(ctime * 1e9), FileId(7))
    after = Version(2, 0, int(ctime * 1e9) + 1, FileId(7))
    assert came_back(Conditions(), before, 10.0, after, 12.0) == 2 * gap


def test_what_was_learned_holds_for_an_hour() -> None:
    """What is appended to for ever is not held for ever; what is written counts, whatever was learned."""
    assert [learned(Conditions(), 6.0, 100.0, now) for now in (100.0, 3699.0, 3700.0)] == [6.0, 6.0, 0.0]
    assert learned(Conditions(quiet=1.0), 6.0, 100.0, 100.0) == 0.0
    waiting = Candidate("x", 1, SINCE, TICK, 6.0)
    assert complete(Conditions(), waiting, True, Writer.NONE, SINCE + 5.0) == Verdict(
        False, "changed less than 6 s ago", SINCE + 6.0
    )
    assert complete(Conditions(), waiting, True, Writer.NONE, SINCE + 6.0).ok
