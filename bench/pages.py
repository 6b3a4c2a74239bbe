"""`python -m bench.pages [--files N] [--kind KIND]`: how long the status page takes when much is known.

The ledger is made by the ledger's own methods; the pages are asked of the agent's own server over HTTP.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.app.configuration import read
from agent.app.pages import Page
from agent.app.parts import Parts
from agent.ledger import Found, Ledger, Proof, Sealed
from agent.observe.file_inspector import FileInspector
from agent.observe.metrics import Metrics
from agent.observe.status import Health
from bench import table
from rules.config.settings import Configuration
from rules.model import Content, FileId, Observation, OpenBatch, Version, VolumeId
from rules.model import Kind as FileKind

PAGES = ("/", "/status.json", "/metrics", "/healthz", "/?q=scan_0001234", "/?q=nowhere")
_REPEATS = 21
_AGO = 3600.0


@dataclass(frozen=True)
class Kind:
    """What became of the files. `folder`, `batch`: files in each."""

    name: str
    state: str
    folder: int = 500
    batch: int = 500


KINDS = (
    Kind("verified", "verified"),
    Kind("one folder", "verified", folder=1 << 40),
    Kind("a folder a file", "verified", folder=1, batch=1),
    Kind("candidates", "candidate"),
    Kind("on their way", "batched", folder=1, batch=1),
    Kind("refused", "refused"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one row a kind of ledger."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--kind", action="append", choices=[kind.name for kind in KINDS])
    options = parser.parse_args(arguments)
    rows = []
    for kind in KINDS:
        if options.kind and kind.name not in options.kind:
            continue
        with tempfile.TemporaryDirectory(prefix="dropline-pages-") as folder:
            config = configuration(Path(folder))
            began = time.monotonic()
            size = fill(config, kind, options.files)
            print(f"{kind.name}: made in {time.monotonic() - began:.0f} s", file=sys.stderr)
            rows.append([kind.name, f"{size / options.files:.0f}", *(f"{took:.0f}" for took in ask(config))])
            print(rows[-1], file=sys.stderr)
    print(table.markdown(["files are", "bytes of ledger each", *PAGES], rows))
    return 0


def configuration(folder: Path) -> Configuration:
    """Two destinations and one rule, on directories of which the watched one is never looked at."""
    for name in ("share", "mirror", "data"):
        (folder / name).mkdir()
    text = (
        '[agent]\nstate_dir = "state"\nlisten = "127.0.0.1:0"\n[destinations.share]\npath = "share"\n'
        '[destinations.mirror]\npath = "mirror"\n[[rules]]\nname = "scans"\nwatch = "data"\n'
        'deliver = [{ to = "share" }, { to = "mirror" }]\n'
    )
    (folder / "dropline.toml").write_text(text, encoding="utf-8")
    (folder / "state").mkdir()
    return read(folder / "dropline.toml")


def fill(config: Configuration, kind: Kind, files: int) -> int:
    """Enter that many files. Returns the size of the ledger in bytes."""
    ledger = Ledger(str(config.ledger))
    ledger.execute("PRAGMA synchronous = OFF")  # a bench that loses it makes it again
    places = [
        (ledger.destinations.place(name, one.address).id, name) for name, one in config.settings.destinations.items()
    ]
    now, step = time.time() - _AGO, _AGO / files
    for first, chunk in _chunks(kind, files):
        with ledger.transaction():
            _enter(ledger, config.rules[0].watch, kind, first, chunk, places, now + first * step)
    ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    return os.stat(config.ledger).st_size


def _chunks(kind: Kind, files: int) -> Iterator[tuple[int, int]]:
    size = max(kind.batch, 500)
    for first in range(0, files, size):
        yield first, min(size, files - first)


def _enter(
    ledger: Ledger, watch: str, kind: Kind, first: int, count: int, places: Sequence[tuple[int, str]], now: float
) -> None:
    found = []
    for number in range(first, first + count):
        directory = f"{watch}/run_{number // kind.folder:07}"
        version = Version(1000 + number % 977, 10**18 + number, 10**18 + number, FileId(number))
        seen = Observation(version, VolumeId(1), FileKind.FILE)
        path = f"{directory}/scan_{number:07}.h5"
        found.append(Found(ledger.files.directory(directory), path, "scans", seen, 1, now, now))
    ledger.files.found(found)
    files = ledger.files.due(now, count)
    if kind.state == "candidate":
        ledger.files.waits((now + 60, "a process has it open for writing", file.id) for file in files)
        return
    for start in range(0, len(files), kind.batch):
        group = files[start : start + kind.batch]
        batch = ledger.batches.opened("scans", os.path.dirname(group[0].path), now)
        ledger.batches.joined(batch, OpenBatch("", len(group), sum(file.version.size for file in group), now, now))
        ledger.files.completed([(file, batch, "no writer, quiet") for file in group], now)
        ledger.batches.sealed([Sealed(batch, "scans", "full", [place for place, _ in places])], now)
        if kind.state == "refused":
            ledger.files.refused([(file.id, file.rule, file.path, "a link, not a file; exclude it") for file in group])
            continue
        if kind.state == "batched":
            continue
        for place, name in places:
            ledger.deliveries.planned(place, [(file.id, f"{file.path[1:]}") for file in group])
            proofs = [
                Proof(
                    file, file.path[1:], Content(file.id.to_bytes(32, "big"), file.version.size), "sha256", "accepted"
                )
                for file in group
            ]
            ledger.deliveries.proved(place, name, proofs, now)
            due = [one for one in ledger.deliveries.due(place, now, 1000) if one.batch == batch]
            ledger.deliveries.finished(due, now)


def ask(config: Configuration) -> list[float]:
    """Milliseconds of each page: the median of several requests."""
    with ExitStack() as stack:
        metrics = Metrics()
        parts = Parts(config, metrics, lambda name: lambda: None, stack)
        looks = FileInspector(time.time, [rule.watch for rule in config.rules])
        server = Page(parts, lambda: Health([]), metrics, time.time, looks, None).serve()  # type: ignore[arg-type]
        assert server is not None
        stack.callback(server.close)
        server.start()
        return [_median(urlsplit(server.url).netloc, page) for page in PAGES]


def _median(address: str, page: str) -> float:
    took = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        connection = http.client.HTTPConnection(address, timeout=600)
        connection.request("GET", page)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        took.append(1000 * (time.perf_counter() - began))
        assert answer.status in (200, 503), f"{page}: {answer.status}"
        if took[-1] > 5000:
            break
    return statistics.median(took)


if __name__ == "__main__":
    sys.exit(main())
