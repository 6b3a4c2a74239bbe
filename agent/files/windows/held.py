"""A file that is renamed aside, to be removed, by one handle: what was compared is what is removed.

While the handle is open nobody can open the file for writing, because its share mode does not allow that: no lease is
needed, and its content need not be compared after the rename where the file system knows every writer.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from agent.files.tree import Handle
from agent.files.trouble import OtherVersion
from agent.files.windows import nt
from agent.files.windows.handle import WindowsHandle
from rules.model import Version


class WindowsHeld:
    """See `agent.files.tree.Held`."""

    def __init__(
        self, handle: WindowsHandle, rename: Callable[[int, str], None], proved: Version, *, guarded: bool, known: bool
    ) -> None:  # fmt: skip
        """Take the handle over.

        Args:
            handle: the file, open for reading and, where it is guarded, for removing.
            rename: gives what a handle is of a name in the tree, if nothing has it.
            proved: the version that was proved.
            guarded: nobody can open it for writing while it is open here.
            known: nor may there be a writer of whom the file system does not know.
        """
        self._handle = handle
        self._rename = rename
        self._expected = self._proved = proved
        self._guarded = guarded
        self._known = known
        self._sure = False
        """Its stamps prove that nobody wrote to it since it was proved."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """See `Held`."""
        self._handle.close()

    def move(self, aside: str) -> None:
        """Give it the name aside, if it is what was proved. Raises Trouble where it was not renamed."""
        seen = self._handle.look()
        if seen.version != self._proved:
            raise OtherVersion(seen)
        self._rename(self._handle.handle, aside)
        self.stands_aside(self._handle.look().version.ctime_ns)

    def stands_aside(self, ctime_ns: int | None) -> None:
        """It has the name aside. `ctime_ns`: its ctime since then; None: not known, so that its stamps prove nothing."""
        self._sure = self._known and ctime_ns is not None
        ctime_ns = self._handle.look().version.ctime_ns if ctime_ns is None else ctime_ns
        self._expected = self._proved._replace(ctime_ns=ctime_ns)

    @property
    def ctime_ns(self) -> int:
        """See `Held`."""
        return self._expected.ctime_ns

    def whole(self) -> bool:
        """See `Held`."""
        return self._guarded and self._handle.look().version == self._expected

    def unlink(self, same: Callable[[Handle], bool]) -> bool:
        """See `Held`."""
        if not (self._sure or same(self._handle)) or not self.whole():
            return False
        nt.delete(self._handle.handle)
        self.close()  # the name goes with it
        return True

    def put_back(self, path: str) -> int | None:
        """See `Held`."""
        sure = self._sure and self.whole()
        self._rename(self._handle.handle, path)
        return self._handle.look().version.ctime_ns if sure else None
