"""The files of a Windows computer."""

from collections.abc import Callable, Sequence
from typing import Final

from agent.files.events import Events, Put
from agent.files.tree import Files, Handle, Tree
from agent.files.trouble import ABSENT, CannotTell, Look, Trouble, What
from agent.files.volumes import Location, Space, Volume
from agent.files.windows import nt, volumes
from agent.files.windows.facts import native
from agent.files.windows.handle import WindowsHandle, observation
from agent.files.windows.tree import WindowsTree

_OPEN_AT_MOST = 8192
"""Windows has no bound that is worth asking for: a process may have millions."""


class WindowsFiles:
    """The files of this computer. See `agent.files.tree.Files`."""

    def prepare(self) -> None:
        """See `Files`. Nothing to do: a question about writers has no effect on this process."""

    def tree(self, root: str) -> Tree:
        """See `Files`."""
        return WindowsTree(root)

    def look(self, path: str) -> Look:
        """See `Files`."""
        try:
            handle = nt.opened(native(path), None, nt.READ_ATTRIBUTES)
            return nt.closing(handle, lambda one: observation(nt.look(one), volumes.where(one).id))
        except Trouble as why:
            if why.what not in (What.ABSENT, What.NOT_A_DIRECTORY):
                return CannotTell(why)
        try:  # a drive or a share that is not there has no names: that says nothing of the file
            nt.close(nt.opened(native(volumes.top(path)), None, nt.READ_ATTRIBUTES, options=nt.DIRECTORY_FILE))
        except Trouble as why:
            absent = Trouble(What.NO_ANSWER, volumes.no_drive(path) or why.reason)
            return CannotTell(absent if why.what is What.ABSENT else why)
        return ABSENT

    def volume(self, path: str) -> Volume:
        """See `Files`."""
        return volumes.volume(path)

    def location(self, path: str) -> Location:
        """See `Files`."""
        return volumes.location(path)

    def resolve(self, path: str) -> str:
        """See `Files`."""
        return volumes.resolve(path)

    def unmounted(self, path: str) -> str | None:
        """See `Files`. Windows has no table of what should be mounted; a drive that is absent has no root to open."""
        return None

    def open_at_most(self) -> int:
        """See `Files`."""
        return _OPEN_AT_MOST

    def space(self, path: str) -> Space | None:
        """See `Files`."""
        try:
            free, total = nt.space(volumes.windows(path).rstrip("\\") + "\\")
        except Trouble:
            return None
        return Space(free, free / total if total else None, total)

    def make_durable(self, handles: Sequence[Handle]) -> None:
        """See `Files`. Only an administrator may flush a volume: each file is flushed."""
        for handle in handles:
            handle.sync()

    def drop_cache(self, handles: Sequence[Handle]) -> None:
        """See `Files`. Reads of a share then come from its server; Windows keeps the pages of a local file."""
        for handle in handles:
            assert isinstance(handle, WindowsHandle), "handles of two platforms do not meet"
            nt.bypass_client_cache(handle.handle)

    def watch(self, root: str, put: Put, lost: Callable[[str], None]) -> Events:
        """See `Files`."""
        from agent.files.windows.watcher import Watcher

        return Watcher(root, put, lost)


FILES: Final[Files] = WindowsFiles()
"""The files of this computer."""
