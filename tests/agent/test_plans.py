"""What the ledger's statements cost: never the whole of what is known."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent import app
from agent.settings import read

WORK = {
    "files_due", "files_refused", "files_reclaiming", "batches_open", "batches_under_way", "batches_to_reclaim",
    "deliveries_due", "deliveries_unfinished",
}  # fmt: skip
"""Partial indexes: what is under way, however much is known."""
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


def test_no_pass_looks_at_all_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the agent does for files on their way, its statements find them by an index, and walk no whole table."""
    statements: dict[str, None] = {}

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made = sqlite3.Connection(*arguments, **options)
        made.set_trace_callback(statements.setdefault)
        return made

    monkeypatch.setattr("agent.ledger.store.sqlite3.connect", connect)
    data, share = tmp_path / "data", tmp_path / "share"
    for path in (data / "one", data / "two", share):
        path.mkdir(parents=True)
    config = tmp_path / "dropline.toml"
    config.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/state"\nlisten = ""\n[destinations.share]\npath = "{share}"\n'
        f'[[rules]]\nname = "all"\nwatch = "{data}"\ncomplete = {{ quiet = "0s" }}\nbatch = {{ linger = "0s" }}\n'
        'deliver = [{ to = "share" }]\nreclaim = { after = "0s", trash = "1h" }\n'
    )
    for content in (b"x", b"xy"):
        (data / "one/scan.dat").write_bytes(content)
        (data / "two/scan.dat").write_bytes(content)
        assert app.once(read(config))
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
