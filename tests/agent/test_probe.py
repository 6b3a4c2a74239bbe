"""Is a writer still there? Asked of the real kernel, with real writers in other processes."""

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.files import ABSENT, LOCAL, Handle, NotAFile
from agent.files.posix import writer_probe as probe
from agent.files.posix.handle import PosixHandle
from agent.files.posix.observing import observation
from rules.model import FileId, Kind, Observation, Version, VolumeId, Writer

linux = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")

WRITERS = {
    "O_WRONLY": "held = os.open(path, os.O_WRONLY)",
    "O_WRONLY|O_APPEND": "held = os.open(path, os.O_WRONLY | os.O_APPEND)",
    "O_RDWR": "held = os.open(path, os.O_RDWR)",
    "another name": "os.link(path, path + '.link'); held = os.open(path + '.link', os.O_WRONLY)",
    "passed on": "held = os.dup(os.open(path, os.O_WRONLY)); os.closerange(3, held)",
    "mapped, descriptor closed": (
        "fd = os.open(path, os.O_RDWR); held = mmap.mmap(fd, 0, mmap.MAP_SHARED); os.close(fd); os.closerange(3, 100)"
    ),
}
READERS = {
    "O_RDONLY": "held = os.open(path, os.O_RDONLY)",
    "mapped for reading": "fd = os.open(path, os.O_RDONLY); held = mmap.mmap(fd, 0, prot=mmap.PROT_READ); os.close(fd)",
    "locked": "held = os.open(path, os.O_RDONLY); fcntl.flock(held, fcntl.LOCK_EX)",
    "its own lease": "held = os.open(path, os.O_RDONLY); fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_RDLCK)",
}


Opened = tuple[Handle, str]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Opened]:
    """A file, open for reading as the agent opens it, and its path."""
    path = tmp_path / "scan.dat"
    path.write_bytes(b"x" * 100)
    with LOCAL.tree(str(tmp_path)) as tree, tree.open("scan.dat") as handle:
        yield handle, str(path)


def as_remote(handle: Handle) -> Writer:
    """What the probe says of it where other machines may write."""
    assert isinstance(handle, PosixHandle)
    return probe.writer(handle.fd, remote=True)


@pytest.fixture
def other() -> Iterator[Callable[[str, str], "subprocess.Popen[bytes]"]]:
    """Starts a process that does something with a path and holds it until its input is closed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str, path: str) -> "subprocess.Popen[bytes]":
        code = f"import fcntl, mmap, os, sys; path = sys.argv[1]; {code}; print(flush=True); sys.stdin.read()"
        command = [sys.executable, "-P", "-S", "-c", code, path]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        return process

    yield start
    for process in started:
        process.communicate()


@linux
def test_no_writer(file: Opened) -> None:
    """A file that nobody has open for writing is told to be free."""
    assert file[0].writer() is Writer.NONE


@linux
@pytest.mark.parametrize("how", WRITERS)
def test_a_writer_is_seen_until_it_lets_go(
    file: Opened, other: Callable[[str, str], "subprocess.Popen[bytes]"], how: str
) -> None:
    """However another process has the file open for writing, it is seen, and no longer once it let go."""
    process = other(WRITERS[how], file[1])
    assert file[0].writer() is Writer.OPEN
    assert as_remote(file[0]) is Writer.OPEN
    process.communicate()
    assert file[0].writer() is Writer.NONE


@linux
@pytest.mark.parametrize("how", READERS)
def test_a_reader_is_no_writer(file: Opened, other: Callable[[str, str], "subprocess.Popen[bytes]"], how: str) -> None:
    """Readers, their locks and their leases are not taken for writers."""
    other(READERS[how], file[1])
    assert file[0].writer() is Writer.NONE


@linux
def test_a_writer_in_this_process_counts(file: Opened) -> None:
    """The agent's own threads are no exception: whoever writes is a writer."""
    fd = os.open(file[1], os.O_WRONLY)
    assert file[0].writer() is Writer.OPEN
    os.close(fd)
    assert file[0].writer() is Writer.NONE


@linux
def test_the_probe_leaves_no_trace(file: Opened) -> None:
    """After the question the lease is given back, a writer opens at once, and the file is as it was."""
    import fcntl

    before = os.stat(file[1])
    assert file[0].writer() is Writer.NONE
    assert isinstance(file[0], PosixHandle)
    assert fcntl.fcntl(file[0].fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK
    os.close(os.open(file[1], os.O_WRONLY | os.O_NONBLOCK))
    after = os.stat(file[1])
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_atime_ns) == (
        before.st_mtime_ns, before.st_ctime_ns, before.st_atime_ns,
    )  # fmt: skip


@linux
def test_writers_that_come_while_it_asks_do_no_harm(file: Opened) -> None:
    """A writer that opens and closes all the time is never held up for long, and never ends the process that asks."""
    code = "import os, sys\nwhile True: os.close(os.open(sys.argv[1], os.O_WRONLY)); print('.', end='', flush=True)"
    process = subprocess.Popen([sys.executable, "-S", "-c", code, file[1]], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        answers = set()
        for _ in range(200):
            assert process.stdout.read(1) == b"."
            answers |= {file[0].writer() for _ in range(20)}
        assert answers <= {Writer.NONE, Writer.OPEN}
    finally:
        process.kill()
        process.communicate()


def test_a_remote_file_system_proves_no_absence(file: Opened) -> None:
    """Where other machines may write, that no process here writes proves nothing."""
    assert as_remote(file[0]) is Writer.CANNOT_TELL


@linux
def test_without_preparation_no_lease_is_taken(file: Opened) -> None:
    """While SIGIO would end the process, the probe does not ask, and cannot tell."""
    code = (
        "import fcntl, os, sys\nfrom agent.files import LOCAL\n"
        "handle = LOCAL.tree(os.path.dirname(sys.argv[1])).open(os.path.basename(sys.argv[1]))\n"
        "print(handle.writer().name, fcntl.fcntl(handle.fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK)\n"
        "LOCAL.prepare()\n"
        "print(handle.writer().name)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, file[1]], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "CANNOT_TELL True\nNONE\n"


@linux
def test_prepared_a_broken_lease_does_not_end_the_process() -> None:
    """The signal that tells of a broken lease is ignored."""
    assert signal.getsignal(signal.SIGIO) is signal.SIG_IGN


@linux
def test_who_does_not_own_the_file_cannot_tell(commons: Path, as_nobody: Callable[..., str]) -> None:
    """Leases are for owners: for the files of others the quiet period rules."""
    if os.geteuid() != 0:
        pytest.skip("needs two users: run as root")
    path = commons / "scan.dat"
    path.write_bytes(b"x")
    code = "LOCAL.prepare(); print(LOCAL.tree(sys.argv[1]).open('scan.dat').writer().name)"
    assert as_nobody(code, commons) == "CANNOT_TELL\n"
    os.chown(path, 65534, 65534)
    assert as_nobody(code, commons) == "NONE\n"


@linux
def test_a_file_system_without_leases_cannot_tell() -> None:
    """Where the file system knows no leases, the answer is that it cannot tell."""
    with LOCAL.tree("/proc/self") as tree, tree.open("status") as handle:
        assert handle.writer() in (Writer.CANNOT_TELL, Writer.NONE)
    assert probe.writer(999_999, remote=False) is Writer.CANNOT_TELL


def test_other_systems_cannot_tell(file: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS and systems that nobody thought of have no probe: the quiet period rules."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert file[0].writer() is Writer.CANNOT_TELL


def test_an_observation_says_what_stands_there(tmp_path: Path) -> None:
    """Files, links, directories, FIFOs, sockets and devices are distinguished, and the version is what the stat shows."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "FIFO")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket" if sys.platform == "linux" else str(tmp_path / "socket"))
        os.close(here)
    with LOCAL.tree(str(tmp_path)) as tree:
        for kind in (Kind.FILE, Kind.DIRECTORY, Kind.LINK, Kind.FIFO, Kind.SOCKET):
            status = os.lstat(tmp_path / kind)
            version = Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, FileId(status.st_ino))
            seen = Observation(version, tree.opened.volume, kind)
            assert (tree.look(kind), LOCAL.look(str(tmp_path / kind))) == (seen, seen)
    device = LOCAL.look(os.devnull)
    assert isinstance(device, Observation)
    assert device.kind is Kind.DEVICE
    assert LOCAL.look(str(tmp_path / "missing")) is ABSENT


def test_a_version_always_fits_into_the_ledger(tmp_path: Path) -> None:
    """Times beyond 2262 and inode numbers of all 64 bits become numbers that SQLite can hold, and still tell files apart."""
    path = tmp_path / "scan.dat"
    path.write_bytes(b"x")
    os.utime(path, ns=(0, 10 * 2**60))
    if os.lstat(path).st_mtime_ns > 2**63:  # else the file system itself has no such times
        assert observation(os.lstat(path), VolumeId(0)).version.mtime_ns == 2**63 - 1
        with LOCAL.tree(str(tmp_path)) as tree:
            (listed,) = tree.scan("", 10)
        assert [mtime_ns for _, _, mtime_ns, *_ in listed.entries] == [2**63 - 1]
    fields = {"st_mtime_ns": -(2**70), "st_ctime_ns": 2**70}
    inodes = [2**64 - 1, 2**63, 2**63 - 1, 0]
    versions = [
        observation(os.stat_result((0o100644, inode, 1, 1, 0, 0, 5, 0, 0, 0), fields), VolumeId(0)).version
        for inode in inodes
    ]
    assert versions == [Version(5, -(2**63), 2**63 - 1, FileId(inode)) for inode in (-1, -(2**63), 2**63 - 1, 0)]


def test_opening_never_follows_and_never_hangs(tmp_path: Path) -> None:
    """A link is not opened, nor a FIFO, which would be held up without a writer, also where a look showed a file before."""
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "FIFO")
    with LOCAL.tree(str(tmp_path)) as tree:
        seen = tree.look("file")
        assert isinstance(seen, Observation)
        for name, before in itertools.product(("link", "FIFO"), (None, seen)):
            with pytest.raises(NotAFile, match=name):
                tree.open(name, before)


def test_a_file_is_born_once(tmp_path: Path) -> None:
    """Changes in place, other dates and names leave the birth; another file under the name is born later. No link is followed."""
    path = tmp_path / "a"
    path.write_bytes(b"first")
    with LOCAL.tree(str(tmp_path)) as tree:
        born = tree.born("a")
        if born is None:
            pytest.skip("this file system does not tell")
        path.write_bytes(b"in place")
        os.utime(path, ns=(1, 1))
        path.rename(tmp_path / "b")
        (tmp_path / "b").rename(path)
        assert tree.born("a") == born <= path.stat().st_ctime_ns
        changed = path.stat().st_ctime_ns
        (tmp_path / "link").symlink_to(path)
        path.unlink()
        assert tree.born("a") is None
        while (again := tree.born("a")) is None or again == born:  # the clock of files ticks in milliseconds
            path.unlink(missing_ok=True)
            path.write_bytes(b"another")
        assert again >= changed
        assert (tree.born("link") or 0) >= changed
