"""What the figures were taken on: the head of every report."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.peers import Tools

_REVISION = ["git", "--no-optional-locks", "-C", str(Path(__file__).parents[1]), "describe", "--always", "--dirty"]
_CREATES = 500  # files
_SLOW = 200e-6  # seconds per create; a local disk needs 10 to 80 microseconds


def describe(work: Path, tools: Tools) -> list[str]:
    """Lines of Markdown: processor, memory, kernel, file system, versions, load."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    tried = (tools.rsync, tools.ferry)
    commands = [["cp", "--version"], *([tool, "--version"] for tool in tried if tool), _REVISION]
    return [
        f"- when: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- processor: {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores; memory {memory:.0f} GiB",
        f"- kernel: {platform.system()} {platform.release()}; Python {platform.python_version()}",
        f"- file system of the work directory: {_file_system(work)}",
        f"- versions: {'; '.join(filter(None, map(_version, commands)))}",
        f"- {load()}",
    ]


def load() -> str:
    """How busy the machine is: others' work is in every figure."""
    stalled = re.search(r"avg60=([\d.]+)", _text("/proc/pressure/cpu"))
    waiting = f"; tasks waited for a processor {stalled[1]} % of the last minute" if stalled else ""
    return f"load average (1, 5, 15 min): {' '.join(f'{value:.1f}' for value in os.getloadavg())}{waiting}"


def creation(work: Path) -> tuple[float, str]:
    """Seconds to create an empty file here (median), and a warning if that is slow.

    The files stay until the work directory goes, for the reason that trees.retire gives.
    """
    folder = work / "creation"
    folder.mkdir()
    took = []
    for number in range(_CREATES):
        began = time.perf_counter()
        os.close(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY, 0o644))
        took.append(time.perf_counter() - began)
    middle = median(took)
    if middle < _SLOW:
        return middle, ""
    return middle, (
        "creating files is slow here just now. On ext4 that is so for some minutes after many files were deleted "
        "(an earlier run of this benchmark?): wait six minutes, or choose another --work"
    )


def _file_system(folder: Path) -> str:
    """Type and mount options of the file system that holds a folder."""
    best = (Path("/"), "unknown", "")
    for line in _text("/proc/self/mounts").splitlines():
        _, point, kind, options, *_ = line.split(" ")
        mount = Path(point.encode().decode("unicode_escape"))
        if folder.is_relative_to(mount) and len(mount.parts) >= len(best[0].parts):
            best = (mount, kind, options)
    warning = " (in memory: durability costs nothing here)" if best[1] in {"tmpfs", "ramfs"} else ""
    return f"{best[1]} ({best[2]}){warning}"


def _version(command: list[str]) -> str:
    """What a command says of itself, in its first line; for git, of this repository. Empty if it says nothing."""
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except FileNotFoundError:
        return ""
    first = re.sub(r"\s+", " ", shown[0]) if shown else ""
    return f"this repository {first}" if first and command is _REVISION else first


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""  # a kernel built without it
