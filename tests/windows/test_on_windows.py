"""What only a Windows can show. `test_lane.py` runs it under Wine."""

import os
import subprocess
import sys
import time
from pathlib import Path, PurePath

import pytest

from agent.files import LOCAL
from agent.files.reader import Examined, examine
from rules.model import Observation, Writer

pytestmark = pytest.mark.skipif(
    sys.platform != "win32", reason="needs Windows; tests/windows/test_lane.py runs it in Wine"
)
PATIENCE = 5.0
"""Seconds that an agent waits for a lock, too."""


def test_a_lock_is_held_by_who_inherits_it(tmp_path: Path) -> None:
    """A worker process that is left behind keeps its destination locked until it ends, and a lock is nobody's after that."""
    from agent.host import exclusive, processes

    path = PurePath(tmp_path, "lock")
    lock = exclusive.take(path)
    assert lock is not None
    assert exclusive.take(path) is None
    with subprocess.Popen(
        [sys.executable, "-c", "input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **processes.inheriting((lock,)),
    ) as child:
        exclusive.give_back(lock)
        assert exclusive.take(path) is None
        child.communicate(b"\n")
    deadline = time.monotonic() + PATIENCE
    while (again := exclusive.take(path)) is None:
        assert time.monotonic() < deadline, "the lock is still held"
        time.sleep(0.01)
    exclusive.give_back(again)


def test_an_agent_that_stays_is_known_by_its_lock(tmp_path: Path) -> None:
    """`send` and `fetch` ask so, and leave the lock as it was."""
    from agent.host import lock

    assert not lock.resident(tmp_path)
    with lock.locked(tmp_path, name=lock.RESIDENT):
        assert lock.resident(tmp_path)
    assert not lock.resident(tmp_path)


def test_one_of_many_is_locked_alone(tmp_path: Path) -> None:
    """Others are free, and nothing is left behind."""
    from agent.host import exclusive

    path = PurePath(tmp_path, "fetch.lock")
    three, four = exclusive.take_part(path, 3), exclusive.take_part(path, 4)
    assert three is not None
    assert four is not None
    assert exclusive.take_part(path, 3) is None
    exclusive.give_back(three)
    exclusive.give_back(four)
    assert os.listdir(tmp_path) == []


def test_an_instrument_beside_the_agent_meets_no_error(tmp_path: Path) -> None:
    """It opens, appends and closes between the questions about its file, and renames its folder while the tree is open."""
    run = tmp_path / "run.tmp"
    run.mkdir()
    root = str(tmp_path).replace(os.sep, "/")
    for _ in range(200):
        with open(run / "a.raw", "ab") as file:
            file.write(b"x" * 100)
            file.flush()
            with LOCAL.tree(root) as tree:
                found = examine(tree, "run.tmp/a.raw")
                assert isinstance(found, Examined)
                assert found.writer is Writer.OPEN
        with LOCAL.tree(root) as tree:
            found = examine(tree, "run.tmp/a.raw")
            assert isinstance(found, Examined)
            assert found.writer is Writer.NONE
    with LOCAL.tree(root) as tree:
        assert len(list(tree.scan("run.tmp", 10))) == 1
        run.rename(tmp_path / "run.d")
        seen = tree.look("run.d/a.raw")
        assert isinstance(seen, Observation)
        assert seen.version.size == 20_000
