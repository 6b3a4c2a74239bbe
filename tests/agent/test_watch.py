"""Hints from real events, and sweeps of real directories."""

import ctypes
import errno
import itertools
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
import watchdog.events

from agent.files import LOCAL
from agent.files.events import Events, Hint, Put
from agent.files.posix import observer
from agent.files.posix.errors import trouble
from agent.intake.scan import Listing, sweep
from agent.intake.watch import CANARY, Listen, Watch
from rules.model import Entry, FileId, Kind, Observation, VolumeId

pytestmark = pytest.mark.filterwarnings(
    "ignore:Callback with id:RuntimeWarning"
)  # as agent.files.posix.observer has it
T = TypeVar("T")
Until = Callable[[Callable[[], T], str], T]
Listings = dict[str, list[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A watched directory."""
    path = tmp_path / "data"
    path.mkdir()
    return path


class Ear:
    """A watch, and all that it has said."""

    def __init__(self, root: Path, until: Until[bool], listen: Listen | None) -> None:
        self.woken = threading.Event()
        self.watch = Watch(LOCAL, str(root), self.woken.set, listen)
        self.heard: list[Hint] = []
        self._until = until

    def hears(self, *hints: Hint) -> None:
        """Wait until it has said all of these."""

        def all_said() -> bool:
            self.heard.extend(self.watch.drain(1000))
            # A name that went away and came again is one hint.
            came = {hint._replace(gone=False) for hint in self.heard if hint.gone and not hint.below}
            return set(hints) <= {*self.heard, *came}

        self._until(all_said, f"{hints} among the hints")

    def says(self, why: str, now: float = 0.0) -> None:
        """Wait until a look says that this is why the tree must be swept."""
        said: list[str] = []

        def told() -> bool:
            reason = self.watch.check(now)
            if reason is not None:
                said.append(reason)
            return bool(said)

        self._until(told, f"{why!r} from check")
        assert said == [why]


def by_watchdog(root: str, put: Put, lost: Callable[[str], None]) -> Events:
    """What `LOCAL.watch` does where there is no inotify."""
    try:
        return observer.Observed(root, put, lost)
    except OSError as error:
        raise trouble(error) from error


@pytest.fixture(params=[None, by_watchdog], ids=["platform", "watchdog"])
def ears(request: pytest.FixtureRequest, until: Until[bool]) -> Iterator[Callable[[Path], Ear]]:
    """Makes watches, and ends them: with what this platform has, and with watchdog, which other platforms have."""
    made: list[Ear] = []

    def make(root: Path) -> Ear:
        made.append(Ear(root, until, request.param))
        return made[-1]

    yield make
    for ear in made:
        ear.watch.close()


@pytest.fixture
def ear(root: Path, ears: Callable[[Path], Ear]) -> Ear:
    """A watch of the root that has been looked at once."""
    made = ears(root)
    assert made.watch.check(0.0) == "start"
    assert (made.watch.up, made.watch.present, made.watch.reason, made.watch.lost) == (True, True, "events come", 0)
    return made


# Events


def test_a_closed_file_is_told(root: Path, ear: Ear) -> None:
    """When a writer closes a file, its path is told, and the agent is woken."""
    (root / "scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/scan.dat"))
    assert ear.woken.is_set()
    assert set(ear.heard) == {Hint(f"{root}/scan.dat")}


def test_a_file_that_is_read_is_not_told(root: Path, ear: Ear) -> None:
    """Reading raises no hints: else each of the agent's own looks would."""
    (root / "one").write_bytes(b"x")
    (root / "one").read_bytes()
    (root / "two").write_bytes(b"x")
    ear.hears(Hint(f"{root}/two"))
    assert list(dict.fromkeys(ear.heard)) == [Hint(f"{root}/one"), Hint(f"{root}/two")]


def test_a_file_moved_in_is_told(root: Path, ear: Ear, tmp_path: Path) -> None:
    """A file renamed in from outside, as careful writers do, is told."""
    (tmp_path / "scan.part").write_bytes(b"x")
    (tmp_path / "scan.part").rename(root / "scan.dat")
    ear.hears(Hint(f"{root}/scan.dat"))


def test_a_file_moved_within_is_told_at_both_ends(root: Path, ear: Ear) -> None:
    """A rename inside the tree tells the name that went away and the one that appeared."""
    (root / "sub").mkdir()
    ear.hears(Hint(f"{root}/sub", below=True))
    (root / "scan.part").write_bytes(b"x")
    (root / "scan.part").rename(root / "sub/scan.dat")
    ear.hears(Hint(f"{root}/scan.part", gone=True), Hint(f"{root}/sub/scan.dat"))


def test_a_file_moved_out_is_told(root: Path, ear: Ear, tmp_path: Path) -> None:
    """A file renamed to the outside is told to be gone from its name."""
    (root / "scan.dat").write_bytes(b"x")
    (root / "scan.dat").rename(tmp_path / "scan.dat")
    ear.hears(Hint(f"{root}/scan.dat", gone=True))


def test_a_removed_file_is_told(root: Path, ear: Ear) -> None:
    """A file that is removed is told to be gone, also where another one takes its name at once."""
    (root / "scan.dat").write_bytes(b"x")
    (root / "scan.dat").unlink()
    (root / "scan.dat").write_bytes(b"y")
    ear.hears(Hint(f"{root}/scan.dat", gone=True), Hint(f"{root}/scan.dat"))


def test_a_directory_made_and_filled_at_once_is_to_be_swept(root: Path, ear: Ear) -> None:
    """A deep directory that is filled before it can be watched is named for a sweep, which finds what events missed."""
    deep = root / "a/b/c"
    deep.mkdir(parents=True)
    (deep / "scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/a", below=True))
    (deep / "later.dat").write_bytes(b"x")
    named = [hint.path for hint in ear.heard if hint.below]
    assert any("scan.dat" in names for path in named for names in listed(sweep(LOCAL, path)).values())


def test_a_new_directory_is_watched(root: Path, ear: Ear) -> None:
    """Files in directories that were made after the start are told."""
    (root / "run/sub").mkdir(parents=True)
    ear.hears(Hint(f"{root}/run", below=True))
    (root / "run/sub/scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/run/sub/scan.dat"))


def test_a_directory_moved_in_is_to_be_swept_and_watched(root: Path, ear: Ear, tmp_path: Path) -> None:
    """A whole run folder renamed in is named for a sweep, and watched from then on."""
    (tmp_path / "run/sub").mkdir(parents=True)
    (tmp_path / "run/sub/scan.dat").write_bytes(b"x")
    (tmp_path / "run").rename(root / "run")
    ear.hears(Hint(f"{root}/run", below=True))
    (root / "run/sub/late.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/run/sub/late.dat"))


def test_a_large_tree_that_is_moved_in_is_watched_a_part_at_a_time(
    root: Path, ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named for a sweep when all of it is watched; what happens elsewhere meanwhile is told."""
    monkeypatch.setattr("agent.files.posix.inotify._AT_ONCE", 1)
    for number in range(50):
        (tmp_path / f"run/{number % 5}/{number}").mkdir(parents=True)
    (tmp_path / "run").rename(root / "run")
    (root / "scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/scan.dat"), Hint(f"{root}/run", below=True))
    for number in range(50):
        (root / f"run/{number % 5}/{number}/late.dat").write_bytes(b"x")
    ear.hears(*(Hint(f"{root}/run/{number % 5}/{number}/late.dat") for number in range(50)))
    assert ear.watch.check(0.0) is None


def test_a_directory_moved_within_is_told_at_both_ends(root: Path, ear: Ear) -> None:
    """A renamed directory is gone at its old path and to be swept at the new one."""
    (root / "run.tmp").mkdir()
    ear.hears(Hint(f"{root}/run.tmp", below=True))
    (root / "run.tmp/scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/run.tmp/scan.dat"))
    (root / "run.tmp").rename(root / "run")
    ear.hears(Hint(f"{root}/run.tmp", below=True, gone=True), Hint(f"{root}/run", below=True))
    (root / "run/more.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/run/more.dat"))


def test_a_directory_moved_out_is_told(root: Path, ear: Ear, tmp_path: Path) -> None:
    """A directory renamed to the outside is gone with all below."""
    (root / "run").mkdir()
    ear.hears(Hint(f"{root}/run", below=True))
    (root / "run").rename(tmp_path / "run")
    ear.hears(Hint(f"{root}/run", below=True, gone=True))


def test_names_of_any_bytes_are_told(root: Path, ear: Ear) -> None:
    """Names that are no UTF-8 come through unchanged and harm nobody."""
    names = [os.fsdecode(name) for name in (b"\xff\xfe", b"a b", b"line\nbreak", "ü\N{MICROSCOPE}".encode())]
    for name in names:
        (root / name).write_bytes(b"x")
        (root / f"{name}.d").mkdir()
    ear.hears(*(Hint(f"{root}/{name}") for name in names), *(Hint(f"{root}/{name}.d", below=True) for name in names))


def test_a_root_that_is_a_link_is_watched(root: Path, ears: Callable[[Path], Ear]) -> None:
    """Events come for a watched directory that is configured by a link, with the paths that are configured."""
    link = root.with_name("link")
    link.symlink_to(root)
    (root / "old").mkdir()
    ear = ears(link)
    assert ear.watch.check(0.0) == "start"
    (root / "scan.dat").write_bytes(b"x")
    (root / "old/scan.dat").write_bytes(b"x")
    (root / "new").mkdir()
    ear.hears(Hint(f"{link}/scan.dat"), Hint(f"{link}/old/scan.dat"), Hint(f"{link}/new", below=True))
    other = root.with_name("other")
    other.mkdir()
    link.unlink()
    link.symlink_to(other)
    ear.says("another directory stands in its place")
    (other / "scan.dat").write_bytes(b"x")
    ear.heard.clear()
    ear.hears(Hint(f"{link}/scan.dat"))


def test_a_linked_directory_is_not_watched(root: Path, ear: Ear, tmp_path: Path) -> None:
    """What happens behind a link inside the tree is not ours."""
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside/scan.dat").write_bytes(b"x")
    (root / "last").write_bytes(b"x")
    ear.hears(Hint(f"{root}/last"))
    assert {hint.path for hint in ear.heard} <= {f"{root}/link", f"{root}/last"}


# Draining


def test_hints_come_oldest_first_and_once(root: Path, ear: Ear) -> None:
    """What was told more than once since the last look comes once, in the order of its first time, so many at a time."""
    for name in "abacb":
        ear.watch._put([Hint(f"/d/{name}")])
    assert ear.watch.drain(2) == [Hint("/d/a"), Hint("/d/b")]
    assert ear.watch.drain(100) == [Hint("/d/c")]
    assert ear.watch.drain(100) == []


# The handler


EVENTS = [
    kind
    for kind in vars(watchdog.events).values()
    if isinstance(kind, type) and issubclass(kind, watchdog.events.FileSystemEvent)
]


PATHS = [("", ""), ("/a", ""), ("", "/b"), ("/a", "/b"), (b"/\xff", b""), (b"", b"/\xff"), ("/\udcff", "")]


def test_the_handler_never_raises() -> None:
    """Whatever event comes, with whatever paths, the handler lives on and tells only of paths."""
    for kind, paths in itertools.product(EVENTS, PATHS):
        hints: list[Hint] = []
        observer._PassOn(hints.extend).dispatch(kind(*paths))
        assert {hint.path for hint in hints} <= {os.fsdecode(path) for path in paths}


# The directory comes and goes


def test_a_root_that_is_absent_is_waited_for(root: Path, ears: Callable[[Path], Ear]) -> None:
    """A directory that is not there yet is no error: it is said, and once it comes it is watched and swept."""
    root.rmdir()
    ear = ears(root)
    for _ in range(2):
        assert ear.watch.check(0.0) is None
        assert (ear.watch.present, ear.watch.up, ear.watch.lost) == (False, False, 0)
        assert os.strerror(errno.ENOENT) in ear.watch.reason
    root.mkdir()
    assert ear.watch.check(0.0) == "start"
    assert (ear.watch.present, ear.watch.up, ear.watch.lost) == (True, True, 0)
    (root / "scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/scan.dat"))


def test_a_root_that_goes_away_is_missed(root: Path, ear: Ear, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that goes away is said once, counts as lost events, and is watched again when it is back."""
    shutil.rmtree(root)
    with caplog.at_level(logging.WARNING, "agent.intake.watch"):
        for _ in range(3):
            assert ear.watch.check(0.0) is None
    assert (ear.watch.present, ear.watch.up, ear.watch.lost) == (False, False, 1)
    assert len(caplog.records) == 1
    root.mkdir()
    ear.says("start")
    (root / "scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/scan.dat"))


@pytest.mark.parametrize("how", ["removed and made", "renamed and made"])
def test_another_directory_in_its_place_is_noticed(root: Path, ear: Ear, how: str) -> None:
    """A directory that was replaced between two looks, though it looks the same, is swept, and its events come."""
    if how == "removed and made":
        shutil.rmtree(root)  # the new one may well get the same inode number
        root.mkdir()
    else:
        root.rename(root.with_name("former"))
        (root.with_name("fresh")).mkdir()
        (root.with_name("fresh") / "old.dat").write_bytes(b"x")
        root.with_name("fresh").rename(root)
    said: list[str] = []
    ear._until(lambda: bool(said.append(ear.watch.check(0.0) or "") or said[-1]), "a reason to sweep")
    replaced = "another directory stands in its place"
    assert said[-1] in (replaced, "the directory was removed", "the event thread had died")
    assert ear.watch.lost == 1
    (root / "scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/scan.dat"))
    assert ear.watch.check(0.0) is None


# Lost events


def test_a_real_overflow_is_noticed(root: Path, ear: Ear) -> None:
    """When the kernel's queue overflows a sweep is asked for, the loss is counted, and events come again."""
    if sys.platform != "linux":
        pytest.skip("needs inotify")
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 200_000:
        pytest.skip("the kernel's queue is too long to be filled in a test")
    # Calls that keep the interpreter to themselves: the thread that reads the queue cannot run meanwhile.
    libc = ctypes.PyDLL(None)
    paths = [os.fsencode(root / name) for name in ("one", "two")]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    try:
        for number in range(limit + 100):
            libc.close(libc.open(paths[number % 2], os.O_WRONLY | os.O_CREAT, 0o600))
    finally:
        sys.setswitchinterval(switch)
    ear.says("the kernel's event queue overflowed")
    assert ear.woken.is_set()
    assert ear.watch.lost >= 1
    assert ear.watch.up
    (root / "after").write_bytes(b"x")
    ear.hears(Hint(f"{root}/after"))


def test_what_watchdog_says_of_an_overflow_is_heard() -> None:
    """watchdog's own words about an overflow, which are all there is, are understood; its other words are not mistaken."""
    said: list[str] = []
    listener = observer._Overflow(said.append)
    logger = logging.getLogger("watchdog.observers.inotify_c")
    logger.addHandler(listener)
    try:
        logger.warning("something else")
        logger.warning("Inotify queue overflowed; filesystem events were lost")
    finally:
        logger.removeHandler(listener)
    assert said == ["the kernel's event queue overflowed"]


def test_a_dead_source_is_noticed(root: Path, ear: Ear) -> None:
    """A source of events whose thread ended is replaced, and the tree is swept."""
    events = ear.watch._events
    assert events is not None
    if isinstance(events, observer.Observed):
        (emitter,) = events._observer.emitters  # an emitter may end while its observer lives on
        emitter.stop()
        emitter.join()
    else:
        os.eventfd_write(events._end, 1)  # type: ignore[attr-defined]
        events._thread.join()  # type: ignore[attr-defined]
    assert ear.watch.check(0.0) == "the event thread had died"
    assert ear.watch.lost == 1
    (root / "scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/scan.dat"))
    assert ear.watch.check(0.0) is None


def test_a_directory_that_cannot_be_watched_is_a_loss(root: Path) -> None:
    """Where the kernel refuses a watch for a new directory it counts as a loss with the reason, and the tree is swept."""
    code = """
import errno, os, sys, threading
from agent.files.posix import inotify
from agent.files import LOCAL
from agent.intake.watch import Watch
heard = threading.Event()
watched = Watch(LOCAL, sys.argv[1], heard.set)
print(watched.check(0.0), watched.up)
class Full:
    def inotify_add_watch(self, *_):
        inotify.ctypes.set_errno(errno.ENOSPC)
        return -1
    def __getattr__(self, name):
        return getattr(real, name)
real, inotify._libc = inotify._libc, Full()
os.mkdir(sys.argv[1] + "/run")
heard.wait(20.0)
print(watched.check(0.0))
print(watched.lost, watched.up, watched.reason)
watched.close()
"""
    if sys.platform != "linux":
        pytest.skip("needs inotify")
    done = subprocess.run([sys.executable, "-P", "-c", code, str(root)], stdout=subprocess.PIPE, text=True, check=True)
    refused = "no more inotify watches; as root: sysctl -w fs.inotify.max_user_watches=1048576"
    assert done.stdout.splitlines() == [
        "start True",
        f"{root}/run cannot be watched: {refused}",
        f"1 False no events: {refused}; sweeps only",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="needs inotify")
@pytest.mark.parametrize("above", [False, True], ids=["itself", "the one above it"])
def test_a_directory_swapped_for_a_link_before_its_event_is_read_is_not_watched(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: bool
) -> None:
    """Nor anything that the link leads to; what else appeared is."""
    from agent.files.posix import inotify

    monkeypatch.setattr(inotify.threading.Thread, "start", lambda thread: None)
    (tmp_path / "outside/below/deep").mkdir(parents=True)
    (root / "a").mkdir()
    events = inotify.Inotify(str(root), lambda hints: None, lambda why: None)
    (root / "a/below").mkdir()
    (root / "z/deep").mkdir(parents=True)
    swapped = root / ("a" if above else "a/below")
    (root / "a/below").rmdir()
    if above:
        (root / "a").rmdir()
    swapped.symlink_to(tmp_path / ("outside" if above else "outside/below"))
    try:
        events._hints(os.read(events._fd, 2**16))
        while events._adding:
            events._add_some()
        told = Path(f"/proc/self/fdinfo/{events._fd}").read_text()
    finally:
        events._close_descriptors()
    watched = {int(inode, 16) for inode in re.findall(r"^inotify .* ino:([0-9a-f]+)", told, re.M)}
    outside = {path.stat().st_ino for path in (tmp_path / "outside").glob("**/")}
    assert watched & outside == set()
    assert watched >= {path.stat().st_ino for path in (root, root / "z", root / "z/deep")}


# The canary


def test_the_canary_comes_back(root: Path, ear: Ear, until: Until[bool]) -> None:
    """The event of the canary is seen and kept to ourselves; its age counts from when it was sent."""
    assert ear.watch.canary(100.0, 60.0, time.time()) is None
    assert (root / CANARY).exists()

    def back() -> bool:
        assert ear.watch.canary(101.0, 60.0, time.time()) is None
        return ear.watch._unanswered == 0

    until(back, "the canary's event")
    assert ear.watch.canary_at == 100.0
    assert ear.watch.canary(159.0, 60.0, time.time()) is None
    assert ear.watch.canary_at == 100.0
    ear.watch.canary(160.0, 60.0, time.time())
    until(
        lambda: (ear.watch.canary(161.0, 60.0, time.time()), ear.watch.canary_at == 160.0)[1], "the next canary's event"
    )
    assert ear.watch.drain(100) == []
    assert ear.watch.lost == 0


def deaf(ear: Ear) -> None:
    """Events come no more, while the thread that would read them lives."""
    events = ear.watch._events
    assert events is not None
    if isinstance(events, observer.Observed):
        events._observer._inotify_fd.stop()  # type: ignore[attr-defined]
        events._observer._inotify_fd.join()  # type: ignore[attr-defined]
    else:
        events._paths.clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize("heard_before", [True, False])
def test_events_that_stopped_coming_are_noticed(root: Path, ear: Ear, until: Until[bool], heard_before: bool) -> None:
    """Events that come no more, or never came, are noticed by two canaries without an answer; then they come again."""
    if sys.platform != "linux":
        pytest.skip("reaches into the readers")
    if heard_before:
        ear.watch.canary(0.0, 60.0, 0.0)
        until(lambda: (ear.watch.canary(1.0, 60.0, 0.0), ear.watch._unanswered == 0)[1], "the canary's event")
    deaf(ear)
    assert ear.watch.check(0.0) is None
    said = [ear.watch.canary(at, 60.0, 0.0) for at in (60.0, 120.0, 180.0)]
    assert said == [None, None, "events stopped coming"]
    assert ear.watch.lost == 1
    assert ear.watch.canary_at is not None
    assert ear.watch.canary_at <= 60.0
    (root / "scan.dat").write_bytes(b"x")
    ear.hears(Hint(f"{root}/scan.dat"))
    assert ear.watch.canary(240.0, 60.0, 0.0) is None


def test_the_canary_compares_the_clocks(root: Path, ear: Ear) -> None:
    """How far the file system's clock is ahead of the computer's is told."""
    ear.watch.canary(0.0, 60.0, time.time() - 3600.0)
    assert ear.watch.skew is not None
    assert 3590.0 < ear.watch.skew < 3610.0


def test_a_canary_is_taken_away_at_the_end(root: Path, ear: Ear) -> None:
    """After a good end nothing of ours is left in the watched directory."""
    ear.watch.canary(0.0, 60.0, 0.0)
    assert os.listdir(root) == [CANARY]
    ear.watch.close()
    assert os.listdir(root) == []


def test_a_canary_never_writes_through_a_link(root: Path, ear: Ear, tmp_path: Path) -> None:
    """A link that somebody put under the canary's name is not written through."""
    (tmp_path / "precious").write_bytes(b"precious")
    (root / CANARY).symlink_to(tmp_path / "precious")
    assert ear.watch.canary(0.0, 60.0, 0.0) is None
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert ear.watch.canary_at is None


def test_a_directory_that_is_only_read_has_no_canary(commons: Path, as_nobody: Callable[..., str]) -> None:
    """Where the agent may not write there is no canary, no age, and no alarm."""
    (commons / "data").mkdir()
    (commons / "data").chmod(0o555)
    code = """
watched = watch.Watch(LOCAL, sys.argv[1], lambda: None)
print(watched.check(0.0), [watched.canary(60.0 * n, 60.0, 0.0) for n in range(5)], watched.canary_at, watched.lost)
watched.close()
"""
    assert as_nobody(code, commons / "data") == "start [None, None, None, None, None] None 0\n"


# Where there are no events


def test_without_inotify_sweeps_go_on(root: Path) -> None:
    """Where the kernel gives no more inotify instances the watch is down with the reason, and nothing is raised or leaked."""
    code = """
import os, resource, sys, threading
from agent.files import LOCAL
from agent.intake import watch
fds = lambda: len(os.listdir("/proc/self/fd"))
watched = watch.Watch(LOCAL, sys.argv[1], lambda: None)
before, limits = fds(), resource.getrlimit(resource.RLIMIT_NOFILE)
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))  # enough to open the directory
print(watched.check(0.0), watched.present, watched.up, watched.reason.startswith("no events: "))
print(watched.check(0.0), watched.lost)
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
watched.close()
print(threading.active_count(), fds() - before)
"""
    if sys.platform != "linux":
        pytest.skip("needs inotify")
    done = subprocess.run([sys.executable, "-P", "-c", code, str(root)], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.splitlines() == ["start True False True", "None 0", "1 0"]


def test_a_failed_start_leaves_no_thread(
    root: Path, ears: Callable[[Path], Ear], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that the kernel refuses leaves no thread and no descriptor behind, and says what to raise."""
    if sys.platform != "linux":
        pytest.skip("needs inotify")
    from watchdog.observers import inotify_c

    from agent.files.posix import inotify

    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr(inotify._libc, "inotify_add_watch", refuse)
    monkeypatch.setattr(inotify_c, "inotify_add_watch", refuse)
    ear = ears(root)
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    assert ear.watch.check(0.0) == "start"
    assert (ear.watch.up, ear.watch.present) == (False, True)
    assert ear.watch.reason.startswith("no events: ")
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_a_remote_file_system_gives_no_events(root: Path, with_mounts: Callable[..., str]) -> None:
    """On a file system that other machines write to, the watch says that only sweeps are to be had."""
    code = """
import sys
from agent.files import LOCAL, volumes
from agent.intake import watch
volumes._REMOTE.add("tmpfs")
watched = watch.Watch(LOCAL, sys.argv[1], lambda: None)
print(watched.check(0.0), watched.up, watched.present, watched.canary(0.0, 60.0, 0.0), watched.lost)
print(watched.reason)
watched.close()
"""
    assert with_mounts('mount -t tmpfs tmpfs "$1"', code, root).splitlines() == [
        "start False True None 0",
        "tmpfs gives no events of what other machines write: sweeps only",
    ]


def test_closing_leaves_no_thread_and_no_descriptor(root: Path, ears: Callable[[Path], Ear]) -> None:
    """After starts, restarts and the end, as many threads and descriptors are there as before."""
    before = threading.active_count(), len(os.listdir("/proc/self/fd")), len(logging.getLogger("watchdog").handlers)
    for _ in range(3):
        ear = ears(root)
        ear.watch.check(0.0)
        root.rename(root.with_name("former"))
        root.mkdir()
        ear.watch.check(0.0)
        shutil.rmtree(root)
        ear.watch.check(0.0)
        root.with_name("former").rename(root)
        ear.watch.check(0.0)
        ear.watch.close()
    after = threading.active_count(), len(os.listdir("/proc/self/fd")), len(logging.getLogger("watchdog").handlers)
    assert after == before


# Sweeps


KINDS = {"FIFO": Kind.FIFO, "link": Kind.LINK}


def _volume(path: str | Path) -> VolumeId:
    """The file system of what is at a path."""
    seen = LOCAL.look(str(path))
    assert isinstance(seen, Observation)
    return seen.volume


def entries(directory: str, names: Sequence[str]) -> dict[Entry, Kind]:
    """What a sweep reads of these names."""
    found = {name: os.lstat(f"{directory}/{name}") for name in names}
    return {
        (
            os.fsencode(name), one.st_size, one.st_mtime_ns, one.st_ctime_ns, FileId(one.st_ino), _volume(directory),
        ): KINDS.get(name, Kind.FILE)
        for name, one in found.items()
    }  # fmt: skip


def listed(listings: Iterator[Listing]) -> Listings:
    """Directory → names, of all its listings together."""
    found: Listings = {}
    for listing in listings:
        found.setdefault(listing.directory, []).extend(name for name, _ in listing.seen())
    return {directory: sorted(names) for directory, names in found.items()}


def test_a_sweep_sees_every_file_once(root: Path) -> None:
    """Every directory comes with all its entries but directories, as lstat shows them, and says that it is whole."""
    (root / "a/b").mkdir(parents=True)
    (root / "empty").mkdir()
    for name in ("one", "a/two", "a/b/three", os.fsdecode(b"a/\xff odd\n")):
        (root / name).write_bytes(b"x")
    os.mkfifo(root / "a/FIFO")
    (root / "a/link").symlink_to("two")
    listings = {listing.directory: listing for listing in sweep(LOCAL, str(root))}
    volume = _volume(root)
    assert listings == {
        directory: Listing(directory, volume, entries(directory, names), True, True)
        for directory, names in {
            str(root): ["one"],
            f"{root}/a": ["two", "FIFO", "link", os.fsdecode(b"\xff odd\n")],
            f"{root}/a/b": ["three"],
            f"{root}/empty": [],
        }.items()
    }


def test_a_huge_directory_comes_in_parts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more entries than CHUNK are held at a time; the last part says so, and none of them claims to be whole."""
    monkeypatch.setattr("agent.intake.scan.CHUNK", 10)
    (root / "sub").mkdir()
    for number in range(35):
        (root / f"{number}").write_bytes(b"")
    parts = [listing for listing in sweep(LOCAL, str(root)) if listing.directory == str(root)]
    assert [len(part.entries) for part in parts] == [10, 10, 10, 5]
    assert [(part.whole, part.last) for part in parts] == [(False, False)] * 3 + [(False, True)]
    assert listed(iter(parts)) == {str(root): sorted(map(str, range(35)))}
    assert listed(sweep(LOCAL, str(root)))[f"{root}/sub"] == []


def test_a_sweep_never_follows_links(root: Path, tmp_path: Path) -> None:
    """Links to directories, to files and to the tree itself are entries, not ways."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"x")
    (root / "sub").mkdir()
    (root / "sub/up").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "outside")
    assert listed(sweep(LOCAL, str(root))) == {str(root): ["out"], f"{root}/sub": ["up"]}


@pytest.mark.parametrize("where", ["a", "a/b"])
def test_a_directory_swapped_for_a_link_is_not_entered(root: Path, tmp_path: Path, where: str) -> None:
    """A directory that became a link after it was seen, or one above it, does not lead the sweep outside."""
    (root / "a/b").mkdir(parents=True)
    (root / "z").mkdir()
    (root / "z/scan.dat").write_bytes(b"x")
    (tmp_path / "outside/b").mkdir(parents=True)
    for secret in ("outside/secret", "outside/b/secret"):
        (tmp_path / secret).write_bytes(b"x")
    walk = sweep(LOCAL, str(root))
    seen = {}
    for listing in walk:
        seen |= listed(iter([listing]))
        if listing.directory == str(root if where == "a" else root / "a"):
            (root / where).rename(tmp_path / "moved")
            (root / where).symlink_to(tmp_path / "outside")
    assert seen == {str(root): [], f"{root}/z": ["scan.dat"]} | ({f"{root}/a": []} if where == "a/b" else {})


def test_a_parent_swapped_for_a_link_does_not_lead_outside(root: Path, tmp_path: Path) -> None:
    """A directory whose parent became a link after both were seen is not entered through it."""
    (root / "a/b").mkdir(parents=True)
    (tmp_path / "outside/b").mkdir(parents=True)
    (tmp_path / "outside/b/secret").write_bytes(b"x")
    seen = {}
    for listing in sweep(LOCAL, str(root)):
        seen |= listed(iter([listing]))
        if listing.directory == f"{root}/a":
            (root / "a").rename(tmp_path / "moved")
            (root / "a").symlink_to(tmp_path / "outside")
    assert seen == {str(root): [], f"{root}/a": []}


def test_a_root_that_is_a_link_is_swept(root: Path) -> None:
    """Who configures a link means what it points to."""
    (root / "scan.dat").write_bytes(b"x")
    link = root.with_name("link")
    link.symlink_to(root)
    assert listed(sweep(LOCAL, str(link))) == {str(link): ["scan.dat"]}


def test_what_goes_away_during_a_sweep_does_not_come(root: Path) -> None:
    """A directory that is removed between two steps of the sweep is left out, without an error."""
    for name in ("a", "b", "c"):
        (root / name).mkdir()
    seen = []
    for listing in sweep(LOCAL, str(root)):
        seen.append((listing.directory, listing.error))
        if listing.directory == str(root):
            (root / "b").rmdir()
            (root / "c").rmdir()
            (root / "c").write_bytes(b"now a file")
    assert seen == [(str(root), None), (f"{root}/a", None)]


def test_a_sweep_of_nothing_is_empty(root: Path) -> None:
    """A directory that is not there gives no listing; a file in its place gives one that says why."""
    assert list(sweep(LOCAL, str(root / "missing"))) == []
    (root / "file").write_bytes(b"x")
    assert list(sweep(LOCAL, str(root / "file"))) == [
        Listing(str(root / "file"), None, {}, whole=False, last=True, error=os.strerror(errno.ENOTDIR))
    ]


def test_our_own_directories_are_left_out(root: Path) -> None:
    """The trash and other directories of the agent are not swept."""
    (root / ".dropline-trash/1").mkdir(parents=True)
    (root / ".dropline-trash/1/scan.dat").write_bytes(b"x")
    assert listed(sweep(LOCAL, str(root))) == {str(root): []}


def test_a_directory_that_cannot_be_listed_says_so(commons: Path, as_nobody: Callable[..., str]) -> None:
    """A directory without permission comes with its error, claims nothing, and the others are swept."""
    for name in ("a", "closed/sub", "z"):
        (commons / name).mkdir(parents=True)
    (commons / "closed").chmod(0)
    code = """
for listing in scan.sweep(LOCAL, sys.argv[1]):
    print(os.path.relpath(listing.directory, sys.argv[1]), listing.whole, listing.last, listing.error)
"""
    try:
        told = as_nobody(code, commons).splitlines()
    finally:
        (commons / "closed").chmod(0o700)
    assert sorted(told) == [
        ". True True None",
        "a True True None",
        "closed False True Permission denied",
        "z True True None",
    ]


def test_a_sweep_holds_no_descriptors(root: Path) -> None:
    """However deep and wide the tree, and wherever the sweep is left off, nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        (root / f"{number}/a/b").mkdir(parents=True)
    assert len(listed(sweep(LOCAL, str(root)))) == 301
    assert len(os.listdir("/proc/self/fd")) == before
    walk = sweep(LOCAL, str(root))
    next(walk)
    next(walk)
    assert len(os.listdir("/proc/self/fd")) == before
    del walk


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
@pytest.mark.parametrize("kind", ["link", "second name", "pipe"])
def test_what_has_the_canarys_name_is_not_written_to(root: Path, tmp_path: Path, kind: str) -> None:
    """Nor waited for: then there is no canary."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"not to be touched")
    path = root / CANARY
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "second name":
        path.hardlink_to(victim)
    else:
        os.mkfifo(path)
    watch = Watch(LOCAL, str(root), lambda: None)
    try:
        watch.check(0.0)
        watch.canary(0.0, 1.0, 0.0)
        assert (watch.canary_at, victim.read_bytes()) == (None, b"not to be touched")
    finally:
        watch.close()


def test_a_sweep_that_nobody_wants_leaves_nothing(root: Path) -> None:
    """Left off in the middle, no descriptor stays open."""
    for number in range(5):
        (root / f"{number}").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    walk = sweep(LOCAL, str(root))
    next(walk)
    next(walk)
    walk.close()
    assert len(os.listdir("/proc/self/fd")) == before
