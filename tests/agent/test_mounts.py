"""What file system a path lies on, asked of real mount tables."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.files import LOCAL, Volume
from agent.files.posix import mounts
from agent.files.posix.mounts import file_system, real, unmounted

TOLD = """
import sys
from agent.files import LOCAL
for path in sys.argv[2:]:
    found = LOCAL.volume(path)
    print(found.kind, found.mounted_at)
"""
UNMOUNTED = (
    "import sys; from agent.files.posix import mounts;"
    " print(*(mounts.unmounted(path, sys.argv[1]) for path in sys.argv[2:]))"
)


@pytest.mark.skipif(sys.platform != "linux", reason="the mount table is Linux's")
def test_the_root_and_proc_are_known() -> None:
    """Well-known mount points are told with their kind."""
    assert file_system("/").mounted_at == "/"
    found = file_system("/proc/self/status")
    assert (found.kind, found.mounted_at) == ("proc", "/proc")


def test_the_longest_mount_point_counts(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """The nearest mount point above a path counts, not one whose name only begins alike, and the topmost of two."""
    (tmp_path / "data/inner").mkdir(parents=True)
    (tmp_path / "database").mkdir()
    script = """
mount -t tmpfs tmpfs "$1/data"
mkdir "$1/data/inner"
mount -t tmpfs tmpfs "$1/data/inner"
mount -t ramfs ramfs "$1/data/inner"
"""
    paths = [tmp_path / path for path in ("data", "data/x/missing", "data/inner", "data/inner/x", "data/inner-not")]
    told = with_mounts(script, TOLD, tmp_path, *paths, tmp_path / "database").splitlines()
    real = os.path.realpath(tmp_path)
    assert told[:-1] == [
        f"tmpfs {real}/data",
        f"tmpfs {real}/data",
        f"ramfs {real}/data/inner",
        f"ramfs {real}/data/inner",
        f"tmpfs {real}/data",
    ]
    assert f" {real}/data" not in told[-1]


def test_odd_names_of_mount_points(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """Spaces, tabs, newlines and backslashes, which the table escapes, letters beyond ASCII, and what else may end a line."""
    name = tmp_path / "a b\tc\nd\\e\\040 ü\x0cg\x85h\u2028i"
    name.mkdir()
    told = with_mounts('mount -t tmpfs tmpfs "$1"', TOLD, name, name / "scan.dat")
    assert told == f"tmpfs {os.path.realpath(name)}\n"


def test_a_link_is_where_it_leads(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """A path through a link lies on the file system that the link leads to."""
    (tmp_path / "mount").mkdir()
    (tmp_path / "link").symlink_to("mount")
    told = with_mounts('mount -t tmpfs tmpfs "$1"', TOLD, tmp_path / "mount", tmp_path / "link/x")
    assert told == f"tmpfs {os.path.realpath(tmp_path)}/mount\n"


@pytest.mark.parametrize(
    ("kind", "remote"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("fuseblk", True), ("ext4", False), ("xfs", False), ("unknown", False)],
)  # fmt: skip
def test_remote_file_systems_are_known(kind: str, remote: bool) -> None:
    """Where other machines may write unseen, and FUSE, which may hide anything, count as remote."""
    assert Volume(kind, "/").remote == remote


def fstab(tmp_path: Path, text: str) -> str:
    path = tmp_path / "fstab"
    path.write_bytes(os.fsencode(text))
    return str(path)


def test_what_should_be_mounted_and_is_not(tmp_path: Path) -> None:
    """A path at or below a mount point of fstab where nothing is mounted is told, with that mount point."""
    share = tmp_path / "share"
    share.mkdir()
    table = fstab(
        tmp_path, f"# comment\n\nUUID=1 / ext4 defaults 0 1\n//server/x {share} cifs defaults 0 0\nx none swap\n"
    )
    real = os.path.realpath(share)
    assert unmounted(str(share), table) == real
    assert unmounted(str(share / "beamline7/missing"), table) == real
    assert unmounted(str(tmp_path / "share2"), table) is None
    assert unmounted(str(tmp_path), table) is None


@pytest.mark.parametrize("device", ["sshfs#user@host:/data", "//server/share#1", "UUID=1"])
@pytest.mark.parametrize("options", ["defaults 0 0", "password=a#b 0 0", ""])
def test_every_line_but_comments_counts(tmp_path: Path, device: str, options: str) -> None:
    """A "#" within a line is part of it; only lines that begin with one are comments."""
    share = tmp_path / "share"
    share.mkdir()
    assert unmounted(str(share), fstab(tmp_path, f"{device}\t{share}\tcifs {options}\n")) == os.path.realpath(share)
    assert unmounted(str(share), fstab(tmp_path, f"  # {device} {share} cifs {options}\n")) is None


def test_odd_names_in_fstab(tmp_path: Path) -> None:
    """Escaped spaces and bytes that are no UTF-8 are read; a missing fstab asks for nothing."""
    share = tmp_path / os.fsdecode(b"my share \xff")
    share.mkdir()
    table = fstab(tmp_path, f"x {str(share).replace(' ', chr(92) + '040')} cifs\n")
    assert unmounted(str(share / "x"), table) == os.path.realpath(share)
    assert unmounted(str(share), str(tmp_path / "missing")) is None


def test_what_is_mounted_is_fine(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """A mounted file system, and a bind mount of a directory of the same one, are there."""
    for name in ("share", "real", "bound", "absent"):
        (tmp_path / name).mkdir()
    table = fstab(
        tmp_path,
        f"x {tmp_path}/share tmpfs\n{tmp_path}/real {tmp_path}/bound none bind 0 0\nx {tmp_path}/absent nfs\n",
    )
    script = 'mount -t tmpfs tmpfs "$2"; mount --bind "$5" "$3"'
    paths = [tmp_path / name for name in ("share", "bound", "absent", "real")]
    assert with_mounts(script, UNMOUNTED, table, *paths) == f"None None {os.path.realpath(tmp_path)}/absent None\n"


def test_a_missing_mount_point_is_unmounted(tmp_path: Path) -> None:
    """A mount point whose directory does not even exist is not mounted."""
    table = fstab(tmp_path, f"x {tmp_path}/share cifs\n")
    assert unmounted(str(tmp_path / "share/x"), table) == f"{os.path.realpath(tmp_path)}/share"


def test_links_are_followed_up_to_what_may_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing below the mount point of a file system that others answer for is asked: links on it stay, those to it do not."""
    here = Path(os.path.realpath(tmp_path))
    (here / "nas/far").mkdir(parents=True)
    (here / "short").symlink_to("nas/far")
    (here / "nas/far/link").symlink_to(here)
    (here / "loop").symlink_to("loop")
    assert real(str(here / "short/link")) == str(here), "where nothing may hang, all links are followed"
    monkeypatch.setattr(mounts, "_mounted", lambda: [Volume("ext4", "/"), Volume("nfs4", f"{here}/nas/far")])
    assert real(f"{here}/short/link/x/../y") == f"{here}/nas/far/link/y"
    assert real(f"{here}/nas/../short") == f"{here}/nas/far"
    assert real(f"{here}/missing/x") == f"{here}/missing/x"
    assert real(f"{here}/loop/x").endswith("/loop/x")
    assert LOCAL.resolve(f"{here}/short/link") == f"{here}/nas/far/link"
    assert (LOCAL.volume(f"{here}/short/link").may_hang, LOCAL.volume(str(here)).may_hang) == (True, False)


WRITERS = """
import os, subprocess, sys
from agent.files import LOCAL, volumes
volumes._LOCAL -= {"ramfs"}  # as if it were a share
LOCAL.prepare()
top = sys.argv[1]

def asked(*paths):
    with LOCAL.tree(top) as tree:
        for path in paths:
            with tree.open(path) as handle:
                print(handle.writer().name, end=" ")

def below(*command):
    subprocess.run([*command, f"{top}/below"], check=True)
    os.path.exists(f"{top}/below/file") or open(f"{top}/below/file", "w").close()
    asked("file", "below/file")

asked("file", "below/file")
for kind in ("ramfs", "tmpfs"):
    below("mount", "-t", kind, kind)
    subprocess.run(["umount", f"{top}/below"], check=True)
    asked("below/file")
with LOCAL.tree(top) as tree, tree.open("below/file") as handle:
    subprocess.run(["mount", "-t", "ramfs", "ramfs", f"{top}/below"], check=True)
    print(handle.writer().name)
"""


def test_writers_are_asked_of_the_file_system_that_the_file_is_on(
    with_mounts: Callable[..., str], tmp_path: Path
) -> None:
    """A share mounted below a local folder cannot tell, as long as it is mounted; what is open stays where it was opened."""
    (tmp_path / "below").mkdir()
    for name in ("file", "below/file"):
        (tmp_path / name).touch()
    told = with_mounts(
        'mount -t tmpfs tmpfs "$1"; mkdir "$1/below"; touch "$1/file" "$1/below/file"', WRITERS, tmp_path
    )
    assert told.split() == ["NONE", "NONE", "NONE", "CANNOT_TELL", "NONE", "NONE", "NONE", "NONE", "NONE"]


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "autofs", "unknown", "somefs"])
def test_only_known_file_systems_know_their_writers(kind: str) -> None:
    """A kind that nobody named is no proof that nobody writes."""
    assert not Volume(kind, "/").knows_writers
    assert Volume("ext4", "/").knows_writers


@pytest.mark.skipif(shutil.which("bindfs") is None or not os.path.exists("/dev/fuse"), reason="needs bindfs and FUSE")
def test_fuse_below_a_local_folder_cannot_tell(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """Whatever a FUSE file system hides, it is asked as itself."""
    for name in ("root", "root/below", "hidden"):
        (tmp_path / name).mkdir()
    for name in ("root/file", "hidden/file"):
        (tmp_path / name).touch()
    code = (
        "import sys; from agent.files import LOCAL; LOCAL.prepare(); tree = LOCAL.tree(sys.argv[1] + '/root');"
        " print(*(tree.open(path).writer().name for path in ('file', 'below/file')))"
    )
    told = with_mounts('bindfs "$1/hidden" "$1/root/below"', code, tmp_path)
    assert told.split() == ["NONE", "CANNOT_TELL"]
