"""The acceptance program for a real Windows, with small numbers, under Wine."""

import re
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("runs Wine, on Linux", allow_module_level=True)

from tests.programs import program
from tests.windows import bed

PATIENCE = 300.0
PAGE = Path(__file__).parents[2] / "docs/WINDOWS.md"
PROGRAM = Path(__file__).with_name("acceptance.py")
ROWS = re.findall(r'^    "(.+)": \(\w+, \d+\),$', PROGRAM.read_text("utf-8"), re.MULTILINE)


def test_each_check_is_a_row_of_the_page() -> None:
    """The table of docs/WINDOWS.md says of each that it was not yet seen on a real Windows."""
    page = PAGE.read_text("utf-8").splitlines()
    assert len(ROWS) == 8
    assert [row for row in ROWS if f"| {row} | not yet seen |" not in page] == []


def test_the_program_runs_and_leaves_no_result_under_wine() -> None:
    """Wine makes no junctions and grants no oplocks; what can be seen there is seen."""
    for name in bed.NEEDED:
        program(name)
    if bed.VERSION not in bed.RUNTIME:
        pytest.skip(f"no Windows DLL is known for Python {bed.VERSION}")
    done = bed.run("-m", "tests.windows.acceptance", "--cycles", "1000", "--without", "the suites", patience=PATIENCE)
    found = dict(re.findall(r"^(?:passed|FAILED): (.+?): (.*)$", done.stdout, re.MULTILINE))
    assert [*found] == ROWS[:-1], done.stdout
    good = set(re.findall(r"^passed: (.+?): ", done.stdout, re.MULTILINE))
    assert good == {ROWS[1], ROWS[5], ROWS[6]} | (good & {ROWS[0], ROWS[2]}), done.stdout
    assert found[ROWS[3]] == "filter oplock refused, read-handle refused"
    assert "No result is left on this computer: Wine is not Windows" in done.stdout
    assert all(f"| {row} | " in done.stdout for row in ROWS[:-1])
    assert done.returncode == 1
    assert not [*(bed.made().home / "prefix/drive_c/ProgramData").glob("dropline/acceptance.json")]
