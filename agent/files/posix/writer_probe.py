"""Is a writer still there?

On Linux a read lease is refused with EAGAIN while any process of this kernel has the file open for writing or mapped
writable (fcntl(2), F_SETLEASE). While the lease is held a writer's open blocks, so it is given back at once. Locks are
never taken: a reader's flock made an instrument's own open fail. Other POSIX systems cannot tell.
"""

import errno
import signal
import sys

from rules.model import Writer

if sys.platform == "linux":
    import fcntl

_prepared = False


def prepare() -> None:
    """Make leases harmless to this process. Call once, from the main thread, before the first probe."""
    global _prepared  # noqa: PLW0603  (signal dispositions are global to the process, and so is this)
    if hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        _prepared = True


def writer(fd: int, *, remote: bool) -> Writer:
    """Whether somebody has the file open for writing.

    Args:
        fd: descriptor of the file, opened for reading only.
        remote: the file system may have writers on other machines, of whom this kernel knows nothing.
    """
    found = lease(fd, remote=remote)
    if found is Writer.NONE:
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return _answer(error)
    return found


def lease(fd: int, *, remote: bool) -> Writer:
    """Take a read lease, which is held where the answer is NONE, and only there.

    While it is held, a program that opens the file for writing waits: at most /proc/sys/fs/lease-break-time.
    """
    if sys.platform != "linux" or not _prepared:
        # A writer that comes while the lease is held raises SIGIO, whose default action ends the process.
        return Writer.CANNOT_TELL
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        if not remote:
            return Writer.NONE
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return _answer(error)
    return Writer.CANNOT_TELL


def _answer(error: OSError) -> Writer:
    # EINVAL: no leases on this file system. EACCES: not the file's owner and no CAP_LEASE.
    return Writer.OPEN if error.errno == errno.EAGAIN else Writer.CANNOT_TELL


def lease_is_whole(fd: int) -> bool:
    """Whether the lease is held, and no program waits to open the file for writing (F_GETLEASE, fcntl(2))."""
    if sys.platform != "linux":
        return False
    try:
        return fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    except OSError:
        return False


def give_lease_back(fd: int) -> None:
    """A program that waits for the file goes on."""
    if sys.platform == "linux":
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            pass  # the kernel took it: it was held for too long
