"""Patterns of one name, tried on many names."""

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.match import is_marker, marked_by, marker_for
from rules.patterns.glob import Glob, Names, spec_of
from rules.rule import Conditions, Rule

LETTERS = st.text("ab.[]*?!\\ \n\udcff", max_size=5)
PATTERN = st.lists(
    st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "[]a]", "[", "]", "\\*", " ", "{f}", "{g}"]),
    min_size=1,
    max_size=6,
).map("".join)


@pytest.mark.filterwarnings("ignore:Possible (nested set|set):FutureWarning")  # such as [[a]: it means what it says
@given(PATTERN, LETTERS, LETTERS, st.lists(LETTERS.filter(bool), max_size=12))
def test_the_likely_names_have_all_that_match(pattern: str, one: str, other: str, names: list[str]) -> None:
    """Whatever the pattern and its fields: what is found is what a look at each name finds, in order."""
    fields = {"f": one, "g": other}
    glob, spec = Glob(pattern, fields), spec_of(Glob(pattern, fields).text)
    names += [one, other, one + other, f"{one}.done"]
    found = sorted(name for name in names if spec.match_file(name))
    assert list(Names(names).like(glob)) == found
    assert Names(names).any_like(glob) == bool(found)
    if glob.name is not None:
        assert set(found) <= {glob.name}


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a pattern was tried on a name."""
    counted, match_file = Counter[str](), Glob.match_file

    def tried(glob: Glob, name: str) -> bool:
        counted["all"] += 1
        return match_file(glob, name)

    monkeypatch.setattr(Glob, "match_file", tried)
    return counted


@pytest.mark.parametrize(
    "marker",
    ["*.done", "{stem}*.done", "*{stem}.done", "{stem}?done", "*_{name}*", "[ab]{stem}.done", "{stem}[ab].done"],
)
def test_the_names_of_a_folder_are_not_tried_for_each_of_its_files(tries: Counter[str], marker: str) -> None:
    """Thousands of files that wait for markers in one folder cost some tries each, and not thousands."""
    rule = Rule("r", "/data", complete=Conditions(marker=marker))
    files = [f"scan_{number:05}.h5" for number in range(3000)]
    names = Names(files)
    for name in files:
        glob = marker_for(rule, name)
        assert glob is not None
        assert not names.any_like(glob)
    assert tries["all"] <= 2 * len(files)


STEM = st.text("ab.-/\udcff", min_size=1, max_size=6).map(lambda text: text.replace("/", "_"))


@given(
    st.sampled_from(["{name}.done", "{stem}.done", "x{stem}", "/{name}ok", "*.done", "{stem}*", "done", "{name}[a]"]),
    STEM,
    STEM,
)
def test_a_marker_wakes_its_files(pattern: str, name: str, middle: str) -> None:
    """Each file whose marker a name is lies in the range that the name wakes."""
    rule = Rule("r", "/data", complete=Conditions(marker=pattern))
    glob = marker_for(rule, name)
    assert glob is not None
    for sibling in (
        f"{name}.done",
        f"x{name}",
        f"{name}ok",
        f"{name}{middle}",
        f"{name}a",
        "done",
        f"{middle}.done",
        f"x{middle}",
    ):
        if is_marker(rule, sibling) and glob.match_file(sibling):
            first, beyond = map(os.fsencode, marked_by(rule, sibling))
            assert first <= os.fsencode(name) < beyond
