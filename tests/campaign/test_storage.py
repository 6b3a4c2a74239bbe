"""What storage does to the agent: shares that hang, fold names, are full or read-only, are away; power that fails."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.moody import Share, mounted
from tests.campaign.station import Station, Zygote, until

PATIENCE = 1.0
"""Seconds that the agents under test wait for an answer."""


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Where agents come from."""
    with Zygote() as started:
        yield started


@pytest.fixture
def station(tmp_path: Path, zygote: Zygote) -> Iterator[Station]:
    """A workstation whose agent soon loses its patience."""
    made = Station(tmp_path / "station", zygote)
    made.patience = PATIENCE
    yield made
    made.close()


@pytest.fixture
def far(tmp_path: Path, station: Station) -> Iterator[Share]:
    """The destination `share`, on a file system that does as it is told."""
    with mounted(tmp_path / "far") as share:
        station.destinations["share"] = {"path": str(share.path)}
        yield share


def put(station: Station, *names: str, folder: str = "inbox") -> None:
    """The instrument writes files that say their names."""
    for name in names:
        path = station.root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def arrives(folder: Path, *names: str, seconds: float = 30.0) -> None:
    """They come there, whole."""

    def there() -> bool:
        return all((folder / name).is_file() and (folder / name).read_text() == name for name in names)

    assert until(there, seconds), f"{names} did not come to {folder}"


def goes(path: Path) -> None:
    """It is reclaimed."""
    assert until(lambda: not path.exists(), 30.0), f"{path} is still here"


def status(station: Station, share: str = "share") -> dict[str, Any]:
    """What `dropline status` says of a destination."""
    places = json.loads(station.ask("status", "--format", "json"))["destinations"]
    return next(one for one in places if one["name"] == share)


def page(station: Station, path: str) -> tuple[int, str]:
    """What the agent's server answers."""
    (line,) = [line for line in station.out.read_text().splitlines() if line.startswith("status page: ")][-1:]
    try:
        with urllib.request.urlopen(line.split()[-1].rstrip("/") + path, timeout=5) as answer:  # noqa: S310  (our own)
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("hang", [["*"], ["fsync"]], ids=lambda hang: hang[0])
def test_a_share_that_hangs_hangs_nothing_else(station: Station, far: Share, hang: list[str]) -> None:
    """Whatever call never returns, the rest goes on, the agent says so, ends in time and starts again; then all arrives."""
    station.agent["listen"] = "127.0.0.1:0"
    station.rule["reclaim"] = {"after": "0s"}
    station.rules = [
        {"name": "near", "watch": "near", "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
         "deliver": [{"to": "mirror"}], "reclaim": {"after": "0s"}},
    ]  # fmt: skip
    (station.root / "near").mkdir()
    station.configure()
    station.start()
    put(station, "first")
    goes(station.inbox / "first")
    far.mood(hang=hang)
    put(station, *(f"many{number}" for number in range(100)), "one")
    arrives(station.shares["mirror"], "one", "many99")
    if hang == ["fsync"]:
        assert not {"one", "many99"} & set(os.listdir(far.backing)), "nothing shows before it is durable"
    put(station, "x", folder="near")
    goes(station.root / "near/x")
    if hang == ["*"]:
        assert until(lambda: status(station)["up"] is False), "it is down"
        reason = status(station)["reason"]
        assert reason.startswith(f"{far.path} has not answered since 20")
        assert page(station, "/healthz") == (200, f"ok\ndestination share is down: {reason}\n")
        assert reason in page(station, "/")[1]
        assert 'dropline_destination_up{destination="share"} 0.0' in page(station, "/metrics")[1]
    else:
        assert page(station, "/healthz")[0] == 200
    station.stop()
    station.start()
    put(station, "second")
    arrives(station.shares["mirror"], "second")
    put(station, "y", folder="near")
    goes(station.root / "near/y")
    assert until(lambda: status(station)["up"] is False), "a process of the former run still waits there"
    assert "a process of a former run still waits for an answer" in status(station)["reason"]
    assert (station.inbox / "one").exists()
    far.mood()
    arrives(far.path, "one", "many99", "second")
    station.stop()
    assert [name for name in os.listdir(far.backing) if name.endswith(".part")] == []
    assert station.broken + station.complaints() == [], station.log.read_text()
