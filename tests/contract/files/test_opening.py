"""Open files: only regular ones, the same whatever happens to the name, and never somebody else's."""

import sys
from collections.abc import Callable

import pytest

from agent.files import NotAFile, Trouble, What
from agent.files.reader import whole
from rules.model import Kind, Observation, Writer
from tests.contract.files.computers import Computer

KINDS = ["directory", "link", "broken link", "link outside", "FIFO", "socket"]


def stand(computer: Computer, kind: str, path: str) -> None:
    """Something that is no regular file of its own takes a name."""
    match kind:
        case "directory":
            computer.directory(path)
        case "link" | "broken link" | "link outside":
            targets = {"link": f"{computer.root}/file", "broken link": "nowhere"}
            computer.link(path, targets.get(kind, f"{computer.outside}/file"))
        case "hard link":
            computer.hard_link(path, f"{computer.outside}/file")
        case "file":
            computer.write(path, b"former")
        case _:
            computer.special(path, Kind(kind))


def furnish(computer: Computer) -> None:
    """A file in the root, and one of somebody else."""
    computer.write(f"{computer.root}/file", b"not to be touched")
    computer.write(f"{computer.outside}/file", b"not to be touched")


def untouched(computer: Computer) -> bool:
    """Whether both are as they were."""
    return {computer.read(f"{at}/file") for at in (computer.root, computer.outside)} == {b"not to be touched"}


@pytest.mark.parametrize("look_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_opened(computer: Computer, kind: str, look_first: bool) -> None:
    """What is something else is not opened: no link is followed, and nothing hangs."""
    furnish(computer)
    stand(computer, kind, f"{computer.root}/name")
    with computer.files.tree(computer.root) as tree:
        seen = tree.look("name")
        assert isinstance(seen, Observation)
        with pytest.raises(NotAFile) as raised:
            tree.open("name", seen if look_first else None)
        assert raised.value.seen == seen
        assert raised.value.what is What.NOT_A_FILE


@pytest.mark.parametrize("kind", KINDS)
def test_what_takes_a_files_name_after_the_look_is_not_opened(computer: Computer, kind: str) -> None:
    """Whatever stands there by then: it is no file, and that is said of what stands there now."""
    furnish(computer)
    computer.write(f"{computer.root}/name", b"a file")
    with computer.files.tree(computer.root) as tree:
        seen = tree.look("name")
        assert isinstance(seen, Observation)
        computer.remove(f"{computer.root}/name")
        stand(computer, kind, f"{computer.root}/name")
        with pytest.raises(NotAFile) as raised:
            tree.open("name", seen)
        assert raised.value.seen == tree.look("name")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("missing", What.ABSENT), ("missing/file", What.ABSENT), ("file/below", What.NOT_A_DIRECTORY),
        ("x" * 256, What.NAME_TOO_LONG),
    ],
)  # fmt: skip
def test_what_is_not_there_cannot_be_opened(computer: Computer, path: str, what: What) -> None:
    """The reason is that of the name."""
    furnish(computer)
    with computer.files.tree(computer.root) as tree:
        known = tree.look("file")
        assert isinstance(known, Observation)
        for seen in (None, known):
            with pytest.raises(Trouble) as raised:
                tree.open(path, seen)
            assert raised.value.what is what


def test_an_open_file_stays_the_same(computer: Computer) -> None:
    """Renamed, replaced or removed: what was opened is what is read, and the name leads to what has it now."""
    computer.write(f"{computer.root}/a", b"first")
    with computer.files.tree(computer.root) as tree, tree.open("a") as first:
        seen = tree.look("a")
        assert isinstance(seen, Observation)
        computer.write(f"{computer.root}/b", b"the second")
        computer.rename(f"{computer.root}/b", f"{computer.root}/a")
        with tree.open("a", seen) as second:
            assert second.opened == tree.look("a") != first.opened == seen
            assert (first.read(0, 100), second.read(0, 100)) == (b"first", b"the second")
            computer.remove(f"{computer.root}/a")
            assert (first.read(0, 100), second.read(0, 100)) == (b"first", b"the second")
            assert first.look().version.file_id == seen.version.file_id


def test_changes_show_in_the_open_file(computer: Computer) -> None:
    """A look at an open file shows what it is now, `opened` what it was."""
    computer.write(f"{computer.root}/a", b"first")
    with computer.files.tree(computer.root) as tree, tree.open("a") as handle:
        pen = computer.pen(f"{computer.root}/a")
        pen.write(b", and more")
        assert handle.look().version.size == 15
        assert handle.opened.version.size == 5
        assert handle.read(5, 100) == b", and more"
        pen.close()


def test_a_writer_is_seen_until_it_lets_go(computer: Computer) -> None:
    """As long as somebody has it open for writing, whatever its times say."""
    computer.write(f"{computer.root}/a", b"first")
    with computer.files.tree(computer.root) as tree, tree.open("a") as handle:
        assert handle.writer() is Writer.NONE
        pens = [computer.pen(f"{computer.root}/a") for _ in range(2)]
        computer.set_mtime(f"{computer.root}/a", 1)
        for pen in pens:
            assert handle.writer() is Writer.OPEN
            pen.close()
        assert handle.writer() is Writer.NONE
        with tree.open("a"):
            assert handle.writer() is Writer.NONE, "a reader is none"


def test_reads_bring_what_is_there(computer: Computer) -> None:
    """From any offset, up to the end and not beyond."""
    content = bytes(range(256)) * 10
    computer.write(f"{computer.root}/a", content)
    with computer.files.tree(computer.root) as tree, tree.open("a") as handle:
        for offset, length in ((0, 10), (5, 2560), (2555, 100), (2560, 1), (10**12, 5), (7, 0)):
            assert whole(handle, offset, length) == content[offset : offset + length]
            block = memoryview(bytearray(length))
            assert handle.read_into(block, offset) == len(content[offset : offset + length])
            assert bytes(block).startswith(content[offset : offset + length])


def test_writes_land_where_they_should(computer: Computer) -> None:
    """At their offset, over what was there; gaps read as zeros, and take no space."""
    with computer.files.tree(computer.root) as tree, tree.create("a") as handle:
        assert handle.opened.version.size == 0
        handle.write(b"0123456789", 0)
        handle.write(memoryview(b"xy"), 3)
        handle.write(b"end", 10**6)
        assert whole(handle, 0, 20) == b"012xy56789" + bytes(10)
        assert whole(handle, 10**6 - 2, 10) == b"\0\0end"
        assert handle.look().version.size == 10**6 + 3
        handle.set_size(4)
        assert whole(handle, 0, 100) == b"012x"
        handle.set_size(6)
        assert whole(handle, 0, 100) == b"012x\0\0"
        handle.write(b"", 10)
        assert handle.look().version.size == 6
    assert computer.read(f"{computer.root}/a") == b"012x\0\0"


def test_holes_take_no_space(computer: Computer) -> None:
    """A file with a hole holds fewer bytes than its size, one without at least as many."""
    computer.write(f"{computer.root}/sparse", b"begin", 10**7)
    computer.write(f"{computer.root}/dense", b"x" * 10**5)
    with computer.files.tree(computer.root) as tree:
        with tree.open("sparse") as handle:
            assert handle.opened.version.size == 10**7
            assert handle.allocated() < 10**6
            assert whole(handle, 3, 4) == b"in\0\0"
        with tree.open("dense") as handle:
            assert handle.allocated() >= 10**5


def test_times_are_set(computer: Computer) -> None:
    """The mtime is what was given; that it was set shows in the version."""
    computer.write(f"{computer.root}/a", b"x")
    with computer.files.tree(computer.root) as tree, tree.open("a") as like, tree.create("b") as handle:
        before = handle.look().version
        handle.set_times(like, 1_234_567_890_000_000_000)
        after = handle.look().version
        assert after.mtime_ns == 1_234_567_890_000_000_000
        assert after.ctime_ns >= before.ctime_ns


def test_content_is_made_durable_and_cold(computer: Computer) -> None:
    """Few or many, and in parts: no error, and the content is what was written."""
    for count in (0, 1, 5):
        with computer.files.tree(computer.root) as tree:
            tree.make_directory(f"{count}")
            handles = [tree.create(f"{count}/{number}") for number in range(count)]
            for handle in handles:
                handle.write(b"content" * 10_000, 0)
                handle.begin_write_back(0, 40_000)
                handle.end_write_back(0, 40_000)
                handle.sync()
                handle.forget()
            computer.files.make_durable(handles)
            computer.files.drop_cache(handles)
            tree.sync(f"{count}")
            tree.sync_volumes(["", f"{count}", ""])
            assert [whole(handle, 0, 100_000) for handle in handles] == [b"content" * 10_000] * count
            for handle in handles:
                handle.close()


@pytest.mark.parametrize(
    "kind", ["nothing", "file", "link", "broken link", "link outside", "hard link", "FIFO", "socket"]
)
def test_a_new_file_is_nobody_elses(computer: Computer, kind: str) -> None:
    """Whatever has the name is left behind as it is: what a link leads to, another name of it, the end of a pipe."""
    furnish(computer)
    if kind != "nothing":
        stand(computer, kind, f"{computer.root}/name")
    with computer.files.tree(computer.root) as tree, tree.create("name") as handle:
        handle.write(b"ours", 0)
        assert handle.opened.kind is Kind.FILE
        assert handle.look() == tree.look("name")
    assert computer.kind(f"{computer.root}/name") is Kind.FILE
    assert computer.read(f"{computer.root}/name") == b"ours"
    assert untouched(computer)
    assert computer.kind(f"{computer.root}/nowhere") is None


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("directory", What.DIRECTORY), ("file/below", What.NOT_A_DIRECTORY), ("x" * 256, What.NAME_TOO_LONG),
        ("nowhere/new", What.ABSENT),
    ],
)  # fmt: skip
def test_where_no_file_can_be_made(computer: Computer, path: str, what: What) -> None:
    """A directory keeps its name, and a file does not become a directory."""
    furnish(computer)
    computer.directory(f"{computer.root}/directory")
    with computer.files.tree(computer.root) as tree:
        with pytest.raises(Trouble) as raised:
            tree.create(path)
        assert raised.value.what is what
    assert computer.names(computer.root) == ["directory", "file"]
    assert untouched(computer)


def test_a_mark_is_written_and_written_again(computer: Computer) -> None:
    """The same file each time, with the content that was given last."""
    with computer.files.tree(computer.root) as tree:
        first = tree.mark("mark", b"a longer first")
        assert first == tree.look("mark")
        second = tree.mark("mark", b"second")
        assert second is not None
        assert first is not None
        assert second == tree.look("mark")
        assert (second.version.file_id, second.version.size) == (first.version.file_id, 6)
        assert computer.read(f"{computer.root}/mark") == b"second"
        with pytest.raises(Trouble) as raised:
            tree.mark("missing/mark", b"x")
        assert raised.value.what is What.ABSENT


@pytest.mark.parametrize("kind", [*KINDS, "hard link"])
def test_a_mark_is_not_written_to_what_is_somebody_elses(computer: Computer, kind: str) -> None:
    """A link, a pipe, a file with several names: it is left alone."""
    furnish(computer)
    stand(computer, kind, f"{computer.root}/name")
    with computer.files.tree(computer.root) as tree:
        before = tree.look("name")
        assert tree.mark("name", b"x") is None
        assert tree.look("name") == before
    assert untouched(computer)
    assert computer.kind(f"{computer.root}/nowhere") is None


SWAPPED: dict[str, Callable[[Computer], None]] = {
    "a link outside": lambda computer: computer.link(f"{computer.root}/a/b", computer.outside),
    "a link inside": lambda computer: computer.link(f"{computer.root}/a/b", f"{computer.root}/other"),
    "another directory": lambda computer: computer.directory(f"{computer.root}/a/b"),
    "a file": lambda computer: computer.write(f"{computer.root}/a/b", b""),
    "nothing": lambda computer: None,
}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("swapped", SWAPPED)
def test_a_directory_that_is_swapped_leads_nowhere_else(computer: Computer, swapped: str, known: bool) -> None:
    """Between two calls a part of the path becomes something else: what follows meets the former directory or is refused."""
    furnish(computer)
    computer.directory(f"{computer.root}/a/b")
    computer.directory(f"{computer.root}/other")
    for at in (f"{computer.root}/a/b", f"{computer.root}/other"):
        computer.write(f"{at}/file", b"not to be touched")
    computer.write(f"{computer.root}/mine", b"mine")
    with computer.files.tree(computer.root) as tree:
        if known:
            assert sorted(tree.names("a/b")) == ["file"]
        computer.rename(f"{computer.root}/a/b", f"{computer.root}/former")
        SWAPPED[swapped](computer)
        acts: list[Callable[[], object]] = [
            lambda: tree.create("a/b/new").close(), lambda: tree.create("a/b/c/new").close(),
            lambda: tree.rename_new("mine", "a/b/mine"), lambda: tree.unlink("a/b/file"),
            lambda: tree.replace("a/b/new", "a/b/file"),
        ]  # fmt: skip
        for act in acts:
            try:
                act()
            except Trouble as trouble:
                assert trouble.what in (What.NOT_A_DIRECTORY, What.LINK, What.ABSENT)  # noqa: PT017
    assert computer.names(computer.outside) == ["file"]
    assert computer.names(f"{computer.root}/other") == ["file"]
    assert untouched(computer)


def test_deep_trees(computer: Computer) -> None:
    """1,200 directories deep, far beyond the longest path: everything works, and little is open."""
    levels = 100 if sys.platform == "win32" else 1200  # Wine resolves each name by its whole path
    deep = "/".join(["d"] * levels)
    with computer.files.tree(computer.root) as tree:
        before = computer.is_open()
        tree.make_directory(deep)
        with tree.create(f"{deep}/file") as handle:
            handle.write(b"x", 0)
        assert isinstance(tree.look(f"{deep}/file"), Observation)
        assert tree.names(deep) == ["file"]
        tree.rename_new(f"{deep}/file", "up")
        tree.rename_new("up", f"{deep}/file")
        (listed,) = tree.scan(deep, 10)
        assert len(listed.entries) == 1
        assert computer.is_open() - before <= 64
    with computer.files.tree(computer.root) as tree:
        assert isinstance(tree.look(f"{deep}/file"), Observation)
        tree.unlink(f"{deep}/file")
        for depth in range(levels, 0, -1):
            tree.remove_directory("/".join(["d"] * depth))
    assert computer.names(computer.root) == []


def test_what_is_given_back_twice_harms_nobody(computer: Computer) -> None:
    """The number that the system gave to another file since is not closed."""
    furnish(computer)
    with computer.files.tree(computer.root) as tree:
        first = tree.open("file")
        first.close()
        with tree.open("file") as second:
            first.close()
            assert second.read(0, 3) == b"not"
