"""Files that a program has open, and files that the agent has open when a program wants them."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.files import LOCAL, Trouble, What
from agent.files.reader import Examined, examine
from rules.model import Writer

if sys.platform != "win32":
    pytest.skip("needs Windows; tests/windows/test_lane.py runs it in Wine", allow_module_level=True)

from agent.files.windows import nt, oplock, yielding
from agent.files.windows.yielding import YieldingHandle
from tests.windows.instrument import MODES, SharedPen

PATIENCE = 5.0


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A folder, as the agent writes it."""
    return tmp_path.as_posix()


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_is_open_for_writing_has_a_writer_however_it_is_shared(
    mode: str, tmp_path: Path, root: str
) -> None:
    """And none when it is closed."""
    pen = SharedPen(tmp_path / "a.raw", MODES[mode])
    pen.write(b"x")
    with LOCAL.tree(root) as tree:
        found = examine(tree, "a.raw")
        assert isinstance(found, Examined)
        assert (found.writer, found.seen.version.size) == (Writer.OPEN, 1)
        pen.close()
        found = examine(tree, "a.raw")
        assert isinstance(found, Examined)
        assert (found.writer, found.seen.version.size) == (Writer.NONE, 1)


def test_a_reader_is_no_writer(tmp_path: Path, root: str) -> None:
    """A viewer may have the file open for long."""
    (tmp_path / "a.raw").write_bytes(b"x")
    with LOCAL.tree(root) as tree, (tmp_path / "a.raw").open("rb"):
        found = examine(tree, "a.raw")
    assert isinstance(found, Examined)
    assert found.writer is Writer.NONE


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_was_only_looked_at_can_be_opened_in_any_mode(mode: str, tmp_path: Path, root: str) -> None:
    """A look, a listing and an open tree are in nobody's way."""
    (tmp_path / "a.raw").write_bytes(b"x")
    with LOCAL.tree(root) as tree:
        tree.look("a.raw")
        list(tree.scan("", 10))
        SharedPen(tmp_path / "a.raw", MODES[mode]).close()
        (tmp_path / "a.raw").rename(tmp_path / "b.raw")


def test_no_handle_below_a_folder_outlives_an_operation(tmp_path: Path, root: str) -> None:
    """Windows renames no folder while one is open, and an instrument renames its folder at the end of a run."""
    (tmp_path / "run/sub").mkdir(parents=True)
    for name in "abc":
        (tmp_path / f"run/sub/{name}").write_bytes(b"x")
    with LOCAL.tree(root) as tree:
        examine(tree, "run/sub/a")  # what the first one loads stays
        before = nt.open_handles()
        uses: list[Callable[[], object]] = [
            lambda: tree.look("run/sub/a"), lambda: tree.look("run/sub/missing"), lambda: tree.look("run/a/b"),
            lambda: tree.names("run/sub"), lambda: examine(tree, "run/sub/a"), lambda: examine(tree, "run/sub"),
            lambda: tree.make_directory("run/new/below"), lambda: tree.rename_new("run/sub/c", "run/new/c"),
            lambda: tree.unlink("run/new/c"), lambda: tree.remove_directory("run/new/below"), lambda: tree.sync("run"),
            tree.writable,
        ]  # fmt: skip
        for number, use in enumerate(uses):
            use()
            assert (number, nt.open_handles()) == (number, before)
        for _ in tree.scan("run/sub", 1):
            assert nt.open_handles() == before, "while somebody takes the entries"


@pytest.fixture
def granted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oplocks are granted, as NTFS does. A test breaks one by its event."""
    monkeypatch.setattr(oplock, "_request", lambda *_: True)
    monkeypatch.setattr(oplock, "_ENDS_WITHIN", 1)


def _broken(handle: object) -> None:
    """Break an oplock, and wait until the file is given up."""
    assert isinstance(handle, YieldingHandle)
    oplock._kernel.SetEvent(handle._oplock.event)
    ended = threading.Event()
    for _ in range(1000):
        if not handle.handle:
            return
        ended.wait(PATIENCE / 1000)
    raise AssertionError("the file is still open")


@pytest.mark.usefixtures("granted")
def test_a_file_is_given_up_when_a_program_wants_it(tmp_path: Path, root: str) -> None:
    """Its exclusive open succeeds; here the file is busy, and has a writer."""
    (tmp_path / "a.raw").write_bytes(b"x")
    with LOCAL.tree(root) as tree, tree.open("a.raw") as handle:
        assert (handle.writer(), handle.read(0, 10)) == (Writer.NONE, b"x")
        with pytest.raises(PermissionError):
            SharedPen(tmp_path / "a.raw", MODES["exclusive"])
        _broken(handle)
        assert isinstance(handle, YieldingHandle)
        assert (handle.handle, handle._attributes) == (0, 0), "a folder above can be renamed"
        SharedPen(tmp_path / "a.raw", MODES["exclusive"]).close()
        assert handle.writer() is Writer.OPEN
        for use in (lambda: handle.read(0, 1), handle.look, handle.named):
            with pytest.raises(Trouble) as raised:
                use()
            assert raised.value.what is What.BUSY


@pytest.mark.usefixtures("granted")
def test_a_file_that_is_wanted_before_it_is_open_is_busy(
    tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it stays open, and the question about its writer says that it has one."""
    (tmp_path / "a.raw").write_bytes(b"x")
    opened = nt.opened
    wants: list[Callable[[], None]] = []

    def wanted(name: str, directory: int | None, access: int, **how: int) -> int:
        handle = opened(name, directory, access, **how)
        if name == "a.raw" and access & nt.READ_DATA:
            wants[-1]()  # while it is opened
        return handle

    class Remembered(oplock.Oplock):
        """An oplock whose break a test brings about."""

        def __init__(self, handle: int, broken: Callable[[], None]) -> None:
            wants.append(broken)
            super().__init__(handle, broken)

    monkeypatch.setattr(yielding, "Oplock", Remembered)
    monkeypatch.setattr(nt, "opened", wanted)
    with LOCAL.tree(root) as tree:
        before = nt.open_handles()
        found = examine(tree, "a.raw")
        assert isinstance(found, Examined)
        assert found.writer is Writer.OPEN
        assert nt.open_handles() <= before
