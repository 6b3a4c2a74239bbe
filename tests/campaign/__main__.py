"""`python -m tests.campaign [--seed N] [--minutes M] [--only FAULT...]`: Markdown to standard output, progress to standard error.

Needs the development installation (`python3 bootstrap.py test`). Where `unshare` is there, it goes on with mounts of its
own, so that faults can mount and unmount without anybody noticing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

from bench.table import markdown
from tests.campaign.faults import FAULTS, MODULES
from tests.campaign.oracle import Findings, summary
from tests.campaign.rounds import Tally, play
from tests.zygote import Zygote

_HEAD = ("fault", "rounds", "files", "MB", "restarts", "lost", "torn", "twice", "overwritten", "deleted without proof")
_OWN_MOUNTS = "DROPLINE_CAMPAIGN_MOUNTS"
"""Set where mounts are our own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Play rounds until the time is over, each fault once at least. Exit status 1: something was wrong; 2: usage."""
    options = _parser().parse_args(arguments)
    names = options.only or [*FAULTS, "any"]
    _with_own_mounts(names)
    missing = {name: _missing(name) for name in names}
    for name in [name for name in names if missing[name]]:
        print(f"skipped: {name} needs {', '.join(missing[name])}", file=sys.stderr)
    names = [name for name in names if not missing[name]]
    tallies = {name: Tally() for name in names} | _former(options.tally)
    names.sort(key=lambda name: tallies[name].rounds)  # whoever had the fewest rounds comes first
    work = Path(tempfile.mkdtemp(prefix="dropline-campaign-", dir=options.work)).resolve()
    deadline = time.monotonic() + 60 * options.minutes
    with Zygote() as zygote:
        for number, (name, together) in enumerate(_plan(names, options.seed)):
            if number >= len(names) * options.rounds and time.monotonic() > deadline:
                break
            seed = options.seed + number  # of each round: to see it again alone
            began = time.monotonic()
            tally = play(together, seed, work / str(number), zygote, options.effort, _say, options.strikes)
            tallies[name].add(tally)
            if options.tally:
                options.tally.write_text(json.dumps({name: asdict(tally) for name, tally in tallies.items()}, indent=1))
            _say(f"{number}: {'+'.join(together)}, {time.monotonic() - began:.1f} s" + (": BAD" if tally.bad else ""))
    print(markdown(_HEAD, rows(tallies)))
    bad = [line for tally in tallies.values() for line in tally.bad]
    for name, tally in tallies.items():
        if wrong := [*tally.findings.harm, *(f"kept: {line}" for line in tally.findings.kept)]:
            print(f"\nNOTE: {name}:\n{summary(wrong)}")
    if bad:
        print("\nTo see it again:\n" + "\n".join(bad))
        return 1
    shutil.rmtree(work)
    return 0


def _former(path: Path | None) -> dict[str, Tally]:
    """What earlier runs came to."""
    if path is None or not path.exists():
        return {}
    known = json.loads(path.read_text())
    return {name: Tally(**known[name] | {"findings": Findings(**known[name]["findings"])}) for name in known}


def rows(tallies: dict[str, Tally]) -> list[list[str]]:
    """The table: one line a fault, and the sum."""
    whole = Tally()
    for tally in tallies.values():
        whole.add(tally)
    lines = [
        (FAULTS[name].says if name in FAULTS else "several of them together", tally) for name, tally in tallies.items()
    ]
    return [
        [
            says, *(f"{number:,}" for number in (tally.rounds, tally.files)), f"{tally.bytes / 1e6:,.0f}", f"{tally.restarts:,}",
            *(str(len(getattr(tally.findings, kind))) for kind in ("lost", "torn", "twice", "overwritten", "unproved")),
        ]
        for says, tally in (*lines, ("all", whole))
    ]  # fmt: skip


def _plan(names: Sequence[str], seed: int) -> Iterator[tuple[str, list[str]]]:
    """(line of the table, faults of the round), each in turn, for ever."""
    chance = Random(seed)  # noqa: S311  (a plan, no secret)
    kinds = [[one.name for one in module.FAULTS if not one.alone and not _missing(one.name)] for module in MODULES]
    while True:
        for name in names:
            if name == "any":
                some = chance.sample([kind for kind in kinds if kind], chance.randint(2, 4))
                yield name, [chance.choice(kind) for kind in some]
            else:
                yield name, name.split("+")


def _missing(name: str) -> list[str]:
    needs = [need for one in name.split("+") if one in FAULTS for need in FAULTS[one].needs]
    if "unshare" in needs and _OWN_MOUNTS not in os.environ:
        return ["unshare (mounts of its own)"]
    return [need for need in needs if shutil.which(need) is None]


def _with_own_mounts(names: Sequence[str]) -> None:
    """Start again with mounts of our own, where that is possible and one of the faults wants it."""
    wanted = any(
        name == "any" or "unshare" in FAULTS[one].needs for name in names for one in name.split("+") if one in FAULTS
    )
    if not wanted or _OWN_MOUNTS in os.environ or shutil.which("unshare") is None:
        return
    own = ["unshare", "--mount", "--propagation", "private", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode == 0:
        command = [*own, sys.executable, *sys.orig_argv[1:]]
        os.execvpe(own[0], command, os.environ | {_OWN_MOUNTS: "1"})  # noqa: S606


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fault(text: str) -> str:
    unknown = [one for one in text.split("+") if one not in FAULTS and one != "any"]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}, any")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="Dropline's fault campaign.")
    parser.add_argument("--seed", type=int, default=1, help="the same seed plays the same plan (default: 1)")
    parser.add_argument("--minutes", type=float, default=5.0, help="no round begins after so long (default: 5)")
    parser.add_argument("--rounds", type=int, default=1, help="but so many rounds a fault come at least (default: 1)")
    parser.add_argument("--effort", type=float, default=1.0, help="how much happens in a round (default: 1)")
    parser.add_argument(
        "--only", type=_fault, nargs="+", metavar="FAULT", help="these alone; A+B: together in one round"
    )
    parser.add_argument("--strikes", type=int, default=3, help="how often a fault strikes in a round (default: 3)")
    parser.add_argument("--tally", type=Path, help="a file in which the figures of several runs add up")
    parser.add_argument("--work", type=Path, help="where (default: the temporary directory)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
