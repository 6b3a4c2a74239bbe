"""Is a writer still there? Asked of the real kernel, with real writers in other processes."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.files.posix import writer_probe as probe
from rules.model import Observation, Version, Writer

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


@pytest.fixture
def file(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A file, open for reading as the agent opens it: (descriptor, path)."""
    path = tmp_path / "scan.dat"
    path.write_bytes(b"x" * 100)
    fd = os.open(path, probe.OPEN_FLAGS)
    yield fd, str(path)
    os.close(fd)


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
def test_no_writer(file: tuple[int, str]) -> None:
    """A file that nobody has open for writing is told to be free."""
    assert probe.writer(*file, remote=False) is Writer.NONE


@linux
@pytest.mark.parametrize("how", WRITERS)
def test_a_writer_is_seen_until_it_lets_go(
    file: tuple[int, str], other: Callable[[str, str], "subprocess.Popen[bytes]"], how: str
) -> None:
    """However another process has the file open for writing, it is seen, and no longer once it let go."""
    process = other(WRITERS[how], file[1])
    assert probe.writer(*file, remote=False) is Writer.OPEN
    assert probe.writer(*file, remote=True) is Writer.OPEN
    process.communicate()
    assert probe.writer(*file, remote=False) is Writer.NONE


@linux
@pytest.mark.parametrize("how", READERS)
def test_a_reader_is_no_writer(
    file: tuple[int, str], other: Callable[[str, str], "subprocess.Popen[bytes]"], how: str
) -> None:
    """Readers, their locks and their leases are not taken for writers."""
    other(READERS[how], file[1])
    assert probe.writer(*file, remote=False) is Writer.NONE


@linux
def test_a_writer_in_this_process_counts(file: tuple[int, str]) -> None:
    """The agent's own threads are no exception: whoever writes is a writer."""
    fd = os.open(file[1], os.O_WRONLY)
    assert probe.writer(*file, remote=False) is Writer.OPEN
    os.close(fd)
    assert probe.writer(*file, remote=False) is Writer.NONE


@linux
def test_the_probe_leaves_no_trace(file: tuple[int, str]) -> None:
    """After the question the lease is given back, a writer opens at once, and the file is as it was."""
    import fcntl

    before = os.stat(file[1])
    assert probe.writer(*file, remote=False) is Writer.NONE
    assert fcntl.fcntl(file[0], fcntl.F_GETLEASE) == fcntl.F_UNLCK
    os.close(os.open(file[1], os.O_WRONLY | os.O_NONBLOCK))
    after = os.stat(file[1])
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_atime_ns) == (
        before.st_mtime_ns, before.st_ctime_ns, before.st_atime_ns,
    )  # fmt: skip


@linux
def test_writers_that_come_while_it_asks_do_no_harm(file: tuple[int, str]) -> None:
    """A writer that opens and closes all the time is never held up for long, and never ends the process that asks."""
    code = "import os, sys\nwhile True: os.close(os.open(sys.argv[1], os.O_WRONLY)); print('.', end='', flush=True)"
    process = subprocess.Popen([sys.executable, "-S", "-c", code, file[1]], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        answers = set()
        for _ in range(200):
            assert process.stdout.read(1) == b"."
            answers |= {probe.writer(*file, remote=False) for _ in range(20)}
        assert answers <= {Writer.NONE, Writer.OPEN}
    finally:
        process.kill()
        process.communicate()


def test_a_remote_file_system_proves_no_absence(file: tuple[int, str]) -> None:
    """Where other machines may write, that no process here writes proves nothing."""
    assert probe.writer(*file, remote=True) is Writer.CANNOT_TELL


@linux
def test_without_preparation_no_lease_is_taken(file: tuple[int, str]) -> None:
    """While SIGIO would end the process, the probe does not ask, and cannot tell."""
    code = (
        "import fcntl, os, sys\nfrom agent.files.posix import writer_probe as probe\n"
        "fd = os.open(sys.argv[1], probe.OPEN_FLAGS)\n"
        "print(probe.writer(fd, sys.argv[1], remote=False).name, fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_UNLCK)\n"
        "probe.prepare()\n"
        "print(probe.writer(fd, sys.argv[1], remote=False).name)\n"
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
    code = "probe.prepare(); fd = os.open(sys.argv[1], probe.OPEN_FLAGS); print(probe.writer(fd, sys.argv[1], remote=False).name)"
    assert as_nobody(code, path) == "CANNOT_TELL\n"
    os.chown(path, 65534, 65534)
    assert as_nobody(code, path) == "NONE\n"


@linux
def test_a_file_system_without_leases_cannot_tell() -> None:
    """Where the file system knows no leases, the answer is that it cannot tell."""
    fd = os.open("/proc/self/status", probe.OPEN_FLAGS)
    try:
        assert probe.writer(fd, "/proc/self/status", remote=False) in (Writer.CANNOT_TELL, Writer.NONE)
    finally:
        os.close(fd)
    assert probe.writer(fd, "closed", remote=False) is Writer.CANNOT_TELL


class Kernel32:
    """As much of Windows as can be had elsewhere: what CreateFileW answers is given."""

    def __init__(self, handle: int | None) -> None:
        self.opened: list[tuple[Any, ...]] = []
        self.closed: list[int | None] = []
        self.CreateFileW = self._Function(lambda *arguments: (self.opened.append(arguments), handle)[1])
        self.CloseHandle = self._Function(lambda handle: self.closed.append(handle.value))

    class _Function:
        restype: Any = None

        def __init__(self, act: Callable[..., Any]) -> None:
            self._act = act

        def __call__(self, *arguments: Any) -> Any:
            return self._act(*arguments)


@pytest.mark.parametrize(
    ("handle", "error", "answer", "closed"),
    [
        (640, 0, Writer.NONE, [640]),
        (ctypes.c_void_p(-1).value, 32, Writer.OPEN, []),
        (ctypes.c_void_p(-1).value, 5, Writer.CANNOT_TELL, []),
    ],
)
def test_on_windows_an_open_that_denies_writing_tells(
    monkeypatch: pytest.MonkeyPatch, handle: int | None, error: int, answer: Writer, closed: list[int]
) -> None:
    """A sharing violation is a writer, another error tells nothing, and what could be opened is closed again."""
    kernel = Kernel32(handle)
    monkeypatch.setattr(ctypes, "WinDLL", lambda *_, **__: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: error, raising=False)
    assert probe._exclusive_open(3, r"C:\data\scan.dat") is answer
    read, share_read, existing = 0x80000000, 1, 3
    assert kernel.opened == [(r"C:\data\scan.dat", read, share_read, None, existing, 0, None)]
    assert kernel.closed == closed


def test_other_systems_cannot_tell(file: tuple[int, str]) -> None:
    """macOS and systems that nobody thought of have no probe: the quiet period rules."""
    assert probe._PLATFORM.get("darwin", probe._no_way)(*file) is Writer.CANNOT_TELL
    assert probe._PLATFORM.get("plan9", probe._no_way)(*file) is Writer.CANNOT_TELL


def test_an_observation_says_what_stands_there(tmp_path: Path) -> None:
    """Files, links, directories, FIFOs, sockets and devices are told apart, and the version is what the stat shows."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "FIFO")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket" if sys.platform == "linux" else str(tmp_path / "socket"))
        os.close(here)
    for kind in ("file", "directory", "link", "FIFO", "socket"):
        status = os.lstat(tmp_path / kind)
        version = Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        assert probe.observation(status) == Observation(version, status.st_dev, kind)
    assert probe.observation(os.stat(os.devnull)).kind == "device"


def test_a_version_always_fits_into_the_ledger(tmp_path: Path) -> None:
    """Times beyond 2262 and inode numbers of all 64 bits become numbers that SQLite can hold, and still tell files apart."""
    path = tmp_path / "scan.dat"
    path.write_bytes(b"x")
    os.utime(path, ns=(0, 10 * 2**60))
    if os.lstat(path).st_mtime_ns > 2**63:  # else the file system itself has no such times
        assert probe.version(os.lstat(path)).mtime_ns == 2**63 - 1
    fields = {"st_mtime_ns": -(2**70), "st_ctime_ns": 2**70}
    inodes = [2**64 - 1, 2**63, 2**63 - 1, 0]
    versions = [probe.version(os.stat_result((0o100644, inode, 1, 1, 0, 0, 5, 0, 0, 0), fields)) for inode in inodes]
    assert versions == [Version(5, -(2**63), 2**63 - 1, inode) for inode in (-1, -(2**63), 2**63 - 1, 0)]


def test_opening_never_follows_and_never_hangs(tmp_path: Path) -> None:
    """A link is not opened, and a FIFO without a writer does not hold the agent up."""
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "FIFO")
    with pytest.raises(OSError, match="symbolic links"):
        os.open(tmp_path / "link", probe.OPEN_FLAGS)
    os.close(os.open(tmp_path / "FIFO", probe.OPEN_FLAGS))


def test_a_file_is_born_once(tmp_path: Path) -> None:
    """Changes in place, other dates and names leave the birth; another file under the name is born later. No link is followed."""
    path = tmp_path / "a"
    path.write_bytes(b"first")
    born = probe.born(str(path))
    if born is None:
        pytest.skip("this file system does not tell")
    path.write_bytes(b"in place")
    os.utime(path, ns=(1, 1))
    path.rename(tmp_path / "b")
    (tmp_path / "b").rename(path)
    assert probe.born(str(path)) == born <= path.stat().st_ctime_ns
    changed = path.stat().st_ctime_ns
    (tmp_path / "link").symlink_to(path)
    path.unlink()
    assert probe.born(str(path)) is None
    while (again := probe.born(str(path))) is None or again == born:  # the clock of files ticks in milliseconds
        path.unlink(missing_ok=True)
        path.write_bytes(b"another")
    assert again >= changed
    assert (probe.born(str(tmp_path / "link")) or 0) >= changed
