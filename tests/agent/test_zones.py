"""Destinations below watched directories: what is in them is not delivered again."""

import json
import shutil
from pathlib import Path

import pytest

from agent.app.configuration import check
from agent.app.run import once
from agent.errors import Transient
from agent.files import LOCAL
from agent.intake.scan import sweep
from agent.intake.zones import Zones
from agent.ledger import Ledger
from rules.config.settings import Configuration


def zone(path: Path, identity: str) -> Path:
    """A directory with an identity file and a file in its own directory."""
    (path / "run").mkdir(parents=True)
    (path / ".dropline-destination").write_text(json.dumps({"dropline_destination": identity}))
    (path / "run/scan.h5").write_bytes(b"x")
    return path


def swept(root: Path, zones: Zones, begin: str = "") -> set[str]:
    """Directories that a sweep lists, relative to the root."""
    return {str(Path(one.directory).relative_to(root)) for one in sweep(LOCAL, str(root), begin, zones)}


def own(root: Path, *names: str, identities: tuple[str, ...] = ("mine", "mine, too")) -> Zones:
    """The landing zones of an agent whose destinations are these directories below a root."""
    return Zones(lambda: identities, lambda identity, directory: directory in {f"{root}/{name}" for name in names})


def test_own_destinations_are_left_out_and_others_are_data(tmp_path: Path) -> None:
    """What was proved to be one, whatever its name; by its path the one that has no identity file yet."""
    zone(tmp_path / "own", "mine")
    zone(tmp_path / "sub/other", "somebody else's")
    zone(tmp_path / "former", "mine, too")
    (tmp_path / "new/run").mkdir(parents=True)
    zones = Zones(lambda: {"mine", "mine, too"}, lambda identity, directory: True, [f"{tmp_path}/new"])
    assert swept(tmp_path, zones) == {".", "sub", "sub/other", "sub/other/run"}
    assert swept(tmp_path, zones, "own/run") == set()
    assert swept(tmp_path, zones, "new/run") == set()
    assert swept(tmp_path, zones, "sub/other/run") == {"sub/other/run"}


def test_a_copied_identity_file_makes_no_landing_zone(tmp_path: Path) -> None:
    """A directory that carries the identity of a destination and is not that one is data, at whatever depth a walk begins."""
    zone(tmp_path / "own", "mine")
    zone(tmp_path / "sub/copy", "mine")
    zones = own(tmp_path, "own")
    assert swept(tmp_path, zones) == {".", "sub", "sub/copy", "sub/copy/run"}
    assert swept(tmp_path, zones, "sub/copy/run") == {"sub/copy/run"}


def test_what_cannot_be_told_is_left_out_and_said(tmp_path: Path) -> None:
    """A destination that does not answer may be the directory: it is unseen with the reason, and asked once a sweep."""
    for name in ("a", "b"):
        zone(tmp_path / name, "mine")
    asked: list[str] = []

    def silent(identity: str, directory: str) -> bool:
        asked.append(directory)
        raise Transient("no answer")

    zones = Zones(lambda: {"mine"}, silent)
    errors = {one.directory: one.error for one in sweep(LOCAL, str(tmp_path), zones=zones) if one.error}
    first = asked[0]
    why = (
        f"it has an identity file, and whether {first} is that destination cannot be told: no answer;"
        " remove .dropline-destination there if it is a copy"
    )
    assert (errors, asked) == ({f"{tmp_path}/a": why, f"{tmp_path}/b": why}, [first])
    zones.ask_again()
    swept(tmp_path, zones)
    assert len(asked) == 2


def test_copies_without_number_cost_a_bounded_number_of_questions(tmp_path: Path) -> None:
    """Beyond twenty directories with an identity file a sweep says that it cannot tell; the next one asks about those."""
    for number in range(23):
        zone(tmp_path / str(number), "mine")
    asked: list[str] = []
    zones = Zones(lambda: {"mine"}, lambda identity, directory: bool(asked.append(directory)))
    errors = [one.error for one in sweep(LOCAL, str(tmp_path), zones=zones) if one.error]
    assert (len(asked), len(errors)) == (20, 3)
    assert all("there are more than 20 directories with such a file" in error for error in errors)
    zones.ask_again()
    assert [one.error for one in sweep(LOCAL, str(tmp_path), zones=zones) if one.error] == []
    assert len(asked) == len(set(asked)) == 23


def test_a_directory_that_becomes_a_destination_is_left_out(tmp_path: Path) -> None:
    """What was remembered of it is forgotten when its identity file appears, or a sweep begins."""
    (tmp_path / "archive/run").mkdir(parents=True)
    zones = own(tmp_path, "archive")
    with LOCAL.tree(str(tmp_path)) as tree:
        assert not zones.hold(tree, "archive/run")
        (tmp_path / "archive/.dropline-destination").write_text('{"dropline_destination": "mine"}')
        zones.forget()
        assert zones.hold(tree, "archive/run")
        assert not zones.hold(tree, "archives")


def test_a_destination_is_known_once_it_is_set_up(tmp_path: Path) -> None:
    """What a sweep took for another agent's is not remembered: the destination may be set up a moment later."""
    zone(tmp_path / "archive", "mine")
    known: set[str] = set()
    zones = Zones(lambda: known, lambda identity, directory: True)
    assert swept(tmp_path, zones) == {".", "archive", "archive/run"}
    known.add("mine")
    zones.ask_again()
    assert swept(tmp_path, zones) == {"."}


def test_the_watched_directory_itself_is_swept(tmp_path: Path) -> None:
    """Where it became a destination, to which its files are refused, they are still seen."""
    zone(tmp_path / "data", "mine")
    zones = Zones(lambda: {"mine"}, lambda identity, directory: True)
    assert swept(tmp_path / "data", zones) == {".", "run"}


def configured(root: Path, share: Path | None = None) -> Configuration:
    """A watched directory with the destination in it, or at another path."""
    rule = {
        "name": "r", "watch": str(root / "data"), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
        "deliver": [{"to": "share"}],
    }  # fmt: skip
    agent = {"state_dir": str(root / "state"), "listen": "", "canary_every": "0s"}
    return check(
        {"agent": agent, "destinations": {"share": {"path": str(share or root / "data/archive")}}, "rules": [rule]},
        "test",
        root,
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
    assert left_out(config) == [(f"{tmp_path}/data", 1, str(share))]


def left_out(config: Configuration) -> list[tuple[str, int, str]]:
    """What the ledger says of destinations below the watched directory."""
    ledger = Ledger(str(config.ledger))
    try:
        return ledger.reports.landing()
    finally:
        ledger.close()


def test_copied_identity_files_stop_and_hide_nothing(tmp_path: Path) -> None:
    """At the top of the watched directory and below it they are no data themselves; all other files are delivered."""
    data, share = tmp_path / "data", tmp_path / "share"
    (data / "sub").mkdir(parents=True)
    share.mkdir()
    config = configured(tmp_path, share)
    (data / "first.h5").write_bytes(b"measured")
    assert once(config)
    for where in (data, data / "sub"):
        shutil.copy(share / ".dropline-destination", where)
        (where / "later.h5").write_bytes(b"measured")
    assert once(config)
    there = {str(path.relative_to(share)) for path in share.rglob("*") if path.is_file()}
    assert there == {".dropline-destination", "first.h5", "later.h5", "sub/later.h5"}
    assert left_out(config) == []
