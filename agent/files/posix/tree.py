"""A directory and what lies below it, opened part by part and never through a symbolic link.

Every read, write, rename and unlink of the agent starts from a descriptor that a `Tree` gave out, so that a directory
which somebody swaps for a link between check and use never leads outside.
"""

import os
from collections import OrderedDict
from types import TracebackType
from typing import Self

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_OPEN_AT_MOST = 64


class Tree:
    """The directory `root` (itself allowed to be a link) and cached descriptors of the directories below it.

    Short-lived: a cached descriptor follows its directory when that is renamed. Not safe between threads.
    """

    def __init__(self, root: str) -> None:
        """Open the root. Raises OSError."""
        self.root = root
        self.fd = os.open(root, _DIRECTORY)
        self._open: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in self._open.values():
            os.close(fd)
        os.close(self.fd)

    def directory(self, relpath: str, *, make: bool = False) -> int:
        """A descriptor of a directory below the root; `make` creates what is missing.

        Valid until 64 others have been asked for. Raises OSError: ELOOP or ENOTDIR where a part is a link.
        """
        if not relpath:
            return self.fd
        known = self._open.get(relpath)
        if known is not None:
            self._open.move_to_end(relpath)
            return known
        parent, _, name = relpath.rpartition("/")
        at = self.directory(parent, make=make)
        try:
            fd = os.open(name, _DIRECTORY | _NOFOLLOW, dir_fd=at)
        except FileNotFoundError:
            if not make:
                raise
            try:
                os.mkdir(name, dir_fd=at)
            except FileExistsError:
                pass  # another thread was faster; the open below decides what it is
            fd = os.open(name, _DIRECTORY | _NOFOLLOW, dir_fd=at)
        self._open[relpath] = fd
        if len(self._open) > _OPEN_AT_MOST:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def place(self, relpath: str, *, make: bool = False) -> tuple[int, str]:
        """The descriptor of the directory that holds a path, and the path's last part."""
        parent, _, name = relpath.rpartition("/")
        return self.directory(parent, make=make), name
