"""The configurations of docs/SETUPS.md: each is whole and short, and does what its page says."""

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from agent.app import presets
from agent.app.configuration import check
from agent.simulation.instrument import Instrument, Memory
from agent.simulation.play import Happening, Play
from rules.config.describe import traps
from rules.config.settings import Configuration
from rules.naming import place
from rules.rule import Rule

PAGE = Path(__file__).parent.parent / "docs/SETUPS.md"
START = 1e9
"""In September 2001."""
DAY = 86400.0


class Setup(NamedTuple):
    """A section of the page."""

    title: str
    text: str
    writes: str
    to: list[str]
    arrives: str

    @property
    def config(self) -> Configuration:
        """As the agent reads it, in a folder of this platform."""
        return check(tomllib.loads(self.text), "dropline.toml", PurePosixPath("/etc/dropline"))


def setups() -> list[Setup]:
    found = []
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        text = re.search("```toml\n(.*?)```", section, re.S)
        row = re.search(r"^\| `(.+?)` \| (.+?): `(.+?)` \|$", section, re.M)
        assert text is not None, section
        assert row is not None, section
        found.append(Setup(section.partition("\n")[0], text[1], row[1], re.findall("`(.+?)`", row[2]), row[3]))
    return found


SETUPS = setups()


def test_there_are_six() -> None:
    """As the page says."""
    assert len(SETUPS) == 6


@pytest.mark.parametrize("setup", SETUPS, ids=[one.title for one in SETUPS])
def test_a_setup_is_short_and_has_no_traps(setup: Setup) -> None:
    """Fifteen lines at most, one rule, and nothing that `check` would warn of in it."""
    assert len([line for line in setup.text.splitlines() if line]) <= 15
    (rule,) = setup.config.rules
    assert traps(rule) == []


@pytest.mark.parametrize("setup", SETUPS, ids=[one.title for one in SETUPS])
def test_a_setup_delivers_what_its_table_says(setup: Setup) -> None:
    """The file goes to the destinations, and to the path, of the table."""
    (rule,) = setup.config.rules
    relpath = setup.writes.removeprefix(rule.watch + "/")
    assert [target.to for target in rule.deliver] == setup.to
    paths = {place(target.path, rule, relpath, int(START * 1e9), "pc") for target in rule.deliver}
    assert paths == {setup.arrives}


@pytest.mark.parametrize("setup", SETUPS, ids=[one.title for one in SETUPS])
def test_a_setup_runs(setup: Setup) -> None:
    """The real intake, in memory: what an instrument writes is sealed, at night where there is a schedule."""
    (rule,) = setup.config.rules
    sealed: list[Happening] = []

    def heard(_: Rule, happening: Happening) -> None:
        sealed.extend([happening] if happening.what == "sealed" else [])

    with Play([rule], "pc", START - 1.0, heard) as play:
        if rule.preset is None:
            relpath = setup.writes.removeprefix(rule.watch + "/")
            play.storage.write(setup.writes, b"data")
        else:
            instrument = Instrument(Memory(play.storage, rule.watch, lambda: play.now))
            for step in presets.table(rule.preset).timelines[0].steps:
                play.until(START + step.at)
                instrument.play(step)
                if step.release is not None:
                    play.release(rule, step.release)
                play.settle()
        play.until(play.now + 2 * DAY)
    assert sealed
    if rule.preset is None:
        assert [one.files for one in sealed] == [(relpath,)]
    if rule.batch.schedule is not None:
        minute, hour = rule.batch.schedule.split()[:2]
        at = [datetime.fromtimestamp(one.at, UTC) for one in sealed]
        assert {(one.minute, one.hour) for one in at} == {(int(minute), int(hour))}
