"""Whichever way programs save a file again, no measurement is lost at any destination."""

import os
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.agent.test_pruning import DAY, Agent, place

__all__ = ["place"]
NAME = "d.h5"
SAVES = ("append", "write over", "rename over", "remove and create", "chmod", "restart", "unmount", "mount")


@pytest.fixture
def agent(place: Path) -> Iterator[Agent]:
    made = Agent(place, forgets=False)
    yield made
    made.close()


def save(agent: Agent, how: str, content: bytes) -> bool:
    """Save the file as a program does. Returns whether its name was seen away before."""
    path, tape, away = agent.data / NAME, agent.root / "tape", agent.root / "away"
    match how:
        case "append":
            with path.open("ab") as file:
                file.write(content)
        case "write over":
            path.write_bytes(content)
        case "rename over":
            (agent.root / "new").write_bytes(content)
            (agent.root / "new").rename(path)
        case "remove and create":
            path.unlink()
            agent.work()
            path.write_bytes(content)
            return True
        case "chmod":
            path.chmod(0o640 if path.stat().st_mode & 0o40 == 0 else 0o600)
        case "restart":
            agent.restart()
        case "unmount" if tape.exists():
            tape.rename(away)
        case "mount" if away.exists():
            away.rename(tape)
    return False


def listed(agent: Agent, destination: str) -> dict[str, str]:
    """Path → checksum of each copy that is proved at a destination, as `explain` lists them."""
    found = {}
    for file in agent.parts.ledger.files.history(str(agent.data / NAME)):
        for copy in agent.parts.ledger.reports.copies_of(file.id):
            if copy["destination"] == destination:
                found[copy["path"]] = copy["checksum"]
    return found


@pytest.mark.parametrize("seed", range(int(os.environ.get("SEEDS", "4"))))
def test_no_way_of_saving_loses_a_measurement(agent: Agent, seed: int) -> None:
    """The plain name has the newest content, unless the name was seen away; all that was proved is there, and is listed.

    What a later content begins with is not kept for itself.
    """
    chance = random.Random(seed)  # noqa: S311  (not a secret)
    (agent.data / NAME).write_bytes(b"first")
    agent.work()
    proved: dict[str, list[bytes]] = {"share": [b"first"], "tape": [b"first"]}
    was_away, steps = dict.fromkeys(proved, False), []
    for _ in range(15):
        how, content = chance.choice(SAVES), b"%d" % chance.randrange(10 ** chance.randrange(1, 12))
        steps.append((how, content))
        seen_away = save(agent, how, content)
        agent.now += 60.0
        agent.work()
        newest = (agent.data / NAME).read_bytes()
        for destination, before in proved.items():
            was_away[destination] |= seen_away
            directory = agent.root / destination
            if not directory.exists():
                continue
            there = {path.name: path.read_bytes() for path in directory.rglob("*.h5")}
            before.append(newest)
            for one in before:
                assert any(content.startswith(one) for content in there.values()), (steps, destination, there)
            assert was_away[destination] or there[NAME] == newest, (steps, destination, there)
            sums = {name: f"sha256:{sha256(content).hexdigest()}" for name, content in there.items()}
            assert listed(agent, destination) == sums, (steps, destination, there)
        agent.now += chance.choice([60.0, DAY])
