"""Reading a copy in a directory again: its bytes as the storage has them now, and nothing there is changed."""

import logging
from collections.abc import Callable

from agent.destinations import Reread
from agent.destinations.directory.opening import Place, away, opened, require
from agent.destinations.directory.writer import NO_SUCH_PATH
from agent.files import LOCAL, Absent, CannotTell, Handle, NotAFile, Tree, Trouble, What
from agent.files.reader import checksum_of
from agent.host.heartbeat import Heartbeat
from rules.model import Content, Kind
from rules.scrub import CopyStatus

LEAST = 64 * 2**10
"""Bytes that a copy counts for at the least: to open it costs a share about as much."""
_OF_ONE_FILE = (NO_SUCH_PATH - {What.LINK}) | {What.DENIED, What.NOT_PERMITTED, What.DAMAGED}
"""Troubles that a single file may have while its destination is well; any other means the destination."""

log = logging.getLogger(__name__)


def reread(
    place: Place, path: str, size: int, checksum: bytes, algorithm: str, heartbeat: Heartbeat,
    tell: Callable[[int], object] = lambda length: None,
) -> Reread:  # fmt: skip
    """See `agent.destinations.Transport.reread`. Raises Transient."""

    def passing(length: int) -> None:
        heartbeat.ask(length)
        tell(length)

    where = f"at {place.name}, {path!r}"
    try:
        assert place.identity is not None, "only destinations are read again"
        with opened(place, heartbeat) as tree:
            found = _look(tree, where, path, size, checksum, algorithm, passing)
            if not found.copy_status.well:
                require(tree, place.identity)  # a share that went away says nothing of the copy
            return found
    except Trouble as trouble:
        raise away(place, trouble) from trouble


def _look(
    tree: Tree, where: str, path: str, size: int, checksum: bytes, algorithm: str, passing: Callable[[int], None]
) -> Reread:
    """Raises Trouble where it is not of this file alone."""
    seen = tree.look(path)
    if isinstance(seen, Absent):
        return Reread(CopyStatus.MISSING, f"{where} is gone", LEAST)
    try:
        if isinstance(seen, CannotTell):
            raise seen.trouble
        if seen.kind is not Kind.FILE:
            return Reread(CopyStatus.CHANGED, f"{where} is not a file any more", LEAST)
        with tree.open(path, seen) as handle:
            return _read(handle, where, size, checksum, algorithm, passing)
    except NotAFile:
        return Reread(CopyStatus.CHANGED, f"{where} is not a file any more", LEAST)
    except Trouble as trouble:
        if trouble.what is What.LINK:
            return Reread(CopyStatus.CHANGED, f"{where} has a symbolic link in it", LEAST)
        if trouble.what not in _OF_ONE_FILE:
            raise
        return Reread(CopyStatus.UNREADABLE, f"{where} cannot be read: {trouble.reason}", LEAST)


def _read(
    handle: Handle, where: str, size: int, checksum: bytes, algorithm: str, passing: Callable[[int], None]
) -> Reread:
    found = handle.opened.version.size
    if found != size:
        return Reread(CopyStatus.CHANGED, f"{where} has {found} bytes instead of {size}", LEAST)
    read = 0
    for _ in range(2):
        # A bit that flipped in memory or on the wire is not one that flipped on the storage: look twice.
        LOCAL.drop_cache([handle])
        good = checksum_of(handle, algorithm, size, passing) == Content(checksum, size)
        read += size
        if good:
            break
    handle.forget()
    if not good:
        return Reread(CopyStatus.CHANGED, f"{where} has other content than was delivered", read)
    if read > size:
        log.warning("%s was read wrongly once, and rightly then: distrust the network, or this memory", where)
    return Reread(CopyStatus.GOOD, where, max(read, LEAST))
