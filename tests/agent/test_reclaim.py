"""Removing local copies where the file system gives no answer: nothing is concluded from that."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.app.run import once
from agent.errors import Transient
from agent.files import LOCAL, CannotTell, Files, Handle, Look, Tree, Trouble, What
from agent.ledger import Ledger
from agent.reclaim import Reclaimer, Record, Required
from agent.reclaim.decisions import LATER
from rules.config.settings import Configuration
from rules.model import Observation
from rules.versions.copies import Confirmed

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
        once(self.config)
        self.ledger = Ledger(str(self.config.ledger))
        self.now = self.ledger.execute("SELECT max(proved_at) + 1 FROM copies").fetchone()[0]

    def _config(self, reclaim: dict[str, str]) -> Configuration:
        rule = {
            "name": "r", "watch": str(self.data), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
            "deliver": [{"to": "share"}],
        }  # fmt: skip
        policy = {"reclaim": {"min_age": "0s"} | reclaim} if reclaim else {}
        agent = {"state_dir": str(self.state), "listen": "", "canary_every": "0s"}
        places = {"share": {"path": str(self.share), "mounted": False}}
        return check(
            {"agent": agent, "destinations": places, "rules": [rule | policy]}, "test", self.state.parent,
        )  # fmt: skip

    def reclaimer(self, files: Files, **reclaim: str) -> Reclaimer:
        required = {"share": Required(str(self.share), lambda *_: Confirmed(True, "it is there"))}
        return Reclaimer(self.ledger, files, self._config(reclaim).rules, required, Record(self.record))

    @property
    def record(self) -> Path:
        return self.state / "deletions.jsonl"

    def state_of(self) -> str:
        (file,) = self.ledger.files.history(str(self.data / "a"))
        return file.state.value


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


class Pair:
    """A file that was delivered to two destinations, which reclaim may delete at once."""

    def __init__(self, root: Path, **places: dict[str, Any]) -> None:
        self.data, self.root = root / "data", root
        for name in ("data", "one", "two"):
            (root / name).mkdir()
        (self.data / "a").write_bytes(b"aaa")
        rule = {
            "name": "r", "watch": str(self.data), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
            "deliver": [{"to": "one"}, {"to": "two"}],
        }  # fmt: skip
        tables = {name: {"path": str(root / name)} | places.get(name, {"mounted": False}) for name in ("one", "two")}
        agent = {"state_dir": str(root / "state"), "listen": "", "canary_every": "0s"}
        self._data = {"agent": agent, "destinations": tables}
        self._rule = rule

    def run(self, **reclaim: str) -> None:
        """The agent, once; with `reclaim`, if given."""
        rule = self._rule | ({"reclaim": {"min_age": "0s"} | reclaim} if reclaim else {})
        once(check(self._data | {"rules": [rule]}, "test", self.root))


def test_two_copies_are_enough(tmp_path: Path) -> None:
    """With a copy of its own at each, the local one goes: what the tests below refuse is what they change."""
    pair = Pair(tmp_path)
    pair.run()
    pair.run(after="0s")
    assert not (pair.data / "a").exists()


def test_one_file_at_two_destinations_is_one_copy(tmp_path: Path) -> None:
    """Where one copy became a link to the other, the local file stays."""
    pair = Pair(tmp_path)
    pair.run()
    (tmp_path / "two/a").unlink()
    os.link(tmp_path / "one/a", tmp_path / "two/a")
    pair.run(after="0s")
    assert (pair.data / "a").read_bytes() == b"aaa"


def test_the_local_file_is_no_copy(tmp_path: Path) -> None:
    """Where the copy became a link to the local file, that stays."""
    pair = Pair(tmp_path)
    pair.run()
    (tmp_path / "two/a").unlink()
    os.link(pair.data / "a", tmp_path / "two/a")
    pair.run(after="0s")
    assert (pair.data / "a").read_bytes() == b"aaa"


def test_two_names_for_one_directory_are_one_destination(tmp_path: Path) -> None:
    """A second directory with the identity file of the first, as another mount of it has, is refused; the file stays."""
    pair = Pair(tmp_path)
    identity = tmp_path / "one/.dropline-destination"
    identity.write_text('{"dropline_destination": "same"}')
    (tmp_path / "two/.dropline-destination").write_text(identity.read_text())
    pair.run(after="0s")
    pair.run(after="0s")
    assert (pair.data / "a").read_bytes() == b"aaa"
    assert not (tmp_path / "two/a").exists()
    config = check(pair._data | {"rules": [pair._rule]}, "test", tmp_path)
    ledger = Ledger(str(config.ledger))
    (reason,) = (reason for name, _, _, reason in ledger.reports.destinations() if name == "two")
    ledger.close()
    assert reason == (
        f"{tmp_path}/two is the same directory as destination one: one copy would count as two; "
        "give it its own directory, or remove one of the two"
    )


def test_nothing_goes_on_the_proof_of_what_may_be_a_bare_mount_point(tmp_path: Path) -> None:
    """A local directory of which the configuration says nothing: the file is delivered and stays."""
    if LOCAL.volume(str(tmp_path)).may_hang:
        pytest.skip("the temporary directory is on a network file system")
    pair = Pair(tmp_path, two={})
    pair.run(after="0s")
    pair.run(after="0s")
    assert [(tmp_path / name / "a").read_bytes() for name in ("data", "one", "two")] == [b"aaa"] * 3


class Touched:
    """An agent whose file had its mode changed after it was proved."""

    def __init__(self, root: Path) -> None:
        self.desk = Desk(root)
        self.path = self.desk.data / "a"
        self.proved_at = self.copy()[0]
        self.proved = self.path.stat()
        self.path.chmod(0o640)

    def copy(self) -> tuple[float, bytes]:
        found: tuple[float, bytes] = self.desk.ledger.execute("SELECT proved_at, checksum FROM copies").fetchone()
        return found

    def sweep(self) -> list[tuple[str, bool]]:
        """Its versions after a run of the agent: state, and whether its content is to be compared."""
        once(self.desk.config)
        return [(file.state.value, file.restamped) for file in self.desk.ledger.files.history(str(self.path))]


@pytest.fixture
def touched(tmp_path: Path) -> Iterator[Touched]:
    made = Touched(tmp_path)
    yield made
    made.desk.ledger.close()


def test_a_mode_that_changes_each_night_keeps_no_file_for_ever(touched: Touched) -> None:
    """A new ctime alone leaves the proof and its age: the content is read once, when the file may go, and it goes."""
    for mode in (0o600, 0o640):
        touched.path.chmod(mode)
        assert touched.sweep() == [("verified", True)]
    assert touched.copy()[0] == touched.proved_at
    reclaimer = touched.desk.reclaimer(LOCAL, after="7d")
    reclaimer.step(touched.proved_at + 6 * DAY)
    assert touched.path.exists()
    reclaimer.step(touched.proved_at + 7 * DAY)
    assert (touched.path.exists(), touched.desk.state_of()) == (False, "reclaimed")


def test_content_that_changed_behind_the_same_mtime_is_delivered_and_not_deleted(touched: Touched) -> None:
    """A program may set the mtime back: the comparison before the deletion finds it."""
    touched.path.write_bytes(b"bbb")
    os.utime(touched.path, ns=(touched.proved.st_atime_ns, touched.proved.st_mtime_ns))
    assert touched.sweep() == [("verified", True)]
    touched.desk.reclaimer(LOCAL, after="0s").step(touched.desk.now)
    assert touched.path.read_bytes() == b"bbb"
    once(touched.desk.config)
    assert [file.state.value for file in touched.desk.ledger.files.history(str(touched.path))] == [
        "superseded",
        "verified",
    ]
    assert (touched.desk.share / "a").read_bytes() == b"bbb"


def test_a_comparison_is_made_once(touched: Touched, caplog: pytest.LogCaptureFixture) -> None:
    """What was compared and stays all the same, for its lease or its rename failed, is not read again each minute."""
    assert touched.sweep() == [("verified", True)]
    (file,) = touched.desk.ledger.files.history(str(touched.path))
    with touched.desk.ledger.transaction():
        touched.desk.ledger.files.compared([file])
    (file,) = touched.desk.ledger.files.history(str(touched.path))
    assert (file.restamped, file.reason) == (False, None)


def test_without_a_checksum_nothing_says_that_the_content_is_as_it_was(touched: Touched) -> None:
    """Evidence of size and mtime cannot be compared with content: the file is delivered again, and stays."""
    assert touched.sweep() == [("verified", True)]
    with touched.desk.ledger.transaction():
        touched.desk.ledger.execute("UPDATE copies SET algorithm = 'stat'")
    touched.desk.reclaimer(LOCAL, after="0s", evidence="stat").step(touched.desk.now)
    assert touched.path.exists()
    assert [file.state.value for file in touched.desk.ledger.files.history(str(touched.path))] == [
        "superseded",
        "candidate",
    ]


@pytest.mark.parametrize("writer", [True, False], ids=["open writer", "destination away"])
def test_short_of_space_what_cannot_go_costs_a_question_a_minute(desk: Desk, writer: bool) -> None:
    """However often passes are made: a file with a writer is not asked about at all, and a destination not again before."""
    asked: list[float] = []
    now = desk.now
    away = True

    def ask(*_: object) -> Confirmed:
        asked.append(now)
        if away and not writer:
            raise Transient("no answer")
        return Confirmed(True, "it is there")

    rules = desk._config({"when_free_below": "50%"}).rules
    reclaimer = Reclaimer(
        desk.ledger, LOCAL, rules, {"share": Required(str(desk.share), ask)}, Record(desk.record), lambda path: 0.1
    )
    reclaimer.start(now)
    with open(desk.data / "a", "ab") if writer else nullcontext():
        for seconds in range(50):
            now = desk.now + seconds
            reclaimer.step(now)
    assert (asked, desk.state_of()) == ([] if writer else [desk.now], "verified")
    away, now = False, desk.now + LATER
    reclaimer.step(now)
    assert (desk.state_of(), os.listdir(desk.data)) == ("reclaimed", [])
