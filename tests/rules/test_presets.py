"""What is known of instruments: every preset against its own examples. tests/agent/test_timelines.py has the timelines."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from agent.app import presets
from rules.batch import key
from rules.config.load import RuleTable
from rules.config.preset import ExampleTable, rule_of
from rules.datasets.membership import dataset_of
from rules.match import match
from rules.naming import place
from rules.rule import Rule

WATCH = "/data"
EXAMPLES = [(name, one) for name in presets.names() for one in presets.table(name).examples]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[f"{name}: {one.path}" for name, one in EXAMPLES])
def test_an_example_belongs_to_its_dataset_and_goes_where_it_says(name: str, example: ExampleTable) -> None:
    """The path is claimed, and its dataset and destination are those of the example."""
    rule = rule_of(name, presets.data(name), WATCH)
    claimed = match([rule], f"{WATCH}/{example.path}")
    dataset = dataset_of(rule, example.path)
    assert (claimed.rule, dataset and dataset.key) == (rule, example.dataset)
    assert place(rule.deliver[0].path, rule, example.path, 0, "pc") == example.to
    assert rule.batch.by != "dataset" or key(rule, example.path, 0, "pc") == example.dataset


NAMED_FOR_EVER = {"dicom", "illumina", "nanopore", "pacbio", "tilt-series"}
"""Families whose names do not come again: of runs, cells and studies; tilt series have their visit."""


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[f"{name}: {one.path}" for name, one in EXAMPLES])
def test_names_that_a_program_proposes_each_day_go_to_a_folder_of_their_day(name: str, example: ExampleTable) -> None:
    """The same names in the folders of two days have two places."""
    if name in NAMED_FOR_EVER:
        return
    rule = rule_of(name, presets.data(name), WATCH)
    user, _, rest = f"jdoe/{example.path}".partition("/")
    to = {place(rule.deliver[0].path, rule, f"{user}/{day}/{rest}", 0, "pc") for day in ("2024-05-01", "2024-05-02")}
    assert len(to) == 2


def test_there_are_presets_for_each_family() -> None:
    """At least fourteen, each in its own file in rules/presets."""
    folder = Path(__file__).resolve().parents[2] / "rules/presets"
    assert presets.names() == sorted(path.stem for path in folder.glob("*.toml"))
    assert len(presets.names()) >= 14


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_has_timelines_that_say_when_it_is_not_complete_and_when_it_is(name: str) -> None:
    """A timeline that only ends well proves nothing about patience."""
    words = {
        re.split("[: ]", word)[0]
        for timeline in presets.table(name).timelines
        for step in timeline.steps
        for word in (step.expect or {}).values()
    }
    assert {"waits", "complete"} <= words


def test_what_looks_like_an_instrument_is_what_its_examples_look_like() -> None:
    """Every preset recognises at least one of its own timelines' files."""
    from rules.patterns.glob import takes

    for name in presets.names():
        table = presets.table(name)
        written = [
            step.write or step.open or (step.rename or ("", ""))[1] or (step.many or "").replace("{}", "0")
            for timeline in table.timelines
            for step in timeline.steps
        ]
        assert any(takes(table.recognized_by, path) for path in written if path), name


@pytest.mark.parametrize(
    ("table", "learns"),
    [
        ({}, True),
        ({"preset": "drop-folder"}, True),
        ({"preset": "drop-folder", "complete": {"patience": "1h"}}, True),
        ({"preset": "drop-folder", "complete": {"quiet": "60s"}}, False),
        ({"complete": {"quiet": "60s"}}, False),
        ({"complete": {"marker": "*.done"}}, False),
    ],
)
def test_a_quiet_period_grows_where_the_rule_itself_says_nothing_of_it(table: dict[str, Any], learns: bool) -> None:
    """A preset's is where it begins; what a person wrote holds, whatever writers do."""
    whole = {"name": "r", "watch": WATCH, "deliver": [{"to": "share"}], **table}
    context = {"preset": presets.data, "absolute": lambda path: path}
    rule: Rule = TypeAdapter(RuleTable).validate_python(whole, context=context)
    assert rule.complete.learns == learns
