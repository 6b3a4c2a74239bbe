"""Reading a copy in a directory again: its bytes as the storage has them now, and nothing there is changed."""

import errno
import logging
import os
import stat
from collections.abc import Callable

from agent.destinations import Reread
from agent.destinations.directory.writer import NOT_THERE, Place, require
from agent.errors import Transient, cause
from agent.files.posix import durable as disk
from agent.files.posix.tree import Tree
from agent.files.reader import checksum_of
from agent.host.steps import Steps
from rules.scrub import Sight

LEAST = 64 * 2**10
"""Bytes that a copy counts for at the least: to open it costs a share about as much."""
_OF_ONE_FILE = {errno.EACCES, errno.EPERM, errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)}
"""Errors that a single file may have while its destination is well; any other means the destination."""

log = logging.getLogger(__name__)


def reread(
    place: Place, path: str, size: int, checksum: bytes, algorithm: str, steps: Steps,
    tell: Callable[[int], object] = lambda length: None,
) -> Reread:  # fmt: skip
    """See `agent.destinations.Transport.reread`. Raises Transient."""

    def passing(length: int) -> None:
        steps.ask(length)
        tell(length)

    steps.at(place.path)
    where = f"at {place.name}, {path!r}"
    try:
        with Tree(place.path) as tree:
            assert place.identity is not None, "only destinations are read again"
            require(tree, place.identity)
            found = _look(tree, where, path, size, checksum, algorithm, passing)
            if not found.sight.well:
                require(tree, place.identity)  # what went away meanwhile says nothing of the copy
            return found
    except OSError as error:
        raise Transient(f"{place.path}: {cause(error)}") from error


def _look(
    tree: Tree, where: str, path: str, size: int, checksum: bytes, algorithm: str, passing: Callable[[int], None]
) -> Reread:
    try:
        directory, name = tree.place(path)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Reread(Sight.CHANGED, f"{where} has a symbolic link in it", LEAST)
        if error.errno in NOT_THERE:
            return Reread(Sight.MISSING, f"{where} is gone", LEAST)
        return _unreadable(where, error)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return Reread(Sight.CHANGED, f"{where} is not a file any more", LEAST)
        if status.st_size != size:
            return Reread(Sight.CHANGED, f"{where} has {status.st_size} bytes instead of {size}", LEAST)
        read = 0
        for _ in range(2):
            # A bit that flipped in memory or on the wire is not one that flipped on the storage: look twice.
            os.lseek(fd, 0, os.SEEK_SET)
            disk.drop_cache([fd])
            good = checksum_of(fd, algorithm, size, passing) == checksum
            read += size
            if good:
                break
        disk.forget(fd)
        if not good:
            return Reread(Sight.CHANGED, f"{where} has other content than was delivered", read)
        if read > size:
            log.warning("%s was read wrongly once, and rightly then: distrust the network, or this memory", where)
        return Reread(Sight.GOOD, where, max(read, LEAST))
    except OSError as error:
        return _unreadable(where, error)
    finally:
        os.close(fd)


def _unreadable(where: str, error: OSError) -> Reread:
    """Raises the error where it is not of this file alone."""
    if error.errno not in _OF_ONE_FILE:
        raise error
    return Reread(Sight.UNREADABLE, f"{where} cannot be read: {cause(error)}", LEAST)
