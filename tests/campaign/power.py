"""A disk that remembers the order of what was written to it, so that power can fail at any moment afterwards.

    python -m tests.campaign.power BASE LOG MOUNTPOINT

shows the file MOUNTPOINT/disk (FUSE), of the size and content of BASE, and appends to LOG every write and every flush that
comes: with a loop device on it, what a file system asks of a real disk. `image_at` then makes the disk as a power cut at
some point leaves it: all that was flushed, and of what was written since then any part, for a disk's own cache keeps no order.

Covered: data and names that nobody made durable, the file system's journal, SQLite's files. Not covered: sectors written
in part, disks that lie about flushes, and servers: state, source and share are on one disk here, and lose power together.
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

_ENTRY = struct.Struct("<QQ")
"""Offset and length; the data follows. A length of 0 is a flush."""
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
            os.write(self._log, _ENTRY.pack(offset, len(data)) + data)
            return os.pwrite(self._file, data, offset)

        def fsync(self, path: str, datasync: int, fh: int) -> int:
            os.write(self._log, _ENTRY.pack(0, 0))
            return 0

    fuse.FUSE(Disk(), mountpoint, foreground=True, nothreads=True, direct_io=True)


def image_at(base: Path, log: Path, end: int, chance: Random, target: Path) -> None:
    """Make the disk as power that failed when the log had `end` bytes may have left it."""
    target.write_bytes(base.read_bytes())
    cached: list[tuple[int, bytes]] = []
    with log.open("rb") as entries, target.open("r+b") as disk:
        while entries.tell() < end:
            offset, length = _ENTRY.unpack(entries.read(_ENTRY.size))
            if length:
                cached.append((offset, entries.read(length)))
                continue
            for at, data in cached:
                disk.seek(at)
                disk.write(data)
            cached.clear()
        for at, data in cached:
            if chance.random() < 0.5:
                disk.seek(at)
                disk.write(data)


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
