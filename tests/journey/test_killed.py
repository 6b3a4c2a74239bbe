"""Promises 3 and 4 under SIGKILL: a real process, killed before every single operation, then run again."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rules.actions import label
from tests.globus import Globus
from tests.receiver import Receiver

KILLER = (sys.executable, "-m", "tests.journey.killer")
ROOT = Path(__file__).parents[2]


def cases(work: Path, scenario: str) -> list[dict[str, Any]]:
    command = [*KILLER, str(work / "w"), scenario, "1", "1"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=300, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("scenario", ["reclaim", "trash", "replace", "rewrite", "send", "fetch"])
def test_a_kill_before_any_operation_loses_nothing_and_repeats_nothing(tmp_path: Path, scenario: str) -> None:
    """Killed before its n-th operation, for every n, the agent leaves every byte somewhere, and the next run ends well."""
    seen = cases(tmp_path, scenario)
    assert [case["first"] for case in seen] == [-9] * (len(seen) - 1) + [0]
    assert len(seen) > 6, "the kills were not spread over the run"
    for case in seen:
        at = f"{scenario}, killed before operation {case['kill']}"
        expected, former = case["expected"], case["former"]
        kept = {"run1/a~1.dat": former["run1/a.dat"]} if scenario == "rewrite" else {}
        assert former["run1/a.dat"] in case["between"]["share"].values() or scenario != "rewrite", f"{at}: it is lost"
        somewhere = {*case["between"]["share"].values(), *case["between"]["in"].values()}
        assert set(expected.values()) <= somewhere, f"{at}: bytes were nowhere"
        if scenario == "fetch":
            seen_here = {name: digest for name, digest in case["between"]["in"].items() if ".dropline" not in name}
            assert seen_here.items() <= expected.items(), f"{at}: what had its name here was not whole"
        for name, digest in case["between"]["share"].items():
            assert name.endswith(".part") or digest in ((expected | kept)[name], former.get(name)), (
                f"{at}: {name} was not whole"
            )
        assert case["again"] == 0, at
        assert case["share"] == expected | kept, at
        if scenario in ("reclaim", "trash"):
            assert case["in"] == {}, at
            assert dict(case["states"]) == {"reclaimed": 3}, at
            assert [name.rpartition("/in/")[2] for name in case["recorded"]] == sorted(expected), at
        else:
            assert case["in"] == expected, at
            states = {"superseded": 1, "verified": 3} if scenario in ("replace", "rewrite") else {"verified": 3}
            assert dict(case["states"]) == ({} if scenario == "fetch" else states), at


def test_a_kill_while_copies_are_read_again_loses_nothing_and_overwrites_nothing(tmp_path: Path) -> None:
    """Killed anywhere from the reading to the new delivery: what was damaged is untouched, and what is here travels again."""
    seen = cases(tmp_path, "scrub")
    assert [case["first"] for case in seen] == [-9] * (len(seen) - 1) + [0]
    assert len(seen) > 6, "the kills were not spread over the run"
    for case in seen:
        at, expected = f"killed before operation {case['kill']}", case["expected"]
        damaged = hashlib.sha256(b"b" * 5000).hexdigest()
        assert case["between"]["in"] == case["in"] == expected, at
        assert case["between"]["share"]["run1/a.dat"] == damaged, at
        assert case["again"] == 0, at
        assert case["share"] == expected | {"run1/a.dat": damaged, "run1/a~1.dat": expected["run1/a.dat"]}, at
        assert dict(case["states"]) == {"verified": 3}, at


@pytest.mark.parametrize(
    ("scenario", "first", "step"),
    [
        ("keep", 1, 2),
        ("keep", 2, 2),
        ("reclaim", 2, 7),
        ("replace", 3, 7),
        ("send", 2, 5),
        ("fetch", 1, 3),
    ],
)
def test_a_kill_at_any_step_makes_no_second_task(tmp_path: Path, scenario: str, first: int, step: int) -> None:
    """Killed before and after every request to Globus, and every operation here, each submission has one accepted task."""
    with Globus(by_itself=True) as service:
        root = tmp_path / "w"
        source, campus = service.collection("Instrument", root), service.collection("Campus", root)
        secret = {"DROPLINE_GLOBUS__CLIENT_ID": service.account.id, "DROPLINE_GLOBUS__CLIENT_SECRET": "not-so-secret"}
        command = [*KILLER, str(root), scenario, str(first), str(step)]
        done = subprocess.run(
            [*command, source.id, campus.id, str(root)],
            stdout=subprocess.PIPE, check=True, timeout=300, cwd=ROOT, env=os.environ | service.environment | secret,
        )  # fmt: skip
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        tasks = Counter(one.order.items[0].source.split("/")[1] for one in service.tasks.all.values())
    assert [case["first"] for case in seen] == [-9] * (len(seen) - 1) + [0]
    assert len(seen) > 5, "the kills were not spread over the run"
    for case in seen:
        at = f"{scenario}, killed before operation {case['kill']}"
        expected = case["expected"]
        assert set(expected.values()) <= {*case["between"]["share"].values(), *case["between"]["in"].values()}, at
        assert case["again"] == 0, at
        assert case["share"] == expected, at
        assert case["in"] == ({} if scenario == "reclaim" else expected), at
        assert tasks[str(case["kill"])] == (2 if scenario == "replace" else 1), at


def test_a_kill_at_any_step_leaves_no_verified_batch_untold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before and after every commit, call and answer, each batch is told to each action, again under the same id."""
    with Receiver() as receiver:
        monkeypatch.setenv("WEBHOOK", receiver.url)
        seen = cases(tmp_path, "then")
    assert [case["first"] for case in seen] == [-9] * (len(seen) - 1) + [0]
    assert [case["again"] for case in seen] == [0] * len(seen)
    commands = [json.loads(path.read_bytes()) for path in tmp_path.glob("told-*")]
    for kind, told in (("webhook", [one.event for one in receiver.received]), ("command", commands)):
        of_agents: dict[str, dict[str, list[Any]]] = {}
        for event in told:
            of_agents.setdefault(event["source"], {}).setdefault(event["id"], []).append(event)
        assert len(of_agents) == len(seen)
        for ids in of_agents.values():
            assert [label(one.partition("/")[2]) for one in ids] == [kind] * 2
            paths = [item["path"].partition("/in/")[2] for one in ids.values() for item in one[0]["data"]["items"]]
            assert sorted(paths) == sorted(seen[0]["expected"])
            assert all(one[0] == again for one in ids.values() for again in one), "frozen"
            assert sum(map(len, ids.values())) <= 3, "a kill repeats what it interrupted, and no more"


def agent(work: Path) -> list[str]:
    (work / "share").mkdir(exist_ok=True)
    config = work / "dropline.toml"
    config.write_text(
        f"""
        [agent]
        state_dir = "{work / "state"}"
        listen = ""
        [destinations.share]
        path = "{work / "share"}"
        [[rules]]
        name = "r"
        watch = "{work / "in"}"
        complete = {{ quiet = "0s" }}
        batch = {{ linger = "0s", max_files = 40 }}
        deliver = [{{ to = "share" }}]
        """
    )
    command = "from agent.cli import main; main()"
    return [sys.executable, "-P", "-c", command, "run", "--once", "--config", str(config)]


@pytest.mark.parametrize("copies", [1, 150])
def test_a_kill_while_helper_processes_write_loses_nothing(tmp_path: Path, copies: int) -> None:
    """Killed once so many copies are visible, while helpers go on for a moment, the next run ends with every file once."""
    expected = {f"d{number % 10}/f{number}": bytes([number % 256]) * (number * 7) for number in range(400)}
    for name, content in expected.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    command = agent(tmp_path)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 60
        while first.poll() is None and sum(1 for _ in (tmp_path / "share").rglob("f*")) < copies:
            assert time.monotonic() < deadline
        first.kill()
    again = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert again.returncode == 0, again.stderr
    share = tmp_path / "share"
    found = {str(path.relative_to(share)): path.read_bytes() for path in share.rglob("*") if path.is_file()}
    assert found.pop(".dropline-destination")
    assert found == expected
