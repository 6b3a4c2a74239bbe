"""The product as a user meets it: the real command in its own process, on real directories, with its own home."""

import errno
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pytest

from tests.systems import WINDOWS, Slashed
from tests.zygote import Process

if WINDOWS:
    from tests.windows.commands import Commands as Zygote
else:
    from tests.zygote import Zygote
if sys.platform == "linux":
    import fcntl

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds after which something that was waited for counts as never coming."""
KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "PYTHONUTF8", "PYTHONPYCACHEPREFIX")
"""What a command is given of the environment of the tests."""
IDENTITY = ".dropline-destination"
DROPLINE = (sys.executable, "-P", "-c", "from agent.cli import main; main()")
_UNPRIVILEGED = (
    "import ctypes, os, sys\n"
    "if os.geteuid() == 0:\n"
    "    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH\n"
    "        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)
"""Runs a command for which file permissions count, even where the tests run as root."""

Tree = Mapping[str, bytes | str]


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Ask again and again; the first answer that is true. Fails, saying what was waited for, when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"in {seconds} s: {what}"
        time.sleep(0.01)


def relative(path: str | Path, root: Path) -> str:
    """The path relative to a directory, with slashes."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def tree(root: Path) -> dict[str, bytes | str]:
    """Relative path → content of each file, what a link points to, or "kind" of what is neither; without our own notes."""
    found: dict[str, bytes | str] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if name in (IDENTITY, ".dropline-canary"):
                continue
            if path.is_symlink():
                found[relative(path, root)] = os.readlink(path)
            else:
                try:
                    found[relative(path, root)] = path.read_bytes() if path.is_file() else "no file"
                except FileNotFoundError:
                    pass  # the agent renamed or removed it after it was listed: it is not there
                except PermissionError:
                    if not WINDOWS or not name.endswith(".part"):
                        raise  # what is being written may be read only by programs that let it be renamed
    return found


def toml(value: Any) -> str:
    """A value as inline TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.out)

    def checked(self) -> "Done":
        """Itself, unless the command broke."""
        assert "Traceback" not in self.err, self.err
        assert "Exception ignored" not in self.err, self.err
        return self


class Answer(NamedTuple):
    """What the web server said."""

    status: int
    headers: dict[str, str]
    body: str


class Agent:
    """`dropline run`, running."""

    def __init__(self, process: Process, out: Path, errors: Path) -> None:
        self.process = process
        self.said: list[str] = []
        """What it printed until it was ready."""
        self.url = ""
        self._out, self._errors = out, errors

    def ready(self) -> None:
        """Wait until it tells of its status page."""

        def told() -> bool:
            assert self.process.running, f"it ended: {self.log()}"
            self.said = self._out.read_text().splitlines()
            return bool(self.said) and "status page" in self.said[-1]

        until(told, "its status page")
        self.url = self.said[-1].partition(": ")[2]

    def log(self) -> str:
        """What it wrote to standard error so far."""
        return self._errors.read_text()

    def logs(self, text: str) -> None:
        """Wait until the log has this text."""
        until(lambda: text in self.log(), f"{text!r} in the log")

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask the web server."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read().decode())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """Ask for a page."""
        return self.request("GET", path)

    def stop(self, number: int = signal.SIGTERM, within: float = 10.0) -> int:
        """Ask it to end. Returns the exit code."""
        self.process.signal(number)
        code = self.process.wait(within)
        assert code is not None, f"it did not end in {within} s: {self.log()}"
        return code


@dataclass
class Site:
    """A user's directories and configuration, and the command that works on them."""

    root: Path
    zygote: Zygote
    """Where commands come from."""
    more: dict[str, str] = field(default_factory=dict)
    """More of the environment."""
    agents: list[Agent] = field(default_factory=list)

    def __post_init__(self) -> None:
        for path in (self.home, self.inbox, self.share):
            path.mkdir(parents=True)
        self.configure()

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def share(self) -> Path:
        return self.root / "share"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def config(self) -> Path:
        return self.root / "dropline.toml"

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in KEPT if key in os.environ}
        own = {
            "HOME": str(self.home),
            "LOCALAPPDATA": str(self.home),
            "COLUMNS": "200",
            "TERM": "dumb",
            "NO_COLOR": "1",
        }
        return kept | own | self.more

    def rule(self, **keys: Any) -> dict[str, Any]:
        """A rule that takes everything from the inbox to the share at once, but for these keys. A link is a case for a person."""
        quick = {"name": "r", "watch": "inbox", "complete": {"quiet": "0s"}, "batch": {"linger": "0s"}}
        quick |= {"links": "refuse"} if keys.get("links", "refuse") is not None else {}
        keys = {key: value for key, value in keys.items() if value is not None}
        if "reclaim" in keys:
            keys["reclaim"] = {"min_age": "0s"} | keys["reclaim"]
        return quick | {"deliver": [{"to": "share"}]} | keys

    def configure(
        self,
        *rules: Mapping[str, Any],
        destinations: Mapping[str, Mapping[str, Any]] | None = None,
        agent: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the configuration, in one rename; without rules: `rule()`."""
        tables = {"agent": {"state_dir": "state", "listen": ""} | dict(agent or {})}
        # The folders of these tests are ordinary ones: else nothing would be deleted on their proof.
        places = {
            name: table if "transport" in table else {"mounted": False} | dict(table)
            for name, table in (destinations or {"share": {"path": "share"}}).items()
        }
        tables |= {"destinations": places, "rules": rules or [self.rule()]}
        fresh = self.root / "fresh.toml"
        fresh.write_text("".join(f"{key} = {toml(value)}\n" for key, value in tables.items()))
        fresh.chmod(0o600)  # it may be given a secret
        fresh.chmod(0o600)  # there may be a secret in it
        os.replace(fresh, self.config)

    @property
    def delivered(self) -> dict[str, bytes | str]:
        """What is at the share."""
        return tree(self.share)

    @property
    def local(self) -> dict[str, bytes | str]:
        """What is in the inbox."""
        return tree(self.inbox)

    @staticmethod
    def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
        """Ask again and again; the first answer that is true. Fails, saying what was waited for, when the time is over."""
        return until(condition, what, seconds)

    @staticmethod
    def relative(path: str | Path, root: Path) -> str:
        """The path relative to a directory, with slashes."""
        return relative(path, root)

    @staticmethod
    def tree(root: Path) -> dict[str, bytes | str]:
        """Relative path → content of all that is below."""
        return tree(root)

    def put(self, name: str | bytes, content: bytes, mtime_ns: int | None = None) -> Path:
        """Write a file into the inbox."""
        path = self.inbox / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if mtime_ns is not None:
            os.utime(path, ns=(mtime_ns, mtime_ns))
        return path

    def spawn(
        self, *words: str | Path, unprivileged: bool = False, environment: Mapping[str, str] | None = None, **how: Any
    ) -> "subprocess.Popen[Any]":
        """Start the command, in the directory of the configuration."""
        prefix = [sys.executable, "-P", "-c", _UNPRIVILEGED] if unprivileged else []
        return subprocess.Popen(
            [*prefix, *DROPLINE, *map(str, words)],
            cwd=self.root,
            env=self.environment | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            **how,
        )

    def dropline(
        self, *words: str | Path, fresh: bool = False, environment: Mapping[str, str] | None = None, **how: Any
    ) -> Done:
        """Run the command to its end; `fresh` (and what else `spawn` takes): by an interpreter that a user would start."""
        more = dict(environment or {})
        if not fresh and not how:
            out, err = self.root / "out", self.root / "err"
            for path in (out, err):
                path.write_bytes(b"")
            command = self.zygote.start(words, self.root, self.environment | more, out=out, err=err)
            code = command.wait(PATIENCE)
            if code is None:
                command.kill()
                code = command.wait(PATIENCE)
            assert code is not None
            return Done(code, out.read_text(), err.read_text()).checked()
        process = self.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, environment=more, **how)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
        return Done(process.returncode, out, err).checked()

    def once(self, **how: Any) -> int:
        """`dropline run --once`; its exit code."""
        return self.dropline("run", "--once", **how).code

    def start(self, *words: str | Path) -> Agent:
        """`dropline run`, ready."""
        out, err = (self.root / f"agent{len(self.agents)}.{kind}" for kind in ("out", "log"))
        agent = Agent(self.zygote.start(["run", *words], self.root, self.environment, out=out, err=err), out, err)
        self.agents.append(agent)
        agent.ready()
        return agent

    def stop(self) -> None:
        """End what still runs."""
        for agent in self.agents:
            agent.process.kill()
            agent.process.wait(PATIENCE)

    def states(self, *words: str) -> dict[str, list[str]]:
        """Path relative to the inbox → states of its versions, newest first."""
        found: dict[str, list[str]] = {}
        for line in self.dropline("files", "--format", "json", "--limit", "100000", *words).json:
            found.setdefault(relative(line["path"], self.inbox), []).append(line["state"])
        return found

    def explain(self, path: str | Path) -> list[dict[str, Any]]:
        """What is known of the versions of a file of the inbox, oldest first."""
        versions: list[dict[str, Any]] = self.dropline("explain", "--format", "json", "--", self.inbox / path).json[
            "versions"
        ]
        return versions

    def status(self) -> Any:
        """The JSON of `dropline status`."""
        return self.dropline("status", "--format", "json").json

    def deletions(self) -> list[dict[str, Any]]:
        """The record of deletions."""
        path = self.state / "deletions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Where commands come from."""
    with Zygote() as started:
        yield started


@pytest.fixture
def site(tmp_path: Path, zygote: Zygote) -> Iterator[Site]:
    """A user's directories, with one rule from the inbox to the share."""
    made = Site(Slashed(tmp_path / "user"), zygote)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Iterator[Callable[[], Site]]:
    """Makes sites that many tests of a module look at."""
    made: list[Site] = []

    def make() -> Site:
        made.append(Site(Slashed(tmp_path_factory.mktemp("user") / "user"), zygote))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def leases(tmp_path: Path) -> None:
    """For laws about open writers: skips where this file system cannot tell of them."""
    if WINDOWS:
        return  # share modes tell of them
    path = tmp_path / "lease"
    with path.open("w"), path.open() as reader:
        try:
            fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return
    pytest.skip("this file system knows no leases")
