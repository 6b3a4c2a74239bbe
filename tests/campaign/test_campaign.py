"""The campaign's short form: each fault once, in a small round. `python -m tests.campaign` is the long one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.faults import FAULTS
from tests.campaign.rounds import play
from tests.programs import program
from tests.zygote import Zygote

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes and leases as on Linux")
EFFORT = 0.15
SEED = 7
ELSEWHERE = {"kill-everywhere"}
"""Played in full by tests/journey/test_killed.py."""


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Where all the agents come from."""
    with Zygote() as one:
        yield one


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if not fault.needs and name not in ELSEWHERE])
def test_a_fault_does_no_harm(tmp_path: Path, zygote: Zygote, name: str) -> None:
    """Nothing lost, torn, twice, overwritten or deleted without proof; and in the end everything arrives."""
    tally = play([name], SEED, tmp_path / "round", zygote, EFFORT, strikes=2 if name == "ledger-restored" else 1)
    assert (tally.findings.harm, tally.findings.kept) == ([], [])
    assert tally.files > 0


def test_faults_of_mounts_do_no_harm(tmp_path: Path) -> None:
    """The same, through the command, in a process that has mounts of its own."""
    names = [name for name, fault in FAULTS.items() if fault.needs]
    for need in {need for name in names for need in FAULTS[name].needs}:
        program(need)
    own = ["unshare", "--mount", "--map-root-user"] if os.geteuid() else ["unshare", "--mount"]
    if subprocess.run([*own, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    words = ["--only", *names, "--minutes", "0", "--seed", str(SEED), "--effort", str(EFFORT), "--work", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign", *words, "--strikes", "1"],
        capture_output=True, text=True, check=False, timeout=300, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stderr
    assert done.stdout.count("\n| ") == len(names) + 2, "the head, each fault, the sum"
