"""A destination on a file system of Windows: what its names and files may not be."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.programs import program

if TYPE_CHECKING:
    from tests.journey.conftest import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="needs FUSE, and root")
HINT = "rename it, or set `rename_invalid` in `deliver`, then `dropline retry`"
INVALID = {"a:b": "'a:b' has the character ':'", "run?/x": "'run?' has the character '?'", "dot.": "'dot.' ends with '.'",
           "CON": "'CON' is a reserved name"}  # fmt: skip
PLAIN = {"a:b": "a_b", "run?/x": "run_/x", "dot.": "dot_", "CON": "CON_"}
MOUNTS = {
    "ntfs": ("mkntfs --force --quick --quiet", "ntfs-3g -o windows_names"),
    "exfat": ("mkfs.exfat", "mount.exfat-fuse"),
    "fat": ("mkfs.vfat", "fusefat -o rw+"),
}
"""How its disk is made, and how it is mounted."""
REFUSED = {"ntfs": list(INVALID), "exfat": ["a:b", "run?/x"], "fat": ["a:b", "run?/x"]}
OTHERWISE = {("fat", "dot."): "dot"}
"""Names that are taken there for another one."""


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Of the file system."""
    found: str = request.param
    return found


@pytest.fixture
def disk(site: "Site", kind: str) -> Iterator["Site"]:
    """A site whose share is a disk as Windows has it."""
    image = site.root / "disk"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    (make, *keys), (mount, *options) = (command.split() for command in MOUNTS[kind])
    subprocess.run([program(make), *keys, image], check=True, capture_output=True)
    with ExitStack() as stack:
        device = str(image)
        if kind == "exfat":  # it takes no image
            loop = subprocess.run(["losetup", "--find", "--show", image], check=False, capture_output=True, text=True)
            if loop.returncode:
                pytest.skip(f"needs a loop device: {loop.stderr}")
            device = loop.stdout.strip()
            stack.callback(subprocess.run, ["losetup", "--detach", device], check=True)
        subprocess.run([program(mount), *options, device, site.share], check=True, capture_output=True)
        stack.callback(subprocess.run, ["umount", "--lazy", site.share], check=True)
        yield site


@pytest.fixture
def gives_back(disk: "Site") -> bool:
    """Whether what is written to a file can be read before it is closed: fusefat 0.1 gives zeros until then."""
    with (disk.share / "probe").open("w+b", buffering=0) as file:
        file.write(b"x")
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        found = os.pread(file.fileno(), 1, 0) == b"x"
    (disk.share / "probe").unlink()
    return found


def reasons(site: "Site") -> dict[str, str]:
    """Refused file → why."""
    lines = site.dropline("files", "--state", "refused", "--format", "json").json
    return {os.path.relpath(line["path"], site.inbox): line["reason"] for line in lines}


@pytest.mark.parametrize("kind", list(MOUNTS), indirect=True)
def test_a_name_that_is_refused_there_is_that_files_refusal(disk: "Site", kind: str, gives_back: bool) -> None:
    """The destination stays up, the others arrive, and each reason names what is refused."""
    if not gives_back:
        pytest.skip("this fusefat gives zeros until a file is closed")
    for name in ("good", *INVALID):
        disk.put(name, b"x")
    why, refused = "the destination does not take the name", REFUSED[kind]
    assert disk.once() == 1
    taken = [OTHERWISE.get((kind, name), name) for name in ("good", *INVALID) if name not in refused]
    assert disk.delivered == dict.fromkeys(taken, b"x")
    assert reasons(disk) == {name: f"cannot be written as {name!r}: {why}: {INVALID[name]}; {HINT}" for name in refused}
    assert disk.status()["destinations"][0]["up"] is True
    disk.configure(disk.rule(deliver=[{"to": "share", "rename_invalid": "_"}]))
    assert disk.dropline("retry").code == 0
    assert disk.once() == 0
    assert disk.delivered == dict.fromkeys([*taken, *(PLAIN[name] for name in refused)], b"x")
    (copy,) = disk.explain("a:b")[-1]["copies"]
    assert copy["path"] == "a_b"


@pytest.mark.parametrize("kind", ["ntfs", "exfat"], indirect=True)
def test_a_name_that_is_too_long_there_is_that_files_refusal(disk: "Site") -> None:
    """So a template makes it; the others arrive."""
    disk.configure(disk.rule(deliver=[{"to": "share", "path": "from-here-{relpath}"}]))
    long = "x" * 250
    disk.put("good", b"x")
    disk.put(long, b"x")
    assert disk.once() == 1
    assert disk.delivered == {"from-here-good": b"x"}
    hint = "mend that, rename it, or change the rule's `path`, then `dropline retry`"
    assert reasons(disk) == {long: f"cannot be written as 'from-here-{long}': the name is too long there; {hint}"}
    assert disk.status()["destinations"][0]["up"] is True


@pytest.mark.parametrize("kind", ["fat"], indirect=True)
def test_where_what_was_written_does_not_come_back_nothing_shows(disk: "Site", gives_back: bool) -> None:
    """It is no destination, and every local file stays."""
    if gives_back:
        pytest.skip("this fusefat gives back what was written")
    disk.put("good", b"x")
    assert disk.once() == 1
    why = f"to share: failed: {disk.share}: what was read back of 'good' is not what was written"
    assert [line["reason"] for line in disk.dropline("files", "--format", "json").json] == [why]
    assert (disk.delivered, disk.local) == ({}, {"good": b"x"})
