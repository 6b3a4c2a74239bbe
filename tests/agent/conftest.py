"""What the tests of the agent's parts share."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from agent.files import LOCAL

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds after which something that was waited for counts as never coming."""
_NOBODY = """
import os, sys
from agent.files import LOCAL, Trouble
from agent.files.posix import durable as disk, mounts, writer_probe as probe, tree
from agent.intake import scan, watch
if sys.platform == "linux":
    import agent.files.posix.inotify  # all that is needed later, while it may still be read
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


@pytest.fixture(autouse=True, scope="session")
def leases() -> None:
    """Leases are asked for, as in the agent."""
    LOCAL.prepare()


@pytest.fixture
def until() -> Callable[[Callable[[], T], str], T]:
    """Asks again and again; the first answer that is true. Fails, saying what was waited for, when the time is over."""

    def ask(condition: Callable[[], T], what: str) -> T:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < deadline, f"in {PATIENCE} s: {what}"
            time.sleep(0.001)  # gives the processor away; nothing relies on how long it is

    return ask


@pytest.fixture
def commons() -> Iterator[Path]:
    """A directory that every user may enter and write to."""
    path = Path(tempfile.mkdtemp(prefix="dropline-test-"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def as_nobody() -> Callable[..., str]:
    """Runs Python code as a user without privileges (as root: another one), with arguments; returns what it prints."""

    def run(code: str, *arguments: str | Path) -> str:
        command = [sys.executable, "-P", "-c", _NOBODY + code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout

    return run


@pytest.fixture
def with_mounts() -> Callable[..., str]:
    """Runs a shell script, then Python code with its arguments, where mounting is permitted; returns what it prints."""
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
