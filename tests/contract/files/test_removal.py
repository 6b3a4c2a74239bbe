"""A file on its way out: renamed aside, held, compared, and unlinked or put back."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.files import ABSENT, LOCAL, Handle, OtherVersion, Tree, Trouble, What
from rules.model import FileId, Observation, Version
from tests.campaign.moody import mounted

if sys.platform != "win32":
    from agent.files.posix import writer_probe
    from agent.files.posix.volume_ids import TreeVolumes

KEPT_AWAY = pytest.mark.skipif(sys.platform == "win32", reason="nobody can write to what is held on Windows")

if TYPE_CHECKING:
    from tests.contract.files.computers import Computer, Here

OTHERS: dict[str, Callable[[Version], Version]] = {
    "size": lambda version: version._replace(size=version.size + 1),
    "mtime": lambda version: version._replace(mtime_ns=version.mtime_ns + 1),
    "ctime": lambda version: version._replace(ctime_ns=version.ctime_ns + 1),
    "identity": lambda version: version._replace(file_id=FileId(version.file_id + 1)),
}
"""Versions that differ in one thing alone."""


def version(tree: Tree, path: str) -> Version:
    seen = tree.look(path)
    assert isinstance(seen, Observation)
    return seen.version


def never(_: Handle) -> bool:
    raise AssertionError("the stamps are enough")


def test_what_is_as_it_was_is_removed(computer: "Computer") -> None:
    """It stands aside under its new name alone, with another ctime, and then nowhere."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        with tree.move_aside("file", "sub/aside", proved) as held:
            assert tree.look("file") is ABSENT
            assert version(tree, "sub/aside") == proved._replace(ctime_ns=held.ctime_ns)
            assert held.whole()
            assert held.unlink(never)
        assert tree.look("sub/aside") is ABSENT


def test_depth_is_no_hindrance(computer: "Computer") -> None:
    """A file more directories deep than are kept open is moved aside as deep, and is whole there."""
    deep = "/".join(["d"] * 70)
    with computer.files.tree(computer.root) as tree:
        tree.make_directory(deep)
        tree.create(f"{deep}/file").close()
        with tree.move_aside(f"{deep}/file", f"aside/{deep}/file", version(tree, f"{deep}/file")) as held:
            assert (held.whole(), held.unlink(never)) == (True, True)


@pytest.mark.parametrize("what", OTHERS)
def test_another_version_is_not_moved(computer: "Computer", what: str) -> None:
    """Size, mtime, ctime and identity each make it another one."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        before = version(tree, "file")
        with pytest.raises(OtherVersion) as caught:
            tree.move_aside("file", "aside", OTHERS[what](before))
        assert (caught.value.seen.version, version(tree, "file"), tree.look("aside")) == (before, before, ABSENT)


def test_a_file_with_a_writer_is_not_moved(computer: "Computer") -> None:
    """BUSY, whoever has it open for writing; nothing happened to it."""
    computer.write(f"{computer.root}/file", b"x")
    pen = computer.pen(f"{computer.root}/file")
    with computer.files.tree(computer.root) as tree:
        before = version(tree, "file")
        with pytest.raises(Trouble) as caught:
            tree.move_aside("file", "aside", before)
        assert (caught.value.what, version(tree, "file")) == (What.BUSY, before)
    pen.close()


def test_a_taken_name_is_not_taken_again(computer: "Computer") -> None:
    """Neither aside nor back: EXISTS, and both files are as they were."""
    for name in ("file", "aside"):
        computer.write(f"{computer.root}/{name}", name.encode())
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        with pytest.raises(Trouble) as caught:
            tree.move_aside("file", "aside", proved)
        assert (caught.value.what, version(tree, "file")) == (What.EXISTS, proved)
        computer.remove(f"{computer.root}/aside")
        with tree.move_aside("file", "aside", proved) as held:
            computer.write(f"{computer.root}/file", b"newer")
            with pytest.raises(Trouble) as caught:
                held.put_back("file")
            assert (caught.value.what, held.whole()) == (What.EXISTS, True)
    assert [computer.read(f"{computer.root}/{name}") for name in ("file", "aside")] == [b"newer", b"file"]


def _write_and_date_back(computer: "Computer", path: str) -> None:
    with computer.files.tree(computer.root) as tree:
        before = version(tree, "aside")
    computer.write(path, b"y")
    computer.set_mtime(path, before.mtime_ns)


CHANGES: dict[str, Callable[["Computer", str], None]] = {
    "written": lambda computer, path: computer.write(path, b"y"),
    "written, and dated back": _write_and_date_back,
    "dated": lambda computer, path: computer.set_mtime(path, 10**18),
    "gone": lambda computer, path: computer.remove(path),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_where_it_stands_is_not_removed(computer: "Computer", change: str) -> None:
    """What waits aside is compared with what it was when it came there."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        with tree.move_aside("file", "aside", proved) as held:
            ctime_ns = held.ctime_ns
        with tree.hold("aside", proved, ctime_ns) as held:
            assert held.whole()
        CHANGES[change](computer, f"{computer.root}/aside")
        if change == "gone":
            with pytest.raises(Trouble) as caught:
                tree.hold("aside", proved, ctime_ns)
            assert caught.value.what is What.ABSENT
            return
        with tree.hold("aside", proved, ctime_ns) as held:
            assert (held.whole(), held.unlink(lambda _: True)) == (False, False)
            assert held.put_back("file") is None, "nobody may take it for what was proved"
        assert tree.look("aside") is ABSENT


def test_another_file_at_the_name_is_not_removed(computer: "Computer") -> None:
    """What is held has lost its name to another file."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree, tree.move_aside("file", "aside", version(tree, "file")) as held:
        computer.rename(f"{computer.root}/aside", f"{computer.root}/elsewhere")
        computer.write(f"{computer.root}/aside", b"theirs")
        assert (held.whole(), held.unlink(lambda _: True)) == (False, False)
    assert computer.read(f"{computer.root}/aside") == b"theirs"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows renames no file whose writer does not allow that")
def test_a_writer_of_what_stands_aside_is_noticed(computer: "Computer") -> None:
    """It is held all the same, so that it can be put back: the writer goes on under its name."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        with tree.move_aside("file", "aside", proved) as held:
            ctime_ns = held.ctime_ns
        pen = computer.pen(f"{computer.root}/aside")
        with tree.hold("aside", proved, ctime_ns) as held:
            assert (held.whole(), held.unlink(lambda _: True)) == (False, False)
            assert held.put_back("file") is None
        pen.write(b" and more")
        pen.close()
    assert computer.read(f"{computer.root}/file") == b"x and more"


@pytest.mark.parametrize("same", [False, True])
def test_without_its_ctime_the_content_decides(computer: "Computer", same: bool) -> None:
    """What it was when it was renamed is not known; what it is while its content is read, and after, is."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        tree.move_aside("file", "aside", proved).close()
        with tree.hold("aside", proved, None) as held:
            read: list[bytes] = []

            def compared(handle: Handle) -> bool:
                read.append(handle.read(0, 10))
                return same

            assert (held.unlink(compared), read, tree.look("aside") is ABSENT) == (same, [b"x"], same)
            if not same:
                assert held.put_back("file") is None


@KEPT_AWAY
def test_a_change_while_the_content_is_read_is_seen(computer: "Computer") -> None:
    """No lease is held meanwhile: nobody waits for a reading that takes hours."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        tree.move_aside("file", "aside", proved).close()

        def compared(_: Handle) -> bool:
            computer.write(f"{computer.root}/aside", b"y")
            return True

        with tree.hold("aside", proved, None) as held:
            assert not held.unlink(compared)
    assert computer.read(f"{computer.root}/aside") == b"y"


def test_nobody_waits_while_the_content_is_read(here: "Here") -> None:
    """That may take hours: a program opens the file for writing at once."""
    here.write(f"{here.root}/file", b"x")
    with here.files.tree(here.root) as tree:
        proved = version(tree, "file")
        tree.move_aside("file", "aside", proved).close()

        def compared(_: Handle) -> bool:
            os.close(os.open(f"{here.root}/aside", os.O_WRONLY | os.O_NONBLOCK))
            return True

        with tree.hold("aside", proved, None) as held:
            assert held.unlink(compared)


@KEPT_AWAY
def test_a_writer_that_comes_while_the_content_is_read_is_seen(computer: "Computer") -> None:
    """It wrote nothing yet."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        tree.move_aside("file", "aside", proved).close()
        pens = []

        def compared(_: Handle) -> bool:
            pens.append(computer.pen(f"{computer.root}/aside"))
            return True

        with tree.hold("aside", proved, None) as held:
            assert not held.unlink(compared)
        pens[0].close()
    assert computer.read(f"{computer.root}/aside") == b"x"


def test_what_is_put_back_whole_keeps_its_proof(computer: "Computer") -> None:
    """Its ctime since then is told: with it, it is the version that was proved."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        with tree.move_aside("file", "aside", proved) as held:
            ctime_ns = held.put_back("new/file")
        assert ctime_ns is not None
        assert version(tree, "new/file") == proved._replace(ctime_ns=ctime_ns)


def test_what_is_put_back_without_its_ctime_keeps_no_proof(computer: "Computer") -> None:
    """It may have been written to since it was proved, though nobody writes to it now."""
    computer.write(f"{computer.root}/file", b"x")
    with computer.files.tree(computer.root) as tree:
        proved = version(tree, "file")
        tree.move_aside("file", "aside", proved).close()
        with tree.hold("aside", proved, None) as held:
            assert (held.whole(), held.put_back("file")) == (True, None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps writers away by the share mode, without leases")
@pytest.mark.parametrize("why", ["remote", "no leases"])
def test_where_there_is_no_lease_the_content_decides(here: "Here", monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Other machines may write, or nobody can be asked: stamps alone remove nothing, and keep no proof."""
    if why == "remote":
        monkeypatch.setattr(TreeVolumes, "remote", lambda *_: True)
    else:
        monkeypatch.setattr(writer_probe, "_prepared", False)
    here.write(f"{here.root}/file", b"x")
    with here.files.tree(here.root) as tree:
        proved = version(tree, "file")
        with tree.move_aside("file", "aside", proved) as held:
            assert (held.whole(), held.unlink(lambda _: False)) == (True, False)
            assert held.put_back("file") is None
        with tree.move_aside("file", "aside", version(tree, "file")) as held:
            assert held.unlink(lambda handle: handle.read(0, 2) == b"x")
        assert tree.look("aside") is ABSENT


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FUSE")
def test_a_file_is_put_back_where_that_makes_it_another_file(tmp_path: Path) -> None:
    """FUSE knows no exclusive rename: by a link and an unlink what was open is lost. It is back all the same, without proof."""
    with mounted(tmp_path / "moody") as share:
        (share.path / "file").write_bytes(b"x")
        with LOCAL.tree(str(share.path)) as tree:
            with tree.move_aside("file", "aside", version(tree, "file")) as held:
                assert (held.whole(), held.put_back("file")) == (True, None)
            assert tree.names("") == ["file"]
