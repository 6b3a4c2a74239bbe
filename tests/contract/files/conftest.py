"""The computers of `tests.contract.files.computers`, as the tests get them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.files import LOCAL
from tests.contract.files.computers import COMPUTERS, Computer, Here, InMemory

if sys.platform == "win32":
    from tests.contract.files.windows import HereOnWindows

    COMPUTERS["here"] = HereOnWindows
    # These make single calls of POSIX fail, and are about modes and owners.
    collect_ignore = ["test_faults.py", "test_permissions.py"]


@pytest.fixture(autouse=True, scope="session")
def leases() -> None:
    """Leases are asked for, as in the agent."""
    LOCAL.prepare()


def _checked(computer: Computer) -> Iterator[Computer]:
    before = computer.is_open()
    yield computer
    assert computer.is_open() == before, "everything is given back"


@pytest.fixture(params=COMPUTERS)
def computer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Computer]:
    """Each implementation. Whatever a test opened must be closed at its end."""
    yield from _checked(COMPUTERS[request.param](tmp_path))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    """This computer, for laws about what only POSIX has."""
    one = COMPUTERS["here"](tmp_path)
    assert isinstance(one, Here), "not the one in memory"
    before = one.is_open()
    yield one
    assert one.is_open() == before, "everything is given back"


@pytest.fixture
def memory() -> Iterator[InMemory]:
    """The computer in memory, for what only its owner can do."""
    one = InMemory()
    yield one
    assert one.is_open() == 0, "everything is given back"


@pytest.fixture
def with_mounts() -> Callable[..., str]:
    """Runs a shell script, then Python code with its arguments, where mounting is permitted; returns what it prints."""
    if sys.platform == "win32":
        pytest.skip("Windows has no mount namespaces")
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    try_it = [*own, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if shutil.which("unshare") is None or subprocess.run(try_it, capture_output=True, check=False).returncode:
        pytest.skip("needs mount namespaces (unshare --mount)")

    def run(script: str, code: str, *arguments: str | Path) -> str:
        whole = f'{script}\nexec "$PYTHON" -P -c "$CODE" "$@"'
        done = subprocess.run(
            [*own, "/bin/sh", "-e", "-c", whole, "sh", *map(str, arguments)],
            capture_output=True, check=True, text=True, timeout=60, env=os.environ | {"PYTHON": sys.executable, "CODE": code},
        )  # fmt: skip
        return done.stdout

    return run
