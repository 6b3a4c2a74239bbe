"""Old data on the first day: what the first sweep finds, and is older than `newer_than`, is left, and never called safe."""

import os
from pathlib import Path
from typing import Any

import pytest

from agent.files import LOCAL
from agent.ledger import State
from agent.observe.explain import explain
from agent.observe.status import status
from agent.observe.web.marks import Marks
from rules.config.settings import Configuration
from rules.model import Verdict
from tests.agent.test_replan import HOUR, RECLAIM, T0, Site, agent, work

OLD, NEW = T0 - 20 * 365 * 86400, T0 - HOUR
"""The ctime of a file is that of this computer: older than the date, which is in the future, as the agent's clock is."""
DATE = "2032-01-01"


class First(Site):
    """A workstation where an agent starts beside files that were there before."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.rule |= {
            "include": ["**"],
            "complete": {"quiet": "0s"},
            "batch": {"linger": "0s"},
            "deliver": [{"to": "share"}],
        }

    def put(self, name: str, at: float) -> None:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, (at, at))

    def dated(self, **keys: Any) -> Configuration:
        return self.config({**self.rule, "newer_than": DATE, **keys})

    def run(self, config: Configuration, now: float, *, sweeps: int = 1) -> None:
        with agent(config, now) as parts:
            work(parts, now)
            for number in range(1, sweeps):
                for root in parts.intake.roots:
                    root.why = "test"
                work(parts, now + 10 * number)

    @property
    def states(self) -> dict[str, str]:
        return {name: state for name, state, _ in self.rows()}

    def copied(self) -> set[str]:
        share = self.root / "share"
        return {
            path.relative_to(share).as_posix()
            for path in share.rglob("*")
            if path.is_file() and not path.name.startswith(".dropline")
        }


@pytest.fixture
def site(tmp_path: Path) -> First:
    return First(tmp_path)


DATASETS = {"dataset": {"dir": "[^/]+"}}


def test_what_the_first_sweep_finds_is_left_where_it_is_older(site: First) -> None:
    """What comes later is delivered, however old it is: an outage kept it elsewhere."""
    site.put("old", OLD)
    site.put("new", NEW)
    with agent(site.dated(), T0) as parts:
        work(parts, T0)
        site.put("moved/in", OLD)
        for root in parts.intake.roots:
            root.why = "test"
        work(parts, T0 + 10)
    assert site.states == {"old": "ignored", "new": "verified", "moved/in": "verified"}
    assert site.copied() == {"new", "moved/in"}


def test_what_is_ignored_stays_so(site: First) -> None:
    """Over a restart, a sweep and a `chmod -R`; a program that goes on with the file makes it new, and reclaim lets it be."""
    for name in ("old", "touched", "written"):
        site.put(name, OLD)
    config = site.dated(reclaim=RECLAIM)
    site.run(config, T0)
    (site.data / "touched").chmod(0o640)
    site.run(config, T0 + HOUR, sweeps=3)
    assert set(site.states.values()) == {"ignored"}
    with (site.data / "written").open("ab") as file:
        file.write(b", and more")
    os.utime(site.data / "written", (NEW, NEW))
    site.run(config, T0 + 2 * HOUR)
    assert site.copied() == {"written"}
    assert sorted(path.name for path in site.data.iterdir() if path.is_file()) == ["old", "touched"]


def test_a_dataset_is_left_or_delivered_as_a_whole(site: First) -> None:
    """The start of a long run goes with its end, also where that comes only when the first sweep is over."""
    for name in ("all_old/1", "all_old/2", "long/1", "long/2", "goes_on/1", "goes_on/sub/2"):
        site.put(name, OLD)
    site.put("long/3", NEW)
    config = site.dated(**DATASETS)
    site.run(config, T0, sweeps=2)
    assert site.copied() == {"long/1", "long/2", "long/3"}
    assert {name for name, state in site.states.items() if state == "ignored"} == {
        "all_old/1", "all_old/2", "goes_on/1", "goes_on/sub/2",
    }  # fmt: skip
    site.put("goes_on/3", NEW)
    site.run(config, T0 + HOUR, sweeps=2)
    assert site.copied() == {"long/1", "long/2", "long/3", "goes_on/1", "goes_on/sub/2", "goes_on/3"}
    assert site.states["all_old/1"] == "ignored"


@pytest.mark.parametrize("datasets", [{}, DATASETS], ids=["files", "datasets"])
def test_an_edit_of_the_date_counts_for_what_the_first_sweep_found(site: First, datasets: dict[str, Any]) -> None:
    """An earlier one, or none, delivers more; a later one leaves what is not on its way. What came later, it never leaves."""
    site.put("a/1990s", OLD - 86400 * 365 * 10)
    site.put("b/old", OLD)
    site.put("c/new", NEW)
    (site.root / "share").rename(site.root / "away")
    later = {"by": "dir", "linger": "3h"}
    site.run(site.dated(**datasets, batch=later), T0)
    assert site.states == {"a/1990s": "ignored", "b/old": "ignored", "c/new": "complete"}
    site.put("d/late", OLD)
    edited = []
    for number, keys in enumerate(({"newer_than": "2034-01-01"}, {"newer_than": DATE}, {}), 1):
        rule = {**site.rule, **datasets, "batch": later, **keys}
        site.run(site.config(rule), T0 + number * HOUR)
        edited.append("".join(state[0] for _, state in sorted(site.states.items())))
    assert edited == ["iiic", "iicc", "cccc"]
    (site.root / "away").rename(site.root / "share")
    site.run(site.config({**site.rule, **datasets}), T0 + 9 * HOUR)
    assert site.copied() == {"a/1990s", "b/old", "c/new", "d/late"}


def test_what_is_under_way_goes_on(site: First) -> None:
    """A date that is written later leaves files of a sealed batch that nothing was tried for; what is delivered stays so."""
    site.put("first", OLD)
    site.run(site.config(site.rule), T0)
    site.put("second", OLD)
    both = {**site.rule, "deliver": [{"to": "share"}, {"to": "tape"}]}
    site.run(site.config(both), T0 + HOUR)
    site.run(site.config({**both, "newer_than": DATE}), T0 + 2 * HOUR)
    assert site.states == {"first": "verified", "second": "verified"}


def test_a_lost_ledger_finds_the_same_files_too_old(site: First) -> None:
    """Its first sweep is another first one: nothing that is not delivered is adopted, deleted or called safe."""
    site.put("old", OLD)
    site.put("new", NEW)
    config = site.dated()
    site.run(config, T0)
    for path in (site.root / "state").glob("ledger*"):
        path.unlink()
    site.put("moved/in", OLD)
    site.run(config, T0 + HOUR, sweeps=2)
    assert site.states == {"old": "ignored", "new": "verified", "moved/in": "ignored"}
    assert site.copied() == {"new"}


def test_people_read_why(site: First) -> None:
    """Status counts them by a state of their own, explain says the date, and a summary's removal is never allowed."""
    site.put("run/old", OLD)
    config = site.dated()
    site.run(config, T0)
    with site.ledger() as ledger:
        found = status(ledger, config.rules, [], {}, {})
        assert (found["files"]["ignored"], found["bytes"]["ignored"]) == (1, 7)
        (version,) = explain(ledger, config.rules, str(site.data / "run/old"))["versions"]
        assert version["state"] == "ignored"
        assert version["reason"].startswith(
            f"from before the agent: it is older than {DATE} (`newer_than` of rule 'tomo')"
        )
        (file,) = ledger.files.history(str(site.data / "run/old"))
        summary = ledger.summaries.of(file)
        assert summary is not None
        assert (file.state, summary.ignored, summary.here) == (State.IGNORED, 1, 1)
        assert ledger.summaries.unproved_below(str(site.data))
        marks = Marks(ledger, config.rules, {name: one.address for name, one in config.settings.destinations.items()})
        no = Verdict(False, "no: 1 file is from before the agent, and not delivered")
        assert marks.of_summary(summary, below=False, up={})[0] == no
        assert marks.of_file(file, LOCAL.look(file.path)) == no
