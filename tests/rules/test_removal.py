"""May a person remove the local copies?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import Verdict
from rules.removal import Standing, removal

ALL = Standing(here=3, waiting=0, refused=0, removed=0, below=False)


@pytest.mark.parametrize(
    ("standing", "proved", "weak", "claimed", "verdict"),
    [
        (ALL, {"a": 3, "b": 3}, {}, True, Verdict(True, "proved at a and b")),
        (ALL._replace(removed=9), {"a": 3}, {}, True, Verdict(True, "proved at a")),
        (ALL, {"a": 3, "b": 2}, {}, True, Verdict(False, "not yet: at b, 2 of 3 are proved")),
        (ALL, {"a": 1}, {"a": 2}, True, Verdict(False, "not yet: at a, only size and mtime were compared")),
        (ALL, {"a": 1}, {"a": 1}, True, Verdict(False, "not yet: at a, 1 of 3 are proved")),
        (ALL, {}, {}, True, Verdict(False, "no rule says where copies must be")),
        (ALL, {"a": 3}, {}, False, Verdict(False, "no rule says where copies must be")),
        (ALL._replace(waiting=1), {"a": 3}, {}, True, Verdict(False, "not yet: 1 file is on the way")),
        (ALL._replace(waiting=2000), {"a": 3}, {}, True, Verdict(False, "not yet: 2,000 files are on the way")),
        (
            ALL._replace(refused=1, waiting=1), {"a": 3}, {}, True,
            Verdict(False, "no: 1 file is not delivered, a person must act"),
        ),
        (
            ALL._replace(below=True), {"a": 3}, {}, True,
            Verdict(False, "these files, yes; something in the folders below is not safe yet"),
        ),
        (ALL._replace(here=0, removed=3), {"a": 0}, {}, True, Verdict(False, "removed here already")),
        (ALL._replace(here=0), {}, {}, True, Verdict(False, "nothing is here")),
    ],
)  # fmt: skip
def test_the_verdict_and_its_reason(
    standing: Standing, proved: dict[str, int], weak: dict[str, int], claimed: bool, verdict: Verdict
) -> None:
    """Yes only with proof from each required destination for each version that is here; else why not."""
    assert removal(standing, proved, weak, claimed=claimed) == verdict


@given(
    st.builds(Standing, *[st.integers(0, 3)] * 4, st.booleans()),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)),
    st.booleans(),
)
def test_yes_means_that_nothing_is_missing(
    standing: Standing, proved: dict[str, int], weak: dict[str, int], claimed: bool
) -> None:
    """Whatever the counts are."""
    if removal(standing, proved, weak, claimed=claimed).ok:
        assert standing.here > 0
        assert (standing.waiting, standing.refused, standing.below, claimed) == (0, 0, False, True)
        assert proved
        assert all(count >= standing.here for count in proved.values())
