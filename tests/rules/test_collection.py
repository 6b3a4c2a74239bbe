"""Paths as a collection names them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.globus.collection import common_prefix, joined, location, source_path, uncarriable

laws = settings(max_examples=200, deadline=None)


@pytest.mark.parametrize(
    ("local", "root", "path", "found"),
    [
        ("/data/a", "/", "/", "/data/a"),
        ("/data/a", "/data", "/", "/a"),
        ("/data/a/b", "/data", "/exports/", "/exports/a/b"),
        ("/data", "/data", "/exports", "/exports"),
        ("/database/a", "/data", "/", None),
        ("/elsewhere", "/data", "/", None),
        ("C:/Users/x", "/", "/", "/C/Users/x"),
        ("c:/Users/x", "/", "/", "/C/Users/x"),
        ("D:/data/x", "D:/data", "/", "/x"),
        ("D:/data/x", "D:/", "/D", "/D/data/x"),
        ("D:/data", "/", "/", "/D/data"),
        ("//server/share/x", "/", "/", None),
        ("//server/share/x", "//server/share", "/", "/x"),
        ("/data/c:/x", "/", "/", "/data/c:/x"),
        ("/data/a", "/data", "/~/", "/~/a"),
    ],
)
def test_a_local_path_at_the_collection(local: str, root: str, path: str, found: str | None) -> None:
    """Below the root that the collection shows, and nowhere else; drive letters are directories."""
    assert source_path(local, root, path) == found


@pytest.mark.parametrize(("base", "below", "path"), [("/", "a", "/a"), ("/x/", "a/b", "/x/a/b"), ("/x", "", "/x")])
def test_one_slash_between(base: str, below: str, path: str) -> None:
    """Whatever the base ends with."""
    assert joined(base, below) == path


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\udcff", "a\udc80b"])
def test_what_globus_cannot_carry(name: str) -> None:
    """Line breaks, and bytes that are no text."""
    assert uncarriable(name) is not None


@laws
@given(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1))
def test_all_other_text_is_carried(name: str) -> None:
    """Quotes, colons, emoji, control characters."""
    assert uncarriable(name) is None


@laws
@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=6))
def test_a_common_prefix_is_of_all(names: list[str]) -> None:
    """Every name begins with it, and it has no letter that a filter reads otherwise."""
    prefix = common_prefix(names)
    assert all(name.startswith(prefix) for name in names)
    assert not set(prefix) & set("*?[]\\:/,~=!")


@pytest.mark.parametrize(
    ("names", "prefix"),
    [(["scan_01.h5", "scan_02.h5"], "scan_0"), (["a*b", "a*c"], "a"), (["x", "y"], ""), (["ab", "a"], "a")],
)
def test_the_longest_usable_prefix(names: list[str], prefix: str) -> None:
    """As long as it can be."""
    assert common_prefix(names) == prefix


@pytest.mark.parametrize(
    ("path", "host", "host_path", "found"),
    [
        ("/a", None, None, "c0:/a"),
        ("/a", "H", "/exports/", "h:/exports/a"),
        ("/", "H", "/exports", "h:/exports"),
        ("/", "H", "/", "h:/"),
        ("/a/b", "H", "/", "h:/a/b"),
        ("/a", "H", None, "c0:/a"),
        ("/a", "H", "~/x", "c0:/a"),
    ],
)
def test_where_a_guest_collection_is(path: str, host: str | None, host_path: str | None, found: str) -> None:
    """At the collection that it shows a part of, where the service tells which part."""
    assert location("C0", path, host, host_path) == found
