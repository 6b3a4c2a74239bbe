"""SIGKILL not at a time but at a place: before every single operation on a disk and every commit to the ledger."""

import json
import subprocess
import sys
from pathlib import Path

from tests.campaign.faults import Fault, Scene

_ROOT = Path(__file__).parents[3]
_SCENARIOS = ("keep", "reclaim", "trash", "replace")


class Everywhere(Fault):
    """Runs the driver of tests/journey/test_killed.py: the agent dies before its first operation, its second, and so on."""

    name = "kill-everywhere"
    says = "SIGKILL before every file operation and commit"
    alone = True

    def mend(self, scene: Scene) -> None:
        """Its own small site, once for each operation, or for a part of them where the effort is small."""
        scenario = scene.chance.choice(_SCENARIOS)
        step = 1 if scene.effort >= 1 else 12
        first = scene.chance.randint(1, step)
        words = [str(scene.station.root / "killer"), scenario, str(first), str(step)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.journey.killer", *words],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=_ROOT,
        )
        for line in done.stdout.splitlines():
            self._judge(scene, scenario, json.loads(line))

    def _judge(self, scene: Scene, scenario: str, case: dict) -> None:  # type: ignore[type-arg]
        expected, former, between = case["expected"], case["former"], case["between"]
        at = f"{scenario}, killed before operation {case['kill']}"
        scene.station.starts += 1
        scene.more_files += len(expected)
        missing = {*expected.values()} - {*between["share"].values(), *between["in"].values()}
        scene.found.lost += [f"{at}: {digest[:8]} was nowhere" for digest in missing]
        for name, digest in between["share"].items():
            if not name.endswith(".part") and digest not in (expected.get(name), former.get(name)):
                scene.found.torn.append(f"{at}: {name} was not whole")
        if case["again"] != 0 or case["share"] != expected:
            scene.found.broken.append(f"{at}: the next run did not bring everything")
        if scenario in ("reclaim", "trash"):
            if {name.rpartition("/in/")[2] for name in case["recorded"]} != set(expected):
                scene.found.unproved.append(f"{at}: the record does not tell of everything")
        elif case["in"] != expected:
            scene.found.lost.append(f"{at}: something is not here any more")


FAULTS = (Everywhere,)
