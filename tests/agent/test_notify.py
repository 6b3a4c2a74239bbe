"""Telling people: the tables, the channels with real servers, and what is said once however often the agent starts."""

from __future__ import annotations

import base64
import os
import socket
import threading
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import pytest

from agent.actions import Dispatcher
from agent.actions.notify import Channel, Notifier, queues
from agent.actions.notify.chat import Chat
from agent.actions.notify.email import Email
from agent.app.configuration import check
from agent.app.parts import channels
from agent.errors import Refused, Transient
from agent.ledger import Found, Ledger, Link
from rules.config.config_error import RuleError
from rules.config.notify import NotifyTable
from rules.model import Observation, Version
from rules.notice import Policy
from rules.notice.message import Message, in_chat
from tests.mailbox import Mailbox
from tests.receiver import Receiver

T = 1_800_000_000.0
MESSAGE = Message("[dropline pc7] ä subject", "First line.\n.\nSecond ü line.")
MAIL = """
[notify.email]
host = "smtp.example.org"
from = "dropline@example.org"
to = ["ops@example.org"]
"""
KEYS = MAIL.replace("[notify.email]\n", "")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the agent's is set, and none for a proxy."""
    for name in os.environ:
        if name.upper().startswith("DROPLINE_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


# The tables


def notify_table(text: str) -> NotifyTable:
    """What the configuration says."""
    table = check(tomllib.loads(text), "f.toml", Path("/cfg")).settings.notify
    assert table is not None
    return table


def test_the_tables_are_read() -> None:
    """Defaults, paths from the configuration's folder, a time of the day, ports by the kind of connection."""
    table = notify_table(f'notify.digest = "7:30"\n{MAIL}user = "me"\npassword_file = "secret"\n')
    assert table.policy(UTC) == Policy(frozenset({"refused", "down", "recovered"}), 300.0, 3600.0, "30 7 * * *")
    assert channels(table) == {
        "email": Email(
            "smtp.example.org", 587, "starttls", "dropline@example.org", ("ops@example.org",), "me", "/cfg/secret", 20.0
        )
    }
    assert channels(notify_table('[notify]\nwebhook = { url_file = "hook", timeout = "5s" }')) == {
        "webhook": Chat(None, "/cfg/hook", 5.0)
    }
    for tls, port in (("none", 25), ("tls", 465)):
        (channel,) = channels(notify_table(f'{MAIL}tls = "{tls}"')).values()
        assert isinstance(channel, Email)
        assert channel.port == port
    assert channels(None) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[notify]", "notify: no message can be sent: add a table [notify.email] or [notify.webhook]"),
        ("[notify]\nevery = '1h'", "notify: no message can be sent: add a table [notify.email] or [notify.webhook]"),
        ("[notify.mail]\nhost = 'x'", "[notify]: mail: unknown key; did you mean 'email'?"),
        (f"{MAIL}form = 'x@y'", "[notify]: email.form: unknown key; did you mean 'from'?"),
        ("[notify.email]\nfrom = 'a@b'\nto = ['c@d']", "[notify]: email.host: missing; this key is required"),
        (f"{MAIL}user = 'me'", "`user` and `password_file` belong together"),
        (f"{MAIL}user = 'me'\npassword_file = 'x'\ntls = 'none'", "the password would travel readable"),
        (MAIL.replace('["ops@example.org"]', "[]"), "[notify]: email.to: "),
        (MAIL.replace("ops@", "Ops <ops@"), "write the address alone"),
        (MAIL.replace("ops@", r"x\nBcc: ops@"), "write the address alone"),
        (MAIL.replace("smtp.example.org", "smtp.example.org/x"), "write the name of the mail server alone"),
        (MAIL.replace("smtp.example.org", "smtp..org"), "write the name of the mail server alone"),
        (f"notify.digest = '25:00'\n{MAIL}", "is neither a time such as '07:30' nor five fields of cron"),
        (f"notify.digest = '0 0 31 2 *'\n{MAIL}", "is neither a time such as '07:30' nor five fields of cron"),
        (f"notify.every = '1s'\n{MAIL}", "[notify]: every: "),
        (f"notify.events = ['recovered']\n{MAIL}", "has 'recovered' without 'down'"),
        ("[notify.webhook]", "write one of `url` and `url_file`"),
        ("[notify.webhook]\nurl = 'ftp://x'", "is no address such as"),
        ("[notify.webhook]\nurl = 'https://me:pass@x/y'", "has a password in it"),
        ("agent.textfile = '/x/y.txt'", 'node_exporter reads only names that end in ".prom"'),
    ],
)
def test_mistakes_are_one_line(text: str, message: str) -> None:
    """File, table, key, what is wrong."""
    with pytest.raises(RuleError) as error:
        check(tomllib.loads(text), "f.toml", Path("/cfg"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "pass@" not in str(error.value)


# E-mail


def email(box: Mailbox, **keys: object) -> Email:
    """A channel to that server."""
    whole = {"host": "127.0.0.1", "port": box.port, "tls": "none", "sender": "d@pc7.org", "to": ("a@x.org", "b@x.org")}
    return Email(**(whole | keys))  # type: ignore[arg-type]


def test_mail_arrives_whole() -> None:
    """To each recipient, with an id that is the same for the same message, marked as nobody's."""
    with Mailbox() as box:
        email(box).send(MESSAGE, "k1")
        (one,) = box.received
    assert (one["Subject"], one["From"], one["To"]) == (MESSAGE.subject, "d@pc7.org", "a@x.org, b@x.org")
    assert (one["Message-ID"], one["Auto-Submitted"]) == ("<dropline-k1@pc7.org>", "auto-generated")
    assert one.get_content().replace("\r\n", "\n") == f"{MESSAGE.body}\n"


def test_the_login_is_secret_and_the_server_is_who_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """STARTTLS with a trusted certificate, then the password of the file; nothing else gets through, or into words."""
    (tmp_path / "password").write_text("tr0ub4dor\n")
    (tmp_path / "password").chmod(0o600)
    login = {"tls": "starttls", "user": "me", "password_file": str(tmp_path / "password")}
    with Mailbox(tmp_path, ("me", "tr0ub4dor")) as box:
        with pytest.raises(Transient, match=r"no secure connection to 127.0.0.1:.*self.signed certificate"):
            email(box, **login).send(MESSAGE, "k")
        monkeypatch.setenv("SSL_CERT_FILE", str(box.certificate))
        email(box, **login).send(MESSAGE, "k")
        (tmp_path / "password").write_text("wr0ng")
        with pytest.raises(Refused, match=r"does not accept the login of me: 535 .*; correct `user`") as refused:
            email(box, **login).send(MESSAGE, "k")
        with pytest.raises(Transient, match=r"answered 530 .*STARTTLS"):
            email(box).send(MESSAGE, "k")
        assert len(box.received) == 1
    assert "tr0ub4dor" not in str(refused.value) + caplog.text
    assert "wr0ng" not in str(refused.value) + caplog.text


def test_no_answer_brings_the_password_into_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of an answer to the login only the codes are kept, since it may quote a part of the line; of others, what is no secret."""
    (tmp_path / "password").write_text("tr0ub4dor")
    (tmp_path / "password").chmod(0o600)
    login = {"tls": "starttls", "user": "me", "password_file": str(tmp_path / "password")}
    plain, word = (base64.b64encode(text).decode() for text in (b"\0me\0tr0ub4dor", b"tr0ub4dor"))
    with Mailbox(tmp_path, ("me", "tr0ub4dor")) as box:
        monkeypatch.setenv("SSL_CERT_FILE", str(box.certificate))
        box.answers = [f"451 4.3.0 no: AUTH PLAIN {plain}, {word}, tr0ub4dor"]
        with pytest.raises(Transient) as put_off:
            email(box, **login).send(MESSAGE, "k")
        box.quotes = True
        (tmp_path / "password").write_text("wr0ng")
        with pytest.raises(Refused) as refused:
            email(box, **login).send(MESSAGE, "k")
        server = f"127.0.0.1:{box.port}"
    assert str(put_off.value) == f"{server} answered 451 4.3.0 no: AUTH PLAIN [masked], [masked], [masked]"
    assert str(refused.value).startswith(f"{server} does not accept the login of me: 535 5.7.8; correct `user`")
    assert "tr0ub4dor" not in caplog.text
    assert "wr0ng" not in caplog.text


def test_answers_of_mail_servers_are_said() -> None:
    """No STARTTLS, a message that is put off, nobody whom it knows, some whom it does not know."""
    with Mailbox() as box:
        with pytest.raises(Refused, match=r'offers no STARTTLS; set `tls` in .notify.email. to "tls" or "none"'):
            email(box, tls="starttls").send(MESSAGE, "k")
        box.answers = ["451 Come back later"]
        with pytest.raises(Transient, match=rf"127.0.0.1:{box.port} answered 451 Come back later"):
            email(box).send(MESSAGE, "k")
        box.unknown = {"a@x.org"}
        email(box).send(MESSAGE, "k")
        assert len(box.received) == 1, "who has it is not told twice"
        box.unknown = {"a@x.org", "b@x.org"}
        with pytest.raises(
            Refused, match=r"takes mail for none of a@x.org, b@x.org: 550 No such user here; correct `to`"
        ):
            email(box).send(MESSAGE, "k")
    with pytest.raises(Transient, match=r"127.0.0.1:\d+ cannot be reached: Connection refused"):
        email(box).send(MESSAGE, "k")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_server_that_says_nothing_is_left(silent_port: int) -> None:
    """After `timeout`, plain and with TLS."""
    for tls in ("none", "tls"):
        with pytest.raises(Transient, match=rf"127.0.0.1:{silent_port}.*timed out"):
            Email("127.0.0.1", silent_port, tls, "d@x", ("a@x",), timeout=0.05).send(MESSAGE, "k")


# Chat


def test_chat_gets_text_and_the_address_stays_secret(tmp_path: Path) -> None:
    """{"text": ...} to the address of the configuration or of a file; of failures only the host is said."""
    hook = tmp_path / "hook"
    with Receiver() as receiver:
        hook.write_text(f"{receiver.url}/services/T0/hidden\n")
        hook.chmod(0o600)
        Chat(url=f"{receiver.url}/a").send(MESSAGE, "k1")
        Chat(url_file=str(hook)).send(MESSAGE, "k2")
        receiver.answers = [(429, {"Retry-After": "77"})]
        with pytest.raises(Transient, match="answered 429") as error:
            Chat(url_file=str(hook)).send(MESSAGE, "k3")
    assert [(one.path, one.headers["X-Dropline-Notice"]) for one in receiver.received] == [
        ("/a", "k1"), ("/services/T0/hidden", "k2"), ("/services/T0/hidden", "k3"),
    ]  # fmt: skip
    assert receiver.received[0].headers["Content-Type"] == "application/json; charset=utf-8"
    assert receiver.received[0].event == {"text": f"{MESSAGE.subject}\n\n{MESSAGE.body}"}
    assert error.value.after == 77.0
    assert "hidden" not in str(error.value) + Chat(url_file=str(hook)).shown
    hook.write_text("nothing of use")
    with pytest.raises(Refused, match=r"what is in .*hook is no address; write one line such as"):
        Chat(url_file=str(hook)).send(MESSAGE, "k4")


# What is said, and said once


class Told:
    """A channel that remembers, and fails while it is to: `failures` are used up one by one."""

    shown = "somebody"

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.keys: list[str] = []
        self.failures: list[Exception] = []
        self.hold = threading.Event()
        self.hold.set()

    def send(self, message: Message, key: str) -> None:
        """As a real one."""
        assert self.hold.wait(20)
        self.keys.append(key)
        if self.failures:
            raise self.failures.pop(0)
        self.messages.append(message)

    @property
    def subjects(self) -> list[str]:
        """Of what came, without the name of the host."""
        return [one.subject.removeprefix("[dropline pc7] ") for one in self.messages]


class Agent:
    """A notifier with a real ledger, and a clock of its own."""

    def __init__(self, path: Path, policy: Policy) -> None:
        self._path = path
        self._policy = policy
        self.told: dict[str, Told] = {"email": Told()}
        self.counts: list[tuple[str, str]] = []
        self.now = T
        self.ended = threading.Event()
        self.ledger = Ledger(str(path))
        self.place = self.ledger.destinations.place("share", "/mnt/share", in_place=False).id
        self.begin()

    def begin(self) -> None:
        """A run of the agent begins; half a minute later it begins to speak."""
        channels: dict[str, Channel] = dict(self.told)
        waiting = queues(channels, self.ledger.agent, lambda channel, outcome: self.counts.append((channel, outcome)))
        self._dispatcher = Dispatcher(self.ledger, waiting, self.ended.set)
        self._notifier = Notifier(
            self.ledger, self._policy, list(channels), {"share": "/mnt/share"}, "pc7", "", self.ended.set, ["r"]
        )
        self._dispatcher.start(self.now)
        self._notifier.start(self.now)
        self.pass_by()
        self.now += 30

    def again(self) -> None:
        """The agent stops, and begins again."""
        self._dispatcher.close()
        self.begin()

    def after(self, seconds: float) -> list[str]:
        """Time passes; then everything that is begun ends. The subjects of all messages so far."""
        self.now += seconds
        self.ended.clear()
        self.pass_by()
        while self._dispatcher.waiting:
            assert self.ended.wait(20)
            self.ended.clear()
            self.pass_by()
        return self.told["email"].subjects

    def conclude(self) -> None:
        """`run --once` ends."""
        self._notifier.conclude(self.now)
        self._dispatcher.step(self.now)
        self._dispatcher.wait(20)

    def pass_by(self) -> None:
        """One pass, without waiting for anything."""
        self._notifier.step(self.now)
        self._dispatcher.step(self.now)

    def went(self, up: bool, reason: str | None = None, *, refused: bool = False) -> None:
        """The destination."""
        with self.ledger.transaction():
            self.ledger.destinations.went(self.place, up, reason, self.now, refused=refused)

    def refuse(self, *names: str, reason: str = "why; hint") -> None:
        """Files of these names are refused, as new versions."""
        with self.ledger.transaction():
            for name in names:
                path, old = f"/data/{name}", self.ledger.files.history(f"/data/{name}")
                seen = Observation(Version(1, 1, len(old), 1), 1, "file")
                if old:
                    self.ledger.files.superseded([(old[-1].id, "r", path, "newer")], self.now)
                directory = self.ledger.files.directory("/data")
                self.ledger.files.found([Found(directory, path, "r", seen, len(old) + 1, self.now, self.now)])
                (*_, file) = self.ledger.files.history(path)
                self.ledger.files.refused([(file.id, "r", path, reason)])


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Makes one, with a policy."""
    made: list[Agent] = []

    def make(**policy: object) -> Agent:
        whole: dict[str, object] = {
            "events": frozenset({"refused", "down", "recovered"}),
            "after": 300.0,
            "every": 3600.0,
        }
        made.append(Agent(tmp_path / "ledger.sqlite", Policy(**(whole | policy))))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.ledger.close()


def test_a_destination_is_told_as_down_once_and_as_up_once(agent: Callable[..., Agent]) -> None:
    """Short interruptions are not told; restarts repeat nothing, and forget nothing."""
    one = agent()
    one.went(False, "not mounted")
    assert one.after(0) == []
    one.again()
    assert one.after(260) == []
    assert one.after(10) == ["destination share is down"]
    body = one.told["email"].messages[0].body
    assert (
        "Destination share (/mnt/share) takes no files since 2027-01-15 08:00:30+00:00.\n\nCause:\n    not mounted\n"
        in body
    )
    one.again()
    assert one.after(90000) == ["destination share is down"]
    one.went(True)
    one.again()
    assert one.after(0) == ["destination share is down", "destination share is up again"]
    assert one.after(90000) == one.told["email"].subjects
    assert len(one.told["email"].messages) == 2
    one.went(False, "no login; run `dropline login`", refused=True)
    assert one.after(0)[2:] == ["destination share waits for you"]


def test_a_destination_that_comes_and_goes_is_told_of_once_an_hour(agent: Callable[..., Agent]) -> None:
    """Every ten minutes down for eight and up for two, for eight hours."""
    one = agent()
    for _ in range(6 * 8):
        one.went(False, "not mounted")
        one.after(0)
        one.after(480)
        one.went(True)
        one.after(120)
    downs = [subject for subject in one.told["email"].subjects if "is down" in subject]
    ups = [subject for subject in one.told["email"].subjects if "up again" in subject]
    assert len(downs) == len(ups)
    assert 4 <= len(downs) <= 8


def test_links_that_lead_out_are_in_one_message_for_each_folder(agent: Callable[..., Agent]) -> None:
    """Once, however many come after; again when all of them were gone; those of a rule that says `links` never."""
    one = agent()
    lead_out(one, "/data/a", "r", *(f"l{number}" for number in range(9)))
    lead_out(one, "/data/b", "r", "<!channel>")
    lead_out(one, "/data/c", "says", "l")
    assert one.after(0) == []
    assert one.after(30) == ["links in 2 datasets and folders lead to what is not delivered"]
    body = one.told["email"].messages[0].body
    assert '\n\n    /data/a (rule r)\n    it has links to what no rule delivers: write `links = "skip"`' in body
    assert "\n    /data/a/l2 -> /scratch\n... and 6 more there\n" in body
    assert "`/data/b/&lt;!channel&gt; -&gt; /scratch`" in in_chat(one.told["email"].messages[0])
    lead_out(one, "/data/a", "r", *(f"l{number}" for number in range(12)))
    one.again()
    one.after(90000)
    assert len(one.told["email"].messages) == 1
    lead_out(one, "/data/b", "r")
    lead_out(one, "/data/b", "r", "new")
    one.refuse("f")
    one.after(0)
    assert one.after(3600)[1:] == ["1 file refused; links in 1 dataset or folder lead to what is not delivered"]


def lead_out(agent: Agent, directory: str, rule: str, *names: str) -> None:
    """These links are in a directory now, and no others."""
    with agent.ledger.transaction():
        links = [Link(name, agent.ledger.files.rule(rule), None, "/scratch") for name in names]
        agent.ledger.links.found(directory, links, whole=True)


def test_many_refused_files_are_one_message(agent: Callable[..., Agent]) -> None:
    """What is refused within half a minute; what follows waits for an hour; and each file for each reason once."""
    one = agent()
    one.refuse(*(f"f{number:03}" for number in range(150)))
    assert one.after(0) == []
    one.refuse(*(f"f{number:03}" for number in range(150, 300)))
    assert one.after(30) == ["300 files refused"]
    lines = one.told["email"].messages[0].body.splitlines()
    assert [lines[2:4], lines[-7]] == [["    /data/f000 (rule r)", "    why; hint"], "... and 280 more"]
    one.refuse("late1", "f000", "late2")
    one.again()
    assert one.after(30) == ["300 files refused"]
    assert one.after(3600)[1:] == ["2 files refused"], "f000 is refused again for the reason that was told"
    one.refuse("f001", reason="another; hint")
    one.after(0)
    assert one.after(3600)[2:] == ["1 file refused"]
    one.after(90000)
    assert len(one.told["email"].messages) == 3


def test_odd_names_cannot_forge_lines(agent: Callable[..., Agent]) -> None:
    """Control characters and bytes of names are escaped."""
    one = agent()
    one.refuse("a\nNext: rm -rf ~", os.fsdecode(b"b\xff"))
    one.after(0)
    one.after(30)
    body = one.told["email"].messages[0].body
    assert r"/data/a\nNext: rm -rf ~ (rule r)" in body
    assert r"/data/b\udcff (rule r)" in body


def test_what_cannot_be_sent_waits_and_comes_together(
    agent: Callable[..., Agent], caplog: pytest.LogCaptureFixture
) -> None:
    """Growing waits, one warning for one reason, restarts; then one message, under an id that repetitions share."""
    one = agent()
    told = one.told["email"]
    told.failures = [Transient("server away")] * 3 + [Transient("slow down", after=500.0)]
    one.refuse("a")
    one.after(0)
    one.after(30)
    one.after(0.9)
    assert len(told.keys) == 1
    one.after(0.1)
    one.after(2)
    assert len(set(told.keys)) == 1
    assert len(told.keys) == 3
    assert caplog.text.count("1 message by email to somebody failed and will be tried again: server away") == 1
    assert [(row.calls, row.reason) for row in one.ledger.outbox.messages()] == [(1, "server away")]
    one.went(False, "gone")
    one.after(0)
    assert len(told.keys) == 3
    one.after(4)
    one.after(499)
    assert len(told.keys) == 5, "the message that the destination is down is new, and takes the other along"
    assert told.subjects == ["destination share is down (and 1 before)"]
    assert "[dropline pc7] 1 file refused\n\n1 file was refused" in told.messages[0].body
    assert one.ledger.outbox.messages() == []
    assert one.counts == [("email", "failed")] * 4 + [("email", "sent")]


def test_a_channel_that_hangs_holds_up_nothing(agent: Callable[..., Agent]) -> None:
    """Passes go on and the other channel sends; what hung is sent again by the next run, under the same id."""
    one = agent()
    one.told["webhook"] = Told()
    one.again()
    one.told["email"].hold.clear()
    one.went(False, "gone", refused=True)
    one.pass_by()
    while not one.told["webhook"].messages:
        assert one.ended.wait(20)
    for _ in range(3):
        one.now += 100
        one.pass_by()
    assert one.counts == [("webhook", "sent")]
    hung, one.told["email"] = one.told["email"], Told()
    one.begin()
    assert one.after(0) == ["destination share waits for you"]
    hung.hold.set()
    assert one.ended.wait(20)
    assert [message.subject for message in hung.messages] == [one.told["email"].messages[0].subject]
    assert hung.keys == one.told["email"].keys


def test_what_came_of_a_message_is_kept_through_an_error_that_nobody_expects(
    agent: Callable[..., Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next pass writes it down: the message is not sent again, and the channel is free."""
    one, errors = agent(), [RuntimeError("an error")]

    def commit() -> None:
        if one.told["email"].messages and errors:
            raise errors.pop()
        one.ledger.execute("COMMIT")

    monkeypatch.setattr(one.ledger, "_commit", commit)
    one.went(False, "gone", refused=True)
    with pytest.raises(RuntimeError):
        one.after(0)
    one.went(True)
    assert one.after(3600) == ["destination share waits for you", "destination share is up again"]
    assert one.counts == [("email", "sent"), ("email", "sent")]


def test_channels_that_are_taken_away_take_their_messages_along(agent: Callable[..., Agent]) -> None:
    """And destinations that are not configured any more are not told as recovered."""
    one = agent()
    one.told["email"].failures = [Refused("no such server", "mend it")]
    one.refuse("a")
    one.after(0)
    one.after(30)
    assert [(row.name, row.calls) for row in one.ledger.outbox.messages()] == [("email", 1)]
    one.told = {"webhook": Told()}
    one.begin()
    assert one.ledger.outbox.messages() == []


def test_only_wanted_events_are_told(agent: Callable[..., Agent]) -> None:
    """Others are neither told nor remembered."""
    one = agent(events=frozenset({"refused"}))
    one.went(False, "gone")
    one.refuse("a")
    one.after(300)
    assert one.after(300) == ["1 file refused"]
    assert set(one.ledger.notices.notification_states()) == {"refused"}


def test_the_digest_comes_in_the_morning(agent: Callable[..., Agent]) -> None:
    """Once a day, at its time, with how things stand; a restart does not move it."""
    one = agent(digest="30 8 * * *")
    one.went(True)
    one.after(0)
    one.again()
    assert one.after(1740 - 1) == []
    assert one.after(1) == ["all is well: 0 files verified, 0 on the way"]
    one.again()
    one.refuse("a")
    one.after(0)
    assert one.after(40)[1:] == ["1 file refused"]
    assert one.after(86400)[2:] == ["1 to look at: 0 files verified, 0 on the way"]


def test_what_stands_at_the_end_of_once_is_told(agent: Callable[..., Agent]) -> None:
    """Without the waits, and before it ends."""
    one = agent()
    one.refuse("a")
    one.went(False, "gone")
    one.conclude()
    assert one.told["email"].subjects == ["1 file refused; destination share is down"]
    one.conclude()
    assert len(one.told["email"].messages) == 1
