"""Opened part by part, and never through a link."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.files.posix.tree import _OPEN_AT_MOST, Tree


def inode(fd: int) -> int:
    return os.fstat(fd).st_ino


def test_a_path_leads_to_its_directory(tmp_path: Path) -> None:
    """The root, and directories at any depth below, are opened and can be asked for again."""
    deep = "/".join(f"d{number}" for number in range(2 * _OPEN_AT_MOST))
    (tmp_path / deep).mkdir(parents=True)
    with Tree(str(tmp_path)) as tree:
        assert tree.directory("") == tree.fd
        for path in ("d0", "d0/d1", deep, "d0", deep):
            assert inode(tree.directory(path)) == (tmp_path / path).stat().st_ino
        directory, name = tree.place(f"{deep}/scan.dat")
        assert (inode(directory), name) == ((tmp_path / deep).stat().st_ino, "scan.dat")
        directory, name = tree.place("scan.dat")
        assert (inode(directory), name) == (tmp_path.stat().st_ino, "scan.dat")


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    """Who configures a link means what it points to."""
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    with Tree(str(tmp_path / "link")) as tree:
        assert inode(tree.directory("sub")) == (tmp_path / "real/sub").stat().st_ino


@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize("make", [False, True])
@pytest.mark.parametrize("target", ["a directory outside", "a directory inside", "nothing"])
def test_a_link_below_is_never_followed(tmp_path: Path, depth: int, make: bool, target: str) -> None:
    """A link at any depth, to wherever, raises OSError, also where what is missing would be made."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    above = root.joinpath(*(f"d{number}" for number in range(depth)))
    above.mkdir(parents=True)
    (root / "inside/sub").mkdir(parents=True)
    (outside / "sub").mkdir(parents=True)
    (above / "link").symlink_to(
        {"a directory outside": outside, "a directory inside": root / "inside", "nothing": tmp_path / "nothing"}[target]
    )
    link = str((above / "link").relative_to(root))
    with Tree(str(root)) as tree:
        for path in (link, f"{link}/sub", f"{link}/made"):
            with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
                tree.directory(path, make=make)
    assert sorted(os.listdir(outside)) == ["sub"]
    assert not (tmp_path / "nothing").exists()


def test_what_is_missing_is_made_where_asked(tmp_path: Path) -> None:
    """Without `make` a missing directory is an error, with it the directories are made."""
    with Tree(str(tmp_path)) as tree:
        with pytest.raises(FileNotFoundError):
            tree.directory("a/b/c")
        assert os.listdir(tmp_path) == []
        assert inode(tree.directory("a/b/c", make=True)) == (tmp_path / "a/b/c").stat().st_ino


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """A file or FIFO in the way raises, and is not opened for long."""
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "FIFO")
    with Tree(str(tmp_path)) as tree:
        for path in ("file", "file/sub", "FIFO", "FIFO/sub"):
            with pytest.raises(NotADirectoryError):
                tree.directory(path, make=True)


def test_many_make_the_same_directories_at_once(tmp_path: Path) -> None:
    """Threads that make the same directories at the same time all get them."""
    start = threading.Barrier(4)
    found: list[list[int]] = []

    def make() -> None:
        with Tree(str(tmp_path)) as tree:
            start.wait()
            found.append([inode(tree.directory(f"{number}/a/b", make=True)) for number in range(50)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[(tmp_path / f"{number}/a/b").stat().st_ino for number in range(50)]] * 4


def test_names_of_any_bytes(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, spaces and newlines are names like others."""
    name = os.fsdecode(b"\xff odd\n")
    with Tree(str(tmp_path)) as tree:
        assert inode(tree.directory(f"{name}/sub", make=True)) == (tmp_path / name / "sub").stat().st_ino


def test_a_swapped_directory_never_leads_outside(tmp_path: Path) -> None:
    """While somebody swaps a directory for a link to the outside and back, what is written never lands outside."""
    root, outside, swap = tmp_path / "root", tmp_path / "outside", tmp_path / "swap"
    (root / "a/b").mkdir(parents=True)
    (outside / "b").mkdir(parents=True)
    stop = threading.Event()
    swapped, written, refused = 0, 0, 0

    def swapper() -> None:
        nonlocal swapped
        while not stop.is_set():
            (root / "a").rename(swap)
            (root / "a").symlink_to(outside)
            swapped += 1
            (root / "a").unlink()
            swap.rename(root / "a")

    thread = threading.Thread(target=swapper)
    thread.start()
    try:
        while not (written > 100 and refused > 100):
            try:
                with Tree(str(root)) as tree:
                    directory, name = tree.place("a/b/scan.dat")
                    os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=directory))
                    written += 1
            except OSError:
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert swapped > 0
    assert os.listdir(outside / "b") == []
    assert os.listdir(root / "a/b") == ["scan.dat"]


def test_every_descriptor_is_given_back(tmp_path: Path) -> None:
    """However many directories were opened, made or refused, no more than the cache's are open, and none after the end."""
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "link").symlink_to(tmp_path)
    with Tree(str(tmp_path)) as tree:
        for number in range(3 * _OPEN_AT_MOST):
            tree.directory(f"{number}/sub", make=True)
        for path in ("link", "missing/sub"):
            with pytest.raises(OSError, match="directory"):
                tree.directory(path)
        assert len(os.listdir("/proc/self/fd")) == before + 1 + _OPEN_AT_MOST
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(FileNotFoundError):
        Tree(str(tmp_path / "missing"))
    with pytest.raises(NotADirectoryError):
        Tree(os.devnull)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_evicted_directory_is_looked_up_again(tmp_path: Path) -> None:
    """A directory that fell out of the cache and was swapped for a link meanwhile is refused."""
    with Tree(str(tmp_path)) as tree:
        tree.directory("first", make=True)
        for number in range(_OPEN_AT_MOST):
            tree.directory(str(number), make=True)
        (tmp_path / "first").rmdir()
        (tmp_path / "first").symlink_to(tmp_path / "0")
        with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
            tree.directory("first")


def test_a_directory_that_may_not_be_entered_raises(commons: Path, as_nobody: Callable[..., str]) -> None:
    """Missing permissions are an OSError like others."""
    (commons / "closed/sub").mkdir(parents=True)
    (commons / "closed").chmod(0)
    code = """
with tree.Tree(sys.argv[1]) as opened:
    try:
        opened.directory("closed/sub")
    except PermissionError:
        print("refused")
"""
    try:
        assert as_nobody(code, commons) == "refused\n"
    finally:
        (commons / "closed").chmod(0o700)
        shutil.rmtree(commons / "closed")
