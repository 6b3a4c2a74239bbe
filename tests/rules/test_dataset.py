"""Which files belong together."""

import re
from dataclasses import replace
from typing import Any

import pytest

from rules.batch import key
from rules.datasets.membership import Dataset, dataset_of, date_ns, travels_last
from rules.match import match
from rules.naming import place
from rules.rule import Rule, Sealing, Together
from tests import configured

RUNS = Rule("r", "/data", dataset=Together(dir=re.compile(r"(?:[^/]+/)*?(?P<run>run_\d+)/")), batch=Sealing("dataset"))
SLIDES = Rule(
    "r",
    "/data",
    dataset=Together(
        group=(
            re.compile(r"^(?P<dir>(?P<user>[^/]+)/)_(?P<image>[^/]+)_/.+$"),
            re.compile(r"^(?P<dir>(?P<user>[^/]+)/)(?P<image>[^/]+)\.vsi$"),
        )
    ),
)


@pytest.mark.parametrize(
    ("rule", "path", "dataset"),
    [
        (RUNS, "a/run_1/x/y", Dataset("a/run_1", "a/run_1", {"name": "run_1", "stem": "run_1", "run": "run_1"}, True)),
        (RUNS, "run_1/run_2/y", Dataset("run_1", "run_1", {"name": "run_1", "stem": "run_1", "run": "run_1"}, True)),
        (
            Rule("r", "/data", dataset=Together(dir=re.compile("[^/]+"))),
            "tilt.30.raw/x",
            Dataset("tilt.30.raw", "tilt.30.raw", {"name": "tilt.30.raw", "stem": "tilt.30"}, True),
        ),
        (
            Rule("r", "/data", dataset=Together(dir=re.compile("[^/]+"))),
            ".run/x",
            Dataset(".run", ".run", {"name": ".run", "stem": ".run"}, True),
        ),
        (RUNS, "run_1", None),
        (RUNS, "other/y", None),
        (SLIDES, "j/s.vsi", Dataset("j/s", "j", {"name": "s", "dir": "j/", "user": "j", "image": "s"}, False)),
        (SLIDES, "j/_s_/st/f.ets", Dataset("j/s", "j", {"name": "s", "dir": "j/", "user": "j", "image": "s"}, False)),
        (SLIDES, "j/s.tif", None),
        (Rule("r", "/data"), "j/s.tif", Dataset("j/s.tif", "j", {"name": "s.tif", "stem": "s"}, False)),
    ],
)
def test_the_dataset_of_a_path(rule: Rule, path: str, dataset: Dataset | None) -> None:
    """A directory with all below it, files that share what the groups capture, or the file by itself."""
    assert dataset_of(rule, path) == dataset


def test_what_belongs_to_no_dataset_is_not_claimed() -> None:
    """And the reason says so; a later rule may claim it."""
    assert match([RUNS], "/data/notes.txt").reason == "it belongs to no dataset of rule 'r'"
    assert match([RUNS, Rule("rest", "/data")], "/data/notes.txt").rule == Rule("rest", "/data")
    assert match([RUNS], "/data/run_1/notes.txt").rule == RUNS


def test_companions_go_to_the_same_place_and_keep_their_layout() -> None:
    """Templates have the fields of the dataset, and the path inside it."""
    template = "{user}/{image}/{inside}"
    assert place(template, SLIDES, "j/_s_/st/f.ets", 0, "pc") == "j/s/_s_/st/f.ets"
    assert place(template, SLIDES, "j/s.vsi", 0, "pc") == "j/s/s.vsi"
    assert place("{run}/{inside}", RUNS, "a/run_1/x/y", 0, "pc") == "run_1/x/y"


def test_captured_groups_and_those_of_the_dataset_are_fields_together() -> None:
    """Templates have both; where both have a name, the file's own capture counts."""
    both = replace(RUNS, capture=re.compile(r"(?P<scan>[0-9]+)\.h5$"))
    assert place("{run}/{scan}/{inside}", both, "a/run_1/x/7.h5", 0, "pc") == "run_1/7/x/7.h5"
    assert place("{run}/{scan}/{inside}", both, "a/run_1/x/log", 0, "pc") == "run_1/x/log"
    own = replace(RUNS, capture=re.compile(r"(?P<run>[0-9]+)\.h5$"))
    assert place("{run}", own, "a/run_1/x/7.h5", 0, "pc") == "7"


def test_the_batch_of_a_dataset() -> None:
    """All its files have the same key."""
    assert {key(RUNS, path, 0, "pc") for path in ("a/run_1/x", "a/run_1/y/z")} == {"a/run_1"}


@pytest.mark.parametrize(
    ("keys", "path", "last"),
    [
        ({}, "run_1/done", True),
        ({}, "run_1/deep/done", False),
        ({}, "run_1/sums.md5", True),
        ({}, "run_1/a.tif", False),
        ({"last": ["*.txt"]}, "run_1/done", False),
        ({"last": ["*.txt"]}, "run_1/deep/x.txt", True),
        ({"last": ["{name}.end"]}, "run_1/run_1.end", True),
        ({"last": []}, "run_1/done", False),
        ({"dataset": {"group": "^(?P<dir>.*/)(?P<image>[^/]+)[.][a-z0-9]+$"}}, "x/done", False),
        ({"dataset": {"group": "^(?P<dir>.*/)(?P<image>[^/.]+)([.]|$)"}}, "x/done", True),
    ],
)
def test_markers_and_lists_that_a_rule_waits_for_travel_last(keys: dict[str, Any], path: str, last: bool) -> None:
    """Those in the dataset's folder, or what `last` says; what lies beside the folder is no part of the dataset."""
    require = [{"any": [{"marker": "done"}, {"manifest": "*.md5"}]}, {"marker": "../{name}.end"}, {"gone": "*.tif"}]
    table = {"name": "r", "watch": "/d", "dataset": {"dir": "run_[0-9]+/"}, "complete": {"require": require}}
    rule = configured.rule(table | {"deliver": [{"to": "share"}]} | keys)
    dataset = dataset_of(rule, path)
    assert dataset is not None or not last
    assert (dataset is not None and travels_last(rule, dataset, path)) is last


DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize(
    ("mtimes", "date"),
    [
        ([5 * DAY_NS], 5 * DAY_NS),
        ([3 * DAY_NS, 5 * DAY_NS], 3 * DAY_NS),
        ([0, 900 * DAY_NS, 901 * DAY_NS], 900 * DAY_NS),
    ],
)
def test_the_date_of_a_dataset_is_that_of_its_first_file(mtimes: list[int], date: int) -> None:
    """A run over midnight has one day; the method that was copied into it is years older, and does not count."""
    assert date_ns(mtimes) == date
