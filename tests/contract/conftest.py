"""Destinations under test: every transport is set up here, and looked at from outside.

A new transport gets a line in TRANSPORTS; the whole suite then runs over it.
"""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.destinations import Arrived, Item, NameTaken, Outcome, Transport, Wake
from agent.destinations.directory.transport import DirectoryTransport
from agent.destinations.globus import GlobusTransport
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.login import Account
from agent.destinations.globus.session import Session
from agent.errors import Transient
from agent.files import LOCAL
from rules.model import STAT, Content, Observation, Version
from rules.naming import stat_content
from tests.globus import Globus
from tests.systems import WINDOWS, slashes

PATIENCE = 30.0
"""Seconds after which something that was waited for counts as never coming."""
AGENT = "a1b2c3d4e5f6"
HOLDING = (
    [sys.executable, "-c", "import sys; file = open(sys.argv[1], 'ab'); print('open', flush=True); input()"]
    if WINDOWS
    else ["/bin/sh", "-c", 'exec 3>>"$1"; echo open; read end', "writer"]
)
"""A program that opens a file for appending, says so, and waits."""
UNPRIVILEGED = Path(__file__).with_name("unprivileged.py")


class Result(NamedTuple):
    """What became of one task."""

    outcomes: dict[int, Outcome]
    failure: str | None


def version_of(path: Path) -> Version:
    """The version of the file that has the name now."""
    seen = LOCAL.look(slashes(path))
    assert isinstance(seen, Observation)
    return seen.version


@dataclass
class Site:
    """A destination, the directory where what arrives can be looked at, and a watched directory to deliver from."""

    transport: Transport
    place: Path
    source: Path
    identity: str
    algorithm: str
    woken: threading.Event
    tasks: int = 0

    def put(self, relpath: str | bytes, content: bytes) -> Path:
        """Write a source file."""
        path = self.source / os.fsdecode(relpath)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def item(
        self, relpath: str | bytes, file: int = 1, path: str | None = None, replaces: Content | None = None
    ) -> Item:
        """The version that now stands at the source, to be delivered under the same path or another."""
        name = os.fsdecode(relpath)
        version = version_of(self.source / name)
        return Item(file, slashes(self.source), name, version, name if path is None else path, replaces)

    def checksum(self, content: bytes) -> bytes:
        """What the evidence for this content says."""
        return hashlib.new(self.algorithm, content).digest()

    def known(self, content: bytes) -> Content:
        """What the evidence for this content says: its checksum, and of how many bytes."""
        return Content(self.checksum(content), len(content))

    def adopted(self, item: Item) -> Arrived:
        """The outcome for a file that is there already, as far as the destination tells."""
        if self.transport.is_service:
            told = Content(stat_content(item.version.size, item.version.mtime_ns), item.version.size)
            return Arrived(item.file, told, STAT, adopted=True)
        content = (self.source / item.relpath).read_bytes()
        return Arrived(item.file, self.known(content), self.algorithm, adopted=True)

    def content(self, relpath: str) -> Content:
        """What the destination tells of the content at a path there."""
        copy = self.place / relpath
        if self.transport.is_service:
            return Content(stat_content(copy.stat().st_size, copy.stat().st_mtime_ns), copy.stat().st_size)
        return self.known(copy.read_bytes())

    def occupied(self, item: Item, content: Content) -> NameTaken:
        """The outcome for a file at whose path this content stands: what is of another size need not be read."""
        read = self.transport.is_service or content.size == item.version.size
        return NameTaken(item.file, content.size, content.checksum if read else None)

    def deliver(self, *items: Item) -> Result:
        """Hand a batch over, and wait for the end."""
        self.tasks += 1
        try:
            request, outcomes, _ = self.transport.prepare(self.tasks, "r", items, self.identity)
        except Transient as error:
            return Result({}, str(error))
        done = {outcome.file: outcome for outcome in outcomes}
        found, failure = self.send(request, *(item for item in items if item.file not in done))
        return Result(done | found, failure)

    def send(self, request: bytes, *items: Item) -> Result:
        """Hand over a prepared request, and wait for the end."""
        task = self.transport.submit(request, items, self.identity).task
        outcomes: list[Outcome] = []
        deadline = time.monotonic() + PATIENCE
        while True:
            due = self.transport.due()
            self.woken.wait(PATIENCE if due is None else 0.01)
            assert time.monotonic() < deadline, "the transport never told of the end"
            self.woken.clear()
            for report in self.transport.reports(time.time() if due is None else due):
                assert report.task == task
                outcomes.extend(report.outcomes)
                if report.ended:
                    found = {outcome.file: outcome for outcome in outcomes}
                    assert len(found) == len(outcomes), "a file had two outcomes"
                    return Result(found, report.failure)

    def tree(self) -> dict[str, bytes | str]:
        """All that is at the destination but directories and the identity file: content, or the target of a link."""
        return tree(self.place)


def tree(root: Path) -> dict[str, bytes | str]:
    """Relative path → content (or the target of a link) of everything below that is not a directory."""
    return {
        path.relative_to(root).as_posix(): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in root.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path.name != ".dropline-destination"
    }


@contextmanager
def _directory(place: Path, source: Path, wake: Wake) -> Iterator[tuple[Transport, str]]:
    place.mkdir()
    yield DirectoryTransport("share", slashes(place), "checksum", "sha256", AGENT, wake), "sha256"


@contextmanager
def _directory_that_may_hang(place: Path, source: Path, wake: Wake) -> Iterator[tuple[Transport, str]]:
    """The same, as where the file system may hang: helper processes do it all."""
    place.mkdir()
    yield (
        DirectoryTransport("share", slashes(place), "checksum", "sha256", AGENT, wake, may_hang=lambda path: True),
        "sha256",
    )


@contextmanager
def _globus(place: Path, source: Path, wake: Wake) -> Iterator[tuple[Transport, str]]:
    with Globus(by_itself=True) as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        instrument, campus = service.collection("Instrument", source), service.collection("Campus", place)
        session = Session(Account(service.account.id, place.with_name("tokens"), service.account.secret))
        collection_path = CollectionPath(instrument.id, str(source), "/", campus.id, "/")
        yield GlobusTransport("share", collection_path, session, AGENT, 6, lambda operation, outcome: None), "md5"


TRANSPORTS: Mapping[str, Callable[[Path, Path, Wake], AbstractContextManager[tuple[Transport, str]]]] = {
    "directory": _directory,
    "directory-afar": _directory_that_may_hang,
    "globus": _globus,
}
"""How each transport is set up to deliver into a directory: (transport, algorithm of its evidence)."""


@pytest.fixture(autouse=True, scope="session")
def leases() -> None:
    """Leases are asked for, as in the agent."""
    LOCAL.prepare()


def _site(kind: str, tmp_path: Path) -> Iterator[Site]:
    woken = threading.Event()
    place, source = tmp_path / "share", tmp_path / "data"
    source.mkdir()
    with TRANSPORTS[kind](place, source, woken.set) as (transport, algorithm):
        try:
            yield Site(transport, place, source, transport.set_up(), algorithm, woken)
        finally:
            transport.close()


@pytest.fixture(params=sorted(TRANSPORTS))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A destination of each transport."""
    yield from _site(request.param, tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Site]:
    """A destination of the directory transport, for laws about what only a directory has."""
    yield from _site("directory", tmp_path)


@pytest.fixture
def commons() -> Iterator[Path]:
    """A directory that every user may enter and write to."""
    path = Path(tempfile.mkdtemp(prefix="dropline-test-"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@dataclass
class Round:
    """One delivery of a process of its own, after some commands."""

    items: Sequence[Item]
    before: Sequence[Sequence[str]] = ()


@dataclass
class Child:
    """Runs the directory transport in another process: as an ordinary user, or with its own mounts."""

    skip: Callable[[str], Any] = field(default=pytest.skip)

    def as_nobody(self, place: Path, identity: str, *rounds: Round) -> list[tuple[Result, dict[str, bytes | str]]]:
        """Deliver as a user without privileges: (result, what is at the destination then) of each round."""
        return self._run([sys.executable], place, identity, rounds, drop=os.geteuid() == 0)

    def with_mounts(self, place: Path, identity: str, *rounds: Round) -> list[tuple[Result, dict[str, bytes | str]]]:
        """Deliver in a mount namespace, where `before` may mount; skips where the machine does not permit that."""
        if WINDOWS:
            self.skip("Windows has no mount namespaces")
        own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        try_it = [*own, "mount", "-t", "tmpfs", "tmpfs", str(place)]
        if shutil.which("unshare") is None or subprocess.run(try_it, capture_output=True, check=False).returncode:
            self.skip("needs mount namespaces (unshare --mount)")
        return self._run([*own, sys.executable], place, identity, rounds, drop=False)

    def _run(
        self, python: Sequence[str], place: Path, identity: str, rounds: Sequence[Round], *, drop: bool
    ) -> list[tuple[Result, dict[str, bytes | str]]]:
        steps = [(list(one.before), list(one.items)) for one in rounds]
        job = pickle.dumps((str(place), AGENT, identity, drop, steps))
        done = subprocess.run(
            [*python, "-P", str(UNPRIVILEGED)], input=job, stdout=subprocess.PIPE, check=True, timeout=60
        )
        return [
            (
                Result({outcome.file: outcome for outcome in outcomes}, failure),
                {os.fsdecode(k): v for k, v in there.items()},
            )
            for outcomes, failure, there in pickle.loads(done.stdout)  # noqa: S301  (from our own child)
        ]


@pytest.fixture
def child() -> Child:
    """Deliveries in another process."""
    return Child()


@pytest.fixture
def delivery() -> type[Round]:
    """One round of `child`."""
    return Round


@pytest.fixture
def writer() -> Iterator[Callable[[Path], "subprocess.Popen[bytes]"]]:
    """Starts a process that opens a file for appending and keeps it open until its input is closed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(path: Path) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [*HOLDING, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"open"
        return process

    yield start
    for process in started:
        process.communicate()


@pytest.fixture
def identity_text() -> Callable[[str], str]:
    """What an identity file with this identity says."""
    return lambda identity: json.dumps({"dropline_destination": identity})
