"""The instrument: a process that writes files at a steady rate, and notes when it closed each. Run by live.py.

`python -m bench.writer SOURCE FOLDERS FILES SIZE RATE`: SIZE in bytes, RATE in files per second. Folders must exist.
Prints JSON: for each relative path the nanoseconds of CLOCK_MONOTONIC (one clock for all processes) after its close.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time

_NOISE = 1 << 20  # bytes of random content that all files are cut from, each with its number before it


def path_of(number: int, folders: int) -> str:
    """The relative path of one file: the folders take turns."""
    return f"r{number % folders:03}/s{number:06}.dat"


def main(source: str, folders: int, files: int, size: int, rate: float) -> None:
    """Open, write, close under the final name, `rate` times a second, with as little of the processor as can be."""
    closed: dict[str, int] = {}
    noise = memoryview(random.Random(files).randbytes(_NOISE + size))
    began = time.monotonic()
    for number in range(files):
        path = path_of(number, folders)
        data: list[bytes | memoryview] = [
            number.to_bytes(8, "big")[-size:],
            noise[number % _NOISE :][: max(0, size - 8)],
        ]
        if (early := began + number / rate - time.monotonic()) > 0:
            time.sleep(early)
        file = os.open(f"{source}/{path}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        if os.writev(file, data) != size:
            raise OSError(f"{path}: written in part only")
        os.close(file)
        closed[path] = time.monotonic_ns()
    json.dump(closed, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
