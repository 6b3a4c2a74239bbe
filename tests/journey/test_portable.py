"""A destination on NTFS: what its names may not be."""

import os
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.programs import program

if TYPE_CHECKING:
    from tests.journey.conftest import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/fuse"), reason="needs FUSE, and root")
NAMES = ["a:b", "dot.", "CON", "run?/x"]


@pytest.fixture
def ntfs(site: "Site") -> Iterator["Site"]:
    """A site whose share is a disk as Windows has it."""
    image = site.root / "disk"
    with image.open("wb") as file:
        file.truncate(16 * 2**20)
    subprocess.run([program("mkntfs"), "--force", "--quick", "--quiet", image], check=True, capture_output=True)
    subprocess.run([program("ntfs-3g"), "-o", "windows_names", image, site.share], check=True)
    try:
        yield site
    finally:
        subprocess.run(["umount", "--lazy", site.share], check=True)


def test_a_name_that_ntfs_refuses_is_that_files_refusal(ntfs: "Site") -> None:
    """The destination stays up, the others arrive, and each reason names what is refused."""
    for name in ("good", *NAMES):
        ntfs.put(name, b"x")
    assert ntfs.once() == 1
    assert ntfs.delivered == {"good": b"x"}
    lines = ntfs.dropline("files", "--state", "refused", "--format", "json").json
    reasons = {os.path.relpath(line["path"], ntfs.inbox): line["reason"] for line in lines}
    why = {"a:b": "'a:b' has the character ':'", "dot.": "'dot.' ends with '.'", "CON": "'CON' is a reserved name",
           "run?/x": "'run?' has the character '?'"}  # fmt: skip
    hint = "rename it, or set `rename_invalid` in `deliver`, then `dropline retry`"
    assert reasons == {
        name: f"cannot be written as {name!r}: the destination does not take the name: {one}; {hint}"
        for name, one in why.items()
    }
    assert ntfs.status()["destinations"][0]["up"] is True
    ntfs.configure(ntfs.rule(deliver=[{"to": "share", "rename_invalid": "_"}]))
    assert ntfs.dropline("retry").code == 0
    assert ntfs.once() == 0
    assert ntfs.delivered == {"good": b"x", "a_b": b"x", "dot_": b"x", "CON_": b"x", "run_/x": b"x"}
    (copy,) = ntfs.explain("a:b")[-1]["copies"]
    assert copy["path"] == "a_b"
