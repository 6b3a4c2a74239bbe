"""What a sweep makes of a directory that is known already."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from agent.errors import Transient
from agent.intake.root import Root
from agent.intake.survey import Survey
from agent.ledger import Ledger
from agent.watch import Ahead, Watch
from rules.load import RuleTable, build


@contextmanager
def surveyed(data: Path) -> Iterator[tuple[Ledger, Root, Survey]]:
    """A directory that one rule watches, and what looks after it."""
    with ExitStack() as stack:
        ledger = Ledger(f"{data}.sqlite")
        stack.callback(ledger.close)
        watch = Watch(str(data), lambda: None)
        stack.callback(watch.close)
        table = RuleTable.model_validate({"name": "r", "watch": str(data), "deliver": [{"to": "s"}]})
        root = Root(watch, build([table], ["s"], "f.toml", lambda path: path))
        yield ledger, root, Survey(ledger, [root])


@pytest.mark.parametrize("size", [10, 300], ids=["few", "many"])
def test_a_sweep_tells_what_is_as_it_was_from_what_is_not(tmp_path: Path, size: int) -> None:
    """Unchanged files stay as they are, whatever their names; new, changed and missing ones are found, be they few or many."""
    data = tmp_path / "data"
    data.mkdir()

    names = [b"%d.\xff" % number for number in range(size)]
    with surveyed(data) as (ledger, root, survey):

        def sweep(now: float) -> Counter[str]:
            root.why = "start"
            while survey.take_sweeps(now):
                pass
            return Counter(state for _, state, count, _ in ledger.reports.tally() for _ in range(count))

        for name in names:
            Path(os.fsdecode(bytes(data) + b"/" + name)).write_bytes(b"x")
        assert sweep(1.0) == {"candidate": size}
        before = ledger.files.due(1e9, 10 * size)
        assert sweep(2.0) == {"candidate": size}
        assert ledger.files.due(1e9, 10 * size) == before
        for name in names[: size // 2]:
            os.unlink(bytes(data) + b"/" + name)
        Path(os.fsdecode(bytes(data) + b"/" + names[-1])).write_bytes(b"longer")
        (data / "new").write_bytes(b"x")
        assert sweep(3.0) == {"candidate": size - size // 2 + 1, "vanished": size // 2}
        sizes = {file.path: file.version.size for file in ledger.files.due(1e9, 10 * size)}
        assert sizes[os.fsdecode(bytes(data) + b"/" + names[-1])] == len("longer")


def test_a_sweep_whose_process_dies_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing counts as gone that was not listed, and the sweep is not counted as done: it begins again."""
    data = tmp_path / "data"
    for number in range(5_000):  # more than a pipe takes
        (data / f"{number:0200}").mkdir(parents=True)
    last = data / f"{0:0200}/x"
    last.write_bytes(b"x")
    monkeypatch.setattr("agent.intake.survey.Ahead", partial(Ahead, alone=0))
    with surveyed(data) as (ledger, root, survey):
        while survey.take_sweeps(1.0):
            pass
        (known,) = ledger.files.due(1e9, 10)
        root.why = "periodic"
        assert survey.take_sweeps(2.0)
        (child,) = psutil.Process().children()
        child.kill()
        with pytest.raises(Transient, match="ended early"):
            all(iter(lambda: survey.take_sweeps(3.0), False))
        assert (root.walk, root.why, root.swept_at) == (None, "the last one ended early", 1.0)
        assert ledger.files.due(1e9, 10) == [known]
        while survey.take_sweeps(4.0):
            pass
        assert (root.walk, root.why, root.swept_at) == (None, None, 4.0)
        assert ledger.files.due(1e9, 10) == [known]


def test_what_was_read_ahead_undoes_nothing_that_events_told_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that came, changed or went after the process had read its directory is what it is now, not what it was then."""
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    for name in ("same", "changed", "gone"):
        (data / "sub" / name).write_bytes(b"x")
    with surveyed(data) as (ledger, root, survey):
        while survey.take_sweeps(1.0):
            pass
        listings = list(Ahead(str(data), 0))
        (data / "sub/changed").write_bytes(b"longer")
        (data / "sub/gone").unlink()
        (data / "sub/came").write_bytes(b"x")
        root.parts.append(f"{data}/sub")
        while survey.take_sweeps(2.0):
            pass
        files, states = ledger.files.due(1e9, 10), ledger.reports.tally()
        assert {file.path: file.version.size for file in files} == {
            f"{data}/sub/{name}": size for name, size in {"same": 1, "changed": 6, "came": 1}.items()
        }
        monkeypatch.setattr("agent.intake.survey.Ahead", lambda _: (listing for listing in listings))
        root.why = "periodic"
        while survey.take_sweeps(3.0):
            pass
        assert (root.swept_at, ledger.files.due(1e9, 10), ledger.reports.tally()) == (3.0, files, states)
