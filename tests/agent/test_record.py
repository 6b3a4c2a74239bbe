"""The record of deletions: nothing in it is lost, however long it grows."""

import json
import os
from pathlib import Path

import pytest

from agent.reclaim import record
from agent.reclaim.record import Record

T0 = 2_000_000_000.0
DAY = 86400.0


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is full with three lines."""
    monkeypatch.setattr(record, "FULL", 24)


def recorded(path: Path) -> dict[str, list[int]]:
    """Name of each file → what it records."""
    return {
        one.name: [json.loads(line)["n"] for line in one.read_text().splitlines()] for one in sorted(path.iterdir())
    }


def test_a_full_file_gets_the_name_of_its_time_and_stays(tmp_path: Path) -> None:
    """Each line is in one file, in its order; only the owner may read any of them; without `keep` none is removed."""
    path = tmp_path / "deletions.jsonl"
    for number in range(8):
        Record(path).append([{"n": number}], T0 + number * 400 * DAY)
    assert recorded(tmp_path) == {
        "deletions-20360830T033320Z.jsonl": [0, 1, 2],
        "deletions-20391213T033320Z.jsonl": [3, 4, 5],
        "deletions.jsonl": [6, 7],
    }
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_files_go_when_all_in_them_is_older_than_is_wanted(tmp_path: Path) -> None:
    """Nobody else's file does."""
    path = tmp_path / "deletions.jsonl"
    (tmp_path / "deletions-of-mine.jsonl").write_text('{"n": 99}\n')
    for number in range(8):
        Record(path, keep=900 * DAY).append([{"n": number}], T0 + number * 400 * DAY)
    assert recorded(tmp_path) == {
        "deletions-20391213T033320Z.jsonl": [3, 4, 5],
        "deletions-of-mine.jsonl": [99],
        "deletions.jsonl": [6, 7],
    }


def test_a_file_that_cannot_be_renamed_goes_on(tmp_path: Path) -> None:
    """What was deleted is recorded all the same: its time was used for another file already."""
    path = tmp_path / "deletions.jsonl"
    for number in range(8):
        Record(path).append([{"n": number}], T0)
    assert recorded(tmp_path) == {"deletions-20330518T033320Z.jsonl": [0, 1, 2], "deletions.jsonl": [3, 4, 5, 6, 7]}


def test_a_record_cut_off_between_two_files_is_whole(tmp_path: Path) -> None:
    """A kill after the rename leaves no file of the plain name: the next run begins it."""
    path = tmp_path / "deletions.jsonl"
    Record(path).append([{"n": 0}], T0)
    os.rename(path, tmp_path / "deletions-20330518T033320Z.jsonl")
    again = Record(path)
    again.mend()
    again.append([{"n": 1}], T0)
    assert recorded(tmp_path) == {"deletions-20330518T033320Z.jsonl": [0], "deletions.jsonl": [1]}
