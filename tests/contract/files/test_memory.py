"""Faults of the computer in memory: what a test asks for is what the code under test gets."""

from collections.abc import Callable
from typing import Any

import pytest

from agent.files import CannotTell, Handle, Tree, Trouble, What
from agent.files.reader import whole
from rules.model import Observation
from tests.contract.files.computers import InMemory

Act = Callable[[Tree, Handle], Any]
OPERATIONS: dict[str, tuple[str, str, Act, str]] = {
    "names": ("names", "", lambda tree, _: tree.names(""), ""),
    "scan": ("scan", "", lambda tree, _: list(tree.scan("", 5)), ""),
    "open": ("open", "file", lambda tree, _: tree.open("file").close(), ""),
    "create": ("create", "new", lambda tree, _: tree.create("new").close(), "new"),
    "mark": ("mark", "new", lambda tree, _: tree.mark("new", b"x"), "new"),
    "make_directory": ("make_directory", "new", lambda tree, _: tree.make_directory("new"), "new"),
    "rename_new": ("rename_new", "file", lambda tree, _: tree.rename_new("file", "new"), "new"),
    "replace": ("replace", "file", lambda tree, _: tree.replace("file", "new"), "new"),
    "unlink": ("unlink", "file", lambda tree, _: tree.unlink("file"), "-file"),
    "remove_directory": ("remove_directory", "empty", lambda tree, _: tree.remove_directory("empty"), "-empty"),
    "sync": ("sync", "", lambda tree, _: tree.sync(""), ""),
    "sync_volumes": ("sync", "", lambda tree, _: tree.sync_volumes([""]), ""),
    "handle.look": ("look", "other", lambda _, handle: handle.look(), ""),
    "handle.read": ("read", "other", lambda _, handle: handle.read(0, 1), ""),
    "handle.read_into": ("read", "other", lambda _, handle: handle.read_into(memoryview(bytearray(1)), 0), ""),
    "handle.write": ("write", "other", lambda _, handle: handle.write(b"xyz", 0), "=other"),
    "handle.set_size": ("set_size", "other", lambda _, handle: handle.set_size(3), "=other"),
    "handle.set_times": ("set_times", "other", lambda _, handle: handle.set_times(handle, 5), "~other"),
    "handle.sync": ("sync", "other", lambda _, handle: handle.sync(), ""),
    "handle.end_write_back": ("end_write_back", "other", lambda _, handle: handle.end_write_back(0, 1), ""),
}
"""What is done: the operation, the path that fails, the act, and what it does to which name."""


def done(memory: InMemory, what: str) -> bool:
    """Whether the names and sizes are those of an operation that was done."""
    name = what.lstrip("-=~")
    if not what:
        return True
    if what.startswith(("=", "~")):
        node = memory.nodes.find(f"/data/root/{name}")
        return node.content.size == 3 if what.startswith("=") else node.mtime_ns == 5
    return (memory.kind(f"/data/root/{name}") is None) is what.startswith("-")


@pytest.mark.parametrize("what", What)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_fails_as_it_was_told_to(memory: InMemory, operation: str, what: What) -> None:
    """Before it does anything, or after it has done all; nothing stays open, and mended it works."""
    fails, path, act, effect = OPERATIONS[operation]
    memory.write("/data/root/file", b"x")
    memory.directory("/data/root/empty")
    at = f"/data/root/{path}" if path else "/data/root"
    with memory.files.tree("/data/root") as tree, tree.create("other") as handle:
        for when in ("before", "after"):
            memory.memory.faults.fail(fails, at, what, when)  # type: ignore[arg-type]
            is_open = memory.is_open()
            with pytest.raises(Trouble) as raised:
                act(tree, handle)
            memory.memory.faults.mend()
            assert raised.value.what is what
            assert memory.is_open() == is_open
            assert not effect or done(memory, effect) is (when == "after")
    with memory.files.tree("/data/root") as tree:
        assert isinstance(tree.look("empty" if effect != "-empty" else ""), Observation)


@pytest.mark.parametrize("what", [one for one in What if one not in (What.ABSENT, What.NOT_A_DIRECTORY, What.LINK)])
def test_a_look_that_fails_cannot_tell(memory: InMemory, what: What) -> None:
    """It is never taken for an absence."""
    memory.write("/data/root/file", b"x")
    memory.memory.faults.fail("look", "/data/root/file", what)
    memory.memory.faults.fail("tree", "/data/outside", what)
    memory.memory.faults.fail("watch", "/data/outside", what)
    with memory.files.tree("/data/root") as tree:
        for seen in (tree.look("file"), memory.files.look("/data/root/file")):
            assert isinstance(seen, CannotTell)
            assert seen.trouble.what is what
    for act in (
        lambda: memory.files.tree("/data/outside"),
        lambda: memory.files.watch("/data/outside", lambda hints: None, lambda why: None),
    ):
        with pytest.raises(Trouble):
            act()


def test_ids_are_used_again(memory: InMemory) -> None:
    """As of real file systems: the next file gets the id of one that is gone, but not while that is open."""
    memory.write("/data/root/a")
    with memory.files.tree("/data/root") as tree:
        first = tree.look("a")
        assert isinstance(first, Observation)
        with tree.open("a"):
            memory.remove("/data/root/a")
            memory.write("/data/root/b")
            other = tree.look("b")
            assert isinstance(other, Observation)
            assert other.version.file_id != first.version.file_id
        memory.write("/data/root/c")
        again = tree.look("c")
        assert isinstance(again, Observation)
        assert again.version.file_id == first.version.file_id
        assert again.version.ctime_ns > first.version.ctime_ns


def test_a_file_may_be_larger_than_the_memory(memory: InMemory) -> None:
    """Its content comes from a reader, when it is asked for; parts are written over."""
    asked: list[tuple[int, int]] = []

    def content(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return bytes((offset + number) % 251 for number in range(length))

    memory.write("/data/root/large", content, 10**12)
    pen = memory.open("/data/root/large")
    pen.write(b"end")
    pen.close()
    with memory.files.tree("/data/root") as tree, tree.open("large") as handle:
        assert handle.opened.version.size == 10**12 + 3
        assert handle.allocated() == 10**12 + 3
        assert whole(handle, 10**12 - 2, 10) == content(10**12 - 2, 2) + b"end"
        assert max(length for _, length in asked) <= 10


def test_each_change_has_a_time_of_its_own() -> None:
    """Also while the clock stands still."""
    memory = InMemory()
    memory.nodes._clock = lambda: 5
    memory.write("/data/root/a", b"x")
    first = memory.files.look("/data/root/a")
    memory.write("/data/root/a", b"y")
    assert memory.files.look("/data/root/a") != first


def test_one_call_brings_as_much_as_it_may(memory: InMemory) -> None:
    """As network file systems do."""
    memory.write("/data/root/a", b"0123456789")
    memory.memory.faults.most = 3
    with memory.files.tree("/data/root") as tree, tree.open("a") as handle:
        assert handle.read(2, 8) == b"234"
        assert handle.read_into(memoryview(bytearray(10)), 9) == 1
        assert whole(handle, 0, 10) == b"0123456789"
