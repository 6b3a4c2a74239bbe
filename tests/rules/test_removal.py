"""May a person remove the local copies?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import Verdict
from rules.removal import InFolder, Standing, folder_removal, removal

ALL = Standing(here=3, waiting=0, refused=0, reclaimed=0, removed=0, below=False)


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
        (ALL._replace(here=0, reclaimed=3), {"a": 0}, {}, True, Verdict(False, "reclaimed already")),
        (ALL._replace(here=0, removed=3), {"a": 0}, {}, True, Verdict(False, "removed already, by somebody else")),
        (
            ALL._replace(here=0, reclaimed=2, removed=3), {"a": 0}, {}, True,
            Verdict(False, "gone already: 2 reclaimed, 3 removed by somebody else"),
        ),
        (ALL._replace(here=0), {}, {}, True, Verdict(False, "nothing is here")),
    ],
)  # fmt: skip
def test_the_verdict_and_its_reason(
    standing: Standing, proved: dict[str, int], weak: dict[str, int], claimed: bool, verdict: Verdict
) -> None:
    """Yes only with proof from each required destination for each version that is here; else why not."""
    assert removal(standing, proved, weak, claimed=claimed) == verdict


@st.composite
def accepted(draw: st.DrawFn) -> tuple[Standing, dict[str, int]]:
    """Versions that are all here, with proof from every required destination, of which there is one at least."""
    standing = Standing(draw(st.integers(1, 5)), 0, 0, draw(st.integers(0, 5)), draw(st.integers(0, 5)), below=False)
    proved = draw(st.dictionaries(st.sampled_from("abc"), st.integers(standing.here, 9), min_size=1))
    return standing, proved


weak_st = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9))


@given(accepted(), weak_st, st.data())
def test_yes_means_that_nothing_is_missing(
    case: tuple[Standing, dict[str, int]], weak: dict[str, int], data: st.DataObject
) -> None:
    """What is safe is not safe with anything waiting, refused, unclaimed or below, nor with one proof less, weaker ones or not."""
    standing, proved = case
    assert removal(standing, proved, weak, claimed=True).ok
    for other in (
        standing._replace(here=0), standing._replace(waiting=1), standing._replace(refused=1), standing._replace(below=True),
        standing._replace(ignored=1),
    ):  # fmt: skip
        assert not removal(other, proved, weak, claimed=True).ok
    assert not removal(standing, proved, weak, claimed=False).ok
    assert not removal(standing, {}, weak, claimed=True).ok
    one = data.draw(st.sampled_from(sorted(proved)))
    fewer = data.draw(st.integers(0, standing.here - 1))
    assert not removal(standing, proved | {one: fewer}, weak, claimed=True).ok
    assert not removal(standing._replace(here=max(proved.values()) + 1), proved, weak, claimed=True).ok


@given(st.builds(Standing, *[st.integers(0, 3)] * 4, st.booleans()), weak_st, weak_st, st.booleans())
def test_a_no_has_a_reason(standing: Standing, proved: dict[str, int], weak: dict[str, int], claimed: bool) -> None:
    """It is no exactly where something is missing."""
    missing = (
        not standing.here or standing.waiting or standing.refused or standing.below or standing.ignored or not claimed
        or not proved or min(proved.values()) < standing.here
    )  # fmt: skip
    assert removal(standing, proved, weak, claimed=claimed).ok == (not missing)


SEEN = InFolder(changed=(), new=(), others=(), unseen="")
YES = Verdict(True, "proved at a")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (SEEN, YES),
        (SEEN._replace(changed=["a", "b"]), "not yet: changed since it was proved: a, b"),
        (SEEN._replace(new=["a"]), "not yet: the agent has not taken it up yet: a"),
        (SEEN._replace(unseen="it is damaged"), "cannot tell: it is damaged"),
        (SEEN._replace(others=["a"]), "safe, but for 1 file that no rule delivers: a"),
        (SEEN._replace(others=["a/"]), "safe, but for 1 folder that no rule delivers: a/"),
        (SEEN._replace(others=["a/", "b/"]), "safe, but for 2 folders that no rule delivers: a/, b/"),
        (
            SEEN._replace(excluded=["lost+found/"]),
            "safe, but for 1 folder that no rule delivers: lost+found/ (excluded folder, not looked into)",
        ),
        (
            SEEN._replace(others=["a"], excluded=["b/"]),
            "safe, but for 2 files and folders that no rule delivers: a, b/ (excluded folder, not looked into)",
        ),
        (
            SEEN._replace(others=["a", "b", "c", "d/"]),
            "safe, but for 4 files and folders that no rule delivers: a, b, c and 1 more",
        ),
    ],
)
def test_a_folder_is_safe_only_where_nothing_else_is_in_it(found: InFolder, said: Verdict | str) -> None:
    """The reason names what else there is."""
    assert folder_removal(YES, found) == (said if isinstance(said, Verdict) else Verdict(False, said))


@given(
    names := st.lists(st.sampled_from(["a", "b/", "c\n"]), max_size=4), names, names, names,
    st.sampled_from(["", "cannot be listed"]), st.booleans(),
)  # fmt: skip
def test_what_is_found_in_a_folder_never_makes_it_safer(
    changed: list[str], new: list[str], others: list[str], excluded: list[str], unseen: str, ok: bool
) -> None:
    """Only where its files may go, and it holds nothing else, and all was seen, is the folder safe to remove."""
    before = Verdict(ok, "as it is")
    found = InFolder(changed, new, others, unseen, excluded)
    alone = found == SEEN._replace(changed=[], new=[], others=[], excluded=[])
    assert folder_removal(before, found).ok == (ok and alone)
    assert ok or folder_removal(before, found) == before
