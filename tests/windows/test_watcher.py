"""Hints of what happens below a watched folder, and what is made of those that are lost."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Empty, Queue

import pytest

from agent.files import LOCAL, Trouble, What
from agent.files.events import Events, Hint, Put
from agent.intake.watch import Watch

if sys.platform != "win32":
    pytest.skip("needs Windows; tests/windows/test_lane.py runs it in Wine", allow_module_level=True)

from agent.files.windows import nt

PATIENCE = 20.0
TOO_MUCH = "more happened at once than Windows reports"


class Ear:
    """A watch of a folder, which can be held up."""

    def __init__(self, root: Path) -> None:
        self.root = root.as_posix()
        self.go_on = threading.Event()
        self.go_on.set()
        self.woken = threading.Event()
        self._hints: Queue[Hint] = Queue()
        self.watch = Watch(LOCAL, self.root, self.woken.set, self._listen)
        assert self.watch.check(0.0) == "start"

    def _listen(self, root: str, put: Put, lost: Callable[[str], None]) -> Events:
        def take(hints: Sequence[Hint]) -> None:
            self.go_on.wait(PATIENCE)
            for hint in hints:
                self._hints.put(hint)

        return LOCAL.watch(root, take, lost)

    def hears(self, *hints: tuple[str, bool]) -> None:
        """Wait until all of these have come: a name, and whether it is gone."""
        missing = set(hints)
        try:
            while missing:
                hint = self._hints.get(timeout=PATIENCE)
                missing.discard((hint.path.removeprefix(f"{self.root}/"), hint.gone))
        except Empty:
            raise AssertionError(f"no hint of {missing}") from None

    def wants_a_sweep(self) -> str | None:
        """Why, when it was woken."""
        assert self.woken.wait(PATIENCE), "nobody was woken"
        return self.watch.check(1.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A watched folder, with one in it that was there before."""
    path = tmp_path / "data"
    (path / "run").mkdir(parents=True)
    return path


@pytest.fixture
def ear(root: Path) -> Iterator[Ear]:
    """A watch of it."""
    made = Ear(root)
    yield made
    made.go_on.set()
    made.watch.close()


def test_names_that_come_change_and_go_are_hints(root: Path, ear: Ear, tmp_path: Path) -> None:
    """In the folder and below it: made, written to, renamed within, out and in, removed."""
    (root / "a").write_bytes(b"x")
    ear.hears(("a", False))
    with (root / "a").open("ab") as file:
        file.write(b"more")
    ear.hears(("a", False))
    (root / "new").mkdir()
    ear.hears(("new", False))
    (root / "a").rename(root / "b")
    ear.hears(("a", True), ("b", False))
    (root / "b").rename(tmp_path / "out")
    ear.hears(("b", True))
    (tmp_path / "out").rename(root / "in")
    ear.hears(("in", False))
    (root / "in").unlink()
    ear.hears(("in", True))
    assert (ear.watch.up, ear.watch.lost) == (True, 0)


def test_an_overflow_asks_for_a_sweep_and_is_counted(root: Path, ear: Ear) -> None:
    """What happens after it is reported again."""
    ear.go_on.clear()
    for number in range(4000):
        (root / f"a file with a name that takes its part of the buffer {number}").touch()
    ear.go_on.set()
    assert (ear.wants_a_sweep(), ear.watch.lost) == (TOO_MUCH, 1)
    (root / "after").write_bytes(b"x")
    ear.hears(("after", False))


def test_an_answer_without_changes_is_an_overflow(root: Path, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows 11 reports one as a success with no bytes."""
    real = nt.changes
    monkeypatch.setattr(nt, "changes", lambda handle: real(handle) and b"")
    for number in range(100):  # the first ends the call that waits since before
        (root / str(number)).touch()
        if ear.woken.wait(PATIENCE / 100):
            break
    assert (ear.wants_a_sweep(), ear.watch.lost) == (TOO_MUCH, 1)


def test_an_error_asks_for_a_sweep_and_the_watch_begins_again(
    root: Path, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: no thread dies in silence."""
    with monkeypatch.context() as patch:

        def fail(handle: int) -> bytes:
            raise Trouble(What.NO_ANSWER, "the network name is no longer available")

        patch.setattr(nt, "changes", fail)
        (root / "a").touch()  # ends the call that waits since before
        assert ear.woken.wait(PATIENCE)
    why = "the watched folder reports no events: the network name is no longer available"
    assert (ear.watch.check(1.0), ear.watch.lost) == (why, 1)
    (root / "after").write_bytes(b"x")
    ear.hears(("after", False))


def test_another_folder_at_the_root_is_noticed(root: Path, ear: Ear) -> None:
    """The watched one was renamed, and an instrument made one of its name. Both times are a loss, and a start."""
    root.rename(root.with_name("former"))
    assert (ear.watch.check(1.0), ear.watch.present, ear.watch.lost) == (None, False, 1)
    root.mkdir()
    assert (ear.watch.check(2.0), ear.watch.present, ear.watch.up) == ("start", True, True)
    (root / "after").write_bytes(b"x")
    ear.hears(("after", False))


def test_one_handle_watches_a_tree_and_its_folders_can_be_renamed(root: Path) -> None:
    """However many there are below: the watch holds the root, and a thread."""
    for number in range(50):
        (root / f"run/{number}").mkdir()
    first = Ear(root)  # what the first one loads stays
    first.watch.close()
    before = nt.open_handles()
    ear = Ear(root)
    assert nt.open_handles() - before < 10
    (root / "run/1").rename(root / "run/one")
    (root / "run").rename(root / "run.d")
    ear.watch.close()
    assert nt.open_handles() <= before
