"""What is known of instruments: every preset against its own examples and timelines, by the pure rules."""

import re
from pathlib import Path

import pytest

from agent.app import presets
from agent.simulation.rehearsal import Rehearsal
from rules.batch import key
from rules.config.preset import ExampleTable, StepTable, TimelineTable, rule_of
from rules.datasets.membership import dataset_of
from rules.match import match
from rules.model import Writer
from rules.naming import place

WATCH = "/data"
TIMELINES = [(name, one) for name in presets.names() for one in presets.table(name).timelines]
EXAMPLES = [(name, one) for name in presets.names() for one in presets.table(name).examples]


def agrees(found: dict[str, str], expected: dict[str, str]) -> bool:
    """Whether the same datasets are known, each in the state and for the reason that was expected (a part of it)."""
    if found.keys() != expected.keys():
        return False
    for dataset, state in expected.items():
        word, _, why = state.partition(": ")
        said, _, reason = found[dataset].partition(": ")
        if said != word or why not in reason:
            return False
    return True


class Stage:
    """Plays a timeline to the pure rules."""

    def __init__(self, name: str) -> None:
        self.rehearsal = Rehearsal(rule_of(name, presets.data(name), WATCH))
        self.content: dict[str, bytes] = {}
        self.size: dict[str, int] = {}
        self.open: set[str] = set()

    def until(self, now: float) -> None:
        """Let time pass."""
        while (due := self.rehearsal.next()) is not None and due <= now:
            self.rehearsal.step(due)
        self.rehearsal.step(now)

    def play(self, step: StepTable, now: float) -> None:
        """What the instrument does."""
        if path := step.write or step.open:
            self.content[path], self.size[path] = step.content, len(step.content) + step.hole
            self.tell(path, now, keep=step.open is not None)
        elif path := step.append:
            self.content[path] += step.content
            self.size[path] += len(step.content)
            self.tell(path, now, keep=path in self.open)
        elif path := step.close:
            self.open.discard(path)
            self.rehearsal.closed(path, now)
        elif step.rename is not None:
            source, target = step.rename
            self.content[target], self.size[target] = self.content.pop(source), self.size.pop(source)
            self.rehearsal.gone(source, now)
            self.tell(target, now, keep=False)
        elif path := step.remove:
            self.rehearsal.gone(path, now)
        elif step.many is not None:
            for number in range(step.count):
                self.play(step.model_copy(update={"write": step.many.replace("{}", str(number)), "many": None}), now)
        elif step.kill:
            for path in sorted(self.open):
                self.rehearsal.closed(path, now)
            self.open.clear()
        elif step.release is not None:
            self.rehearsal.released(step.release, now)

    def tell(self, path: str, now: float, *, keep: bool) -> None:
        (self.open.add if keep else self.open.discard)(path)
        content, writer = self.content[path], Writer.OPEN if keep else Writer.NONE

        def read(offset: int, length: int) -> bytes:
            return content[offset : offset + length].ljust(min(length, self.size[path] - offset), b"\0")

        self.rehearsal.changed(path, self.size[path], read, now, writer=writer)


@pytest.mark.parametrize(("name", "timeline"), TIMELINES, ids=[f"{name}: {one.name}" for name, one in TIMELINES])
def test_a_timeline_goes_as_it_says(name: str, timeline: TimelineTable) -> None:
    """Each dataset is complete when, and only when, the timeline says so."""
    stage = Stage(name)
    for step in timeline.steps:
        stage.until(1e9 + step.at)
        stage.play(step, 1e9 + step.at)
        if step.expect is not None:
            assert agrees(stage.rehearsal.states, step.expect), (step.at, stage.rehearsal.states)


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[f"{name}: {one.path}" for name, one in EXAMPLES])
def test_an_example_belongs_to_its_dataset_and_goes_where_it_says(name: str, example: ExampleTable) -> None:
    """The path is claimed, and its dataset and destination are those of the example."""
    rule = rule_of(name, presets.data(name), WATCH)
    claimed = match([rule], f"{WATCH}/{example.path}")
    dataset = dataset_of(rule, example.path)
    assert (claimed.rule, dataset and dataset.key) == (rule, example.dataset)
    assert place(rule.deliver[0].path, rule, example.path, 0, "pc") == example.to
    assert rule.batch.by != "dataset" or key(rule, example.path, 0, "pc") == example.dataset


def test_there_are_presets_for_each_family() -> None:
    """At least fourteen, each in a file of its own in rules/presets."""
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
    from rules.match import takes

    for name in presets.names():
        table = presets.table(name)
        written = [
            step.write or step.open or (step.rename or ("", ""))[1] or (step.many or "").replace("{}", "0")
            for timeline in table.timelines
            for step in timeline.steps
        ]
        assert any(takes(table.looks_like, path) for path in written if path), name
