"""Latency while a writer is at work: from the writer's close to whole under its final name at the share."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import measure, table, trees, writer
from bench.peers import Peer, Place
from bench.rounds import tail

_ROOT = Path(__file__).parents[1]
_PATIENCE = 20.0  # seconds without an arrival until what is not there counts as missing
_GRACE = 2.0  # seconds after the last arrival in which an agent's CPU still counts: its books may be open
_STOP = 30.0  # seconds that an agent has to end after SIGTERM

HEAD = ["contender", "p50 ms", "p99 ms", "max ms", "missing", "peak RSS MiB", "RSS at end MiB", "CPU ms/file"]


@dataclass(frozen=True)
class Stream:
    """`files` files of `size` bytes at `rate` files per second, in `folders` folders by turns."""

    files: int
    size: int
    rate: float
    folders: int


@dataclass(frozen=True)
class Run:
    """One agent, one stream: latencies in ms, memory in bytes, CPU in ms per file, missing files."""

    latencies: list[float]
    missing: int
    peak: int
    end: int
    cpu: float


@dataclass
class Contender:
    """One agent and its runs, one per round, without the warm-up."""

    peer: Peer
    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def follow(peers: Sequence[Peer], stream: Stream, runs: int, warm_up: bool, work: Path) -> list[Contender]:
    """Run A B C A B C ...; with `warm_up` one more round comes first and does not count."""
    contenders = [Contender(peer) for peer in peers]
    for number in range(0 if warm_up else 1, runs + 1):
        for contender in contenders:
            base = work / "live" / f"{number}-{contender.peer.name.replace(' ', '_')}"
            run, notes = _once(contender.peer, stream, base)
            label = f"round {number} of {runs}" if number else "warm-up"
            shown = f"p50 {table.percentile(run.latencies, 0.5):.0f} ms, {run.missing} missing"
            print(f"{label}: {contender.peer.name}: {shown}", file=sys.stderr)
            if number:
                contender.runs.append(run)
            contender.notes += [f"{contender.peer.name}, {label}: {note}" for note in notes]
    return contenders


def rows(contenders: Sequence[Contender]) -> list[list[str]]:
    """A row per agent: medians over the rounds (min-max); memory and missing are the worst of them."""
    lines = []
    for contender in contenders:
        done = [run for run in contender.runs if run.latencies]
        lines.append(
            [
                contender.peer.name,
                *(_latency(done, share) for share in (0.5, 0.99, 1)),
                str(max(run.missing for run in contender.runs)),
                _mebibytes([run.peak for run in done]),
                _mebibytes([run.end for run in done]),
                table.spread([run.cpu for run in done], 2),
            ]
        )
    return lines


def _latency(runs: Sequence[Run], share: float) -> str:
    return table.spread([table.percentile(run.latencies, share) for run in runs], 1)


def _mebibytes(sizes: Sequence[int]) -> str:
    return f"{max(sizes) / 2**20:.0f}" if sizes else "-"


def _once(peer: Peer, stream: Stream, base: Path) -> tuple[Run, list[str]]:
    place = Place(base / "source", base / "share", base / "state")
    for folder in (place.share, place.state, *_folders(place.source, stream)):
        folder.mkdir(parents=True)
    log = base / "log"
    notes = []
    command = peer.prepare(place)
    os.sync()
    with ExitStack() as stack:
        observer = stack.enter_context(_module("bench.watcher", place.share, stream.size))
        stack.callback(observer.kill)
        _ask(observer)  # it says that it is ready
        agent = measure.start(command, place.state, log)
        stack.callback(measure.kill, agent)
        measure.settle(agent, quiet=1.0, limit=10)
        if agent.poll() is not None:
            return Run([], stream.files, 0, 0, math.nan), [f"it ended before the first file\n{tail(log)}"]
        before = measure.snapshot(agent.pid)
        closed = _write(place.source, stream)
        _wait(observer, len(closed))
        time.sleep(_GRACE)
        after = measure.snapshot(agent.pid)
        agent.send_signal(signal.SIGTERM)
        try:
            agent.wait(_STOP)
        except subprocess.TimeoutExpired:
            notes.append(f"it did not end within {_STOP:.0f} s of SIGTERM")
        arrived: dict[str, int] = json.loads(observer.communicate()[0])
    found = trees.compare(trees.digest_all(place.source), place.share)
    if found.same < stream.files or found.extra:
        notes.append(f"{found}\n{tail(log)}")
    if missed := found.same - len(arrived.keys() & closed.keys()):
        notes.append(f"{missed} files are there but were not seen to arrive")
    if (pace := _pace(closed)) < 0.95 * stream.rate:
        notes.append(f"the writer managed only {pace:.0f} files/s")
    for used in (place.source, place.share, place.state):
        trees.retire(used)
    latencies = [max(0, arrived[path] - moment) / 1e6 for path, moment in closed.items() if path in arrived]
    cpu = 1000 * (after.cpu - before.cpu) / stream.files
    return Run(latencies, stream.files - found.same, after.peak, after.resident, cpu), notes


def _folders(source: Path, stream: Stream) -> list[Path]:
    return [source / Path(writer.path_of(number, stream.folders)).parent for number in range(stream.folders)]


def written(source: Path, share: Path, stream: Stream) -> tuple[dict[str, int], dict[str, int]]:
    """Write a stream while an agent runs: when each file was closed, and when it was seen at the share (ns)."""
    with _module("bench.watcher", share, stream.size) as observer:
        _ask(observer)  # it says that it is ready
        closed = _write(source, stream)
        _wait(observer, len(closed))
        time.sleep(_GRACE)
        arrived: dict[str, int] = json.loads(observer.communicate()[0])
    return closed, arrived


def _write(source: Path, stream: Stream) -> dict[str, int]:
    """Run the writer to its end; returns when each file was closed, in ns of CLOCK_MONOTONIC."""
    with _module("bench.writer", source, stream.folders, stream.files, stream.size, stream.rate) as process:
        closed: dict[str, int] = json.loads(process.communicate()[0])
    return closed


def _wait(observer: subprocess.Popen[str], files: int) -> None:
    """Wait until the observer has seen all files, or none for a while."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < _PATIENCE:
        count = int(_ask(observer, "count\n"))
        if count >= files:
            return
        if count > seen:
            seen, since = count, time.monotonic()
        time.sleep(0.2)


def _module(name: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", name, *map(str, arguments)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(observer: subprocess.Popen[str], question: str = "") -> str:
    if observer.stdin is None or observer.stdout is None:
        raise ValueError("the observer was started without pipes")
    observer.stdin.write(question)
    observer.stdin.flush()
    return observer.stdout.readline()


def _pace(closed: dict[str, int]) -> float:
    """Files per second that the writer achieved."""
    moments = sorted(closed.values())
    return (len(moments) - 1) / (moments[-1] - moments[0]) * 1e9 if len(moments) > 1 else math.inf
