"""What identifies a file system, asked of real ones; and what the intake makes of one that was mounted again."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.files import LOCAL
from agent.ledger import State
from rules.model import STABLE_VOLUME, Kind, Observation, VolumeId
from tests.agent.test_scanner import delivered, put_into, states, surveyed, swept

SCENE = """
import os, subprocess, sys
from agent.files import LOCAL
from rules.model import STABLE_VOLUME
root = sys.argv[1]
def sh(*command): subprocess.run(command, check=True, capture_output=True)
def volume(path="file"):
    with LOCAL.tree(root) as tree:
        seen, (listed,) = tree.look(path), tree.scan("", 10)
        with tree.open(path) as handle:
            same = {seen.volume, handle.opened.volume, handle.look().volume, LOCAL.look(f"{root}/{path}").volume}
        assert same == {entry[5] for entry in listed.entries} == {listed.volume}, "one answer, however it is asked"
        return seen.volume
"""


def test_a_memory_disk_is_another_one_after_each_mount(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """By whatever mount of it that it is reached, it is the same."""
    code = """
found = []
for _ in range(2):
    sh("mount", "-t", "tmpfs", "tmpfs", root)
    open(f"{root}/file", "w").close()
    os.mkdir(f"{root}/d"); open(f"{root}/d/file", "w").close()
    found.append(volume())
    here, root = root, "/mnt"
    sh("mount", "--bind", here, root)
    print(volume() == found[-1])
    sh("umount", root)
    root = here
    sh("umount", root)
print(len({*found}), any(one & STABLE_VOLUME for one in found))
"""
    assert with_mounts("true", SCENE + code, tmp_path) == "True\nTrue\n2 False\n"


def test_a_disk_keeps_its_identity(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """Mounted by another device number it is the same; another disk under the same device number is another one."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4 (e2fsprogs)")
    for name in ("one", "two"):
        disk = tmp_path / name
        with disk.open("wb") as file:
            file.truncate(8 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True, capture_output=True)
    root = tmp_path / "root"
    root.mkdir()
    code = """
def mounted(disk):
    try: sh("mount", "-o", "loop", disk, root)
    except subprocess.CalledProcessError as error: print("skip", error.stderr.decode()); sys.exit()
    open(f"{root}/file", "w").close()
    shutil.rmtree(f"{root}/lost+found", ignore_errors=True)
    found = volume(), os.stat(root).st_dev
    return found
import shutil
one, number = mounted(sys.argv[2])
sh("umount", root)
two, again = mounted(sys.argv[3])
over, other = mounted(sys.argv[2])
print(one == over, one != two, bool(one & two & STABLE_VOLUME), again == number, other != number)
"""
    told = with_mounts("true", SCENE + code, root, tmp_path / "one", tmp_path / "two")
    if told.startswith("skip"):
        pytest.skip(f"needs loop devices: {told}")
    assert told == "True True True True True\n"


AGAIN = """
os.mkdir(f"{root}/below")
found, numbers = [], []
with LOCAL.tree(root) as tree:
    for name in ("one", "two"):
        sh("mount", "-t", "tmpfs", name, f"{root}/below")
        found.append(tree.look("below").volume)
        numbers.append(os.stat(f"{root}/below").st_dev)
        sh("umount", f"{root}/below")
print(*numbers, found[0] != found[1])
"""


@pytest.mark.parametrize("script", ["true", "mount -t tmpfs tmpfs /proc"])
def test_a_device_number_that_is_used_again_is_another_file_system(
    with_mounts: Callable[..., str], tmp_path: Path, script: str
) -> None:
    """Also for a tree that was opened before, and where there is no mount table."""
    one, two, told = with_mounts(script, SCENE + AGAIN, tmp_path).split()
    if one != two:
        pytest.skip("this kernel gave another number")
    assert told == "True"


def test_without_a_mount_table_no_writer_is_known(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """So the long quiet period counts, whatever the file system is."""
    code = """
from rules.complete import quiet_seconds
from rules.rule import Conditions
LOCAL.prepare()
open(f"{root}/file", "w").close()
with LOCAL.tree(root) as tree, tree.open("file") as handle:
    print(handle.writer().name, quiet_seconds(Conditions(), handle.writer()), LOCAL.volume(root).kind)
    with open(f"{root}/file", "a"):
        print(handle.writer().name)
"""
    found = {script: with_mounts(script, SCENE + code, tmp_path) for script in ("true", "mount -t tmpfs tmpfs /proc")}
    kind = LOCAL.volume(str(tmp_path)).kind
    assert found == {
        "true": f"NONE 0.5 {kind}\nOPEN\n", "mount -t tmpfs tmpfs /proc": "CANNOT_TELL 60.0 unknown\nOPEN\n"
    }  # fmt: skip


def as_before(path: Path) -> Observation:
    """What a look shows."""
    seen = LOCAL.look(str(path))
    assert isinstance(seen, Observation)
    assert seen.kind is Kind.FILE
    return seen


@pytest.mark.parametrize("passing", [True, False])
def test_one_unchanged_file_proves_a_remount_for_all(tmp_path: Path, passing: bool) -> None:
    """What went away meanwhile is noticed as gone, and what changed in place is the same file; not on another disk."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("stays", "goes", "grows"):
        (data / name).write_bytes(b"x")
    (data / "run").mkdir()
    (data / "run/goes").write_bytes(b"x")
    with surveyed(data) as (ledger, root, scanner):
        assert swept(ledger, root, scanner, 1.0) == {"candidate": 4}
        place = ledger.destinations.place("s", "/s").id
        delivered(ledger, place, data / "grows")
        for name in ("stays", "goes", "grows", "run/goes"):
            put_into(ledger, data / name, State.VERIFIED)
        before = VolumeId(7 if passing else 7 | STABLE_VOLUME)
        with ledger.transaction():
            ledger.execute("UPDATE files SET device = ?", (before,))
        (data / "goes").unlink()
        (data / "run/goes").unlink()
        with (data / "grows").open("ab") as file:
            file.write(b"+")
        found = swept(ledger, root, scanner, 2.0)
        generations = [file.generation for file in ledger.files.history(f"{data}/grows")]
        if passing:
            assert found == {"verified": 1, "removed": 2, "superseded": 1, "candidate": 1}
            assert {file.volume for file in ledger.files.history(f"{data}/stays")} == {as_before(data / "stays").volume}
        else:  # all that was seen there is another disk's: nothing of the first one is gone, or changed
            assert found == {"verified": 2, "removed": 2, "candidate": 2}
        assert generations == [1, 2]


def test_without_an_unchanged_file_nothing_is_gone_and_nothing_is_the_same(tmp_path: Path) -> None:
    """Whether the same file system is there cannot be told: what is missing waits, what is new gets its own name."""
    data = tmp_path / "data"
    data.mkdir()
    for name in ("goes", "grows"):
        (data / name).write_bytes(b"x")
    with surveyed(data) as (ledger, root, scanner):
        swept(ledger, root, scanner, 1.0)
        for name in ("goes", "grows"):
            put_into(ledger, data / name, State.VERIFIED)
        with ledger.transaction():
            ledger.execute("UPDATE files SET device = 7")
        (data / "goes").unlink()
        with (data / "grows").open("ab") as file:
            file.write(b"+")
        assert swept(ledger, root, scanner, 2.0) == {"verified": 1, "removed": 1, "candidate": 1}
        assert ledger.files.history(f"{data}/goes")[-1].state is State.VERIFIED
        assert states(ledger)["candidate"] == 1


@pytest.mark.parametrize("script", ["true", "mount -t tmpfs tmpfs /proc"])
def test_an_overlay_is_one_file_system_whatever_its_files_are_on(
    with_mounts: Callable[..., str], tmp_path: Path, script: str
) -> None:
    """Its files have other device numbers than their directory, where its layers are on two file systems."""
    code = """
for name in ("low", "high"):
    os.mkdir(f"{root}/{name}")
    sh("mount", "-t", "tmpfs", name, f"{root}/{name}")
for name in ("low/files", "high/files", "high/work", "seen"):
    os.mkdir(f"{root}/{name}")
open(f"{root}/low/files/file", "w").close()
layers = f"lowerdir={root}/low/files,upperdir={root}/high/files,workdir={root}/high/work"
try: sh("mount", "-t", "overlay", "overlay", "-o", layers, f"{root}/seen")
except subprocess.CalledProcessError as error: print("skip", error.stderr.decode()); sys.exit()
root += "/seen"
one = volume()
open(f"{root}/new", "w").close()
print(one == volume() == volume("new"), len({os.stat(f"{root}{name}").st_dev for name in ("", "/file", "/new")}) > 1)
"""
    told = with_mounts(script, SCENE.replace("(listed,) =", "(listed, *_) =") + code, tmp_path)
    if told.startswith("skip"):
        pytest.skip(f"needs overlays: {told}")
    assert told == "True True\n"
