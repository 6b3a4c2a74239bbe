"""File systems: their kind, and how full they are."""

from dataclasses import dataclass
from typing import NamedTuple

# File systems on which other machines may write without this kernel knowing: inotify reports local changes only, and
# a lease speaks of local writers only (fcntl(2), inotify(7)).
_REMOTE = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "gpfs", "beegfs", "afs", "glusterfs", "vboxsf",
    "virtiofs", "fakeowner", "wekafs", "panfs", "orangefs", "pvfs2", "gfs2", "ocfs2",
}  # fmt: skip

# File systems whose writers this kernel all knows. For a kind in neither list it cannot tell.
_LOCAL = {
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "nilfs2", "reiserfs", "tmpfs", "ramfs", "overlay",
    "vfat", "msdos", "exfat", "ntfs", "ntfs3", "refs", "hfs", "hfsplus", "iso9660", "udf", "squashfs", "erofs",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Volume:
    """A file system, where it is mounted."""

    kind: str
    """As the mount table calls it; "unknown" where there is none."""
    mounted_at: str
    device: str = ""
    """The kernel's number of it: the same at each place where it is mounted; "" where there is no mount table."""
    shows: str = "/"
    """Its directory that is mounted there: not its root where a bind mount shows a part of it."""
    source: str = ""
    """The disk, or the share of a server."""

    @property
    def remote(self) -> bool:
        """Whether other machines may write to it unseen by this kernel. FUSE may hide anything, so it counts."""
        return self.kind in _REMOTE or self.kind.startswith("fuse")

    @property
    def knows_writers(self) -> bool:
        """Whether a file that no process of this kernel has open for writing has no writer at all."""
        return self.kind in _LOCAL

    @property
    def mapped(self) -> str | None:
        """The share that a drive letter of one login stands for; None: it is known to every login."""
        return self.source if self.mounted_at[1:2] == ":" and self.source.startswith("//") else None

    @property
    def may_hang(self) -> bool:
        """Whether others answer for it than this kernel: what is asked of it may never return."""
        return self.remote or self.kind == "autofs"


class Location(NamedTuple):
    """A path within its file system: the same by whatever mount it is reached."""

    device: str
    path: str

    def holds(self, other: "Location") -> bool:
        """Whether the other is the same directory, or lies below it."""
        return self.device == other.device and (other.path + "/").startswith(self.path.rstrip("/") + "/")


class Space(NamedTuple):
    """What ordinary users may still write."""

    free: int
    """Bytes."""
    fraction: float | None
    """Of all that there is; None where that cannot be told."""
    total: int = 0
    """Bytes of all that there is; 0 where that cannot be told."""
