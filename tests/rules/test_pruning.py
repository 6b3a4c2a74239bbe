"""What the ledger forgets of versions that are over."""

from itertools import product

import pytest

from rules.versions.pruning import HISTORY, MOST_UNDELIVERED, UNDELIVERED, Over, What, horizons, prune

DAY = 86400.0
NOTHING = Over(
    age=2 * HISTORY, copied=False, replaced=False, on_its_way=False, latest=False, numbered=False, parts=False
)


@pytest.mark.parametrize(
    ("over", "what", "reason"),
    [
        ({}, What.FORGOTTEN, "no destination has a copy of it"),
        ({"latest": True}, What.FORGOTTEN, "no destination has a copy of it"),
        ({"latest": True, "numbered": True}, What.KEPT, "the next version of its path counts on from its number"),
        ({"numbered": True}, What.FORGOTTEN, "no destination has a copy of it"),
        (
            {"parts": True}, What.KEPT,
            "it says that no later version goes on from an earlier copy, which may be the only one of its content",
        ),
        ({"copied": True}, What.COMPACTED, "its copies are its own"),
        ({"copied": True, "age": HISTORY - 1}, What.KEPT, "its history is kept"),
        ({"copied": True, "on_its_way": True}, What.KEPT, "its batch is on its way"),
        ({"copied": True, "replaced": True}, What.FORGOTTEN, "a later version stands in the place of each of its copies"),
        ({"copied": True, "replaced": True, "latest": True}, What.COMPACTED, "its copies are its own"),
    ],
)  # fmt: skip
def test_each_verdict_has_its_reason(over: dict[str, bool], what: What, reason: str) -> None:
    """What has its own copy is never forgotten; of the rest, what another version's way depends on is kept."""
    assert prune(NOTHING._replace(**over), HISTORY) == (what, reason)


def test_what_has_a_copy_of_its_own_is_never_forgotten() -> None:
    """Whatever else is true of it."""
    for facts in product([False, True], repeat=5):
        over = Over(2 * HISTORY, True, False, *facts[1:])
        assert prune(over, HISTORY).what is not What.FORGOTTEN


@pytest.mark.parametrize(
    ("history", "crowded_since", "expected"),
    [
        (HISTORY, None, (-UNDELIVERED, -HISTORY)),
        (HISTORY, -DAY, (-DAY, -HISTORY)),
        (HISTORY, -2 * UNDELIVERED, (-UNDELIVERED, -HISTORY)),
        (DAY, None, (-DAY, -DAY)),
    ],
)
def test_what_was_never_delivered_is_forgotten_sooner(
    history: float, crowded_since: float | None, expected: tuple[float, float]
) -> None:
    """After a week, or once there are ten thousand younger ones; and never later than the rest."""
    assert horizons(history, crowded_since, 0.0) == expected
    assert MOST_UNDELIVERED == 10_000
