"""The interface of `agent.files` on POSIX systems."""

import os
import resource
import sys
from collections.abc import Callable, Sequence

from agent.files.events import Events, Put
from agent.files.posix import durable, mounts, writer_probe
from agent.files.posix.errors import REFUSALS, trouble
from agent.files.posix.handle import PosixHandle
from agent.files.posix.observing import observation
from agent.files.posix.tree import PosixTree
from agent.files.posix.volume_ids import TreeVolumes
from agent.files.tree import Handle
from agent.files.trouble import ABSENT, CannotTell, Look, What
from agent.files.volumes import Location, Space, Volume


class PosixFiles:
    """The files of this computer. See `agent.files.tree.Files`."""

    def prepare(self) -> None:
        """See `Files`."""
        writer_probe.prepare()

    def tree(self, root: str) -> PosixTree:
        """See `Files`."""
        return PosixTree(root)

    def look(self, path: str) -> Look:
        """See `Files`."""
        try:
            status = os.lstat(path)
            return observation(status, TreeVolumes().named(status.st_dev, path))
        except REFUSALS as error:
            why = trouble(error)
            return ABSENT if why.what in (What.ABSENT, What.NOT_A_DIRECTORY) else CannotTell(why)

    def volume(self, path: str) -> Volume:
        """See `Files`."""
        return mounts.file_system(path)

    def location(self, path: str) -> Location:
        """See `Files`."""
        return mounts.location(path)

    def resolve(self, path: str) -> str:
        """See `Files`."""
        return mounts.real(path)

    def unmounted(self, path: str) -> str | None:
        """See `Files`."""
        return mounts.unmounted(path)

    def open_at_most(self) -> int:
        """See `Files`."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return most if most != resource.RLIM_INFINITY else 2**20

    def space(self, path: str) -> Space | None:
        """See `Files`."""
        try:
            status = os.statvfs(path)
        except REFUSALS:
            return None
        fraction = status.f_bavail / status.f_blocks if status.f_blocks else None
        return Space(status.f_bavail * status.f_frsize, fraction, status.f_blocks * status.f_frsize)

    def make_durable(self, handles: Sequence[Handle]) -> None:
        """See `Files`."""
        try:
            durable.make_durable([_descriptor(one) for one in handles])
        except REFUSALS as error:
            raise trouble(error) from error

    def drop_cache(self, handles: Sequence[Handle]) -> None:
        """See `Files`."""
        durable.drop_cache([_descriptor(one) for one in handles])

    def watch(self, root: str, put: Put, lost: Callable[[str], None]) -> Events:
        """See `Files`."""
        try:
            os.stat(root)  # a name that cannot be is refused here: what is called below takes it for another
            return _WATCHERS.get(sys.platform, _watchdog)(root, put, lost)
        except REFUSALS as error:
            raise trouble(error) from error


def _inotify(root: str, put: Put, lost: Callable[[str], None]) -> Events:
    from agent.files.posix.inotify import Inotify

    return Inotify(root, put, lost)


def _watchdog(root: str, put: Put, lost: Callable[[str], None]) -> Events:
    from agent.files.posix.observer import Observed

    return Observed(root, put, lost)


_WATCHERS = {"linux": _inotify}


def _descriptor(handle: Handle) -> int:
    assert isinstance(handle, PosixHandle), "handles of two platforms do not meet"
    return handle.fd
