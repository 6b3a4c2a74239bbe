"""Opened part by part, and never through a link."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.files import ABSENT, Trouble, What
from agent.files.posix.tree import _OPEN_AT_MOST, PosixTree
from rules.model import Kind, Observation

NO_WAY = {What.NOT_A_DIRECTORY, What.LINK}


def inode(tree: PosixTree, path: str) -> int:
    """Of a directory, by its look and by what is in it."""
    seen = tree.look(path)
    assert isinstance(seen, Observation)
    assert seen.kind is Kind.DIRECTORY
    tree.names(path)
    return seen.version.file_id


def refused(act: Callable[..., object], *arguments: object) -> What:
    """What hinders it."""
    with pytest.raises(Trouble) as caught:
        act(*arguments)
    return caught.value.what


def test_a_path_leads_to_its_directory(tmp_path: Path) -> None:
    """The root, and directories at any depth below, are opened and can be asked for again."""
    deep = "/".join(f"d{number}" for number in range(2 * _OPEN_AT_MOST))
    (tmp_path / deep).mkdir(parents=True)
    with PosixTree(str(tmp_path)) as tree:
        assert tree.look("") == tree.opened
        for path in ("", "d0", "d0/d1", deep, "d0", deep):
            assert inode(tree, path) == (tmp_path / path).stat().st_ino
        for path in (f"{deep}/scan.dat", "scan.dat"):
            assert tree.look(path) is ABSENT
            tree.create(path).close()
            seen = tree.look(path)
            assert isinstance(seen, Observation)
            assert seen.version.file_id == (tmp_path / path).stat().st_ino


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    """Who configures a link means what it points to."""
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    with PosixTree(str(tmp_path / "link")) as tree:
        assert inode(tree, "sub") == (tmp_path / "real/sub").stat().st_ino


@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize("target", ["a directory outside", "a directory inside", "nothing"])
def test_a_link_below_is_never_followed(tmp_path: Path, depth: int, target: str) -> None:
    """A link at any depth, to wherever, raises Trouble, also where what is missing would be made."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    above = root.joinpath(*(f"d{number}" for number in range(depth)))
    above.mkdir(parents=True)
    (root / "inside/sub").mkdir(parents=True)
    (outside / "sub").mkdir(parents=True)
    (above / "link").symlink_to(
        {"a directory outside": outside, "a directory inside": root / "inside", "nothing": tmp_path / "nothing"}[target]
    )
    link = str((above / "link").relative_to(root))
    with PosixTree(str(root)) as tree:
        for path in (link, f"{link}/sub", f"{link}/made"):
            for act in (tree.names, tree.sync, lambda path: list(tree.scan(path, 10))):
                assert refused(act, path) in NO_WAY
            inside = f"{path}/scan.dat"
            for act in (tree.open, tree.create, tree.unlink, lambda path: tree.mark(path, b"")):
                assert refused(act, inside) in NO_WAY
            assert tree.look(inside) is ABSENT
    assert sorted(os.listdir(outside)) == ["sub"]
    assert os.listdir(outside / "sub") == os.listdir(root / "inside/sub") == []
    assert not (tmp_path / "nothing").exists()


def test_what_is_missing_is_made_where_asked(tmp_path: Path) -> None:
    """A missing directory is an error where names are read, and made where that is asked for."""
    with PosixTree(str(tmp_path)) as tree:
        assert refused(tree.names, "a/b/c") is What.ABSENT
        assert os.listdir(tmp_path) == []
        tree.make_directory("a/b/c")
        assert inode(tree, "a/b/c") == (tmp_path / "a/b/c").stat().st_ino


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """A file or FIFO in the way raises, and is not opened for long."""
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "FIFO")
    with PosixTree(str(tmp_path)) as tree:
        for path in ("file", "file/sub", "FIFO", "FIFO/sub"):
            assert refused(tree.names, path) is What.NOT_A_DIRECTORY
            assert refused(tree.create, f"{path}/scan.dat") is What.NOT_A_DIRECTORY


def test_many_make_the_same_directories_at_once(tmp_path: Path) -> None:
    """Threads that make the same directories at the same time all get them."""
    start = threading.Barrier(4)
    found: list[list[int]] = []

    def make() -> None:
        with PosixTree(str(tmp_path)) as tree:
            start.wait()
            mine: list[int] = []
            for number in range(50):
                tree.make_directory(f"{number}/a/b")
                mine.append(inode(tree, f"{number}/a/b"))
            found.append(mine)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[(tmp_path / f"{number}/a/b").stat().st_ino for number in range(50)]] * 4


def test_names_of_any_bytes(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, spaces and newlines are names like others."""
    name = os.fsdecode(b"\xff odd\n")
    with PosixTree(str(tmp_path)) as tree:
        tree.make_directory(f"{name}/sub")
        tree.create(f"{name}/sub/{name}").close()
        assert inode(tree, f"{name}/sub") == (tmp_path / name / "sub").stat().st_ino
        assert (tree.names(""), tree.names(f"{name}/sub")) == ([name], [name])


def test_a_swapped_directory_never_leads_outside(tmp_path: Path) -> None:
    """While somebody swaps a directory for a link to the outside and back, what is written never lands outside."""
    root, outside, swap = tmp_path / "root", tmp_path / "outside", tmp_path / "swap"
    (root / "a/b").mkdir(parents=True)
    (outside / "b").mkdir(parents=True)
    stop = threading.Event()
    swapped, written, hindered = 0, 0, 0

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
        while not (written > 100 and hindered > 100):
            try:
                with PosixTree(str(root)) as tree:
                    tree.mark("a/b/scan.dat", b"x")
                    written += 1
            except Trouble:
                hindered += 1
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
    with PosixTree(str(tmp_path)) as tree:
        for number in range(3 * _OPEN_AT_MOST):
            tree.make_directory(f"{number}/sub")
            tree.create(f"{number}/sub/scan.dat").close()
        assert refused(tree.names, "link") in NO_WAY
        assert refused(tree.names, "missing/sub") is What.ABSENT
        assert len(os.listdir("/proc/self/fd")) == before + 1 + _OPEN_AT_MOST
    assert len(os.listdir("/proc/self/fd")) == before
    assert refused(PosixTree, str(tmp_path / "missing")) is What.ABSENT
    assert refused(PosixTree, os.devnull) is What.NOT_A_DIRECTORY
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_evicted_directory_is_looked_up_again(tmp_path: Path) -> None:
    """A directory that fell out of the cache and was swapped for a link meanwhile is refused."""
    with PosixTree(str(tmp_path)) as tree:
        for name in ("first", *map(str, range(_OPEN_AT_MOST))):
            tree.make_directory(name)
            tree.create(f"{name}/scan.dat").close()
        (tmp_path / "first").rename(tmp_path / "former")
        (tmp_path / "first").symlink_to(tmp_path / "0")
        assert refused(tree.names, "first") in NO_WAY
        assert tree.look("first/scan.dat") is ABSENT


def test_a_directory_that_may_not_be_entered_raises(commons: Path, as_nobody: Callable[..., str]) -> None:
    """Missing permissions are a Trouble like others, and no look says that nothing is there."""
    (commons / "closed/sub").mkdir(parents=True)
    (commons / "closed").chmod(0)
    code = """
with LOCAL.tree(sys.argv[1]) as opened:
    try:
        opened.names("closed/sub")
    except Trouble as trouble:
        print(trouble.what.name, opened.look("closed/sub"))
"""
    try:
        assert as_nobody(code, commons) == "DENIED CannotTell(DENIED: Permission denied)\n"
    finally:
        (commons / "closed").chmod(0o700)
        shutil.rmtree(commons / "closed")


def test_a_root_that_is_another_directory_now_tells_nothing_of_names(tmp_path: Path) -> None:
    """What is not there below a root that was moved away, replaced or unmounted, may be there where it is now."""
    root = tmp_path / "root"
    root.mkdir()
    with PosixTree(str(root)) as tree:
        assert tree.look("scan.dat") is ABSENT
        root.rename(tmp_path / "moved")
        assert repr(tree.look("scan.dat")) == "CannotTell(ABSENT: No such file or directory)"
        root.mkdir()
        assert repr(tree.look("scan.dat")) == "CannotTell(STALE: another directory stands at the root)"
        root.rmdir()
        (tmp_path / "moved").rename(root)
        assert tree.look("scan.dat") is ABSENT
