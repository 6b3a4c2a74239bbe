"""Names: given, taken away, and never taken from somebody else."""

import ctypes
import errno
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agent.files import ABSENT, Trouble, What
from rules.model import Kind, Observation
from tests.contract.files.computers import Computer, Here

if sys.platform != "win32":
    from agent.files.posix import durable

TAKEN = ["file", "directory", "full directory", "link", "broken link", "FIFO", "hard link", "itself"]


class Refusing:
    """A C library whose calls the file system does not know, such as NFS of exclusive renames."""

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    syncfs = sync_file_range = renameat2


class Without:
    """A C library without the calls of Linux."""


class NoLinks:
    """`os` where the file system knows no links, such as FAT."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def link(self, *_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=["the kernel's exclusive rename", "no such call", "links", "looking first"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way of renaming exclusively that there may be. In memory there is one."""
    if sys.platform == "win32" and request.param != "the kernel's exclusive rename":
        pytest.skip("Windows has one way")
    if request.param != "the kernel's exclusive rename":
        monkeypatch.setattr(durable, "_libc", Without() if request.param == "no such call" else Refusing())
    if request.param == "looking first":
        monkeypatch.setattr(durable, "os", NoLinks())
    return str(request.param)


def take(computer: Computer, kind: str, path: str) -> None:
    """Something takes a name."""
    match kind:
        case "file":
            computer.write(path, b"theirs")
        case "directory":
            computer.directory(path)
        case "full directory":
            computer.directory(path)
            computer.write(f"{path}/inner", b"theirs")
        case "link":
            computer.link(path, "old")
        case "broken link":
            computer.link(path, "nowhere")
        case "FIFO":
            computer.special(path, Kind.FIFO)
        case "hard link":
            computer.write(f"{computer.outside}/file", b"theirs")
            computer.hard_link(path, f"{computer.outside}/file")
        case "itself":
            computer.hard_link(path, f"{computer.root}/old")


def test_a_free_name_is_taken(computer: Computer, way: str) -> None:
    """The very same file has the new name, and no longer the old one."""
    computer.write(f"{computer.root}/old", b"x")
    with computer.files.tree(computer.root) as tree:
        before = tree.look("old")
        tree.rename_new("old", "new")
        after = tree.look("new")
        assert isinstance(before, Observation)
        assert isinstance(after, Observation)
        assert after.version.file_id == before.version.file_id
        assert tree.look("old") is ABSENT
    assert (computer.names(computer.root), computer.read(f"{computer.root}/new")) == (["new"], b"x")


@pytest.mark.parametrize("kind", TAKEN)
def test_a_taken_name_is_never_overwritten(computer: Computer, way: str, kind: str) -> None:
    """Whatever has the name, a broken link too, keeps it, and so does the source."""
    if sys.platform == "win32" and kind == "itself":
        pytest.skip("Wine takes two names of one file for one")
    computer.write(f"{computer.root}/old", b"mine")
    take(computer, kind, f"{computer.root}/new")
    with computer.files.tree(computer.root) as tree:
        before = tree.look("new"), tree.look("old")
        with pytest.raises(Trouble) as raised:
            tree.rename_new("old", "new")
        assert raised.value.what is What.EXISTS
        assert (tree.look("new"), tree.look("old")) == before
    assert computer.read(f"{computer.root}/old") == b"mine"
    assert computer.kind(f"{computer.root}/nowhere") is None


def test_a_known_file_is_replaced(computer: Computer, way: str) -> None:
    """It is gone, and so is the other name."""
    computer.write(f"{computer.root}/old", b"mine")
    computer.write(f"{computer.root}/new", b"known")
    with computer.files.tree(computer.root) as tree:
        known = tree.look("new")
        assert isinstance(known, Observation)
        tree.replace_known("old", "new", known)
        tree.rename_new("new", "newer")
        computer.write(f"{computer.root}/old", b"again")
        tree.replace_known("old", "new", known)
    assert {name: computer.read(f"{computer.root}/{name}") for name in computer.names(computer.root)} == {
        "new": b"again", "newer": b"mine",
    }  # fmt: skip


@pytest.mark.parametrize("kind", [*TAKEN, "changed"])
def test_nothing_but_the_known_file_is_replaced(computer: Computer, way: str, kind: str) -> None:
    """What else has the name by now, or the same file with other content, keeps it, and so does the source."""
    computer.write(f"{computer.root}/old", b"mine")
    computer.write(f"{computer.root}/new", b"known")
    with computer.files.tree(computer.root) as tree:
        known = tree.look("new")
        assert isinstance(known, Observation)
        if kind == "changed":
            computer.write(f"{computer.root}/new", b"other")
        else:
            computer.rename(f"{computer.root}/new", f"{computer.outside}/new")
            take(computer, kind, f"{computer.root}/new")
        before = tree.look("new"), tree.look("old")
        with pytest.raises(Trouble) as raised:
            tree.replace_known("old", "new", known)
        assert raised.value.what is What.OTHER_VERSION
        assert (tree.look("new"), tree.look("old")) == before


@pytest.mark.parametrize("kind", ["file", "directory", "link", "broken link", "FIFO"])
def test_a_link_is_made_under_a_free_name_alone(computer: Computer, kind: str) -> None:
    """It leads wherever it is meant to, and replaces a link that is known alone."""
    take(computer, kind, f"{computer.root}/taken")
    with computer.files.tree(computer.root) as tree:
        try:
            tree.make_link("new", "../else/\udcff")
        except Trouble as trouble:
            if trouble.what is What.UNSUPPORTED:
                pytest.skip("this platform makes no links")
            raise
        seen, before = tree.look("new"), tree.look("taken")
        assert isinstance(seen, Observation)
        assert (seen.kind, tree.target("new")) == (Kind.LINK, "../else/\udcff")
        with pytest.raises(Trouble) as raised:
            tree.make_link("taken", "new")
        assert (raised.value.what, tree.look("taken")) == (What.EXISTS, before)
        tree.make_link("other", "file")
        tree.replace_known("other", "new", seen)
        assert tree.target("new") == "file"
    assert computer.names(computer.root) == ["new", "taken"]


@pytest.mark.parametrize("kind", ["directory", "full directory", "link", "broken link", "FIFO"])
def test_what_is_no_file_is_renamed_itself(computer: Computer, way: str, kind: str) -> None:
    """Links stay links, and directories, which cannot be linked, keep what is in them. None is renamed onto another."""
    computer.write(f"{computer.root}/old", b"")
    take(computer, kind, f"{computer.root}/one")
    take(computer, kind, f"{computer.root}/taken")
    with computer.files.tree(computer.root) as tree:
        seen = tree.look("one")
        with pytest.raises(Trouble) as raised:
            tree.rename_new("one", "taken")
        assert raised.value.what is What.EXISTS
        tree.rename_new("one", "new")
        renamed = tree.look("new")
        assert isinstance(seen, Observation)
        assert isinstance(renamed, Observation)
        assert (renamed.kind, renamed.version.file_id) == (seen.kind, seen.version.file_id)
        if kind == "full directory":
            assert tree.names("new") == ["inner"]
    assert computer.names(computer.root) == ["new", "old", "taken"]


@pytest.mark.parametrize("kind", ["file", "link", "broken link", "FIFO", "hard link"])
def test_a_file_replaces_what_is_no_directory(computer: Computer, kind: str) -> None:
    """The name is the new file's; what a link led to, and other names of the former file, stay."""
    computer.write(f"{computer.root}/old", b"mine")
    computer.write(f"{computer.root}/mine", b"new content")
    take(computer, kind, f"{computer.root}/new")
    with computer.files.tree(computer.root) as tree:
        tree.replace("mine", "new")
    assert computer.kind(f"{computer.root}/new") is Kind.FILE
    assert computer.read(f"{computer.root}/new") == b"new content"
    assert computer.read(f"{computer.root}/old") == b"mine"
    assert computer.names(computer.root) == ["new", "old"]
    if kind == "hard link":
        assert computer.read(f"{computer.outside}/file") == b"theirs"


@pytest.mark.parametrize("kind", ["directory", "full directory"])
def test_a_file_does_not_replace_a_directory(computer: Computer, kind: str) -> None:
    """Both stay."""
    computer.write(f"{computer.root}/mine", b"x")
    take(computer, kind, f"{computer.root}/new")
    with computer.files.tree(computer.root) as tree:
        with pytest.raises(Trouble) as raised:
            tree.replace("mine", "new")
        assert raised.value.what is What.DIRECTORY
        with pytest.raises(Trouble) as raised:
            tree.replace("new", "mine")
        assert raised.value.what is What.NOT_A_DIRECTORY
    assert computer.names(computer.root) == ["mine", "new"]


@pytest.mark.parametrize("operation", ["rename_new", "replace"])
def test_names_in_other_directories(computer: Computer, way: str, operation: str) -> None:
    """What is missing above the new name is made, what is missing above the old one is not; names are any bytes."""
    odd = "odd" if sys.platform == "win32" else os.fsdecode(b"\xff odd\n")
    computer.directory(f"{computer.root}/one")
    computer.write(f"{computer.root}/one/{odd}", b"x")
    with computer.files.tree(computer.root) as tree:
        rename = getattr(tree, operation)
        rename(f"one/{odd}", f"two/three/{odd}")
        assert (tree.names("one"), tree.names("two/three")) == ([], [odd])
        for source, what in (("missing", What.ABSENT), ("missing/file", What.ABSENT), ("one/missing", What.ABSENT)):
            with pytest.raises(Trouble) as raised:
                rename(source, "four/new")
            assert raised.value.what is what
        with pytest.raises(Trouble) as raised:
            rename("two", "two/three/inside itself")
        assert raised.value.what is What.NAME_REFUSED
        with pytest.raises(Trouble) as raised:
            rename(f"two/three/{odd}", "x" * 256)
        assert raised.value.what is What.NAME_TOO_LONG
    assert computer.read(f"{computer.root}/two/three/{odd}") == b"x"


@pytest.mark.parametrize("way", ["the kernel's exclusive rename", "links"], indirect=True)
def test_of_many_at_once_one_wins(here: Here, way: str) -> None:
    """Threads that want the same name at the same time: one gets it, the others keep what they have."""
    for number in range(50):
        start = threading.Barrier(4)
        won: list[int] = []

        def rename(mine: int, number: int = number, start: threading.Barrier = start, won: list[int] = won) -> None:
            here.write(f"{here.root}/{number}-{mine}", b"%d" % mine)
            with here.files.tree(here.root) as tree:
                start.wait()
                try:
                    tree.rename_new(f"{number}-{mine}", f"{number}")
                    won.append(mine)
                except Trouble as trouble:
                    assert trouble.what is What.EXISTS  # noqa: PT017

        threads = [threading.Thread(target=rename, args=(mine,)) for mine in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert here.read(f"{here.root}/{number}") == b"%d" % won[0]
        left = [name for name in here.names(here.root) if name.startswith(f"{number}-")]
        assert left == [f"{number}-{mine}" for mine in range(4) if mine != won[0]]


@pytest.mark.parametrize("kind", ["file", "link", "broken link", "FIFO", "hard link"])
def test_a_name_is_taken_away(computer: Computer, kind: str) -> None:
    """The name, and nothing else: not what a link leads to, not other names."""
    computer.write(f"{computer.root}/old", b"kept")
    take(computer, kind, f"{computer.root}/name")
    with computer.files.tree(computer.root) as tree:
        tree.unlink("name")
        assert tree.look("name") is ABSENT
        with pytest.raises(Trouble) as raised:
            tree.unlink("name")
        assert raised.value.what is What.ABSENT
    assert computer.read(f"{computer.root}/old") == b"kept"
    if kind == "hard link":
        assert computer.read(f"{computer.outside}/file") == b"theirs"


@pytest.mark.parametrize(
    ("path", "unlink", "remove"),
    [
        ("directory", What.DIRECTORY, None), ("full", What.DIRECTORY, What.NOT_EMPTY),
        ("file", None, What.NOT_A_DIRECTORY), ("link", None, What.NOT_A_DIRECTORY),
        ("missing", What.ABSENT, What.ABSENT), ("file/below", What.NOT_A_DIRECTORY, What.NOT_A_DIRECTORY),
        ("missing/x", What.ABSENT, What.ABSENT),
    ],
)  # fmt: skip
def test_files_and_directories_are_removed_each_by_its_own(
    computer: Computer, path: str, unlink: What | None, remove: What | None
) -> None:
    """Neither removes what the other is for, and no directory goes that is not empty."""
    computer.directory(f"{computer.root}/directory")
    computer.directory(f"{computer.root}/full/inner")
    computer.write(f"{computer.root}/file", b"x")
    computer.link(f"{computer.root}/link", "full")
    with computer.files.tree(computer.root) as tree:
        for act, what in ((tree.unlink, unlink), (tree.remove_directory, remove)):
            before = tree.look(path)
            if what is None:
                act(path)
                assert tree.look(path) is ABSENT
                break
            with pytest.raises(Trouble) as raised:
                act(path)
            assert raised.value.what is what
            assert tree.look(path) == before
    assert computer.kind(f"{computer.root}/full/inner") is Kind.DIRECTORY


def test_directories_are_made(computer: Computer) -> None:
    """All that is missing, again and again; what is no directory is an obstacle."""
    computer.write(f"{computer.root}/file", b"x")
    computer.special(f"{computer.root}/FIFO", Kind.FIFO)
    with computer.files.tree(computer.root) as tree:
        for _ in range(2):
            tree.make_directory("a/b/c")
            tree.make_directory("")
        assert tree.names("a/b") == ["c"]
        for path in ("file", "file/sub", "FIFO", "FIFO/sub"):
            with pytest.raises(Trouble) as raised:
                tree.make_directory(path)
            assert raised.value.what is What.NOT_A_DIRECTORY
        assert tree.writable()


def test_many_make_the_same_directories_at_once(here: Here) -> None:
    """Threads that make the same directories at the same time all get them."""
    start = threading.Barrier(4)
    found: list[list[int]] = []

    def make() -> None:
        with here.files.tree(here.root) as tree:
            start.wait()
            for number in range(50):
                tree.make_directory(f"{number}/a/b")
            looks = [tree.look(f"{number}/a/b") for number in range(50)]
            found.append([look.version.file_id for look in looks if isinstance(look, Observation)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[os.stat(f"{here.root}/{number}/a/b").st_ino for number in range(50)]] * 4


# Lists


def test_a_scan_shows_what_a_look_shows(computer: Computer) -> None:
    """Each entry once, as `look` has it; directories by name; so many entries at a time."""
    for number in range(7):
        computer.write(f"{computer.root}/file {number}", b"x" * number)
    computer.directory(f"{computer.root}/directory")
    computer.directory(f"{computer.root}/.hidden")
    computer.link(f"{computer.root}/link", "directory")
    computer.link(f"{computer.root}/broken", "nowhere")
    computer.special(f"{computer.root}/FIFO", Kind.FIFO)
    computer.special(f"{computer.root}/socket", Kind.SOCKET)
    with computer.files.tree(computer.root) as tree:
        for most in (1, 2, 3, 11, 12, 1000):
            listed = list(tree.scan("", most))
            assert [one.last for one in listed] == [False] * (len(listed) - 1) + [True]
            assert all(len(one.entries) <= most and one.volume == tree.opened.volume for one in listed)
            entries = [item for one in listed for item in one.entries.items()]
            shown = {}
            for (name, size, mtime_ns, ctime_ns, file_id, volume), kind in entries:
                shown[os.fsdecode(name)] = (size, mtime_ns, ctime_ns, file_id), volume, kind
            assert len(entries) == len(shown) == 11
            assert shown == {name: tree.look(name) for name in shown}
            assert sorted(name for one in listed for name in one.directories) == [".hidden", "directory"]
        assert sorted(tree.names("")) == computer.names(computer.root)


def test_an_empty_directory_is_listed(computer: Computer) -> None:
    """It has nothing, and that is all."""
    computer.directory(f"{computer.root}/empty")
    with computer.files.tree(computer.root) as tree:
        (listed,) = tree.scan("empty", 5)
        assert (listed.entries, listed.directories, listed.last, tree.names("empty")) == ({}, [], True, [])


@pytest.mark.parametrize(
    ("path", "what"),
    [("missing", What.ABSENT), ("file", What.NOT_A_DIRECTORY), ("FIFO", What.NOT_A_DIRECTORY)],
)
def test_what_is_no_directory_has_no_list(computer: Computer, path: str, what: What) -> None:
    """Nothing is listed, rather than an empty list."""
    computer.write(f"{computer.root}/file", b"x")
    computer.special(f"{computer.root}/FIFO", Kind.FIFO)
    with computer.files.tree(computer.root) as tree:
        acts: list[Callable[[], Any]] = [
            lambda: tree.names(path), lambda: list(tree.scan(path, 10)), lambda: tree.sync(path),
            lambda: tree.sync_volumes([path]),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(Trouble) as raised:
                act()
            assert raised.value.what is what


def test_a_scan_that_is_left_leaves_nothing_open(computer: Computer) -> None:
    """Who has seen enough stops."""
    for number in range(10):
        computer.write(f"{computer.root}/{number}")
    with computer.files.tree(computer.root) as tree:
        before = computer.is_open()
        for listed in tree.scan("", 2):
            assert len(listed.entries) == 2
            break
        assert computer.is_open() == before


def test_a_scan_goes_on_whatever_else_the_tree_is_asked(computer: Computer) -> None:
    """However many directories are opened between two parts of it."""
    for name in ("long", *map(str, range(100))):
        computer.directory(f"{computer.root}/{name}")
    for number in range(4):
        computer.write(f"{computer.root}/long/{number}", b"xy")
    for number in range(100):
        computer.write(f"{computer.root}/{number}/{number % 4}", b"x")
    sizes = []
    with computer.files.tree(computer.root) as tree:
        for part in tree.scan("long", 1):
            sizes += [size for _, size, *_ in part.entries]
            for number in range(100):
                tree.names(str(number))
    assert sizes == [2] * 4


def test_what_comes_and_goes_during_a_scan_does_not_end_it(computer: Computer) -> None:
    """What stays is listed."""
    for number in range(30):
        computer.write(f"{computer.root}/stays {number}")
        computer.write(f"{computer.root}/goes {number}")
    with computer.files.tree(computer.root) as tree:
        found: set[bytes] = set()
        for step, listed in enumerate(tree.scan("", 1)):
            found |= {entry[0] for entry in listed.entries}
            if step < 30:
                computer.remove(f"{computer.root}/goes {step}")
                computer.write(f"{computer.root}/comes {step}")
        assert {b"stays %d" % number for number in range(30)} <= found


@pytest.mark.skipif(sys.platform == "win32", reason="it counts calls of fsync")
def test_a_directory_that_was_made_is_durable_with_what_is_in_it(here: "Here", monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing the names in a directory makes its own name durable, and those above, once; what was there is not synced."""
    here.directory(f"{here.root}/old")
    synced: list[str] = []
    monkeypatch.setattr(
        durable,
        "sync_directory",
        lambda fd: synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), here.root)),
    )
    with here.files.tree(here.root) as tree:
        for path in ("old/a/b", "old/c"):
            tree.make_directory(path)
            tree.create(f"{path}/file").close()
        for path in ("old/a/b", "old/a/b", "old/c"):
            tree.sync(path)
    assert synced == ["old/a/b", "old/a", "old", "old/a/b", "old/c"]
