"""Where the keys of a configuration stand."""

import tomllib
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.config.lines import Key, Lines

TEXT = '''# a comment with [brackets] and "quotes"
agent.state_dir = "state"     # [not.a.table]

[destinations.share]
path = "/mnt/share"           # "x" = 1
"checksum" = 'md5'

[destinations."with.dot"]
path = """
two = 2
[[rules]]
"""
bandwidth = [
  { limit = "1MB", hours = "8-18" },
  # { limit = 3 }
  { limit = "2MB", hours = "18-8" },
]

[[rules]]
name = "one"
deliver = [{ to = "share" }, { to = "other", path = "{rest}" }]

  [rules.complete]
  quiet = "1s"

[[rules]]
name = "two"
complete = { quiet = "10s", require = [ { marker = "done" } ] }
[[rules.then]]
command = ["a", "b"]
[[rules.then]]
command = ["c",
  "d"]
'''


def keys_of(data: Mapping[str, object]) -> list[Key]:
    """Every key of parsed TOML."""
    found: list[Key] = []
    waiting: list[tuple[Key, object]] = [((), data)]
    while waiting:
        key, value = waiting.pop()
        inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for part, below in inner:
            found.append((*key, part))
            waiting.append(((*key, part), below))
    return found


def test_keys_stand_where_an_editor_shows_them() -> None:
    """Tables, arrays of tables, inline tables on several lines and texts of several lines."""
    lines = Lines(TEXT)
    assert {key: lines.line(key) for key in [
        ("agent", "state_dir"), ("destinations", "share"), ("destinations", "share", "checksum"),
        ("destinations", "with.dot", "path"), ("destinations", "with.dot", "bandwidth", 1, "hours"),
        ("rules", 0, "deliver", 1, "path"), ("rules", 0, "complete", "quiet"), ("rules", 1), ("rules", 1, "name"),
        ("rules", 1, "complete", "require", 0, "marker"), ("rules", 1, "then", 0, "command"), ("rules", 1, "then", 1, "command", 1),
        ("rules", 1, "missing"), ("nothing",),
    ]} == {
        ("agent", "state_dir"): 2, ("destinations", "share"): 4, ("destinations", "share", "checksum"): 6,
        ("destinations", "with.dot", "path"): 9, ("destinations", "with.dot", "bandwidth", 1, "hours"): 16,
        ("rules", 0, "deliver", 1, "path"): 21, ("rules", 0, "complete", "quiet"): 24, ("rules", 1): 26, ("rules", 1, "name"): 27,
        ("rules", 1, "complete", "require", 0, "marker"): 28, ("rules", 1, "then", 0, "command"): 30,
        ("rules", 1, "then", 1, "command", 1): 33, ("rules", 1, "missing"): 26, ("nothing",): None,
    }  # fmt: skip
    assert lines.text(6) == "\"checksum\" = 'md5'"


def test_every_key_that_tomllib_reads_has_a_line() -> None:
    """None is missed, and none is found that is not there."""
    lines = Lines(TEXT)
    assert set(lines.found) == set(keys_of(tomllib.loads(TEXT)))


_NAMES = st.sampled_from(["a", "b", '"c d"', "'e.f'"])
_VALUES = st.recursive(
    st.sampled_from(["1", "true", '"x"', "'#'", '"""\n[a]\nb = 1"""', "'''it''''", "2026-01-31", '"\\"]"']),
    lambda inner: st.lists(inner, max_size=3).map(lambda many: "[\n" + ",".join(many) + " ]")
    | st.dictionaries(_NAMES, inner, max_size=2).map(lambda one: "{" + ", ".join(f"{k} = {v}" for k, v in one.items()) + "}"),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["[[t]]", "[[t.u]]", "[x.y]", ""]), st.dictionaries(_NAMES, _VALUES, max_size=3)),
        max_size=5,
    )
)
def test_whatever_is_valid_is_scanned_as_tomllib_reads_it(parts: list[tuple[str, dict[str, str]]]) -> None:
    """Any text of tables and values: the same keys, each on a line of the text."""
    text = "\n".join(
        "\n".join([head, *(f"{key} = {value} # end" for key, value in pairs.items())]) for head, pairs in parts
    )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = Lines(text)
    assert set(lines.found) == set(keys_of(data))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.found.values())


@given(st.text(alphabet="[]{}\"'=.,#\n ab\\", max_size=40))
def test_what_is_no_toml_ends(text: str) -> None:
    """A text that tomllib does not read is scanned to some end, without an error."""
    Lines(text)
