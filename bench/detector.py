"""A simulated detector: a process that writes frames at a steady rate and notes how far it fell behind. Run by polite.py.

`python -m bench.detector FOLDER RATE SECONDS`: RATE in bytes per second. Frames of 8 MiB go into files of 64 frames, as
write(2) takes them. A detector cannot wait: what it falls behind must fit into its buffer. Prints JSON: `seconds` that
it took, `bytes`, `behind` (seconds behind its schedule after each frame) and `writes` (seconds of each write).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

_FRAME = 8 << 20  # bytes
_FRAMES = 64  # in one file


def main(folder: Path, rate: float, seconds: float) -> None:
    """Write for so long, a frame whenever one is due."""
    frame = os.urandom(_FRAME)
    behind, writes = [], []
    fd = -1
    began = time.monotonic()
    for number in range(int(rate * seconds / _FRAME)):
        due = began + number * _FRAME / rate
        time.sleep(max(0.0, due - time.monotonic()))
        if number % _FRAMES == 0:
            if fd >= 0:
                os.close(fd)
            fd = os.open(folder / f"frames{number // _FRAMES:04}.raw", os.O_WRONLY | os.O_CREAT, 0o644)
        start = time.monotonic()
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(fd, rest) :]
        done = time.monotonic()
        writes.append(done - start)
        behind.append(max(0.0, done - due - _FRAME / rate))
    os.close(fd)
    took = time.monotonic() - began
    json.dump({"seconds": took, "bytes": len(writes) * _FRAME, "behind": behind, "writes": writes}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
