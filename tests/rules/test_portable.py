"""Names that file systems of Windows refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.patterns.portable import accepted, check_instead, refused

NAMES = st.text(st.sampled_from("aN:?. <CONcom1\\x01\u00e9~"), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("path", "why", "instead"),
    [
        ("run/a:b.tif", "'a:b.tif' has the character ':'", "run/a_b.tif"),
        ("run./x", "'run.' ends with '.'", "run_/x"),
        ("x .", "'x .' ends with '.'", "x__"),
        ("CON", "'CON' is a reserved name", "CON_"),
        ("d/aux.txt", "'aux' is a reserved name", "d/aux_.txt"),
        ("a\x01", "'a\\x01' has the character '\\x01'", "a_"),
        ("console/com10/.hidden/a.b", None, "console/com10/.hidden/a.b"),
    ],
)
def test_what_is_refused_and_what_stands_in_its_place(path: str, why: str | None, instead: str) -> None:
    """The reason names the part of the path, and the character or the reserved name."""
    assert (refused(path), accepted(path, "_")) == (why, instead)


@given(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.sampled_from("_-~"))
def test_what_is_accepted_is_not_refused(path: str, instead: str) -> None:
    """Whatever the name, and a good one stays as it is."""
    made = accepted(path, instead)
    assert refused(made) is None
    assert made == path or refused(path) is not None


@pytest.mark.parametrize("instead", ["", "__", "/", ":", ".", " ", "\x01"])
def test_a_character_that_is_refused_helps_nothing(instead: str) -> None:
    """Nor does none, or several."""
    with pytest.raises(ValueError, match="write one character"):
        check_instead(instead)
