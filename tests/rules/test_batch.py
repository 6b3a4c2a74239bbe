"""Which files travel together, and when they leave."""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules import batch
from rules.model import OpenBatch, Verdict
from rules.rule import Rule, Sealing

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
laws = settings(max_examples=100, deadline=None)
RUN = re.compile(r"(?P<run>run_\d+)(?:/(?P<part>[ab]))?")


def rule(by: str) -> Rule:
    """A rule that groups so."""
    return Rule("r", "/data", capture=RUN, batch=Sealing(by=by))


@pytest.mark.parametrize(
    ("by", "relpath", "key"),
    [
        ("dir", "x.h5", ""),
        ("dir", "run_1/a/x.h5", "run_1/a"),
        ("capture", "run_1/a/x.h5", "run_1/a"),
        ("capture", "run_1/c/x.h5", "run_1/"),
        ("capture", "other/x.h5", "/"),
        ("{run}", "run_1/a/x.h5", "run_1"),
        ("{run}", "other/x.h5", ""),
        ("{rule}-{suffix}", "run_1/x.h5", "r-.h5"),
        ("{mtime:%Y-%m-%d}", "x.h5", "2026-01-31"),
        ("{host}", "x.h5", "pc"),
    ],
)
def test_the_key(by: str, relpath: str, key: str) -> None:
    """Files of one directory, of the same captured groups, or of the same template value share a key."""
    assert batch.key(rule(by), relpath, int(NOON) * 10**9, "pc") == key


@laws
@given(st.integers(-(2**63), 2**63 - 1).map(lambda seconds: seconds * 10**9), st.sampled_from(["{mtime:%Y}", "{run}"]))
def test_any_mtime_has_a_key(mtime_ns: int, by: str) -> None:
    """A file with an absurd mtime gets a key like any other, of the calendar's nearest year: it stops no file beside it."""
    year = 1970 + mtime_ns / (365.2425 * 86400 * 10**9)
    key = batch.key(rule(by), "run_1/x", mtime_ns, "pc")
    if by == "{run}":
        assert key == "run_1"
    else:
        assert abs(int(key) - min(max(year, 1), 9999)) <= 1


@pytest.mark.parametrize(
    ("sealing", "files", "size", "after", "verdict"),
    [
        (Sealing(), 500, 0, 0.0, Verdict(True, "500 files (max_files)")),
        (Sealing(max_bytes=1000), 1, 1000, 0.0, Verdict(True, "1 kB (max_bytes)")),
        (Sealing(max_bytes=0), 1, 0, 0.0, Verdict(True, "0 B (max_bytes)")),
        (Sealing(), 1, 1, 0.0, Verdict(True, "no more files for 0 ms (linger)")),
        (Sealing(linger=4.0), 499, 1, 3.0, Verdict(False, "waits for more files (linger)", NOON + 14.0)),
        (Sealing(linger=4.0), 499, 1, 4.0, Verdict(True, "no more files for 4 s (linger)")),
        (Sealing(linger=2.0), 1, 1, 0.0, Verdict(True, "open for 10 s (max_age)")),
        (Sealing(linger=2.5), 1, 1, 0.0, Verdict(False, "waits for more files (linger)", NOON + 12.5)),
        (Sealing(linger=0.0), 1, 1, 0.0, Verdict(True, "no more files for 0 ms (linger)")),
        (Sealing(linger=60.0, max_age=20.0), 1, 1, 0.0, Verdict(False, "waits for more files (linger)", NOON + 20.0)),
        (Sealing(linger=60.0, max_age=20.0), 1, 1, 10.0, Verdict(True, "open for 20 s (max_age)")),
        (
            Sealing(schedule="30 3 * * *"), 1, 1, 3600.0,
            Verdict(False, "waits for its schedule '30 3 * * *'", NOON + 15.5 * 3600),
        ),
        (Sealing(schedule="30 3 * * *"), 1, 1, 15.5 * 3600, Verdict(True, "schedule '30 3 * * *'")),
        (
            Sealing(schedule="30 3 * * *"), 500, 1, 3600.0,
            Verdict(False, "waits for its schedule '30 3 * * *'", NOON + 15.5 * 3600),
        ),
    ],
)  # fmt: skip
def test_sealing(sealing: Sealing, files: int, size: int, after: float, verdict: Verdict) -> None:
    """A group leaves by its schedule if it has one, full or not; else when it is full, when nobody joins it, or when it is old."""
    group = OpenBatch("k", files, size, NOON, NOON + 10)
    now = NOON + after if sealing.schedule else NOON + 10 + after
    assert batch.seal(sealing, group, now) == verdict


seconds = st.floats(0, 1e7)
sealings = st.builds(
    Sealing, max_files=st.integers(1, 5), max_bytes=st.integers(0, 5), linger=seconds, max_age=st.none() | seconds,
    schedule=st.none() | st.sampled_from(["* * * * *", "30 3 * * *", "0 0 1 1 *", "0 12 29 2 *"]),
)  # fmt: skip
groups = st.builds(
    lambda files, size, first, more: OpenBatch("k", files, size, first, first + more),
    st.integers(1, 5), st.integers(0, 5), st.floats(0, 3e9), seconds,
)  # fmt: skip


@laws
@given(sealings, groups, st.floats(0, 1e7))
def test_every_group_is_sealed_when_it_says(sealing: Sealing, group: OpenBatch, after: float) -> None:
    """A group that waits is sealed at `again_at`, not before, and with nothing else having happened."""
    sealing, group = replace(sealing, max_files=6, max_bytes=6), replace(group, last_at=group.first_at + after)
    now = min(math.nextafter(group.last_at + sealing.linger, -math.inf), group.last_at)
    verdict = batch.seal(sealing, group, now)
    assert verdict.ok == (verdict.again_at is None)
    if verdict.again_at is not None:
        assert verdict.again_at > now
        assert batch.seal(sealing, group, math.nextafter(verdict.again_at, -math.inf)) == verdict
        assert batch.seal(sealing, group, verdict.again_at).ok


@laws
@given(sealings, groups, st.floats(0, 1e7))
def test_what_waits_has_a_reason_to(sealing: Sealing, group: OpenBatch, after: float) -> None:
    """A group stays open while its time has not come by its schedule, or, without one, while it has room, by its linger and age."""
    now = group.last_at + after
    if sealing.schedule is None:
        oldest = 5 * sealing.linger if sealing.max_age is None else sealing.max_age
        time = now >= group.last_at + sealing.linger or now >= group.first_at + oldest
    else:
        time = now >= batch.next_time(sealing.schedule, group.first_at)
    full = group.files >= sealing.max_files or group.bytes >= sealing.max_bytes
    assert batch.seal(sealing, group, now).ok == (time or (full and sealing.schedule is None))
    assert batch.full(sealing, group) == full


@laws
@given(sealings, groups, st.floats(0, 1e7), st.floats(0, 1e9))
def test_sealed_stays_sealed(sealing: Sealing, group: OpenBatch, after: float, longer: float) -> None:
    """A group that may leave may leave at any later time."""
    verdict = batch.seal(sealing, group, group.last_at + after)
    first = group.last_at + after if verdict.again_at is None else verdict.again_at
    assert batch.seal(sealing, group, first).ok
    assert batch.seal(sealing, group, first + longer).ok


@laws
@given(sealings, groups, st.floats(0, 1e7))
def test_no_group_waits_longer_than_its_age(sealing: Sealing, group: OpenBatch, after: float) -> None:
    """Without a schedule, a group as old as max_age (five lingers by default) is sealed, however files keep joining."""
    oldest = 5 * sealing.linger if sealing.max_age is None else sealing.max_age
    if sealing.schedule is None:
        assert batch.seal(sealing, group, max(group.last_at, group.first_at + oldest) + after).ok


@laws
@given(st.floats(0, 3e9))
def test_a_schedule_is_never_now(after: float) -> None:
    """The next time of a schedule is the first one strictly later, by the clock of its zone."""
    for zone in (UTC, BERLIN):
        due = batch.next_time("30 3 * * *", after, zone)
        assert 0 < due - after <= 90000
        assert datetime.fromtimestamp(due, zone).strftime("%H:%M:%S") == "03:30:00"


@pytest.mark.parametrize(
    ("schedule", "after", "times"),
    [
        ("30 2 * * *", "2026-03-28T12:00+01:00", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("30 2 * * *", "2026-10-24T12:00+02:00", ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        ("30 2 * * *", "2026-10-25T02:10+01:00", ["2026-10-26T02:30:00+01:00", "2026-10-27T02:30:00+01:00"]),
        ("*/30 * * * *", "2026-10-25T02:15+02:00", ["2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00"]),
    ],
)
def test_a_clock_that_is_put_forward_or_back(schedule: str, after: str, times: list[str]) -> None:
    """A time that is not there comes when the skipped hour ends, one that is there twice comes once, and each half hour counts."""
    begin = datetime.fromisoformat(after).timestamp()
    assert [one.isoformat() for one in batch.next_times(schedule, begin, BERLIN, 2)] == times


class Due(NamedTuple):
    """A delivery that is due."""

    number: int
    rule: str
    submission: int | None
    resumed: bool
    files: int
    size: int
    failures: int = 0


deliveries = st.lists(
    st.tuples(st.sampled_from("ab"), st.none() | st.integers(1, 3), st.integers(0, 30), st.integers(0, 300)),
    max_size=30,
).map(lambda rows: [Due(number, rule, sub, sub is not None, *sizes) for number, (rule, sub, *sizes) in enumerate(rows)])


@laws
@given(deliveries)
def test_a_request_carries_what_is_due_for_one_rule_up_to_its_limits(due: list[Due]) -> None:
    """All deliveries once, in their order; a new request has one rule, and more than one delivery only within the limits."""
    found = batch.together(due, 50, 500)
    assert sorted(one.number for group in found for one in group) == [one.number for one in due]
    assert [group[0].number for group in found] == sorted(group[0].number for group in found)
    for group in found:
        assert [one.number for one in group] == sorted(one.number for one in group)
        if not group[0].resumed:
            assert {(one.rule, one.resumed) for one in group} == {(group[0].rule, False)}
            files, size = sum(one.files for one in group), sum(one.size for one in group)
            assert len(group) == 1 or (files <= 50 and size <= 500)


@laws
@given(deliveries)
def test_what_was_one_request_stays_one(due: list[Due]) -> None:
    """Whatever the limits are by now: a service that has the request takes no other for the same files."""
    found = [{one.submission for one in group} for group in batch.together(due, 1, 1) if group[0].resumed]
    assert sorted(map(list, found)) == sorted([one] for one in {one.submission for one in due if one.resumed})


def test_what_failed_together_does_not_fail_together_for_ever() -> None:
    """One path that a service does not take refuses the whole request: the others are alone with themselves in the end."""
    sizes = []
    for failures in range(5):
        due = [Due(number, "nightly", None, False, 1, 1, failures) for number in range(100)]
        sizes.append(max(len(group) for group in batch.together(due, 2_000, 10**9)))
    assert sizes == [100, 32, 4, 1, 1]


def test_a_nightly_rule_makes_one_request() -> None:
    """Forty folders, one request; with no limits given, each has its own."""
    due = [Due(number, "nightly", None, False, 50, 10**9) for number in range(40)]
    assert batch.together(due, 2_000, 500 * 10**9) == [due]
    assert batch.together(due, 0, 0) == [[one] for one in due]


def test_the_limits_of_a_request_are_what_it_may_hold() -> None:
    """A request is full at its limit of files or bytes, not below it; the next delivery begins another one."""
    due = [Due(number, "r", None, False, 5, 50) for number in range(3)]
    assert [len(group) for group in batch.together(due, 10, 1_000)] == [2, 1]
    assert [len(group) for group in batch.together(due, 1_000, 100)] == [2, 1]


@pytest.mark.parametrize(
    ("sealing", "seconds"),
    [(Sealing(linger=2.0), 10.0), (Sealing(linger=2.0, max_age=3.0), 3.0), (Sealing(linger=None), 0.0)],
)
def test_how_long_a_steady_stream_holds_a_batch_open(sealing: Sealing, seconds: float) -> None:
    """Five times its linger, unless its rule says how long."""
    assert batch.max_age(sealing) == seconds
