"""What is said now, given what was said when?"""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.model import Verdict
from rules.notice import NotificationState as Known
from rules.notice import Policy, Word, destination, digest, refusals

T = 1_800_000_000.0
POLICY = Policy(frozenset({"refused", "down", "recovered"}), after=300.0, every=3600.0)
EARLY = "it is down, and not for long, or it was told as down not long ago"


@pytest.mark.parametrize(
    ("up", "refused", "known", "word"),
    [
        (None, False, None, Word(None, "it has not been looked at yet", Known())),
        (None, False, Known(T - 9, T - 9, True), Word(None, "it has not been looked at yet", Known(T - 9, T - 9, True))),
        (True, False, None, Word(None, "it is up", None)),
        (False, False, None, Word(None, EARLY, Known(T), T + 300)),
        (False, False, Known(T - 299), Word(None, EARLY, Known(T - 299), T + 1)),
        (False, False, Known(T - 300), Word("down", "it is down", Known(T - 300, T, True))),
        (False, True, None, Word("down", "it waits for a person", Known(T, T, True, True))),
        (
            False, False, Known(T - 9e9, T - 8e9, True),
            Word(None, "it was told as down, and still is", Known(T - 9e9, T - 8e9, True)),
        ),
        (False, True, Known(T - 999, T - 99, True), Word("down", "it waits for a person", Known(T - 999, T, True, True))),
        (
            False, False, Known(T - 999, T - 99, True, True),
            Word(None, "it was told as down, and still is", Known(T - 999, T - 99, True, True)),
        ),
        (True, False, Known(T - 300), Word(None, "it is up", None)),
        (
            True, False, Known(T - 999, T - 99, True),
            Word("recovered", "it was told as down, and is up", Known(None, T - 99)),
        ),
        (
            True, False, Known(None, T - 99),
            Word(None, "it is up; when it was last told as down is remembered", Known(None, T - 99), T + 3501),
        ),
        (True, False, Known(None, T - 3600), Word(None, "it is up", None)),
        (False, False, Known(None, T - 99), Word(None, EARLY, Known(T, T - 99), T + 3501)),
        (False, True, Known(None, T - 99), Word(None, EARLY, Known(T, T - 99), T + 3501)),
        (False, False, Known(T - 400, T - 3600), Word("down", "it is down", Known(T - 400, T, True))),
    ],
)  # fmt: skip
def test_what_is_said_of_a_destination(up: bool | None, refused: bool, known: Known | None, word: Word) -> None:
    """Only what lasts, once; that it is back, once; again after an hour at the earliest."""
    assert destination(POLICY, up, refused, known, T) == word


def test_after_a_start_nothing_is_said_and_time_counts() -> None:
    """Until destinations were looked at; what was already known of them stands."""
    early = Word(None, EARLY, Known(T - 999), T + 30)
    assert destination(POLICY, False, False, Known(T - 999), T, T + 30) == early
    assert destination(POLICY, False, True, None, T, T + 30) == Word(None, EARLY, Known(T), T + 30)
    told = Known(T - 999, T - 99, True)
    maybe = Word(None, "it was told as down, and may be up", told, T + 30)
    assert destination(POLICY, True, False, told, T, T + 30) == maybe
    assert destination(POLICY, True, False, told, T + 30, T + 30).event == "recovered"


looks = st.lists(
    st.tuples(st.floats(1, 4000), st.sampled_from([(True, False), (False, False), (False, True), (None, False)])),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(looks)
def test_downs_and_recoveries_alternate_and_do_not_come_too_often(
    steps: list[tuple[float, tuple[bool | None, bool]]],
) -> None:
    """One `recovered` for each `down`; a second `down` before it only where waiting no longer helps."""
    now, known = T, None
    said: list[tuple[str, float, bool]] = []
    for seconds, (up, refused) in steps:
        now += seconds
        word = destination(POLICY, up, refused, known, now)
        known = word.notification_state
        if word.event is not None:
            assert word.event == ("recovered" if up else "down")
            said.append((word.event, now, refused))
    for (one, at, acute), (other, later, now_acute) in pairwise(said):
        if other == "recovered":
            assert one == "down"
        elif one == "down":
            assert (acute, now_acute) == (False, True)
        else:
            before = [when for event, when, _ in said if event == "down" and when < at]
            assert later - before[-1] >= POLICY.every
    assert not said or said[0][0] == "down"


@settings(max_examples=100, deadline=None)
@given(looks, st.booleans())
def test_what_stays_down_is_told_in_the_end(steps: list[tuple[float, tuple[bool | None, bool]]], refused: bool) -> None:
    """Whatever was before: asked again when the decision says so, it is told, and then believed to be down."""
    now, known = T, None
    for seconds, (up, acute) in steps:
        now += seconds
        known = destination(POLICY, up, acute, known, now).notification_state
    for _ in range(2):
        word = destination(POLICY, False, refused, known, now)
        known, now = word.notification_state, word.again_at or now
    assert known is not None
    assert known.standing
    assert known.acute or not refused


@pytest.mark.parametrize(
    ("files", "noticed", "told", "verdict"),
    [
        (0, T, None, Verdict(False, "every refused file was in a message")),
        (1, T, None, Verdict(False, "others may come that belong into the same message", T + 30)),
        (7, T - 30, None, Verdict(True, "7 files were refused")),
        (7, T - 30, T - 3599, Verdict(False, "others may come that belong into the same message", T + 1)),
        (7, T - 30, T - 3600, Verdict(True, "7 files were refused")),
    ],
)
def test_refused_files_come_together(files: int, noticed: float, told: float | None, verdict: Verdict) -> None:
    """Half a minute is waited for more, and an hour since the last message."""
    assert refusals(POLICY, files, noticed, told, T) == verdict


def test_where_nothing_changes_any_more_nothing_is_waited_for() -> None:
    """`run --once` ends: what stands then is told."""
    assert refusals(POLICY.without_waiting, 1, T, None, T).ok
    assert destination(POLICY.without_waiting, False, False, None, T).event == "down"


def test_the_digest_comes_once_at_its_time() -> None:
    """Not at the first thought of it; and once, however many times were slept through."""
    morning = POLICY._replace(digest="30 7 * * *")
    seven = 1_800_000_000.0 - 1_800_000_000.0 % 86400 + 7.5 * 3600
    assert digest(POLICY, None, T) == Verdict(False, "no digest is wanted")
    assert digest(morning, None, seven - 60) == Verdict(False, "it is not time yet", seven)
    assert digest(morning, seven - 60, seven - 1) == Verdict(False, "it is not time yet", seven)
    assert digest(morning, seven - 60, seven + 5 * 86400) == Verdict(True, f"its time was {seven:.0f}")
    assert digest(morning, seven + 5 * 86400, seven + 5 * 86400 + 1) == Verdict(
        False, "it is not time yet", seven + 6 * 86400
    )
