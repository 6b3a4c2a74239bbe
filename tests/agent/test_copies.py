"""What counts as a copy at a destination directory, and whose an error is: real mounts, real links, few descriptors."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.destinations import Arrived, Item, Undeliverable
from agent.destinations.directory.opening import Place
from agent.destinations.directory.place import confirm, set_up
from agent.destinations.directory.writer import Written, write
from agent.errors import Transient
from agent.files import LOCAL
from agent.host.heartbeat import Heartbeat
from rules.model import Observation
from rules.versions.copies import Confirmed, LocalFile

AGENT = "a1b2c3d4e5f6"
RIG = """
import json, os, resource, shutil, subprocess, sys
from rules.versions.copies import LocalFile
from tests.agent.test_copies import Rig, shown
from pathlib import Path
from agent.files import LOCAL
LOCAL.prepare()
rig = Rig(Path(sys.argv[1]), make=False)
"""
"""Begins code that runs where mounting is permitted."""


class Rig:
    """A watched directory `data` and a destination `share`."""

    def __init__(self, root: Path, *, make: bool = True, **place: Any) -> None:
        self.data, self.share = root / "data", root / "share"
        if make:
            self.data.mkdir()
            self.share.mkdir()
        self.place = Place("share", str(self.share), None, "checksum", "sha256", AGENT, **place)

    def set_up(self) -> "Rig":
        identity, _ = set_up(self.place, Heartbeat())
        self.place = self.place._replace(identity=identity)
        return self

    def put(self, name: str, content: bytes) -> Path:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def item(self, name: str, file: int = 1, **more: Any) -> Item:
        seen = LOCAL.look(str(self.data / name))
        assert isinstance(seen, Observation)
        return Item(file, str(self.data), name, seen.version, more.pop("path", name), **more)

    def write(self, *items: Item) -> Written:
        return write(self.place, items, Heartbeat())

    def confirm(self, name: str, content: bytes, local: Any = None, mount: str | None = None) -> Confirmed:
        import hashlib

        checksum = hashlib.sha256(content).digest()
        return confirm(self.place, name, len(content), checksum, "sha256", local, mount, Heartbeat())


def shown(written: Written) -> str:
    """What became of files, as JSON: number → arrived (with its mount), or the reason; and why others failed."""
    outcomes = {
        one.file: one.mount or "arrived" if isinstance(one, Arrived) else getattr(one, "reason", type(one).__name__)
        for one in written.outcomes
    }
    return json.dumps([outcomes, written.failed, written.failure])


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A destination that was taken into use."""
    return Rig(tmp_path).set_up()


# The very same file


@pytest.mark.parametrize("replaces", [None, b"the checksum of anything"])
def test_a_file_is_no_copy_of_itself(rig: Rig, replaces: bytes | None) -> None:
    """A hard link to the source at its name in the destination is refused, and neither adopted nor replaced."""
    path = rig.put("scan.h5", b"measured")
    os.link(path, rig.share / "scan.h5")
    (found,) = rig.write(rig.item("scan.h5", replaces=replaces)).outcomes
    assert isinstance(found, Undeliverable)
    assert found.reason == "at share, 'scan.h5' is the very file that is to be delivered, not a copy of it"
    assert (path.stat().st_ino, path.read_bytes()) == ((rig.share / "scan.h5").stat().st_ino, b"measured")


def test_another_file_with_the_same_content_is_a_copy(rig: Rig) -> None:
    """What has the same content and is another file is adopted, as after a lost ledger."""
    rig.put("scan.h5", b"measured")
    (rig.share / "scan.h5").write_bytes(b"measured")
    (found,) = rig.write(rig.item("scan.h5")).outcomes
    assert isinstance(found, Arrived)
    assert found.adopted


def test_the_local_file_is_never_confirmed_as_its_own_copy(rig: Rig) -> None:
    """A copy that became a link to the local file since it was proved permits no deletion."""
    path = rig.put("scan.h5", b"measured")
    os.link(path, rig.share / "scan.h5")
    seen = LOCAL.look(str(path))
    assert isinstance(seen, Observation)
    found = rig.confirm("scan.h5", b"measured", LocalFile(str(path), seen.file))
    assert found == Confirmed(
        False, "at share, 'scan.h5' is the local file itself, by another name or mount", seen.file
    )


def test_the_copy_that_was_confirmed_is_named(rig: Rig) -> None:
    """Whoever asks two destinations can tell one file from two."""
    (rig.share / "a").write_bytes(b"measured")
    (rig.share / "sub").mkdir()
    os.link(rig.share / "a", rig.share / "sub/a")
    first, second = rig.confirm("a", b"measured"), rig.confirm("sub/a", b"measured")
    assert first.ok
    assert first.copy is not None
    assert first.copy == second.copy


# Destinations that are watched directories

ITSELF = "it lies in the destination share itself: it would be a copy of itself"


@pytest.mark.parametrize("watched", ["share", "share/inbox", "link"])
def test_files_of_a_watched_directory_that_is_the_destination_are_refused_alone(tmp_path: Path, watched: str) -> None:
    """Or that lies in it, whatever name it has in the configuration: files of other directories arrive."""
    rig = Rig(tmp_path).set_up()
    (rig.share / "inbox").mkdir()
    (tmp_path / "link").symlink_to("share/inbox")
    rig.put("beside.h5", b"measured")
    beside, rig.data = rig.item("beside.h5", 2), tmp_path / watched
    inside = rig.put("scan.h5", b"measured")
    written = rig.write(rig.item("scan.h5", 1), beside)
    assert json.loads(shown(written)) == [{"1": ITSELF, "2": "arrived"}, {}, None]
    seen = LOCAL.look(str(inside.resolve()))
    assert isinstance(seen, Observation)
    with pytest.raises(Transient, match="it would be a copy of itself"):
        rig.confirm("beside.h5", b"measured", LocalFile(str(inside), seen.file))


BOUND = """
import atexit
atexit.register(subprocess.run, ["umount", "--lazy", str(rig.share)], check=False)  # at which a daemon of FUSE ends
(rig.data / "scan.h5").write_bytes(b"measured")
(Path(sys.argv[1]) / "beside").mkdir()
(Path(sys.argv[1]) / "beside/other.h5").write_bytes(b"measured")
rig.set_up()
inside = rig.item("scan.h5", 1)
rig.data = Path(sys.argv[1]) / "beside"
print(shown(rig.write(inside, rig.item("other.h5", 2))))
"""


@pytest.mark.parametrize(
    "mount",
    [
        'mount --bind "$1/data" "$1/share"',
        'mkdir "$1/all"; mv "$1/data" "$1/all/data"; mkdir "$1/data"; mount --bind "$1/all/data" "$1/data";'
        ' mount --bind "$1/all" "$1/share"',
        pytest.param(
            'bindfs "$1/data" "$1/share"',
            marks=pytest.mark.skipif(shutil.which("bindfs") is None or os.geteuid() != 0, reason="needs bindfs"),
        ),
    ],
    ids=["the same", "contains it", "another file system shows it"],
)
def test_no_mount_makes_a_watched_directory_a_destination(
    with_mounts: Callable[..., str], tmp_path: Path, mount: str
) -> None:
    """By a bind mount of it, of what contains it, or by a file system that shows it under other numbers: its files are refused."""
    Rig(tmp_path)
    found = json.loads(with_mounts(mount, RIG + BOUND, tmp_path))
    assert found == [{"1": ITSELF, "2": "arrived"}, {}, None]


COPIED = """
rig.set_up()
(rig.data / "sub").mkdir()
for name in ("a", "sub/b"):
    (rig.data / name).write_bytes(b"measured")
for where in (rig.data, rig.data / "sub"):
    shutil.copy(rig.share / ".dropline-destination", where)
    os.chmod(where / ".dropline-destination", int(sys.argv[2], 8))
print(shown(rig.write(rig.item("a", 1), rig.item("sub/b", 2))))
seen = LOCAL.look(str(rig.data / "sub/b"))
print(rig.confirm("sub/b", b"measured", LocalFile(str(rig.data / "sub/b"), seen.file)).ok, sorted(os.listdir(rig.share)))
"""


@pytest.mark.parametrize("mode", ["644", "0"])
@pytest.mark.parametrize("script", ["", 'mount -t tmpfs tmpfs "$1/share"'], ids=["one file system", "two"])
def test_a_copied_identity_file_refuses_nothing(
    with_mounts: Callable[..., str], tmp_path: Path, script: str, mode: str
) -> None:
    """Users of a watched directory can copy it, and close it to the agent: all files there arrive, and may be deleted."""
    Rig(tmp_path)
    lines = with_mounts(script or "true", RIG + COPIED, tmp_path, mode).splitlines()
    assert json.loads(lines[0]) == [{"1": "arrived", "2": "arrived"}, {}, None]
    assert lines[1:] == ["True ['.dropline-destination', 'a', 'sub']"]


def test_what_lies_in_the_destination_is_not_delivered_there(tmp_path: Path) -> None:
    """A destination below the watched directory: its content is not delivered again, deeper and deeper."""
    rig = Rig(tmp_path)
    share = rig.data / "archive"
    (share / "run").mkdir(parents=True)
    rig.place = rig.place._replace(path=str(share))
    rig.set_up()
    (share / "run/scan.h5").write_bytes(b"measured")
    rig.put("archives/scan.h5", b"measured")
    inside, beside = rig.item("archive/run/scan.h5", 1), rig.item("archives/scan.h5", 2)
    found = {one.file: one for one in rig.write(inside, beside).outcomes}
    assert isinstance(found[1], Undeliverable)
    assert found[1].reason == ITSELF
    assert isinstance(found[2], Arrived)


# Mounts inside a destination, and on the way to it

INSIDE = """
rig.set_up()
(rig.data / "p1").mkdir()
for name in ("p1/a", "b"):
    (rig.data / name).write_bytes(b"measured")
print(shown(rig.write(rig.item("p1/a", 1), rig.item("b", 2))))
def asked(mount):
    try:
        return rig.confirm("p1/a", b"measured", mount=mount).ok
    except Exception as error:
        return str(error)
print(json.dumps([asked("p1"), asked(None)]))
subprocess.run(["umount", str(rig.share / "p1")], check=True)
(rig.data / "p1/c").write_bytes(b"measured")
print(json.dumps([asked("p1"), asked(None)]))
print(shown(rig.write(rig.item("p1/c", 3, mount="p1"), rig.item("b", 4))))
print(json.dumps(os.listdir(rig.share / "p1")))
"""


def test_a_mount_inside_a_destination_is_part_of_the_proof(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """What was proved on a file system below the destination counts only while that is mounted; nothing goes into the hole."""
    Rig(tmp_path)
    script = 'mkdir "$1/share/p1"; mount -t tmpfs tmpfs "$1/share/p1"'
    lines = [json.loads(line) for line in with_mounts(script, RIG + INSIDE, tmp_path).splitlines()]
    hidden = "at share, 'p1/a' cannot be seen: "
    assert lines[0] == [{"1": "p1", "2": "arrived"}, {}, None]
    assert lines[1] == [
        True,
        f"{hidden}another file system is mounted at {tmp_path}/share/p1, over the directory of the copy; unmount it",
    ]
    assert lines[2] == [
        f"{hidden}nothing is mounted at {tmp_path}/share/p1, where its file system was; mount it",
        False,
    ]
    assert lines[3] == [
        {"4": "arrived"},
        {"3": f"{tmp_path}/share/p1 was another file system, and nothing is mounted there now; mount it"},
        None,
    ]
    assert lines[4] == []


def test_a_mount_is_wanted_on_the_way(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """With `mounted = true` a bare mount point is not taken into use, and is down once its share is gone."""
    if LOCAL.volume(str(tmp_path)).mounted_at != "/":
        pytest.skip("the temporary directory is on its own mount")
    rig = Rig(tmp_path, mounted=True)
    with pytest.raises(
        Transient, match=r"nothing is mounted there or above, and the configuration says `mounted = true`"
    ):
        set_up(rig.place, Heartbeat())
    assert os.listdir(rig.share) == []
    code = RIG + (
        "from agent.destinations.directory.place import check\n"
        "from agent.host.heartbeat import Heartbeat\n"
        "rig.place = rig.place._replace(mounted=True)\nrig.set_up()\ncheck(rig.place, Heartbeat())\nprint('taken')"
    )
    assert with_mounts('mount -t tmpfs tmpfs "$1/share"', code, tmp_path) == "taken\n"


# Errors of one name, and of the agent

ONE_NAME = """
rig.set_up()
for name in ("old/a", "small/b", "run/c"):
    (rig.data / name).parent.mkdir()
    (rig.data / name).write_bytes(b"x" * 100_000)
print(shown(rig.write(rig.item("old/a", 1), rig.item("small/b", 2), rig.item("run/c", 3))))
"""


def test_an_error_of_one_name_is_of_that_file(with_mounts: Callable[..., str], tmp_path: Path) -> None:
    """A directory that may only be read is for a person, one that is full is tried again; the others arrive."""
    Rig(tmp_path)
    script = (
        'mkdir "$1/share/old" "$1/share/small"; mount -t tmpfs -o ro tmpfs "$1/share/old";'
        ' mount -t tmpfs -o size=4k tmpfs "$1/share/small"'
    )
    outcomes, failed, failure = json.loads(with_mounts(script, RIG + ONE_NAME, tmp_path))
    assert outcomes == {
        "1": "cannot be written as 'old/a': the file system that is mounted there may only be read",
        "3": "arrived",
    }
    assert failed == {"2": f"{tmp_path}/share: 'small/b': No space left on device"}
    assert failure is None


@pytest.mark.parametrize(
    ("options", "reason"), [("size=8k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_destination_that_takes_no_file_is_down(
    with_mounts: Callable[..., str], tmp_path: Path, options: str, reason: str
) -> None:
    """Where the destination itself fails the question, the error is not the file's."""
    Rig(tmp_path)
    (tmp_path / "data/a").write_bytes(b"x" * 100_000)
    code = RIG + "rig.set_up()\n"
    if options == "ro":
        code += "subprocess.run(['mount', '-o', 'remount,ro', str(rig.share)], check=True)\n"
        options = "size=1m"
    else:
        code += "(rig.share / 'full').write_bytes(b'x')\n"
    code += "print(shown(rig.write(rig.item('a', 1))))"
    found = json.loads(with_mounts(f'mount -t tmpfs -o {options} tmpfs "$1/share"', code, tmp_path))
    assert found == [{}, {}, f"{tmp_path}/share: {reason}"]


def test_few_descriptors_delay_and_refuse_nothing(tmp_path: Path) -> None:
    """With 60 descriptors, 300 files of one group arrive; where there are none at all, each waits and nothing is down."""
    rig = Rig(tmp_path).set_up()
    for number in range(300):
        rig.put(f"{number:03}", b"x%d" % number)
    code = RIG + (
        f"rig.place = rig.place._replace(identity={rig.place.identity!r})\n"
        "items = [rig.item(f'{n:03}', n) for n in range(300)]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))\n"
        "held = []\n"
        "few = rig.write(*items[:200])\n"
        "tree = LOCAL.tree(str(rig.share))\n"
        "try:\n"
        "    while True: held.append(open('/dev/null'))\n"
        "except OSError: pass\n"
        "none = rig.write(*items[200:])\n"
        "for one in held: one.close()\n"
        "print(json.dumps([len(few.outcomes), few.failed, few.failure, none.outcomes, len(none.failed), none.failure]))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, check=True, text=True)
    assert json.loads(done.stdout) == [200, {}, None, [], 100, None]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 60
