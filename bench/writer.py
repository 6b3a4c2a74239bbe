"""The instrument: a process that writes files at a steady rate, and notes when it closed each. Run by live.py.

`python -m bench.writer SOURCE FOLDERS FILES SIZE RATE`: SIZE in bytes, RATE in files per second. Folders must exist.
Prints JSON: for each relative path the nanoseconds of CLOCK_MONOTONIC (one clock for all processes) after its close.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bench.trees import content

_READY = 1 << 28  # bytes


def path_of(number: int, folders: int) -> str:
    """The relative path of one file: the folders take turns."""
    return f"r{number % folders:03}/s{number:06}.dat"


def main(source: Path, folders: int, files: int, size: int, rate: float) -> None:
    """Open, write, close under the final name, `rate` times a second."""
    closed: dict[str, int] = {}
    paths = [path_of(number, folders) for number in range(files)]
    # Made before the clock starts, where they fit into memory: random bytes take longer than a burst leaves.
    ready = {path: b"".join(content(path, size)) for path in paths} if files * size <= _READY else {}
    began = time.monotonic()
    for number, path in enumerate(paths):
        data = ready.get(path) or b"".join(content(path, size))
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        with (source / path).open("wb", buffering=0) as file:
            file.write(data)
        closed[path] = time.monotonic_ns()
    json.dump(closed, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
