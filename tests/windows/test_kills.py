"""Promises 3 and 4 under TerminateProcess: killed before every operation, and run again. `test_lane.py` runs it under Wine."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.systems import WINDOWS

pytestmark = pytest.mark.skipif(not WINDOWS, reason="needs Windows; tests/windows/test_lane.py runs it in Wine")
ROOT = Path(__file__).parents[2]
CONTENT = {"run/a.dat": b"a" * 5000}
KILLED = 15
"""Exit code of a process that terminates itself."""


def started(stack: ExitStack) -> "subprocess.Popen[str]":
    """An interpreter that has imported the agent, or is about to, and waits."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.windows.killer"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def ran(process: "subprocess.Popen[str]", work: Path, number: int) -> bool | None:
    """Whether a run ended well; None: it was killed."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps([str(work), number]), file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        assert process.wait(60) == KILLED
        return None
    return bool(json.loads(answer))


def tree(root: Path) -> dict[str, bytes]:
    """Relative path → content of every file below, without the identity file."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".dropline-destination"
    }


def test_a_kill_before_any_operation_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """All kill points of one delivery and one reclaim: every byte is somewhere, nothing shows half, and the next run ends well."""
    number = 0
    with ExitStack() as stack:
        again, following = started(stack), started(stack)
        killed: bool | None = None
        while killed is None:
            number += 1
            child, following = following, started(stack)
            work = tmp_path / str(number)
            for name, content in CONTENT.items():
                (work / "in" / name).parent.mkdir(parents=True)
                (work / "in" / name).write_bytes(content)
            (work / "share").mkdir()
            killed = ran(child, work, number)
            at = f"killed before operation {number}"
            between, here = tree(work / "share"), tree(work / "in")
            assert set(CONTENT.values()) <= {*between.values(), *here.values()}, f"{at}: bytes were nowhere"
            shown = {name: content for name, content in between.items() if not name.endswith(".part")}
            assert shown.items() <= CONTENT.items(), f"{at}: what had its name was not whole"
            assert ran(again, work, 0), at
            assert (tree(work / "share"), tree(work / "in")) == (CONTENT, {}), at
            record = (work / "state/deletions.jsonl").read_text().splitlines()
            assert {json.loads(line)["file"].rpartition("/in/")[2] for line in record} == set(CONTENT), at
    assert killed
    assert number > 20, "the kills were not spread over the run"
