"""What a person sends: looked at twice, and a generation of its own in the ledger that rules do not see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.by_hand.outbound import Outbound, Refusal
from agent.files import LOCAL
from agent.host.lock import RESIDENT, Held, locked, resident
from agent.ledger import Found, Ledger, State


class Time:
    """Seconds that pass only by waiting; something may happen meanwhile."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, [0.0]
        self.meanwhile = lambda: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        self.meanwhile()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(str(tmp_path / "ledger.sqlite"))
    yield made
    made.close()


def put(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return [str(folder / name) for name in names]


def test_a_file_that_changes_between_two_looks_is_refused_alone(tmp_path: Path) -> None:
    """Nothing is waited for but the quiet period: what changes in it, or goes away, is told of and left out."""
    LOCAL.prepare()
    a, b, c = put(tmp_path / "job", "a", "b", "c")
    time = Time()

    def meanwhile() -> None:
        Path(b).write_text("more")
        Path(c).unlink(missing_ok=True)

    time.meanwhile = meanwhile
    outbound = Outbound(LOCAL, time, time.sleep)
    gathered = outbound.gather([str(tmp_path / "job")])
    assert [one.path for one, _ in outbound.complete(gathered)] == [a]
    assert outbound.refused == [
        Refusal(b, "it changes; send it again when its writer is done"),
        Refusal(c, "cannot be read: No such file or directory"),
    ]
    assert sum(time.slept) < 61.0


def test_a_file_that_is_named_twice_goes_once(tmp_path: Path) -> None:
    """By itself and with its folder: under the name that was given first."""
    a, b = put(tmp_path / "job", "a", "sub/b")
    gathered = Outbound(LOCAL, lambda: 0.0, lambda _: None).gather([b, str(tmp_path / "job"), a])
    assert [(one.root, one.path) for one in gathered] == [(os.path.dirname(b), b), (str(tmp_path), a)]


def test_batches_are_as_large_as_those_of_rules_and_of_one_root(ledger: Ledger, tmp_path: Path) -> None:
    """501 files and one of another folder are three batches of one command."""
    place = ledger.destinations.place("share", "/share").id
    put(tmp_path / "job", *(f"{number:03}" for number in range(501)))
    (alone,) = put(tmp_path / "other", "x")
    outbound = Outbound(LOCAL, lambda: 5.0, lambda _: None)
    files = [(one, "quiet") for one in outbound.gather([str(tmp_path / "job"), alone])]
    number = outbound.seal(ledger, place, iter(files), 6.0)
    assert number is not None
    assert [(one.rule, one.key, one.files) for one in reversed(ledger.reports.batches(9))] == [
        ("send", str(tmp_path), 500), ("send", str(tmp_path), 1), ("send", str(tmp_path / "other"), 1),
    ]  # fmt: skip
    assert ledger.sends.under_way(number)
    assert {ledger.sends.root(one.batch) for one in ledger.deliveries.due(place, 9.0, 9)} == {
        str(tmp_path), str(tmp_path / "other"),
    }  # fmt: skip


def test_rules_do_not_see_what_was_sent_and_numbers_do_not_clash(ledger: Ledger, tmp_path: Path) -> None:
    """To a sweep the path is as it was before it was sent; the next version that it finds gets the next free number."""
    place = ledger.destinations.place("share", "/share").id
    (path,) = put(tmp_path / "job", "a")
    directory = os.path.dirname(path)
    outbound = Outbound(LOCAL, lambda: 5.0, lambda _: None)
    (one,) = outbound.gather([path])
    for _ in range(2):
        outbound.seal(ledger, place, [(one, "quiet")], 6.0)
    assert ledger.files.known(directory) == {}
    assert ledger.files.expected(directory, "", 9) == []
    assert ledger.files.directories_below(str(tmp_path)) == []
    with ledger.transaction():
        number = ledger.files.directory(directory)
        ledger.files.found([Found(number, path, "r", one.seen, 1, 7.0, 7.0)])
    assert [(file.generation, file.rule, file.state) for file in ledger.files.history(path)] == [
        (1, "send", State.BATCHED), (2, "send", State.BATCHED), (3, "r", State.CANDIDATE),
    ]  # fmt: skip
    outbound.seal(ledger, place, [(one, "quiet")], 8.0)
    assert {name: known.generation for name, known in ledger.files.known(directory).items()} == {"a": 3}


def test_who_stays_is_told_from_who_ends(tmp_path: Path) -> None:
    """The lock of a run that ends by itself is no reason to leave files to it."""
    with locked(tmp_path):
        assert not resident(tmp_path)
        with pytest.raises(Held), locked(tmp_path, 0.0):
            pass
        with locked(tmp_path, name=RESIDENT):
            assert resident(tmp_path)
    assert not resident(tmp_path)
