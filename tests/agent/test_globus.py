"""The deliverer and the Globus transport against the stand-in service: whatever goes wrong, each file arrives, once.

Time passes only as the tests say: `now` is handed to the deliverer, and the session waits by moving it on.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.delivery.deliverer import Deliverer
from agent.destinations.globus import MARK, GlobusTransport
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.login import Account
from agent.destinations.globus.session import Session
from agent.files import Trouble, What
from agent.files.posix.observing import observation
from agent.files.reader import Sources, Unreadable
from agent.ledger import DeliveryState, Found, Ledger, Sealed, State
from rules.model import OpenBatch, VolumeId
from rules.rule import Rule, Target
from tests.globus import Globus, faults

HOUR = 3600.0
SUBMIT = "POST /v0.10/transfer"


@dataclass
class Counts:
    """What was counted."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    resent: list[str] = field(default_factory=list)

    def requested(self, destination: str, operation: str, outcome: str) -> None:
        self.requests[operation, outcome] += 1

    def resubmitted(self, destination: str, result: str) -> None:
        self.resent.append(result)


class Rig:
    """A watched directory, a ledger, and a deliverer to a collection."""

    def __init__(self, service: Globus, root: Path) -> None:
        self.service, self.root, self.now = service, root, 2_000_000_000.0
        self.data, self.share = root / "data", root / "share"
        self.source = service.collection("Instrument", self.data)
        self.campus = service.collection("Campus", self.share)
        self.ledger = Ledger(str(root / "ledger.sqlite"))
        self.options: dict[str, Any] = {}
        self.path = "{relpath}"
        self.log: list[str] = []
        self.start()

    def start(self) -> None:
        """An agent begins: nothing is remembered but what the ledger has."""
        self.counts = Counts()
        account = Account(self.service.account.id, self.root / "tokens", self.service.account.secret)
        self.session = Session(account, clock=lambda: self.now, sleep=self.wait)
        collection_path = CollectionPath(self.source.id, str(self.data), "/", self.campus.id, "/", **self.options)
        self.transport = GlobusTransport(
            "campus", collection_path, self.session, "a1b2c3d4e5f6", 6,
            lambda operation, outcome: self.counts.requested("campus", operation, outcome),
            chance=lambda: 0.0, clock=lambda: self.now,
        )  # fmt: skip
        self.place = self.ledger.destinations.place("campus", self.transport.address, in_place=True).id
        rule = Rule("r", str(self.data), deliver=(Target("campus", self.path),))
        self.deliverer = Deliverer(
            self.ledger,
            self.transport,
            self.place,
            [rule],
            "pc",
            self.counts,
            lambda: None,
            lambda: None,
            random=lambda: 0.0,
        )
        self.deliverer.start(self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def put(self, name: str, content: bytes) -> Path:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def seal(self, *names: str) -> None:
        """The files, as they are now, become a batch."""
        files = []
        with self.ledger.transaction():
            batch = self.ledger.batches.opened("r", "key", self.now)
            for name in names:
                path = self.data / name
                directory, leaf = os.path.split(str(path))
                known = self.ledger.files.known(directory, [leaf]).get(leaf)
                if known is not None and known.state in (State.CANDIDATE, State.BATCHED, State.VERIFIED):
                    self.ledger.files.superseded([(known.id, "r", str(path), "newer")], self.now)
                seen = observation(os.lstat(path), VolumeId(0))
                generation = 1 if known is None else known.generation + 1
                number = self.ledger.files.directory(directory)
                another = known is not None and known.version.file_id != seen.version.file_id
                found = Found(number, str(path), "r", seen, generation, self.now, self.now, rewritten=another)
                self.ledger.files.found([found])
                files.append(self.ledger.files.history(str(path))[-1])
            self.ledger.files.completed([(file, batch, "quiet") for file in files], self.now)
            size = sum(file.version.size for file in files)
            self.ledger.batches.joined(batch, OpenBatch("key", len(files), size, self.now, self.now))
            self.ledger.batches.sealed([Sealed(batch, "r", "full", [self.place])], self.now)

    def batch(self, **files: bytes) -> None:
        """Write these files and seal them."""
        for name, content in files.items():
            self.put(name, content)
        self.seal(*files)

    def step(self, *, work: bool = True) -> None:
        """One pass, then time goes on to the next one that the deliverer asked for."""
        again = self.deliverer.step(self.now)
        self.owned_once()
        if work:
            self.service.work()
        self.now = max(self.now + 0.01, min(again or self.now + 5.0, self.now + 60.0))

    def owned_once(self) -> None:
        """The law of the deliverer: what has not ended is due in the ledger, or in one submission, never both."""
        held = [one for submission in self.deliverer.submissions for one in submission.deliveries]
        due = [number for (number,) in self.ledger.execute("SELECT id FROM deliveries WHERE again IS NOT NULL")]
        sql = "SELECT id FROM deliveries WHERE state NOT IN (?, ?, ?, ?)"
        ended = DeliveryState.VERIFIED, DeliveryState.REFUSED, DeliveryState.SKIPPED, DeliveryState.UNDECIDED
        assert sorted([one.id for one in held] + due) == [number for (number,) in self.ledger.execute(sql, ended)]

    def run(self, until: Callable[[], object], passes: int = 600) -> None:
        """Passes until something is true."""
        for _ in range(passes):
            self.step()
            if until():
                return
        raise AssertionError(f"it never came: {self.states()}, {self.reasons()}, {self.destination()}")

    def deliver(self) -> None:
        """Passes until every file has its verdict."""
        self.run(lambda: not any(state in ("batched", "complete") for state in self.states().values()))

    def states(self) -> dict[str, str]:
        """Present state of each file."""
        every = self.ledger.reports.files(list(State), 10_000)
        found: dict[str, str] = {}
        for file in sorted(every, key=lambda one: one.id):
            found[os.path.relpath(file.path, self.data)] = file.state.value
        return found

    def reason(self, name: str) -> str:
        return self.ledger.files.history(str(self.data / name))[-1].reason or ""

    def reasons(self) -> list[str]:
        """Why deliveries wait."""
        return [one["reason"] or "" for line in self.ledger.reports.batches(100) for one in line.deliveries]

    def destination(self) -> tuple[bool | None, str | None]:
        (line,) = self.ledger.reports.destinations()
        return line[2], line[3]

    def evidence(self, name: str) -> list[str]:
        """Algorithms of the evidence of the present version."""
        file = self.ledger.files.history(str(self.data / name))[-1]
        return [one.algorithm for one, _, _ in self.ledger.deliveries.evidence(file.id)]

    @property
    def there(self) -> dict[str, bytes]:
        """What is at the collection."""
        return {
            str(path.relative_to(self.share)): path.read_bytes() for path in self.share.rglob("*") if path.is_file()
        }

    @property
    def tasks(self) -> int:
        """Tasks that the service accepted."""
        return len(self.service.tasks.all)

    def close(self) -> None:
        self.transport.close()
        self.ledger.close()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A deliverer to a collection of the stand-in."""
    with Globus() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        made = Rig(service, tmp_path)
        yield made
        made.close()


def test_a_batch_is_one_task_with_evidence_by_checksum(rig: Rig) -> None:
    """Every file arrives by one task, with its md5 as the service tells it, and the task's name beside it."""
    rig.batch(a=b"one", b=b"two", c=b"")
    rig.deliver()
    assert rig.states() == dict.fromkeys("abc", "verified")
    assert rig.there == {"a": b"one", "b": b"two", "c": b""}
    assert {name: rig.evidence(name) for name in "abc"} == {name: ["md5"] for name in "abc"}
    assert rig.tasks == 1
    (copy,) = rig.ledger.reports.copies_of(rig.ledger.files.history(str(rig.data / "a"))[-1].id)
    assert copy["task"] in rig.service.tasks.all
    assert rig.counts.requests["submit", "ok"] == 1
    assert len(rig.ledger.deliveries.due(rig.place, rig.now + 1e9, 9)) == 0


def test_a_lost_answer_makes_no_second_task(rig: Rig) -> None:
    """The service accepted, the answer was lost: the same request is sent again, and is a duplicate."""
    rig.batch(a=b"one")
    rig.service.faults.lose_reply(SUBMIT, 2)
    rig.deliver()
    assert (rig.states(), rig.tasks, rig.counts.resent) == ({"a": "verified"}, 1, ["duplicate"])


def test_what_is_due_of_a_rule_makes_one_task(rig: Rig) -> None:
    """Twelve batches, one task; each delivery has its evidence from it."""
    for number in range(12):
        rig.batch(**{f"night/{number}": b"one"})
    rig.deliver()
    assert (set(rig.states().values()), rig.tasks) == ({"verified"}, 1)
    (task,) = rig.service.tasks.all
    lines = rig.ledger.reports.batches(100)
    assert [(one["state"], one["task"]) for line in lines for one in line.deliveries] == [("verified", task)] * 12


def test_deliveries_of_one_task_end_one_by_one(rig: Rig) -> None:
    """One batch's file never arrives, and another's is refused: these two wait, the others are verified with the task."""
    for name in "abcd":
        rig.batch(**{name: b"one"})
    rig.service.faults.omit("*/b", 1)
    rig.service.faults.before(SUBMIT, lambda: rig.put("c", b"another one"))
    rig.run(lambda: "verified" in rig.states().values())
    assert {name: rig.states()[name] for name in "abd"} == {"a": "verified", "b": "batched", "d": "verified"}
    rig.deliver()
    assert (rig.states()["b"], rig.there["b"]) == ("verified", b"one")
    assert (rig.states()["c"], rig.evidence("c")) == ("candidate", [])


@pytest.mark.parametrize("crash", ["before it is sent", "before the answer is written", "while it runs"])
def test_one_accepted_task_for_each_submission_whenever_it_crashes(rig: Rig, crash: str) -> None:
    """The next run sends the very same request for all of its deliveries, or finds its task; what came since goes apart."""
    submit = rig.transport.submit

    def killed(*request: Any) -> Any:
        if crash == "before the answer is written":
            submit(*request)
        raise KeyboardInterrupt

    for name in "abc":
        rig.batch(**{name: b"one"})
    if crash != "while it runs":
        rig.transport.submit = killed  # type: ignore[method-assign]
    with suppress(KeyboardInterrupt):
        rig.run(lambda: rig.tasks)
    rig.start()
    rig.batch(later=b"two")
    rig.deliver()
    assert (rig.states(), rig.tasks) == (dict.fromkeys(["a", "b", "c", "later"], "verified"), 2)
    assert sorted(len(task.order.items) for task in rig.service.tasks.all.values()) == [1, 3]


def test_one_batch_that_the_service_refuses_does_not_hold_the_others(rig: Rig) -> None:
    """It answers 400 to any request with that path: the other batches go without it."""
    for name in ("bad", *"abcde"):
        rig.batch(**{name: b"one"})
    submit = rig.transport.submit

    def picky(request: bytes, items: Any, *others: Any) -> Any:
        if any(item.path == "bad" for item in items):
            return rig.transport._never_sent(f"refused at {rig.now}", "Globus does not take it")
        return submit(request, items, *others)

    rig.transport.submit = picky  # type: ignore[method-assign]
    rig.run(lambda: list(rig.states().values()).count("verified") == 5)
    assert rig.states()["bad"] == "batched"


def test_one_file_that_cannot_be_read_now_does_not_hold_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount inside the watched folder is stale: what lies elsewhere goes."""
    for name in ("stale", *"abc"):
        rig.batch(**{name: b"one"})
    opened = Sources.opened

    def stale(self: Sources, root: str, relpath: str, version: Any) -> Any:
        if relpath == "stale":
            raise Unreadable(Trouble(What.STALE, "Stale file handle"), "wait")
        return opened(self, root, relpath, version)

    with monkeypatch.context() as patch:
        patch.setattr(Sources, "opened", stale)
        rig.run(lambda: list(rig.states().values()).count("verified") == 3)
    assert rig.states()["stale"] == "batched"
    rig.deliver()
    assert set(rig.states().values()) == {"verified"}


def test_a_new_run_takes_up_the_task(rig: Rig) -> None:
    """An agent that starts while a task runs watches that one; it sends nothing."""
    rig.batch(a=b"one")
    rig.run(lambda: rig.tasks)
    rig.start()
    rig.deliver()
    assert (rig.states(), rig.tasks, rig.counts.resent) == ({"a": "verified"}, 1, ["adopted"])
    assert rig.counts.requests["submit", "ok"] == 0


@pytest.mark.parametrize(
    "reply",
    [
        faults.internal_error(), faults.endpoint_error(), faults.unavailable(), faults.unavailable(30), faults.rate_limited(),
        faults.malformed(), faults.page(), faults.page(502), faults.error(504, "GatewayTimeout"), faults.content([]),
        faults.content({}), faults.content(None), faults.content({"DATA": [{}]}),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "route", [SUBMIT, "GET */submission_id", "GET */task_list", "GET */ls", "GET */successful_transfers", "GET */stat"]
)
def test_a_service_that_stumbles_costs_time_only(rig: Rig, route: str, reply: Any) -> None:
    """Errors, half documents, HTML and wrong JSON, at every question: the file arrives by one task all the same."""
    rig.batch(a=b"one")
    rig.service.faults.answer(route, reply, 2)
    rig.deliver()
    assert (rig.states(), rig.there, rig.tasks) == ({"a": "verified"}, {"a": b"one"}, 1)


@pytest.mark.parametrize("route", [SUBMIT, "GET */task_list", "GET */ls", "GET */submission_id"])
def test_retry_after_is_honoured_in_full(rig: Rig, route: str) -> None:
    """Where the service says 120 seconds, nothing at all is asked for 120 seconds."""
    rig.batch(a=b"one")
    asked: list[float] = []
    rig.service.faults.before("*", lambda: asked.append(rig.now), None)
    rig.service.faults.clear()
    rig.service.faults.answer(route, faults.rate_limited(120), 1)
    refused_at = 0.0
    for _ in range(400):
        before, count = rig.now, rig.service.count()
        rig.step()
        seen = rig.service.asked()[count:]
        if any(one.status == 429 for one in seen):
            refused_at = before
        elif refused_at and seen:
            assert before - refused_at >= 119.0
        if rig.states() == {"a": "verified"}:
            break
    assert refused_at
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)


def test_six_hours_without_the_service(rig: Rig) -> None:
    """Refused connections for six hours: the backlog stays in the ledger, few attempts are made, and all arrives."""
    rig.batch(a=b"one")
    rig.run(lambda: rig.tasks)
    rig.batch(b=b"two")
    rig.service.down()
    began, looks = rig.now, 0
    while rig.now < began + 6 * HOUR:
        rig.step()
        looks += 1
    up, why = rig.destination()
    assert up is False
    assert why is not None
    assert why.startswith("Globus cannot be reached: ")
    assert rig.counts.requests["check", "failed"] < 60
    rig.service.up()
    rig.deliver()
    assert (rig.states(), rig.there, rig.tasks) == ({"a": "verified", "b": "verified"}, {"a": b"one", "b": b"two"}, 2)


@pytest.mark.parametrize("end", ["failed", "cancelled", "suspended", "expired"])
def test_a_task_that_does_not_end_well_goes_again(rig: Rig, end: str) -> None:
    """FAILED, cancelled by an administrator, INACTIVE, out of time: the reason is told, and the files go again."""
    rig.batch(a=b"one", b=b"two")
    rig.service.faults.hold("*/b")
    rig.run(lambda: rig.tasks)
    (task,) = rig.service.tasks.all
    match end:
        case "failed":
            rig.service.tasks.fail(task, "ENDPOINT_ERROR")
        case "cancelled":
            rig.service.tasks.cancel_as_admin(task, "no transfers today")
        case "suspended":
            rig.service.tasks.suspend(task)
        case "expired":
            rig.service.clock.advance(40 * 86400)
    rig.run(lambda: any("go again" in reason for reason in rig.reasons()))
    said = {
        "failed": "endpoint error", "cancelled": "cancelled by the administrator of a collection: no transfers today",
        "suspended": "suspended", "expired": "time was over",
    }  # fmt: skip
    assert said[end] in rig.reasons()[0]
    rig.service.faults.clear()
    rig.deliver()
    assert rig.states() == {"a": "verified", "b": "verified"}
    assert rig.there == {"a": b"one", "b": b"two"}
    assert rig.tasks == 2


def test_a_paused_collection_is_waited_for_and_told_of(rig: Rig) -> None:
    """What holds a task up is a sentence with the administrator's words, and goes away with its cause."""
    rig.batch(a=b"one")
    rig.service.faults.hold("*")
    rig.run(lambda: rig.tasks)
    rig.campus.paused = "the tape robot is ill"
    rig.service.faults.clear()
    rig.run(lambda: "paused" in rig.reasons()[0])
    assert "the tape robot is ill" in rig.reasons()[0]
    assert rig.ledger.reports.held_up() == [("campus", rig.reasons()[0], 1)]
    rig.campus.paused = None
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)


def test_a_disconnected_computer_is_told_of(rig: Rig) -> None:
    """Globus Connect Personal that is not running holds the task up; once it runs, the same task ends."""
    rig.batch(a=b"one")
    rig.service.faults.hold("*")
    rig.run(lambda: rig.tasks)
    rig.source.connected = False
    rig.service.faults.clear()
    rig.run(lambda: "Globus Connect Personal" in rig.reasons()[0])
    rig.source.connected = True
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)


@pytest.mark.parametrize("code", ["QUOTA_EXCEEDED", "NO_SPACE_LEFT"])
def test_a_full_destination_is_told_of(rig: Rig, code: str) -> None:
    """The task waits at the service; a person reads why."""
    rig.batch(a=b"one")
    rig.service.faults.file("*/a", code)
    rig.run(lambda: "make room" in rig.reasons()[0])
    rig.service.faults.clear()
    rig.deliver()
    assert rig.states() == {"a": "verified"}


def test_a_file_that_the_service_forgot_goes_again(rig: Rig) -> None:
    """A task that succeeds without a file, and tells nothing of it, proves nothing for that file."""
    rig.batch(a=b"one", b=b"two")
    rig.service.faults.omit("*/b", 1)
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified", "b": "verified"}, 2)
    assert rig.there == {"a": b"one", "b": b"two"}


def test_a_checksum_that_was_wrong_once(rig: Rig) -> None:
    """A copy that arrives damaged is found by the service and sent again; the evidence is of the whole one."""
    rig.batch(a=b"one")
    rig.service.faults.corrupt("*/a", 1)
    rig.deliver()
    assert (rig.states(), rig.there, rig.tasks) == ({"a": "verified"}, {"a": b"one"}, 1)


def test_a_source_that_the_collection_may_not_read_is_refused_alone(rig: Rig) -> None:
    """A file that is skipped because of an error is for a person; the others arrive."""
    rig.batch(a=b"one", b=b"two")
    rig.service.faults.file("*/b", "PERMISSION_DENIED")
    rig.deliver()
    assert rig.states() == {"a": "verified", "b": "refused"}
    assert "may not read it" in rig.reason("b")
    assert "dropline retry" in rig.reason("b")


def test_a_file_that_goes_away_does_not_hold_up_the_others(rig: Rig) -> None:
    """A source that is removed after submission: the others arrive, and it is a candidate again, not a day of retries."""
    rig.batch(a=b"one", b=b"two")
    rig.service.faults.before(SUBMIT, (rig.data / "b").unlink)
    rig.deliver()
    assert rig.states() == {"a": "verified", "b": "candidate"}
    assert rig.there == {"a": b"one"}


@pytest.mark.parametrize("code", ["FILE_NOT_FOUND", "FILE_SIZE_CHANGED", "VERIFY_CHECKSUM"])
def test_a_task_that_is_stuck_on_a_file_is_cancelled(rig: Rig, code: str) -> None:
    """A changed file keeps its task busy for a day: it is cancelled, and the good files go again without it."""
    rig.batch(a=b"one", b=b"two")
    rig.service.faults.hold("*/a")  # nothing of the first task arrives
    rig.run(lambda: rig.tasks)
    rig.put("b", b"something longer")
    rig.service.faults.twist("GET */task_list", lambda page: stuck(page, code), 3)
    rig.run(lambda: rig.service.count("POST", "*/cancel"))
    rig.service.faults.clear()
    rig.deliver()
    assert rig.states() == {"a": "verified", "b": "candidate"}
    assert rig.there["a"] == b"one"
    assert rig.tasks == 2


def stuck(page: dict[str, Any], code: str) -> dict[str, Any]:
    """Every task meets this error."""
    for one in page.get("DATA", []):
        one |= {"nice_status": code, "faults": 7, "is_ok": False}
    return page


def test_permission_denied_at_the_destination_concerns_that_file(rig: Rig) -> None:
    """A name that may not be written there is for a person; the task is cancelled, and the others go again."""
    theirs = rig.share / "theirs"
    theirs.mkdir()
    rig.put("theirs/b", b"two")
    rig.put("a", b"one")
    rig.seal("a", "theirs/b")
    rig.service.faults.file("/theirs/b", "IS_A_DIRECTORY")
    rig.deliver()
    assert rig.states() == {"a": "verified", "theirs/b": "refused"}
    assert "theirs/b" in rig.reason("theirs/b")


def test_a_file_that_changed_while_it_travelled_is_no_evidence(rig: Rig) -> None:
    """The task succeeded, but the file is not the version any more: it is a candidate again, and replaces its own copy."""
    rig.batch(a=b"one")
    rig.service.faults.before(SUBMIT, lambda: rig.put("a", b"another one"))
    rig.deliver()
    assert (rig.states(), rig.evidence("a")) == ({"a": "candidate"}, [])
    rig.seal("a")
    rig.deliver()
    assert (rig.states(), rig.there) == ({"a": "verified"}, {"a": b"another one"})


def test_a_file_that_was_deleted_after_it_travelled_is_proved(rig: Rig) -> None:
    """It went away between the transfer and the look: size and mtime of the copy say that it was the version."""
    rig.batch(a=b"one")
    rig.service.faults.before("GET */successful_transfers", (rig.data / "a").unlink)
    rig.deliver()
    assert (rig.states(), rig.evidence("a")) == ({"a": "verified"}, ["md5"])


def test_files_below_a_lost_root_wait_and_blame_nobody(rig: Rig) -> None:
    """Nothing is known of them: they are neither gone nor refused, and the destination stays up."""
    rig.batch(a=b"one")
    away = rig.data.rename(rig.data.with_name("unplugged"))
    rig.run(lambda: any("cannot be read" in reason for reason in rig.reasons()))
    assert (rig.states(), rig.tasks, rig.destination()[0]) == ({"a": "batched"}, 0, True)
    away.rename(rig.data)
    rig.deliver()
    assert (rig.states(), rig.evidence("a")) == ({"a": "verified"}, ["md5"])


def test_a_root_that_is_lost_after_the_files_travelled_leaves_what_is_proved(rig: Rig) -> None:
    """As with a file that went away: size and mtime of the copy say that it was the version. Others go again."""
    rig.batch(a=b"one", b=b"two")
    away = rig.data.with_name("unplugged")

    def lose() -> None:
        os.utime(rig.share / "b", (1, 1))
        rig.data.rename(away)

    rig.service.faults.before("GET */successful_transfers", lose)
    rig.run(lambda: rig.states()["a"] == "verified")
    assert (rig.states(), rig.evidence("a")) == ({"a": "verified", "b": "batched"}, ["md5"])
    away.rename(rig.data)
    rig.deliver()
    assert (rig.states(), rig.evidence("b")) == ({"a": "verified", "b": "verified"}, ["md5"])


def test_a_file_changed_in_place_replaces_its_own_copy(rig: Rig) -> None:
    """What the ledger knows as an earlier version of this file is overwritten."""
    rig.batch(a=b"one")
    rig.deliver()
    rig.batch(a=b"two, longer")
    rig.deliver()
    assert (rig.states(), rig.there) == ({"a": "verified"}, {"a": b"two, longer"})


def test_a_file_that_was_seen_smaller_is_another_measurement(rig: Rig) -> None:
    """Size and identity decide where nothing is read: the service renames the former copy before the name is written to."""
    rig.batch(a=b"one, whole")
    rig.deliver()
    rig.batch(a=b"two")
    rig.deliver()
    assert (rig.states(), rig.there) == ({"a": "verified"}, {"a": b"two", "a~1": b"one, whole"})
    copies = rig.ledger.execute("SELECT f.generation, c.path FROM copies c JOIN files f ON f.id = c.file ORDER BY 1")
    assert copies.fetchall() == [(1, b"a~1"), (2, b"a")]


def test_another_file_under_the_name_is_another_measurement(rig: Rig) -> None:
    """Whatever its size is: a program that saves by a rename over its file keeps the former copies."""
    rig.batch(a=b"one")
    rig.deliver()
    for content in (b"two, longer", b"six"):
        rig.put("new", content).rename(rig.data / "a")
        rig.seal("a")
        rig.deliver()
    assert (rig.states(), rig.there) == ({"a": "verified"}, {"a": b"six", "a~1": b"one", "a~2": b"two, longer"})
    copies = rig.ledger.execute("SELECT f.generation, c.path FROM copies c JOIN files f ON f.id = c.file ORDER BY 1")
    assert copies.fetchall() == [(1, b"a~1"), (2, b"a~2"), (3, b"a")]


def test_an_answer_that_is_lost_after_the_rename_loses_no_copy(rig: Rig) -> None:
    """The former copy stands aside, and the next attempt finds it there."""
    rig.batch(a=b"one, whole")
    rig.deliver()
    rig.service.faults.lose_reply("POST */rename")
    rig.batch(a=b"two")
    rig.deliver()
    assert (rig.states(), rig.there) == ({"a": "verified"}, {"a": b"two", "a~1": b"one, whole"})
    copies = rig.ledger.execute("SELECT f.generation, c.path FROM copies c JOIN files f ON f.id = c.file ORDER BY 1")
    assert copies.fetchall() == [(1, b"a~1"), (2, b"a")]


def test_the_same_size_and_mtime_are_not_taken_for_the_same_content(rig: Rig) -> None:
    """A file rewritten with its old mtime travels again: the ledger knows that what is there was another version."""
    path = rig.put("a", b"one")
    rig.seal("a")
    rig.deliver()
    mtime = path.stat().st_mtime_ns
    path.write_bytes(b"two")
    os.utime(path, ns=(mtime, mtime))
    rig.seal("a")
    rig.deliver()
    assert (rig.states(), rig.there, rig.evidence("a")) == ({"a": "verified"}, {"a": b"two"}, ["md5"])


def test_what_is_there_already_is_adopted_with_weaker_evidence(rig: Rig) -> None:
    """With an empty ledger nothing travels that is there with the same size and mtime."""
    path = rig.put("a", b"one")
    copy = rig.share / "a"
    copy.write_bytes(b"one")
    os.utime(copy, ns=(0, path.stat().st_mtime_ns))
    rig.seal("a")
    rig.deliver()
    assert (rig.states(), rig.evidence("a"), rig.tasks) == ({"a": "verified"}, ["stat"], 0)


def test_foreign_content_is_refused_and_untouched(rig: Rig) -> None:
    """Globus overwrites; the agent looks first."""
    (rig.share / "a").write_bytes(b"precious")
    rig.batch(a=b"one", b=b"two")
    rig.deliver()
    assert rig.states() == {"a": "refused", "b": "verified"}
    assert rig.there == {"a": b"precious", "b": b"two"}


def test_a_new_file_under_a_reclaimed_name_gets_its_own(rig: Rig) -> None:
    """What may be the only copy is not overwritten."""
    rig.batch(a=b"one")
    rig.deliver()
    file = rig.ledger.files.history(str(rig.data / "a"))[-1]
    with rig.ledger.transaction():
        rig.ledger.files.removed([(file.id, "r", file.path, "by somebody")], rig.now)
    (rig.data / "a").unlink()
    rig.batch(a=b"second")
    rig.deliver()
    assert rig.there == {"a": b"one", "a~2": b"second"}


def test_a_name_of_its_own_outlives_a_failed_attempt(rig: Rig) -> None:
    """Half a file that a failed task left under the own name is ours: the next attempt writes over it."""
    rig.batch(a=b"one")
    rig.deliver()
    file = rig.ledger.files.history(str(rig.data / "a"))[-1]
    with rig.ledger.transaction():
        rig.ledger.files.removed([(file.id, "r", file.path, "by somebody")], rig.now)
    (rig.data / "a").unlink()
    rig.service.faults.hold("*")
    rig.batch(a=b"the second")
    rig.run(lambda: "a~2" in rig.there)
    rig.service.tasks.fail(next(task for task, one in rig.service.tasks.all.items() if one.status == "ACTIVE"))
    rig.service.faults.clear()
    rig.deliver()
    assert (rig.states(), rig.there) == ({"a": "verified"}, {"a": b"one", "a~2": b"the second"})


def test_names_that_globus_cannot_carry_are_refused_alone(rig: Rig) -> None:
    """Line breaks and bytes that are no text stop their own file; spaces, quotes and letters of all kinds travel."""
    bad = ["line\nbreak", "cr\rname", os.fsdecode(b"\xff\xfe")]
    good = ["a b", "größe \N{MICROSCOPE}", "quote'\"", "back\\slash", "-rf", "e\u0301", "per%20cent", "#?&=+,;:~*[]{}"]
    for name in bad + good:
        rig.put(name, b"x")
    rig.seal(*bad, *good)
    rig.deliver()
    assert rig.states() == dict.fromkeys(bad, "refused") | dict.fromkeys(good, "verified")
    assert rig.there == dict.fromkeys(good, b"x")
    assert rig.tasks == 1


def test_without_its_mark_a_destination_is_down(rig: Rig) -> None:
    """Nothing is written where the mark is absent; work goes on when it is back."""
    rig.run(lambda: rig.destination()[0])
    (mark,) = (path for path in rig.share.iterdir() if path.name.startswith(MARK))
    mark.rename(rig.root / "aside")
    rig.batch(a=b"one")
    rig.run(lambda: rig.destination()[0] is False)
    assert (rig.there, rig.tasks) == ({}, 0)
    (rig.root / "aside").rename(mark)
    rig.deliver()
    assert rig.states() == {"a": "verified"}


def test_another_task_with_the_same_paths_is_adopted_by_its_label(rig: Rig) -> None:
    """409, because a task of ours that the ledger knows nothing of still runs: it is found by its label, and watched."""
    rig.batch(a=b"one")
    rig.service.faults.hold("*")
    rig.run(lambda: rig.tasks)
    with rig.ledger.transaction():  # as if the ledger had been copied from before
        rig.ledger.execute("UPDATE deliveries SET state = 'pending', again = 0, submission = NULL")
    rig.start()
    rig.service.limits.overlap = "item"
    rig.run(lambda: rig.counts.requests["submit", "failed"])
    rig.service.faults.clear()
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)


def test_a_clash_with_a_stranger_is_waited_out(rig: Rig) -> None:
    """409 without a task of ours: only this delivery waits, with the reason."""
    rig.batch(a=b"one")
    rig.service.faults.answer(SUBMIT, faults.conflict(), 2)
    rig.run(lambda: rig.counts.requests["submit", "failed"])
    assert rig.destination()[0] is True
    assert "identical paths" in rig.reasons()[0]
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)


def test_a_request_that_the_service_rejects_is_made_anew(rig: Rig) -> None:
    """400: the next attempt has its own submission, and the destination stays up."""
    rig.batch(a=b"one")
    rig.service.faults.answer(SUBMIT, faults.error(400, "ClientError.BadRequest", "no such field"), 1)
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)
    assert rig.service.count("GET", "*/submission_id") == 2


@pytest.mark.parametrize("code", ["EndpointPermissionDenied", "PermissionDenied"])
def test_a_collection_that_may_not_be_used_refuses_the_destination(rig: Rig, code: str) -> None:
    """A person must act; once somebody has, work resumes by itself."""
    rig.batch(a=b"one")
    rig.service.faults.answer("GET */ls", faults.error(403, code, "Path not allowed"), None)
    rig.run(rig.ledger.reports.refusing)
    assert "ask for access" in (rig.destination()[1] or "")
    rig.service.faults.clear()
    rig.deliver()
    assert (rig.states(), rig.ledger.reports.refusing()) == ({"a": "verified"}, [])


def test_a_token_that_expires_is_renewed(rig: Rig) -> None:
    """Nobody notices."""
    rig.batch(a=b"one")
    rig.deliver()
    rig.service.clock.advance(10 * 86400)
    rig.batch(b=b"two")
    rig.deliver()
    assert rig.states() == {"a": "verified", "b": "verified"}


def test_a_service_account_consents_by_itself(rig: Rig) -> None:
    """A mapped collection wants its own consent: the account asks for a token with it."""
    rig.campus.entity_type = "GCSv5_mapped_collection"
    rig.batch(a=b"one")
    rig.deliver()
    assert rig.states() == {"a": "verified"}


@pytest.mark.parametrize("route", [SUBMIT, "GET */ls", "GET */task_list"])
def test_one_unauthorized_answer_is_nothing(rig: Rig, route: str) -> None:
    """401 once: the token is renewed, and the request sent again."""
    rig.batch(a=b"one")
    rig.service.faults.answer(route, faults.unauthorized(), 1)
    rig.deliver()
    assert (rig.states(), rig.tasks, rig.ledger.reports.refusing()) == ({"a": "verified"}, 1, [])


def test_a_login_that_is_refused_is_not_tried_all_the_time(rig: Rig) -> None:
    """401 for good: refused with the command, asked again seldom, and resumed by itself."""
    rig.batch(a=b"one")
    rig.service.faults.answer("GET /v0.10/*", faults.unauthorized(), None)
    rig.run(rig.ledger.reports.refusing)
    assert (rig.destination()[1] or "").endswith("; run `dropline login`")
    before, began = rig.service.count(), rig.now
    while rig.now < began + HOUR:
        rig.step()
    assert rig.service.count() - before < 30
    rig.service.faults.clear()
    rig.deliver()
    assert rig.states() == {"a": "verified"}


def test_a_wrong_secret_refuses_and_is_not_told(rig: Rig) -> None:
    """The reason names what to check; the secret is in no reason, log line or ledger."""
    rig.service.auth.directory.account(rig.service.account.id, "changed at the service")
    rig.start()
    rig.batch(a=b"one")
    rig.run(rig.ledger.reports.refusing)
    why = rig.destination()[1] or ""
    assert "check client_id and client_secret" in why
    dump = "\n".join(rig.ledger._db.iterdump())
    assert str(rig.service.account.secret) not in why + dump
    assert "not-so-secret" not in repr(rig.session.account)


def test_the_cost_of_looking_does_not_grow_with_the_files(rig: Rig) -> None:
    """Ten times the files, the same requests."""
    rig.batch(first=b"")
    rig.deliver()
    counts = []
    for size in (5, 50):
        names = [f"{size}/{number}" for number in range(size)]
        for name in names:
            rig.put(name, b"x")
        rig.seal(*names)
        rig.counts.requests.clear()
        rig.deliver()
        counts.append({key: count for (key, _), count in rig.counts.requests.items() if key not in ("ls", "check")})
    assert counts[0] == counts[1]
    assert rig.counts.requests["ls", "ok"] <= 4


def test_a_backlog_grows_in_the_ledger(rig: Rig) -> None:
    """Not more tasks than configured are at the service at a time; what waited for room shares the next one."""
    rig.service.faults.hold("*")
    rig.step()
    for number in range(12):
        rig.put(f"{number}", b"x")
        rig.seal(f"{number}")
        if number < 6:
            rig.step()
    for _ in range(20):
        rig.step()
    assert rig.tasks == 6
    rig.service.faults.clear()
    rig.deliver()
    assert (set(rig.states().values()), rig.tasks) == ({"verified"}, 7)


def test_two_files_that_want_one_name_do_not_meet(rig: Rig) -> None:
    """Two batches under way to one name would spoil it: the second waits, and gets a name beside the first."""
    rig.path = "{name}"
    rig.start()
    rig.put("one/scan", b"one")
    rig.put("two/scan", b"two, longer")
    rig.seal("one/scan")
    rig.seal("two/scan")
    rig.deliver()
    assert rig.states() == {"one/scan": "verified", "two/scan": "verified"}
    assert rig.there == {"scan": b"one", "scan~2": b"two, longer"}


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_our_own_checksum_is_compared_by_the_service(rig: Rig, algorithm: str) -> None:
    """With `checksum` the agent reads each file once, and the evidence is what the service found equal."""
    rig.options = {"checksum": algorithm}
    rig.start()
    rig.batch(a=b"one")
    rig.deliver()
    assert (rig.states(), rig.evidence("a")) == ({"a": "verified"}, [algorithm])


def test_without_verification_the_evidence_is_weaker(rig: Rig) -> None:
    """verify_checksum = false: the service tells no checksum, so size and mtime are all there is."""
    rig.options = {"verify_checksum": False}
    rig.start()
    rig.batch(a=b"one")
    rig.deliver()
    assert (rig.states(), rig.evidence("a")) == ({"a": "verified"}, ["stat"])


def _asked_while_it_runs(rig: Rig, name: str, files: int) -> int:
    """Questions during ten minutes of one task of so many files."""
    names = [f"{name}/{number}" for number in range(files)]
    for one in names:
        rig.put(one, b"x")
    tasks = rig.tasks
    rig.seal(*names)
    while rig.tasks == tasks:
        rig.step(work=False)
    assert rig.tasks == tasks + 1
    before, until = rig.service.count("GET", "*/task*"), rig.now + 600.0
    while rig.now < until:
        rig.step(work=False)
    asked = rig.service.count("GET", "*/task*") - before
    rig.deliver()
    return asked


def test_polling_costs_the_same_however_many_files_a_task_has(rig: Rig) -> None:
    """One file or 2,000: as many questions after the task, and none after single files."""
    rig.batch(first=b"x")
    rig.deliver()
    polls = [_asked_while_it_runs(rig, name, files) for name, files in (("a", 1), ("b", 100), ("c", 2_000))]
    assert polls == polls[:1] * 3
    assert 3 <= polls[0] <= 600 / 9  # one in ten seconds at the most, and some more at the beginning
    assert rig.service.count("GET", "*/task/*/event_list") == 0


def test_requests_grow_with_tasks_and_folders_alone(rig: Rig) -> None:
    """5,000 files in ten folders: a task for each 2,000, with the requests that docs/GLOBUS.md counts, and one poll for all."""
    folders = [[f"f{folder}/{number}" for number in range(500)] for folder in range(10)]
    rig.batch(first=b"x")
    rig.deliver()
    before, tasks = len(rig.service.requests), rig.tasks
    for names in folders:
        for name in names:
            rig.put(name, b"x")
        rig.seal(*names)
    rig.deliver()
    assert rig.tasks == tasks + 3
    assert set(rig.states().values()) == {"verified"}
    asked = Counter(re.sub("/[0-9a-f-]{36}", "", one.path).rpartition("/")[2] for one in rig.service.requests[before:])
    polls = asked.pop("task_list")
    assert asked == {
        "ls": 10,
        "stat": 3,
        "submission_id": 3,
        "my_effective_pause_rule_list": 6,
        "transfer": 3,
        "successful_transfers": 5,
    }
    assert polls <= 20
