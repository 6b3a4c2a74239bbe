"""Secrets of every kind, looked for in everything that the agent writes, shows, sends or runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.ledger import Ledger
from tests.globus import Globus, faults
from tests.journey.test_globus import Campus
from tests.receiver import Receiver

if TYPE_CHECKING:
    from tests.journey.conftest import Site

TOKEN = "page-token-that-nobody-shall-see"
HEADER = "Bearer header-that-nobody-shall-see"
HOOK = "path-that-nobody-shall-see"
SECRET = "client-secret-that-nobody-shall-see"
MARK = "that-nobody-shall-see"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server that takes webhooks."""
    with Receiver() as made:
        yield made


def private(path: Path, content: str) -> Path:
    """A file with a secret."""
    path.write_text(content)
    path.chmod(0o600)
    return path


def arguments_of(session: int) -> list[str]:
    """The command lines of a process and of all that it started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if session in (int(entry.name), parent):
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue  # it has ended meanwhile
    return found


def state_of(site: Site, *but: str) -> dict[str, bytes]:
    """All that is in the state directory, but for these beginnings of names."""
    return {
        str(path.relative_to(site.state)): path.read_bytes()
        for path in site.state.rglob("*")
        if path.is_file() and not path.name.startswith(but)
    }


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("style", ["text", "json"])
def test_nothing_that_the_agent_writes_has_a_secret(site: Site, receiver: Receiver, style: str) -> None:
    """Page, status, metrics, log, ledger, records, arguments, and the environment of commands; also when all fails."""
    receiver.answers = [(500, {"X": "y"}), (302, {"Location": "/" + HOOK})] * 100
    private(site.root / "page.token", TOKEN)
    private(site.root / "hook.secret", HEADER)
    site.configure(
        site.rule(
            reclaim={"after": "0s"},
            then=[
                {"webhook": f"{receiver.url}/{HOOK}?key={HOOK}", "secret_file": "hook.secret"},
                {"webhook": f"http://127.0.0.1:9/{HOOK}", "secret_file": "hook.secret", "header": "X-Api-Key"},
                {"command": [sys.executable, "-c", "import os, sys; sys.exit(repr(dict(os.environ)))"]},
            ],
        ),
        agent={"listen": "127.0.0.1:0", "token_file": "page.token"},
    )
    errors = site.root / "agent.log"
    with errors.open("w") as stream:
        process = site.spawn(
            "run", "--verbose", "--log", style, stdout=subprocess.PIPE, stderr=stream,
            environment={"DROPLINE_GLOBUS__CLIENT_SECRET": SECRET},
        )  # fmt: skip
        try:
            assert process.stdout is not None
            said = [process.stdout.readline(), process.stdout.readline()]
            url = said[-1].partition(": ")[2].strip()
            site.put("a.dat", b"a")
            site.until(lambda: len(receiver.received) > 1, "the webhook is tried again")
            site.until(lambda: all(one["failed"] for one in site.status()["outbox"]), "all three fail")
            assert receiver.received[0].headers["Authorization"] == HEADER, "it is sent where it is to be"
            from tests.journey.conftest import Agent

            agent = Agent(process, site.root / "agent.out", errors)
            agent.url = url
            way = {"Authorization": f"Bearer {TOKEN}"}
            shown = [agent.request("GET", path, way) for path in ("/", "/status.json", "/metrics", "/healthz")]
            shown += [agent.request("GET", "/", {"Authorization": f"Bearer {TOKEN}x"})]
            arguments = arguments_of(process.pid)
            assert len(arguments) >= 1
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()
    reports = [
        site.dropline(*words).out
        for words in (("status",), ("check",), ("explain", "inbox/a.dat"), ("files",), ("batches", "--format", "json"))
    ]
    texts = [*said, *(f"{one.headers}{one.body}" for one in shown), *arguments, *reports, errors.read_text()]
    for text in texts:
        assert MARK not in text
    for name, content in state_of(site).items():
        assert MARK.encode() not in content, name
    ledger = Ledger(str(site.state / "ledger.sqlite"))
    unknown = ledger.key.removeprefix(ledger.agent)  # else temporary names could be foretold
    ledger.close()
    sent = [f"{one.headers}{one.event}" for one in receiver.received]
    names = [str(path) for path in site.root.rglob("*")]
    assert [text for text in (*texts, *sent, *names) if unknown in text] == []


def test_a_service_accounts_secret_stays_where_it_is(site: Site) -> None:
    """In the configuration or the environment: not in the log, in reports or in the ledger, also where Globus says it."""
    with Globus(by_itself=True) as service:
        campus = Campus(site, service)
        secret = service.account.secret
        campus.configure({"client_id": service.account.id, "client_secret": secret})
        site.put("a.dat", b"a")
        said = [
            site.dropline(*words) for words in (("run", "--once", "--verbose"), ("whoami",), ("check",), ("status",))
        ]
        assert [one.code for one in said] == [0, 0, 0, 0]
        campus.configure({"client_id": service.account.id, "client_secret": secret + "x"})
        (site.state / "globus" / f"tokens-{service.account.id}.json").unlink()
        said += [site.dropline(*words) for words in (("run", "--once", "--verbose"), ("whoami",), ("ls", "share"))]
        assert all(one.code for one in said[4:])
        for reply in (faults.page(401), faults.content({"error": secret}, 500), faults.malformed()):
            service.faults.answer("POST /v2/oauth2/token", reply, None)
            said.append(site.dropline("whoami"))
            assert said[-1].code in (1, 2)
            service.faults.clear()
        for one in said:
            assert secret not in one.out + one.err.replace(f"({secret})", "")
            assert "Traceback" not in one.err
        for name, content in state_of(site).items():
            assert secret.encode() not in content, name


def test_tokens_are_in_the_token_file_alone(site: Site) -> None:
    """Of a person who logged in: access and refresh tokens, also where a request fails."""
    with Globus(by_itself=True) as service:
        campus = Campus(site, service)
        campus.configure({"client_id": service.app.id})
        _, said = campus.login()
        site.put("a.dat", b"a")
        service.faults.answer("GET */task_list", faults.internal_error(), 1)
        runs = [
            site.dropline(*words)
            for words in (("run", "--once", "--verbose"), ("whoami",), ("status",), ("ls", "share"))
        ]
        (file,) = (site.state / "globus").glob("tokens-*.json")
        text = file.read_text()
        tokens = {
            value
            for servers in json.loads(text)["data"].values()
            for one in servers.values()
            for key, value in one.items()
            if key in ("access_token", "refresh_token") and value
        }
        assert len(tokens) >= 2
        kept = state_of(site, "tokens-")
        for token in tokens:
            for one in runs:
                assert token not in one.out + one.err
            assert token not in said
            assert not [name for name, content in kept.items() if token.encode() in content]
        file.chmod(0o644)
        done = site.dropline("whoami")
        assert (done.code, file.stat().st_mode & 0o777) == (0, 0o600)
        assert f"{file} could be read by others until now" in done.err


@pytest.mark.parametrize(
    ("lines", "environment"),
    [
        (f'globus = {{ client_secrets = "{SECRET}" }}', {}),
        (f'globus = {{ client_secret = ["{SECRET}"] }}', {}),
        (f'globus = "{SECRET}"', {}),
        (f'globus = {{ client_secret = "{SECRET}", client_id = "no uuid" }}', {}),
        (f'globus = {{ client_secret = "{SECRET}" ', {}),
        ("", {"DROPLINE_GLOBUS": SECRET}),
        ("", {"DROPLINE_GLOBUS": json.dumps({"client_secrets": SECRET})}),
        ("", {"DROPLINE_GLOBUS__CLIENT_SECRETS": SECRET}),
    ],
)
def test_a_mistake_beside_a_secret_does_not_show_it(site: Site, lines: str, environment: dict[str, str]) -> None:
    """Where the configuration is wrong, the message has the place and not the secret."""
    site.config.write_text(lines + "\n" + site.config.read_text())
    done = site.dropline("check", environment=environment)
    assert (done.code, SECRET in done.out + done.err) == (2, False), done


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_state_is_its_owners_alone(site: Site) -> None:
    """Whatever the umask: the directory 0700, what is in it 0600; one that anybody may write to is refused."""
    before = os.umask(0)
    try:
        site.configure(site.rule(reclaim={"after": "0s"}))
        site.put("a.dat", b"a")
        assert site.once(fresh=True) == 0
    finally:
        os.umask(before)
    assert site.deletions()
    modes = {
        str(path.relative_to(site.root)): path.stat().st_mode & 0o777 for path in (site.state, *site.state.rglob("*"))
    }
    assert modes == dict.fromkeys(modes, 0o600) | {"state": 0o700, "state/log": 0o700}
    site.state.chmod(0o777)
    done = site.dropline("run", "--once")
    assert (done.code, f"everybody may replace {site.state}/agent.lock" in done.err) == (2, True)
    site.state.chmod(0o1777)
    done = site.dropline("run", "--once")
    assert (done.code, f"everybody may make files in {site.state}" in done.err) == (2, True), "a link to follow"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
@pytest.mark.parametrize("planted", ["", "state", "state/ledger.sqlite", "state/agent.lock"])
@pytest.mark.parametrize("command", ["run", "status"])
def test_a_state_directory_where_everybody_may_write_must_be_ones_own(site: Site, planted: str, command: str) -> None:
    """A ledger that another user put there would forget what is where, or name files to delete; so with its directory."""
    site.put("a.dat", b"a")
    assert site.once() == 0
    if planted:
        os.chown(site.root / planted, 65534, 65534)
        (site.state if "/" in planted else site.root).chmod(0o1777)
    done = site.dropline(command, *(["--once"] if command == "run" else []))
    if not planted:
        assert done.code == 0
    else:
        reasons = f"{site.root / planted} was made by another user", f"everybody may make files in {site.state}"
        assert (done.code, any(reason in done.err for reason in reasons)) == (2, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
@pytest.mark.parametrize("planted", ["", "ledger.sqlite", "ledger.sqlite-wal", "agent.lock", "deletions.jsonl"])
@pytest.mark.parametrize("mode", [0o700, 0o770])
def test_a_state_that_another_user_made_is_not_believed(site: Site, planted: str, mode: int) -> None:
    """Nor one thing in it, which who is in its group may put there: an agent does not start, and reports go on."""
    site.put("a.dat", b"a")
    assert site.once() == 0
    path = site.state / planted
    if planted and not path.exists():
        path.touch()
    os.chown(path, 65534, -1)
    site.state.chmod(mode)
    done = site.dropline("run", "--once")
    assert (done.code, f"{path} belongs to another user (uid 65534), and what is in" in done.err) == (2, True), done
    assert f"chown -R 0 {site.state}" in done.err
    assert site.dropline("status").code == 0


@pytest.mark.parametrize("name", ["ledger.sqlite", "agent.lock", "deletions.jsonl", "log", "log/dropline.log"])
def test_a_link_in_the_state_directory_is_not_followed(site: Site, name: str) -> None:
    """What it leads to is not made and not written to."""
    site.configure(site.rule(reclaim={"after": "0s"}))
    (site.state / name).parent.mkdir(mode=0o700, parents=True)
    victim = site.root / "victim"
    (site.state / name).symlink_to(victim)
    site.put("a.dat", b"a")
    done = site.dropline("run", "--once")
    if name in ("ledger.sqlite", "agent.lock"):
        assert done.code == 2
    elif name == "deletions.jsonl":
        assert done.code in (1, 2)
    else:
        assert (done.code, f"no log is kept in {site.state}/log: " in done.err) == (0, True)
    assert not victim.exists()
