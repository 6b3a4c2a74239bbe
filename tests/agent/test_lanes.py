"""Large files do not wait behind those that take hours."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.destinations import Arrived, Item, Outcome, Report
from agent.destinations.directory.parts import LANES, SMALL, lane
from agent.destinations.directory.transport import DirectoryTransport
from agent.files import LOCAL
from rules.model import Observation


@given(st.lists(st.integers(SMALL + 1, 2**63 - 1), min_size=2, max_size=20))
def test_lanes_go_by_size(sizes: list[int]) -> None:
    """A larger file is never in the lane of smaller ones, and each lane has threads."""
    lanes = [lane(size) for size in sorted(sizes)]
    assert lanes == sorted(lanes)
    assert set(lanes) <= set(range(LANES))
    assert lane(2**30) < lane(2**33) < lane(2**38) < lane(2**43)


def test_giants_do_not_stop_large_files(tmp_path: Path, until: Callable[[Callable[[], bool], str], bool]) -> None:
    """While every lane but its own is full of sparse giants, and they wait, a file of 5 MiB arrives."""
    data, share = tmp_path / "data", tmp_path / "share"
    data.mkdir()
    share.mkdir()
    woken = threading.Event()
    transport = DirectoryTransport("share", str(share), "checksum", "sha256", "a1b2c3d4e5f6", woken.set)
    try:
        identity = transport.set_up()
        giants_of = [size for size in (2**35, 2**40, 2 * 2**40) for _ in range(3)]
        for number, size in enumerate(giants_of):
            (data / f"giant{number}").touch()
            os.truncate(data / f"giant{number}", size)
        (data / "scan.h5").write_bytes(os.urandom(5 * 2**20))

        def item(name: str, number: int) -> Item:
            seen = LOCAL.look(str(data / name))
            assert isinstance(seen, Observation)
            return Item(number, str(data), name, seen.version, name)

        giants = [item(f"giant{number}", 10 + number) for number, _ in enumerate(giants_of)]
        transport.submit(transport.prepare(1, "r", giants, identity).request, giants, identity)
        scan = [item("scan.h5", 9)]
        transport.submit(transport.prepare(2, "r", scan, identity).request, scan, identity)
        reports: list[Report] = []

        def arrived() -> bool:
            reports.extend(transport.reports(0.0))
            return bool(reports)

        until(arrived, "the file beside the giants")
    finally:
        transport.close()
    outcomes: list[Outcome] = [one for report in reports for one in report.outcomes]
    assert [type(one) for one in outcomes] == [Arrived]
    assert [one.file for one in outcomes] == [9]
