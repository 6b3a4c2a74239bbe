"""What storage does to the agent: shares that hang, fold names, are full or read-only, are away; power that fails."""

import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.campaign.moody import Share, mounted
from tests.campaign.oracle import tree
from tests.campaign.power import attached, image_at, moments, recorded
from tests.campaign.station import Station, until
from tests.programs import program
from tests.zygote import Zygote

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
    made.patience, made.rest = PATIENCE, None
    yield made
    made.close()


@pytest.fixture
def far(tmp_path: Path, station: Station) -> Iterator[Share]:
    """The destination `share`, on a file system that does as it is told."""
    with mounted(tmp_path / "far") as share:
        station.destinations["share"] = {"path": str(share.path), "mounted": False}
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
    put(station, *(f"many{number}" for number in range(70)), "one")
    arrives(station.shares["mirror"], "one", "many69")
    if hang == ["fsync"]:
        assert not {"one", "many69"} & set(os.listdir(far.backing)), "nothing shows before it is durable"
    put(station, "x", folder="near")
    goes(station.root / "near/x")
    if hang == ["*"]:
        assert until(lambda: status(station)["up"] is False, every=0.5), "it is down"
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
    assert until(lambda: status(station)["up"] is False, every=0.5), "a process of the former run still waits there"
    assert "a process of a former run still waits for an answer" in status(station)["reason"]
    assert (station.inbox / "one").exists()
    far.mood()
    arrives(far.path, "one", "many69", "second")
    station.stop()
    assert [name for name in os.listdir(far.backing) if name.endswith(".part")] == []
    assert station.broken + station.complaints() == [], station.log.read_text()


def test_names_that_are_one_name_at_the_share_do_not_overwrite_each_other(station: Station, far: Share) -> None:
    """Of two names that the share folds into one, the second gets a name beside the first: both arrive, and go here."""
    far.mood(fold=True)
    station.rule["reclaim"] = {"after": "0s"}
    station.configure()
    pairs = [
        ("run/A.dat", "run/a.dat"),
        ("b\u00e9.dat", "be\u0301.dat"),
        ("Dir/x.dat", "dir/x.dat"),
        ("S\u00df.d", "sss.d"),
    ]
    station.start()
    for first, _ in pairs[:2]:
        put(station, first)
        goes(station.inbox / first)
    put(station, *(second for _, second in pairs[:2]), *(name for pair in pairs[2:] for name in pair))
    names = [name for pair in pairs for name in pair]
    arrives(station.shares["mirror"], *names)

    assert until(lambda: not any(path.is_file() for path in station.inbox.rglob("*"))), "all are reclaimed"
    station.stop()
    there = [path.read_text() for path in far.backing.rglob("*") if path.is_file() and ".dropline" not in path.name]
    assert sorted(there) == sorted(names), "each is there once, whole"
    assert station.broken + station.complaints() == [], station.log.read_text()


def durable(path: Path, content: bytes) -> None:
    """Written as an instrument that wants to keep it writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    for folder in (path.parent, path.parent.parent):
        fd = os.open(folder, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


CUTS = 4
DISKS = ("inbox", "state", "share", "mirror")
"""Each on a disk of its own: on one, the flush of any of them would flush the others' journal, and hide that it is missing."""


@contextmanager
def with_disks(station: Station, images: Mapping[str, Path]) -> Iterator[None]:
    """The station's directories, on their disks."""
    with ExitStack() as stack:
        for name, image in images.items():
            stack.enter_context(attached(image, station.root / name))
        yield


def deletions(station: Station) -> list[str]:
    """What is recorded as deleted."""
    path = station.state / "deletions.jsonl"
    return [json.loads(line)["file"] for line in path.read_text().splitlines()] if path.exists() else []


def test_whenever_power_fails_nothing_is_lost(tmp_path: Path, zygote: Zygote) -> None:
    """Cut off at any write, disks with source, state and shares still have each durable file; the next run delivers it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    for name in ("fusermount3", "losetup", "mkfs.ext4"):
        program(name)
    pytest.importorskip("mfusepy", exc_type=ImportError)
    chance = Random(5)  # noqa: S311  (a plan, no secret)
    station = Station(tmp_path / "station", zygote)
    station.state.mkdir(mode=0o700)
    station.rule["reclaim"] = {"after": "0s"}
    station.configure()
    written: dict[str, tuple[str, int]] = {}
    with ExitStack() as stack:
        disks = {name: stack.enter_context(recorded(tmp_path / f"power-{name}")) for name in DISKS}
        with with_disks(station, {name: file for name, (_, _, file) in disks.items()}):
            os.sync()
            began = time.monotonic_ns()
            station.start()
            for number in range(40):
                content = chance.randbytes(chance.choice((0, 100, 5000, 200_000)))
                name = f"run{number % 3}/f{number}"
                durable(station.inbox / name, content)
                written[name] = hashlib.sha256(content).hexdigest(), time.monotonic_ns()
            whole = {name: digest for name, (digest, _) in written.items()}
            assert until(lambda: not tree(station.inbox)), "all was delivered and reclaimed"
            station.stop()
            end = time.monotonic_ns()
        times = sorted(when for _, log, _ in disks.values() for when in moments(log) if began < when < end)
        for cut in sorted(chance.sample(times, CUTS)):
            images = {name: tmp_path / f"image-{name}" for name in DISKS}
            for name, (base, log, _) in disks.items():
                image_at(base, log, cut, chance, images[name])
            with with_disks(station, images):
                shares = {name: tree(path) for name, path in station.shares.items()}
                here = set(tree(station.inbox).values())
                for name, (digest, at) in written.items():
                    everywhere = all(there.get(name) == digest for there in shares.values())
                    assert at > cut or digest in here or everywhere, f"{name} is lost by a cut at {cut}"
                for there in shares.values():
                    names = {name: digest for name, digest in there.items() if ".dropline" not in name}
                    assert names.items() <= whole.items(), f"not whole after a cut at {cut}"
                required = {name: digest for name, (digest, at) in written.items() if at <= cut}
                station.start()
                assert until(
                    lambda required=required: (
                        all(  # type: ignore[misc]
                            required.items() <= tree(path).items() for path in station.shares.values()
                        )
                        and not required.keys() & tree(station.inbox).keys()
                    )
                ), f"all is delivered and reclaimed after a cut at {cut}: {station.log.read_text()}"
                station.stop()
                assert {os.path.relpath(path, station.inbox) for path in deletions(station)} >= required.keys()
                assert station.broken + station.complaints() == [], station.log.read_text()
