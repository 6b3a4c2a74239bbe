"""A disk that remembers the order of what was written to it, so that power can fail at any moment afterwards.

    python -m tests.campaign.power BASE LOG MOUNTPOINT

shows the file MOUNTPOINT/disk (FUSE), of the size and content of BASE, and appends to LOG every write and every flush that
comes, with its time: with a loop device on it, what a file system asks of a real disk. `image_at` then makes the disk as a
power cut at some time leaves it: all that was flushed, and of what was written since then any part, for a disk's own cache
keeps no order. Several disks lose their power at one time; what is flushed on one says nothing of the others.

Covered: data and names that nobody made durable, the file system's journal, SQLite's files. Not covered: sectors written
in part, disks that lie about flushes, and servers that lose their power while the workstation keeps it.
"""

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any

_ENTRY = struct.Struct("<QQQ")
"""When it came (CLOCK_MONOTONIC, nanoseconds: of the whole computer), offset and length; the data follows. A length of 0 is a
flush."""
_NAME = "disk"


def serve(base: str, log: str, mountpoint: str) -> None:
    """Mount, and serve until it is unmounted."""
    import mfusepy

    fuse: Any = mfusepy  # it is untyped

    class Disk(fuse.Operations):  # type: ignore[misc]
        use_ns = True

        def __init__(self) -> None:
            self._file = os.open(base, os.O_RDWR)
            self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            if path == "/":
                return {"st_mode": 0o40755, "st_nlink": 2}
            if path != f"/{_NAME}":
                raise FileNotFoundError(2, path)
            return {"st_mode": 0o100600, "st_nlink": 1, "st_size": os.fstat(self._file).st_size}

        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", _NAME]

        def open(self, path: str, flags: int) -> int:
            return 1

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return os.pread(self._file, size, offset)

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            os.write(self._log, _ENTRY.pack(time.monotonic_ns(), offset, len(data)) + data)
            return os.pwrite(self._file, data, offset)

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            os.write(self._log, _ENTRY.pack(time.monotonic_ns(), 0, 0))
            return 0

    fuse.FUSE(Disk(), mountpoint, foreground=True, nothreads=True, direct_io=True)


def _entries(log: Path) -> Iterator[tuple[int, int, bytes]]:
    """(when, offset, data): all that came, in its order."""
    with log.open("rb") as entries:
        while head := entries.read(_ENTRY.size):
            when, offset, length = _ENTRY.unpack(head)
            yield when, offset, entries.read(length)


def moments(log: Path) -> list[int]:
    """When something was written or flushed."""
    return [when for when, _, _ in _entries(log)]


def image_at(base: Path, log: Path, cut: int, chance: Random, target: Path) -> None:
    """Make the disk as power that failed at that time may have left it."""
    target.write_bytes(base.read_bytes())
    cached: list[tuple[int, bytes]] = []
    with target.open("r+b") as disk:
        for when, offset, data in _entries(log):
            if when > cut:
                break
            if data:
                cached.append((offset, data))
                continue
            for at, flushed in cached:
                disk.seek(at)
                disk.write(flushed)
            cached.clear()
        for at, written in cached:
            if chance.random() < 0.5:
                disk.seek(at)
                disk.write(written)


@contextmanager
def attached(image: Path, at: Path) -> Iterator[None]:
    """The file system in an image, mounted."""
    with ExitStack() as stack:
        loop = subprocess.check_output(["losetup", "--find", "--show", str(image)], text=True).strip()
        stack.callback(subprocess.run, ["losetup", "--detach", loop], check=True)
        subprocess.run(["mount", "-t", "ext4", loop, str(at)], check=True)
        stack.callback(subprocess.run, ["umount", str(at)], check=True)
        yield


@contextmanager
def recorded(root: Path, size: int = 48 * 2**20) -> Iterator[tuple[Path, Path, Path]]:
    """(the image as it was at first, the log, the file of the disk): an ext4 file system, whose use is recorded."""
    root.mkdir()
    base, live, log, mount = root / "base", root / "live", root / "log", root / "recorder"
    with base.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(base)], check=True)
    live.write_bytes(base.read_bytes())
    mount.mkdir()
    command = [sys.executable, "-m", "tests.campaign.power", str(live), str(log), str(mount)]
    server = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 30
        while not os.path.ismount(mount):
            assert server.poll() is None, "the disk could not be mounted"
            assert time.monotonic() < deadline, "the disk was not mounted in time"
            time.sleep(0.01)
        yield base, log, mount / _NAME
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
        server.kill()
        server.wait()


if __name__ == "__main__":
    serve(*sys.argv[1:])
