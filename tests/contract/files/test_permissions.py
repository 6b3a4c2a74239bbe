"""Who may use what is made: never more than might use what it stands for."""

import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.files.posix import PosixTree
from agent.files.posix.making import widest
from agent.files.trouble import Trouble, What
from rules.model import Observation
from tests.contract.files.computers import Computer, Here

SOURCE = {"": 0o755, "private": 0o700, "private/open": 0o775, "shared": 0o2770}
ACL_XATTR = "system.posix_acl_default"


@pytest.fixture
def source(here: Here) -> Iterator[PosixTree]:
    """A watched directory whose directories are not for everybody."""
    for path, mode in SOURCE.items():
        os.makedirs(f"{here.outside}/{path}", exist_ok=True)
        os.chmod(f"{here.outside}/{path}", mode)
    with PosixTree(here.outside) as tree:
        yield tree


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


def modes(here: Here) -> dict[str, int]:
    """What stands below the root, with its permissions."""
    found = (Path(top, name) for top, names, _ in os.walk(here.root) for name in names)
    return {str(path.relative_to(here.root)): stat.S_IMODE(path.stat().st_mode) for path in found}


@pytest.mark.parametrize(
    ("path", "like", "made"),
    [
        ("private/open", "private/open", {"private": 0o700, "private/open": 0o775}),
        ("2026/01/shared", "shared", {"2026": 0o755, "2026/01": 0o755, "2026/01/shared": 0o770}),
        ("flat", "private/open", {"flat": 0o700}),
        ("flat/open", "private/open", {"flat": 0o700, "flat/open": 0o700}),
        ("open", "private/open", {"open": 0o700}),
        ("one/two", "", {"one": 0o755, "one/two": 0o755}),
        ("gone/away", "gone/away", {"gone": 0o700, "gone/away": 0o700}),
        (".dropline-trash/7/shared", "shared", {
            ".dropline-trash": 0o700, ".dropline-trash/7": 0o755, ".dropline-trash/7/shared": 0o770,
        }),
    ],
)  # fmt: skip
def test_a_new_directory_is_no_wider_than_what_it_stands_for(
    here: Here, source: PosixTree, path: str, like: str, made: dict[str, int]
) -> None:
    """Those above stand for what is left of the source; what is gone is private; so is the trash."""
    with here.files.tree(here.root) as tree:
        tree.make_directory(path, (source, like))
    assert modes(here) == made


PARTS = st.lists(st.sampled_from("ab"), max_size=4)


@given(PARTS.filter(bool), PARTS, st.data())
def test_nobody_is_let_in_who_was_kept_out(path: list[str], source: list[str], data: st.DataObject) -> None:
    """Whatever the two paths have in common: who may pass all that was made might pass all that it stands for."""
    theirs = ["/".join(source[:number]) for number in range(len(source) + 1)]
    kept = {one: data.draw(st.integers(0, 0o777), one) for one in theirs}
    made = list(widest("/".join(path), "/".join(source), kept.__getitem__))
    assert len(made) == len(path)
    if path == source:
        del kept[""]  # nothing is made that stands for the root
    for bit in range(9):
        assert not all(mode >> bit & 1 for mode in made) or all(mode >> bit & 1 for mode in kept.values())


def test_a_mode_that_was_asked_for_is_what_it_says(here: Here, source: PosixTree) -> None:
    """Whatever the umask and the source say; the group of the directory above goes on below; what was there stays."""
    os.mkdir(f"{here.root}/old", 0o700)
    os.chmod(here.root, 0o2755)
    with here.files.tree(here.root) as tree:
        tree.make_directory("private/open", (source, "private/open"), 0o777)
        tree.make_directory("old/.dropline-trash", None, 0o777)
    assert modes(here) == {
        "old": 0o700, "old/.dropline-trash": 0o700, "private": 0o2777, "private/open": 0o2777,
    }  # fmt: skip


def test_a_default_acl_rules_where_there_is_one(here: Here, source: PosixTree) -> None:
    """A private source would mask out the group that it is for."""
    entries = [(0x01, 7, 2**32 - 1), (0x04, 7, 2**32 - 1), (0x08, 5, 4711), (0x10, 7, 2**32 - 1), (0x20, 0, 2**32 - 1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)  # acl(5), posix_acl_xattr.h
    try:
        os.setxattr(here.root, ACL_XATTR, acl)
    except OSError:
        pytest.skip("no ACLs here")
    Path(here.outside, "file").write_bytes(b"x")
    os.chmod(f"{here.outside}/file", 0o600)
    with here.files.tree(here.root) as tree, source.open("file") as like:
        tree.make_directory("private/open", (source, "private/open"))
        tree.create("private/file", like).close()
    assert stat.S_IMODE(os.stat(f"{here.root}/private/file").st_mode) == 0o660
    assert modes(here) == {"private": 0o770, "private/open": 0o770}
    assert os.getxattr(f"{here.root}/private", "system.posix_acl_access") == acl


def test_a_trash_of_an_earlier_version_is_closed_to_others(here: Here) -> None:
    """When something is moved there."""
    os.mkdir(f"{here.root}/.dropline-trash", 0o755)
    with here.files.tree(here.root) as tree:
        tree.make_directory(".dropline-trash/1")
    assert modes(here)[".dropline-trash"] == 0o700


def test_a_trash_that_is_whole_is_closed_to_others(here: Here) -> None:
    """Though nothing has to be made in it."""
    os.makedirs(f"{here.root}/.dropline-trash/1")
    os.chmod(f"{here.root}/.dropline-trash", 0o770)
    with here.files.tree(here.root) as tree:
        tree.make_directory(".dropline-trash/1")
    assert modes(here)[".dropline-trash"] == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
@pytest.mark.parametrize("planted", [".dropline-trash", ".dropline-trash/1", ".dropline-trash/1/private"])
@pytest.mark.parametrize("mode", [0o777, 0o700])
def test_nothing_is_moved_to_a_trash_that_another_user_made(here: Here, planted: str, mode: int) -> None:
    """They may have it open, and let anybody in: the file stays where it is, and the reason says what to remove."""
    os.mkdir(f"{here.root}/private", 0o700)
    here.write(f"{here.root}/private/file", b"x")
    os.makedirs(f"{here.root}/.dropline-trash/1/private")
    os.chown(f"{here.root}/{planted}", 12345, -1)
    os.chmod(f"{here.root}/{planted}", mode)
    with here.files.tree(here.root) as tree:
        seen = tree.look("private/file")
        assert isinstance(seen, Observation)
        with pytest.raises(Trouble) as caught:
            tree.move_aside("private/file", ".dropline-trash/1/private/file", seen.version)
    reason = f"{here.root}/{planted} was made by another user (uid 12345), or for others; remove it"
    assert (caught.value.what, caught.value.reason) == (What.NOT_PERMITTED, reason)
    assert here.read(f"{here.root}/private/file") == b"x"
    assert sorted(os.listdir(here.root)) == [".dropline-trash", "private"]


def test_what_is_moved_aside_and_put_back_stays_private(here: Here) -> None:
    """In the trash, and where its directory went away meanwhile."""
    os.chmod(here.root, 0o755)
    os.mkdir(f"{here.root}/private", 0o700)
    here.write(f"{here.root}/private/file", b"x")
    with here.files.tree(here.root) as tree:
        seen = tree.look("private/file")
        assert isinstance(seen, Observation)
        tree.move_aside("private/file", ".dropline-trash/1/private/file", seen.version).close()
    os.rmdir(f"{here.root}/private")
    assert modes(here) == {
        ".dropline-trash": 0o700, ".dropline-trash/1": 0o755, ".dropline-trash/1/private": 0o700,
    }  # fmt: skip
    with here.files.tree(here.root) as tree, tree.hold(".dropline-trash/1/private/file", seen.version, None) as held:
        held.put_back("private/file")
    assert modes(here)["private"] == 0o700


@pytest.mark.parametrize(
    ("theirs", "mode", "made"),
    [(0o600, None, 0o600), (0o444, None, 0o644), (0o4755, None, 0o755), (0o600, 0o664, 0o664)],
)
def test_a_copy_is_for_whom_its_source_was_or_for_whom_the_mode_says(
    here: Here, source: PosixTree, theirs: int, mode: int | None, made: int
) -> None:
    """Never wider without a mode, whatever the umask with one; setuid does not travel; the owner may replace it."""
    path = Path(here.outside, "file")
    path.write_bytes(b"x")
    path.chmod(theirs)
    with here.files.tree(here.root) as tree, source.open("file") as like:
        tree.create("copy", like, mode).close()
    assert stat.S_IMODE(os.stat(f"{here.root}/copy").st_mode) == made


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to any group")
def test_what_is_made_has_the_group_that_was_asked_for(here: Here, source: PosixTree) -> None:
    """Files and directories, and nothing that was there before."""
    os.mkdir(f"{here.root}/old")
    with here.files.tree(here.root) as tree:
        tree.make_directory("old/new/deep", (source, "private"), 0o750, 4711)
        tree.create("old/new/file", None, 0o640, 4711).close()
    found = {one: os.stat(f"{here.root}/old{one}") for one in ("", "/new", "/new/deep", "/new/file")}
    assert {one: (status.st_gid, stat.S_IMODE(status.st_mode)) for one, status in found.items() if one} == {
        "/new": (4711, 0o750), "/new/deep": (4711, 0o750), "/new/file": (4711, 0o640),
    }  # fmt: skip
    assert found[""].st_gid == os.getegid()


# What the agent's user may not remove

NOBODY, SOMEBODY = 65534, 65533


@pytest.fixture
def as_nobody(here: Here) -> Iterator[PosixTree]:
    """The root, opened before the test goes on as an ordinary user."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who can become others")
    os.chmod(here.root, 0o777)
    with here.files.tree(here.root) as tree:
        yield tree


def asked(tree: PosixTree, path: str, aside: str) -> str | None:
    """The answer to an ordinary user."""
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        return tree.cannot_move_aside(path, aside)
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize(
    ("mode", "owners", "why"),
    [
        (0o777, (SOMEBODY, SOMEBODY), None),
        (0o1777, (NOBODY, SOMEBODY), None),
        (0o1777, (SOMEBODY, NOBODY), None),
        (0o1777, (SOMEBODY, SOMEBODY), "{} lets only the owner remove a file (it is sticky), and the agent's user owns neither;"
         " run the agent as the owner, or `chmod -t {}`"),
        (0o755, (SOMEBODY, NOBODY), "the agent's user may not remove files from {}; let it write there"),
    ],
)  # fmt: skip
def test_a_file_that_may_not_be_removed(
    here: Here, as_nobody: PosixTree, mode: int, owners: tuple[int, int], why: str | None
) -> None:
    """The kernel's rule for a directory and its owner, asked without a rename."""
    run = f"{here.root}/run"
    here.directory(run)
    here.write(f"{run}/a")
    os.chmod(run, mode)
    for path, owner in zip((run, f"{run}/a"), owners, strict=True):
        os.chown(path, owner, -1)
    assert asked(as_nobody, "run/a", "run/.dropline-reclaim-1") == (why and why.replace("{}", run))


@pytest.mark.parametrize(
    ("owner", "root", "why"),
    [
        (None, 0o777, None),
        (None, 0o755, "the agent's user may not make .dropline-trash in {}; let it write there"),
        (NOBODY, 0o755, None),
        (SOMEBODY, 0o777, "{}/.dropline-trash was made by another user (uid 65533); remove it"),
    ],
)
def test_a_trash_that_cannot_be_used(
    here: Here, as_nobody: PosixTree, owner: int | None, root: int, why: str | None
) -> None:
    """It cannot be made, or another user has it."""
    here.directory(f"{here.root}/run")
    here.write(f"{here.root}/run/a")
    os.chmod(f"{here.root}/run", 0o777)
    os.chmod(here.root, root)
    if owner is not None:
        here.directory(f"{here.root}/.dropline-trash")
        os.chown(f"{here.root}/.dropline-trash", owner, -1)
    assert asked(as_nobody, "run/a", ".dropline-trash/1/run/a") == (why and why.replace("{}", here.root))


@pytest.mark.skipif(sys.platform != "linux", reason="chattr is of Linux")
@pytest.mark.parametrize(("name", "flag"), [("run", "+i"), ("run", "+a"), ("run/a", "+i"), ("run/a", "+a")])
def test_what_nobody_may_remove(here: Here, name: str, flag: str) -> None:
    """Root neither."""
    here.directory(f"{here.root}/run")
    here.write(f"{here.root}/run/a")
    path, run = f"{here.root}/{name}", f"{here.root}/run"
    if subprocess.run(["chattr", flag, path], capture_output=True, check=False).returncode:
        pytest.skip("needs a file system with such attributes, and root")
    try:
        with here.files.tree(here.root) as tree:
            found = tree.cannot_move_aside("run/a", "run/.dropline-reclaim-1")
    finally:
        subprocess.run(["chattr", "-i", "-a", path], check=True)
    it = f"{run} is immutable or append-only; `chattr -i -a {run}`"
    file = f"it is immutable or append-only; `chattr -i -a` lets it go, as all of its kind in {run}"
    assert found == (it if name == "run" else file)


def test_what_is_gone_may_not_be_moved_aside(computer: Computer) -> None:
    """It is found gone by the rename; nothing is raised."""
    computer.directory(f"{computer.root}/run")
    with computer.files.tree(computer.root) as tree:
        assert tree.cannot_move_aside("run/a", "run/.dropline-reclaim-1") is None
