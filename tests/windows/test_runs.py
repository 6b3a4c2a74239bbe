"""Runs of the agent in the Windows Python, as they are seen from outside. Without Wine they are skipped, by name."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("runs Wine, on Linux", allow_module_level=True)

import pty
import select

from tests.programs import program
from tests.windows import bed

PATIENCE = 300.0
"""Seconds after which an agent counts as hanging."""
STOPS_WITHIN = 10.0
"""Seconds. See `agent.host.signals`."""
DROPLINE = ["-P", "-c", "from agent.cli import main; main()"]


@pytest.fixture(autouse=True)
def wine() -> None:
    """Skips where there is no Wine."""
    for name in bed.NEEDED:
        program(name)
    if bed.VERSION not in bed.RUNTIME:
        pytest.skip(f"no Windows DLL is known for Python {bed.VERSION}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on the drive C: of Windows."""
    path = bed.made().home / "prefix/drive_c/tmp/runs"
    shutil.rmtree(path, ignore_errors=True)
    (path / "inbox").mkdir(parents=True)
    yield path
    shutil.rmtree(path)


class Terminal:
    """A program that has a console, and all that it has printed there."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.printed = b""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, environment | {"TERM": "xterm"})  # noqa: S606  (it has the terminal)

    def prints(self, text: bytes) -> None:
        """Wait until it has printed this."""
        until = time.monotonic() + PATIENCE
        while text not in self.printed:
            assert time.monotonic() < until, self.printed
            self._read()

    def _read(self) -> bool:
        """Whether there may be more."""
        if not select.select([self._fd], [], [], 0.1)[0]:
            return True
        try:
            some = os.read(self._fd, 4096)
        except OSError:  # as Linux ends a terminal
            return False
        self.printed += some
        return bool(some)

    def types(self, text: bytes) -> None:
        """As a person does."""
        os.write(self._fd, text)

    def ends(self) -> tuple[int, float]:
        """Its exit code, and seconds until then."""
        begun = time.monotonic()
        while self._read():
            assert time.monotonic() < begun + PATIENCE, self.printed
        _, status = os.waitpid(self._pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status), time.monotonic() - begun


def test_ctrl_c_at_the_console_ends_the_agent_in_time(folder: Path) -> None:
    """As a signal does: what it has under way is done again by the next run. Wine delivers no Ctrl-Break."""
    one = bed.made()
    terminal = Terminal(one.command(*DROPLINE, "run", "--watch", "inbox", "--to", "share"), folder, one.environment)
    terminal.prints(b"waiting for files")
    terminal.types(b"\x03")
    code, seconds = terminal.ends()
    assert (code, seconds < STOPS_WITHIN + 2) == (0, True), (seconds, terminal.printed)  # and Wine's own end


def test_what_is_printed_into_a_pipe_is_utf_8(folder: Path) -> None:
    """Also where Windows has another code page: scripts read it."""
    name = "inbox/ü 测试.raw"
    (folder / name).write_bytes(b"x")
    one = bed.made()
    environment = {key: value for key, value in one.environment.items() if key != "PYTHONUTF8"}
    run = ["run", "--once", "--watch", "inbox", "--to", "share"]
    for words in (run, ["files"]):
        done = subprocess.run(
            one.command(*DROPLINE, *words), cwd=folder, env=environment, check=False, timeout=PATIENCE,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    assert name in done.stdout.decode("utf-8")


def test_names_of_every_kind_are_delivered_or_refused_alone(folder: Path) -> None:
    """Byte for byte in one pass, below a path of 700 characters, too; two that differ in case alone are both there."""
    names = [
        "plain.raw",
        "two words.raw",
        "ünï 测试 🔬.raw",
        "a'b&c%d#e.raw",
        "x" * 250 + ".raw",
        ".hidden",
        "no suffix",
    ]
    names += ["/".join(["deep" * 20] * 8) + "/a.raw", "upper/Scan.raw", "lower/scan.raw", "LPT10.raw", "a.b.c~1.raw"]
    refused = ["CON.raw", "aux", "trail.", "space ", "stream:a.raw"]
    for name in [*names, *refused]:
        path = folder / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (folder / "share").mkdir()
    (folder / "dropline.toml").write_text(
        "agent = { state_dir = 'state', listen = '' }\ndestinations.share = { path = 'share', mounted = false }\n"
        "[[rules]]\nname = 'r'\nwatch = 'inbox'\ncomplete.quiet = '0s'\n"
        "deliver = [{ to = 'share', path = '{relpath}' }]\n"
        "[[rules]]\nname = 'flat'\nwatch = 'flat'\ncomplete.quiet = '0s'\n"
        "deliver = [{ to = 'share', path = 'flat/{name}' }]\n"
    )
    for name in ("one/Scan.raw", "other/scan.raw"):
        (folder / "flat" / name).parent.mkdir(parents=True)
        (folder / "flat" / name).write_bytes(name.encode())
    done = bed.run(*DROPLINE, "run", "--once", patience=PATIENCE, directory=folder)
    assert done.returncode == 1, done.stdout  # some are refused
    share = folder / "share"
    there = {path.relative_to(share).as_posix(): path.read_bytes() for path in share.rglob("*") if path.is_file()}
    flat = {name: content for name, content in there.items() if name.startswith("flat/")}
    assert sorted(flat.values()) == [b"one/Scan.raw", b"other/scan.raw"]
    assert len({name.casefold() for name in flat}) == 2
    identity = {name for name in there if name.startswith(".dropline")}
    assert {name: content for name, content in there.items() if name not in flat.keys() | identity} == {
        name: name.encode() for name in names
    }
    told = bed.run(
        *DROPLINE, "files", "--state", "refused", "--format", "json", patience=PATIENCE, directory=folder
    ).stdout
    assert {one["path"].rpartition("/")[2] for one in json.loads(told)} == set(refused)
