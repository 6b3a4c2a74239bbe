"""One round: faults strike while the instrument works and an agent runs; when all is mended, the oracle judges."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.campaign.faults import FAULTS
from tests.campaign.instrument import Instrument
from tests.campaign.oracle import Findings, Oracle, summary
from tests.campaign.scene import Scene
from tests.campaign.station import Station
from tests.zygote import Zygote

_POLICIES: tuple[dict[str, str] | None, ...] = (
    None,
    {"after": "0s"},
    {"after": "0s"},
    {"after": "0s", "trash": "500ms"},
)
_SETTLE = 90.0
"""Seconds in which everything must have arrived once all is mended."""
_KEEPS = 5.0
"""Seconds for that where some may wait for a person."""


@dataclass
class Tally:
    """What a round came to, or several together."""

    rounds: int = 0
    files: int = 0
    bytes: int = 0
    restarts: int = 0
    findings: Findings = field(default_factory=Findings)
    bad: list[str] = field(default_factory=list)
    """How to see a bad round again."""

    def add(self, other: "Tally") -> None:
        """And those."""
        self.rounds += other.rounds
        self.files += other.files
        self.bytes += other.bytes
        self.restarts += other.restarts
        self.findings.add(other.findings)
        self.bad += other.bad


def play(
    names: Sequence[str], seed: int, work: Path, zygote: Zygote, effort: float = 1.0,
    say: Callable[[str], None] = lambda line: None, strikes: int = 3,
) -> Tally:  # fmt: skip
    """Play one round of these faults together, in the folder `work`, which is removed unless something was wrong."""
    chance = Random(f"{seed}/{'+'.join(names)}")  # noqa: S311  (a plan, no secret)
    station = Station(work, zygote)
    instrument = Instrument(station.inbox, chance)
    oracle = Oracle(instrument.journal, station.inbox, station.shares, station.state / "deletions.jsonl")
    scene = Scene(station, instrument, oracle, chance, effort)
    policy = chance.choice(_POLICIES)
    if policy is not None:
        station.rule["reclaim"] = policy
    faults = [FAULTS[name]() for name in names]
    found = scene.found
    try:
        for fault in faults:
            fault.prepare(scene)
        station.configure()
        station.start()
        for _ in range(strikes):
            instrument.work(max(round(8 * effort), 3))
            for fault in chance.sample(faults, len(faults)):
                fault.strike(scene)
                scene.glance()
            instrument.work(max(round(4 * effort), 2))
        for fault in sorted(faults, key=lambda fault: not fault.mends_first):
            fault.mend(scene)
        instrument.finish_all()
        station.start()
        may_keep = any(fault.may_keep for fault in faults)
        scene.wait(lambda: scene.settled() or not station.running, _KEEPS if may_keep else _SETTLE)
        if not station.running:
            found.broken.append(f"it ended by itself with {station.ended_by_itself()}")
        refused = scene.refused() if may_keep else {}
        station.stop()
        found.add(oracle.judge())
        if "reclaim" in station.rule and not scene.stays:
            found.kept += [f"{one.path} is still here" for one in oracle.left()]
        if "reclaim" not in station.rule:  # nobody asked for its copies again
            found.kept = [line for line in found.kept if line.partition(" ")[0] not in instrument.journal.harmed]
        found.kept = [line for line in found.kept if line.partition(" ")[0] not in refused]
        found.broken += station.broken + station.complaints()
    finally:
        station.close()
        for fault in faults:
            fault.end(scene)
    journal = instrument.journal
    tally = Tally(1, journal.files + scene.more_files, journal.bytes, station.starts - 1, found)
    if found.harm or found.kept:
        tally.bad.append(f"--only {'+'.join(names)} --seed {seed}: {work}")
        say(summary(found.harm + found.kept))
    else:
        shutil.rmtree(work)
    return tally
