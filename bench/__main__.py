"""`python -m bench SCENARIO... [--runs N] [--work DIR]`: Markdown to standard output, progress to standard error."""

from __future__ import annotations

import argparse
import io
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import again, fleet, live, machine, million, peers, plots, polite, rounds, service, table
from bench.live import Stream
from bench.peers import Peer, Tools
from bench.polite import Detector
from bench.trees import Tree

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Scenario:
    """What is measured, and how often by default. `warm_up`: one more round comes first and does not count."""

    copies: tuple[tuple[Tree, Callable[[Tools], list[Peer]]], ...] = ()
    stream: Stream | None = None
    served: tuple[Tree, ...] = ()
    beside: tuple[Detector, Tree] | None = None
    known: tuple[int, ...] = ()
    again: Tree | None = None
    fleet: bool = False
    runs: int = 5
    warm_up: bool = True

    @property
    def bytes(self) -> int:
        """What it needs on the disk, about."""
        kept = 8192 * 2 * max(self.known, default=0)  # a block at the source and one at the share, for each file
        frames = 6 * int(self.beside[0].rate * self.beside[0].seconds) if self.beside else 0
        stream = 8 * self.stream.files * self.stream.size if self.stream else 0
        trees = [tree for tree, _ in self.copies] + list(self.served) + ([self.beside[1]] if self.beside else [])
        if self.again:
            kept += 4096 * 5 * self.again.files
        return kept + frames + stream + 3 * sum(tree.bytes for tree in trees)


_SCENARIOS = {
    "small": Scenario(copies=((Tree("small", folders=100, files=20_000, size=16 * _KIB), peers.small),)),
    "tiny": Scenario(copies=((Tree("tiny", folders=400, files=200_000, size=_KIB), peers.tiny),)),
    "large": Scenario(copies=((Tree("large", folders=1, files=4, size=2 * _GIB), peers.large),)),
    "two": Scenario(
        copies=(
            (Tree("two-small", folders=100, files=10_000, size=16 * _KIB), peers.two),
            (Tree("two-large", folders=1, files=8, size=256 * _MIB), peers.two),
        )
    ),
    "live": Scenario(stream=Stream(files=12_000, size=16 * _KIB, rate=200, folders=20)),
    "fast": Scenario(stream=Stream(files=120_000, size=16 * _KIB, rate=2000, folders=20)),
    "burst": Scenario(stream=Stream(files=20_000, size=_KIB, rate=20_000, folders=20)),
    "beside": Scenario(beside=(Detector(200e6, 15.0), Tree("backlog", folders=4, files=48, size=128 * _MIB))),
    "million": Scenario(known=(10_000, 100_000, 1_000_000), warm_up=False),
    "again": Scenario(again=Tree("again", folders=2000, files=1_000_000, size=64)),
    "fleet": Scenario(fleet=True, runs=1),
    "globus": Scenario(
        served=tuple(Tree("globus", folders=files // 500, files=files, size=64) for files in (1000, 10_000, 100_000)),
        runs=1,
        warm_up=False,
    ),
    "quick": Scenario(
        copies=(
            (Tree("small", folders=10, files=500, size=16 * _KIB), peers.small),
            (Tree("large", folders=1, files=8, size=8 * _MIB), peers.large),
            (Tree("two", folders=10, files=500, size=16 * _KIB), peers.two),
        ),
        stream=Stream(files=200, size=16 * _KIB, rate=200, folders=20),
        served=(Tree("globus", folders=2, files=200, size=64),),
        beside=(Detector(100e6, 2.0), Tree("backlog", folders=1, files=8, size=16 * _MIB)),
        known=(500, 1000),
        again=Tree("again", folders=2, files=500, size=64),
        fleet=True,
        runs=1,
        warm_up=False,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios one after the other. Exit status 1: some contender did not deliver everything; 2: usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # in order with the progress, and not lost by an interruption
    options = _parser().parse_args(arguments)
    scenarios = {name: _SCENARIOS[name] for name in options.scenario}
    tools = peers.find(options.ferry, options.dropline)
    if options.files:
        scenarios = {
            name: replace(
                one,
                known=tuple(size for size in one.known if size <= options.files),
                again=one.again and replace(one.again, files=min(one.again.files, options.files)),
            )
            for name, one in scenarios.items()
        }
    needed = _GIB + sum(scenario.bytes for scenario in scenarios.values())
    if shutil.disk_usage(options.work or tempfile.gettempdir()).free < needed:
        print(f"this needs {needed / _GIB:.0f} GiB free; choose another --work", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that agents are ended and the directory is removed
    work = Path(tempfile.mkdtemp(prefix="dropline-bench-", dir=options.work)).resolve()
    try:
        print("\n".join(machine.describe(work, tools)))
        failed = False
        for name, scenario in scenarios.items():
            folder = work / name
            folder.mkdir()
            failed |= _run(name, scenario, options.runs or scenario.runs, tools, folder, options)
        print(f"\nAt the end: {machine.load()}")
        return int(failed)
    finally:
        if options.keep:
            print(f"kept: {work}", file=sys.stderr)
        else:
            print("removing the work directory", file=sys.stderr)
            shutil.rmtree(work)


def _run(name: str, scenario: Scenario, runs: int, tools: Tools, work: Path, options: argparse.Namespace) -> bool:
    """Run one scenario and print its tables; true if some contender failed."""
    only, plots_to = options.only, options.plots
    if scenario.fleet:
        _print_fleet()
    if not (
        scenario.copies or scenario.stream or scenario.served or scenario.beside or scenario.known or scenario.again
    ):
        return False
    took, warning = machine.creation(work)
    print(f"\nCreating an empty file takes {took * 1e6:.0f} microseconds here (median).")
    if warning:
        print(f"\nNOTE: {warning}")
    rounds_said = "one round" if runs == 1 else f"{runs} rounds"
    counted = f"{rounds_said} after a warm-up" if scenario.warm_up else f"{rounds_said}, no warm-up"
    failed = False
    for tree, contenders in scenario.copies:
        if chosen := _chosen(contenders(tools), only):
            title = f"{tree.files} files of {_size(tree.size)}: {counted}"
            print(f"\n### {title}\n")
            copied = rounds.copy(chosen, tree, runs, scenario.warm_up, work)
            print(table.markdown(rounds.HEAD, rounds.rows(copied, tree)))
            failed |= _notes([note for contender in copied for note in contender.notes])
            if plots_to:
                print(plots.ratios(title, rounds.ratios(copied), plots_to, tree.name), file=sys.stderr)
    if (stream := scenario.stream) and (chosen := _chosen(peers.live(tools), only)):
        print(f"\n### {stream.files} files of {_size(stream.size)} at {stream.rate:g} files/s: {counted}\n")
        followed = live.follow(chosen, stream, runs, scenario.warm_up, work)
        print(table.markdown(live.HEAD, live.rows(followed)))
        failed |= _notes([note for contender in followed for note in contender.notes])
    if scenario.beside and (chosen := _chosen(peers.beside(tools), only)):
        detector, tree = scenario.beside
        print(f"\n### Beside a detector of {detector.rate / 1e6:.0f} MB/s, for {detector.seconds:.0f} s: {counted}\n")
        watched = polite.watch(chosen, detector, tree, runs, scenario.warm_up, work)
        print(table.markdown(polite.HEAD, polite.rows(watched)))
    if (tree_known := scenario.again) and (chosen := _chosen(peers.again(tools), only)):
        print(
            f"\n### {tree_known.files} files of {tree_known.size} bytes, delivered already: {rounds_said} after a warm-up\n"
        )
        looked = again.look(chosen, tree_known, runs, work)
        print(table.markdown(again.HEAD, again.rows(looked, tree_known)))
        failed |= _notes([one.note for one in looked if one.note])
    if scenario.known and tools.dropline:
        print(f"\n### Many files known: {rounds_said}\n")
        steps = list(million.grow(scenario.known, runs, tools.dropline, work / "million"))
        print(table.markdown(million.HEAD, million.rows(steps)))
        if plots_to:
            print(plots.scaling(steps, plots_to), file=sys.stderr)
    if scenario.served and tools.dropline:
        print("\n### Files of 64 bytes through the stand-in for Globus\n")
        runs_of = [service.deliver(tree, tools.dropline, work / f"globus-{tree.files}") for tree in scenario.served]
        print(table.markdown(service.HEAD, service.rows(runs_of)))
        print("\nRequests per 1,000 files, by kind:\n")
        print(table.markdown(service.KINDS_HEAD, service.kinds(runs_of)))
        failed |= _notes([run.note for run in runs_of if run.note])
    return failed


def _print_fleet() -> None:
    print("\n### A fleet on paper\n")
    print("\n".join(fleet.report(fleet.Fleet())))
    print()
    print(table.markdown(fleet.HEAD, fleet.rows(fleet.Fleet())))


def _chosen(contenders: list[Peer], only: list[str]) -> list[Peer]:
    """Those that were asked for and are here; says which are not here."""
    names = {peer.name for peer in contenders}
    wanted = [
        peer
        for peer in contenders
        if not only or peer.name in only or any(peer.name.startswith(name) for name in only if name not in names)
    ]
    for peer in wanted:
        if peer.absent:
            print(f"\nskipped: {peer.name}: {peer.absent}")
    return [peer for peer in wanted if not peer.absent]


def _notes(notes: list[str]) -> bool:
    for note in notes:
        print(f"\nNOTE: {note}")
    return bool(notes)


def _size(size: int) -> str:
    return f"{size // _MIB} MiB" if size >= _MIB else f"{size // _KIB} KiB"


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Dropline's benchmark. See bench/README.md.")
    parser.add_argument("scenario", choices=_SCENARIOS, nargs="+")
    parser.add_argument("--runs", type=_positive, help="rounds that count (default: 5; globus, quick: 1)")
    parser.add_argument("--work", type=Path, help="directory on the disk to measure (default: the temporary directory)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this contender, or those whose name starts so"
    )
    parser.add_argument("--ferry", metavar="PATH", help="the ferry command (default: from PATH)")
    parser.add_argument("--dropline", metavar="PATH", help="the dropline command (default: beside Python, .venv, PATH)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw plots there (needs the extra `bench`)")
    parser.add_argument("--files", type=_positive, metavar="N", help="million, again: no more files than this")
    parser.add_argument("--keep", action="store_true", help="do not remove the work directory at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
