"""Templates: the rest of a path below what was captured, and files that may meet."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.config.describe import traps
from rules.naming import place
from rules.rule import Rule
from tests.configured import rule


def made(path: str, **keys: object) -> Rule:
    """A rule that delivers with this template."""
    return rule({"name": "r", "watch": "/data", "deliver": [{"to": "share", "path": path}], **keys})


@pytest.mark.parametrize(
    ("capture", "relpath", "rest"),
    [
        ("^(?P<user>[^/]+)/", "alice/f", "f"),
        ("^(?P<user>[^/]+)/", "alice/run/1/f", "run/1/f"),
        (r"(?P<p>p\d+)/scan_(?P<scan>\d+)", "p1/scan_3/raw/f", "raw/f"),
        (r"(?P<run>\w+)_\d+\.h5$", "a/b/run_1.h5", "run_1.h5"),
        ("^(?P<user>[^/]+)/", "f", "f"),
        ("(?P<a>x)|(?P<b>y)", "n/y/f", "f"),
        ("(?P<a>x*)", "n/f", "n/f"),
        (None, "n/f", "n/f"),
    ],
)
def test_the_rest_is_below_what_was_captured(capture: str | None, relpath: str, rest: str) -> None:
    """Below the last part of the path in which a named group matched; all of it, where none did."""
    chosen = made("{rest}") if capture is None else made("{rest}", capture=capture)
    assert place("{rest}", chosen, relpath, 0, "pc") == rest


def test_a_date_between_user_and_rest() -> None:
    """What a drop folder for each user wants: the user's name once."""
    chosen = made("{user}/{mtime:%Y-%m}/{rest}", capture="^(?P<user>[^/]+)/")
    assert place(chosen.deliver[0].path, chosen, "alice/run/f", 0, "pc") == "alice/1970-01/run/f"


def test_the_rest_of_a_dataset_is_its_inside() -> None:
    """Where a dataset's own pattern names the folder."""
    chosen = made("{run}/{rest}", dataset={"dir": "^(?P<run>run[^/]*)"})
    assert place("{run}/{rest}", chosen, "run1/raw/f", 0, "pc") == "run1/raw/f"


@pytest.mark.parametrize(
    ("path", "keys", "warned"),
    [
        ("{relpath}", {}, False), ("x/{dir}/{name}", {}, False), ("{dir}/{stem}{suffix}", {}, False), ("{name}", {}, True),
        ("{name}", {"include": ["/*.h5"]}, False),
        ("{user}/{experiment}/{name}", {"capture": "(?P<user>a)/(?P<experiment>b)"}, True),
        ("{user}/{experiment}/{rest}", {"capture": "(?P<user>a)/(?P<experiment>b)"}, False),
        ("{user}/{rest}", {"capture": "(?P<user>a)/(?P<experiment>b)"}, True), ("{dir}/{stem}", {}, True), ("{rule}", {}, True),
        ("{run}/{inside}", {"dataset": {"dir": "(?P<run>[^/]+)"}}, False),
        ("{run}/{name}", {"dataset": {"dir": "(?P<run>[^/]+)"}}, True),
    ],
)  # fmt: skip
def test_templates_in_which_files_may_meet_are_warned_of(path: str, keys: dict[str, object], warned: bool) -> None:
    """`{name}` with sub-folders is the usual one; the note says what to write."""
    notes = traps(made(path, **keys))
    assert bool(notes) is warned
    assert all("the second gets a name beside the first" in note for note in notes)


names = st.text(string.ascii_lowercase[:3], min_size=1, max_size=2)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


@given(paths, paths, st.sampled_from(["{relpath}", "{dir}/{name}", "{user}/{rest}", "x/{user}/y/{rest}"]))
def test_what_is_not_warned_of_tells_files_apart(one: str, other: str, path: str) -> None:
    """Two files of different paths have different paths there, where the first folder is captured."""
    if "/" in one and "/" in other and one != other:
        chosen = made(path, capture="^(?P<user>[^/]+)/")
        assert traps(chosen) == []
        assert place(path, chosen, one, 0, "pc") != place(path, chosen, other, 0, "pc")
