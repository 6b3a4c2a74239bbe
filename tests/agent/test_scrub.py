"""The scrubber: what it reads in a pass, and what becomes of files in each state, with a real ledger and real copies."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.app.run import once
from agent.destinations.directory.transport import DirectoryTransport
from agent.files import LOCAL
from agent.ledger import Ledger, State, Transition
from agent.scrub import Scrubber
from rules.scrub import DAY, Scrub
from tests.agent.test_plans import too_much

MONTH = 30 * DAY
POLICY = Scrub(per_day=10**15, every=MONTH)


class Desk:
    """An agent that ran once, and a scrubber of its destination `share`."""

    def __init__(self, root: Path) -> None:
        self.data, self.share, self.mirror = root / "data", root / "share", root / "mirror"
        for path in (self.data, self.share, self.mirror):
            path.mkdir()
        self.config = check(
            {
                "agent": {"state_dir": str(root / "state"), "listen": "", "canary_every": "0s"},
                "destinations": {"share": {"path": str(self.share)}, "mirror": {"path": str(self.mirror)}},
                "rules": [
                    {
                        "name": "r", "watch": str(self.data), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
                        "deliver": [{"to": "share"}, {"to": "mirror"}],
                    }
                ],
            },
            "test", root,
        )  # fmt: skip
        self.told: list[Transition] = []
        self.counted: list[tuple[str, int]] = []
        self.meanwhile: Callable[[int], object] = lambda length: None

    def once(self, **files: bytes) -> None:
        for name, content in files.items():
            (self.data / name).write_bytes(content)
        once(self.config)

    def open(self) -> None:
        self.ledger = Ledger(str(self.config.ledger), self.told.extend)
        self.place = self.ledger.destinations.place("share", str(self.share)).id
        self.transport = DirectoryTransport("share", str(self.share), "checksum", "sha256", "a" * 12, lambda: None)
        (self.now,) = self.ledger.execute("SELECT max(proved_at) + 1 FROM copies").fetchone()

    def scrubber(self, policy: Scrub = POLICY) -> Scrubber:
        return Scrubber(
            self.ledger, LOCAL, self.transport, self.place, policy, lambda outcome, size: self.counted.append((outcome, size)),
            self.meanwhile,
        )  # fmt: skip

    def aged(self) -> float:
        """The copies were proved more than a month ago. Returns the present time, so that an agent goes on from there."""
        self.ledger.execute("UPDATE copies SET proved_at = proved_at - ?", (MONTH + 9.0,))
        return time.time()

    def close(self) -> None:
        self.transport.close()
        self.ledger.close()

    def states(self) -> dict[str, str]:
        return {os.path.basename(one.path): one.state.value for one in self.ledger.reports.files(list(State), 100)}

    def findings(self) -> list[tuple[str, str]]:
        return [(one.copy_status.value, one.copy.path) for one in self.ledger.scrubs.open(self.place)]

    def proved(self) -> list[str]:
        sql = "SELECT path FROM copies WHERE destination = ? AND proved_at IS NOT NULL ORDER BY path"
        return [os.fsdecode(path) for (path,) in self.ledger.execute(sql, (self.place,))]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Three files of three bytes are verified at both destinations."""
    made = Desk(tmp_path)
    made.once(a=b"aaa", b=b"bbb", c=b"ccc")
    made.open()
    yield made
    made.close()


# When


def test_nothing_is_read_before_its_period_is_over(desk: Desk) -> None:
    """The pass says when the first copy is due; then all are read, and not again before another period."""
    scrubber = desk.scrubber()
    due = scrubber.step(desk.now)
    assert due == pytest.approx(desk.now + MONTH, abs=2.0)
    later = desk.now + MONTH
    scrubber.step(later)
    assert desk.counted == [("good", 3)] * 3
    assert scrubber.step(later) == later + MONTH
    assert len(desk.counted) == 3
    (standing, _) = desk.ledger.scrubs.standings()
    assert (standing.last_at, standing.oldest_at, standing.findings) == (later, later, {})


def test_the_rate_outlasts_a_restart(desk: Desk) -> None:
    """Copies count 64 KiB at the least: at 64 KiB a day one is read each day, whoever starts the agent again."""
    policy = Scrub(per_day=2**16, every=MONTH)
    now, read = desk.now + MONTH, []
    for _ in range(4):
        due = desk.scrubber(policy).step(now)
        assert due is not None
        read.append(len(desk.counted))
        assert desk.scrubber(policy).step(now + 60.0) is not None
        assert len(desk.counted) == read[-1], "another start reads no more"
        now += DAY
    assert read == [1, 2, 3, 3]


def test_the_copy_that_was_read_longest_ago_is_the_next(desk: Desk) -> None:
    """Neither new copies nor those just read come before it: each has its turn."""
    policy = Scrub(per_day=2**16, every=1.0)
    now, scrubber, order = desk.now + 100.0, desk.scrubber(policy), []
    for _ in range(6):
        before = dict(desk.ledger.execute("SELECT path, reread_at FROM copies WHERE destination = ?", (desk.place,)))
        scrubber.step(now)
        after = dict(desk.ledger.execute("SELECT path, reread_at FROM copies WHERE destination = ?", (desk.place,)))
        order += [path for path in after if after[path] != before[path]]
        now += DAY
    assert len(order) == 6
    assert set(order[:3]) == {b"a", b"b", b"c"}
    assert order[:3] == order[3:]


def test_a_share_that_lost_very_much_is_left_to_a_person(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """More findings than single copies gone bad make: nothing more is read or delivered again until they are settled."""
    for module in ("agent.scrub", "rules.scrub"):
        monkeypatch.setattr(f"{module}.MOST_OPEN", 2)
    for path in desk.share.glob("?"):
        path.unlink()
    scrubber, later = desk.scrubber(), desk.now + MONTH
    scrubber.step(later)
    scrubber.step(later + 31.0)
    assert desk.counted == [("missing", 3)] * 2
    assert sorted(desk.states().values()) == ["batched", "batched", "verified"]


def test_a_destination_that_is_away_is_asked_later(desk: Desk) -> None:
    """Nothing is judged, the pass does not fail, and what is due is read when it is back."""
    (desk.share / ".dropline-destination").rename(desk.share / "kept")
    scrubber, later = desk.scrubber(), desk.now + MONTH
    assert scrubber.step(later) == later + 60.0
    assert (desk.counted, desk.findings()) == ([], [])
    (desk.share / "kept").rename(desk.share / ".dropline-destination")
    scrubber.step(later + 60.0)
    assert desk.counted == [("good", 3)] * 3


# What becomes of files


def spoil(desk: Desk) -> float:
    """The copy of `a` has other content. Returns when all are due."""
    (desk.share / "a").write_bytes(b"AAA")
    return float(desk.now) + MONTH


def test_evidence_and_the_new_batch_are_one_transaction(desk: Desk) -> None:
    """As soon as the evidence is withdrawn, the file is on its way there, and only there."""
    spoil(desk)
    desk.scrubber().step(desk.now + MONTH)
    assert (desk.states(), desk.proved()) == ({"a": "batched", "b": "verified", "c": "verified"}, ["b", "c"])
    sql = (
        "SELECT b.reason, n.name, d.state FROM files f JOIN batches b ON b.id = f.batch JOIN deliveries d ON d.batch = b.id"
        " JOIN destinations n ON n.id = d.destination WHERE f.name = ?"
    )
    assert desk.ledger.execute(sql, (b"a",)).fetchall() == [
        ("delivered again: its copy of batch 1 was not what was proved", "share", "pending")
    ]
    assert [(one.event, one.destination) for one in desk.told] == [("changed", "share"), ("batched", "")]


def test_a_finding_is_told_once(desk: Desk) -> None:
    """Where the local copy is gone, it stays a finding that each look confirms, without another line of the log."""
    later = spoil(desk)
    (desk.data / "a").unlink()
    once(desk.config)
    scrubber = desk.scrubber()
    for days in range(3):
        scrubber.step(later + days * (DAY + 1.0))
    assert desk.findings() == [("changed", "a")]
    assert [one.event for one in desk.told] == ["changed"]
    assert desk.counted.count(("changed", 3)) == 3
    assert (desk.states()["a"], desk.proved()) == ("removed", ["a", "b", "c"])


def test_what_was_read_in_vain_is_not_judged(desk: Desk) -> None:
    """A version that was superseded while its copy was read: the newer one may have replaced it."""
    later = spoil(desk)
    (number,) = desk.ledger.execute("SELECT id FROM files WHERE name = ?", (b"a",)).fetchone()

    def supersede(length: int) -> None:
        with sqlite3.connect(desk.config.ledger) as other:
            other.execute("UPDATE files SET state = 'superseded' WHERE id = ?", (number,))
        other.close()

    desk.meanwhile = supersede
    desk.scrubber().step(later)
    assert (desk.findings(), desk.proved()) == ([], ["a", "b", "c"])
    desk.scrubber().step(later)
    assert desk.ledger.scrubs.oldest_at(desk.place) == later, "and it is not looked for again"


def test_a_file_that_is_on_its_way_elsewhere_travels_here_again(tmp_path: Path) -> None:
    """Proved at one destination while the other is down: its delivery begins again in the same batch."""
    desk = Desk(tmp_path)
    desk.mirror.rmdir()
    desk.once(a=b"aaa")
    desk.open()
    assert desk.states() == {"a": "batched"}
    spoil(desk)
    desk.scrubber().step(desk.aged())
    assert (desk.findings(), desk.proved(), desk.states()) == ([("changed", "a")], [], {"a": "batched"})
    desk.mirror.mkdir()
    once(desk.config)
    assert (desk.proved(), desk.states()) == (["a~1"], {"a": "verified"})
    assert ((desk.share / "a").read_bytes(), (desk.share / "a~1").read_bytes()) == (b"AAA", b"aaa")
    desk.close()


def test_a_missing_copy_that_came_again_is_settled_by_itself(desk: Desk) -> None:
    """The next pass finds its new proof."""
    (desk.share / "a").unlink()
    scrubber, now = desk.scrubber(), desk.aged()
    scrubber.step(now)
    assert desk.findings() == [("missing", "a")]
    once(desk.config)
    assert (desk.share / "a").read_bytes() == b"aaa"
    scrubber.step(now + 60.0)
    assert desk.findings() == []


# What it costs


def test_no_pass_looks_at_all_copies(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement finds its rows by an index: the next copies by the one that has them in their order."""
    statements: dict[str, None] = {}

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        made = sqlite3.Connection(*arguments, **options)
        made.set_trace_callback(statements.setdefault)
        return made

    desk.ledger.close()
    monkeypatch.setattr("agent.ledger.store.sqlite3.connect", connect)
    desk.ledger = Ledger(str(desk.config.ledger))
    later = spoil(desk)
    (desk.share / "b").unlink()
    scrubber = desk.scrubber()
    for days in range(3):
        scrubber.step(later + days * (DAY + 1.0))
    desk.ledger.scrubs.standings()
    plans = {
        text: [row[3] for row in desk.ledger.execute(f"EXPLAIN QUERY PLAN {text}")]
        for text in list(statements)
        if text.startswith(("SELECT", "UPDATE", "DELETE"))
    }
    assert len(plans) > 15
    walked = {text: plan for text, plan in plans.items() if any(too_much(step) for step in plan)}
    assert not walked, "\n".join(f"{text}\n  {plan}" for text, plan in walked.items())
    ordered = [plan for text, plan in plans.items() if "coalesce" in text and "LIMIT" in text]
    assert len(ordered) >= 2
    assert all(any("copies_to_reread" in step for step in plan) for plan in ordered)
    assert not any("TEMP B-TREE" in step for plan in ordered for step in plan)


def test_a_local_copy_whose_file_system_is_away_is_not_gone(desk: Desk) -> None:
    """Its place is there, and empty, on another file system: nobody is sent to a backup, and nothing is withdrawn."""
    (desk.share / "a").unlink()
    (desk.data / "a").unlink()
    with desk.ledger.transaction():
        desk.ledger.execute("UPDATE files SET device = device + 1")
    desk.scrubber().step(desk.now + MONTH)
    ((_, hint),) = [(one.copy.path, one.reason) for one in desk.ledger.scrubs.open(desk.place)]
    assert hint.endswith("; whether the local copy is still here cannot be told now; it is read again within a day")
    assert desk.proved() == ["a", "b", "c"]
