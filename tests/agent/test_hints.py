"""Hints that wait: bounded, and none is lost without a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.files import LOCAL
from agent.files.events import Hint
from agent.intake import hints as module
from agent.intake.hints import Hints
from agent.intake.watch import Watch

PATHS = st.builds("/{}/{}".format, st.sampled_from("abc"), st.integers(0, 8))
KINDS = st.sampled_from(
    [(False, False, False), (False, True, False), (True, False, False), (True, True, False), (False, False, True)]
)
ALL = st.lists(st.builds(lambda path, kind: Hint(path, *kind), PATHS, KINDS), max_size=40)


@given(ALL, st.lists(st.integers(1, 5), min_size=1))
def test_each_hint_is_covered_by_what_is_taken_or_by_a_sweep(given_hints: list[Hint], limits: list[int]) -> None:
    """Whatever comes: few are kept, and each path is named, or its directory is, or a sweep of all is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_NAMES", 6)
        patch.setattr(module, "MOST_DIRECTORIES", 4)
        kept, lost_until, taken = Hints(), 0, []
        for number, hint in enumerate(given_hints):
            if not kept.put([hint]):
                lost_until = number + 1
            assert kept._count == sum(len(names or ()) for names in kept._names.values()) <= 6
            assert max(len(kept._names), len(kept._directories)) <= 4
        while kept:
            for limit in limits:
                some = kept.take(limit)
                assert len(some) <= limit
                taken += some
        lists = {hint.path for hint in taken if hint.names}
        files = {hint.path: hint.gone for hint in taken if not hint.names and not hint.below}
        for hint in given_hints[lost_until:]:
            above = hint.path.rpartition("/")[0]
            if hint.below or hint.names:
                assert hint in taken
            else:
                assert above in lists or (hint.path in files and files[hint.path] >= hint.gone)


def test_a_program_that_makes_and_removes_names_for_ever_fills_no_memory() -> None:
    """Beyond the bound its directory is listed, and the hints of others stay as they are."""
    kept = Hints()
    assert kept.put([Hint("/d/scan.h5")])
    for number in range(3 * module.MOST_NAMES):
        assert kept.put([Hint(f"/tmp/{number}"), Hint(f"/tmp/{number}", gone=True)])
        assert kept._count <= module.MOST_NAMES
    assert kept.take(10) == [Hint("/d/scan.h5"), Hint("/tmp", names=True)]
    assert not kept


def test_each_directory_has_its_turn() -> None:
    """One with many names does not keep the others waiting."""
    kept = Hints()
    kept.put([Hint(f"/many/{number}") for number in range(10)])
    kept.put([Hint("/few/a")])
    assert kept.take(4) == [Hint(f"/many/{number}") for number in range(4)]
    assert kept.take(2) == [Hint("/few/a"), Hint("/many/4")]


def test_too_many_directories_are_one_loss() -> None:
    """The tree is swept, and however often it happens there is one reason."""
    watch = Watch(LOCAL, "/nowhere", lambda: None)
    for _ in range(3):
        watch._put([Hint(f"/d/{number}", below=True) for number in range(module.MOST_DIRECTORIES + 1)])
    assert watch._loss == "more changed than the agent remembers"
    assert watch.drain(10) == []
