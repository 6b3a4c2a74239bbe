"""A real directory in which a simulated instrument writes, by names, as other programs do."""

import os
import time
from pathlib import Path

from agent.simulation.instrument import Pen


class Disk:
    """A directory of this computer. An instrument is another program: it writes by names, as those do."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def open(self, name: str, *, truncate: bool) -> Pen:
        """See `Desk`."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return DiskPen(path, truncate=truncate)

    def rename(self, source: str, target: str) -> None:
        """See `Desk`."""
        (self._root / source).rename(self._root / target)

    def remove(self, name: str) -> None:
        """See `Desk`."""
        (self._root / name).unlink()

    def date_back(self, name: str, seconds: float) -> None:
        """See `Desk`."""
        then = time.time() - seconds
        os.utime(self._root / name, (then, then))


class DiskPen:
    """See `Pen`."""

    def __init__(self, path: Path, *, truncate: bool) -> None:
        self._file = path.open("wb" if truncate else "ab", buffering=0)

    def write(self, data: bytes, /) -> None:
        """See `Pen`."""
        self._file.seek(0, os.SEEK_END)
        self._file.write(data)

    def set_size(self, size: int) -> None:
        """See `Pen`."""
        self._file.truncate(size)

    def close(self) -> None:
        """See `Pen`."""
        self._file.close()
