"""`run --once`: what it waits for, and what it leaves."""

from pathlib import Path
from typing import Any

import pytest

from agent.app import run
from agent.app.configuration import check
from agent.ledger import Ledger


def passing(actions: "dict[str, Any]") -> Any:
    """A clock that goes on by half a second at each look, and does something each time."""

    class Passing:
        now = 1_700_000_000.0

        def __call__(self) -> float:
            Passing.now += 0.5
            actions["act"](Passing.now - 1_700_000_000.0)
            return Passing.now

    return Passing


@pytest.mark.parametrize("many", [False, True])
def test_it_ends_beside_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, many: bool) -> None:
    """A program that never pauses, in one file or in ever new ones, keeps nothing that is finished, nor the end."""
    inbox, share = tmp_path / "inbox", tmp_path / "share"
    inbox.mkdir()
    share.mkdir()
    (inbox / "finished").write_bytes(b"finished")
    took = 0.0

    def write(elapsed: float) -> None:
        nonlocal took
        took = elapsed
        assert elapsed < 60.0, "it does not end"
        with (inbox / (f"stream{elapsed}" if many else "stream")).open("ab") as stream:
            stream.write(b"more")

    monkeypatch.setattr(run, "Clock", passing({"act": write}))
    config = check(
        {
            "agent": {"state_dir": str(tmp_path / "state"), "listen": ""},
            "destinations": {"share": {"path": str(share), "mounted": False}},
            "rules": [{"name": "r", "watch": str(inbox), "complete": {"quiet": "2s"}, "deliver": [{"to": "share"}]}],
        },
        "test", tmp_path,
    )  # fmt: skip
    assert not run.once(config)
    assert (share / "finished").read_bytes() == b"finished"
    assert (share / "stream").exists() is False
    assert took < 30.0
    ledger = Ledger(str(config.ledger))
    left = {Path(file.path).name for file in ledger.files.due(float("inf"), 1000)}
    assert left <= {path.name for path in inbox.iterdir()}
    assert left
    ledger.close()
