"""What arrived where files are taken away is known after the ledger is lost, and is not sent again."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.delivery.arrivals import Arrivals, recall
from agent.delivery.in_flight import InFlightFile, Submission
from agent.delivery.outcomes import Outcomes
from agent.destinations import Arrived, Item
from agent.errors import Exhausted
from agent.files.posix.observing import observation
from agent.host.record import Record
from agent.ledger import File, Ledger, Proof, State
from rules.model import STAT, Content, VolumeId
from rules.naming import stat_content
from tests.agent.test_deliverer import NOW, Share, _seal

SHARE = "5a2e5c0e-0000-4000-8000-000000000000"


class Zone:
    """A watched directory, a landing zone's record, and ledgers that are lost."""

    def __init__(self, root: Path) -> None:
        self.data, self.path = root / "data", root / "arrivals.jsonl"
        self.data.mkdir()
        self.record = Record(self.path)
        self._ledgers = (Ledger(str(root / f"ledger{number}.sqlite")) for number in range(9))
        self.lose()

    def lose(self) -> None:
        """The ledger is a new one, as the agent starts."""
        self.ledger = next(self._ledgers)
        place = self.ledger.destinations.place("share", "/share").id
        with self.ledger.transaction():
            self.ledger.destinations.set_up(place, SHARE)
        self.arrivals = Arrivals(self.ledger, self.record, "share", "/share")
        recall(self.ledger, self.record)

    def file(self, name: str, content: bytes, mtime_ns: int = 10**18) -> InFlightFile:
        """A file that is about to be sent."""
        path = self.data / name
        path.write_bytes(content)
        os.utime(path, ns=(mtime_ns, mtime_ns))
        seen = observation(os.lstat(path), VolumeId(0))
        file = File(1, str(path), 1, "r", State.BATCHED, seen.version, seen.volume, NOW, NOW, 1, None)
        return InFlightFile(file, Item(1, str(self.data), name, seen.version, name), name, 1)

    def arrived(self, one: InFlightFile, path: str, algorithm: str = "sha256") -> Content:
        """It arrived under this name, and the record has it."""
        size = one.file.version.size
        content = Content(stat_content(size, one.file.version.mtime_ns), size)
        if algorithm != STAT:
            content = Content(hashlib.new(algorithm, Path(one.file.path).read_bytes()).digest(), size)
        self.arrivals.proved([Proof(one.file, path, content, algorithm, "accepted", None, None)], NOW)
        return content

    def before(self, *files: InFlightFile, identity: str = SHARE) -> list[tuple[str, Arrived]]:
        """(path there, what is known) of those that arrived before."""
        return [(one.item.path, known) for one, known in self.arrivals.before(files, identity)]


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path)
    yield made
    made.ledger.close()


@pytest.mark.parametrize("algorithm", ["sha256", "md5", STAT])
def test_a_new_ledger_knows_what_arrived_by_its_name_there(zone: Zone, algorithm: str) -> None:
    """Whatever proof there was, and whatever the file is called; at that destination alone."""
    one = zone.file("odd \udcff\n", b"frame")
    content = zone.arrived(one, "run/odd~2", algorithm)
    assert zone.before(one) == []
    zone.lose()
    assert zone.before(one) == [("run/odd~2", Arrived(1, content, algorithm, adopted=True))]
    assert zone.before(one, identity="another") == []


def test_other_content_is_sent_though_size_and_mtime_are_as_they_were(zone: Zone) -> None:
    """What travels is content: it is read, and compared with the record."""
    one = zone.file("a", b"frame")
    zone.arrived(one, "a")
    zone.lose()
    other = zone.file("a", b"other")
    assert (other.file.version.size, other.file.version.mtime_ns) == (5, one.file.version.mtime_ns)
    assert zone.before(other) == []


@settings(max_examples=30, deadline=None)
@given(lines=st.lists(st.binary(max_size=40) | st.sampled_from([
    b"[]", b"{}", b'{"identity": 1}', b"[" * 5000,
    json.dumps({"identity": SHARE, "file": "/x", "path": "x", "size": 10**30, "mtime_ns": 1, "checksum": "md5:00"}).encode(),
    json.dumps({"identity": SHARE, "file": "/x", "path": "x", "size": 1, "mtime_ns": 1, "checksum": "md5:0"}).encode(),
    json.dumps({"identity": SHARE, "file": "/x", "path": "x", "size": True, "mtime_ns": None, "checksum": 7}).encode(),
])))  # fmt: skip
def test_a_damaged_record_says_what_it_still_can(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    """Lines that are none are left out, one by one."""
    zone = Zone(tmp_path_factory.mktemp("zone"))
    with closing(zone.ledger):
        one = zone.file("a", b"frame")
        with zone.path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        zone.arrived(one, "a")
    zone.lose()
    with closing(zone.ledger):
        assert [path for path, _ in zone.before(one)] == ["a"]


def test_a_record_is_read_once(zone: Zone) -> None:
    """By a ledger that is new: to one that has seen the arrivals it says nothing."""
    one = zone.file("a", b"frame")
    zone.arrived(one, "a")
    recall(zone.ledger, zone.record)
    assert zone.before(one) == []


def test_the_ledger_knows_no_arrival_that_the_record_does_not(
    tmp_path: Path, share_of: Callable[[Path], Share]
) -> None:
    """Where the record cannot be written, nothing is proved: it is the agent's trouble, and not that of the file."""
    share, ledger = share_of(tmp_path), Ledger(str(tmp_path / "ledger.sqlite"))
    place = ledger.destinations.place("share", share.address).id
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a").write_bytes(b"frame")
    _seal(ledger, place, tmp_path / "data/a")
    (file,) = ledger.files.history(str(tmp_path / "data/a"))
    (tmp_path / "arrivals.jsonl").mkdir()
    arrivals = Arrivals(ledger, Record(tmp_path / "arrivals.jsonl"), "share", share.address)
    item = Item(file.id, str(tmp_path / "data"), "a", file.version, "a")
    (delivery,) = ledger.deliveries.due(place, NOW, 10)
    submission = Submission([delivery], {file.id: InFlightFile(file, item, "a", delivery.id)})
    outcome = Arrived(file.id, Content(b"x" * 32, file.version.size), "sha256", adopted=False)
    with pytest.raises(Exhausted, match="arrivals cannot be recorded"), ledger.transaction():
        Outcomes(ledger, share, place, {}, arrivals).apply([(submission, [outcome])], NOW)
    assert ledger.deliveries.evidence(file.id) == []
    ledger.close()
    share.close()


@pytest.fixture
def share_of() -> Callable[[Path], Share]:
    """Makes a share below a directory."""

    def make(root: Path) -> Share:
        (root / "share").mkdir()
        return Share("share", str(root / "share"), "checksum", "sha256", "a1b2c3d4e5f6", lambda: None)

    return make
