"""The paths of a batch at one destination."""

from rules.paths import Member, Paths, path_of, template_of
from rules.rule import Rule, Target


def test_a_file_without_a_path_of_its_own_has_the_one_below_the_watched_directory() -> None:
    """The directory is the one that was watched then; a file that no path could be made for has none."""
    paths = Paths("/data", {1: "made/x", 2: None})
    assert [paths.of(number, "/data/run/f") for number in (1, 2, 3)] == ["made/x", None, "run/f"]
    assert Paths("/").of(3, "/run/f") == "run/f"


def test_all_that_makes_a_path_is_in_it() -> None:
    """The template, the number of a dataset's name, and the character in place of those that Windows refuses."""
    plain, odd = Target("share"), Target("share", "{rule}/{relpath}", rename_invalid="_")
    rule = Rule("r", "/data", deliver=(plain,))
    assert path_of(rule, plain, Member(1, "/data/a:b/f", 0), "pc") == "a:b/f"
    assert path_of(rule, odd, Member(1, "/data/a:b/f", 0), "pc") == "r/a_b/f"
    assert len({template_of(plain), template_of(odd), template_of(Target("share", rename_invalid="_"))}) == 3
