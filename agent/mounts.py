"""What file system a path lies on, as the kernel's mount table tells."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

# File systems on which other machines may write without this kernel knowing: inotify reports local changes only, and
# a lease speaks of local writers only (fcntl(2), inotify(7)).
_REMOTE = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "afs",
    "glusterfs",
    "vboxsf",
    "virtiofs",
    "fakeowner",
    "wekafs",
    "panfs",
    "orangefs",
    "pvfs2",
    "gfs2",
    "ocfs2",
}
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One line of the mount table."""

    kind: str
    mounted_at: str

    @property
    def remote(self) -> bool:
        """Whether other machines may write to it unseen by this kernel. FUSE may hide anything, so it counts."""
        return self.kind in _REMOTE or self.kind.startswith("fuse")


def _plain(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _mounted() -> Iterator[FileSystem]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            lines = table.read().splitlines()
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(" - ")
        yield FileSystem(right.split(" ")[0], _plain(left.split(" ")[4]))


def file_system(path: str) -> FileSystem:
    """The file system that holds the path (or its nearest existing parent).

    Where there is no /proc/self/mountinfo (not Linux) the kind is "unknown", which counts as local.
    """
    real = os.path.realpath(path)
    best = FileSystem("unknown", "/")
    for one in _mounted():
        inside = real == one.mounted_at or real.startswith(one.mounted_at.rstrip("/") + "/")
        # The last of equally long mount points lies on top.
        if inside and len(one.mounted_at) >= len(best.mounted_at):
            best = one
    return best


@lru_cache(256)
def remote(path: str, device: int) -> bool:
    """Whether other machines may write at the path unseen by this kernel.

    Args:
        path: a directory.
        device: its st_dev. As long as that is the same, so is the file system: the mount table is read once.
    """
    return file_system(path).remote


def unmounted(path: str, fstab: str = "/etc/fstab") -> str | None:
    """The mount point that should hold the path according to fstab, where nothing is mounted there now."""
    try:
        with open(fstab, encoding="utf-8", errors="surrogateescape") as table:
            lines = table.read().splitlines()
    except OSError:
        return None  # no fstab: nothing is known of what should be mounted
    real = os.path.realpath(path)
    mounted = {one.mounted_at for one in _mounted()}  # os.path.ismount does not see all bind mounts
    for line in lines:
        fields = line.split()
        if line.lstrip().startswith("#") or len(fields) < 2 or not fields[1].startswith("/") or fields[1] == "/":
            continue
        point = os.path.realpath(_plain(fields[1]))
        below = real == point or real.startswith(point + "/")
        if below and point not in mounted and not os.path.ismount(point):
            return point
    return None
