"""What the ledger's statements cost: never the whole of what is known."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import read
from agent.app.run import once
from agent.ledger import Ledger
from agent.observe.file_inspector import FileInspector
from agent.observe.metrics import Readings
from agent.observe.status import Health, status
from agent.observe.web.views import Views

WORK = {
    "files_due", "files_refused", "files_reclaiming", "batches_open", "batches_under_way", "batches_to_reclaim",
    "deliveries_due", "deliveries_unfinished", "deliveries_held_up", "deliveries_of_submission", "datasets_waiting", "outbox_due",
}  # fmt: skip
"""Partial indexes: what is under way, however much is known."""
INFINITE = re.compile(r"\bInf\b")
"""As SQLite writes a value that it cannot read."""
SCAN = re.compile(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?")
ALIASES = {"f": "files", "c": "copies", "b": "batches", "d": "deliveries"}
LARGE = {"files", "copies", "batches", "deliveries"}


def too_much(plan: str) -> bool:
    """Whether one step of a query plan looks at all that is known."""
    if "copies_by_path (destination=?)" in plan:
        return True
    found = SCAN.match(plan)
    if found is None or found[2] in WORK:
        return False
    table = ALIASES.get(found[1], found[1])
    return table in LARGE


NEWEST = {"summaries_latest", "summaries_waiting", "summaries_refused", "findings_open"}
"""Read from one end, as far as the page goes."""
KEPT = LARGE | {"datasets", "dirs", "summaries", "summary_copies", "checksums", "history"}


def trace(monkeypatch: pytest.MonkeyPatch) -> dict[str, None]:
    """All statements that connections run from now on."""
    statements: dict[str, None] = {}

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made = sqlite3.Connection(*arguments, **options)
        made.set_trace_callback(statements.setdefault)
        return made

    monkeypatch.setattr("agent.ledger.store.sqlite3.connect", connect)
    return statements


def test_no_page_looks_at_all_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status page, its pages of folders, datasets and files, status.json and metrics find what they show by an index."""
    data, share = tmp_path / "data", tmp_path / "share"
    for path in (data / "one", data / "two", data / "three", share):
        path.mkdir(parents=True)
    config = tmp_path / "dropline.toml"
    config.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/state"\n[destinations.share]\npath = "{share}"\nmounted = false\n'
        f'[[rules]]\nname = "run"\nwatch = "{data}/one"\ncomplete = {{ quiet = "0s" }}\n'
        'dataset = { dir = "[^/]+" }\ndeliver = [{ to = "share" }]\n'
        f'[[rules]]\nname = "all"\nlinks = "refuse"\nwatch = "{data}/two"\n'
        f'complete = {{ quiet = "0s" }}\ndeliver = [{{ to = "share" }}]\n'
        f'[[rules]]\nname = "late"\nwatch = "{data}/three"\ncomplete = {{ quiet = "0s", marker = "never" }}\n'
        'deliver = [{ to = "share" }]\n'
    )
    (data / "one/run").mkdir()
    for name in ("one/run/a", "two/b", "three/c"):
        (data / name).write_bytes(b"x")
    (data / "two/link").symlink_to("b")
    read_ = read(config)
    once(read_)
    statements = trace(monkeypatch)
    ledger = Ledger(str(read_.ledger))
    places = [("share", str(share))]
    views = Views(
        ledger, read_.rules, places, [], lambda: status(ledger, read_.rules, places, {}, {}), lambda: Health([]), lambda: 1e9, "",
        FileInspector(lambda: 1e9, []),
    )  # fmt: skip
    assert len(views.front("")["rows"]) == 3
    for row in views.front("")["rows"]:
        assert views.summary(row.summary.id) is not None
    assert views.file(f"{data}/two/b") is not None
    assert list(
        Readings(ledger, read_.rules, [], dict(places), lambda: 1e9, {}, FileInspector(lambda: 1e9, [])).collect()
    )
    ledger.close()
    plain = sqlite3.connect(read_.ledger)
    plans = {
        text: [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {INFINITE.sub('9e999', text)}")]
        for text in statements
        if text.startswith("SELECT")
    }
    plain.close()
    assert len(plans) > 25
    aliases = ALIASES | {"h": "summaries", "s": "datasets", "d": "dirs", "e": "dirs", "g": "files"}
    walked = {
        text: step
        for text, plan in plans.items()
        for step in plan
        if (found := SCAN.match(step))
        and found[2] not in WORK | NEWEST
        and (aliases.get(found[1], found[1]) in KEPT or (found[1] == "d" and "deliveries d" in text))
    }
    assert not walked, "\n".join(f"{text}\n  {plan}" for text, plan in walked.items())


def test_no_pass_looks_at_all_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the agent does for files on their way, its statements find them by an index, and walk no whole table."""
    statements = trace(monkeypatch)
    data, share = tmp_path / "data", tmp_path / "share"
    for path in (data / "one", data / "two", share):
        path.mkdir(parents=True)
    config = tmp_path / "dropline.toml"
    config.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/state"\nlisten = ""\n[destinations.share]\npath = "{share}"\nmounted = false\n'
        f'[[rules]]\nname = "all"\nwatch = "{data}"\ncomplete = {{ quiet = "0s" }}\nbatch = {{ linger = "0s" }}\n'
        'deliver = [{ to = "share" }]\nreclaim = { after = "0s", min_age = "0s", trash = "1h" }\n'
    )
    for content in (b"x", b"xy"):
        (data / "one/scan.dat").write_bytes(content)
        (data / "two/scan.dat").write_bytes(content)
        assert once(read(config))
    assert sorted(path.name for path in share.rglob("*.dat")) == ["scan.dat", "scan.dat", "scan~2.dat", "scan~2.dat"]
    ledger = sqlite3.connect(tmp_path / "state/ledger.sqlite")
    plans = {
        statement: [row[3] for row in ledger.execute(f"EXPLAIN QUERY PLAN {statement}")]
        for statement in statements
        if statement.startswith(("SELECT", "UPDATE", "DELETE"))
    }
    ledger.close()
    assert len(plans) > 50
    walked = {text: plan for text, plan in plans.items() if any(too_much(step) for step in plan)}
    assert not walked, "\n".join(f"{text}\n  {plan}" for text, plan in walked.items())
