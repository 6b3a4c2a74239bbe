"""Runs the agent again and again, each time killed one operation later: a driver for test_killed.py.

Usage: killer.py WORK SCENARIO FIRST STEP [SOURCE COLLECTION ROOT]. With the last three, through Globus, where the service
is that of the environment and both collections show ROOT. The scenario `then` posts to the address in WEBHOOK.

SCENARIO `trash` kills the deletion of what was delivered before, and `then` only calls and commits: the operations on files are
those of `reclaim`.

SCENARIO `scrub` kills the reading of copies of which one has a flipped bit and one is missing, and the delivery after it.

SCENARIO `send` kills `dropline send` instead, of a folder that no rule watches; `fetch` kills `dropline fetch`.

For n = FIRST, FIRST + STEP, ... it prints one JSON line per kill point, until a run ends before its kill comes. Each run
is a forked child, so that only the first pays for the imports.
"""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import OpenerDirector

import requests
import typer

from agent.app.configuration import check
from agent.app.run import once
from agent.by_hand import outbound
from agent.cli import sending, verifying
from agent.files.posix import durable as disk
from agent.ledger import Ledger
from agent.ledger.store import Store
from rules.config.settings import Configuration
from rules.rule import Conditions
from tests.zygote import prepare

CONTENT = {
    "run1/a.dat": b"a" * 5000,
    "run1/b.dat": b"",
    "run2/c.dat": bytes(range(256)) * 1000,
}
RECLAIM: dict[str, dict[str, Any] | None] = {
    "keep": None,
    "reclaim": {"after": "0s", "min_age": "0s", "empty_dirs": True},
    "trash": {"after": "0s", "min_age": "0s", "trash": "1ms"},
    "replace": None,
    "rewrite": None,
    "send": None,
    "fetch": None,
    "then": None,
    "scrub": None,
}
DAMAGED = {"run1/a.dat": b"b" * 5000}
CHANGED = {"run1/a.dat": CONTENT["run1/a.dat"] + b"and more" * 1000}
REWRITTEN = {"run1/a.dat": b"another measurement" * 1000}


def destination(work: Path) -> dict[str, Any]:
    """The directory, or a collection that shows it."""
    if len(sys.argv) <= 5:
        return {"path": str(work / "share"), "mounted": False}
    source, collection, root = sys.argv[5:]
    there = "/" + str((work / "share").relative_to(root))
    return {
        "transport": "globus", "collection": collection, "path": there, "source_collection": source, "source_root": root,
    }  # fmt: skip


def configuration(work: Path, scenario: str) -> Configuration:
    watch = work / ("elsewhere" if scenario in ("send", "fetch") else "in")
    rule: dict[str, Any] = {
        "name": "r", "watch": str(watch), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
        "deliver": [{"to": "share"}],
    }  # fmt: skip
    if RECLAIM[scenario] is not None:
        rule["reclaim"] = RECLAIM[scenario]
    if scenario == "then":
        told = work.parent / "told"
        rule["then"] = [
            {"webhook": os.environ["WEBHOOK"]},
            {"command": ["/bin/sh", "-c", f'cat > "{told}.$$" && mv "{told}.$$" "{told}-$$"']},
        ]
    agent = {"state_dir": str(work / "state"), "listen": "", "canary_every": "0s"}
    data = {"agent": agent, "destinations": {"share": destination(work)}, "rules": [rule]}
    return check(data, "test", work)


def kill_at(number: int, *, files: bool) -> None:
    """Arrange that this process dies just before its `number`-th call, commit or operation on files (`files`)."""
    left = number
    lock = threading.Lock()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            with lock:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapper

    if files:
        for name in ("write", "pwrite", "rename", "unlink", "fsync", "utime", "mkdir", "rmdir", "ftruncate"):
            setattr(os, name, counted(getattr(os, name)))
        for name in ("rename_new", "_syncfs", "sync_directory"):
            setattr(disk, name, counted(getattr(disk, name)))
    send = requests.Session.send

    def sent(*args: Any, **kwargs: Any) -> Any:
        answer = counted(send)(*args, **kwargs)
        counted(lambda: None)()  # the service has done it, and nobody here knows
        return answer

    requests.Session.send = sent  # type: ignore[method-assign]
    for holder, name in ((OpenerDirector, "open"), (subprocess.Popen, "wait")):
        call = getattr(holder, name)

        def called(*args: Any, call: Callable[..., Any] = call, **kwargs: Any) -> Any:
            answer = counted(call)(*args, **kwargs)
            counted(lambda: None)()  # it is done, and nobody here knows
            return answer

        setattr(holder, name, called)
    commit = Store._commit

    def committed(store: Store) -> None:
        commit(store)
        counted(lambda: None)()

    Store._commit = committed  # type: ignore[method-assign]


def send(config: Configuration) -> bool:
    """`dropline send --wait` of what is in `in`, without the quiet period."""
    outbound._AS_RULES = Conditions(quiet=0.0)
    sending.configuration = lambda _: config  # type: ignore[assignment]
    folder = config.state_dir.parent / "in"
    try:
        sending.send([folder / "run1", folder / "run2"], to="share", wait=True)
    except typer.Exit as end:
        return end.exit_code == 0
    return False


def fetch(config: Configuration) -> bool:
    """`dropline fetch --wait` of all that is at the share, into `in`."""
    sending.configuration = lambda _: config  # type: ignore[assignment]
    try:
        sending.fetch("share:", config.state_dir.parent / "in", wait=True)
    except typer.Exit as end:
        return end.exit_code == 0
    return False


def scrub(config: Configuration) -> bool:
    """`dropline verify share --all`, then a pass of the agent. Whether all is proved; what is wrong waits for a person."""
    verifying._configuration = lambda _: config  # type: ignore[assignment]
    with suppress(typer.Exit):
        verifying.verify("share", everything=True)
    once(config)
    ledger = Ledger(str(config.ledger))
    files = ledger.reports.tally()
    ledger.close()
    return [state for _, state, _, _ in files] == ["verified"]


ACTS = {"send": send, "fetch": fetch, "scrub": scrub}


def run(
    config: Configuration, act: Callable[[Configuration], bool] = once, kill: Callable[[], None] = lambda: None
) -> int:
    """The exit status of one `run --once` (or another act) in a child that is to be killed: 0, 1, or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            kill()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = 0 if act(config) else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def tree(root: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every file below, without the identity file."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".dropline-destination"
    }


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def put(work: Path, files: dict[str, bytes], where: str = "in") -> None:
    for name, content in files.items():
        path = work / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def case(work: Path, scenario: str, number: int) -> dict[str, Any]:
    if len(sys.argv) > 5:
        work = work / str(number)  # the service remembers paths
    shutil.rmtree(work, ignore_errors=True)
    (work / "share").mkdir(parents=True)
    put(work, CONTENT, "share" if scenario == "fetch" else "in")
    config, act = configuration(work, scenario), ACTS.get(scenario, once)
    if scenario in ("replace", "rewrite", "scrub", "trash"):
        assert run(configuration(work, "keep")) == 0
    written = {"replace": CHANGED, "rewrite": REWRITTEN}.get(scenario, {})
    put(work, written)
    if scenario == "scrub":
        put(work, DAMAGED, "share")
        (work / "share/run2/c.dat").unlink()
    first = run(config, act, lambda: kill_at(number, files=scenario != "then"))
    between = {"share": tree(work / "share"), "in": tree(work / "in")}
    again = run(config, once if scenario == "send" else act)
    if scenario == "trash":
        again = max(again, run(config))  # by now the millisecond in the trash has passed
    if scenario == "send" and tree(work / "share") != digests(CONTENT):
        assert tree(work / "share") == {}, "one batch goes whole, or was not written down"
        again = max(again, run(config, send))
    ledger = sqlite3.connect(work / "state" / "ledger.sqlite")
    states = ledger.execute("SELECT state, count(*) FROM files GROUP BY state ORDER BY state").fetchall()
    ledger.close()
    record = work / "state" / "deletions.jsonl"
    return {
        "kill": number,
        "former": digests(CONTENT),
        "expected": digests(CONTENT | written),
        "first": first,
        "between": between,
        "again": again,
        "share": tree(work / "share"),
        "in": tree(work / "in"),
        "states": states,
        "recorded": sorted({json.loads(line)["file"] for line in record.read_text().splitlines()})
        if record.exists()
        else [],
    }


def main() -> None:
    work, scenario, number, step = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    prepare()
    while True:
        result = case(work, scenario, number)
        print(json.dumps(result), flush=True)
        if result["first"] >= 0:
            return
        number += step


if __name__ == "__main__":
    main()
