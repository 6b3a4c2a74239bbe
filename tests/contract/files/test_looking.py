"""What has a name: it is there, it is not there, or that cannot be told."""

import os
import sys

import pytest

from agent.files import ABSENT, CannotTell, Trouble, What
from agent.files.absence import look_on
from rules.model import Kind, Observation, VolumeId
from tests.contract.files.computers import Computer, InMemory

ODD = [b"\xff\xfe", b"a b", b"line\nbreak", "ü\N{MICROSCOPE}".encode(), b"-rf", b"*?[", b"\\", b"'\"", b" ", b"\x01"]
IMPOSSIBLE = ["a\0b", "\ud800", "..", "d/..", "../outside/file", "d/../file", "\0/file"]


def furnish(computer: Computer) -> None:
    """One of each kind, and a directory with a file."""
    computer.write(f"{computer.root}/file", b"12345")
    computer.directory(f"{computer.root}/directory")
    computer.write(f"{computer.root}/directory/inner", b"1")
    computer.link(f"{computer.root}/link", "file")
    computer.special(f"{computer.root}/FIFO", Kind.FIFO)
    computer.special(f"{computer.root}/socket", Kind.SOCKET)
    computer.write(f"{computer.outside}/file", b"of somebody else")


def test_a_look_shows_what_stands_there(computer: Computer) -> None:
    """Files, links, directories, FIFOs and sockets are distinguished, and nothing is followed."""
    furnish(computer)
    with computer.files.tree(computer.root) as tree:
        for kind in ("file", "directory", "link", "FIFO", "socket"):
            seen = tree.look(kind)
            assert isinstance(seen, Observation)
            assert (seen.kind, seen.volume) == (Kind(kind), tree.opened.volume)
            assert computer.files.look(f"{computer.root}/{kind}") == seen
        inner = tree.look("directory/inner")
        assert isinstance(inner, Observation)
        assert inner.version.size == 1
        assert tree.target("link") == "file"
        with pytest.raises(Trouble):
            tree.target("nothing")
        assert tree.look("") == tree.opened
        assert tree.opened.kind is Kind.DIRECTORY


def test_a_look_shows_the_version(computer: Computer) -> None:
    """Size, times and id are those of the open file; each change of the file shows, other dates too."""
    path = f"{computer.root}/file"
    computer.write(path, b"12345")
    with computer.files.tree(computer.root) as tree:
        first = tree.look("file")
        assert isinstance(first, Observation)
        assert first.version.size == 5
        with tree.open("file") as handle:
            assert handle.opened == first == handle.look()
        computer.set_mtime(path, 10**18)
        dated = tree.look("file")
        assert isinstance(dated, Observation)
        assert (dated.version.mtime_ns, dated.version.file_id) == (10**18, first.version.file_id)
        assert dated.version.ctime_ns >= first.version.ctime_ns
        pen = computer.pen(path)
        pen.write(b"6")
        pen.close()
        longer = tree.look("file")
        assert isinstance(longer, Observation)
        assert (longer.version.size, longer.version.file_id) == (6, first.version.file_id)


@pytest.mark.parametrize(
    "path", ["missing", "missing/file", "directory/missing", "file/below", "file/below/that", "FIFO/x", "socket/x"]
)
def test_what_is_not_there_is_absent(computer: Computer, path: str) -> None:
    """Nothing has the name, or a part of the path is no directory."""
    furnish(computer)
    with computer.files.tree(computer.root) as tree:
        assert tree.look(path) is ABSENT
        assert tree.born(path) is None
    assert computer.files.look(f"{computer.root}/{path}") is ABSENT


@pytest.mark.parametrize("target", ["outside", "inside", "nothing", "itself"])
@pytest.mark.parametrize("depth", [0, 1, 5])
def test_nothing_is_behind_a_link(computer: Computer, target: str, depth: int) -> None:
    """A link at any depth, to wherever, is a link; below it there is nothing, and nothing can be made."""
    furnish(computer)
    above = "".join(f"d{number}/" for number in range(depth))
    computer.directory(f"{computer.root}/{above}")
    computer.directory(f"{computer.outside}/directory")
    computer.write(f"{computer.outside}/directory/inner", b"theirs")
    targets = {
        "outside": f"{computer.outside}/directory", "inside": f"{computer.root}/directory",
        "nothing": f"{computer.outside}/nothing", "itself": "link to",
    }  # fmt: skip
    computer.link(f"{computer.root}/{above}link to", targets[target])
    computer.write(f"{computer.root}/mine", b"mine")
    path = f"{above}link to"
    with computer.files.tree(computer.root) as tree:
        seen = tree.look(path)
        assert isinstance(seen, Observation)
        assert seen.kind is Kind.LINK
        assert tree.look(f"{path}/inner") is ABSENT
        assert tree.look(f"{path}/deeper/inner") is ABSENT
        assert tree.born(f"{path}/inner") is None
        acts = [
            lambda: tree.names(path), lambda: list(tree.scan(path, 10)), lambda: tree.open(f"{path}/inner"),
            lambda: tree.create(f"{path}/inner"), lambda: tree.create(f"{path}/new/deeper"),
            lambda: tree.mark(f"{path}/inner", b"x"), lambda: tree.make_directory(f"{path}/new"),
            lambda: tree.make_directory(path), lambda: tree.rename_new("mine", f"{path}/mine"),
            lambda: tree.replace("mine", f"{path}/inner"), lambda: tree.rename_new(f"{path}/inner", "other"),
            lambda: tree.unlink(f"{path}/inner"), lambda: tree.remove_directory(path), lambda: tree.sync(path),
            lambda: tree.remove_directory(f"{path}/new"), lambda: tree.sync_volumes([path]),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(Trouble) as raised:
                act()
            assert raised.value.what in (What.NOT_A_DIRECTORY, What.LINK)
    assert computer.names(computer.outside) == ["directory", "file"]
    assert computer.names(f"{computer.outside}/directory") == ["inner"]
    assert computer.read(f"{computer.outside}/directory/inner") == b"theirs"
    assert computer.names(f"{computer.root}/directory") == ["inner"]
    assert computer.read(f"{computer.root}/mine") == b"mine"


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced", "a link elsewhere", "a broken link", "a file"])
def test_below_a_root_that_is_not_itself_nothing_is_absent(computer: Computer, how: str) -> None:
    """Whether something is there cannot be told once another directory, or none, answers for the root."""
    real = f"{computer.root}/real"
    computer.directory(real)
    computer.directory(f"{computer.root}/other")
    computer.link(f"{computer.root}/watched", "real")
    root = f"{computer.root}/watched" if "link" in how else real
    with computer.files.tree(root) as tree:
        assert tree.look("missing") is ABSENT
        if "link" in how:
            computer.remove(root)
            computer.link(root, "other" if how == "a link elsewhere" else "nowhere")
        elif how == "removed":
            computer.remove(root)
        else:
            computer.rename(root, f"{computer.root}/former")
        if how == "replaced":
            computer.directory(root)
        elif how == "a file":
            computer.write(root)
        for path in ("missing", "missing/file"):
            seen = tree.look(path)
            assert isinstance(seen, CannotTell)
            assert seen.reason


def test_a_root_that_is_made_again_is_another(computer: Computer) -> None:
    """A directory that took the place of the root, and perhaps its number, does not answer for it."""
    computer.directory(f"{computer.root}/real")
    with computer.files.tree(f"{computer.root}/real") as tree:
        for _ in range(5):
            computer.remove(f"{computer.root}/real")
            computer.directory(f"{computer.root}/real")
            assert isinstance(tree.look("missing"), CannotTell)


def test_a_tree_follows_its_directory(computer: Computer) -> None:
    """A root that is renamed is still the one that was opened: what is in it is seen, and nothing of its successor."""
    computer.directory(f"{computer.root}/real")
    computer.write(f"{computer.root}/real/file", b"former")
    with computer.files.tree(f"{computer.root}/real") as tree:
        computer.rename(f"{computer.root}/real", f"{computer.root}/former")
        computer.directory(f"{computer.root}/real")
        computer.write(f"{computer.root}/real/file", b"successor")
        computer.write(f"{computer.root}/real/other", b"successor")
        with tree.open("file") as handle:
            assert handle.read(0, 100) == b"former"
        assert isinstance(tree.look("file"), Observation)
        assert isinstance(tree.look("other"), CannotTell)


def test_the_root_may_be_named_by_a_link(computer: Computer) -> None:
    """Who configures a link means what it leads to, and what lies below."""
    computer.directory(f"{computer.root}/real/sub")
    computer.write(f"{computer.root}/real/sub/file", b"x")
    computer.link(f"{computer.root}/one", "real")
    computer.link(f"{computer.root}/two", f"{computer.root}/one/sub")
    for root, path in ((f"{computer.root}/one", "sub/file"), (f"{computer.root}/two", "file")):
        with computer.files.tree(root) as tree:
            assert isinstance(tree.look(path), Observation)
            assert tree.look("missing") is ABSENT
            assert (tree.root, tree.opened.kind) == (root, Kind.DIRECTORY)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("missing", What.ABSENT), ("file", What.NOT_A_DIRECTORY), ("FIFO", What.NOT_A_DIRECTORY),
        ("socket", What.NOT_A_DIRECTORY), ("file/below", What.NOT_A_DIRECTORY), ("loop", What.LINK),
        ("broken", What.ABSENT), ("link", What.NOT_A_DIRECTORY), ("x" * 300, What.NAME_TOO_LONG),
    ],
)  # fmt: skip
def test_a_root_that_is_no_directory_cannot_be_opened(computer: Computer, path: str, what: What) -> None:
    """What stands there says why. Nothing hangs on a FIFO."""
    furnish(computer)
    computer.link(f"{computer.root}/loop", "loop")
    computer.link(f"{computer.root}/broken", "nowhere")
    with pytest.raises(Trouble) as raised:
        computer.files.tree(f"{computer.root}/{path}")
    assert raised.value.what is what


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_names_of_any_bytes(computer: Computer, name: bytes) -> None:
    """Bytes that are no UTF-8, spaces and newlines are names like others, of files and of directories."""
    try:
        path = os.fsdecode(name)
    except UnicodeDecodeError:
        pytest.skip("names are text on Windows")
    computer.write(f"{computer.root}/{path}")
    computer.remove(f"{computer.root}/{path}")
    with computer.files.tree(computer.root) as tree:
        tree.make_directory(path)
        with tree.create(f"{path}/{path}") as handle:
            handle.write(b"x", 0)
        assert isinstance(tree.look(f"{path}/{path}"), Observation)
        assert (tree.names(""), tree.names(path)) == ([path], [path])
        (listed,) = tree.scan(path, 10)
        assert [entry[0] for entry in listed.entries] == [name]
        assert [directory for one in tree.scan("", 10) for directory in one.directories] == [path]
        tree.rename_new(f"{path}/{path}", f"{path}2")
        assert computer.names(computer.root) == sorted([path, f"{path}2"])
        tree.unlink(f"{path}2")
        tree.remove_directory(path)
    assert computer.names(computer.root) == []


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=repr)
def test_a_name_that_cannot_be_is_refused(computer: Computer, path: str) -> None:
    """NULs, halves of surrogate pairs, and parts that lead up: such names have no file, and nothing leads out of the root."""
    if sys.platform == "win32" and path == "\ud800":
        pytest.skip("a name like others on Windows")
    computer.directory(f"{computer.root}/d")
    computer.write(f"{computer.root}/file", b"mine")
    computer.write(f"{computer.outside}/file", b"theirs")
    with computer.files.tree(computer.root) as tree:
        seen = tree.look(path)
        assert isinstance(seen, CannotTell)
        assert seen.trouble.what is What.NAME_REFUSED
        assert tree.born(path) is None
        acts = [
            lambda: tree.names(path), lambda: list(tree.scan(path, 10)), lambda: tree.open(path),
            lambda: tree.create(path), lambda: tree.mark(path, b"x"), lambda: tree.make_directory(path),
            lambda: tree.rename_new("file", path), lambda: tree.replace("file", path), lambda: tree.unlink(path),
            lambda: tree.rename_new(path, "new"), lambda: tree.remove_directory(path), lambda: tree.sync(path),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(Trouble) as raised:
                act()
            assert raised.value.what is What.NAME_REFUSED
    assert (computer.names(computer.root), computer.names(computer.outside)) == (["d", "file"], ["file"])
    assert computer.read(f"{computer.outside}/file") == b"theirs"


@pytest.mark.parametrize("path", ["a\0b", "/a\0b/c", "/\ud800"], ids=repr)
def test_an_absolute_path_that_cannot_be_is_refused(computer: Computer, path: str) -> None:
    """Nothing but Trouble comes of it."""
    assert isinstance(computer.files.look(path), CannotTell)
    with pytest.raises(Trouble):
        computer.files.tree(path)
    with pytest.raises(Trouble):
        computer.files.watch(path, lambda hints: None, lambda why: None)
    assert computer.files.space(path) is None


def test_a_name_that_is_too_long_is_no_absence(computer: Computer) -> None:
    """The file system cannot say whether it is there."""
    with computer.files.tree(computer.root) as tree:
        for path in ("x" * 256, "y" * 5000, f"{'x' * 256}/file"):
            seen = tree.look(path)
            assert isinstance(seen, CannotTell)
            assert seen.trouble.what is What.NAME_TOO_LONG
        with tree.create("x" * 255):
            pass
        assert isinstance(tree.look("x" * 255), Observation)


def test_what_is_born_later_says_so(computer: Computer) -> None:
    """Changes in place, other dates and names leave the birth; another file under the name is born later."""
    path = f"{computer.root}/a"
    computer.write(path, b"first")
    with computer.files.tree(computer.root) as tree:
        born = tree.born("a")
        if born is None:
            pytest.skip("this file system does not tell")
        pen = computer.pen(path)
        pen.write(b"in place")
        pen.close()
        computer.set_mtime(path, 1)
        computer.rename(path, f"{computer.root}/b")
        computer.rename(f"{computer.root}/b", path)
        seen = tree.look("a")
        assert isinstance(seen, Observation)
        assert tree.born("a") == born <= seen.version.ctime_ns
        computer.link(f"{computer.root}/link", path)
        assert (tree.born("link") or 0) >= seen.version.ctime_ns, "the link's own, not that of the file"
        computer.remove(path)
        while (again := tree.born("a")) is None or again == born:  # the clock of files ticks in milliseconds
            if again is not None:
                computer.remove(path)
            computer.write(path, b"another")
        assert again >= seen.version.ctime_ns


def test_a_link_in_an_absolute_path_is_followed_but_not_at_its_end(computer: Computer) -> None:
    """Absolute paths are the administrator's: what is asked of is the last name."""
    furnish(computer)
    computer.link(f"{computer.root}/way", "directory")
    assert computer.files.look(f"{computer.root}/way/inner") == computer.files.look(f"{computer.root}/directory/inner")
    seen = computer.files.look(f"{computer.root}/way")
    assert isinstance(seen, Observation)
    assert seen.kind is Kind.LINK
    assert computer.files.look(f"{computer.root}/way/missing") is ABSENT


def test_what_is_resolved_and_where_it_lies(computer: Computer) -> None:
    """Links are resolved as far as there are any; a path that is not there lies where its directory does."""
    computer.directory(f"{computer.root}/real")
    computer.link(f"{computer.root}/one", "real")
    real = computer.files.resolve(computer.root)
    assert computer.files.resolve(f"{computer.root}/one") == f"{real}/real"
    assert computer.files.resolve(f"{computer.root}/one/missing/file") == f"{real}/real/missing/file"
    volume = computer.files.volume(computer.root)
    assert computer.files.volume(f"{computer.root}/one/missing/file") == volume
    assert (volume.remote, volume.may_hang) == (False, False)
    assert real == volume.mounted_at or real.startswith(volume.mounted_at.rstrip("/") + "/")
    assert computer.files.unmounted(f"{computer.root}/one/missing") is None


def test_space_is_told(computer: Computer) -> None:
    """Free bytes, and the free part of all; None where there is no such path."""
    space = computer.files.space(computer.root)
    assert space is not None
    assert space.free >= 0
    assert space.fraction is not None
    assert 0 <= space.fraction <= 1
    assert computer.files.space(f"{computer.root}/missing") is None


@pytest.mark.parametrize("path", ["gone", "sub/gone", "never/was/gone"])
def test_only_its_own_file_system_says_that_a_file_is_gone(computer: "Computer", path: str) -> None:
    """Absent on the file system that it was on; on another, or where a look fails, nobody can tell."""
    computer.directory(f"{computer.root}/sub")
    with computer.files.tree(computer.root) as tree:
        volume = tree.opened.volume
        for place, name in ((tree, path), (computer.files, f"{computer.root}/{path}")):
            assert look_on(place, name, volume) is ABSENT
            other = look_on(place, name, VolumeId(volume + 1))
            assert isinstance(other, CannotTell)
            assert other.trouble.what is What.STALE


def test_a_bare_mount_point_says_nothing(memory: "InMemory") -> None:
    """What was seen on a file system is not gone where that is unmounted; what was never on it is."""
    memory.mount(memory.root)
    memory.write(f"{memory.root}/file")
    with memory.files.tree(memory.root) as tree:
        volume = tree.opened.volume
    assert isinstance(look_on(memory.files, f"{memory.root}/file", volume), Observation)
    memory.unmount(memory.root)
    assert isinstance(look_on(memory.files, f"{memory.root}/file", volume), CannotTell)
    bare = memory.files.look(memory.root)
    assert isinstance(bare, Observation)
    assert look_on(memory.files, f"{memory.root}/file", bare.volume) is ABSENT
