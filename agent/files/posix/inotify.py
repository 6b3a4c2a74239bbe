"""Events on Linux: inotify(7), read by one thread.

The reader waits a moment after each look, so that what an instrument does in that moment shares one read and wakes the
agent once. A directory that appears is watched before it is announced, so the sweep that follows misses nothing. It is watched by
its descriptor: inotify_add_watch(2) and scandir go by path, and a directory above it may be a link by now, to anywhere.
"""

import ctypes
import errno
import os
import select
import struct
import threading
from collections.abc import Callable

from agent.files.events import Hint, Put
from agent.files.posix.tree import PosixTree
from agent.files.trouble import Trouble
from rules.model import OWN_PREFIX

GATHER_MS = 20
_BUFFER = 2**18
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_UNMOUNT, _OVERFLOW, _IGNORED, _IS_DIRECTORY = 0x2000, 0x4000, 0x8000, 0x40000000
_ONLY_DIRECTORY = 0x01000000
_WANTED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLY_DIRECTORY
_NO_MORE = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""The kernel has no room for more watches. Any other error is one directory's: sweeps see what is in it, or say why not."""
_AT_ONCE = 100
"""Directories below one that appeared which are watched before events are read again."""

_libc = ctypes.CDLL(None, use_errno=True)


def _failed(path: str) -> OSError:
    code = ctypes.get_errno()
    words = {
        errno.ENOSPC: "no more inotify watches; as root: sysctl -w fs.inotify.max_user_watches=1048576",
        errno.EMFILE: "no more inotify instances; raise fs.inotify.max_user_instances, or the limit of open files",
        errno.ENOENT: "there is no /proc, by which directories are watched",
    }
    return OSError(code, words.get(code, os.strerror(code)), path)


class Inotify:
    """Hints about `root` (which may be a link) and the directories below it."""

    def __init__(self, root: str, put: Put, lost: Callable[[str], None]) -> None:
        """Watch all directories that are there. Raises Trouble, and OSError where the kernel refuses.

        Args:
            root: the directory.
            put: takes the hints.
            lost: told, in words, that events were lost.
        """
        self._top = root.rstrip("/")
        self._put = put
        self._lost = lost
        self._paths: dict[int, str] = {}
        self._adding: dict[str, list[str]] = {}
        """Directory that appeared → those at and below it whose directories are not watched yet."""
        self._end = os.eventfd(0)
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            error = _failed(root)
            os.close(self._end)
            raise error
        try:
            with PosixTree(root) as tree:
                self._root = self._add(tree, self._top)
                waiting = [self._top]
                while waiting:
                    self._add_in(tree, waiting)
        except (OSError, Trouble):
            self._close_descriptors()
            raise
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the reader runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the reader."""
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        os.close(self._fd)
        os.close(self._end)

    def _run(self) -> None:
        events, end = select.poll(), select.poll()
        for poll, fds in ((events, (self._fd, self._end)), (end, (self._end,))):
            for fd in fds:
                poll.register(fd, select.POLLIN)
        while not end.poll(0 if self._adding else GATHER_MS):
            hints = self._add_some()
            events.poll(0 if self._adding or hints else None)
            try:
                hints += self._hints(os.read(self._fd, _BUFFER))
            except BlockingIOError:
                pass  # it was the end that woke us, or there is more to be watched
            if hints:
                self._put(hints)

    def _hints(self, data: bytes) -> list[Hint]:
        hints: dict[Hint, None] = {}
        at = 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            parent = self._paths.get(watch)
            if parent is None or mask & (_IGNORED | _UNMOUNT):
                self._no_path(watch, mask)
                continue
            name = os.fsdecode(data[at - length : at].rstrip(b"\0"))
            path = f"{parent}/{name}"
            if mask & _IS_DIRECTORY:
                if not name.startswith(OWN_PREFIX):
                    hints.update(dict.fromkeys(self._directory(path, mask)))
            elif mask & (_MOVED_FROM | _DELETE):
                hints[Hint(path, gone=True)] = None
            else:  # its writer closed it, it was renamed, or it was created: link(2) gives no other event
                hints[Hint(path)] = None
        return list(hints)

    def _no_path(self, watch: int, mask: int) -> None:
        """Events that are about no name: the queue, or a watch itself. Unknown watches are of directories that moved."""
        if mask & _OVERFLOW:
            self._lost("the kernel's event queue overflowed")
        elif mask & _UNMOUNT:
            self._lost("a file system in it was unmounted")
        elif mask & _IGNORED:
            self._paths.pop(watch, None)
            if watch == self._root:
                self._lost("the directory was removed")

    def _directory(self, path: str, mask: int) -> list[Hint]:
        if mask & (_CREATE | _MOVED_TO):
            try:
                with PosixTree(self._top or "/") as tree:
                    self._add(tree, path)
                self._adding[path] = [path]
            except (OSError, Trouble) as error:
                self._not_watched(path, error)
                return [Hint(path, below=True)]
            return []  # the hint comes when all below is watched
        if mask & _MOVED_FROM:
            self._forget(path)
            return [Hint(path, below=True, gone=True)]
        return []  # removed: it was empty, and each file was told before

    def _add(self, tree: PosixTree, path: str) -> int:
        """Watch a directory. Raises OSError, also where a part of the path is no directory, such as a link."""
        fd = tree.directory(self._below(path))
        watch: int = _libc.inotify_add_watch(self._fd, b"/proc/self/fd/%d" % fd, _WANTED)
        if watch < 0:
            raise _failed(path)
        self._paths[watch] = path
        return watch

    def _below(self, path: str) -> str:
        return path[len(self._top) + 1 :]

    def _add_some(self) -> list[Hint]:
        """Watch some of what is below a directory that appeared. Returns its hint when all of it is watched."""
        for path, waiting in self._adding.items():
            try:
                with PosixTree(self._top or "/") as tree:
                    for _ in range(_AT_ONCE):
                        if not waiting:
                            break
                        self._add_in(tree, waiting)
                    else:
                        return []
            except (OSError, Trouble) as error:
                self._not_watched(path, error)
            del self._adding[path]
            return [Hint(path, below=True)]
        return []

    def _add_in(self, tree: PosixTree, waiting: list[str]) -> None:
        """Watch the directories in the last one of a list, and put them on the list. Raises OSError where there is no room."""
        above = waiting.pop()
        try:
            with os.scandir(tree.directory(self._below(above))) as entries:
                below = [f"{above}/{entry.name}" for entry in entries if _is_directory(entry)]
        except OSError:
            return  # the sweep finds it so, too, and says what it could not list
        for directory in below:
            try:
                self._add(tree, directory)
            except OSError as error:
                if error.errno in _NO_MORE:
                    raise
            else:
                waiting.append(directory)

    def _not_watched(self, path: str, error: OSError | Trouble) -> None:
        if isinstance(error, Trouble):  # the root cannot be opened, which says nothing of this directory
            self._lost(f"{path} cannot be watched: {error.reason}")
        elif error.errno in _NO_MORE:
            self._lost(f"{path} cannot be watched: {error.strerror}")

    def _forget(self, path: str) -> None:
        """A directory moved away: what happens in it there is not ours. Where it moved to in the tree, it is added again."""
        for watch, known in list(self._paths.items()):
            if known == path or known.startswith(path + "/"):
                _libc.inotify_rm_watch(self._fd, watch)
                del self._paths[watch]


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory to be watched. One that cannot be looked at is none: the sweep says so."""
    try:
        return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(OWN_PREFIX)
    except OSError:
        return False
