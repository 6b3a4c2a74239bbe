"""A file of an instrument, open for reading until a program wants it: then it is given up, and reads raise BUSY.

The file is first opened for its attributes, which is in nobody's way, and locked by that handle. It is opened for reading
under the lock. A program whose open would fail because of that, or that renames a folder above, waits until Windows'
own thread has closed both handles here. Without oplocks, as on Wine, such a program fails as long as the file is read.
"""

import threading
from collections.abc import Callable

from agent.files.trouble import Trouble, What
from agent.files.windows import nt
from agent.files.windows.facts import Facts
from agent.files.windows.handle import Where, WindowsHandle, observation
from agent.files.windows.oplock import Oplock
from rules.model import Observation, Writer


class YieldingHandle(WindowsHandle):
    """A file handle. See `agent.files.tree.Handle`."""

    __slots__ = ("_attributes", "_lock", "_oplock", "_wanted")

    def __init__(self, attributes: int, where: Where, opened: Facts, read: Callable[[], int]) -> None:
        """Take a handle over that is open for attributes. Raises Trouble: then it is given back.

        Args:
            attributes: the handle; its calls do not wait.
            where: the file system.
            opened: what it is of.
            read: opens what has the file's name for reading.
        """
        super().__init__(0, where, opened)
        self._attributes = attributes
        self._wanted = False
        self._lock = threading.Lock()
        """Nothing that may wait for another program is done under it."""
        self._oplock = Oplock(attributes, self._give_up)
        try:
            self._open_for_reading(read)
        except Trouble:
            self.close()
            raise

    def _open_for_reading(self, read: Callable[[], int]) -> None:
        handle = read()
        try:
            if nt.look(handle).number != self.facts.number:
                raise _busy()  # another file took the name
            with self._lock:
                if self._wanted:
                    raise _busy()
                self.handle = handle
        except Trouble:
            nt.close(handle)
            raise

    def _give_up(self) -> None:
        """A program wants it. Called from a thread of Windows'."""
        with self._lock:
            self._wanted = True
            self._close_both()

    def _close_both(self) -> None:
        handles, self.handle, self._attributes = (self.handle, self._attributes), 0, 0
        for handle in filter(None, handles):
            nt.close(handle)

    def close(self) -> None:
        """Give it back, once."""

        def close() -> None:
            with self._lock:
                self._close_both()

        self._oplock.release(close)

    def look(self) -> Observation:
        """See `Handle`."""
        with self._lock:
            return observation(nt.look(self._open), self._where.id)

    def writer(self) -> Writer:
        """See `Handle`. Where nobody else had it open, and nobody wanted it since, no program is in the way of the question."""
        if self._oplock.alone and not self._oplock.is_broken:
            return Writer.NONE
        found = super().writer()
        return Writer.OPEN if self._wanted else found

    def named(self) -> bool:
        """See `Handle`."""
        with self._lock:
            return nt.look(self._open).links > 0

    def read_into(self, block: memoryview, offset: int) -> int:
        """See `Handle`."""
        with self._lock:
            return nt.read_into(self._open, block, offset) if block else 0

    @property
    def _open(self) -> int:
        """The handle. Raises Trouble where a program wanted the file."""
        if not self.handle:
            raise _busy()
        return self.handle


def _busy() -> Trouble:
    return Trouble(What.BUSY, "a program wanted the file, or its name, while it was read")
