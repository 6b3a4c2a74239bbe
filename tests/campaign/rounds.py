"""One round: faults strike while the instrument works and an agent runs; when all is mended, the oracle judges."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.campaign.faults import FAULTS, Scene
from tests.campaign.instrument import Instrument
from tests.campaign.oracle import Findings, Oracle, summary
from tests.campaign.station import Station, Zygote, until

_POLICIES: tuple[dict[str, str] | None, ...] = (
    None,
    {"after": "0s"},
    {"after": "0s"},
    {"after": "0s", "trash": "500ms"},
)
_SETTLE = 60.0
"""Seconds in which everything must have arrived once all is mended."""


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
    say: Callable[[str], None] = lambda line: None,
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
    found = Findings()
    try:
        for fault in faults:
            fault.prepare(scene)
        station.configure()
        station.start()
        for _ in range(3):
            instrument.work(round(8 * effort))
            for fault in chance.sample(faults, len(faults)):
                fault.strike(scene)
                found.add(oracle.glance())
            instrument.work(round(4 * effort))
        for fault in faults:
            fault.mend(scene)
        instrument.finish_all()
        station.start()
        reclaims = "reclaim" in station.rule
        until(lambda: _settled(oracle, reclaims=reclaims) or not station.running, _SETTLE, every=0.05)
        if not station.running:
            found.broken.append(f"it ended by itself with {station.ended_by_itself()}")
        station.stop()
        found.add(oracle.judge())
        if reclaims:
            found.kept += [f"{one.path} is still here" for one in oracle.left()]
        found.broken += station.broken + station.complaints()
    finally:
        station.close()
    journal = instrument.journal
    tally = Tally(1, journal.files, journal.bytes, station.starts - 1, found)
    if found.harm or found.kept:
        tally.bad.append(f"--only {'+'.join(names)} --seed {seed}: {work}")
        say(summary(found.harm + found.kept))
    else:
        shutil.rmtree(work)
    return tally


def _settled(oracle: Oracle, *, reclaims: bool) -> bool:
    """Whether everything has arrived, and has gone from here where it should."""
    found = oracle.judge()
    return not (found.kept or found.lost or (reclaims and oracle.left()))
