"""Events of a directory tree, by one handle of its root (ReadDirectoryChangesW). No handle is held below it.

watchdog does not do here: it drops an overflow in silence, and opens every path that it reports.
"""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from agent.files.events import Hint, Put
from agent.files.trouble import Trouble
from agent.files.windows import nt
from agent.files.windows.facts import native

_REMOVED, _OLD_NAME = 2, 4
_GONE: Final = {_REMOVED, _OLD_NAME}
_ENDS_WITHIN = 5.0
"""Seconds."""


class Watcher:
    """Hints about a directory and what is below it. See `agent.files.events.Events`."""

    def __init__(self, root: str, put: Put, lost: Callable[[str], None]) -> None:
        """Start to listen. Raises Trouble.

        Args:
            root: the directory.
            put: takes hints, from a thread.
            lost: is called with the reason where events were lost.
        """
        self._root = root.rstrip("/")
        self._put = put
        self._lost = lost
        self._ending = False
        self._handle = nt.opened(native(root), None, nt.LIST, options=nt.DIRECTORY_FILE)
        self._thread = threading.Thread(target=self._read, name="events", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread."""
        self._ending = True
        until = time.monotonic() + _ENDS_WITHIN
        while self._thread.is_alive() and time.monotonic() < until:
            nt.cancel(self._handle)  # it may be between two calls: then the next one is ended
            self._thread.join(0.05)

    def _read(self) -> None:
        """Pass hints on, until it is to end or the root cannot be read any more: a new source is made then."""
        try:
            while not self._ending:
                block = nt.changes(self._handle)
                if block:
                    self._put(list(hints(block, self._root)))
                elif not self._ending:
                    self._lost("more happened at once than Windows reports")
        except Trouble as trouble:
            if not self._ending:
                self._lost(f"the watched folder reports no events: {trouble.reason}")
        finally:
            handle, self._handle = self._handle, 0
            nt.close(handle)


def hints(block: bytes, root: str) -> Iterator[Hint]:
    """From FILE_NOTIFY_INFORMATION. It does not say whether something is a directory: who takes the hint finds out."""
    at, following = 0, 1
    while following:
        following, action, length = struct.unpack_from("<III", block, at)
        name = block[at + 12 : at + 12 + length].decode("utf-16-le", "surrogatepass").replace("\\", "/")
        yield Hint(f"{root}/{name}", gone=action in _GONE)
        at += following
