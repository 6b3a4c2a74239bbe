"""Destinations below watched directories: what is in them is not delivered again."""

import json
from pathlib import Path

import pytest

from agent.app.configuration import check
from agent.app.run import once
from agent.files import LOCAL
from agent.intake.scan import sweep
from agent.intake.zones import Zones
from agent.ledger import Ledger
from rules.config.settings import Configuration


def zone(path: Path, identity: str) -> Path:
    """A directory with an identity file and a file in a directory of its own."""
    (path / "run").mkdir(parents=True)
    (path / ".dropline-destination").write_text(json.dumps({"dropline_destination": identity}))
    (path / "run/scan.h5").write_bytes(b"x")
    return path


def swept(root: Path, zones: Zones, begin: str = "") -> set[str]:
    """Directories that a sweep lists, relative to the root."""
    return {str(Path(one.directory).relative_to(root)) for one in sweep(LOCAL, str(root), begin, zones)}


def test_own_destinations_are_left_out_and_others_are_data(tmp_path: Path) -> None:
    """By their identity files, whatever their names; by its path the one that has no identity file yet."""
    zone(tmp_path / "own", "mine")
    zone(tmp_path / "sub/other", "somebody else's")
    zone(tmp_path / "former", "mine, too")
    (tmp_path / "new/run").mkdir(parents=True)
    zones = Zones(lambda: {"mine", "mine, too"}, [f"{tmp_path}/new"])
    assert swept(tmp_path, zones) == {".", "sub", "sub/other", "sub/other/run"}
    assert swept(tmp_path, zones, "own/run") == set()
    assert swept(tmp_path, zones, "new/run") == set()
    assert swept(tmp_path, zones, "sub/other/run") == {"sub/other/run"}


def test_a_directory_that_becomes_a_destination_is_left_out(tmp_path: Path) -> None:
    """What was remembered of it is forgotten when its identity file appears, or a sweep begins."""
    (tmp_path / "archive/run").mkdir(parents=True)
    zones = Zones(lambda: {"mine"})
    with LOCAL.tree(str(tmp_path)) as tree:
        assert not zones.hold(tree, "archive/run")
        (tmp_path / "archive/.dropline-destination").write_text('{"dropline_destination": "mine"}')
        zones.forget()
        assert zones.hold(tree, "archive/run")
        assert not zones.hold(tree, "archives")


def test_the_watched_directory_itself_is_swept(tmp_path: Path) -> None:
    """Where it became a destination, which is refused, the files in it are still seen."""
    zone(tmp_path / "data", "mine")
    assert swept(tmp_path / "data", Zones(lambda: {"mine"})) == {".", "run"}


def configured(root: Path) -> Configuration:
    """A watched directory with the destination in it."""
    rule = {
        "name": "r", "watch": str(root / "data"), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
        "deliver": [{"to": "share"}],
    }  # fmt: skip
    agent = {"state_dir": str(root / "state"), "listen": "", "canary_every": "0s"}
    return check(
        {"agent": agent, "destinations": {"share": {"path": str(root / "data/archive")}}, "rules": [rule]}, "test", root
    )


@pytest.mark.parametrize("again", [1, 3])
def test_what_was_delivered_below_is_not_delivered_again(tmp_path: Path, again: int) -> None:
    """However often the agent runs, each file is there once, and what lay in the destination before is no data."""
    share = tmp_path / "data/archive"
    share.mkdir(parents=True)
    (share / "before.h5").write_bytes(b"before")
    (tmp_path / "data/scan.h5").write_bytes(b"measured")
    config = configured(tmp_path)
    for _ in range(again):
        assert once(config)
    ledger = Ledger(str(config.ledger))
    counts = {state: count for _, state, count, _ in ledger.reports.tally() if count}
    ledger.close()
    there = {str(path.relative_to(share)) for path in share.rglob("*") if path.is_file()} - {".dropline-destination"}
    assert (there, counts) == ({"before.h5", "scan.h5"}, {"verified": 1})
