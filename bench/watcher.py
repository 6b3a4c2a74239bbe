"""The observer at the share: a process that notes when each file is whole under its final name. Run by live.py.

`python -m bench.watcher SHARE SIZE` answers each line on standard input with the number of files seen so far, and at
its end prints JSON: for each relative path the nanoseconds of CLOCK_MONOTONIC when it was first seen with SIZE bytes
under its final name, at an inotify event (a rename or link into place, or a close after writing).
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import select
import struct
import sys
import time
from pathlib import Path

_CLOSE_WRITE, _MOVED_TO, _CREATE, _OVERFLOW, _IS_FOLDER = 0x8, 0x80, 0x100, 0x4000, 0x40000000
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_FINAL = re.compile(r"s\d{6}\.dat")  # any other name is a contender's temporary one


class Watcher:
    """Watches a directory and what appears below it; hidden directories are the contenders' own and left alone."""

    def __init__(self, share: Path, size: int) -> None:
        self.share, self.size = share, size
        self._cut = len(os.fspath(share)) + 1
        self.arrived: dict[str, int] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, str] = {}
        self._add(os.fspath(share))

    def read(self) -> None:
        """Take the events that are waiting."""
        try:
            data = os.read(self.descriptor, 1 << 20)
        except BlockingIOError:
            return
        now = time.monotonic_ns()
        at = 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if mask & _OVERFLOW:
                self._add(os.fspath(self.share))
                continue
            name = os.fsdecode(data[at - length : at].rstrip(b"\0"))
            if mask & _IS_FOLDER:
                self._add(f"{self._folders[watch]}/{name}")
            else:
                self._see(self._folders[watch], name, now)

    def _see(self, folder: str, name: str, now: int) -> None:
        if not _FINAL.fullmatch(name):
            return
        path = f"{folder}/{name}"
        relative = path[self._cut :]
        try:
            if relative not in self.arrived and os.stat(path).st_size == self.size:
                self.arrived[relative] = now
        except FileNotFoundError:
            pass  # it went again

    def _add(self, folder: str) -> None:
        """Watch a directory, then look at what was there already."""
        if os.path.basename(folder).startswith("."):
            return
        mask = _CLOSE_WRITE | _MOVED_TO | _CREATE
        watch: int = self._libc.inotify_add_watch(self.descriptor, os.fsencode(folder), mask)
        if watch < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", folder)
        self._folders[watch] = folder
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._add(entry.path)
                else:
                    self._see(folder, entry.name, time.monotonic_ns())


def main(share: Path, size: int) -> None:
    """Watch until standard input ends."""
    watcher = Watcher(share, size)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([watcher.descriptor, sys.stdin.fileno()], [], [])
        if watcher.descriptor in ready:
            watcher.read()
        elif os.read(sys.stdin.fileno(), 4096):
            print(len(watcher.arrived), flush=True)
        else:
            break
    json.dump(watcher.arrived, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
