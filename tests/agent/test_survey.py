"""What a sweep makes of a directory that is known already."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.intake.root import Root
from agent.intake.survey import Survey
from agent.intake.watch import Watch
from agent.ledger import Ledger
from rules.config.load import RuleTable, build


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
