"""Is a writer still there? One function per platform.

Facts behind it: on Linux a read lease is refused with EAGAIN while any process of this kernel has the file open for
writing or mapped writable (fcntl(2), F_SETLEASE). While the lease is held a writer's open blocks, so it is given back
at once. Locks are never taken: a reader's flock made an instrument's own open fail.
"""

import ctypes
import errno
import os
import signal
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rules.formats import Read
from rules.model import Entry, Observation, Version, Writer

if sys.platform == "linux":
    import fcntl

OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
"""How the agent opens what it reads: never through a link, never hanging on a FIFO."""

_LEAST, _MOST = -(2**63), 2**63 - 1
_STATX_BTIME, _AT_FDCWD, _AT_SYMLINK_NOFOLLOW = 0x800, -100, 0x100
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_prepared = False


def _lease(fd: int, path: str) -> Writer:
    if not _prepared:
        # A writer that comes in the microseconds of the lease raises SIGIO, whose default action ends the process.
        return Writer.CANNOT_TELL
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        # EINVAL: no leases on this file system. EACCES: not the file's owner and no CAP_LEASE.
        return Writer.OPEN if error.errno == errno.EAGAIN else Writer.CANNOT_TELL
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NONE


def _exclusive_open(fd: int, path: str) -> Writer:
    """Windows: an open that denies writing fails with a sharing violation while a writer or a writable map is there."""
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel32.CreateFileW.restype = ctypes.c_void_p
    generic_read, share_read, open_existing, sharing_violation = 0x80000000, 1, 3, 32
    handle = kernel32.CreateFileW(path, generic_read, share_read, None, open_existing, 0, None)
    if handle == ctypes.c_void_p(-1).value:
        busy = ctypes.get_last_error() == sharing_violation  # type: ignore[attr-defined]
        return Writer.OPEN if busy else Writer.CANNOT_TELL
    kernel32.CloseHandle(ctypes.c_void_p(handle))
    return Writer.NONE


def _no_way(fd: int, path: str) -> Writer:
    return Writer.CANNOT_TELL


_PLATFORM: dict[str, Callable[[int, str], Writer]] = {"linux": _lease, "win32": _exclusive_open}
_ask = _PLATFORM.get(sys.platform, _no_way)


def prepare() -> None:
    """Make leases harmless to this process. Call once, from the main thread, before the first probe."""
    global _prepared  # noqa: PLW0603  (signal dispositions are global to the process, and so is this)
    if hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        _prepared = True


def writer(fd: int, path: str, *, remote: bool) -> Writer:
    """Whether somebody has the file open for writing.

    Args:
        fd: descriptor of the file, opened for reading only.
        path: the same file's path (Windows opens it again).
        remote: the file system may have writers on other machines, of whom this kernel knows nothing.
    """
    answer = _ask(fd, path)
    return Writer.CANNOT_TELL if remote and answer is Writer.NONE else answer


@contextmanager
def content(name: str, *, directory: int) -> Iterator[tuple[Read, int]]:
    """A regular file's bytes and its size, for `rules.formats.look`. Takes no lock and no lease.

    Args:
        name: the file's name in `directory`, a descriptor. What stands there must be known to be a regular file.

    Raises OSError: now, or from `read`.
    """
    fd = os.open(name, OPEN_FLAGS, dir_fd=directory)
    try:
        yield lambda offset, length: os.pread(fd, length, offset), os.fstat(fd).st_size
    finally:
        os.close(fd)


def born(path: str) -> int | None:
    """When the file that stands there was made, in nanoseconds since the epoch by its file system's clock.

    None where that cannot be told: NFS, old kernels, nothing there. From statx(2) on Linux, which `os` does not have;
    its structure begins with the mask of what was filled in, and has stx_btime (seconds, nanoseconds) at byte 80.
    """
    if _libc is None or not hasattr(_libc, "statx"):
        try:
            status = os.lstat(path)
        except OSError:
            return None
        seconds: float | None = getattr(status, "st_birthtime", None)  # macOS, and Windows from Python 3.12 on
        return None if seconds is None else int(seconds * 10**9)
    found = ctypes.create_string_buffer(256)
    if _libc.statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, found):
        return None
    (mask,) = struct.unpack_from("I", found)
    seconds_at, nanoseconds = struct.unpack_from("qI", found, 80)
    return int(seconds_at * 10**9 + nanoseconds) if mask & _STATX_BTIME else None


def observation(status: os.stat_result) -> Observation:
    """The agent's reading of a `stat`."""
    return Observation(version(status), status.st_dev, _kind(status.st_mode))


def observed(entry: Entry, mode: int) -> Observation:
    """The same of what a sweep read."""
    _, size, mtime_ns, ctime_ns, inode, device = entry
    return Observation(_version(size, mtime_ns, ctime_ns, inode), device, _kind(mode))


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def version(status: os.stat_result) -> Version:
    """The version that a `stat` shows."""
    return _version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _version(size: int, mtime: int, ctime: int, inode: int) -> Version:
    """A version in numbers that the ledger can hold."""
    if _LEAST <= mtime <= _MOST and _LEAST <= ctime <= _MOST and inode <= _MOST:
        return Version(size, mtime, ctime, inode)
    # File systems take times beyond 2262 and before 1677, which 64 bits cannot tell in nanoseconds, and network file
    # systems use all 64 bits of an inode number.
    mtime, ctime = (max(_LEAST, min(time, _MOST)) for time in (mtime, ctime))
    return Version(size, mtime, ctime, inode if inode <= _MOST else inode - 2**64)
