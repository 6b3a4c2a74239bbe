"""Does an acquisition keep its rate while a backlog drains? A detector writes; contenders copy beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import measure, table, trees
from bench.peers import Peer, Place
from bench.trees import Tree

_ROOT = Path(__file__).parents[1]
_HEAD_START = 1.5  # seconds that a contender has before the detector begins: interpreters start

HEAD = [
    "beside the detector",
    "MB/s kept",
    "write p99 ms",
    "write max ms",
    "behind max ms",
    "backlog drained MB/s",
    "drained MB",
]


@dataclass(frozen=True)
class Detector:
    """`rate` bytes per second for `seconds`."""

    rate: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """What the detector noted (seconds), and what of the backlog was at the share when it ended."""

    name: str
    rate: float
    writes: list[float]
    behind: float
    drained: int
    whole: bool
    seconds: float


def watch(
    peers: Sequence[Peer], detector: Detector, tree: Tree, runs: int, warm_up: bool, work: Path
) -> list[list[Run]]:
    """The detector alone, then beside each contender with the tree as its backlog, and so on: a list for each of them.

    With `warm_up` one more round comes first and does not count.
    """
    source = work / "backlog"
    print(f"making {tree.files} files of {tree.size} bytes", file=sys.stderr)
    trees.make(tree, source)
    rounds = [
        [_once(peer, detector, tree, source, work / str(number)) for peer in (None, *peers)]
        for number in range(runs + warm_up)
    ]
    return [list(of_one) for of_one in zip(*rounds[warm_up:], strict=True)]


def _once(peer: Peer | None, detector: Detector, tree: Tree, source: Path, work: Path) -> Run:
    name = peer.name if peer else "nobody"
    base = work / name.replace(" ", "_").replace("/", "_")
    place = Place(source, base / "share", base / "state")
    frames = base / "frames"
    for folder in (place.share, place.state, frames):
        folder.mkdir(parents=True)
    command = peer.prepare(place) if peer else ["sleep", str(detector.seconds + 60)]
    os.sync()
    process = measure.start(command, place.state, base / "log")
    began = time.monotonic()
    try:
        time.sleep(_HEAD_START)
        seen = subprocess.run(
            [sys.executable, "-m", "bench.detector", str(frames), str(detector.rate), str(detector.seconds)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        took = time.monotonic() - began
        drained = sum(path.stat().st_size for path in trees.walk(place.share))
    finally:
        measure.kill(process)
    for used in (place.share, place.state, frames):
        trees.retire(used)
    told = json.loads(seen.stdout)
    print(f"{name}: {told['bytes'] / told['seconds'] / 1e6:.0f} MB/s", file=sys.stderr)
    return Run(
        name, told["bytes"] / told["seconds"], told["writes"], max(told["behind"]), drained, drained >= tree.bytes, took
    )


def rows(contenders: Sequence[Sequence[Run]]) -> list[list[str]]:
    """A row per contender. Where the backlog ended before the detector did, its rate is a lower bound."""
    return [
        [
            runs[0].name,
            table.spread([run.rate / 1e6 for run in runs], 0),
            table.spread([1000 * table.percentile(run.writes, 0.99) for run in runs], 0),
            table.spread([1000 * max(run.writes) for run in runs], 0),
            table.spread([1000 * run.behind for run in runs], 0),
            *(("-", "-") if runs[0].name == "nobody" else _drained(runs)),
        ]
        for runs in contenders
    ]


def _drained(runs: Sequence[Run]) -> tuple[str, str]:
    rate = table.spread([run.drained / run.seconds / 1e6 for run in runs], 0)
    return rate, "all" if all(run.whole for run in runs) else table.spread([run.drained / 1e6 for run in runs], 0)
