"""Copying a finished tree: every contender on the same tree, interleaved round by round."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import measure, table, trees
from bench.peers import Peer, Place
from bench.trees import Found, Tree

_LIMIT = 1800.0  # seconds for one run

HEAD = [
    "contender",
    "wall s",
    "x reference",
    "files/s",
    "MB/s",
    "user s",
    "system s",
    "peak RSS MiB",
    "delivered",
]


@dataclass(frozen=True)
class Run:
    """One contender in one round."""

    usage: measure.Usage
    found: Found


@dataclass
class Contender:
    """One contender and its runs, one per round, without the warm-up."""

    peer: Peer
    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def copy(peers: Sequence[Peer], tree: Tree, runs: int, warm_up: bool, work: Path) -> list[Contender]:
    """Run A B C A B C ...; with `warm_up` one more round comes first and does not count."""
    base = work / tree.name
    source = base / "source"
    print(f"making {tree.files} files of {tree.size} bytes", file=sys.stderr)
    digests = trees.make(tree, source)
    contenders = [Contender(peer) for peer in peers]
    for number in range(0 if warm_up else 1, runs + 1):
        for contender in contenders:
            place = base / f"{number}-{contender.peer.name.replace(' ', '_')}"
            run, note = _once(contender.peer, source, digests, place)
            label = f"round {number} of {runs}" if number else "warm-up"
            print(f"{label}: {contender.peer.name}: {run.usage.wall:.2f} s, {run.found.same} files", file=sys.stderr)
            if number:
                contender.runs.append(run)
            if note:
                contender.notes.append(f"{contender.peer.name}, {label}: {note}")
    if trees.digest_all(source) != digests:
        contenders[0].notes.append("the source is not what it was: some contender changed it")
    return contenders


def _once(peer: Peer, source: Path, digests: dict[str, str], base: Path) -> tuple[Run, str]:
    """One run into an empty share with empty state; what it left is checked, then retired. The note: what failed."""
    place = Place(source, base / "share", base / "state")
    place.share.mkdir(parents=True)
    place.state.mkdir()
    log = base / "log"
    command = peer.prepare(place)
    os.sync()  # the next contender must not pay for the pages that the last one left dirty
    usage = measure.run(command, place.state, log, _LIMIT)
    found = trees.compare(digests, place.share)
    trees.retire(place.share)
    trees.retire(place.state)
    whole = usage.status == 0 and found == Found(same=len(digests), wrong=0, extra=0)
    return Run(usage, found), "" if whole else f"exit status {usage.status}, {found}\n{tail(log)}"


def rows(contenders: Sequence[Contender], tree: Tree) -> list[list[str]]:
    """A row per contender; the first is the reference. Ratios are of the same round, and then their median."""
    lines = []
    reference = _walls(contenders[0])
    for contender in contenders:
        used = [run.usage for run in contender.runs]
        walls = _walls(contender)
        delivered = min(run.found.same for run in contender.runs)
        whole = delivered == tree.files  # else a rate would say how fast it failed
        lines.append(
            [
                contender.peer.name,
                table.spread(walls, 2),
                table.spread(table.paired(walls, reference), 2),
                f"{tree.files / median(walls):.0f}" if whole else "-",
                f"{tree.bytes / median(walls) / 1e6:.0f}" if whole else "-",
                table.spread([usage.user for usage in used], 2),
                table.spread([usage.system for usage in used], 2),
                f"{max(usage.peak for usage in used) / 2**20:.0f}",
                f"{delivered} of {tree.files}",
            ]
        )
    return lines


def ratios(contenders: Sequence[Contender]) -> list[tuple[str, float]]:
    """(contender, median of wall clock over that of the reference in the same round)."""
    reference = _walls(contenders[0])
    return [(one.peer.name, median(table.paired(_walls(one), reference))) for one in contenders]


def _walls(contender: Contender) -> list[float]:
    return [run.usage.wall for run in contender.runs]


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, indented, with control characters taken out."""
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join("    " + "".join(letter for letter in line if letter.isprintable()) for line in last)
