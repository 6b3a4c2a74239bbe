"""Files that are being written are known from their creation on: real events of real files."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.files import LOCAL
from agent.intake.root import Root
from agent.intake.survey import Survey
from agent.intake.watch import Watch
from agent.intake.writing import AT_MOST, Count, Writing
from agent.ledger import Ledger
from agent.observe.status import health, writing, written_in_words
from rules.config.load import RuleTable, build

Until = Callable[[Callable[[], bool], str], bool]
NOTHING = Count(0, False, ())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A watched directory."""
    path = tmp_path / "data"
    path.mkdir()
    return path


class Desk:
    """What looks after a watched directory, and hears its events."""

    def __init__(self, data: Path, until: Until) -> None:
        self.ledger = Ledger(f"{data}.sqlite")
        table = RuleTable.model_validate(
            {"name": "r", "watch": str(data), "exclude": ["*.part"], "deliver": [{"to": "s"}]}
        )
        self.root = Root(Watch(LOCAL, str(data), lambda: None), build([table], ["s"], "f.toml", lambda path: path))
        self.survey = Survey(self.ledger, LOCAL, [self.root])
        self._until = until
        assert self.root.watch.check(0.0) == "start"
        self.sweep()

    @property
    def count(self) -> Count:
        """What is being written."""
        return self.root.watch.writing.count()

    def becomes(self, count: Count) -> None:
        """Take hints until so much is being written."""

        def as_expected() -> bool:
            self.survey.take_hints(1.0)
            return self.count == count

        self._until(as_expected, f"{count}, and not {self.count}")

    def sweep(self) -> None:
        """Look through the directory."""
        self.root.why = "test"
        while self.survey.take_sweeps(1.0):
            pass

    @property
    def states(self) -> dict[str, int]:
        """Files in each state."""
        return {state: files for _, state, files, _ in self.ledger.reports.tally()}


@pytest.fixture
def desk(data: Path, until: Until) -> Iterator[Desk]:
    """It has swept once."""
    made = Desk(data, until)
    yield made
    made.root.watch.close()
    made.ledger.close()


def test_a_file_is_known_to_be_written_until_it_is_known_to_the_ledger(data: Path, desk: Desk) -> None:
    """From its creation on, long before its close; what a rule excludes leaves at its close."""
    with (data / "scan.h5").open("wb"), (data / "x.part").open("wb"):
        desk.becomes(Count(2, False, (f"{data}/scan.h5", f"{data}/x.part")))
        assert desk.states == {}
    desk.becomes(NOTHING)
    assert desk.states == {"candidate": 1}


def test_a_file_that_goes_away_while_it_is_written_leaves(data: Path, desk: Desk) -> None:
    """Removed, renamed, or moved away with its directory."""
    (data / "sub").mkdir()
    desk.survey.take_hints(1.0)
    with (data / "a").open("wb"), (data / "b").open("wb"), (data / "c").open("wb"):
        desk.becomes(Count(3, False, (f"{data}/a", f"{data}/b", f"{data}/c")))
        (data / "a").unlink()
        (data / "b").rename(data / "b.h5")
        desk.becomes(Count(1, False, (f"{data}/c",)))
        assert desk.states == {"candidate": 1}
    with (data / "sub/d").open("wb"):
        desk.becomes(Count(1, False, (f"{data}/sub/d",)))
        (data / "sub").rename(data.with_name("elsewhere"))
        desk.becomes(NOTHING)


def test_a_sweep_that_began_after_the_creation_knows_the_file(data: Path, desk: Desk) -> None:
    """It is a candidate then, and counts once."""
    with (data / "scan.h5").open("wb"):
        desk.becomes(Count(1, False, (f"{data}/scan.h5",)))
        desk.sweep()
        assert (desk.count, desk.states) == (NOTHING, {"candidate": 1})


def test_names_of_the_agent_are_not_being_written(data: Path, desk: Desk) -> None:
    """Its own marks and temporary files are no data."""
    with (data / ".dropline-x").open("wb"), (data / "a").open("wb"):
        desk.becomes(Count(1, False, (f"{data}/a",)))


def test_more_names_than_are_remembered_are_at_least_so_many() -> None:
    """Until a sweep has passed that began after the last of them."""
    known = Writing()
    early = known.mark()
    for number in range(AT_MOST + 5):
        known.created(f"/data/{number}")
    assert (len(known.count().examples), known.count()[:2]) == (3, (AT_MOST, True))
    known.left("/data/0")
    known.swept(early)
    assert known.count()[:2] == (AT_MOST - 1, True)
    late = known.mark()
    known.created("/data/new")
    known.swept(late)
    assert known.count() == Count(1, False, ("/data/new",))


def test_only_what_is_below_a_folder_counts_there() -> None:
    """A folder with a name that begins alike is another one."""
    known = Writing()
    for path in ("/data/run/a", "/data/run/sub/b", "/data/run2/c"):
        known.created(path)
    assert known.count("/data/run") == Count(2, False, ("/data/run/a", "/data/run/sub/b"))
    known.left_below("/data/run")
    assert known.count() == Count(1, False, ("/data/run2/c",))


def test_health_and_status_say_what_is_being_written(data: Path, desk: Desk) -> None:
    """It is no problem of the agent's."""
    with (data / "a").open("wb"):
        desk.becomes(Count(1, False, (f"{data}/a",)))
        (said,) = writing([desk.root])
        assert said == {"watch": str(data), "files": 1, "at_least": False, "examples": [f"{data}/a"]}
        found = health([], [desk.root], 300.0, {}, {}, {}, 1.0)
    assert (found.good, found.away) == (True, [f"1 file is being written below {data}"])
    assert written_in_words(said | {"files": 1000, "at_least": True}) == (
        f"at least 1,000 files are being written below {data}"
    )
    assert os.path.exists(data / "a")
