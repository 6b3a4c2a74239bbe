"""The one way to read a version of a file: what is read is that version whole, or counts for nothing."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from agent.files import ABSENT, CannotTell, Handle, Trouble, What
from agent.files.reader import BLOCK, Examined, NotTheVersion, Sources, Trees, Unreadable, checksum_of, examine, whole
from agent.host.heartbeat import Heartbeat
from rules.model import Content, Kind, Observation, Version, Writer
from tests.contract.files.computers import Computer

SIZES = [0, 1, 1000, BLOCK - 1, BLOCK, 3 * BLOCK + 17]


def content_of(size: int) -> bytes:
    """Bytes that repeat late."""
    return (b"".join(number.to_bytes(4, "big") for number in range(min(size, 300_007) // 4 + 1)) * 40)[:size]


def version_of(computer: Computer, name: str) -> Version:
    """What stands at a name in the root."""
    seen = computer.files.look(f"{computer.root}/{name}")
    assert isinstance(seen, Observation)
    return seen.version


class Meddling:
    """A handle during whose n-th read something happens, and whose calls bring few bytes."""

    def __init__(self, handle: Any, act: Callable[[], object] = lambda: None, at: int = -1, most: int = 2**62) -> None:
        self._handle = handle
        self._act = act
        self._at = at
        self._most = most
        self._reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def _count(self) -> None:
        self._reads += 1
        if self._reads - 1 == self._at:
            self._act()

    def read(self, offset: int, length: int) -> bytes:
        self._count()
        return bytes(self._handle.read(offset, min(length, self._most)))

    def read_into(self, block: memoryview, offset: int) -> int:
        self._count()
        return int(self._handle.read_into(block[: self._most], offset))


def _digest(content: bytes) -> bytes:
    """To compare what would be long to print."""
    return hashlib.sha256(content).digest()


# Examining


def test_what_is_examined_says_what_it_is_and_whether_it_has_a_writer(computer: Computer) -> None:
    """Of a file, whether somebody writes; of what is no file, or not the one that is meant, only what it is."""
    computer.write(f"{computer.root}/file", b"x")
    computer.link(f"{computer.root}/link", "file")
    computer.directory(f"{computer.root}/directory")
    computer.special(f"{computer.root}/FIFO", Kind.FIFO)
    version = version_of(computer, "file")
    with computer.files.tree(computer.root) as tree:
        for expected in (None, version):
            found = examine(tree, "file", expected)
            assert found == Examined(found.seen, Writer.NONE) if isinstance(found, Examined) else False
        assert examine(tree, "file", version._replace(size=2)) == Examined(found.seen, Writer.CANNOT_TELL)
        pen = computer.pen(f"{computer.root}/file")
        assert examine(tree, "file") == Examined(found.seen, Writer.OPEN)
        pen.close()
        for kind in ("link", "directory", "FIFO"):
            other = examine(tree, kind)
            assert isinstance(other, Examined)
            assert (other.seen.kind, other.writer) == (Kind(kind), Writer.CANNOT_TELL)
        assert examine(tree, "missing") is ABSENT
        assert examine(tree, "file/below") is ABSENT
        too_long = examine(tree, "x" * 256)
        assert isinstance(too_long, CannotTell)
        assert too_long.trouble.what is What.NAME_TOO_LONG


def test_what_goes_away_below_a_lost_root_cannot_be_examined(computer: Computer) -> None:
    """It is not taken for gone."""
    computer.directory(f"{computer.root}/real")
    with computer.files.tree(f"{computer.root}/real") as tree:
        computer.rename(f"{computer.root}/real", f"{computer.root}/former")
        assert isinstance(examine(tree, "file"), CannotTell)


class Swapping:
    """A tree where something happens between the look at a name and its opening."""

    def __init__(self, tree: Any, act: Callable[[], object]) -> None:
        self._tree = tree
        self._act = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tree, name)

    def open(self, path: str, seen: Observation | None = None) -> Handle:
        self._act()
        opened: Handle = self._tree.open(path, seen)
        return opened


def test_what_happens_between_the_look_and_the_opening_is_told(computer: Computer) -> None:
    """Removed, it is absent; replaced, the other file is told; where it is no file any more, that."""
    path = f"{computer.root}/file"

    def replace(act: Callable[[], object]) -> Callable[[], None]:
        def both() -> None:
            computer.remove(path)
            act()

        return both

    with computer.files.tree(computer.root) as tree:
        computer.write(path, b"x")
        assert examine(Swapping(tree, replace(lambda: None)), "file") is ABSENT
        computer.write(path, b"x")
        another = examine(Swapping(tree, replace(lambda: computer.write(path, b"another"))), "file")
        assert isinstance(another, Examined)
        assert (another.seen.version.size, another.writer) == (7, Writer.NONE)
        for make, kind in (
            (lambda: computer.special(path, Kind.FIFO), Kind.FIFO), (lambda: computer.link(path, "x"), Kind.LINK),
            (lambda: computer.directory(path), Kind.DIRECTORY),
        ):  # fmt: skip
            found = examine(Swapping(tree, replace(make)), "file")
            assert isinstance(found, Examined)
            assert (found.seen.kind, found.writer) == (kind, Writer.CANNOT_TELL)
            computer.remove(path)
            computer.write(path, b"x")


@pytest.mark.parametrize("what", [What.DAMAGED, What.DENIED, What.EXHAUSTED, What.STALE])
def test_what_cannot_be_opened_cannot_be_told(computer: Computer, what: What) -> None:
    """Neither absent nor without a writer: with the trouble of the opening."""
    trouble = Trouble(what, "as in a test")

    def fail() -> None:
        raise trouble

    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        found = examine(Swapping(tree, fail), "file")
    assert isinstance(found, CannotTell)
    assert found.trouble is trouble


# Parts and checksums


@pytest.mark.parametrize("most", [7, 4096])
def test_short_reads_are_put_together(computer: Computer, most: int) -> None:
    """One call of the system may bring fewer bytes than there are."""
    content = content_of(20_000)
    computer.write(f"{computer.root}/file", content)
    with computer.files.tree(computer.root) as tree, tree.open("file") as handle:
        short = Meddling(handle, most=most)
        assert whole(short, 5, 1000) == content[5:1005]
        assert whole(short, 19_990, 1000) == content[19_990:]
        assert checksum_of(short, "sha256", 20_000) == (_digest(content), 20_000)


@pytest.mark.parametrize("algorithm", ["sha256", "blake3", "md5"])
@pytest.mark.parametrize("size", SIZES)
def test_a_checksum_is_of_all_bytes(computer: "Computer", size: int, algorithm: str) -> None:
    """It comes with the number of its bytes: all of the file's, one beyond the expected size at most. Each block is told."""
    from blake3 import blake3

    content = content_of(size)
    computer.write(f"{computer.root}/file", content)
    with computer.files.tree(computer.root) as tree, tree.open("file") as handle:
        for expected in {size, max(size - 1, 0), max(size - 2, 0), size + 1, 0, 2 * size + 5}:
            told: list[int] = []
            part = content[: expected + 1]
            right = blake3(part).digest() if algorithm == "blake3" else hashlib.new(algorithm, part).digest()
            found = checksum_of(handle, algorithm, expected, told.append)
            assert (found, sum(told)) == (Content(right, len(part)), len(part))


class Breaking(Meddling):
    """A handle that gives what comes before a damaged place, and the error only at the next call."""

    def __init__(self, handle: Any, damaged_at: int, most: int = 2**62) -> None:
        super().__init__(handle)
        self._damaged_at, self._few = damaged_at, most

    def read_into(self, block: memoryview, offset: int) -> int:
        length = min(len(block), self._few, self._damaged_at - offset)
        if length <= 0 < len(block):
            raise Trouble(What.DAMAGED, "Input/output error")
        return int(self._handle.read_into(block[:length], offset))


@pytest.mark.parametrize("most", [2**62, 100_000])
@pytest.mark.parametrize("damaged_at", [0, 1, 999, 3 * BLOCK - 1, 3 * BLOCK])
def test_a_short_read_is_never_the_end(computer: "Computer", damaged_at: int, most: int) -> None:
    """A damaged place is a trouble, wherever it lies, and never other content, nor a part taken for the whole."""
    size = 3 * BLOCK + 1
    computer.write(f"{computer.root}/file", b"x" * size)
    version = version_of(computer, "file")
    with computer.files.tree(computer.root) as tree, tree.open("file") as handle:
        with pytest.raises(Trouble) as raised:
            checksum_of(Breaking(handle, damaged_at, most), "sha256", size)
        assert raised.value.what is What.DAMAGED
    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "file", version) as reading,
        sources.at(computer.outside).create("copy") as target,
    ):
        reading.handle = Breaking(reading.handle, damaged_at, most)
        with pytest.raises(Unreadable):
            reading.copy_to(target, computer.outside)


def test_fewer_bytes_than_the_size_are_a_trouble(computer: "Computer") -> None:
    """Storage that says one size and gives fewer bytes says nothing of the content; a file that was cut off is another."""
    computer.write(f"{computer.root}/file", b"x" * 100)
    with computer.files.tree(computer.root) as tree, tree.open("file") as handle:
        with pytest.raises(Trouble) as raised:
            checksum_of(Meddling(handle, most=0), "sha256", 100)
        assert raised.value.what is What.DAMAGED
        assert checksum_of(handle, "sha256", 200) == Content(_digest(b"x" * 100), 100)


@pytest.mark.parametrize("size", SIZES)
def test_no_more_than_the_version_is_written(computer: "Computer", size: int) -> None:
    """A file that grows while it is copied, by however much, is not the version; one byte beyond it is read at most."""
    computer.write(f"{computer.root}/file", content_of(size))
    version = version_of(computer, "file")
    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "file", version) as reading,
        sources.at(computer.outside).create("copy") as target,
    ):
        _append(computer, f"{computer.root}/file", b"y" * 3 * BLOCK)
        farthest: list[int] = []

        class Watching(Meddling):
            def read_into(self, block: memoryview, offset: int) -> int:
                farthest.append(offset + len(block))
                return super().read_into(block, offset)

        reading.handle = Watching(reading.handle)
        with pytest.raises(NotTheVersion):
            reading.copy_to(target, computer.outside)
        assert max(farthest) == size + 1
        assert content_of(size).startswith(computer.read(f"{computer.outside}/copy"))


# Copying


@pytest.mark.parametrize("most", [2**62, 70_000])
@pytest.mark.parametrize("size", SIZES)
def test_a_version_is_copied_whole(computer: Computer, size: int, most: int) -> None:
    """The copy has its bytes, and the checksum is theirs, also where calls bring few bytes at a time."""
    content = content_of(size)
    computer.write(f"{computer.root}/file", content)
    version = version_of(computer, "file")
    with Sources(computer.files, "sha256", Heartbeat()) as sources:
        assert sources.content(computer.root, "file", version) == Content(_digest(content), size)
        with (
            sources.opened(computer.root, "file", version) as reading,
            sources.at(computer.outside).create("copy") as target,
        ):
            reading.handle = Meddling(reading.handle, most=most)
            assert reading.copy_to(target, computer.outside) == Content(_digest(content), size)
    assert _digest(computer.read(f"{computer.outside}/copy")) == _digest(content)


@pytest.mark.parametrize("tail", [b"", b"end"])
def test_holes_stay_holes(computer: Computer, tail: bytes) -> None:
    """A sparse file's copy is sparse, has the same bytes, and a length that ends with a hole."""
    computer.write(f"{computer.root}/file", b"begin", 8 * BLOCK)
    if tail:
        pen = computer.pen(f"{computer.root}/file")
        pen.write(tail)
        pen.close()
    content = b"begin".ljust(8 * BLOCK, b"\0") + tail
    with Sources(computer.files, "sha256", Heartbeat()) as sources:
        with (
            sources.opened(computer.root, "file", version_of(computer, "file")) as reading,
            sources.at(computer.outside).create("copy") as target,
        ):
            assert reading.copy_to(target, computer.outside) == Content(_digest(content), len(content))
        with sources.at(computer.outside).open("copy") as copy:
            assert copy.allocated() <= 3 * BLOCK
        assert sources.content(computer.root, "file", version_of(computer, "file")) == Content(
            _digest(content), len(content)
        )
    assert _digest(computer.read(f"{computer.outside}/copy")) == _digest(content)


MEDDLING: dict[str, Callable[[Computer, str], object]] = {
    "grows": lambda computer, path: _append(computer, path, b"more"),
    "is cut off": lambda computer, path: _in_place(computer, path, b"short"),
    "is written again": lambda computer, path: _in_place(computer, path, b"y" * 3 * BLOCK),
    "is dated back": lambda computer, path: computer.set_mtime(path, 1),
}


def _append(computer: Computer, path: str, data: bytes) -> None:
    pen = computer.pen(path)
    pen.write(data)
    pen.close()


def _in_place(computer: Computer, path: str, data: bytes) -> None:
    computer.write(path, data)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("how", MEDDLING)
def test_what_moves_while_it_is_read_counts_for_nothing(computer: Computer, how: str, at: int) -> None:
    """Whatever changed at whatever time, and whatever the times say."""
    path = f"{computer.root}/file"
    computer.write(path, b"x" * 3 * BLOCK)
    version = version_of(computer, "file")
    before = version.ctime_ns
    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "file", version) as reading,
    ):

        def act() -> None:
            MEDDLING[how](computer, path)
            while version_of(computer, "file").ctime_ns == before:  # the clock of files ticks in milliseconds
                computer.set_mtime(path, 1)

        reading.handle = Meddling(reading.handle, act, at)
        with pytest.raises(NotTheVersion) as raised:
            reading.copy_to(None)
        assert raised.value.seen is not None
        assert raised.value.seen.version == version_of(computer, "file")


def test_what_has_a_writer_counts_for_nothing(computer: Computer) -> None:
    """Though nothing was written yet."""
    computer.write(f"{computer.root}/file", b"x" * 100)
    version = version_of(computer, "file")
    pen = computer.pen(f"{computer.root}/file")
    with Sources(computer.files, "sha256", Heartbeat()) as sources:
        with pytest.raises(NotTheVersion) as raised:
            sources.content(computer.root, "file", version)
        assert (raised.value.reason, raised.value.seen and raised.value.seen.version) == (Writer.OPEN.value, version)
        pen.close()
        assert sources.content(computer.root, "file", version) == Content(hashlib.sha256(b"x" * 100).digest(), 100)


@pytest.mark.parametrize("kind", ["nothing", "another file", "a link", "a FIFO", "a directory", "another size"])
def test_what_is_not_the_version_is_not_read(computer: Computer, kind: str) -> None:
    """What stands there instead is told."""
    path = f"{computer.root}/file"
    computer.write(path, b"x" * 100)
    version = version_of(computer, "file")
    computer.rename(path, f"{computer.root}/former")
    match kind:
        case "another file":
            computer.write(path, b"x" * 100)
        case "a link":
            computer.link(path, "former")
        case "a FIFO":
            computer.special(path, Kind.FIFO)
        case "a directory":
            computer.directory(path)
        case "another size":
            computer.write(path, b"x")
    with Sources(computer.files, "sha256", Heartbeat()) as sources:
        with pytest.raises(NotTheVersion) as raised:
            sources.content(computer.root, "file", version)
        look = computer.files.look(path)
        assert raised.value.seen == (None if look is ABSENT else look)


def test_a_source_below_a_lost_root_is_not_gone(computer: Computer) -> None:
    """It cannot be read, which is another thing: nobody may conclude that it was removed."""
    computer.directory(f"{computer.root}/real")
    computer.write(f"{computer.root}/real/file", b"x")
    seen = computer.files.look(f"{computer.root}/real/file")
    assert isinstance(seen, Observation)
    with Sources(computer.files, "sha256", Heartbeat()) as sources:
        sources.at(f"{computer.root}/real")
        computer.rename(f"{computer.root}/real", f"{computer.root}/former")
        computer.remove(f"{computer.root}/former/file")
        with pytest.raises(Unreadable) as raised:
            sources.content(f"{computer.root}/real", "file", seen.version)
        assert raised.value.trouble.what is What.STALE
    with Sources(computer.files, "sha256", Heartbeat()) as sources, pytest.raises(Unreadable) as raised:
        sources.content(f"{computer.root}/real", "file", seen.version)
    assert raised.value.trouble.what is What.STALE


class Failing(Meddling):
    """A handle of which one operation fails."""

    def __init__(self, handle: Any, operation: str, what: What) -> None:
        super().__init__(handle)
        self._operation = operation
        self._what = what
        setattr(self, operation, self._fail)

    def _fail(self, *_: object) -> Any:
        raise Trouble(self._what, "as in a test")


@pytest.mark.parametrize("what", [What.DAMAGED, What.STALE, What.EXHAUSTED, What.OTHER])
@pytest.mark.parametrize("operation", ["read_into", "look"])
def test_a_source_that_cannot_be_read_is_no_trouble_of_the_destination(
    computer: Computer, operation: str, what: What
) -> None:
    """Whichever call failed: it was the source's."""
    computer.write(f"{computer.root}/file", b"x")
    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "file", version_of(computer, "file")) as reading,
        sources.at(computer.outside).create("copy") as target,
    ):
        reading.handle = Failing(reading.handle, operation, what)
        with pytest.raises(Unreadable) as raised:
            reading.copy_to(target, computer.outside)
        assert raised.value.trouble.what is what


@pytest.mark.parametrize("operation", ["read_into", "look"])
def test_a_source_that_is_given_up_to_a_program_has_a_writer(computer: Computer, operation: str) -> None:
    """It is no refusal: the file is read again when the program is done with it."""
    computer.write(f"{computer.root}/file", b"x")
    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "file", version_of(computer, "file")) as reading,
    ):
        seen = reading.handle.opened
        reading.handle = Failing(reading.handle, operation, What.BUSY)
        with pytest.raises(NotTheVersion) as raised:
            reading.copy_to(None)
    assert (raised.value.seen, raised.value.reason) == (seen, "a process has it open for writing")


@pytest.mark.parametrize("operation", ["write", "set_size", "end_write_back"])
def test_a_destination_that_fails_says_so_itself(computer: Computer, operation: str) -> None:
    """Its trouble is not taken for the source's."""
    computer.write(f"{computer.root}/file", b"x" * 30 * BLOCK, 32 * BLOCK)
    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "file", version_of(computer, "file")) as reading,
        sources.at(computer.outside).create("copy") as target,
        pytest.raises(Trouble) as raised,
    ):
        reading.copy_to(Failing(target, operation, What.FULL), computer.outside)
    assert raised.value.what is What.FULL


def test_a_file_that_ends_before_its_size_is_not_whole(computer: Computer) -> None:
    """Storage that says one size and gives fewer bytes proves nothing."""
    computer.write(f"{computer.root}/file", b"x" * 100)
    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "file", version_of(computer, "file")) as reading,
    ):
        reading.handle = Meddling(reading.handle, most=0)
        with pytest.raises(Unreadable):
            reading.copy_to(None)


def test_trees_are_opened_once(computer: Computer) -> None:
    """For one pass, each root; a root that cannot be opened is asked again."""
    computer.directory(f"{computer.root}/one")
    with Trees(computer.files) as trees:
        assert trees.at(f"{computer.root}/one") is trees.at(f"{computer.root}/one")
        for _ in range(2):
            with pytest.raises(Trouble):
                trees.at(f"{computer.root}/two")
        computer.directory(f"{computer.root}/two")
        assert trees.at(f"{computer.root}/two").opened.kind is Kind.DIRECTORY


# Removed while it is read


def test_what_is_removed_while_it_is_read_is_read_to_its_end(computer: Computer) -> None:
    """A ring buffer removes its oldest file: what has it open has the last copy that there will ever be."""
    content = content_of(3 * BLOCK)
    computer.write(f"{computer.root}/ring", content)
    version = version_of(computer, "ring")
    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "ring", version) as reading,
    ):
        reading.handle = Meddling(reading.handle, lambda: computer.remove(f"{computer.root}/ring"), at=1)  # type: ignore[assignment]
        assert reading.copy_to(None) == Content(_digest(content), len(content))


def test_what_is_written_to_and_removed_while_it_is_read_counts_for_nothing(computer: Computer) -> None:
    """Its size or its mtime shows it."""
    computer.write(f"{computer.root}/ring", content_of(3 * BLOCK))
    version = version_of(computer, "ring")

    def change() -> None:
        computer.write(f"{computer.root}/ring", b"x" * (3 * BLOCK))
        computer.remove(f"{computer.root}/ring")

    with (
        Sources(computer.files, "sha256", Heartbeat()) as sources,
        sources.opened(computer.root, "ring", version) as reading,
    ):
        reading.handle = Meddling(reading.handle, change, at=1)  # type: ignore[assignment]
        with pytest.raises(NotTheVersion):
            reading.copy_to(None)
