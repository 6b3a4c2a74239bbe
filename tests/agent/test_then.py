"""The outbox: written with the truth, done at least once, retried, given up only by a person. Real servers and programs."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from agent.actions import Dispatcher, queues
from agent.actions.command import Runner
from agent.actions.globus import Services
from agent.actions.webhook import deliver, post
from agent.delivery.actions import enqueue
from agent.destinations.globus.login import Account
from agent.destinations.globus.session import Session
from agent.errors import Transient
from agent.ledger import Delivery, File, Found, Ledger, Proof, Queued, Sealed
from rules.actions import Action, Command, Flow, Share, Webhook, label
from rules.model import Content, Observation, OpenBatch, Version
from rules.rule import Rule, Target
from tests.globus import Globus, faults
from tests.receiver import Receiver

PATIENCE = 20.0
START = 2_000_000_000.0
CAMPUS = "11111111-2222-3333-4444-555555555555"


class Undone(Exception):
    """The transaction under way is to be undone."""


class Rig:
    """A ledger in which batches become verified, and the part that does what they ask for."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, START
        self.ledger = Ledger(str(root / "ledger.sqlite"))
        self.addresses = {"share": "/mnt/share"}
        self.rules: list[Rule] = []
        self.runner = Runner()
        self.calls: dict[str, Callable[[Any, Queued], object]] = {"webhook": post, "command": self.runner.run}
        self.woken = threading.Event()
        self.dispatcher: Dispatcher | None = None

    def configure(self, *then: Action, share_with: Sequence[Action] = (), name: str = "r") -> None:
        """The rule does this; a new run begins."""
        targets = tuple(Target(to) for to in self.addresses)
        self.rules = [Rule(name, "/data", deliver=targets, then=then, share_with=tuple(share_with))]
        self.restart()

    def restart(self) -> None:
        """As after a kill: nothing but the ledger is left."""
        self.dispatcher = Dispatcher(self.ledger, queues(self.rules, self.calls), self.woken.set)
        self.dispatcher.start(self.now)

    def verify(self, *names: str, rule: str = "r", unproved: Sequence[str] = (), undo: str = "") -> int:
        """A batch of files arrives everywhere, but for some that were refused. Returns its number.

        `undo`: at this destination, the transaction that ends the delivery is undone: raises Undone.
        """
        places = {
            to: self.ledger.destinations.place(to, address, in_place=":" in address).id
            for to, address in self.addresses.items()
        }
        files = [self._found(name, rule) for name in names]
        with self.ledger.transaction():
            batch = self.ledger.batches.opened(rule, "run1", self.now)
            self.ledger.files.completed([(file, batch, "quiet") for file in files], self.now)
            self.ledger.batches.joined(batch, OpenBatch("run1", len(files), 7 * len(files), self.now, self.now))
            self.ledger.batches.sealed([Sealed(batch, rule, "full", list(places.values()))], self.now)
            self.ledger.files.refused([(one.id, rule, one.path, "no") for one in files if one.path[6:] in unproved])
        for to in self.addresses:
            delivery = self.arrive(to)
            with self.ledger.transaction():
                self._finish(delivery)
                if to == undo:
                    raise Undone
        return batch

    def arrive(self, to: str) -> Delivery:
        """The files of the only batch that is due are proved at a destination."""
        place = self.ledger.destinations.place(to, self.addresses[to]).id
        (delivery,) = self.ledger.deliveries.due(place, self.now, 10)
        proved = [
            Proof(file, file.path[6:], Content(b"\xab", file.version.size), "sha256", "accepted")
            for file in self.ledger.deliveries.not_proved(delivery, place)
        ]
        with self.ledger.transaction():
            self.ledger.deliveries.planned(place, [(one.file.id, one.path) for one in proved])
            self.ledger.deliveries.proved(place, to, proved, self.now)
        return delivery

    def finish(self, delivery: Delivery) -> None:
        """As the deliverer does."""
        with self.ledger.transaction():
            self._finish(delivery)

    def _finish(self, delivery: Delivery) -> None:
        for number in self.ledger.deliveries.finished([delivery], self.now):
            enqueue(self.ledger, {one.name: one for one in self.rules}, number, "pc", self.now)

    def verified(self) -> list[float | None]:
        """When each batch was verified."""
        return [row[0] for row in self.ledger.execute("SELECT verified_at FROM batches ORDER BY id")]

    def _found(self, name: str, rule: str) -> File:
        path = f"/data/{name}"
        seen = Observation(Version(7, 10**18, 10**18, hash(name) & 0xFFFF), 1, "file")
        with self.ledger.transaction():
            directory = self.ledger.files.directory(os.path.dirname(path))
            self.ledger.files.found([Found(directory, path, rule, seen, 1, self.now, self.now)])
        return self.ledger.files.history(path)[-1]

    def step(self) -> float | None:
        """Passes until no call is under way; the time stands still. Returns when the next is due."""
        assert self.dispatcher is not None
        while True:
            self.woken.clear()
            again = self.dispatcher.step(self.now)
            if not self.dispatcher.waiting:
                return again
            assert self.woken.wait(PATIENCE)

    @property
    def names(self) -> list[str]:
        """Of the rule's actions, as the ledger knows them."""
        return list(self.rules[0].actions)

    def rows(self) -> list[tuple[str, int, float, str | None]]:
        """(action, attempts, seconds until the next, reason) of all that waits."""
        found = self.ledger.execute("SELECT name, attempt, again, reason FROM outbox ORDER BY id")
        return [(row[0], row[1], row[2] and row[2] - self.now, row[3]) for row in found]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A rig without rules."""
    made = Rig(tmp_path)
    yield made
    if made.dispatcher is not None:
        made.dispatcher.close()
    made.runner.close()
    made.ledger.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes webhooks."""
    with Receiver() as made:
        yield made


def script(root: Path, body: str) -> tuple[str, ...]:
    """A program, as a command line."""
    path = root / "program.py"
    path.write_text(f"import json, os, pathlib, sys, time\nroot = pathlib.Path({str(root)!r})\n{body}")
    return (sys.executable, "-P", str(path))


# What is written down, and when


def test_a_verified_batch_leaves_one_row_for_each_action_in_its_own_transaction(rig: Rig) -> None:
    """Undo the transaction that verifies the batch, and nothing is owed; commit it, and every action is, once."""
    rig.configure(Webhook("http://x"), Webhook("http://y"), Command(("true",)))
    rig.addresses["mirror"] = "/mnt/mirror"
    with pytest.raises(Undone):
        rig.verify("run1/a", "run1/b", undo="mirror")
    assert (rig.verified(), rig.rows()) == ([None], [])
    rig.finish(rig.arrive("mirror"))
    assert rig.verified() == [START]
    assert rig.rows() == [(name, 0, 0.0, None) for name in rig.names]


def test_a_batch_of_which_nothing_arrived_asks_for_nothing(rig: Rig) -> None:
    """What was refused is not told; what arrived beside it is."""
    rig.configure(Webhook("http://x"))
    rig.verify("run1/a", unproved=["run1/a"])
    assert rig.rows() == []
    rig.verify("run1/b", "run1/c", unproved=["run1/b"])
    (payload,) = rig.ledger.execute("SELECT payload FROM outbox").fetchone()
    assert [one["path"] for one in json.loads(payload)["data"]["items"]] == ["/data/run1/c"]


def test_a_rule_without_actions_owes_nothing(rig: Rig) -> None:
    """Another rule's actions are its own."""
    rig.configure(Webhook("http://x"), name="other")
    rig.verify("run1/a")
    assert rig.rows() == []


# Webhooks


def test_a_webhook_gets_a_cloudevent(rig: Rig, receiver: Receiver) -> None:
    """The whole event: ids, destinations, files with checksums; and the row is over."""
    rig.configure(Webhook(f"{receiver.url}/hook?x=1"))
    batch = rig.verify("run1/a", "run1/b")
    rig.step()
    (one,) = receiver.received
    agent = rig.ledger.agent
    assert agent is not None
    assert (one.path, one.headers["Content-Type"]) == ("/hook?x=1", "application/cloudevents+json; charset=utf-8")
    assert one.event == {
        "specversion": "1.0",
        "id": f"{agent[:12]}-{batch}/{rig.names[0]}",
        "source": f"urn:dropline:{agent}",
        "type": "io.dropline.batch.verified",
        "subject": f"r/{batch}",
        "time": "2033-05-18T03:33:20.000Z",
        "datacontenttype": "application/json",
        "data": {
            "rule": "r",
            "batch": f"{agent[:12]}-{batch}",
            "number": batch,
            "key": "run1",
            "host": "pc",
            "destinations": [{"name": "share", "collection": None, "folder": "/mnt/share/run1/"}],
            "files": 2,
            "bytes": 14,
            "items": [
                {
                    "path": f"/data/run1/{name}",
                    "size": 7,
                    "copies": [{"destination": "share", "path": f"run1/{name}", "checksum": "sha256:ab"}],
                }
                for name in "ab"
            ],
        },
    }
    assert rig.rows() == []


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 500, 503])
def test_only_2xx_is_success_and_the_very_same_is_sent_again(rig: Rig, receiver: Receiver, status: int) -> None:
    """Redirects are not followed; the second request is the first, byte for byte."""
    receiver.answers = [(status, {"Location": f"{receiver.url}/elsewhere"}), (202, {})]
    rig.configure(Webhook(f"{receiver.url}/hook"))
    rig.verify("run1/a")
    assert rig.step() == rig.now + 1.0
    ((action, attempts, again, reason),) = rig.rows()
    assert (action, attempts, again) == (*rig.names, 1, 1.0)
    assert str(reason).startswith(f"{receiver.url} answered {status}")
    assert rig.step() == rig.now + 1.0
    assert len(receiver.received) == 1, "not before its time"
    rig.now += 1.0
    rig.step()
    first, second = receiver.received
    assert (first.path, first.body) == (second.path, second.body)
    assert rig.rows() == []


def test_the_waits_grow_and_a_receiver_may_ask_for_longer_ones(rig: Rig, receiver: Receiver) -> None:
    """1 s, 2 s, 4 s, ... to a quarter of an hour; Retry-After counts, to an hour."""
    receiver.answers = [(500, {})] * 12 + [(429, {"Retry-After": "1800"}), (429, {"Retry-After": "999999"})]
    rig.configure(Webhook(receiver.url))
    rig.verify("run1/a")
    waits = []
    for _ in range(14):
        rig.step()
        waits.append(rig.rows()[0][2])
        rig.now += waits[-1] or 0.0
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 900.0, 900.0, 1800.0, 3600.0]


def test_a_webhook_that_nobody_takes_says_why(rig: Rig, receiver: Receiver) -> None:
    """Nobody listens, no answer in time, an answer that is none: each has its reason, without the address's secrets."""
    authenticator = threading.Event()
    receiver.before = lambda one: assert_true(authenticator.wait(PATIENCE))
    rig.configure(Webhook("http://127.0.0.1:9/secret"), Webhook(f"{receiver.url}/secret", timeout=0.05))
    rig.verify("run1/a")
    rig.step()
    authenticator.set()
    assert [row[3] for row in rig.rows()] == [
        "http://127.0.0.1:9 cannot be reached: Connection refused",
        f"{receiver.url} did not answer: timed out",
    ]


def test_what_a_server_says_beside_its_status_is_not_kept() -> None:
    """A reason phrase may be long, and quote the secret that was sent."""

    def answer() -> None:
        with server.accept()[0] as asked:
            asked.recv(2**16)
            asked.sendall(b"HTTP/1.1 401 no token-4711 " + b"x" * 50_000 + b"\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Transient) as raised:
            deliver(f"http://127.0.0.1:{server.getsockname()[1]}", b"x", {"Authorization": "token-4711"}, 10.0, "it")
        thread.join()
    assert str(raised.value) == "it answered 401 Unauthorized"


def assert_true(value: bool) -> None:
    assert value


def test_the_secret_is_read_when_it_is_sent_and_must_be_private(rig: Rig, receiver: Receiver) -> None:
    """One that others can read is refused and not sent; a new one counts at once; none is ever written down."""
    secret = rig.root / "hook.secret"
    rig.configure(Webhook(receiver.url, str(secret), "X-Api-Key"))
    rig.verify("run1/a")
    rig.step()
    assert f"the secret in {secret} cannot be read: No such file" in str(rig.rows()[0][3])
    secret.write_text("first-secret\n")
    secret.chmod(0o644)
    rig.now += 60.0
    rig.step()
    assert f"chmod 600 {secret}" in str(rig.rows()[0][3])
    secret.write_text("second\nsecret\n")
    secret.chmod(0o600)
    rig.now += 60.0
    rig.step()
    assert "can be no header" in str(rig.rows()[0][3])
    assert receiver.received == []
    secret.write_text("third-secret\n")
    rig.now += 60.0
    rig.step()
    assert [one.headers["X-Api-Key"] for one in receiver.received] == ["third-secret"]
    assert not any(b"secret\n" in path.read_bytes() for path in rig.root.glob("ledger*"))


# Commands


def test_a_command_gets_the_event_and_the_batch(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input has the event, the environment the batch's id, but nothing that configures the agent."""
    monkeypatch.setenv("DROPLINE_GLOBUS__CLIENT_SECRET", "not-for-you")
    body = (
        "own = {name: value for name, value in os.environ.items() if name.startswith('DROPLINE')}\n"
        "(root / 'got').write_text(json.dumps([json.load(sys.stdin), own, sys.argv[1:]]))"
    )
    rig.configure(Command((*script(rig.root, body), "a b", "$HOME;*")))
    rig.verify("run1/a")
    rig.step()
    event, own, arguments = json.loads((rig.root / "got").read_text())
    assert own == {"DROPLINE_BATCH": event["data"]["batch"], "DROPLINE_RULE": "r"}
    assert arguments == ["a b", "$HOME;*"], "no shell reads it"
    assert event["id"] == f"{event['data']['batch']}/{rig.names[0]}"
    assert rig.rows() == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('first', file=sys.stderr); sys.exit('the disk is full')", "ended with exit status 1: the disk is full"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("sys.exit(3)", "ended with exit status 3"),
    ],
)
def test_a_command_that_fails_says_how(rig: Rig, body: str, reason: str) -> None:
    """Any other exit status than 0 is tried again; the last line it wrote to standard error is the reason."""
    rig.configure(Command(script(rig.root, body)))
    rig.verify("run1/a")
    rig.step()
    assert rig.rows() == [(rig.names[0], 1, 1.0, f"{sys.executable} {reason}")]


def test_what_a_command_says_without_end_fills_no_disk(rig: Rig) -> None:
    """Of its standard error the end is kept, which has the reason."""
    body = (
        "for _ in range(5):\n"
        "    os.write(2, b'x' * 2**21)\n"
        "    while os.fstat(2).st_blocks * 512 > 2**20: time.sleep(0.01)\n"
        "sys.exit('the end')"
    )
    rig.configure(Command(script(rig.root, body)))
    rig.verify("run1/a")
    rig.step()
    assert rig.rows()[0][3] == f"{sys.executable} ended with exit status 1: the end"


def test_a_command_that_is_not_there_is_said(rig: Rig) -> None:
    """And tried again: somebody may install it."""
    rig.configure(Command(("/nowhere/program",)))
    rig.verify("run1/a")
    rig.step()
    assert rig.rows()[0][3] == "/nowhere/program cannot be started: No such file or directory"


def test_a_command_that_does_not_end_is_killed_with_all_that_it_started(rig: Rig) -> None:
    """At its timeout, its whole process group goes."""
    body = (
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.execv('/bin/sh', ['sh', '-c', f'exec sleep 1000 >{root}/pipe'])\n"
        "time.sleep(1000)\n"
    )
    os.mkfifo(rig.root / "pipe")
    reader = os.open(rig.root / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    rig.configure(Command(script(rig.root, body), timeout=0.5))
    rig.verify("run1/a")
    rig.step()
    assert rig.rows()[0][3] == f"{sys.executable} did not end within 0.5 s and was killed"
    assert stat.S_ISFIFO(os.fstat(reader).st_mode)
    assert os.read(reader, 1) == b"", "nobody holds the other end any more"
    os.close(reader)


@pytest.fixture
def refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A command that may not be killed, as one of sudo, and that runs until somebody writes to `go`; what is said of it."""
    said: SimpleQueue[str] = SimpleQueue()
    log = logging.getLogger("agent.actions.command")

    def refuse(group: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def heard(record: logging.LogRecord) -> bool:
        said.put(record.getMessage())
        return True

    log.addFilter(heard)
    monkeypatch.setattr(os, "killpg", refuse)
    monkeypatch.setattr("agent.actions.command._DIES", 0.01)
    os.mkfifo(rig.root / "go")
    rig.configure(Command(script(rig.root, "(root / 'go').read_bytes()\nsys.exit(3)"), timeout=0.05))
    rig.verify("run1/a")
    assert rig.dispatcher is not None
    rig.dispatcher.step(rig.now)
    yield said.get(timeout=PATIENCE)
    log.removeFilter(heard)


def test_a_command_that_cannot_be_killed_is_not_run_beside_itself(rig: Rig, refused: str) -> None:
    """It stays under way until it ends, and its own end counts."""
    assert rig.dispatcher is not None
    rig.dispatcher.step(rig.now + 10_000)
    assert rig.dispatcher.waiting
    (rig.root / "go").write_bytes(b"")
    rig.step()
    assert rig.rows()[0][1:] == (1, 1.0, f"{sys.executable} ended with exit status 3")
    why = "did not end within 0.05 s and cannot be killed: Operation not permitted; it is not run again while it runs"
    assert refused.startswith(f"{sys.executable} {why}")


@pytest.mark.usefixtures("refused")
def test_a_command_that_cannot_be_killed_does_not_keep_the_agent_from_its_end(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left, and the log names it."""
    (process,) = rig.runner._running
    rig.runner.close()
    assert f"process {process.pid}, which the agent started, cannot be killed, and runs on" in caplog.text
    (rig.root / "go").write_bytes(b"")
    assert process.wait(PATIENCE) == 3


def test_an_agent_that_stops_kills_its_commands_and_does_them_again(rig: Rig) -> None:
    """Stopping does not wait for a command; the next run does it from the start."""
    body = (
        "n = len(list(root.glob('ran*')))\n(root / f'ran{n}').touch()\n"
        "os.close(os.open(root / 'started', os.O_WRONLY)) if n == 0 else None\n"
        "time.sleep(1000 if n == 0 else 0)\n"
    )
    os.mkfifo(rig.root / "started")
    rig.configure(Command(script(rig.root, body)))
    rig.verify("run1/a")
    assert rig.dispatcher is not None
    rig.dispatcher.step(rig.now)
    (rig.root / "started").read_bytes()  # until the program closes it
    rig.dispatcher.close()
    rig.runner.close()
    assert rig.rows() == [(*rig.names, 1, 0.0, None)]
    rig.runner = Runner()
    rig.calls["command"] = rig.runner.run
    rig.restart()
    rig.step()
    assert rig.rows() == []


# Many


def test_one_bad_batch_does_not_stop_the_others(rig: Rig) -> None:
    """A command that fails for one batch is run for all the others at once, each once."""
    body = (
        "event = json.load(sys.stdin)\nwith (root / 'ran').open('a') as file: print(event['data']['number'], file=file)\n"
        "sys.exit(event['data']['number'] == 2)"
    )
    rig.configure(Command(script(rig.root, body)))
    for number in range(1, 6):
        assert rig.verify(f"run{number}/a") == number
    rig.step()
    assert (rig.root / "ran").read_text().split() == ["1", "2", "3", "4", "5"]
    assert [(one.batch, one.again) for one in rig.ledger.outbox.oldest(("r", *rig.names), 9)] == [(2, START + 1)]


def test_a_receiver_that_is_down_is_asked_now_and_then(rig: Rig, receiver: Receiver) -> None:
    """Each batch is tried once, then one of them at a time, with growing pauses; the first success lets all go."""
    receiver.answers = [(503, {})] * 20
    rig.configure(Webhook(receiver.url))
    for number in range(16):
        rig.verify(f"run{number}/a")
    rig.step()
    assert len(receiver.received) == 16
    for expected in (17, 18, 19, 20):
        rig.now += 59.0
        rig.step()
        assert len(receiver.received) == expected - 1, "sixteen failures in a row: not within a minute"
        rig.now += 1.0
        rig.step()
        assert len(receiver.received) == expected
    rig.now += 60.0
    rig.step()
    assert len(receiver.received) == 36
    assert len({one.event["id"] for one in receiver.received}) == 16
    assert rig.ledger.outbox.actions() == []


def test_a_person_who_asks_is_served_at_once(rig: Rig, receiver: Receiver) -> None:
    """`dropline retry` passes over every wait."""
    receiver.answers = [(503, {})] * 8
    rig.configure(Webhook(receiver.url))
    for number in range(4):
        rig.verify(f"run{number}/a")
    rig.step()
    with rig.ledger.transaction():
        assert rig.ledger.outbox.retried() == 4
    rig.step()
    assert len(receiver.received) == 8
    assert [row[1] for row in rig.rows()] == [2, 2, 2, 2]
    with rig.ledger.transaction():
        rig.ledger.outbox.retried()
    rig.step()
    assert rig.ledger.outbox.actions() == []


def test_a_mended_address_gets_what_waited(rig: Rig, receiver: Receiver) -> None:
    """Where the configuration names the action: then the rows say which action it is, not where it goes."""
    rig.configure(Webhook("http://127.0.0.1:9", name="catalogue"))
    rig.verify("run1/a")
    rig.step()
    rig.configure(Webhook(receiver.url, name="catalogue"))
    rig.step()
    assert len(receiver.received) == 1
    assert rig.rows() == []


def test_what_waits_goes_to_its_own_receiver_or_to_none(
    rig: Rig, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """However actions are reordered, taken out and put in: what waits for one that is gone is dropped, and the log says so."""
    receiver.answers = [(503, {})] * 3
    one, two, three = (Webhook(f"{receiver.url}/{name}") for name in ("one", "two", "three"))
    rig.configure(one, two)
    rig.verify("run1/a")
    rig.step()
    first = rig.names[0]
    rig.now += 60.0
    rig.configure(three, two)
    rig.step()
    rig.now += 60.0
    rig.configure(two, three)
    rig.step()
    assert [call.path for call in receiver.received[2:]] == ["/two", "/two"]
    assert [message for message in caplog.messages if "given up" in message] == [
        f"action {label(first)} of rule r: 1 waited and are given up, since the configuration does not have it any more"
    ]


def test_what_no_rule_wants_any_more_is_given_up(rig: Rig) -> None:
    """Taking an action out of the rule is how a person gives up; what else waits, stays."""
    rig.configure(Webhook("http://127.0.0.1:9"), Webhook("http://127.0.0.1:9"))
    rig.verify("run1/a")
    rig.step()
    rig.configure(Webhook("http://127.0.0.1:9"))
    assert [(row[0], row[1], row[2]) for row in rig.ledger.outbox.actions()] == [("r", *rig.names, 1)]


def test_a_mistake_of_ours_is_a_failure_like_another(rig: Rig) -> None:
    """An exception that nobody foresaw is the row's reason, and the others go on."""

    def broken(action: Action, queued: Queued) -> None:
        raise ZeroDivisionError("oh")

    rig.calls["webhook"] = broken
    rig.configure(Webhook("http://x"), Command(("true",)))
    rig.verify("run1/a")
    rig.step()
    assert rig.rows() == [(rig.names[0], 1, 1.0, "ZeroDivisionError: oh")]


# Through Globus


class Site:
    """A rig that delivers to a guest collection of the stand-in."""

    def __init__(self, rig: Rig, service: Globus) -> None:
        self.rig, self.service = rig, service
        self.campus = service.collection("Campus", rig.root / "campus", kind="GCP_guest_collection")
        account = Account(service.account.id, rig.root / "tokens", service.account.secret)
        session = Session(account, clock=lambda: rig.now, sleep=lambda seconds: None)
        services = Services(session)
        rig.calls |= {"flow": services.run_flow, "share": services.share}
        rig.addresses = {"share": "/mnt/share", "campus": f"{self.campus.id}:/ingest"}
        self.session = session

    def granted(self) -> list[tuple[str, str, str, str]]:
        """(path, principal type, principal, permissions) of each access rule."""
        return sorted(
            (rule.path, rule.principal_type, rule.principal, rule.permissions) for rule in self.campus.rules.values()
        )


@pytest.fixture
def globus(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The stand-in, and a rig that speaks to it."""
    with Globus() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        made = Site(rig, service)
        yield made
        made.session.close()


def test_folders_are_shared_once(globus: Site) -> None:
    """People by name and id, and groups, may read the folders of the batch, no others; a second batch adds no rule."""
    rig, directory = globus.rig, globus.service.auth.directory
    eve, bob, crew = directory.person("Eve@example.org"), directory.person("bob@example.org"), directory.group("Crew")
    owner = Share("identity", globus.campus.owner.id)  # who may do everything already
    rig.configure(
        share_with=[Share("identity", "eve@example.org"), Share("identity", bob.id), Share("group", crew.id), owner]
    )
    rig.verify("p1/scan1/a", "p1/scan1/raw/b", "p2/c")
    rig.step()
    wanted = [
        (folder, whose, principal, "r")
        for folder in ("/ingest/p1/scan1/", "/ingest/p2/")
        for whose, principal in (("identity", eve.id), ("identity", bob.id), ("group", crew.id))
    ]
    assert globus.granted() == sorted(wanted)
    posts = globus.service.count("POST", "*/access")
    rig.verify("p1/scan1/d", "p1/scan1/raw/deep/e")
    rig.step()
    assert globus.granted() == sorted(wanted)
    assert globus.service.count("POST", "*/access") == posts
    assert globus.service.count("GET", "/v2/api/identities") == 1, "a name is looked up once"
    assert rig.ledger.outbox.actions() == []


def test_a_rule_that_somebody_else_made_meanwhile_is_as_good(globus: Site) -> None:
    """409 is success; so is an answer that was lost."""
    rig, service = globus.rig, globus.service
    crew = service.auth.directory.group("Crew")
    rig.configure(share_with=[Share("group", crew.id)])
    service.faults.lose_reply("POST */access")
    rig.verify("run1/a")
    rig.step()
    rig.now += 60.0
    rig.step()
    assert globus.granted() == [("/ingest/run1/", "group", crew.id, "r")]
    assert rig.ledger.outbox.actions() == []


def test_sharing_that_is_not_permitted_says_what_to_do(globus: Site) -> None:
    """An unknown name, a missing role, a collection that has no access rules: retried, with a reason."""
    rig, service = globus.rig, globus.service
    rig.configure(share_with=[Share("identity", "nobody@example.org")])
    rig.verify("run1/a")
    rig.step()
    assert rig.rows()[0][3] == (
        "Globus knows no identity nobody@example.org; compare the name, or let them log in to Globus once"
    )
    globus.campus.managers = set()
    crew = service.auth.directory.group("Crew")
    rig.configure(share_with=[Share("group", crew.id)])
    rig.verify("run2/a")
    rig.step()
    (_, _, _, _, reason, _) = rig.ledger.outbox.actions()[0]
    assert "may not be granted" in str(reason)
    assert "access manager" in str(reason)
    globus.campus.managers = None
    globus.campus.entity_type = "GCP_mapped_collection"
    rig.now += 60.0
    rig.step()
    (_, _, _, _, reason, _) = rig.ledger.outbox.actions()[0]
    assert "only guest collections" in str(reason)
    globus.campus.entity_type = "GCP_guest_collection"
    rig.now += 60.0
    rig.step()
    assert globus.granted() == [("/ingest/run2/", "group", crew.id, "r")]


def test_a_flow_is_started_with_its_input(globus: Site) -> None:
    """The body's template is filled from the event, numbers stay numbers; the tag is the event's id."""
    rig, service = globus.rig, globus.service
    flow = service.flows.flow("Process")
    template = {
        "source": {"id": "{collection:campus}", "path": "{folder:campus}"},
        "count": "{files}",
        "label": "{rule}: {batch} {{sic}}",
        "list": ["{bytes}", True, 3],
        "first": "{folder}",
    }
    rig.configure(Flow(flow.id, template))
    batch = rig.verify("run1/a", "run1/b")
    rig.step()
    (run,) = service.flows.runs.values()
    name = f"{rig.ledger.agent}-{batch}"
    assert run["details"]["details"]["input"] == {
        "source": {"id": globus.campus.id, "path": "/ingest/run1/"},
        "count": 2,
        "label": f"r: {name} {{sic}}",
        "list": [14, True, 3],
        "first": "/mnt/share/run1/",
    }
    assert (run["tags"], run["label"]) == ([f"{name}/{rig.names[0]}"], f"r {name}")
    assert service.count("GET", "/runs") == 0, "nothing was tried before"
    assert rig.rows() == []


def test_a_flow_without_a_body_gets_the_event(globus: Site) -> None:
    """The whole event is its input."""
    flow = globus.service.flows.flow("Process")
    globus.rig.configure(Flow(flow.id))
    globus.rig.verify("run1/a")
    globus.rig.step()
    (run,) = globus.service.flows.runs.values()
    assert run["details"]["details"]["input"]["type"] == "io.dropline.batch.verified"


@pytest.mark.parametrize("fault", ["lose_reply", "lose_request", "internal_error"])
def test_a_flow_is_not_started_twice_though_answers_are_lost(globus: Site, fault: str) -> None:
    """A run that was made and not told is found by its tag; one that was not made is made."""
    rig, service = globus.rig, globus.service
    flow = service.flows.flow("Process")
    rig.configure(Flow(flow.id))
    service.flows.flow("Another")
    if fault == "internal_error":
        service.faults.answer("POST */run", faults.internal_error())
    else:
        getattr(service.faults, fault)("POST */run")
    rig.verify("run1/a")
    rig.step()
    assert rig.rows()[0][1:3] == (1, 1.0)
    rig.restart()
    rig.now += 60.0
    rig.step()
    assert len(service.flows.runs) == 1
    assert rig.ledger.outbox.actions() == []


def test_a_run_is_found_on_whatever_page_it_is(globus: Site) -> None:
    """Many runs came after the one whose answer was lost."""
    rig, service = globus.rig, globus.service
    flow = service.flows.flow("Process")
    service.flows.per_page = 2
    rig.configure(Flow(flow.id))
    service.faults.lose_reply("POST */run")
    rig.verify("run0/a")
    rig.step()
    for number in range(1, 6):
        rig.verify(f"run{number}/a")
    rig.step()
    assert len(service.flows.runs) == 6
    rig.now += 60.0
    rig.step()
    assert (len(service.flows.runs), service.count("GET", "/runs")) == (6, 3)
    assert rig.ledger.outbox.actions() == []


def test_a_flow_that_cannot_be_started_says_what_to_do(globus: Site) -> None:
    """An unknown flow, and an input that it does not take."""
    rig, service = globus.rig, globus.service
    rig.configure(Flow(CAMPUS, name="process"))
    rig.verify("run1/a")
    rig.step()
    assert f"there is no Globus Flow {CAMPUS}" in str(rig.rows()[0][3])
    flow = service.flows.flow("Process")
    service.faults.answer(
        "POST */run", faults.content({"error": {"code": "UNPROCESSABLE_ENTITY", "detail": "x: missing"}}, 422)
    )
    rig.configure(Flow(flow.id, name="process"))
    rig.step()
    assert "mend `body`" in str(rig.rows()[0][3])
