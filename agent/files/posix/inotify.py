"""Events on Linux: inotify(7), read by one thread.

The reader waits a moment after each look, so that what an instrument does in that moment shares one read and wakes the
agent once. A directory that appears is watched before it is told, so the sweep that follows misses nothing.
"""

import ctypes
import errno
import os
import select
import struct
import threading
from collections.abc import Callable

from agent.files.events import Hint, Put
from rules.model import OWN_PREFIX

GATHER_MS = 20
_BUFFER = 2**18
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_UNMOUNT, _OVERFLOW, _IGNORED, _IS_DIRECTORY = 0x2000, 0x4000, 0x8000, 0x40000000
_ONLY_DIRECTORY, _NO_LINK = 0x01000000, 0x02000000
_WANTED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLY_DIRECTORY
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

_libc = ctypes.CDLL(None, use_errno=True)


def _failed(path: str) -> OSError:
    code = ctypes.get_errno()
    words = {
        errno.ENOSPC: "no more inotify watches; raise fs.inotify.max_user_watches",
        errno.EMFILE: "no more inotify instances; raise fs.inotify.max_user_instances, or the limit of open files",
    }
    return OSError(code, words.get(code, os.strerror(code)), path)


class Inotify:
    """Hints about `root` (which may be a link) and the directories below it."""

    def __init__(self, root: str, put: Put, lost: Callable[[str], None]) -> None:
        """Watch all directories that are there. Raises OSError where the kernel refuses.

        Args:
            root: the directory.
            put: takes the hints.
            lost: told, in words, that events were lost.
        """
        self._put = put
        self._lost = lost
        self._paths: dict[int, str] = {}
        self._end = os.eventfd(0)
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            error = _failed(root)
            os.close(self._end)
            raise error
        try:
            self._root = self._add(root, _WANTED)
            self._add_below(root)
        except OSError:
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
        while not end.poll(GATHER_MS):
            events.poll()
            try:
                data = os.read(self._fd, _BUFFER)
            except BlockingIOError:
                continue  # it was the end that woke us
            hints = self._hints(data)
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
            elif mask & (_CLOSE_WRITE | _MOVED_TO):
                hints[Hint(path)] = None
            elif mask & (_MOVED_FROM | _DELETE):
                hints[Hint(path, gone=True)] = None
            elif mask & _CREATE:
                hints[Hint(path, created=True)] = None
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
                self._add(path, _WANTED | _NO_LINK)
                self._add_below(path)
            except OSError as error:
                if error.errno not in _GONE:
                    self._lost(f"{path} cannot be watched: {error.strerror}")
            return [Hint(path, below=True)]
        if mask & _MOVED_FROM:
            self._forget(path)
            return [Hint(path, below=True, gone=True)]
        return []  # removed: it was empty, and each file was told before

    def _add(self, path: str, mask: int) -> int:
        watch: int = _libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
        if watch < 0:
            raise _failed(path)
        self._paths[watch] = path.rstrip("/")
        return watch

    def _add_below(self, path: str) -> None:
        """Watch the directories below one that is watched; those that went away or may not be read are left out."""
        waiting = [path]
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    below = [
                        entry.path
                        for entry in entries
                        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(OWN_PREFIX)
                    ]
            except OSError:
                continue  # the sweep finds it so, too, and says what it could not list
            for directory in below:
                try:
                    self._add(directory, _WANTED | _NO_LINK)
                except OSError as error:
                    if error.errno not in _GONE | {errno.EACCES}:
                        raise
                else:
                    waiting.append(directory)

    def _forget(self, path: str) -> None:
        """A directory moved away: what happens in it there is not ours. Where it moved to in the tree, it is added again."""
        for watch, known in list(self._paths.items()):
            if known == path or known.startswith(path + "/"):
                _libc.inotify_rm_watch(self._fd, watch)
                del self._paths[watch]
