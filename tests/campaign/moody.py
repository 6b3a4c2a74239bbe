"""A file system that does as it is told: it hangs, is slow, fails, is full, folds names. Real calls of a real kernel.

    python -m tests.campaign.moody BACKING MOUNTPOINT MOOD [direct]

passes BACKING through at MOUNTPOINT (FUSE, as root or with fusermount3) until it is unmounted. MOOD is a file with a JSON
object, read before each operation; absent: all is well.

- `hang`: names of operations (["*"]: all) that do not return until the mood changes. Callers sleep uninterruptibly: not
  even SIGKILL ends them, as with sshfs, or a hard mount whose server is gone.
- `slow`: seconds that each operation takes longer.
- `fail`: operation → error, for example {"write": "ENOSPC"}.
- `short`: reads bring a third of what is asked for at the most, though more is there. With `direct` only: else the kernel
  takes a short read for the end of the file.
- `fold`: names that differ only in case or Unicode form are the same name, and are kept as they were first written.
"""

import errno
import json
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from tests.programs import program

C = TypeVar("C", bound=Callable[..., Any])
_MODULE = "tests.campaign.moody"


def folded(name: str) -> str:
    """The form in which two names are the same name to such a file system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class Moods:
    """What the file says now."""

    def __init__(self, path: str) -> None:
        self._path = path

    def now(self) -> dict[str, Any]:
        """The mood; empty where there is none."""
        try:
            with open(self._path, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
                return found
        except FileNotFoundError:
            return {}

    def endure(self, operation: str) -> None:
        """Wait, or raise OSError, as the mood has it for this operation."""
        while True:
            mood = self.now()
            if not {operation, "*"} & set(mood.get("hang", ())):
                break
            time.sleep(0.02)
        time.sleep(mood.get("slow", 0.0))
        if operation in mood.get("fail", ()):
            raise OSError(getattr(errno, mood["fail"][operation]), "as it was told to")


def moody(function: C) -> C:
    """An operation, done as the mood has it."""

    @wraps(function)
    def wrapped(self: Any, *words: Any) -> Any:
        self.moods.endure(function.__name__)
        return function(self, *words)

    return wrapped  # type: ignore[return-value]


def serve(backing: str, mountpoint: str, mood: str, direct: str = "") -> None:
    """Mount, and serve until it is unmounted. `direct`: past the kernel's page cache."""
    import mfusepy

    mfusepy_any: Any = mfusepy  # it is untyped

    class PassThrough(mfusepy_any.Operations):  # type: ignore[misc]
        """BACKING, as it is."""

        use_ns = True

        def __init__(self) -> None:
            self.moods = Moods(mood)

        def _real(self, path: str) -> str:
            """The path in BACKING; with folded names, that of what has the name already."""
            if not self.moods.now().get("fold"):
                return backing + path
            at = backing
            for part in path.strip("/").split("/"):
                try:
                    there = os.listdir(at)
                except OSError:
                    there = []
                at = f"{at}/{next((name for name in there if folded(name) == folded(part)), part)}"
            return at

        @moody
        def access(self, path: str, mode: int) -> int:
            if not os.access(self._real(path), mode):
                raise OSError(errno.EACCES, path)
            return 0

        @moody
        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            status = os.lstat(self._real(path))
            found = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
            return found | {name: getattr(status, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")}

        @moody
        def readdir(self, path: str, fh: int) -> list[str]:
            return [".", "..", *os.listdir(self._real(path))]

        @moody
        def readlink(self, path: str) -> str:
            return os.readlink(self._real(path))

        @moody
        def open(self, path: str, flags: int) -> int:
            return os.open(self._real(path), flags)

        @moody
        def create(self, path: str, mode: int, fi: object = None) -> int:
            return os.open(self._real(path), os.O_RDWR | os.O_CREAT, mode)

        @moody
        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return os.pread(fh, -(-size // 3) if self.moods.now().get("short") else size, offset)

        @moody
        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            return os.pwrite(fh, data, offset)

        @moody
        def truncate(self, path: str, length: int, fh: int | None = None) -> int:
            os.truncate(self._real(path) if fh is None else fh, length)
            return 0

        @moody
        def fsync(self, path: str, datasync: int, fh: int) -> int:
            os.fsync(fh)
            return 0

        def release(self, path: str, fh: int) -> int:
            os.close(fh)
            return 0

        @moody
        def rename(self, old: str, new: str) -> int:
            target = self._real(new)
            os.rename(self._real(old), target if folded(old) != folded(new) else backing + new)
            return 0

        @moody
        def unlink(self, path: str) -> int:
            os.unlink(self._real(path))
            return 0

        @moody
        def link(self, target: str, source: str) -> int:
            os.link(self._real(source), self._real(target))
            return 0

        @moody
        def mkdir(self, path: str, mode: int) -> int:
            os.mkdir(self._real(path), mode)
            return 0

        @moody
        def rmdir(self, path: str) -> int:
            os.rmdir(self._real(path))
            return 0

        @moody
        def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
            os.utime(self._real(path), ns=times)
            return 0

        @moody
        def chmod(self, path: str, mode: int) -> int:
            os.chmod(self._real(path), mode)
            return 0

        @moody
        def statfs(self, path: str) -> dict[str, int]:
            status = os.statvfs(self._real(path))
            return {name: getattr(status, name) for name in dir(status) if name.startswith("f_")}

    class Fuse(mfusepy_any.FUSE):  # type: ignore[misc]
        def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
            if flags:
                return -errno.EINVAL  # as sshfs: it knows no rename that cannot overwrite
            return int(self.rename_fuse_2(old, new))

    Fuse(
        PassThrough(),
        mountpoint,
        foreground=True,
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
        hard_remove=True,
        fsname="moody",
        direct_io=bool(direct),
    )


class Share:
    """Such a file system, mounted."""

    def __init__(self, root: Path) -> None:
        """`root`: a directory for what it is made of."""
        self.backing, self.path, self._mood = root / "backing", root / "mnt", root / "mood"
        self.mood()

    def mood(self, **mood: object) -> None:
        """Be in this mood from now on; without words, all is well."""
        new = self._mood.with_suffix(".new")
        new.write_text(json.dumps(mood))
        new.rename(self._mood)


@contextmanager
def mounted(root: Path, *, direct: bool = False) -> Iterator[Share]:
    """A mounted share, past the page cache if `direct`; skips where there is no FUSE. What waits at its end fails."""
    import pytest

    fusermount = program("fusermount3")
    pytest.importorskip("mfusepy", exc_type=ImportError)
    root.mkdir()
    share = Share(root)
    share.backing.mkdir()
    share.path.mkdir()
    command = [sys.executable, "-m", _MODULE, str(share.backing), str(share.path), str(root / "mood")]
    command += ["direct"] if direct else []
    server = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        deadline = time.monotonic() + 30
        while not os.path.ismount(share.path):
            assert server.poll() is None, "the file system could not be mounted"
            assert time.monotonic() < deadline, "the file system was not mounted in time"
            time.sleep(0.01)
        yield share
    finally:
        share.mood()
        server.kill()  # the kernel then answers all that waits with ECONNABORTED
        server.wait()
        subprocess.run([fusermount, "-u", "-z", str(share.path)], check=True)


def main(words: list[str]) -> None:
    """BACKING MOUNTPOINT MOOD [direct]"""
    serve(*words)


if __name__ == "__main__":
    main(sys.argv[1:])
