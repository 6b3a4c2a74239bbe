"""Tasks in words, and when to look again; how long a login lasts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.globus.credentials import UNUSED_FOR, warning
from rules.globus.task import FIRST_LOOK, LAST_LOOK, Reading, Stage, next_look, read

laws = settings(max_examples=200, deadline=None)
DAY = 86400.0


@pytest.mark.parametrize(
    ("status", "nice", "fatal", "paused", "stage"),
    [
        ("ACTIVE", "OK", None, False, Stage.MOVING),
        ("ACTIVE", "Queued", None, False, Stage.MOVING),
        ("ACTIVE", None, None, False, Stage.MOVING),
        ("ACTIVE", "OK", None, True, Stage.HELD),
        ("ACTIVE", "FILE_NOT_FOUND", None, True, Stage.HELD),
        ("ACTIVE", "GC_NOT_CONNECTED", None, False, Stage.HELD),
        ("ACTIVE", "QUOTA_EXCEEDED", None, False, Stage.HELD),
        ("ACTIVE", "SOMETHING_NEW", None, False, Stage.HELD),
        ("ACTIVE", "FILE_NOT_FOUND", None, False, Stage.STUCK),
        ("ACTIVE", "PERMISSION_DENIED", None, False, Stage.STUCK),
        ("ACTIVE", "FILE_SIZE_CHANGED", None, False, Stage.STUCK),
        ("INACTIVE", "AUTH", None, False, Stage.SUSPENDED),
        ("SUCCEEDED", None, None, False, Stage.SUCCEEDED),
        ("FAILED", None, "CANCELED", False, Stage.FAILED),
    ],
)
def test_where_a_task_stands(status: str, nice: str | None, fatal: str | None, paused: bool, stage: Stage) -> None:
    """Errors of single files are looked into; others are waited out; what is paused is paused, whatever it met before."""
    assert read(status, nice, fatal, paused=paused).stage is stage


@pytest.mark.parametrize(
    ("fatal", "reason"),
    [
        ("CANCELED", "it was cancelled"), ("EXPIRED", "its time was over before it was done"),
        ("FILE_NOT_FOUND", "it failed: file not found"), (None, "it failed: for no stated reason"),
    ],
)  # fmt: skip
def test_why_a_task_failed(fatal: str | None, reason: str) -> None:
    """In words."""
    assert read("FAILED", None, fatal, paused=False) == Reading(Stage.FAILED, reason)


@laws
@given(st.text(max_size=20), st.none() | st.text(max_size=20), st.none() | st.text(max_size=20), st.booleans())
def test_whatever_the_service_says_is_read(status: str, nice: str | None, fatal: str | None, paused: bool) -> None:
    """Unknown words make no error, and everything but moving and success has a reason."""
    found = read(status, nice, fatal, paused=paused)
    assert bool(found.reason) == (found.stage not in (Stage.MOVING, Stage.SUCCEEDED))


@laws
@given(st.floats(0, 1e9), st.floats(0, 1e7))
def test_looks_come_seldom_when_a_task_takes_long(begun: float, age: float) -> None:
    """Between half a second and a minute, and never sooner for an older task."""
    now = begun + age
    wait, later = next_look(begun, now) - now, next_look(begun, now + 1) - (now + 1)
    assert FIRST_LOOK - 1e-3 <= wait <= LAST_LOOK + 1e-3
    assert later >= wait - 1e-3


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (UNUSED_FOR, None),
        (15 * DAY, None),
        (14 * DAY, "the login to Globus ends in 14 d unless it is used; run `dropline login`"),
        (-1.0, "the login to Globus has probably ended, for it was not used; run `dropline login`"),
    ],
)
def test_a_login_that_ends_soon(left: float, said: str | None) -> None:
    """Two weeks before, and from then on."""
    assert warning(1e9 + left, 1e9, "run `dropline login`") == said
