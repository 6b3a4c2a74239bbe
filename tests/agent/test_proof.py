"""What a Globus task that has ended proves of each file, whatever the service says of it."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.destinations import Arrived, Gone, Item, Outcome
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.listing import Entry, Listing, entry
from agent.destinations.globus.proof import conclude, evidence
from agent.files.posix.observing import observation
from rules.model import STAT, Content, VolumeId
from rules.naming import stat_content

CONTENT = b"measured"
SIZE = len(CONTENT)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).digest()
COURSE = CollectionPath("source", "/", "/", "target", "/share")


class Place:
    """A source file, what the service says of its transfer, and what the destination shows."""

    def __init__(self, root: Path) -> None:
        self.path = root / "scan.dat"
        self.path.write_bytes(CONTENT)
        version = observation(os.lstat(self.path), VolumeId(0)).version
        self.item = Item(1, str(root), "scan.dat", version, "scan.dat")
        self.stat = Content(stat_content(SIZE, version.mtime_ns), SIZE)
        self.there: Entry | None = Entry("scan.dat", "file", SIZE, version.mtime_ns // 10**9)

    def conclude(self, line: dict[str, Any] | None, *, succeeded: bool = True) -> tuple[list[Outcome], list[Item]]:
        """What is proved, and what goes again. `line`: what the service says of the transfer; None: nothing."""

        def ask(operation: str, call: Callable[..., Any]) -> Any:
            if operation == "successful_transfers":
                return ([] if line is None else [{"destination_path": "/share/scan.dat"} | line]), None
            assert operation == "stat"
            return self.there

        listing = Listing(ask, COURSE.collection, COURSE.path)
        lists = evidence(ask, COURSE, "task", [self.item], skipped=False)
        ended = conclude(listing, COURSE, lists, [self.item], {}, succeeded=succeeded)
        return ended.outcomes, ended.left


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A file that travelled."""
    return Place(tmp_path)


WHOLE = {"size": SIZE, "checksum": MD5.hex(), "checksum_algorithm": "MD5"}
WEAK = [
    {"checksum": None}, {"checksum": ""}, {"checksum": "  "}, {"checksum": "no checksum"}, {"checksum": 0},
    {"checksum": MD5.hex()[:-2]}, {"checksum": MD5.hex() * 2}, {"checksum_algorithm": "SHA256"}, {"size": None},
]  # fmt: skip


def test_a_checksum_of_all_bytes_is_proof(place: Place) -> None:
    """Where the service tells of as many bytes as the version has, with their checksum, that is the evidence."""
    place.there = None
    expected = [Arrived(1, Content(MD5, SIZE), "md5", adopted=False)]
    assert place.conclude(WHOLE) == (expected, [])
    assert place.conclude(WHOLE, succeeded=False) == (expected, [])


@pytest.mark.parametrize("said", WEAK)
@pytest.mark.parametrize("succeeded", [True, False])
def test_what_is_no_checksum_proves_nothing(place: Place, said: dict[str, Any], succeeded: bool) -> None:
    """Without size and checksum of the algorithm's length, only what the destination shows counts, as weaker evidence."""
    line = WHOLE | said
    assert place.conclude(line, succeeded=succeeded) == ([Arrived(1, place.stat, STAT, adopted=False)], [])
    place.there = None
    assert place.conclude(line, succeeded=succeeded) == ([], [place.item])


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 0])
@pytest.mark.parametrize("checksum", [MD5.hex(), None])
def test_other_bytes_than_the_version_has_are_no_proof(place: Place, size: int, checksum: str | None) -> None:
    """The service's size is compared, whatever checksum comes with it; so is the size that the destination shows."""
    line = {"size": size, "checksum": checksum}
    assert place.conclude(line, succeeded=False) == ([], [place.item])
    assert place.there is not None
    place.there = place.there._replace(size=size)
    assert place.conclude(line) == ([], [place.item])
    assert place.conclude(None) == ([], [place.item])


@pytest.mark.parametrize("line", [None, {"size": SIZE, "checksum": None}])
def test_an_old_copy_under_the_name_is_no_proof(place: Place, line: dict[str, Any] | None) -> None:
    """Where the copy that was to be replaced has the version's size and mtime, it may be that one still."""
    place.item = place.item._replace(replaces=place.stat)
    assert place.conclude(line) == ([], [place.item])
    place.path.unlink()
    assert place.conclude(line) == ([Gone(1)], [])


def test_a_copy_of_what_went_away_is_proof_where_it_has_its_mtime(place: Place) -> None:
    """The local file is gone: the service's checksum is of what it read, which only the mtime ties to the version."""
    place.path.unlink()
    assert place.conclude(WHOLE) == ([Arrived(1, Content(MD5, SIZE), "md5", adopted=False)], [])
    assert place.conclude(WHOLE | {"checksum": ""}) == ([Arrived(1, place.stat, STAT, adopted=False)], [])
    assert place.conclude(WHOLE | {"size": SIZE + 1}) == ([Gone(1)], [])
    assert place.there is not None
    place.there = place.there._replace(mtime=1)
    assert place.conclude(WHOLE) == ([Gone(1)], [])


def test_a_size_that_is_not_told_is_no_size() -> None:
    """An entry without size is not an empty file."""
    assert entry({"name": "a", "type": "file", "size": 0}).size == 0
    assert entry({"name": "a", "type": "file"}).content.size == -1
    assert entry({"name": "a", "type": "file", "size": None}).size == -1
