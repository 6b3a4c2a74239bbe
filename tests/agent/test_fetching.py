"""Fetching through a transfer service, in one process: tasks of modest size, and one process for each fetch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.app.configuration import check
from agent.by_hand.fetch import Fetch
from agent.destinations.globus import request
from agent.host.lock import alone
from agent.ledger import Ledger
from rules.config.settings import Configuration
from tests.globus import Globus


class Rig(NamedTuple):
    """A collection, a local directory, and who fetches."""

    service: Globus
    config: Configuration
    ledger: Ledger
    share: Path
    here: Path

    def fetch(self, source: str = "") -> Fetch:
        return Fetch(self.config, self.ledger, "campus", source, str(self.here))


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A fetch from a collection of the stand-in."""
    with Globus(by_itself=True) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        data = {
            "agent": {"state_dir": str(tmp_path / "state"), "listen": ""},
            "globus": {"client_id": service.account.id, "client_secret": service.account.secret},
            "destinations": {
                "campus": {
                    "transport": "globus", "collection": service.collection("Campus", tmp_path / "share").id,
                    "source_collection": service.collection("Instrument", tmp_path).id, "source_root": str(tmp_path),
                }
            },
        }  # fmt: skip
        (tmp_path / "state").mkdir()
        ledger = Ledger(str(tmp_path / "state/ledger.sqlite"))
        yield Rig(service, check(data, "test", tmp_path), ledger, tmp_path / "share", tmp_path / "here")
        ledger.close()


def test_many_files_come_by_tasks_of_modest_size(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five files at two a task are three tasks, one after the other, and each file comes once."""
    monkeypatch.setattr(request, "TASK_FILES", 2)
    for number in range(5):
        (rig.share / f"f{number}").write_bytes(b"x" * number)
    done = rig.fetch().see_through(wait=True, deadline=time.monotonic() + 60.0)
    assert done is not None
    assert (done.arrived, done.present, done.refused) == ({f"f{number}": number for number in range(5)}, set(), {})
    assert [len(task.order.items) for task in rig.service.tasks.all.values()] == [2, 2, 1]
    assert sorted(path.name for path in rig.here.iterdir()) == [f"f{number}" for number in range(5)]


OTHER = """
import sys
from pathlib import Path
from agent.host.lock import Held, alone
for number in (1, 2):
    try:
        with alone(Path(sys.argv[1]), number):
            print("mine")
    except Held as error:
        print(error.reason)
"""


def test_the_same_is_fetched_by_one_process_at_a_time(tmp_path: Path) -> None:
    """Who comes second is told; another fetch goes on beside it."""

    def other() -> str:
        command = [sys.executable, "-P", "-c", OTHER, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    with alone(tmp_path, 1):
        assert other() == "the same is being fetched by another process\nmine\n"
    assert other() == "mine\nmine\n"


def test_a_fetch_keeps_its_number(rig: Rig) -> None:
    """Each path and directory is its own fetch, whoever asks for it again."""
    place = rig.ledger.destinations.place("campus", "Campus").id
    numbers = [
        rig.ledger.fetches.number(place, source, target) for source, target in (("a", "/x"), ("b", "/x"), ("a", "/y"))
    ]
    assert len(set(numbers)) == 3
    assert rig.ledger.fetches.number(place, "a", "/x") == numbers[0]


@pytest.mark.parametrize("name", ["..", "../outside", "/etc/passwd", "."])
def test_a_name_that_leads_out_is_refused_alone(rig: Rig, tmp_path: Path, name: str) -> None:
    """Whatever a server lists, nothing is asked for or written outside of the directory."""
    (rig.share / "a").write_bytes(b"x")
    before = {path for path in tmp_path.rglob("*") if "state" not in path.parts}

    def listed(page: dict[str, Any]) -> dict[str, Any]:
        return page | {"DATA": [*page["DATA"], page["DATA"][0] | {"name": name}]}

    rig.service.faults.twist("GET */ls", listed, None)
    done = rig.fetch().see_through(wait=True, deadline=time.monotonic() + 60.0)
    assert done is not None
    assert (done.arrived, done.refused) == ({"a": 1}, {name: "that is no name"})
    made = {path for path in tmp_path.rglob("*") if "state" not in path.parts} - before
    assert made == {rig.here, rig.here / "a"}


def test_a_staging_folder_that_was_tidied_up_is_no_dead_end(rig: Rig) -> None:
    """What arrived there is gone: that is told, and the next fetch gets it."""
    (rig.share / "a").write_bytes(b"x")
    rig.service.faults.after("GET */successful_transfers", lambda: [shutil.rmtree(one) for one in rig.here.iterdir()])
    done = rig.fetch().see_through(wait=True, deadline=time.monotonic() + 60.0)
    assert done is not None
    assert (done.arrived, done.refused) == ({}, {"a": "it did not arrive; fetch it again"})
    again = rig.fetch().see_through(wait=True, deadline=time.monotonic() + 60.0)
    assert again is not None
    assert (again.arrived, again.refused) == ({"a": 1}, {})


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_has_the_name_of_a_directory_stops_its_files_alone(rig: Rig, tmp_path: Path, kind: str) -> None:
    """Nothing is fetched through a link or in the place of a file; the others come, and no folder of the agent's stays."""
    (rig.share / "a").mkdir()
    (rig.share / "a/b").write_bytes(b"x")
    (rig.share / "c").write_bytes(b"xy")
    rig.here.mkdir()
    (tmp_path / "outside").mkdir()
    if kind == "link":
        (rig.here / "a").symlink_to(tmp_path / "outside")
    else:
        (rig.here / "a").write_bytes(b"a person's")
    done = rig.fetch().see_through(wait=True, deadline=time.monotonic() + 60.0)
    assert done is not None
    assert (done.arrived, done.refused) == ({"c": 2}, {"a/b": f"a {kind} has the name of its directory 'a' here"})
    assert sorted(path.name for path in rig.here.iterdir()) == ["a", "c"]
    assert list((tmp_path / "outside").iterdir()) == []


def test_what_takes_the_name_of_a_directory_meanwhile_stops_its_files_alone(rig: Rig) -> None:
    """Somebody puts a file there when all has arrived beside: the other files get their names."""
    (rig.share / "a").mkdir()
    (rig.share / "a/b").write_bytes(b"x")
    (rig.share / "c").write_bytes(b"xy")
    rig.service.faults.after("GET */successful_transfers", lambda: (rig.here / "a").write_bytes(b"a person's"))
    done = rig.fetch().see_through(wait=True, deadline=time.monotonic() + 60.0)
    assert done is not None
    assert (done.arrived, done.refused) == ({"c": 2}, {"a/b": "Not a directory"})
    assert (rig.here / "a").read_bytes() == b"a person's"


def test_names_that_are_no_text_are_refused_alone(rig: Rig) -> None:
    """Files and directories whose names are no UTF-8 are refused with the reason; the others come."""
    os.mkdir(os.fsencode(rig.share) + b"/d\xff")
    for name in (b"/d\xff/in", b"/f\xff", b"/good"):
        with open(os.fsencode(rig.share) + name, "wb") as file:
            file.write(b"x")
    done = rig.fetch().see_through(wait=True, deadline=time.monotonic() + 60.0)
    assert done is not None
    no_text = "its name is not UTF-8, and Globus takes only text"
    assert (done.arrived, done.refused) == ({"good": 1}, {"d\udcff": no_text, "f\udcff": no_text})
