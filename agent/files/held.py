"""A file that was renamed aside, to be removed: whether it is what was proved, and whether a program opens it for writing.

A read lease survives a rename. While it is held, a program that opens the file for writing waits in its `open`, and the
lease is no longer whole. The file is then put back before the lease is given up: unlinked, the program would write into a
file without a name. The program waits as long as the lease is held, so nothing slow is done under it.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TypeVar

from agent.files.tree import Handle, Held, Tree
from agent.files.trouble import ABSENT, CannotTell, OtherVersion, Trouble, What
from rules.model import Observation, Version, Writer

H = TypeVar("H", bound=Held)


class Leasable(Handle, Protocol):
    """An open file of a platform that has leases, or none at all."""

    def lease(self) -> Writer:
        """Take a read lease, which is held where the answer is NONE, and only there."""

    def lease_is_whole(self) -> bool:
        """Whether the lease is held, and no program waits to open the file for writing."""

    def give_lease_back(self) -> None:
        """Programs need not wait for the file any more."""


class HeldByName:
    """See `agent.files.tree.Held`: where a file is renamed and removed by its name, and kept from writers by a lease."""

    def __init__(self, tree: Tree, handle: Leasable, aside: str, proved: Version) -> None:
        """Take the handle over, and a lease where one can be had.

        Args:
            tree: where it has its name.
            handle: the file, open for reading.
            aside: its name while it stands aside.
            proved: the version that was proved.
        """
        self._tree = tree
        self._handle = handle
        self._aside = aside
        self._proved = proved
        self._guarded = False
        self._expected = proved
        """Its stamps while it stands aside."""
        self._writer = handle.lease()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """See `Held`. The lease goes with the descriptor."""
        self._handle.close()

    def move(self, path: str) -> None:
        """Give it the name aside, if it is what was proved, and has no writer. Raises Trouble where it was not renamed.

        The lease is held before it is compared: what a program writes between a comparison and the rename, with its mtime
        put back, would leave no trace, for the rename itself moves the ctime.
        """
        if self._writer is Writer.OPEN:
            raise Trouble(What.BUSY, Writer.OPEN.value)
        seen = self._handle.look()
        if seen.version != self._proved:
            raise OtherVersion(seen)
        taken = self._tree.look(self._aside)
        if taken is not ABSENT:
            raise taken.trouble if isinstance(taken, CannotTell) else Trouble(What.EXISTS, "the name aside is taken")
        # Only the agent gives such names away. An exclusive rename is a link and an unlink on some file systems: to FUSE,
        # what was open is gone then, and what has the new name is another file.
        self._tree.replace(path, self._aside)
        self.stands_aside(self._handle.look().version.ctime_ns)

    def stands_aside(self, ctime_ns: int | None) -> None:
        """It has the name aside. `ctime_ns`: its ctime since then; None: not known, so that its stamps prove nothing."""
        self._guarded = self._writer is Writer.NONE and ctime_ns is not None
        ctime_ns = self._handle.look().version.ctime_ns if ctime_ns is None else ctime_ns
        self._expected = self._proved._replace(ctime_ns=ctime_ns)

    @property
    def ctime_ns(self) -> int:
        """See `Held`."""
        return self._expected.ctime_ns

    def whole(self) -> bool:
        """See `Held`."""
        if self._writer is Writer.OPEN or (self._writer is Writer.NONE and not self._handle.lease_is_whole()):
            return False
        named = self._tree.look(self._aside)
        if not isinstance(named, Observation) or named.file != self._handle.opened.file:
            return False  # another file has taken the name
        return self._handle.look().version == self._expected

    def unlink(self, same: Callable[[Handle], bool]) -> bool:
        """See `Held`."""
        if not (self._guarded or self._compared(same)) or not self.whole():
            return False
        self._tree.unlink(self._aside)
        return True

    def _compared(self, same: Callable[[Handle], bool]) -> bool:
        """Whether it has the content that was proved. It is read without the lease: a writer would have to wait."""
        if self._writer is Writer.NONE:
            self._handle.give_lease_back()
        if not same(self._handle):
            return False
        self._writer = self._handle.lease()
        return True

    def put_back(self, path: str) -> int | None:
        """See `Held`."""
        sure = self._guarded and self.whole()
        self._tree.rename_new(self._aside, path)
        try:
            ctime_ns = self._handle.look().version.ctime_ns
        except Trouble:
            return None  # it has its name: where that was made by a link and an unlink, the handle may be of no use now
        return ctime_ns if sure and self._handle.lease_is_whole() else None


def kept(held: H, act: Callable[[H], object]) -> H:
    """It, after `act`; given back where that fails."""
    try:
        act(held)
    except BaseException:
        held.close()
        raise
    return held
