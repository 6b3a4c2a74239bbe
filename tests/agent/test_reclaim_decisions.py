"""What may be deleted: files of a dataset together, on proof from where the configuration says, and after they lay still."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.app.run import once
from agent.errors import Transient
from agent.files import LOCAL
from agent.ledger import File, Ledger
from agent.reclaim import Required
from agent.reclaim.decisions import LATER, Decisions
from rules import retention
from rules.config.settings import Configuration
from rules.rule import Rule, Target
from rules.versions.copies import Confirmed

YES = Confirmed(True, "it is there")
Answer = Callable[[str], Confirmed]


class Desk:
    """An agent that delivered the two files of a dataset, and after them its marker, if it has one."""

    def __init__(self, root: Path, marker: str = "") -> None:
        self.root, self.data, self.marker = root, root / "data", marker
        for folder in ("data/run_1", "share"):
            (root / folder).mkdir(parents=True)
        for name in ("a", "b", *([marker] if marker else [])):
            (self.data / "run_1" / name).write_bytes(b"frame")
        assert once(self.config())
        self.ledger = Ledger(str(root / "state/ledger.sqlite"))
        self.now: float = self.ledger.execute("SELECT max(proved_at) + 100 FROM copies").fetchone()[0]
        self.answer: Answer = lambda path: YES
        self.address = str(root / "share")
        self.consumed = False

    def config(self, **reclaim: Any) -> Configuration:
        rule = {
            "name": "r", "watch": str(self.data), "dataset": {"dir": "run_[0-9]+/"}, "complete": {"quiet": "0s"},
            "deliver": [{"to": "share"}], **({"reclaim": reclaim} if reclaim else {}),
            **({"last": [self.marker]} if self.marker else {}),
        }  # fmt: skip
        agent = {"state_dir": str(self.root / "state"), "listen": "", "canary_every": "0s"}
        share = {"path": str(self.root / "share"), "mounted": False}
        return check({"agent": agent, "destinations": {"share": share}, "rules": [rule]}, "test", self.root)

    def decide(self, begun: float | None = None, **reclaim: Any) -> dict[str, tuple[bool, str, float | None]]:
        """Each file → whether it may go, why, and when to think of it again."""
        (rule,) = self.config(**{"after": "0s", "min_age": "0s"} | reclaim).rules
        decisions = self.decisions([rule])
        if begun is not None:
            decisions.begun = begun
        batches = self.ledger.reclaims.batches("r")
        found = [one for batch in batches for one in decisions.of(rule, batch, None, self.now)]
        return {os.path.basename(one.file.path): one.verdict[:3] for one in found}

    def decisions(self, rules: list[Rule]) -> Decisions:
        ask = lambda path, *_: self.answer(path)  # noqa: E731
        return Decisions(self.ledger, LOCAL, rules, {"share": Required(self.address, ask, consumed=self.consumed)})

    def file(self, name: str) -> File:
        return self.ledger.files.history(str(self.data / "run_1" / name))[-1]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_a_dataset_goes_as_a_whole(desk: Desk) -> None:
    """Both files may go."""
    assert {name: ok for name, (ok, _, _) in desk.decide().items()} == {"a": True, "b": True}


def test_a_dataset_with_a_file_on_its_way_stays(desk: Desk) -> None:
    """One that is not proved yet keeps the others here, for a while."""
    with desk.ledger.transaction():
        desk.ledger.execute("UPDATE files SET state = 'batched' WHERE name = ?", (b"b",))
    stays = False, "1 files of its dataset are not proved yet", desk.now + LATER
    assert desk.decide() == {"a": stays}


def test_one_copy_that_is_not_there_keeps_its_dataset(desk: Desk) -> None:
    """That file has its own reason; the others name it."""
    desk.answer = lambda path: Confirmed(False, "it is gone") if path.endswith("b") else YES
    why = f"its dataset stays together: {desk.data}/run_1/b: it is gone"
    assert desk.decide() == {"a": (False, why, desk.now + LATER), "b": (False, "it is gone", None)}


def test_a_destination_that_cannot_be_asked_keeps_the_dataset(desk: Desk) -> None:
    """Cannot tell is not yes."""

    def away(path: str) -> Confirmed:
        raise Transient("the share is away")

    desk.answer = away
    stays = False, "cannot be asked: the share is away", desk.now + LATER
    assert desk.decide() == {"a": stays, "b": stays}


def test_a_file_that_changed_keeps_its_dataset_and_nobody_is_asked(desk: Desk) -> None:
    """What costs little comes first."""
    asked: list[str] = []
    desk.answer = lambda path: asked.append(path) or YES  # type: ignore[func-returns-value]
    (desk.data / "run_1/b").write_bytes(b"frame, and more")
    why = False, "the local file is not the version that was proved", None
    assert (desk.decide(), asked) == ({"a": why, "b": why}, [])


def test_a_marker_that_is_not_there_keeps_the_data_that_it_vouches_for(tmp_path: Path) -> None:
    """A program at the share goes by the marker: without it nobody knows that the data are whole."""
    desk = Desk(tmp_path, "done.txt")
    try:
        after = False, "it goes after the other files of its dataset", desk.now + LATER
        whole = desk.decide()
        desk.answer = lambda path: Confirmed(False, "it is gone") if path.endswith("done.txt") else YES
        broken = desk.decide()
        with desk.ledger.transaction():
            desk.ledger.execute("UPDATE files SET state = 'reclaimed' WHERE name IN (?, ?)", (b"a", b"b"))
        alone = desk.decide()
    finally:
        desk.ledger.close()
    assert {name: ok for name, (ok, _, _) in whole.items()} == {"a": True, "b": True, "done.txt": False}
    assert whole["done.txt"] == after
    why = f"its dataset stays together: {desk.data}/run_1/done.txt: it is gone"
    assert broken == {
        "a": (False, why, desk.now + LATER), "b": (False, why, desk.now + LATER), "done.txt": after,
    }  # fmt: skip
    assert alone == {"done.txt": (False, "it is gone", None)}


def test_a_file_that_another_rule_claims_by_now_stays(desk: Desk) -> None:
    """What it was delivered on behalf of is no rule for it any more."""
    (rule,) = desk.config(after="0s", min_age="0s").rules
    other = replace(rule, name="other")
    (batch,) = desk.ledger.reclaims.batches("r")
    found = list(desk.decisions([other, rule]).of(rule, batch, None, desk.now))
    why = "no destination that it was delivered to is one of the rule that claims it now"
    assert [(one.verdict.ok, one.verdict.reason) for one in found] == [(False, why), (False, why)]


@pytest.mark.parametrize(("backfill", "may_go"), [(False, True), (None, False), (True, False)])
def test_only_a_rule_that_says_so_lets_files_go_without_a_later_destination(
    desk: Desk, backfill: bool | None, may_go: bool
) -> None:
    """A destination that came later is skipped for as long as its rule says `backfill = false`, and no longer."""
    mirror = desk.ledger.destinations.place("mirror", "/mirror").id
    with desk.ledger.transaction():
        desk.ledger.execute(
            "INSERT INTO deliveries (batch, destination, state, changed_at)"
            " SELECT DISTINCT batch, ?, 'skipped', 0 FROM files", (mirror,)
        )  # fmt: skip
    (rule,) = desk.config(after="0s", min_age="0s").rules
    rule = replace(rule, deliver=(*rule.deliver, Target("mirror", backfill=backfill)))
    ask = lambda path, *_: YES  # noqa: E731
    required = {"share": Required(desk.address, ask), "mirror": Required("/mirror", ask)}
    (batch,) = desk.ledger.reclaims.batches("r")
    found = Decisions(desk.ledger, LOCAL, [rule], required).of(rule, batch, None, desk.now)
    assert {(one.verdict.ok, one.verdict.reason[:20]) for one in found} == {
        (True, "proved at share 1.67") if may_go else (False, "not proved at mirror")
    }


def test_proof_from_where_a_destination_was_is_none(desk: Desk) -> None:
    """The name is a label: the copies are at the former address."""
    desk.address = "/somewhere/else"
    assert {name: ok for name, (ok, _, _) in desk.decide().items()} == {"a": False, "b": False}
    (rule,) = desk.config().rules
    assert desk.decisions([rule]).evidence(rule, desk.file("a")) == []


@pytest.mark.parametrize(
    ("begun", "since", "may_go_in"),
    [(-500.0, -100.0, 0.0), (-50.0, -100.0, 10.0), (-500.0, 100.0, None), (-100.0, -100.0, 0.0), (-50.0, 0.0, 60.0)],
)
def test_only_what_this_run_saw_counts_as_lying_still(
    desk: Desk, begun: float, since: float, may_go_in: float | None
) -> None:
    """`begun`, `since`: seconds from now. What a former run saw, or a clock that is ahead, begins again with this run."""
    with desk.ledger.transaction():
        desk.ledger.execute("UPDATE files SET since = ?", (desk.now + since,))
    found = {(ok, again) for ok, _, again in desk.decide(begun=desk.now + begun, min_age="60s").values()}
    if may_go_in is None:  # it counts from the begin of the run, which is long ago
        assert found == {(True, None)}
    else:
        assert found == ({(True, None)} if may_go_in == 0 else {(False, desk.now + may_go_in)})


ABSENT = Confirmed(False, "at share, it is gone", absent=True)


@pytest.mark.parametrize(
    ("consumed", "answer", "may_go"),
    [
        (True, ABSENT, True),
        (False, ABSENT, False),
        (True, Confirmed(False, "at share, it has 3 bytes instead of 5"), False),
    ],
)
def test_where_files_are_taken_away_arrival_is_the_proof(
    desk: Desk, consumed: bool, answer: Confirmed, may_go: bool
) -> None:
    """Only absence is believed, and only there: what stands under the name is to be what was delivered."""
    desk.consumed, desk.answer = consumed, lambda path: answer
    assert {name: ok for name, (ok, _, _) in desk.decide().items()} == {"a": may_go, "b": may_go}


def test_what_counts_as_taken_is_not_asked_for(desk: Desk) -> None:
    """Neither before a deletion nor by the scrub."""
    desk.consumed = True
    desk.answer = lambda path: Confirmed(False, "nobody asks")
    with desk.ledger.transaction():
        desk.ledger.scrubs.all_taken(1, "share")
    assert {name: ok for name, (ok, _, _) in desk.decide().items()} == {"a": True, "b": True}
    assert desk.ledger.scrubs.oldest_at(1) is None


def test_more_than_anybody_takes_waits_for_a_person(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that is rolled back takes everything at once: from then on nothing is deleted until a person says so."""
    monkeypatch.setattr("agent.reclaim.decisions.TAKEN_AT_MOST", 1)
    desk.consumed, desk.answer = True, lambda path: ABSENT
    (rule,) = desk.config(after="0s", min_age="0s").rules
    decisions = desk.decisions([rule])
    (batch,) = desk.ledger.reclaims.batches("r")
    assert not any(one.verdict.ok for one in decisions.of(rule, batch, None, desk.now))
    assert decisions.gone_at_once == {"share"}
    desk.ledger.scrubs.gone("share")
    why = retention.taken_at_once("share")
    assert {reason for _, reason, _ in desk.decide().values()} == {f"the proof at share does not count: {why}"}
    with desk.ledger.transaction():
        desk.ledger.scrubs.all_taken(1, "share")
    assert {name: ok for name, (ok, _, _) in desk.decide().items()} == {"a": True, "b": True}
