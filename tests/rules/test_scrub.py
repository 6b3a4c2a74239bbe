"""Which copies are read again, how fast, and what follows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.model import Content, Verdict
from rules.naming import Claim, Occupant, Owner, claim, own_name, undamaged_name
from rules.scrub import DAY, IS_BACK, MOST_OPEN, Consequence, CopyStatus, Scrub, consequence, due, paid, resolved

NOW = 1_000_000_000.0
MONTHLY = Scrub(per_day=50 * 10**9, every=30 * DAY)
laws = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize(
    ("oldest", "free_at", "findings", "verdict"),
    [
        (None, 0.0, 0, Verdict(False, "there is no copy to read")),
        (NOW - 31 * DAY, 0.0, 0, Verdict(True, "proved 31 d ago")),
        (NOW - 31 * DAY, NOW, MOST_OPEN - 1, Verdict(True, "proved 31 d ago")),
        (NOW - 31 * DAY, NOW + 9, 0, Verdict(False, "its rate allows no more just now", NOW + 9)),
        (NOW - 29 * DAY, 0.0, 0, Verdict(False, "each copy was read less than 30 d ago", NOW + DAY)),
        (
            NOW - 31 * DAY, 0.0, MOST_OPEN,
            Verdict(False, "1000 copies are wrong already; a person must look before more are read"),
        ),
    ],
)  # fmt: skip
def test_the_oldest_proof_is_read_again_when_period_and_rate_allow(
    oldest: float | None, free_at: float, findings: int, verdict: Verdict
) -> None:
    """Each reason to wait says when it ends, where time alone ends it."""
    assert due(MONTHLY, oldest, free_at, findings, NOW) == verdict


@laws
@given(
    st.lists(st.tuples(st.integers(0, 10**11), st.floats(0, DAY)), min_size=1, max_size=60), st.integers(10**6, 10**13)
)
def test_the_rate_holds_over_any_time(work: list[tuple[int, float]], per_day: int) -> None:
    """Whoever reads only when it is allowed reads, but for one copy and a minute's credit, no more than the rate."""
    scrub, now, free_at, read, largest = Scrub(per_day, 0.0), NOW, 0.0, 0, 0
    for size, pause in work:
        now += pause
        now = max(now, free_at)
        free_at = paid(scrub, free_at, size, now)
        read, largest = read + size, max(largest, size)
    assert read <= (now - NOW + 60.0) * per_day / DAY * (1 + 1e-6) + largest + 1


def test_a_person_is_told_what_to_do_about_each_copy() -> None:
    """Here, it travels again; gone, other copies are named; what could not be read or compared disproves nothing."""
    mirror = [("mirror", "run/a.dat")]
    found = {
        (copy_status.value, here, bool(others)): consequence(copy_status, "share", here=here, others=others)
        for copy_status in CopyStatus
        if not copy_status.well
        for here in (True, False)
        for others in (mirror, [])
    }
    assert {key: (one.withdrawn, one.hint) for key, one in found.items() if key[0] in ("changed", "missing")} == {
        **dict.fromkeys(
            [("changed", True, True), ("changed", True, False)],
            (
                True,
                "the local copy is kept and delivered again; what stands there is not touched: look at it, and move it away",
            ),
        ),
        **dict.fromkeys(
            [("missing", True, True), ("missing", True, False)], (True, "the local copy is kept and delivered again")
        ),
        ("changed", False, True): (
            False,
            "the local copy is gone, but mirror has it as 'run/a.dat': copy it from there,"
            " or `dropline verify share --accept changed`",
        ),
        ("changed", False, False): (
            False,
            "the local copy is gone, and no other destination has it: restore it from a backup,"
            " or `dropline verify share --accept changed`",
        ),
        ("missing", False, True): (
            False,
            "the local copy is gone, but mirror has it as 'run/a.dat': copy it from there,"
            " or `dropline verify share --accept missing`",
        ),
        ("missing", False, False): (
            False,
            "the local copy is gone, and no other destination has it: restore it from a backup,"
            " or `dropline verify share --accept missing`",
        ),
    }
    assert {(key[0], one.withdrawn, one.hint) for key, one in found.items() if key[0] in ("unreadable", "doubtful")} == {
        ("unreadable", False, "mend that there; it is read again within a day"),
        (
            "doubtful", False,
            "its content cannot be asked for from here: compare it there, then `dropline verify share --accept doubtful`",
        ),
    }  # fmt: skip


def test_a_finding_is_closed_by_what_mends_it_and_by_nothing_else() -> None:
    """The content is back, or what had changed was moved away while the file is proved under another name."""
    bad = [copy_status for copy_status in CopyStatus if not copy_status.well]
    closed = {
        (former, copy_status, another): why
        for former in bad
        for copy_status in CopyStatus
        for another in (True, False)
        if (why := resolved(former, copy_status, proved_at_another=another))
    }
    moved = "it was moved away, and the copy that was delivered again is proved"
    back = {
        (one, copy_status, where): IS_BACK
        for one in bad
        for copy_status in (CopyStatus.GOOD, CopyStatus.STAT)
        for where in (True, False)
    }
    assert closed == back | {(CopyStatus.CHANGED, CopyStatus.MISSING, True): moved}


def damaged_owner(content: bytes, *, in_place: bool = False) -> Owner:
    """A file whose copy was read again, and was not what had been delivered."""
    return Owner("/data/a.dat", True, True, Content(content, 6), "a.dat", in_place, damaged=True)


@pytest.mark.parametrize("occupant", [b"proved", b"rotten", None])
@pytest.mark.parametrize("in_place", [True, False])
def test_what_was_found_changed_is_never_replaced(occupant: bytes | None, in_place: bool) -> None:
    """Whatever stands at the name, the file that is delivered again gets its own name."""
    what, reason, _ = claim("a.dat", Occupant(6, occupant), [damaged_owner(b"proved", in_place=in_place)])
    assert (what, reason) == (
        Claim.OWN_NAME, "what is at 'a.dat' is not what was delivered there, and is left for a person to look at",
    )  # fmt: skip


def test_each_spoiled_copy_leaves_another_name() -> None:
    """The same choice each time it is made, and never a name at which a copy was damaged."""
    names: list[str] = []
    for _ in range(4):
        names.append(undamaged_name("run/a.dat", 1, names))
    assert names == ["run/a~1.dat", "run/a~1~2.dat", "run/a~1~3.dat", "run/a~1~4.dat"]
    assert names[0] == own_name("run/a.dat", 1)


@pytest.mark.parametrize("copy_status", [CopyStatus.CHANGED, CopyStatus.MISSING])
@pytest.mark.parametrize("others", [[], [("mirror", "a")]])
def test_a_local_copy_that_cannot_be_looked_at_is_not_gone(
    copy_status: CopyStatus, others: list[tuple[str, str]]
) -> None:
    """Nobody is sent to a backup, nothing is withdrawn, and it is asked again."""
    assert consequence(copy_status, "share", here=None, others=others) == Consequence(
        False, "whether the local copy is still here cannot be told now; it is read again within a day"
    )
