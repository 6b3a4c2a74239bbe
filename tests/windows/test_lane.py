"""Suites of the other folders, inside the Windows Python under Wine. Without Wine they are skipped, by name.

They are the same tests with the same assertions. What Windows or Wine has not is skipped there, and docs/WINDOWS.md lists it.
"""

import sys

import pytest

from tests.programs import program
from tests.windows import bed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs Wine, on Linux")
PATIENCE = 600.0
"""Seconds after which a suite counts as hanging."""
SUITES = {"rules": ["tests/rules", "--ignore=tests/rules/test_presets.py"]}
"""What is run there. test_presets.py needs parts of the agent that do not run on Windows yet."""


@pytest.fixture(autouse=True)
def wine() -> None:
    """Skips where there is no Wine."""
    for name in bed.NEEDED:
        program(name)
    if bed.VERSION not in bed.RUNTIME:
        pytest.skip(f"no Windows DLL is known for Python {bed.VERSION}")


@pytest.mark.parametrize("suite", SUITES)
def test_the_suite_passes_in_the_windows_python(suite: str) -> None:
    """Each test of it passes there, or is skipped there by name."""
    options = ["-n0", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider"]
    done = bed.run("-m", "pytest", *options, *SUITES[suite], patience=PATIENCE)
    assert done.returncode == 0, done.stdout[-8000:]
