"""The health of a destination."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.health import Condition, Health

NOW = 1_000.0
UP, PROBATION, DOWN, REFUSED = Condition
Step = Callable[[Health], Health]
STEPS: dict[str, Step] = {
    "answered": lambda health: health.answered(NOW, 30.0, idle=False),
    "answered, idle": lambda health: health.answered(NOW, 30.0, idle=True),
    "delivered": Health.delivered,
    "away": lambda health: health.away("gone", NOW, at_most=60.0, after=0.0, spread=0.0),
    "failed": lambda health: health.failed("full", NOW, at_most=60.0, spread=0.0),
    "refused": lambda health: health.refused("another directory", NOW),
    "not asked": lambda health: health.not_asked(NOW),
}
BEFORE = {
    "never asked": Health(),
    "up": Health(UP),
    "probation": Health(PROBATION, failures=2, delivery_failed=True),
    "away": Health(DOWN, "gone", failures=1),
    "failed": Health(DOWN, "full", failures=1, delivery_failed=True),
    "refused": Health(REFUSED, "another directory"),
    "failed, then refused": Health(REFUSED, "another directory", failures=1, delivery_failed=True),
}
TABLE: dict[str, tuple[Condition | None, ...]] = {
    #                       answered   idle  delivered  away  failed refused  not asked
    "never asked":          (UP,        UP,   None,      DOWN, DOWN,  REFUSED, None),
    "up":                   (UP,        UP,   UP,        DOWN, DOWN,  REFUSED, UP),
    "probation":            (PROBATION, UP,   UP,        DOWN, DOWN,  REFUSED, PROBATION),
    "away":                 (UP,        UP,   DOWN,      DOWN, DOWN,  REFUSED, DOWN),
    "failed":               (PROBATION, UP,   DOWN,      DOWN, DOWN,  REFUSED, DOWN),
    "refused":              (UP,        UP,   REFUSED,   DOWN, DOWN,  REFUSED, REFUSED),
    "failed, then refused": (PROBATION, UP,   REFUSED,   DOWN, DOWN,  REFUSED, REFUSED),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), TABLE.items())
def test_the_table_of_transitions(before: str, after: tuple[Condition | None, ...]) -> None:
    """Each condition after each answer."""
    assert tuple(step(BEFORE[before]).condition for step in STEPS.values()) == after


def test_when_it_is_asked_next() -> None:
    """After each answer, from a destination that failed once."""
    once = Health(DOWN, "full", failures=1, delivery_failed=True)
    assert {name: step(once).check_at - NOW for name, step in STEPS.items()} == {
        "answered": 30.0, "answered, idle": 30.0, "delivered": -NOW, "away": 2.0, "failed": 2.0,
        "refused": 5.0, "not asked": 5.0,
    }  # fmt: skip
    assert STEPS["failed"](Health(UP)).check_at == STEPS["away"](Health(UP)).check_at == NOW + 1.0
    assert once.away("gone", NOW, at_most=60.0, after=40.0, spread=0.25).check_at == NOW + 50.0


def test_what_may_be_sent() -> None:
    """Submissions go to what is up, one at a time to what is on probation, and to nothing else."""
    assert {condition: Health(condition).sends for condition in (None, *Condition)} == {
        None: False, UP: True, PROBATION: True, DOWN: False, REFUSED: False,
    }  # fmt: skip


def test_what_is_up_has_no_reason_and_no_failures() -> None:
    """Whatever was before."""
    assert Health(DOWN, "gone", failures=9).answered(NOW, 30.0, idle=False) == Health(UP, check_at=NOW + 30.0)
    assert Health(PROBATION, failures=9, delivery_failed=True).delivered() == Health(UP)


@given(st.lists(st.sampled_from(list(STEPS)), max_size=30))
def test_after_a_failed_delivery_one_succeeds_before_it_is_up(names: list[str]) -> None:
    """Answers alone do not end it, however it goes on."""
    health = STEPS["failed"](Health(UP))
    for name in names:
        health = STEPS[name](health)
        if health.condition is UP:
            assert name in ("delivered", "answered, idle")
            break
        assert health.delivery_failed
        assert health.failures >= 1
