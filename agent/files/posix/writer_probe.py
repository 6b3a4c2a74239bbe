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
    if sys.platform != "linux" or not _prepared:
        # A writer that comes in the microseconds of the lease raises SIGIO, whose default action ends the process.
        return Writer.CANNOT_TELL
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        # EINVAL: no leases on this file system. EACCES: not the file's owner and no CAP_LEASE.
        return Writer.OPEN if error.errno == errno.EAGAIN else Writer.CANNOT_TELL
    return Writer.CANNOT_TELL if remote else Writer.NONE
