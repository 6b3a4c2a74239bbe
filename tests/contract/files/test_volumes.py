"""File systems that are mounted below, taken away, and mounted again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.files import ABSENT, CannotTell, Trouble, What
from rules.model import Observation, Writer
from tests.contract.files.computers import InMemory

SCENE = """
import os, subprocess, sys
from agent.files import ABSENT, LOCAL, CannotTell, Trouble
from rules.model import Observation
LOCAL.prepare()
root = sys.argv[1]
def mount(path): subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
def unmount(path): subprocess.run(["umount", "-l", path], check=True)
def shown(look): return type(look).__name__
def failed(act):
    try: act()
    except Trouble as trouble: return trouble.what.name
"""


def test_a_file_system_below_is_another_volume(
    with_mounts: Callable[..., str], tmp_path: Path, memory: InMemory
) -> None:
    """Looks tell it apart from the root's, before and after it is mounted, and what it covers is not seen."""
    code = """
os.mkdir(f"{root}/below"); open(f"{root}/below/covered", "w").close()
with LOCAL.tree(root) as tree:
    before = tree.look("below")
    mount(f"{root}/below")
    open(f"{root}/below/file", "w").close()
with LOCAL.tree(root) as tree:
    print(before.volume == tree.opened.volume, tree.look("below").volume == tree.opened.volume)
    print(tree.look("below").volume == tree.look("below/file").volume, tree.look("below/covered"))
    print([one.volume == tree.opened.volume for one in tree.scan("below", 5)])
    print(LOCAL.volume(f"{root}/below/file").mounted_at == LOCAL.resolve(f"{root}/below"))
"""
    assert with_mounts("true", SCENE + code, tmp_path) == "True False\nTrue Absent.ABSENT\n[False]\nTrue\n"
    memory.directory("/data/root/below")
    memory.write("/data/root/below/covered")
    memory.mount("/data/root/below")
    memory.write("/data/root/below/file")
    with memory.files.tree("/data/root") as tree:
        below, file = tree.look("below"), tree.look("below/file")
        assert isinstance(below, Observation)
        assert isinstance(file, Observation)
        assert below.volume == file.volume != tree.opened.volume
        assert tree.look("below/covered") is ABSENT
        assert [one.volume for one in tree.scan("below", 5)] == [below.volume]
        assert memory.files.volume("/data/root/below/file").mounted_at == "/data/root/below"


def test_nothing_is_renamed_or_removed_across(
    with_mounts: Callable[..., str], tmp_path: Path, memory: InMemory
) -> None:
    """Both names stay; a mount point is in use."""
    code = """
os.mkdir(f"{root}/below")
mount(f"{root}/below")
open(f"{root}/file", "w").close()
with LOCAL.tree(root) as tree:
    print(failed(lambda: tree.rename_new("file", "below/file")), failed(lambda: tree.replace("file", "below/file")))
    print(failed(lambda: tree.remove_directory("below")), failed(lambda: tree.rename_new("below", "other")))
    print(sorted(tree.names("")), tree.names("below"))
"""
    told = "OTHER_VOLUME OTHER_VOLUME\nBUSY BUSY\n['below', 'file'] []\n"
    assert with_mounts("true", SCENE + code, tmp_path) == told
    memory.directory("/data/root/below")
    memory.mount("/data/root/below")
    memory.write("/data/root/file")
    with memory.files.tree("/data/root") as tree:
        for act, what in (
            (lambda: tree.rename_new("file", "below/file"), What.OTHER_VOLUME),
            (lambda: tree.replace("file", "below/file"), What.OTHER_VOLUME),
            (lambda: tree.remove_directory("below"), What.BUSY), (lambda: tree.rename_new("below", "other"), What.BUSY),
        ):  # fmt: skip
            with pytest.raises(Trouble) as raised:
                act()
            assert raised.value.what is what
        assert (sorted(tree.names("")), tree.names("below")) == (["below", "file"], [])


def test_below_a_root_that_was_unmounted_nothing_is_absent(
    with_mounts: Callable[..., str], tmp_path: Path, memory: InMemory
) -> None:
    """Neither for a tree that was opened before, nor, by the volume, for one that is opened now."""
    code = """
mount(root)
open(f"{root}/file", "w").close()
with LOCAL.tree(root) as tree:
    print(tree.look("missing"))
    unmount(root)
    print(shown(tree.look("missing")))
    with LOCAL.tree(root) as bare:
        print(bare.look("file"), bare.opened.volume == tree.opened.volume)
    mount(root)
    print(shown(tree.look("missing")))
"""
    told = "Absent.ABSENT\nCannotTell\nAbsent.ABSENT False\nCannotTell\n"
    assert with_mounts("true", SCENE + code, tmp_path) == told
    memory.mount("/data/root")
    memory.write("/data/root/file")
    with memory.files.tree("/data/root") as tree:
        assert tree.look("missing") is ABSENT
        memory.unmount("/data/root")
        assert isinstance(tree.look("missing"), CannotTell)
        assert memory.files.unmounted("/data/root/file") == "/data/root"
        with memory.files.tree("/data/root") as bare:
            assert bare.look("file") is ABSENT
            assert bare.opened.volume != tree.opened.volume
        memory.mount("/data/root")
        assert isinstance(tree.look("missing"), CannotTell)
        assert memory.files.unmounted("/data/root/file") is None


def test_where_other_machines_may_write_no_writer_proves_nothing(
    with_mounts: Callable[..., str], tmp_path: Path, memory: InMemory
) -> None:
    """Also where such a file system is mounted below a root that is none."""
    code = """
from agent.files.posix import mounts
os.mkdir(f"{root}/below")
mount(f"{root}/below")
table = mounts._table
def as_nfs(one): return one.__class__("nfs4", one.mounted_at) if one.mounted_at.endswith("/below") else one
mounts._table = lambda: ((number, as_nfs(one)) for number, one in table())
for path in ("file", "below/file"): open(f"{root}/{path}", "w").close()
with LOCAL.tree(root) as tree, tree.open("file") as here, tree.open("below/file") as below:
    print(here.writer().name, below.writer().name)
    with open(f"{root}/below/file", "w"):
        print(below.writer().name)
"""
    assert with_mounts("true", SCENE + code, tmp_path) == "NONE CANNOT_TELL\nOPEN\n"
    memory.directory("/data/root/below")
    memory.mount("/data/root/below", "nfs4")
    for path in ("file", "below/file"):
        memory.write(f"/data/root/{path}")
    with memory.files.tree("/data/root") as tree, tree.open("file") as here, tree.open("below/file") as below:
        assert (here.writer(), below.writer()) == (Writer.NONE, Writer.CANNOT_TELL)
        pen = memory.open("/data/root/below/file")
        assert below.writer() is Writer.OPEN
        pen.close()


def test_unmounting_is_a_loss(with_mounts: Callable[..., str], tmp_path: Path, memory: InMemory) -> None:
    """Whoever watches learns of it."""
    code = """
from queue import Queue
os.mkdir(f"{root}/below")
mount(f"{root}/below")
lost = Queue()
events = LOCAL.watch(root, lambda hints: None, lost.put)
subprocess.run(["umount", f"{root}/below"], check=True)
print(lost.get(timeout=20))
events.close()
"""
    assert with_mounts("true", SCENE + code, tmp_path) == "a file system in it was unmounted\n"
    memory.directory("/data/root/below")
    memory.mount("/data/root/below")
    lost: list[str] = []
    events = memory.files.watch("/data/root", lambda hints: None, lost.append)
    memory.unmount("/data/root/below")
    assert lost == ["a file system in it was unmounted"]
    events.close()
