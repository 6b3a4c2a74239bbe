"""Names that file systems of Windows refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.patterns.portable import accepted, check_instead, refused, windows_path

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


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("D:\\data", "D:/data"), ("d:/data/run 1", "D:/data/run 1"), ("C:\\", "C:/"), ("c:", "C:/"),
        ("\\\\server\\share\\", "//server/share"), ("//Server/share/x", "//Server/share/x"),
        ("\\\\?\\D:\\data", "D:/data"), ("\\\\?\\UNC\\server\\share\\x", "//server/share/x"),
    ],
)  # fmt: skip
def test_a_path_of_windows_has_one_spelling(path: str, found: str) -> None:
    """Whichever slashes it is written with."""
    assert windows_path(path) == found


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("D:data", "is not a whole path"), ("/data", "is not a whole path"), ("data", "is not a whole path"),
        ("//server", "is not a whole path"), ("\\\\.\\COM1", "is not a whole path"),
        ("D:/data.", "'data.' ends with '.'"), ("D:/nul/x", "'nul' is a reserved name"),
        ("D:/a:b", "'a:b' has the character ':'"),
    ],
)  # fmt: skip
def test_a_path_in_which_windows_reads_another_is_refused(path: str, why: str) -> None:
    """It depends on a current directory, or a part of it is a device, a stream, or loses its last dot."""
    with pytest.raises(ValueError, match=why):
        windows_path(path)
