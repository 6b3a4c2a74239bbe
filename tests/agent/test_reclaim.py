"""Removing local copies where the file system gives no answer: nothing is concluded from that."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import app
from agent.app.configuration import check
from agent.files import LOCAL, CannotTell, Files, Handle, Look, Tree, Trouble, What
from agent.ledger import Ledger
from agent.reclaim import Reclaimer, Record, Required
from agent.reclaim.decisions import LATER
from rules.config.settings import Configuration
from rules.model import Observation, Verdict

DAY = 86400.0


class Broken:
    """A tree of a disk that reports errors for one name."""

    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tree, name)

    def __enter__(self) -> "Broken":
        return self

    def __exit__(self, *_: object) -> None:
        self._tree.close()

    def look(self, path: str) -> Look:
        return CannotTell(Trouble(What.DAMAGED, "Input/output error")) if path == self._path else self._tree.look(path)

    def open(self, path: str, seen: Observation | None = None) -> Handle:
        if path == self._path:
            raise Trouble(What.DAMAGED, "Input/output error")
        return self._tree.open(path, seen)


class Damaged:
    """The files of this computer, with errors for one name below a root."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(LOCAL, name)

    def tree(self, root: str) -> Any:
        return Broken(LOCAL.tree(root), self.path)


class Desk:
    """An agent that delivered one file, which may go now."""

    def __init__(self, root: Path) -> None:
        self.data, self.share, self.state = root / "data", root / "share", root / "state"
        for path in (self.data, self.share):
            path.mkdir()
        (self.data / "a").write_bytes(b"aaa")
        self.config = self._config({})
        app.once(self.config)
        self.ledger = Ledger(str(self.config.ledger))
        self.now = self.ledger.execute("SELECT max(proved_at) + 1 FROM copies").fetchone()[0]

    def _config(self, reclaim: dict[str, str]) -> Configuration:
        rule = {
            "name": "r", "watch": str(self.data), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
            "deliver": [{"to": "share"}],
        }  # fmt: skip
        policy = {"reclaim": {"min_age": "0s"} | reclaim} if reclaim else {}
        agent = {"state_dir": str(self.state), "listen": "", "canary_every": "0s"}
        places = {"share": {"path": str(self.share)}}
        return check(
            {"agent": agent, "destinations": places, "rules": [rule | policy]}, "test", self.state.parent,
        )  # fmt: skip

    def reclaimer(self, files: Files, **reclaim: str) -> Reclaimer:
        required = {"share": Required(str(self.share), lambda *_: Verdict(True, "it is there"))}
        return Reclaimer(self.ledger, files, self._config(reclaim).rules, required, Record(self.record))

    @property
    def record(self) -> Path:
        return self.state / "deletions.jsonl"

    def state_of(self) -> str:
        (file,) = self.ledger.files.history(str(self.data / "a"))
        return file.state.word


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """One file of three bytes is verified."""
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_a_file_that_cannot_be_looked_at_stays(desk: Desk) -> None:
    """Neither gone nor changed: the verdict says that it cannot be read."""
    reclaimer = desk.reclaimer(Damaged("a"), after="0s")
    reclaimer.start(desk.now)
    (decision,) = reclaimer.plan(desk.now)
    assert decision.verdict.reason == "the local file cannot be read: Input/output error"
    reclaimer.step(desk.now)
    assert (desk.state_of(), (desk.data / "a").read_bytes()) == ("verified", b"aaa")
    assert not desk.record.exists()


def test_what_stands_aside_and_cannot_be_looked_at_is_not_gone(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """No deletion is recorded of it, after a restart neither; when it can be looked at again, the removal goes on."""
    reclaimer = desk.reclaimer(LOCAL, after="0s", trash="1d")
    reclaimer.start(desk.now)
    reclaimer.step(desk.now)
    (intent,) = desk.ledger.reclaims.unfinished()
    aside = desk.data / intent.aside
    assert (desk.state_of(), aside.read_bytes()) == ("reclaiming", b"aaa")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            broken = desk.reclaimer(Damaged(intent.aside), after="0s", trash="1d")
            broken.start(desk.now + 2 * DAY)
            broken.step(desk.now + 2 * DAY)
    path = desk.data / "a"
    assert {record.getMessage() for record in caplog.records} == {
        f"{path} cannot be looked at: Input/output error", f"{path} stays aside: Input/output error",
    }  # fmt: skip
    assert (desk.state_of(), aside.read_bytes(), desk.record.exists()) == ("reclaiming", b"aaa", False)
    desk.reclaimer(LOCAL, after="0s", trash="1d").step(desk.now + 2 * DAY + LATER)
    assert (desk.state_of(), aside.exists()) == ("reclaimed", False)
    (line,) = map(json.loads, desk.record.read_text().splitlines())
    assert line["file"] == str(path)


def test_an_original_that_cannot_be_looked_at_is_not_gone(desk: Desk) -> None:
    """A former run wrote the intent, and nothing stands aside: whether the file was removed is not known then."""
    reclaimer = desk.reclaimer(LOCAL, after="0s", trash="1d")
    reclaimer.start(desk.now)
    reclaimer.step(desk.now)
    (intent,) = desk.ledger.reclaims.unfinished()
    os.rename(desk.data / intent.aside, desk.data / "a")
    broken = desk.reclaimer(Damaged("a"), after="0s", trash="1d")
    broken.start(desk.now + 2 * DAY)
    broken.step(desk.now + 2 * DAY)
    assert (desk.state_of(), desk.record.exists()) == ("reclaiming", False)
    assert (desk.data / "a").read_bytes() == b"aaa"


def test_a_root_that_is_away_keeps_what_stands_aside(desk: Desk) -> None:
    """The intent waits until the directory is there again."""
    reclaimer = desk.reclaimer(LOCAL, after="0s", trash="1d")
    reclaimer.start(desk.now)
    reclaimer.step(desk.now)
    desk.data.rename(desk.data.with_name("elsewhere"))
    again = desk.reclaimer(LOCAL, after="0s", trash="1d")
    again.start(desk.now + 2 * DAY)
    again.step(desk.now + 2 * DAY)
    assert (desk.state_of(), desk.record.exists()) == ("reclaiming", False)
    desk.data.with_name("elsewhere").rename(desk.data)
    again.step(desk.now + 2 * DAY + LATER)
    assert desk.state_of() == "reclaimed"
