"""The short form of `python -m tests.campaign.syscalls`: one case of each part of the table."""

import sys
from pathlib import Path

import pytest

from tests.campaign.syscalls import Case, judge
from tests.programs import program


@pytest.mark.parametrize(
    "case",
    [
        Case("watched", "renameat", "EIO"),
        Case("destination", "renameat2", "EIO"),
        Case("ledger", "pwrite64", "ENOSPC"),
    ],
    ids=str,
)
def test_a_system_call_that_fails_once_does_no_harm(tmp_path: Path, case: Case) -> None:
    """Nothing is lost, torn or deleted without a copy, the other file arrives, and the next run brings everything."""
    program("strace")
    failed_calls, found = judge(
        case, tmp_path / "user", [sys.executable, "-P", "-c", "from agent.cli import main; main()"]
    )
    assert (failed_calls > 0, found) == (True, [])
