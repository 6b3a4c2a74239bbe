"""Durable, exclusive, cold: what `agent.files.posix.durable` adds to Python's `os`."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.files import LOCAL
from agent.files.posix import durable as disk
from rules.model import Kind

LIBC = disk._libc


class NoLibrary:
    """A C library without the calls of Linux."""


class RefusingLibrary:
    """A C library whose calls the file system does not know (NFS and exclusive renames)."""

    def renameat2(self, *_: object) -> int:
        import ctypes

        ctypes.set_errno(errno.EINVAL)
        return -1

    syncfs = sync_file_range = renameat2


class Asked:
    """Notes what the system is asked, and has it done: calls of a C library, and those of `os` that bring data to storage."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, library: object) -> None:
        self.calls: list[tuple[object, ...]] = []
        if library is not None:
            monkeypatch.setattr(disk, "_libc", self._noting(library, "syncfs", "sync_file_range"))
        else:
            monkeypatch.setattr(disk, "_libc", None)
        for name in ("fsync", "posix_fadvise"):
            monkeypatch.setattr(os, name, self._noted(name, getattr(os, name)))

    def _noting(self, library: object, *names: str) -> object:
        return SimpleNamespace(
            **{name: self._noted(name, getattr(library, name)) for name in names if hasattr(library, name)}
        )

    def _noted(self, name: str, call: Callable[..., int]) -> Callable[..., int]:
        def noted(*arguments: object) -> int:
            self.calls.append((name, *(getattr(one, "value", one) for one in arguments)))
            return call(*arguments)

        return noted


class BrokenStorage:
    """A C library that tells of a storage which lost what it was to write."""

    def sync_file_range(self, *_: object) -> int:
        import ctypes

        ctypes.set_errno(errno.EIO)
        return -1


@pytest.fixture(params=["the kernel's exclusive rename", "links", "looking first"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of renaming exclusively that there may be."""
    if request.param != "the kernel's exclusive rename":
        monkeypatch.setattr(disk, "_libc", RefusingLibrary())
    if request.param == "looking first":

        def no_links(*_: object, **__: object) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", no_links)
    return str(request.param)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[int]:
    """A descriptor of the temporary directory."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_a_free_name_is_taken(tmp_path: Path, at: int, way: str) -> None:
    """The file, the very same, has the new name and no longer the old one."""
    (tmp_path / "old").write_bytes(b"x")
    inode = (tmp_path / "old").stat().st_ino
    disk.rename_new("old", "new", at, at)
    assert os.listdir(tmp_path) == ["new"]
    assert ((tmp_path / "new").stat().st_ino, (tmp_path / "new").stat().st_nlink) == (inode, 1)


def test_between_directories(tmp_path: Path, way: str) -> None:
    """Source and target may be in different directories, and their names may be any bytes."""
    name = os.fsdecode(b"\xff odd\n")
    for directory in ("one", "two"):
        (tmp_path / directory).mkdir()
    (tmp_path / "one" / name).write_bytes(b"x")
    one, two = (os.open(tmp_path / directory, os.O_RDONLY) for directory in ("one", "two"))
    try:
        disk.rename_new(name, name, one, two)
    finally:
        os.close(one)
        os.close(two)
    assert (os.listdir(tmp_path / "one"), os.listdir(tmp_path / "two")) == ([], [name])


@pytest.mark.parametrize("kind", ["file", "directory", "link", "broken link", "FIFO", "itself"])
def test_a_taken_name_is_never_overwritten(tmp_path: Path, at: int, way: str, kind: str) -> None:
    """Whatever has the name, a broken link too, keeps it, and so does the source."""
    (tmp_path / "old").write_bytes(b"mine")
    target = tmp_path / "new"
    match kind:
        case "file":
            target.write_bytes(b"theirs")
        case "directory":
            target.mkdir()
        case "link":
            target.symlink_to("old")
        case "broken link":
            target.symlink_to("nowhere")
        case "FIFO":
            os.mkfifo(target)
        case "itself":
            os.link(tmp_path / "old", target) if way != "looking first" else target.write_bytes(b"mine")
    before = os.lstat(target)
    with pytest.raises(FileExistsError):
        disk.rename_new("old", "new", at, at)
    after = os.lstat(target)
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert (tmp_path / "old").read_bytes() == b"mine"


def test_a_directory_is_renamed(tmp_path: Path, at: int, way: str) -> None:
    """Directories, which cannot be linked, are renamed too, and not onto one another."""
    (tmp_path / "old/sub").mkdir(parents=True)
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileExistsError):
        disk.rename_new("old", "taken", at, at)
    disk.rename_new("old", "new", at, at)
    assert sorted(os.listdir(tmp_path)) == ["new", "taken"]
    assert os.listdir(tmp_path / "new") == ["sub"]


def test_a_link_is_renamed_itself(tmp_path: Path, at: int, way: str) -> None:
    """A link that is renamed stays a link."""
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "old").symlink_to("target")
    disk.rename_new("old", "new", at, at)
    assert os.readlink(tmp_path / "new") == "target"
    assert sorted(os.listdir(tmp_path)) == ["new", "target"]


def test_a_missing_source_raises(tmp_path: Path, at: int, way: str) -> None:
    """What is not there cannot be renamed."""
    with pytest.raises(FileNotFoundError):
        disk.rename_new("old", "new", at, at)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("way", ["the kernel's exclusive rename", "links"], indirect=True)
def test_of_many_at_once_one_wins(tmp_path: Path, at: int, way: str) -> None:
    """Threads that want the same name at the same time: one gets it, the others keep what they have."""
    for number in range(200):
        start = threading.Barrier(4)
        won: list[int] = []

        def rename(mine: int, number: int = number, start: threading.Barrier = start, won: list[int] = won) -> None:
            (tmp_path / f"{number}-{mine}").write_bytes(b"%d" % mine)
            start.wait()
            try:
                disk.rename_new(f"{number}-{mine}", f"{number}", at, at)
                won.append(mine)
            except FileExistsError:
                pass  # another one won

        threads = [threading.Thread(target=rename, args=(mine,)) for mine in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert (tmp_path / f"{number}").read_bytes() == b"%d" % won[0]
        assert sorted(tmp_path.glob(f"{number}-*")) == [
            tmp_path / f"{number}-{mine}" for mine in range(4) if mine != won[0]
        ]


@pytest.mark.parametrize("library", [disk._libc, NoLibrary(), RefusingLibrary(), None])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_files_are_made_durable(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch, library: object, count: int
) -> None:
    """Few by fsync(2), many by one syncfs(2), or each by fsync(2) where there is none; then they are read back cold."""
    asked = Asked(monkeypatch, library)
    fds = []
    for number in range(count):
        fds.append(os.open(tmp_path / str(number), os.O_RDWR | os.O_CREAT))
        os.write(fds[-1], b"content")
    disk.make_durable(fds)
    whole = library is LIBC and hasattr(library, "syncfs")
    tried = [("syncfs", fd) for fd in (fds[:1] if whole else fds)] if hasattr(library, "syncfs") and count > 2 else []
    synced = [] if whole and count > 2 else [("fsync", fd) for fd in fds]
    assert sorted(asked.calls) == sorted([*tried, *synced])
    asked.calls.clear()
    disk.drop_cache(fds)
    disk.sync_directory(at)
    advised = [
        ("posix_fadvise", fd, 0, 0, advice) for advice in (os.POSIX_FADV_DONTNEED, os.POSIX_FADV_WILLNEED) for fd in fds
    ]
    assert asked.calls == [*advised, ("fsync", at)]
    assert [os.pread(fd, 100, 0) for fd in fds] == [b"content"] * count
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("library", [disk._libc, NoLibrary(), RefusingLibrary(), None])
def test_a_part_of_a_file_is_written_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    """Exactly that part: first without waiting, then with; and its cached pages are forgotten, once storage has it."""
    asked = Asked(monkeypatch, library)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"content" * 10_000)
    disk.begin_write_back(fd, 4096, 40_000)
    disk.end_write_back(fd, 4096, 40_000)
    begun, ended = ("sync_file_range", fd, 4096, 40_000, 2), ("sync_file_range", fd, 4096, 40_000, 1 | 2 | 4)
    forgotten = ("posix_fadvise", fd, 4096, 40_000, os.POSIX_FADV_DONTNEED)
    assert asked.calls == ([begun, ended, forgotten] if hasattr(library, "sync_file_range") else [])
    assert os.pread(fd, 100_000, 0) == b"content" * 10_000
    os.close(fd)


def test_an_error_while_writing_back_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of it once, so this is the only time to hear it."""
    monkeypatch.setattr(disk, "_libc", BrokenStorage())
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError, match="Input/output error"):
        disk.end_write_back(fd, 0, 10)
    os.close(fd)


def test_an_error_of_the_storage_is_not_swallowed(at: int) -> None:
    """What cannot be made durable raises: nobody may believe that it is."""
    read, write = os.pipe()
    try:
        for count in (1, 3):
            with pytest.raises(OSError, match=r"Invalid argument|Bad file descriptor"):
                disk.make_durable([999_999] * count if count == 3 else [write])
    finally:
        os.close(read)
        os.close(write)


def test_space_is_told(tmp_path: Path) -> None:
    """Free space is a fraction and a number of bytes, and unknown where there is no such path."""
    space = LOCAL.space(str(tmp_path))
    status = os.statvfs(tmp_path)
    assert space is not None
    assert space.fraction is not None
    assert 0 <= space.fraction <= 1
    assert 0 <= space.free <= status.f_blocks * status.f_frsize
    assert LOCAL.space(str(tmp_path / "missing")) is None


def test_a_file_system_without_blocks_has_no_fraction() -> None:
    """Where the file system counts no blocks the fraction is unknown, not zero."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc")
    space = LOCAL.space("/proc")
    assert space is not None
    assert space.fraction is None


def test_full_and_half_full(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """The fraction follows what is written."""
    code = "import sys\nfrom agent.files import LOCAL\nspace = LOCAL.space(sys.argv[1])\n"
    code += "print(round(space.fraction, 1), space.free)"
    fill = 'mount -t tmpfs -o size=1000k tmpfs "$1"; head -c "$2" /dev/zero > "$1/filler"'
    assert with_mounts(fill, code, tmp_path, "0") == "1.0 1024000\n"
    assert with_mounts(fill, code, tmp_path, "512000") == "0.5 512000\n"
    assert with_mounts(fill, code, tmp_path, "1024000") == "0.0 0\n"


@pytest.mark.parametrize("kind", ["nothing", "file", "link", "second name", "pipe"])
def test_a_fresh_file_is_nobody_elses(tmp_path: Path, kind: str) -> None:
    """Whatever has the name is left behind as it is: what a link leads to, another name of it, the end of a pipe."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"not to be touched")
    path = tmp_path / "name"
    if kind == "file":
        path.write_bytes(b"of a killed attempt")
    elif kind == "link":
        path.symlink_to(victim)
    elif kind == "second name":
        path.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    with LOCAL.tree(str(tmp_path)) as tree, tree.create("name") as handle:
        handle.write(b"ours", 0)
        assert handle.look().kind is Kind.FILE
    assert (path.read_bytes(), path.is_symlink(), victim.read_bytes()) == (b"ours", False, b"not to be touched")
