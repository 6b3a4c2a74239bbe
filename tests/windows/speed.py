"""`python -m tests.windows.speed`: how long small files take in the Windows Python under Wine, beside Linux on the same computer.

Prints a table in Markdown. Each run is a whole `dropline run --once`; a run with one file shows what the start costs.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.windows import bed

_COMMAND = ["-P", "-c", "from agent.cli import main; main()", "run", "--once", "--watch", "inbox", "--to", "share"]
_SIZE = 16 * 1024
_FOLDER = 50
"""Files in a folder."""
_PATIENCE = 1800.0
"""Seconds."""


def once(folder: Path, files: int, *, windows: bool) -> float:
    """Seconds of one run over so many files, which must all arrive. Raises RuntimeError where they do not."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(files):
        path = folder / f"inbox/{number // _FOLDER}/{number}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(8, "big") * (_SIZE // 8))
    began = time.monotonic()
    if windows:
        done = bed.run(*_COMMAND, patience=_PATIENCE, directory=folder)
    else:
        done = subprocess.run(
            [sys.executable, *_COMMAND], cwd=folder, timeout=_PATIENCE, check=False, capture_output=True, text=True
        )
    took = time.monotonic() - began
    arrived = sum(1 for path in (folder / "share").rglob("*.dat"))
    if done.returncode != 0 or arrived != files:
        raise RuntimeError(f"{arrived} of {files} files arrived: {done.stderr[-2000:]}")
    return took


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args(arguments)
    folder = bed.made().home / "prefix/drive_c/tmp/speed"
    print("| where | one file, s | all files, s | files a second, without the start |\n| --- | ---: | ---: | ---: |")
    for name, windows in (("Linux", False), ("Windows' Python under Wine", True)):
        few, many = (
            statistics.median(once(folder, files, windows=windows) for _ in range(chosen.runs))
            for files in (1, chosen.files)
        )
        print(f"| {name} | {few:.1f} | {many:.1f} | {(chosen.files - 1) / (many - few):.0f} |", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
