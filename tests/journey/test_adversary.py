"""Somebody who may write the watched folder and the share swaps names for links, as fast as a computer can.

What the agent does then is not promised, but where: nothing outside is read, written or removed.
"""

from __future__ import annotations

import ctypes
import os
import random
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.journey.conftest import Site

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="swaps names with renameat2(2)")

SECRET = b"what only the owner may read\n"
DIRECTORIES = ("d0", "d1", "d2")
FILES = tuple(f"f{number}" for number in range(600))
SECONDS = 3.0
"""For which one race goes on."""
A_PASS = 5.0
"""Seconds after which the agent thinks of deletions by itself."""
_EXCHANGE = 2


@contextmanager
def holding(root: Path, path: Path) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory of a path, and its last part: those who swap must not be led outside themselves."""
    *parts, name = path.relative_to(root).parts
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd, name
    finally:
        os.close(fd)


def exchange(one: int, name: str, other: int, link: str) -> None:
    """Give each the name of the other, at once. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(one, os.fsencode(name), other, os.fsencode(link), _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)


Way = Callable[[random.Random, Path], None]
"""One swap; the path is a directory for what is away meanwhile."""


class Entry(NamedTuple):
    """What is noted of something outside."""

    mode: int
    inode: int
    mtime_ns: int
    content: bytes


def outside(root: Path) -> dict[str, Entry]:
    """All that is there, with everything that an agent might change."""
    found: dict[str, Entry] = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path.relative_to(root))] = Entry(status.st_mode, status.st_ino, status.st_mtime_ns, content)
    return found


class Adversary:
    """Swaps names below `root` for links to what is outside, and back, in its own threads."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.outside = site.root / "outside"
        self.swaps = 0
        self._seed = seed
        self._hidden = site.root / "hidden"
        self._hidden.mkdir()
        for directory in ("", *DIRECTORIES, "run"):
            (self.outside / directory).mkdir()
            for name in (*FILES, "secret"):
                (self.outside / directory / name).write_bytes(SECRET)
        (self.outside / "linked").write_bytes(b"no secret, but nobody else's to write to")
        self.before = outside(self.outside)

    @contextmanager
    def racing(self, *ways: Way) -> Iterator[None]:
        """Swap in each of these ways at once, until the block is left."""
        stop = threading.Event()

        def race(number: int, way: Way) -> None:
            chance = random.Random(f"{self._seed}-{number}")  # noqa: S311  (no secret)
            hidden = self._hidden / str(number)
            hidden.mkdir()
            while not stop.is_set():
                try:
                    way(chance, hidden)
                except OSError:
                    pass  # it is not there now, or the agent was faster
                self.swaps += 1
                stop.wait(chance.random() ** 3 * 0.02)  # else nothing ever gets far enough to be led astray

        threads = [threading.Thread(target=race, args=each) for each in enumerate(ways)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _swapped(self, path: Path, hidden: Path, target: Path, chance: random.Random) -> None:
        """For a moment the name is a link to the target."""
        link = hidden / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with holding(self.site.root, path) as (fd, name), holding(hidden, link) as (other, its_name):
            exchange(fd, name, other, its_name)
            time.sleep(chance.choice([0.0, 0.00003, 0.001, 0.01]) * chance.random())
            exchange(fd, name, other, its_name)

    def whole(self, top: Path, name: str) -> Way:
        """Swaps one directory for all that is outside."""
        return lambda chance, hidden: self._swapped(top / name, hidden, self.outside, chance)

    def directories(self, top: Path) -> Way:
        """Swaps the directories of a tree."""

        def way(chance: random.Random, hidden: Path) -> None:
            name = chance.choice(DIRECTORIES)
            self._swapped(top / name, hidden, self.outside / name, chance)

        return way

    def files(self, top: Path) -> Way:
        """Swaps its files."""

        def way(chance: random.Random, hidden: Path) -> None:
            where = chance.choice(DIRECTORIES)
            name = chance.choice(os.listdir(top / where) or FILES)
            self._swapped(top / where / name, hidden, self.outside / where / name, chance)

        return way

    def own(self, top: Path) -> Way:
        """Swaps what the agent makes under its own names: temporary files, its trash, and what lies in that."""

        def way(chance: random.Random, hidden: Path) -> None:
            where = chance.choice(["", *(f"{name}/" for name in DIRECTORIES)])
            own = [
                name for name in os.listdir(top / where) if name.startswith(".dropline") and "destination" not in name
            ]
            path = where + chance.choice(own or ["nothing"])
            below = [os.path.join(at, name) for at, names, files in os.walk(top / path) for name in (*names, *files)]
            if below and chance.random() < 0.8:
                path = os.path.relpath(chance.choice(below), top)
            target = self.outside / chance.choice(["", *DIRECTORIES, "secret"])
            with holding(self.site.root, top / path) as (fd, name):
                kind = chance.randrange(4)
                if kind == 0 or stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                    self._swapped(top / path, hidden, target, chance)
                    return
                os.unlink(name, dir_fd=fd)
                if kind == 1:
                    os.mkfifo(name, dir_fd=fd)
                elif kind == 2:
                    os.link(self.outside / "linked", name, dst_dir_fd=fd)
                else:
                    os.symlink(target, name, dir_fd=fd)

        return way

    def notes(self, state: Path) -> Way:
        """Swaps the agent's records."""

        def way(chance: random.Random, hidden: Path) -> None:
            if chance.random() < 0.9:
                return  # deletions that cannot be recorded stop for a while, and then there is no race for them
            name = chance.choice(["deletions.jsonl", "fetch.lock"])
            target = self.outside / chance.choice(["secret", "new"])
            if (state / name).exists():
                self._swapped(state / name, hidden, target, chance)
            else:
                (state / name).symlink_to(target)
                (state / name).unlink()

        return way

    def check(self) -> None:
        """Nothing outside was changed, and nothing of it was brought to where the agent writes."""
        assert self.swaps > 300, "there was no race"
        assert outside(self.outside) == self.before
        for top in (self.site.share, self.site.inbox, self.site.state, self.site.root / "here"):
            for path in top.rglob("*"):
                if stat.S_ISREG(path.lstat().st_mode):
                    assert b"only the owner" not in path.read_bytes(), path


class Feeder:
    """Writes files into directories that it holds open: it goes through no link itself."""

    def __init__(self, site: Site, top: Path) -> None:
        self._staging = site.root / f"staging-{top.parent.name}"
        self._staging.mkdir()
        for name in DIRECTORIES:
            (top / name).mkdir(parents=True, exist_ok=True)
        self._fds = [os.open(top / name, os.O_RDONLY | os.O_DIRECTORY) for name in DIRECTORIES]
        self._number = 0

    def round(self) -> None:
        """Some more files in each directory."""
        for name in FILES[self._number : self._number + 8]:
            for fd in self._fds:
                (self._staging / name).write_bytes(b"data of " + name.encode())
                os.rename(self._staging / name, name, dst_dir_fd=fd)
        self._number += 8

    def close(self) -> None:
        """Let go of the directories."""
        for fd in self._fds:
            os.close(fd)


@pytest.fixture
def feed(site: Site) -> Iterator[Callable[[Path], Feeder]]:
    """Makes feeders."""
    made: list[Feeder] = []

    def make(top: Path) -> Feeder:
        made.append(Feeder(site, top))
        return made[-1]

    yield make
    for one in made:
        one.close()


def spend(seconds: float, act: Callable[[], Any], pause: float = 0.0) -> None:
    """Do it again and again for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        act()
        rest = time.monotonic() + pause
        while time.monotonic() < min(rest, end):
            time.sleep(0.01)


@pytest.mark.parametrize("trash", [None, "50ms"])
def test_an_agent_that_delivers_and_deletes_stays_inside(
    site: Site, feed: Callable[[Path], Feeder], trash: str | None
) -> None:
    """Intake, delivery, reclaim and trash, against swaps in the watched folder, the share and the state at once."""
    reclaim = {"after": "0s"} | ({"trash": trash} if trash else {})
    site.configure(
        site.rule(complete={"quiet": "0s"}, reclaim=reclaim), agent={"listen": "127.0.0.1:0", "canary_every": "100ms"}
    )
    feeder = feed(site.inbox)
    for name in DIRECTORIES:
        (site.share / name).mkdir()
    agent = site.start()
    adversary = Adversary(site, 1)
    with adversary.racing(
        adversary.directories(site.inbox), adversary.files(site.inbox), adversary.own(site.inbox),
        adversary.directories(site.share), adversary.files(site.share), adversary.own(site.share),
        adversary.notes(site.state),
    ):  # fmt: skip
        spend(A_PASS + SECONDS, feeder.round, 0.3)
    site.put("after.dat", b"all is over")
    site.until(lambda: site.states().get("after.dat", [""])[0] in ("verified", "reclaimed"), "the agent goes on")
    assert agent.stop() == 0
    assert site.delivered["after.dat"] == b"all is over"
    assert "Traceback" not in agent.log()
    assert site.deletions(), "nothing was deleted: no race for that"
    adversary.check()


def test_sending_and_fetching_stay_inside(site: Site, feed: Callable[[Path], Feeder]) -> None:
    """What is sent comes from below the named folder, what is fetched from the share, and goes where it was named."""
    site.configure(site.rule(exclude=["*"]))
    folder = site.root / "job/run"
    feeder, at_share = feed(folder), feed(site.share / "run")
    at_share.round()
    adversary = Adversary(site, 2)
    here = site.root / "here"
    (here / "run").mkdir(parents=True)

    def both() -> None:
        feeder.round()
        for words in (
            ("send", folder, "--to", "share"), ("fetch", "share:run", here), ("fetch", f"share:run/{DIRECTORIES[0]}", here),
        ):  # fmt: skip
            assert site.dropline(*words).code in (0, 1, 2)

    with adversary.racing(
        adversary.directories(folder), adversary.files(folder), adversary.whole(site.root / "job", "run"),
        adversary.directories(site.share / "run"), adversary.own(site.share / "run"), adversary.whole(site.share, "run"),
        adversary.directories(here / "run"), adversary.own(here / "run"), adversary.whole(here, "run"), adversary.notes(site.state),
    ):  # fmt: skip
        spend(SECONDS, both)
    adversary.check()
