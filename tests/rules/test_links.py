"""Which links may be made at a destination, and words about them."""

from posixpath import dirname, join, normpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.links import not_copied_in_words, some, uncopiable

parts = st.lists(st.sampled_from(["a", "b", "..", ".", "..."]), min_size=1, max_size=6).map("/".join)


@pytest.mark.parametrize(
    ("path", "target", "reason"),
    [
        ("run/job3/a", "../job2/a", None),
        ("run/a", "../b", None),
        ("a", "b", None),
        ("a", "...", None),
        ("a", "../b", "it leads to ../b, out of the destination"),
        ("run/a", "x/../../../b", "it leads to x/../../../b, out of the destination"),
        ("run/a", "/data/b", "it leads to /data/b, which is another place at the destination, or none"),
    ],
)
def test_a_link_leads_nowhere_out_of_the_destination(path: str, target: str, reason: str | None) -> None:
    """Relative ones keep their meaning beside the data; absolute ones are of another computer."""
    assert uncopiable(path, target) == reason


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join), parts)
def test_what_may_be_made_stays_below(path: str, target: str) -> None:
    """Wherever the destination is."""
    for top in ("/share", "/a/b"):
        there = normpath(join(dirname(f"{top}/{path}"), target))
        if uncopiable(path, target) is None:
            assert there == top or there.startswith(f"{top}/")


def test_counts_are_named() -> None:
    """One, several, and more than are named."""
    assert (not_copied_in_words(1), not_copied_in_words(1200)) == (
        "1 link of it is not copied yet", "1,200 links of it are not copied yet",
    )  # fmt: skip
    assert (some(["a"], 1), some(["a", "b"], 1002)) == ("a", "a, b and 1,000 more")
