"""Many files through a transfer service: the agent and the stand-in of tests/globus, each a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import measure, trees
from bench.peers import Place
from bench.rounds import tail
from bench.trees import Found, Tree

_ROOT = Path(__file__).parents[1]
_LIMIT = 3600.0  # seconds for one run
_STOP = 60.0  # seconds that the stand-in has to tell of its requests

KINDS = {
    "POST /token": "token",
    "GET /ls": "ls",
    "GET /stat": "stat",
    "POST /mkdir": "mkdir",
    "GET /submission_id": "submission id",
    "POST /transfer": "submit",
    "GET /task_list": "poll",
    "GET /task": "poll",
    "GET /successful_transfers": "evidence",
}
"""What a request is called here, by its method and the last part of its path that is no id."""
_ID = re.compile(r"/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")

HEAD = [
    "files", "tasks", "requests", "per 1,000 files", "polls per task", "s to submitted", "s to verified", "CPU s",
    "peak RSS MiB", "delivered",
]  # fmt: skip
KINDS_HEAD = ["files", *(kind for kind in dict.fromkeys(KINDS.values())), "other"]


@dataclass(frozen=True)
class Run:
    """One tree: seconds since the start of the agent, requests by kind, and what came of the files."""

    tree: Tree
    kinds: Counter[str]
    submitted: float
    usage: measure.Usage
    found: Found
    note: str = ""


def deliver(tree: Tree, dropline: str, work: Path) -> Run:
    """Make the tree, deliver it with `dropline run --once`, and compare what arrived."""
    place = Place(work / "source", work / "share", work / "state")
    place.state.mkdir(parents=True)
    print(f"making {tree.files} files of {tree.size} bytes", file=sys.stderr)
    digests = trees.make(tree, place.source)
    log = work / "log"
    seen: list[dict[str, Any]] = []
    with _service(place, seen) as variables:
        command = [dropline, "run", "--config", _config(place, variables), "--once"]
        began = time.monotonic()
        usage = measure.run(command, place.state, log, _LIMIT, variables)
    kinds = Counter(_kind(one) for one in seen)
    # CLOCK_MONOTONIC is one for all processes of a machine.
    submitted = max((one["at"] for one in seen if _kind(one) == "submit"), default=began) - began
    found = trees.compare(digests, place.share)
    whole = usage.status == 0 and found == Found(tree.files, 0, 0)
    for used in (place.source, place.share):
        trees.retire(used)
    return Run(tree, kinds, submitted, usage, found, "" if whole else f"exit {usage.status}, {found}\n{tail(log)}")


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A row per tree."""
    return [
        [
            f"{run.tree.files:,}",
            str(run.kinds["submit"]),
            str(run.kinds.total()),
            f"{1000 * run.kinds.total() / run.tree.files:.1f}",
            f"{run.kinds['poll'] / max(run.kinds['submit'], 1):.1f}",
            f"{run.submitted:.1f}",
            f"{run.usage.wall:.1f}",
            f"{run.usage.user + run.usage.system:.1f}",
            f"{run.usage.peak / 2**20:.0f}",
            f"{run.found.same} of {run.tree.files}",
        ]
        for run in runs
    ]


def kinds(runs: Sequence[Run]) -> list[list[str]]:
    """Requests per 1,000 files, by kind."""
    return [
        [f"{run.tree.files:,}", *(f"{1000 * run.kinds[kind] / run.tree.files:.1f}" for kind in KINDS_HEAD[1:])]
        for run in runs
    ]


def _kind(request: Mapping[str, Any]) -> str:
    last = _ID.sub("", request["path"]).rpartition("/")[2]
    return KINDS.get(f"{request['method']} /{last}", "other")


@contextmanager
def _service(place: Place, seen: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """The stand-in; yields the variables that it printed. What it was asked is in `seen` afterwards."""
    command = [sys.executable, "-m", "tests.globus", str(place.source), str(place.share)]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise ValueError("the stand-in was started without a pipe")
        variables: dict[str, str] = {}
        try:
            for line in process.stdout:
                if not line.startswith("export "):
                    break
                name, _, value = line.removeprefix("export ").rstrip("\n").partition("=")
                variables[name] = value
            yield variables
            told, _ = process.communicate(timeout=_STOP)
            seen += map(json.loads, told.splitlines())
        finally:
            process.kill()


def _config(place: Place, variables: Mapping[str, str]) -> str:
    """The configuration: default batches, no waiting, for nobody is writing."""
    quoted = json.dumps
    text = f"""\
[agent]
state_dir = {quoted(str(place.state / "dropline"))}
listen = ""
[globus]
client_id = {quoted(variables["GLOBUS_CLI_CLIENT_ID"])}
client_secret = {quoted(variables["GLOBUS_CLI_CLIENT_SECRET"])}
[destinations.campus]
transport = "globus"
collection = {quoted(variables["DESTINATION"])}
source_collection = {quoted(variables["SOURCE"])}
source_root = {quoted(str(place.source))}
[[rules]]
name = "bench"
watch = {quoted(str(place.source))}
complete = {{ quiet = "0s" }}
batch = {{ linger = "0s" }}
deliver = [{{ to = "campus" }}]
"""
    path = place.state / "dropline.toml"
    path.touch(mode=0o600)  # it holds a secret
    path.write_text(text, encoding="utf-8")
    return str(path)
