"""The deliverer to a directory: what an earlier attempt left is removed, whatever became of the file."""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.delivery.deliverer import Deliverer
from agent.delivery.in_flight import InFlightFile, Submission
from agent.delivery.outcomes import Outcomes
from agent.destinations import Arrived, Item
from agent.destinations.directory.transport import DirectoryTransport
from agent.errors import LedgerError
from agent.files.posix.observing import observation
from agent.intake.missing_files import MissingFiles
from agent.ledger import DeliveryState, Found, Ledger, Proof, Sealed, State
from agent.observe.metrics import Metrics
from rules.model import Content, OpenBatch, VolumeId
from rules.rule import Rule, Target
from tests.one_item.site import T0, Site

NOW = 2_000_000_000.0


class Share(DirectoryTransport):
    """A directory; it remembers what it was asked to remove."""

    discarded: tuple[tuple[int, str], ...] = ()

    def discard(self, files: Sequence[tuple[int, str]]) -> None:
        super().discard(files)
        self.discarded += tuple(files)


class Faulty(Ledger):
    """A ledger that cannot be written once: at its n-th write."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.writes = 0
        self.fails_at = 0

    def execute(self, sql: str, values: Iterable[Any] = ()) -> sqlite3.Cursor:
        self._count(sql)
        return super().execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._count(sql)
        super().executemany(sql, rows)

    def _count(self, sql: str) -> None:
        if sql.startswith(("INSERT", "UPDATE", "DELETE", "COMMIT")):
            self.writes += 1
            if self.writes == self.fails_at:
                raise LedgerError("the disk of the ledger is full")


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Share]:
    (tmp_path / "share").mkdir()
    made = Share("share", str(tmp_path / "share"), "checksum", "sha256", "a1b2c3d4e5f6", lambda: None)
    yield made
    made.close()


@pytest.mark.parametrize("all_left", [False, True])
def test_what_an_attempt_left_of_files_that_left_their_batch_is_removed(
    tmp_path: Path, share: Share, all_left: bool
) -> None:
    """Also where no file of the batch is left to be sent: then nobody comes back to it."""
    data = tmp_path / "data"
    data.mkdir()
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    place = ledger.destinations.place("share", share.address).id
    files = []
    with ledger.transaction():
        batch = ledger.batches.opened("r", "key", NOW)
        for name in "ab":
            (data / name).write_bytes(b"frame")
            number = ledger.files.directory(str(data))
            seen = observation(os.lstat(data / name), VolumeId(0))
            ledger.files.found([Found(number, str(data / name), "r", seen, 1, NOW, NOW)])
            files.append(ledger.files.history(str(data / name))[-1])
        ledger.files.completed([(file, batch, "quiet") for file in files], NOW)
        ledger.batches.joined(batch, OpenBatch("key", 2, 10, NOW, NOW))
        ledger.batches.sealed([Sealed(batch, "r", "full", [place])], NOW)
        (delivery,) = ledger.deliveries.due(place, NOW, 10)
        ledger.deliveries.planned(place, [(file.id, os.path.basename(file.path)) for file in files])
        ledger.deliveries.submitting([delivery], b"{}", NOW)
        ledger.deliveries.failed([delivery], "the share is full", NOW, NOW)
        gone = files if all_left else files[:1]
        ledger.files.superseded([(file.id, "r", file.path, "newer") for file in gone], NOW)
    rule = Rule("r", str(data), deliver=(Target("share", "{relpath}"),))
    deliverer = Deliverer(ledger, share, place, [rule], "pc", Metrics(), lambda: None, lambda: None)
    deliverer.start(NOW)
    for _ in range(400):
        deliverer.step(NOW)
        if ledger.reports.deliveries() == [("share", DeliveryState.VERIFIED, 1)]:
            break
        share._large[0].submit(lambda: None).result()  # what was begun goes on
    assert ledger.reports.deliveries() == [("share", DeliveryState.VERIFIED, 1)]
    assert share.discarded == tuple((file.id, os.path.basename(file.path)) for file in gone)
    ledger.close()


def _delivered(root: Path, share: Share, woken: threading.Event, fails_at: int) -> tuple[int, dict[str, object]]:
    """Deliver a file whose name is taken by an earlier one. Returns the writes, and what came of it."""
    data = root / "data"
    data.mkdir(parents=True)
    ledger = Faulty(str(root / "ledger.sqlite"))
    place = ledger.destinations.place("share", share.address).id
    deliverer = Deliverer(
        ledger, share, place, [Rule("r", str(data), deliver=(Target("share", "{name}"),))], "pc", Metrics(),
        lambda: None, lambda: None,
    )  # fmt: skip
    for name in ("one/scan", "two/scan"):
        (data / name).parent.mkdir()
        (data / name).write_bytes(b"frame")
        _seal(ledger, place, data / name)
    (data / "two/scan").write_bytes(b"frame")
    deliverer.start(NOW)
    ledger.writes, ledger.fails_at = 0, fails_at
    now = NOW
    for _ in range(600):
        try:
            deliverer.step(now)
        except LedgerError:
            now += 1.0
        held = sorted(one.id for submission in deliverer.submissions for one in submission.deliveries)
        due = [number for (number,) in ledger.execute("SELECT id FROM deliveries WHERE again IS NOT NULL ORDER BY id")]
        open_ = [
            number
            for (number,) in ledger.execute("SELECT id FROM deliveries WHERE state NOT IN ('verified', 'refused')")
        ]
        assert sorted(held + due) == open_, f"write {fails_at}"
        if not open_ and not deliverer.down:
            break
        if deliverer.submissions:  # what a thread of the share writes now takes as long as the machine lets it
            woken.wait(0.05)
            woken.clear()
        now += 0.5
    found = {
        "deliveries": ledger.reports.deliveries(),
        "identity": ledger.destinations.identity("share", share.address) is not None,
        "up": not deliverer.down and ledger.reports.destinations()[0][2],
    }
    writes = ledger.writes
    ledger.close()
    return writes, found


def _seal(ledger: Ledger, place: int, path: Path, *others: int) -> None:
    with ledger.transaction():
        batch = ledger.batches.opened("r", str(path), NOW)
        number = ledger.files.directory(str(path.parent))
        seen = observation(os.lstat(path), VolumeId(0))
        ledger.files.found([Found(number, str(path), "r", seen, 1, NOW, NOW)])
        ledger.files.completed([(ledger.files.history(str(path))[-1], batch, "quiet")], NOW)
        ledger.batches.joined(batch, OpenBatch("key", 1, 5, NOW, NOW))
        ledger.batches.sealed([Sealed(batch, "r", "full", [place, *others])], NOW)


def test_one_write_that_fails_costs_a_pass_and_nothing_else(tmp_path: Path) -> None:
    """At each write in turn: what is owed stays owned, the destination's identity is known, and it is up in the end."""
    fails_at, writes = 0, 1
    while fails_at <= writes:
        root = tmp_path / str(fails_at)
        (root / "share").mkdir(parents=True)
        woken = threading.Event()
        share = Share("share", str(root / "share"), "checksum", "sha256", "a1b2c3d4e5f6", woken.set)
        writes, found = _delivered(root, share, woken, fails_at)
        share.close()
        assert found["identity"], f"write {fails_at}"
        assert found["up"], f"write {fails_at}"
        assert {state for _, state, _ in found["deliveries"]} <= {"verified", "refused"}, f"write {fails_at}"  # type: ignore[attr-defined]
        fails_at += 1
    assert fails_at > 10


@pytest.mark.parametrize("destinations", [1, 2])
def test_what_was_removed_while_it_was_copied_keeps_its_proof(tmp_path: Path, share: Share, destinations: int) -> None:
    """Its copy is proved, and may be the only one: it is removed where every destination has it, else it vanished."""
    (tmp_path / "ring").write_bytes(b"frame")
    path, ledger = str(tmp_path / "ring"), Ledger(str(tmp_path / "ledger.sqlite"))
    places = [ledger.destinations.place(name, f"/{name}").id for name in ("share", "other")[:destinations]]
    _seal(ledger, places[0], tmp_path / "ring", *places[1:])
    with ledger.transaction():
        (delivery,) = ledger.deliveries.due(places[0], NOW, 10)
        (file,) = ledger.files.history(path)
        ledger.deliveries.planned(places[0], [(file.id, "ring")])
        ledger.files.vanished([(file.id, "r", path, "it went away before it was delivered")], NOW)
        item = Item(file.id, str(tmp_path), "ring", file.version, "ring")
        submission = Submission([delivery], {file.id: InFlightFile(file, item, "ring", delivery.id)})
        told = [(submission, [Arrived(file.id, Content(b"sum", 5), "sha256", adopted=False)])]
        assert not Outcomes(ledger, share, places[0], {}).apply(told, NOW)
    (file,) = ledger.files.history(path)
    reason = "removed by somebody else while it was copied"
    hint = "`dropline fetch` brings it back from share, then `dropline send --to other`"
    assert (file.state, file.reason) == (
        (State.REMOVED, f"{reason}; its copy is whole")
        if destinations == 1
        else (State.VANISHED, f"{reason}; its copy at share is whole, and it is not proved at other: {hint}")
    )
    assert ledger.execute("SELECT count(*) FROM copies WHERE proved_at IS NOT NULL").fetchone() == (1,)
    assert submission.open == set()
    ledger.close()


def test_what_goes_away_after_one_of_two_destinations_had_it(tmp_path: Path) -> None:
    """The reason names the destination that has the copy, and the one that has none."""
    (tmp_path / "ring").write_bytes(b"frame")
    path, ledger = str(tmp_path / "ring"), Ledger(str(tmp_path / "ledger.sqlite"))
    places = [ledger.destinations.place(name, f"/{name}").id for name in ("share", "other")]
    _seal(ledger, places[0], tmp_path / "ring", *places[1:])
    missing = MissingFiles(ledger)
    with ledger.transaction():
        (file,) = ledger.files.history(path)
        ledger.deliveries.planned(places[0], [(file.id, "ring")])
        ledger.deliveries.proved(
            places[0], "share", [Proof(file, "ring", Content(b"sum", 5), "sha256", "accepted")], NOW
        )
        missing.gone(path, ledger.files.known(str(tmp_path))["ring"], VolumeId(0), NOW)
    (file,) = ledger.files.history(path)
    assert (file.state, file.reason) == (
        State.VANISHED,
        "it went away before every destination had it; its copy at share is whole, and it is not proved at other:"
        " `dropline fetch` brings it back from share, then `dropline send --to other`",
    )
    ledger.close()


def test_many_files_of_one_name_get_a_name_each_with_few_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody makes sixty folders with a file of the same name, and the rule puts them into one: two attempts for each."""
    flat = {"name": "flat", "deliver": [{"to": "share", "path": "{name}"}]}
    with Site(tmp_path / "site", monkeypatch, [flat]) as site:
        for number in range(60):
            site.put(f"flat/{number}/scan.h5", content=b"%d" % number)
        site.take_in(T0)
        site.passes(site.parts.take_in, T0 + 1, 20)
        site.deliver(T0 + 2)
        assert sorted(site.copies.values()) == sorted(b"%d" % number for number in range(60))
        assert all(state.startswith("verified") for state in site.files.values())
        (attempts,) = site.ledger.execute("SELECT max(id) FROM submissions").fetchone()
        assert attempts <= 3 * 60
