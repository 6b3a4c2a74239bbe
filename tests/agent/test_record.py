"""The record of deletions: nothing in it is lost, however long it grows."""

import errno
import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.host import record
from agent.host.record import Record

T0 = 2_000_000_000.0
DAY = 86400.0


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is full with three lines."""
    monkeypatch.setattr(record, "FULL", 3 * len(json.dumps(of(0, T0))) + 3)


def of(number: int, now: float) -> dict[str, object]:
    """The line of a deletion."""
    return {"at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"), "n": number}


def recorded(path: Path) -> dict[str, list[int]]:
    """Name of each file → what it records."""
    return {
        one.name: [json.loads(line)["n"] for line in one.read_text().splitlines()] for one in sorted(path.iterdir())
    }


def delete(path: Path, keep: float = math.inf, each: float = 400 * DAY) -> None:
    """Eight deletions, each with its own record, as of one run."""
    for number in range(8):
        now = T0 + number * each
        Record(path, keep).append([of(number, now)], now)


def test_a_full_file_gets_the_next_number_and_stays(tmp_path: Path) -> None:
    """Each line is in one file, in its order; only the owner may read any of them; without `keep` none is removed."""
    delete(tmp_path / "deletions.jsonl")
    assert recorded(tmp_path) == {
        "deletions-1.jsonl": [0, 1, 2],
        "deletions-2.jsonl": [3, 4, 5],
        "deletions.jsonl": [6, 7],
    }
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_files_go_when_all_in_them_is_older_than_is_wanted(tmp_path: Path) -> None:
    """Nobody else's file does, nor one whose last line cannot be read; and no number is used for two files."""
    others = {"deletions-of-mine.jsonl": [99], "deletions-01.jsonl": [98], "deletions-7.jsonl": [97]}
    for name, (number,) in others.items():
        (tmp_path / name).write_text(json.dumps({"n": number}) + "\n")
    delete(tmp_path / "deletions.jsonl", keep=900 * DAY)
    assert recorded(tmp_path) == others | {"deletions-9.jsonl": [3, 4, 5], "deletions.jsonl": [6, 7]}


def test_a_file_that_cannot_be_renamed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was deleted is recorded all the same, and the log says it once."""

    def rename(*names: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "rename", rename)
    path = tmp_path / "deletions.jsonl"
    kept = Record(path)
    for number in range(8):
        kept.append([of(number, T0)], T0)
    assert recorded(tmp_path) == {"deletions.jsonl": [*range(8)]}
    assert [one.getMessage() for one in caplog.records] == [
        f"{path} stays one file, longer than it should be: Disk quota exceeded"
    ]


def test_a_record_cut_off_between_two_files_is_whole(tmp_path: Path) -> None:
    """A kill after the rename leaves no file of the plain name: the next run begins it."""
    path = tmp_path / "deletions.jsonl"
    Record(path).append([of(0, T0)], T0)
    os.rename(path, tmp_path / "deletions-1.jsonl")
    again = Record(path)
    again.mend()
    again.append([of(1, T0)], T0)
    assert recorded(tmp_path) == {"deletions-1.jsonl": [0], "deletions.jsonl": [1]}
