"""Globus as a user meets it: logging in, looking around, and an agent that waits for a login and goes on by itself."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.globus import Collection, Globus

if TYPE_CHECKING:
    from tests.journey.conftest import Site

DROPLINE = (sys.executable, "-P", "-c", "from agent.cli import main; main()")
TRANSFER = "urn:globus:auth:scope:transfer.api.globus.org:all"


class Campus:
    """A user's site that delivers to a collection of the stand-in."""

    def __init__(self, site: Site, service: Globus) -> None:
        self.site, self.service = site, service
        self.source = service.collection("Instrument", site.inbox)
        self.share: Collection = service.collection("Campus", site.share)
        self.extra: dict[str, Any] = {}

    def configure(self, globus: dict[str, Any], agent: dict[str, Any] | None = None, **keys: Any) -> None:
        table = {
            "transport": "globus", "collection": self.share.id, "source_collection": self.source.id,
            "source_root": str(self.site.inbox),
        }  # fmt: skip
        self.site.configure(self.site.rule(**keys), destinations={"share": table}, agent=agent)
        text = self.site.config.read_text()
        self.site.config.write_text(
            text + f"globus = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in globus.items())} }}\n"
        )

    @property
    def environment(self) -> dict[str, str]:
        return self.site.environment | self.service.environment

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*DROPLINE, *words], cwd=self.site.root, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def login(self) -> tuple[list[str], str]:
        """`dropline login` with a person at the browser: (URLs that it printed, all that it said)."""
        urls, said = [], ""
        with subprocess.Popen(
            [*DROPLINE, "login"], cwd=self.site.root, env=self.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                said += line
                found = re.search(r"https?://\S+/authorize\?\S+", line)
                if found:
                    urls.append(found[0])
                    process.stdin.write(self.service.code(found[0]) + "\n")
                    process.stdin.flush()
            assert process.wait(60) == 0, said
        return urls, said

    def logged(self) -> str:
        """Everything that was written anywhere but into the token files."""
        found = "".join(path.read_text() for path in self.site.root.glob("agent*.log"))
        for path in self.site.state.rglob("ledger.sqlite*"):
            found += path.read_bytes().decode("latin-1")
        return found


@pytest.fixture
def campus(site: Site) -> Iterator[Campus]:
    """A site, and a service that moves files by itself."""
    with Globus(by_itself=True) as service:
        yield Campus(site, service)
        site.stop()


def scopes(url: str) -> set[str]:
    """What an authorize URL asks for."""
    from urllib.parse import parse_qs, urlsplit

    return set(parse_qs(urlsplit(url).query)["scope"][0].split(" "))


def test_a_person_logs_in_looks_around_and_logs_out(campus: Campus) -> None:
    """Login asks for Transfer alone, tokens are private, whoami and ls work, logout revokes."""
    campus.configure({"client_id": campus.service.app.id})
    before = campus.run("whoami")
    assert (before.returncode, before.stderr) == (2, "dropline: not logged in to Globus; run `dropline login`\n")
    urls, said = campus.login()
    assert [scopes(url) for url in urls] == [{"openid", TRANSFER}]
    assert f"logged in as {campus.service.person.username}" in said
    folder = campus.site.state / "globus"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {
        "globus": 0o700, f"tokens-{campus.service.app.id}.json": 0o600, "collections.json": 0o600,
    }  # fmt: skip
    who = json.loads(campus.run("whoami", "--format", "json").stdout)
    assert (who["id"], who["name"], who["service_account"]) == (
        campus.service.person.id, campus.service.person.username, False,
    )  # fmt: skip
    (campus.site.share / "sub").mkdir()
    (campus.site.share / "sub/scan.h5").write_bytes(b"x" * 5)
    assert "scan.h5" in campus.run("ls", "share:sub").stdout
    assert "sub/" in campus.run("ls", "share").stdout
    (entry,) = json.loads(campus.run("ls", "share:/sub", "--format", "json").stdout)
    assert (entry["name"], entry["kind"], entry["size"]) == ("scan.h5", "file", 5)
    missing = campus.run("ls", "share:nowhere")
    assert (missing.returncode, "Traceback" in missing.stderr) == (1, False)
    assert campus.run("ls", "elsewhere").returncode == 2
    (found,) = json.loads(campus.run("collections", "Campus", "--format", "json").stdout)
    assert (found["id"], found["name"]) == (campus.share.id, "Campus")
    assert campus.run("logout").returncode == 0
    assert campus.run("whoami").returncode == 2


def test_a_mapped_collection_needs_a_second_consent_once(campus: Campus) -> None:
    """data_access is asked for where it is needed, and the next login knows it from the start."""
    campus.share.entity_type = "GCSv5_mapped_collection"
    campus.configure({"client_id": campus.service.app.id})
    wanted = {"openid", f"{TRANSFER}[*https://auth.globus.org/scopes/{campus.share.id}/data_access]"}
    urls, _ = campus.login()
    assert [scopes(url) for url in urls] == [{"openid", TRANSFER}, wanted]
    urls, _ = campus.login()
    assert [scopes(url) for url in urls] == [wanted]
    campus.site.put("a.dat", b"x")
    assert campus.run("run", "--once").returncode == 0
    assert (campus.site.share / "a.dat").read_bytes() == b"x"


def test_an_agent_waits_for_a_login_and_goes_on_by_itself(campus: Campus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not logged in, and later revoked: refused with the command to run in status, health and log; never a prompt."""
    for name, value in campus.service.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        type(campus.site), "environment", property(lambda site: _environment(site) | campus.service.environment)
    )
    campus.configure({"client_id": campus.service.app.id}, {"listen": "127.0.0.1:0"})
    campus.site.put("a.dat", b"one")
    agent = campus.site.start()
    campus.site.until(lambda: agent.get("/healthz").status == 503, "refused")
    why = "not logged in to Globus; run `dropline login`"
    campus.site.until(lambda: why in campus.run("status").stdout, "the reason")
    assert why in agent.get("/healthz").body
    (place,) = json.loads(agent.get("/status.json").body)["destinations"]
    assert (place["up"], place["refused"], place["reason"]) == (False, True, why)
    assert f"REFUSED: {why}" in campus.run("status").stdout
    campus.login()
    campus.site.until((campus.site.share / "a.dat").exists, "delivery after the login")
    campus.site.until(lambda: agent.get("/healthz").status == 200, "healthy")
    assert 'dropline_credentials_expiry_timestamp_seconds{destination="share"}' in agent.get("/metrics").body
    campus.service.auth.tokens.revoke_all()
    campus.site.put("b.dat", b"two")
    campus.site.until(lambda: agent.get("/healthz").status == 503, "refused again")
    assert "dropline login" in agent.get("/healthz").body
    campus.login()
    campus.site.until((campus.site.share / "b.dat").exists, "delivery after the second login")
    assert agent.stop() == 0
    tokens = re.findall(r'_token": "([^"]{8,})"', next((campus.site.state / "globus").glob("tokens-*")).read_text())
    assert tokens
    assert not [token for token in tokens if token in campus.logged()]


def test_a_login_that_was_not_used_for_long_is_told_of(campus: Campus) -> None:
    """Two weeks before an unused login dies, the log and `whoami` say so."""
    campus.configure({"client_id": campus.service.app.id})
    campus.login()
    assert "the login lasts until" in campus.run("whoami").stdout
    assert "the login to Globus ends" not in campus.run("run", "--once").stderr
    (tokens,) = (campus.site.state / "globus").glob("tokens-*")
    os.utime(tokens, (0, tokens.stat().st_mtime - 170 * 86400))
    assert "the login to Globus ends in 10 d unless" in campus.run("run", "--once").stderr
    assert "the login to Globus ends in 10 d unless" in campus.run("whoami").stdout


def test_the_next_login_asks_for_what_the_collection_demanded(campus: Campus) -> None:
    """A policy that the session does not meet refuses the destination; `dropline login` alone meets it."""
    campus.configure({"client_id": campus.service.app.id})
    campus.login()
    campus.share.session_policy = {"session_required_single_domain": "example.org"}
    campus.site.put("a.dat", b"x")
    assert campus.run("run", "--once").returncode == 1
    told = campus.run("status").stdout
    assert "REFUSED: Globus wants another login" in told
    urls, _ = campus.login()
    assert "session_required_single_domain" in urls[0]
    assert campus.run("run", "--once").returncode == 0
    assert (campus.site.share / "a.dat").read_bytes() == b"x"


def _environment(site: Site) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "SYSTEMROOT") if key in os.environ}
    return kept | {"HOME": str(site.home), "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}


@pytest.mark.parametrize(("mode", "good"), [(0o600, True), (0o640, True), (0o644, False), (0o620, False)])
def test_a_service_account_needs_no_login_but_a_private_secret(campus: Campus, mode: int, good: bool) -> None:
    """The secret's file must be its owner's; then files travel, and whoami names the account."""
    secret = campus.site.root / "globus.secret"
    secret.write_text("not-so-secret\n")
    secret.chmod(mode)
    campus.configure({"client_id": campus.service.account.id, "client_secret_file": "globus.secret"})
    campus.site.put("a.dat", b"x")
    done = campus.run("run", "--once")
    assert "not-so-secret" not in done.stdout + done.stderr + campus.logged()
    if not good:
        assert (done.returncode, f"chmod 600 {secret}" in done.stderr) == (2, True)
        return
    assert (done.returncode, (campus.site.share / "a.dat").read_bytes()) == (0, b"x")
    assert "a service account" in campus.run("whoami").stdout
    assert campus.run("login").returncode == 2


def test_what_is_proved_by_checksum_may_be_reclaimed(campus: Campus) -> None:
    """The local copy goes only with evidence by checksum; with `evidence = "stat"` adopted ones go, too."""
    globus = {"client_id": campus.service.account.id, "client_secret": "not-so-secret"}
    campus.site.put("sent.dat", b"x")
    adopted = campus.site.put("adopted.dat", b"y")
    copy = campus.site.share / "adopted.dat"
    copy.write_bytes(b"y")
    os.utime(copy, ns=(0, adopted.stat().st_mtime_ns))
    campus.configure(globus, reclaim={"after": "0s"})
    assert campus.run("run", "--once").returncode == 0
    assert campus.site.local == {"adopted.dat": b"y"}
    plan = json.loads(campus.run("reclaim", "--dry-run", "--format", "json").stdout)
    assert [one["reason"] for one in plan] == [
        "at share, only size and mtime were compared, and the rule demands a checksum"
    ]
    campus.configure(globus, reclaim={"after": "0s", "evidence": "stat"})
    assert campus.run("run", "--once").returncode == 0
    assert campus.site.local == {}
    assert {name: content for name, content in campus.site.delivered.items() if not name.startswith(".")} == {
        "sent.dat": b"x", "adopted.dat": b"y",
    }  # fmt: skip


def test_what_a_collection_tells_of_copies_is_what_counts(campus: Campus) -> None:
    """Existence and size disprove, mtime alone is a doubt; a file travels again beside what stands there, in a task."""
    campus.configure({"client_id": campus.service.account.id, "client_secret": "not-so-secret"})
    for name in ("cut.dat", "gone.dat", "same.dat", "touched.dat"):
        campus.site.put(f"run/{name}", b"four")
    assert campus.run("run", "--once").returncode == 0
    done = campus.run("verify", "share")
    assert (done.returncode, done.stdout) == (
        0, "share: 4 copies (16 B) were read again: 4 as delivered by size and mtime, which is all that can be asked there\n",
    )  # fmt: skip
    share = campus.site.share / "run"
    (share / "cut.dat").write_bytes(b"cut")
    (share / "gone.dat").unlink()
    os.utime(share / "touched.dat", (1, 1))
    found = json.loads(campus.run("verify", "share", "--format", "json").stdout)
    assert {key: count for key, count in found["outcomes"].items() if count} == {
        "stat": 1, "changed": 1, "missing": 1, "doubtful": 1,
    }  # fmt: skip
    campus.run("run", "--once")
    assert {path.name: path.read_bytes() for path in share.iterdir()} == {
        "cut.dat": b"cut", "cut~1.dat": b"four", "gone.dat": b"four", "same.dat": b"four", "touched.dat": b"four",
    }  # fmt: skip
    assert {tuple(states) for states in campus.site.states().values()} == {("verified",)}


def test_login_asks_for_flows_and_names_and_an_old_login_still_delivers(campus: Campus) -> None:
    """A login from before `then` and `share_with` delivers on; what lacks it waits, says so, and goes after a login."""
    campus.configure({"client_id": campus.service.app.id})
    campus.login()
    flow = campus.service.flows.flow("Process")
    campus.share.entity_type = "GCP_guest_collection"
    eve = campus.service.auth.directory.person("eve@example.org")
    campus.configure({"client_id": campus.service.app.id}, then=[{"flow": flow.id}], share_with=["eve@example.org"])
    campus.site.put("run1/a.dat", b"x")
    assert campus.run("run", "--once").returncode == 1
    assert (campus.site.share / "run1/a.dat").read_bytes() == b"x"
    waiting = json.loads(campus.run("status", "--format", "json").stdout)["outbox"]
    assert [(one["action"], "run `dropline login`" in one["reason"]) for one in waiting] == [
        ("flow", True), ("share-eve@example.org", True),
    ]  # fmt: skip
    urls, _ = campus.login()
    user = f"https://auth.globus.org/scopes/{flow.id}/flow_{flow.id.replace('-', '_')}_user"
    status = "https://auth.globus.org/scopes/eec9b274-0c81-4334-bdc2-54e90e689b9a/run_status"
    names = "urn:globus:auth:scope:auth.globus.org:view_identities"
    assert [scopes(url) for url in urls] == [{"openid", TRANSFER, user, status, names}]
    assert campus.run("run", "--once").returncode == 0
    assert [run["flow_id"] for run in campus.service.flows.runs.values()] == [flow.id]
    assert [(rule.path, rule.principal) for rule in campus.share.rules.values()] == [("/run1/", eve.id)]
