"""A pass over a tree that is delivered already: what it costs to find that there is nothing to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import measure, table, trees
from bench.peers import Peer, Place
from bench.rounds import tail
from bench.trees import Tree

_LIMIT = 7200.0  # seconds for one run

HEAD = ["contender", "wall s", "x reference", "files/s", "user s", "system s", "peak RSS MiB", "state bytes/file"]


@dataclass
class Contender:
    """One contender, its runs without the warm-up, and the bytes that its state takes on the disk."""

    peer: Peer
    runs: list[measure.Usage] = field(default_factory=list)
    state: int = 0
    note: str = ""


def look(peers: Sequence[Peer], tree: Tree, runs: int, work: Path) -> list[Contender]:
    """Each contender delivers the tree; then all look at it again, A B C A B C .... The first round is the warm-up."""
    source = work / "source"
    print(f"making {tree.files} files of {tree.size} bytes", file=sys.stderr)
    trees.make(tree, source)
    contenders, commands = [Contender(peer) for peer in peers], {}
    for one in contenders:
        base = work / one.peer.name.replace(" ", "_")
        place = Place(source, base / "share", base / "state")
        for folder in (place.share, place.state):
            folder.mkdir(parents=True)
        commands[one.peer.name] = one.peer.prepare(place), place.state
        _run(one, *commands[one.peer.name], "delivering")
    for number in range(runs + 1):
        for one in contenders:
            usage = _run(one, *commands[one.peer.name], f"round {number} of {runs}" if number else "warm-up")
            if number:
                one.runs.append(usage)
    for one in contenders:
        one.state = sum(path.stat().st_size for path in trees.walk(commands[one.peer.name][1]))
    return contenders


def _run(one: Contender, command: Sequence[str], state: Path, label: str) -> measure.Usage:
    os.sync()  # nobody pays for the pages that another left dirty
    log = state.parent / "log"
    usage = measure.run(command, state, log, _LIMIT)
    print(f"{label}: {one.peer.name}: {usage.wall:.2f} s", file=sys.stderr)
    if usage.status != 0 and not one.note:
        one.note = f"{one.peer.name}, {label}: exit status {usage.status}\n{tail(log)}"
    return usage


def rows(contenders: Sequence[Contender], tree: Tree) -> list[list[str]]:
    """A row per contender; the first is the reference. Ratios are of the same round, and then their median."""
    reference = [usage.wall for usage in contenders[0].runs]
    return [
        [
            one.peer.name,
            table.spread([usage.wall for usage in one.runs], 2),
            table.spread(table.paired([usage.wall for usage in one.runs], reference), 2),
            f"{tree.files / median(usage.wall for usage in one.runs):,.0f}",
            table.spread([usage.user for usage in one.runs], 2),
            table.spread([usage.system for usage in one.runs], 2),
            f"{max(usage.peak for usage in one.runs) / 2**20:.0f}",
            f"{one.state / tree.files:.0f}",
        ]
        for one in contenders
    ]
