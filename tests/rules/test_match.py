"""Which rule claims a path."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rules.datasets.conditions import Marker
from rules.match import Match, is_marker, leads_out, marked_by, marker_for, match, overlap, pruned, relative
from rules.model import OWN_PREFIX
from rules.patterns.glob import check_glob, check_marker, fill, takes
from rules.rule import Conditions, Rule


def config_error_of(check: Callable[[str], str], pattern: str) -> str | None:
    """What is wrong with a pattern, without the pattern; None: nothing."""
    try:
        check(pattern)
    except ValueError as error:
        return str(error).removeprefix(f"{pattern!r} ")
    return None


laws = settings(max_examples=100, deadline=None)
names = st.one_of(
    st.binary(min_size=1, max_size=8).map(lambda raw: raw.translate(None, b"/\0").decode("utf-8", "surrogateescape")),
    st.text("ab.[]*?!#\\ \n\r\t{}", min_size=1, max_size=8),
    st.sampled_from(["tilt_[30.0].tif", "{stem}.tif", "{name}", "x.h5", "x.h5.done", "a ", "a\n", "#x", "!x", "~$x"]),
).filter(lambda name: name not in ("", ".", ".."))  # fmt: skip


def rule(
    *include: str, exclude: tuple[str, ...] = (), marker: str | None = None, name: str = "r", watch: str = "/data"
) -> Rule:
    """A rule with these patterns."""
    return Rule(name, watch, include or ("**",), exclude, complete=Conditions(marker=marker))


@pytest.mark.parametrize(
    ("path", "root", "below"),
    [
        ("/data/a/b", "/data", "a/b"),
        ("/data/a/b", "/data/a", "b"),
        ("/data", "/data", None),
        ("/data2/a", "/data", None),
        ("/a", "/", "a"),
        ("/", "/", None),
        ("/data/a", "/data/", "a"),
    ],
)
def test_what_is_below(path: str, root: str, below: str | None) -> None:
    """A path is below a directory, not below one whose name only begins alike."""
    assert relative(path, root) == below


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@pytest.mark.parametrize(
    ("pattern", "relpath", "taken"),
    [
        ("**/*.h5", "x.h5", True),
        ("**/*.h5", "a/b/x.h5", True),
        ("**/*.h5", "a/b/x.h5.tmp", False),
        ("*.h5", "a/b/x.h5", True),
        ("/*.h5", "x.h5", True),
        ("/*.h5", "a/x.h5", False),
        ("a/*.h5", "a/x.h5", True),
        ("a/*.h5", "b/a/x.h5", False),
        ("a/**/x.h5", "a/x.h5", True),
        ("a/**/x.h5", "a/b/c/x.h5", True),
        ("raw/", "raw/x", True),
        ("raw/", "a/raw/b/x", True),
        ("raw/", "raw", False),
        ("raw", "raw/x", True),
        ("raw/**", "raw/b/x", True),
        ("raw/**", "a/raw/x", False),
        ("*.tif", "tilt_[30.0].tif", True),
        ("tilt_[[]30.0[]].tif", "tilt_[30.0].tif", True),
        (r"tilt_\[30.0\].tif", "tilt_[30.0].tif", True),
        ("scan_?.h5", "scan_1.h5", True),
        ("scan_[0-9].h5", "scan_x.h5", False),
        ("scan_[!0-9].h5", "scan_x.h5", True),
        ("*.H5", "x.h5", False),
        ("**", "a b/ü\udcff", True),
        ("*.h5", "a\nb/x.h5", True),
        ("**/*.h5", "a\nb/c\nd/x.h5", True),
        ("a/**/x", "a/\n/x", True),
        ("**", "\n", True),
        ("a\nb", "a\nb", True),
        ("*.h5", "x.h5\n", False),
    ],
)
def test_patterns_are_gitignore(pattern: str, relpath: str, taken: bool) -> None:
    """Patterns mean what they mean in a .gitignore, for any name that a file can have."""
    taker = rule(pattern)
    if taken:
        assert match([taker], f"/data/{relpath}") == Match(taker, relpath, "claimed by rule 'r'")
    else:
        assert match([taker], f"/data/{relpath}") == Match(None, relpath, "no include pattern of rule 'r' matches it")


def test_a_pattern_takes_back_an_earlier_one() -> None:
    """With "!" a pattern gives up what one before it took, and one after it may take that again."""
    taker = rule("*.h5", "!/scratch/*", "keep.h5")
    assert match([taker], "/data/x.h5").rule is taker
    assert match([taker], "/data/scratch/x.h5").rule is None
    assert match([taker], "/data/scratch/keep.h5").rule is taker


@pytest.mark.parametrize(
    ("rules", "path", "found"),
    [
        ([], "/data/x", Match(None, "", "no rule watches this directory")),
        ([rule()], "/other/x", Match(None, "", "no rule watches this directory")),
        ([rule()], "/data", Match(None, "", "no rule watches this directory")),
        ([rule("*.h5")], "/data/x.tif", Match(None, "x.tif", "no include pattern of rule 'r' matches it")),
        ([rule(exclude=("*.tmp",))], "/data/x.tmp", Match(None, "x.tmp", "rule 'r' excludes it", excluded=True)),
        (
            [rule(exclude=("*.tmp",)), rule("*.h5", name="s")], "/data/x.tmp",
            Match(None, "x.tmp", "rule 'r' excludes it", excluded=True),
        ),
        (
            [rule("*.h5"), rule(exclude=("*.tmp",), name="s")], "/data/x.tmp",
            Match(None, "x.tmp", "rule 's' excludes it", excluded=True),
        ),
        (
            [rule("*.h5", marker="*.done")], "/data/a/x.done",
            Match(None, "a/x.done", "a marker of rule 'r'", excluded=True),
        ),
        (
            [rule("*.h5", marker="{stem}.done")], "/data/x.ok",
            Match(None, "x.ok", "no include pattern of rule 'r' matches it"),
        ),
        ([rule()], "/data/.dropline-trash/1/x", Match(None, ".dropline-trash/1/x", "the agent's own file", excluded=True)),
        ([rule()], "/data/a/.dropline-reclaim-7", Match(None, "a/.dropline-reclaim-7", "the agent's own file", excluded=True)),
    ],
)  # fmt: skip
def test_why_nobody_claims_it(rules: list[Rule], path: str, found: Match) -> None:
    """A path that no rule claims comes with the reason, and is not reported where a rule says that it does not want it."""
    assert match(rules, path) == found


def test_a_later_rule_may_claim_what_an_earlier_one_excludes() -> None:
    """Excluding, and being a marker of, one rule leaves a path to the others."""
    first, second = rule(exclude=("*.tmp",), marker="*.done", name="a"), rule("*.tmp", "*.done", name="b")
    assert match([first, second], "/data/x.tmp") == Match(second, "x.tmp", "claimed by rule 'b'")
    assert match([rule("*.h5", marker="*.done"), second], "/data/x.done") == Match(
        second, "x.done", "claimed by rule 'b'"
    )


def test_an_included_marker_travels() -> None:
    """A marker that the rule's own patterns take is a file like any other."""
    taker = rule("*.h5", "*.done", marker="*.done")
    assert match([taker], "/data/x.done") == Match(taker, "x.done", "claimed by rule 'r'")


def test_the_reason_is_relative_to_the_inner_rule() -> None:
    """With rules for a directory and one inside it, each sees the path relative to its own."""
    outer, inner = rule("*.h5", name="outer"), rule("*.tif", name="inner", watch="/data/a")
    assert match([outer, inner], "/data/a/b/x.tif") == Match(inner, "b/x.tif", "claimed by rule 'inner'")
    assert match([inner, outer], "/data/a/b/x.h5") == Match(outer, "a/b/x.h5", "claimed by rule 'outer'")


patterns = st.sampled_from(["**", "*.h5", "**/*.h5", "/*", "a/", "!a/", "*.done", "[ab]", "*b*", "a/**"])
rules_st = st.builds(
    lambda name, watch, include, exclude, marker: rule(
        *include, exclude=exclude, marker=marker, name=name, watch=watch
    ),
    st.sampled_from("rstu"),
    st.sampled_from(["/data", "/data/a", "/data2", "/"]),
    st.lists(patterns, min_size=1, max_size=3),
    st.lists(patterns, max_size=2).map(tuple),
    st.sampled_from([None, "*.done", "{name}.done"]),
)
paths = st.builds(
    lambda root, parts: "/".join([root, *parts]),
    st.sampled_from(["/data", "/data2", "/data/a", "/other"]),
    st.lists(st.sampled_from(["a", "b", "x.h5", "x.done", "a\nb"]) | names, min_size=1, max_size=4),
)


@laws
@given(st.lists(rules_st, max_size=4), paths)
def test_the_first_rule_wins(rules: list[Rule], path: str) -> None:
    """Whatever the rules are, the first that would claim a path alone claims it."""
    assert match(rules, path).rule is next((one for one in rules if match([one], path).rule is not None), None)


@laws
@given(st.lists(rules_st, max_size=4), paths)
def test_a_claimed_path_is_below_its_rule(rules: list[Rule], path: str) -> None:
    """A rule claims only what lies in its directory, and never a name of the agent's own."""
    found = match(rules, path)
    if found.rule is not None:
        assert found == Match(
            found.rule, relative(path, found.rule.watch) or "", f"claimed by rule {found.rule.name!r}"
        )
        assert not any(part.startswith(OWN_PREFIX) for part in found.relpath.split("/"))


@laws
@given(st.lists(names, min_size=1, max_size=4).map("/".join))
def test_by_default_every_file_is_claimed(relpath: str) -> None:
    """A rule without patterns claims every file below its directory, whatever its name, but for other programs' partial files."""
    assume(OWN_PREFIX not in relpath)
    taker = replace(rule(), skip_partial=False)
    assert match([taker], f"/data/{relpath}") == Match(taker, relpath, "claimed by rule 'r'")


@laws
@given(names, names)
@example("tilt_[30.0].tif", "tilt_3.tif")
@example("x{stem}.tif", "x.tif")
@example("a ", "a")
@example("*", "b")
def test_a_named_marker_is_for_its_file_alone(one: str, other: str) -> None:
    """With `{name}` a marker says of one file that it is finished, and of no other, whatever the names."""
    finished = marker_for(rule(marker="{name}.done"), one)
    assert finished is not None
    assert finished.match_file(f"{one}.done")
    assert finished.match_file(f"{other}.done") == (one == other)


@laws
@given(names)
@example("a ")
@example("a\r")
@example(" ")
def test_any_name_makes_a_marker(name: str) -> None:
    """Wherever `{name}` and `{stem}` stand, the marker of a file is found, and known to be a marker."""
    stem = name.rpartition(".")[0] or name
    for pattern, sibling in (("done.{name}", f"done.{name}"), ("{stem}.{name}", f"{stem}.{name}"), ("{stem}", stem)):
        wants = rule(marker=pattern)
        finished = marker_for(wants, name)
        assert finished is not None
        assert finished.match_file(sibling)
        assert is_marker(wants, sibling)


@pytest.mark.parametrize(
    ("marker", "name", "sibling", "found"),
    [
        ("*.done", "x.h5", "anything.done", True),
        ("*.done", "x.h5", "x.h5", False),
        ("finished", "x.h5", "finished", True),
        ("{stem}.done", "x.y.h5", "x.y.done", True),
        ("{stem}.done", ".hidden", ".hidden.done", True),
        ("{name}.done", "x.h5", "y.h5.done", False),
        ("{stem}*.xml", "x.h5", "x_meta.xml", True),
    ],
)
def test_markers(marker: str, name: str, sibling: str, found: bool) -> None:
    """A marker is a glob of names in the file's directory, with the file's name and stem filled in."""
    finished = marker_for(rule(marker=marker), name)
    assert finished is not None
    assert finished.match_file(sibling) == found


@pytest.mark.parametrize(
    ("marker", "name", "first", "beyond"),
    [
        ("{name}.done", "x.h5.done", "x.h5", "x.h5\0"),
        ("{stem}.xml", "x.xml", "x", "x/"),
        ("done-{name}", "done-x.h5", "x.h5", "x.h5\0"),
        ("*.done", "x.done", "", "\udcff" * 300),
        ("{stem}*.xml", "x.xml", "", "\udcff" * 300),
    ],
)
def test_a_marker_wakes_its_own_file_alone(marker: str, name: str, first: str, beyond: str) -> None:
    """Where the pattern is one field, the names whose marker it may be are a narrow range; else all of 255 bytes."""
    assert marked_by(rule(marker=marker), name) == (first, beyond)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("/data", "/data", True),
        ("/data", "/data/tomo", True),
        ("/data/tomo", "/data", True),
        ("/data", "/data2", False),
        ("/data/a", "/data/b", False),
        ("/", "/data", True),
    ],
)
def test_directories_overlap(one: str, other: str, both: bool) -> None:
    """Two directories overlap when they are one, or one lies in the other, whichever comes first."""
    assert overlap(one, other) == both


PRUNED = rule(exclude=("tmp/",))


@pytest.mark.parametrize(
    ("rules", "directory", "left_out"),
    [
        ([PRUNED], "/data/tmp", True),
        ([PRUNED], "/data/kept", False),
        ([PRUNED], "/elsewhere/tmp", False),
        ([], "/data/tmp", False),
        ([PRUNED, rule(name="inner", watch="/data/tmp/in")], "/data/tmp", False),
        ([PRUNED, rule(name="inner", watch="/data/tmp")], "/data/tmp", False),
        ([PRUNED, rule(name="other")], "/data/tmp", False),
        ([rule(exclude=("tmp/", "!tmp/kept.h5"))], "/data/tmp", False),
        ([replace(PRUNED, complete=Conditions(require=(Marker(marker="done.txt"),)))], "/data/tmp", False),
    ],
)
def test_a_directory_that_every_rule_excludes_is_not_walked(rules: list[Rule], directory: str, left_out: bool) -> None:
    """It is walked where one rule takes something below it: by another exclusion, an exception, a condition, or its own root."""
    assert pruned(rules, directory) == left_out


def test_no_marker() -> None:
    """A rule that wants no marker has none."""
    assert marker_for(rule(), "x") is None
    assert not is_marker(rule(), "x.done")


@pytest.mark.parametrize(
    ("pattern", "config_error"),
    [
        ("*.h5", None),
        ("!/scratch/", None),
        ("!", "is not a gitignore pattern: Invalid git pattern: '!'"),
        ("a\\", "is not a gitignore pattern: Invalid git pattern: 'a\\\\'"),
        ("[z-a]", "is not a gitignore pattern: bad character range z-a at position 10"),
        ("", "matches nothing"),
        (" ", "matches nothing"),
        ("# comment", "matches nothing"),
        ("[", "matches nothing"),
        ("/", "matches nothing"),
    ],
)
def test_what_is_no_pattern(pattern: str, config_error: str | None) -> None:
    """A pattern that cannot be read, or can match nothing, is an error."""
    assert config_error_of(check_glob, pattern) == config_error


@pytest.mark.parametrize(
    ("marker", "config_error"),
    [
        ("*.done", None),
        ("/{name}.done", None),
        ("{stem}", None),
        ("done/{name}", "has a slash; a marker lies in the same directory as its file"),
        ("{run}.done", "has an unknown field; known are {name} and {stem}"),
        ("[", "matches nothing"),
        ("/", "matches nothing"),
    ],
)
def test_what_is_no_marker(marker: str, config_error: str | None) -> None:
    """A marker that no name beside the file can match is an error."""
    assert config_error_of(check_marker, marker) == config_error


@pytest.mark.filterwarnings("ignore::FutureWarning")
@laws
@given(st.text("ab*?[]!-^\\/#{}\n \0ü", max_size=10))
def test_a_pattern_without_mistake_works(pattern: str) -> None:
    """Whatever `check_glob` and `check_marker` let pass can be matched with."""
    if config_error_of(check_glob, pattern) is None:
        match([rule(pattern, exclude=(pattern,))], "/data/a/b")
    if config_error_of(check_marker, pattern) is None:
        is_marker(rule(marker=pattern), "x")
        assert marker_for(rule(marker=pattern), "x[a]") is not None


@pytest.mark.parametrize("name", ["tilt[30.0]", "a*b", "what?", "x!y", "#1", "back\\slash", "two  spaces "])
def test_the_fields_of_a_pattern_match_themselves(name: str) -> None:
    """A dataset's name is no pattern: `tilt[30.0]` is that, and not one of the characters between the brackets."""
    literal = fill("{name}_*.tif", {"name": name})
    assert takes((literal,), f"{name}_1.tif")
    assert not takes((literal,), "tilt3_1.tif")
    assert not takes((literal,), "axxb_1.tif")
    assert fill("{name}.done", {"name": name}, literal=False) == f"{name}.done"


@pytest.mark.parametrize(
    ("link", "target", "directory", "outside"),
    [
        ("/data/a/link", "../b/x.h5", False, None),
        ("/data/a/link", "x.h5", False, None),
        ("/data/a/link", "/data/x.h5", False, None),
        ("/data/a/link", "../../data/b/../x.h5", False, None),
        ("/data/a/link", "x.txt", False, "/data/a/x.txt"),
        ("/data/a/link", "/scratch/x.h5", False, "/scratch/x.h5"),
        ("/data/a/link", "../../x.h5", False, "/x.h5"),
        ("/data/a/link", "../b", True, None),
        ("/data/a/link", "/data", True, None),
        ("/data/a/link", "/database", True, "/database"),
    ],
)
def test_where_links_lead(link: str, target: str, directory: bool, outside: str | None) -> None:
    """To a file that a rule takes, or to a directory at or below a watched one: that is delivered itself. No disk is asked."""
    rules = [Rule("r", "/data", include=("*.h5",))]
    assert leads_out(rules, link, target, directory=directory) == outside
