"""Files are touched on two floors alone, and caches have bounds: the lint that sees to it finds each call that it forbids."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUFF = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
BANNED = sorted(RUFF["flake8-tidy-imports"]["banned-api"])
FLOORS = ("agent/files/posix/tree.py", "agent/host/own_files.py")
OTHERS = ("agent/app/parts.py", "agent/destinations/directory/writer.py", "agent/x.py", "rules/config/load.py")
HEAD = {name: f"import {name}" for name in ("codecs", "io", "logging", "os", "pathlib")}
"""Modules that are not forbidden as a whole."""


def found(source: str, path: str) -> set[int]:
    """The lines in which the lint finds something, as if the source were the file there."""
    ruff = pytest.importorskip("ruff").find_ruff_bin()
    words = [
        ruff,
        "check",
        "--no-cache",
        "--output-format=json",
        "--select=TID251,PTH123",
        "--stdin-filename",
        path,
        "-",
    ]
    done = subprocess.run(words, input=source, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {one["location"]["row"] for one in json.loads(done.stdout)}


def imports() -> list[str]:
    """Each forbidden name, imported."""
    return [f"from {name.rpartition('.')[0]} import {name.rpartition('.')[2]}" for name in BANNED if "." in name] + [
        f"import {name}" for name in BANNED if name.partition(".")[0] not in HEAD
    ]


def calls() -> list[str]:
    """Each forbidden name of a module that has other things in it, called; and the built-in open."""
    return [f"{name}(HEAD)" for name in BANNED if name.partition(".")[0] in HEAD] + ["open(HEAD)", "open(HEAD).read()"]


@pytest.mark.parametrize("lines", [imports(), calls()], ids=["imports", "calls"])
@pytest.mark.parametrize("path", OTHERS)
def test_each_forbidden_name_is_found(path: str, lines: list[str]) -> None:
    """Wherever it stands, but on the two floors."""
    at = found("\n".join([*HEAD.values(), *lines]) + "\n", path)
    assert [line for number, line in enumerate(lines, len(HEAD) + 1) if number not in at] == []
    assert not at & set(range(1, len(HEAD) + 1)), "modules with other things in them are not forbidden as a whole"


@pytest.mark.parametrize("path", FLOORS)
def test_the_two_floors_may(path: str) -> None:
    """They do it for all the others."""
    assert found("\n".join([*HEAD.values(), *imports(), *calls()]) + "\n", path) == set()


def test_every_cache_has_a_bound() -> None:
    """What it remembers comes from names that others made: without a bound it fills the memory. Presets are the agent's own."""
    unbounded = {
        str(path.relative_to(ROOT))
        for room in ("agent", "rules")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"@(functools\.)?cache\b|maxsize=None", path.read_text())
    }
    assert unbounded == {"agent/app/presets.py"}


def test_what_is_left_touches_no_file() -> None:
    """Paths can be put together and taken apart everywhere."""
    source = "import os\nfrom pathlib import PurePath\nos.path.join('a', 'b')\nos.fsencode('a')\nPurePath('a').name\nos.getpid()\n"
    assert found(source, "agent/app/parts.py") == set()


def test_each_call_that_touches_a_file_is_forbidden() -> None:
    """The calls that were made in the program before, and those of the standard library that are as near at hand."""
    for name in (
        "os.open", "os.stat", "os.lstat", "os.scandir", "os.rename", "os.unlink", "os.fsync", "os.path.exists",
        "os.path.realpath", "pathlib.Path", "shutil", "tempfile", "io.open",
    ):  # fmt: skip
        assert name in BANNED
    assert {"TID251", "PTH123"} <= set(RUFF["select"])
