"""Hints of what happens in a directory tree."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from queue import Queue

import pytest

from agent.files import Trouble, What
from agent.files.events import Events, Hint
from tests.contract.files.computers import Computer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the hints are those of inotify")
PATIENCE = 20.0


class Ear:
    """All hints of a tree, and what was said of losses."""

    def __init__(self, computer: Computer, root: str) -> None:
        self._queue: Queue[Hint] = Queue()
        self.heard: list[Hint] = []
        self.lost: Queue[str] = Queue()
        self.events: Events = computer.files.watch(root, self._put, self.lost.put)

    def _put(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            self._queue.put(hint)

    def hears(self, *hints: Hint) -> None:
        """Wait until all of these have come."""
        while not set(hints) <= set(self.heard):
            self.heard.append(self._queue.get(timeout=PATIENCE))


Listen = Callable[[str], Ear]


@pytest.fixture
def listen(computer: Computer) -> Iterator[Listen]:
    """Watches a directory, until the end."""
    ears: list[Ear] = []

    def start(root: str) -> Ear:
        ears.append(Ear(computer, root))
        return ears[-1]

    yield start
    for ear in ears:
        assert ear.events.alive
        ear.events.close()
        assert not ear.events.alive


def test_a_file_is_told_when_it_is_made_and_when_its_writer_closes_it(computer: Computer, listen: Listen) -> None:
    """Not while it is written, and not when it is read."""
    ear = listen(computer.root)
    pen = computer.pen(f"{computer.root}/a")
    ear.hears(Hint(f"{computer.root}/a"))
    ear.heard.clear()
    pen.write(b"x")
    computer.write(f"{computer.root}/b", b"x")
    ear.hears(Hint(f"{computer.root}/b"))
    with computer.files.tree(computer.root) as tree, tree.open("b") as handle:
        handle.read(0, 1)
    assert set(ear.heard) == {Hint(f"{computer.root}/b")}
    pen.close()
    ear.hears(Hint(f"{computer.root}/a"))
    assert set(ear.heard) == {Hint(f"{computer.root}/a"), Hint(f"{computer.root}/b")}


def test_a_file_that_appears_under_another_name_is_told(computer: Computer, listen: Listen) -> None:
    """By `ln`, `cp -l`, rsync --link-dest: nobody closes it, and nothing is renamed."""
    computer.write(f"{computer.outside}/scan.h5", b"x")
    ear = listen(computer.root)
    computer.hard_link(f"{computer.root}/scan.h5", f"{computer.outside}/scan.h5")
    ear.hears(Hint(f"{computer.root}/scan.h5"))


def test_what_the_agent_writes_is_told_as_well(computer: Computer, listen: Listen) -> None:
    """A mark, a new file, a rename: so a canary comes back."""
    ear = listen(computer.root)
    with computer.files.tree(computer.root) as tree:
        tree.mark(".dropline-canary", b"x")
        ear.hears(Hint(f"{computer.root}/.dropline-canary"))
        with tree.create("new") as handle:
            handle.write(b"x", 0)
        ear.hears(Hint(f"{computer.root}/new"))
        tree.rename_new("new", "other")
        ear.hears(Hint(f"{computer.root}/new", gone=True), Hint(f"{computer.root}/other"))
        tree.unlink("other")
        ear.hears(Hint(f"{computer.root}/other", gone=True))


def test_names_that_come_and_go_are_told(computer: Computer, listen: Listen) -> None:
    """Renamed within, in and out, and removed."""
    ear = listen(computer.root)
    computer.write(f"{computer.outside}/in", b"x")
    computer.rename(f"{computer.outside}/in", f"{computer.root}/a")
    ear.hears(Hint(f"{computer.root}/a"))
    computer.rename(f"{computer.root}/a", f"{computer.root}/b")
    ear.hears(Hint(f"{computer.root}/a", gone=True), Hint(f"{computer.root}/b"))
    computer.rename(f"{computer.root}/b", f"{computer.outside}/out")
    ear.hears(Hint(f"{computer.root}/b", gone=True))
    computer.rename(f"{computer.outside}/out", f"{computer.root}/c")
    computer.remove(f"{computer.root}/c")
    ear.hears(Hint(f"{computer.root}/c"), Hint(f"{computer.root}/c", gone=True))


def test_a_file_that_is_renamed_while_it_is_written_is_told_by_its_new_name(computer: Computer, listen: Listen) -> None:
    """When its writer closes it."""
    ear = listen(computer.root)
    pen = computer.pen(f"{computer.root}/a")
    computer.rename(f"{computer.root}/a", f"{computer.root}/b")
    ear.hears(Hint(f"{computer.root}/a", gone=True), Hint(f"{computer.root}/b"))
    ear.heard.clear()
    pen.close()
    ear.hears(Hint(f"{computer.root}/b"))


def test_directories_are_told_and_watched(computer: Computer, listen: Listen) -> None:
    """New ones and those that are moved are to be swept; what happens in them is told by their names."""
    computer.directory(f"{computer.root}/old/sub")
    computer.directory(f"{computer.outside}/run/sub")
    ear = listen(computer.root)
    computer.write(f"{computer.root}/old/sub/file", b"x")
    ear.hears(Hint(f"{computer.root}/old/sub/file"))
    computer.directory(f"{computer.root}/new")
    ear.hears(Hint(f"{computer.root}/new", below=True))
    computer.write(f"{computer.root}/new/file", b"x")
    ear.hears(Hint(f"{computer.root}/new/file"))
    computer.rename(f"{computer.outside}/run", f"{computer.root}/run")
    ear.hears(Hint(f"{computer.root}/run", below=True))
    computer.write(f"{computer.root}/run/sub/file", b"x")
    ear.hears(Hint(f"{computer.root}/run/sub/file"))
    computer.rename(f"{computer.root}/run", f"{computer.root}/moved")
    ear.hears(Hint(f"{computer.root}/run", below=True, gone=True), Hint(f"{computer.root}/moved", below=True))
    computer.write(f"{computer.root}/moved/sub/again", b"x")
    ear.hears(Hint(f"{computer.root}/moved/sub/again"))
    computer.rename(f"{computer.root}/moved", f"{computer.outside}/run")
    ear.hears(Hint(f"{computer.root}/moved", below=True, gone=True))
    computer.write(f"{computer.outside}/run/sub/last", b"x")
    computer.write(f"{computer.root}/last", b"x")
    ear.hears(Hint(f"{computer.root}/last"))
    assert not [hint for hint in ear.heard if hint.path.endswith("sub/last")]


def test_the_agents_own_directories_are_not_told(computer: Computer, listen: Listen) -> None:
    """What is in them is its own business."""
    computer.directory(f"{computer.root}/.dropline-old")
    ear = listen(computer.root)
    computer.directory(f"{computer.root}/.dropline-trash")
    for name in (".dropline-old", ".dropline-trash"):
        computer.write(f"{computer.root}/{name}/file", b"x")
    computer.write(f"{computer.root}/last", b"x")
    ear.hears(Hint(f"{computer.root}/last"))
    assert ear.heard == [Hint(f"{computer.root}/last")]


def test_what_links_lead_to_is_not_watched(computer: Computer, listen: Listen) -> None:
    """A link in the tree is a name; the root may be one."""
    computer.directory(f"{computer.root}/real")
    computer.link(f"{computer.root}/watched", "real")
    computer.directory(f"{computer.outside}/sub")
    computer.link(f"{computer.root}/real/link", f"{computer.outside}/sub")
    ear = listen(f"{computer.root}/watched")
    computer.write(f"{computer.outside}/sub/file", b"x")
    computer.write(f"{computer.root}/real/file", b"x")
    ear.hears(Hint(f"{computer.root}/watched/file"))
    assert ear.heard == [Hint(f"{computer.root}/watched/file")]


def test_names_of_any_bytes_are_told(computer: Computer, listen: Listen) -> None:
    """As the file system has them."""
    ear = listen(computer.root)
    for name in (b"\xff\xfe", b"a b", b"line\nbreak"):
        path = f"{computer.root}/{os.fsdecode(name)}"
        computer.write(path, b"x")
        ear.hears(Hint(path))


def test_a_root_that_is_removed_is_a_loss(computer: Computer, listen: Listen) -> None:
    """Nobody is notified of what comes in its place."""
    computer.directory(f"{computer.root}/watched")
    ear = listen(f"{computer.root}/watched")
    computer.remove(f"{computer.root}/watched")
    assert ear.lost.get(timeout=PATIENCE) == "the directory was removed"


@pytest.mark.parametrize(
    ("path", "what"), [("missing", What.ABSENT), ("file", What.NOT_A_DIRECTORY), ("broken", What.ABSENT)]
)
def test_what_is_no_directory_cannot_be_watched(computer: Computer, path: str, what: What) -> None:
    """The reason is said."""
    computer.write(f"{computer.root}/file", b"x")
    computer.link(f"{computer.root}/broken", "nowhere")
    with pytest.raises(Trouble) as raised:
        computer.files.watch(f"{computer.root}/{path}", lambda hints: None, lambda why: None)
    assert raised.value.what is what
