"""The timelines of presets whose instruments write on Windows, with the share modes of programs there."""

import sys
from itertools import cycle
from pathlib import Path

import pytest

from agent.app import presets
from rules.config.preset import TimelineTable, rule_of
from tests.agent.test_timelines import START, Stage, agrees
from tests.windows.instrument import MODES, SharingDesk

if sys.platform != "win32":
    pytest.skip("needs Windows; tests/windows/test_lane.py runs it in Wine", allow_module_level=True)

PRESETS = ("bruker-nmr", "epu", "illumina", "mass-spec", "mass-spec-dirs", "microscope", "tilt-series")
LEFT_OUT = (
    "a run aborted without its marker",  # takes minutes under Wine
    "a .wiff that grows injection by injection",  # on a disk, another of two files that wait is named
)
TIMELINES = [
    (name, one) for name in PRESETS for one in presets.table(name).timelines if not one.name.startswith(LEFT_OUT)
]
PLAYS = [(*one, mode) for one, mode in zip(TIMELINES, cycle(MODES), strict=False)]
"""Each with one share mode: all with all take minutes under Wine, and `test_writers.py` has each mode."""


@pytest.mark.parametrize(
    ("name", "timeline", "mode"), PLAYS, ids=[f"{name}, {mode}: {one.name}" for name, one, mode in PLAYS]
)
def test_a_timeline_goes_the_same_way_whatever_the_instrument_denies(
    name: str, timeline: TimelineTable, mode: str, tmp_path: Path
) -> None:
    """To the agent it is the same, and no call of the instrument fails."""
    root = tmp_path / "data"
    root.mkdir()
    stage = Stage(root, rule_of(name, presets.data(name), root.as_posix()), SharingDesk(root, MODES[mode]))
    try:
        for step in timeline.steps:
            stage.until(START + step.at)
            stage.instrument.play(step)
            if step.release is not None:
                stage.release(step.release)
            stage.settle()
            if step.expect is not None:
                assert agrees(stage.states, step.expect), (step.at, stage.states)
    finally:
        stage.close()
