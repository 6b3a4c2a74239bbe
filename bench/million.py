"""What it costs to know many files: a delivered tree grows, and the agent is measured at each size."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import live, measure, table, trees
from bench.peers import Place
from bench.rounds import tail
from bench.trees import Tree

_SIZE = 64  # bytes of each file
_FOLDER = 500  # files in each folder
_NEW = live.Stream(files=400, size=_SIZE, rate=100, folders=1)
_IDLE = 20.0  # seconds in which nothing happens, to see what that costs
_ASKED = 9  # times that each page is asked for
_LIMIT = 3600.0  # seconds for delivering
_PATIENCE = 120.0  # seconds for a start-up sweep
_PAGES = ("/", "/status.json", "/metrics")

HEAD = [
    "files known", "sweep s", "files/s", "RSS MiB", "ledger bytes/file", "idle CPU %", "new file: CPU ms", "p50 ms", "p99 ms",
    "page ms", "status.json ms", "metrics ms",
]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One start of the agent with so many files known: seconds, bytes, and fractions of a core."""

    files: int
    sweep: float
    resident: int
    idle: float
    cpu: float
    latencies: list[float]
    pages: dict[str, float]


@dataclass(frozen=True)
class Step:
    """One size of the tree: bytes of the ledger per file, and each start."""

    files: int
    ledger: float
    runs: list[Run]

    def of(self, figure: Callable[[Run], float]) -> list[float]:
        """A figure of each start."""
        return [figure(run) for run in self.runs]


def grow(sizes: Sequence[int], runs: int, dropline: str, work: Path) -> Iterator[Step]:
    """Deliver a tree of each of these sizes, one after the other into the same ledger, and measure `runs` starts."""
    place = Place(work / "source", work / "share", work / "state")
    for folder in (place.share / "new", place.state, place.source):
        folder.mkdir(parents=True)
    config = _config(place)
    known = 0
    for size in sizes:
        print(f"making and delivering {size - known:,} more files", file=sys.stderr)
        trees.make(Tree(f"t{size}", -(-(size - known) // _FOLDER), size - known, _SIZE), place.source / f"t{size}")
        used = measure.run(
            [dropline, "run", "--config", config, "--once"],
            place.state,
            work / "log",
            _LIMIT,
            {"DROPLINE_AGENT__LISTEN": ""},
        )
        if used.status != 0:
            raise SystemExit(f"delivering ended with {used.status}\n{tail(work / 'log')}")
        print(f"delivered in {used.wall:.0f} s, peak {used.peak / 2**20:.0f} MiB", file=sys.stderr)
        known = size
        step = Step(known, _whole(place.state / "dropline/ledger.sqlite") / known, [])
        for _ in range(runs):
            step.runs.append(_measure(known, dropline, config, place, work / f"log-{known}"))
            known += _NEW.files
        yield step


def _measure(known: int, dropline: str, config: str, place: Place, log: Path) -> Run:
    source, share = place.source / f"new/{known}", place.share / f"new/{known}"
    for folder in (source / "r000", share):
        folder.mkdir(parents=True)
    with _agent([dropline, "run", "--config", config], place.state, log) as (process, url):
        text = _until(lambda: _swept(_get(url + "metrics")[1]), "the start-up sweep")
        sweep = float(text)
        resident = measure.snapshot(process.pid).resident
        pages = {page: median(_get(url.rstrip("/") + page)[0] for _ in range(_ASKED)) for page in _PAGES}
        measure.settle(process, quiet=2.0, limit=30)
        before = measure.snapshot(process.pid).cpu
        time.sleep(_IDLE)
        idle = (measure.snapshot(process.pid).cpu - before) / _IDLE
        before = measure.snapshot(process.pid).cpu
        closed, arrived = live.written(source, share, _NEW)
        cpu = 1000 * (measure.snapshot(process.pid).cpu - before) / _NEW.files
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    latencies = [max(0, arrived[path] - at) / 1e6 for path, at in closed.items() if path in arrived]
    if len(latencies) < _NEW.files:
        print(f"{_NEW.files - len(latencies)} new files did not arrive\n{tail(log)}", file=sys.stderr)
    return Run(known, sweep, resident, idle, cpu, latencies, pages)


def rows(steps: Sequence[Step]) -> list[list[str]]:
    """A row per size: medians over the starts (min-max)."""
    return [
        [
            f"{step.files:,}",
            table.spread(step.of(lambda run: run.sweep), 2),
            f"{median(step.of(rate)):,.0f}",
            f"{max(step.of(lambda run: run.resident)) / 2**20:.0f}",
            f"{step.ledger:.0f}",
            table.spread(step.of(lambda run: 100 * run.idle), 1),
            table.spread(step.of(lambda run: run.cpu), 2),
            table.spread(step.of(lambda run: table.percentile(run.latencies, 0.5)), 0),
            table.spread(step.of(slowest), 0),
            *(f"{1000 * median(run.pages[page] for run in step.runs):.1f}" for page in _PAGES),
        ]
        for step in steps
    ]


def rate(run: Run) -> float:
    """Files per second of its first sweep."""
    return run.files / run.sweep


def slowest(run: Run) -> float:
    """Milliseconds from close to whole that 99 % of the new files did not exceed."""
    return table.percentile(run.latencies, 0.99)


def _whole(ledger: Path) -> int:
    """Bytes of the ledger with all that was written ahead moved into it, as an agent that ends leaves it."""
    with sqlite3.connect(ledger) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return ledger.stat().st_size


@contextmanager
def _agent(command: Sequence[str], folder: Path, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A running agent and the address of its page."""
    process = measure.start(command, folder, log)
    try:
        yield process, _until(lambda: _address(log), "the address of the page")
    finally:
        measure.kill(process)


def _address(log: Path) -> str:
    found = re.search(r"http://[\d.]+:\d+/", log.read_text(encoding="utf-8", errors="replace"))
    return found[0] if found else ""


def _swept(metrics: str) -> str:
    """Seconds that the start-up sweep took, once it has ended."""
    ended = re.search(r"^dropline_last_sweep_timestamp_seconds\{.*\} ([\d.e+]+)$", metrics, re.MULTILINE)
    took = re.search(r"^dropline_sweep_seconds\{.*\} ([\d.e+-]+)$", metrics, re.MULTILINE)
    return took[1] if ended and took and float(ended[1]) > 0 else ""


def _until(condition: Callable[[], str], what: str) -> str:
    deadline = time.monotonic() + _PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come within {_PATIENCE:.0f} s")
        time.sleep(0.1)
    return found


def _get(url: str) -> tuple[float, str]:
    """Seconds that the answer took, and the answer."""
    began = time.monotonic()
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  (our own agent)
        text = answer.read().decode()
    return time.monotonic() - began, text


def _config(place: Place) -> str:
    """No waiting, for nobody is writing; one sweep, at the start."""
    quoted = json.dumps
    text = f"""\
[agent]
state_dir = {quoted(str(place.state / "dropline"))}
listen = "127.0.0.1:0"
sweep_every = "7d"
[destinations.share]
path = {quoted(str(place.share))}
[[rules]]
name = "bench"
watch = {quoted(str(place.source))}
complete = {{ quiet = "0s" }}
batch = {{ linger = "0s" }}
deliver = [{{ to = "share" }}]
"""
    path = place.state / "dropline.toml"
    path.write_text(text, encoding="utf-8")
    os.sync()
    return str(path)
