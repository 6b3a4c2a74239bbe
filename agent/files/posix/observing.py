"""From a `stat` to an observation."""

import ctypes
import os
import stat
import struct
import sys
from typing import Final

from rules.model import FileId, Kind, Observation, Version, VolumeId

_STATX_BTIME, _AT_SYMLINK_NOFOLLOW = 0x800, 0x100
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_TYPE: Final = 0o170000
"""The bits of st_mode that say what it is (inode(7)). stat.S_IFMT is a call for each file."""
LEAST: Final = -(2**63)
MOST: Final = 2**63 - 1
"""What the ledger can hold."""
KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFLNK: Kind.LINK,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
}
"""By the type in st_mode; what is missing is a device."""


def observation(status: os.stat_result, volume: VolumeId) -> Observation:
    """The agent's reading of a `stat` on this file system."""
    mtime, ctime, inode = status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    if LEAST <= mtime <= MOST and LEAST <= ctime <= MOST and inode <= MOST:
        version = Version(status.st_size, mtime, ctime, FileId(inode))
    else:
        version = numbers(status.st_size, mtime, ctime, inode)
    return Observation(version, volume, KINDS.get(status.st_mode & _TYPE, Kind.DEVICE))


def numbers(size: int, mtime: int, ctime: int, inode: int) -> Version:
    """A version in numbers that the ledger can hold."""
    if LEAST <= mtime <= MOST and LEAST <= ctime <= MOST and inode <= MOST:
        return Version(size, mtime, ctime, FileId(inode))
    # File systems take times beyond 2262 and before 1677, which 64 bits cannot tell in nanoseconds, and network file
    # systems use all 64 bits of an inode number.
    mtime, ctime = (max(LEAST, min(time, MOST)) for time in (mtime, ctime))
    return Version(size, mtime, ctime, FileId(inode if inode <= MOST else inode - 2**64))


def born(name: str, directory: int) -> int | None:
    """When what has the name was made, in nanoseconds since the epoch by its file system's clock.

    None where that cannot be told: NFS, old kernels, nothing there. The structure of statx(2) begins with the mask of what
    was filled in, and has stx_btime (seconds, nanoseconds) at byte 80.
    """
    if _libc is None or not hasattr(_libc, "statx"):
        try:
            status = os.lstat(name, dir_fd=directory)
        except OSError:
            return None
        seconds: float | None = getattr(status, "st_birthtime", None)  # macOS
        return None if seconds is None else int(seconds * 10**9)
    found = _statx(name, directory, _STATX_BTIME)
    if found is None:
        return None
    (mask,) = struct.unpack_from("I", found)
    seconds_at, nanoseconds = struct.unpack_from("qI", found, 80)
    return int(seconds_at * 10**9 + nanoseconds) if mask & _STATX_BTIME else None


def attributes(name: str, directory: int) -> int:
    """Attributes of what has the name, such as that it is immutable: stx_attributes, at byte 8. 0 where they cannot be told."""
    found = _statx(name, directory, 0)
    return 0 if found is None else int(struct.unpack_from("Q", found, 8)[0])


def _statx(name: str, directory: int, what: int) -> "ctypes.Array[ctypes.c_char] | None":
    """The answer of statx(2), which `os` does not have; None where there is none."""
    if _libc is None or not hasattr(_libc, "statx"):
        return None
    found = ctypes.create_string_buffer(256)
    return None if _libc.statx(directory, os.fsencode(name), _AT_SYMLINK_NOFOLLOW, what, found) else found
