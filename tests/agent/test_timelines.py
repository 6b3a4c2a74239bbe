"""Every preset's timelines against the real intake: in memory, and those with another kind of step on a disk, too.

`step(now)` is given the time of the timeline, so an hour of waiting takes none.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.app import presets
from agent.files import LOCAL
from agent.intake import Intake
from agent.intake.watch import Watch
from agent.ledger import Ledger, State
from agent.simulation.disk import Disk
from agent.simulation.instrument import Desk, Instrument, Memory
from agent.simulation.play import Play
from rules.config.preset import TimelineTable, rule_of
from rules.rule import Rule

TIMELINES = [(name, one) for name in presets.names() for one in presets.table(name).timelines]


def of_every_kind() -> Iterator[tuple[str, TimelineTable]]:
    """Short timelines in which each kind of step occurs."""
    seen: set[str] = set()
    for name, one in sorted(TIMELINES, key=lambda each: len(each[1].steps)):
        kinds = {key for step in one.steps for key in step.model_fields_set}
        if not kinds <= seen:
            seen |= kinds
            yield name, one


ON_DISK = list(of_every_kind())
START = 1e9


class Stage:
    """The real intake over a real directory and ledger, with an instrument that writes there."""

    def __init__(self, root: Path, rule: Rule, desk: Desk | None = None) -> None:
        """`desk`: where the instrument writes; None: there, by names."""
        LOCAL.prepare()
        self.root = root
        self.rule = rule
        self.ledger = Ledger(str(root.parent / "ledger.sqlite"))
        place = self.ledger.destinations.place("share", "/share").id
        self.watch = Watch(LOCAL, rule.watch, lambda: None)
        self.intake = Intake(
            self.ledger, LOCAL, [rule], [self.watch], {"share": place}, "pc", 7200.0, 0.0, lambda: 0.0, lambda: None
        )
        self.intake.start(START)
        self.instrument = Instrument(desk or Disk(str(root)))
        self.now = START
        self.settle()

    def settle(self) -> None:
        """Passes until nothing is left to do now. What events would tell, a sweep tells: they may come late."""
        self.intake.roots[0].why = "test"
        for _ in range(1000):
            again = self.intake.step(self.now)
            if again is None or again > self.now:
                return
        raise AssertionError("the passes do not end")

    def until(self, now: float) -> None:
        """Let time pass, from one thing that is due to the next."""
        while True:
            again = self.intake.step(self.now)
            if again is None or again > now:
                break
            self.now = max(self.now, again)
        self.now = now
        self.settle()

    def release(self, key: str) -> None:
        """A person says that a dataset is complete."""
        known = self.ledger.datasets.named(self.rule.name, key)
        assert known is not None
        with self.ledger.transaction():
            self.ledger.datasets.released(known.id, self.now)
        self.settle()

    @property
    def states(self) -> dict[str, str]:
        """Each dataset → its state and why."""
        return states(self.ledger, self.rule)

    def close(self) -> None:
        self.instrument.close()
        self.watch.close()
        self.ledger.close()


def states(ledger: Ledger, rule: Rule) -> dict[str, str]:
    """Each dataset → its state and why."""
    found = {}
    for file in sorted(ledger.reports.files(list(State), 100_000)):
        if file.state in (State.VANISHED, State.SUPERSEDED):
            continue
        relpath = file.path[len(rule.watch) + 1 :]
        if file.dataset is None:
            word = "waits" if file.state is State.CANDIDATE else "complete"
            found[relpath] = f"{word}: {file.reason}"
            continue
        known = ledger.datasets.get(file.dataset)
        if known.waits:
            found[known.key] = f"waits: {known.reason}"
        elif file.state is State.REFUSED:
            found[known.key] = f"refused: {file.reason}"
        else:
            found.setdefault(
                known.key, f"complete{f' {known.generation}' if known.generation > 1 else ''}: {known.reason}"
            )
    return found


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Stage]]:
    stages: list[Stage] = []
    yield stages
    for one in stages:
        one.close()


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize(("name", "timeline"), ON_DISK, ids=[f"{name}: {one.name}" for name, one in ON_DISK])
def test_a_timeline_goes_the_same_way_on_a_disk(
    name: str, timeline: TimelineTable, tmp_path: Path, made: list[Stage]
) -> None:
    """Whatever an instrument does, it is the same to the agent as in a simulation: kernel, leases and all."""
    root = tmp_path / "data"
    root.mkdir()
    stage = Stage(root, rule_of(name, presets.data(name), str(root)))
    made.append(stage)
    for step in timeline.steps:
        stage.until(START + step.at)
        stage.instrument.play(step)
        if step.release is not None:
            stage.release(step.release)
        stage.settle()
        if step.expect is not None:
            assert agrees(stage.states, step.expect), (step.at, stage.states)


@pytest.mark.parametrize(("name", "timeline"), TIMELINES, ids=[f"{name}: {one.name}" for name, one in TIMELINES])
def test_a_timeline_goes_as_it_says(name: str, timeline: TimelineTable) -> None:
    """Each dataset is complete when, and only when, the timeline says so: the real intake, no disk."""
    rule = rule_of(name, presets.data(name), "/data")
    with Play([rule], "pc", START - 1.0, lambda rule, happening: None) as play:
        instrument = Instrument(Memory(play.storage, rule.watch, lambda: play.now))
        for step in timeline.steps:
            play.until(START + step.at)
            instrument.play(step)
            if step.release is not None:
                play.release(rule, step.release)
            play.settle()
            if step.expect is not None:
                found = states(play.ledger, rule)
                assert agrees(found, step.expect), (step.at, found)


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
