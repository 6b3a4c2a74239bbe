"""Globus as a user meets it: logging in, looking around, and an agent that waits for a login and goes on by itself."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest

from agent.app.configuration import check
from rules.config.config_error import RuleError
from tests.globus import Collection, Globus

if TYPE_CHECKING:
    from tests.journey.conftest import Site

TRANSFER = "urn:globus:auth:scope:transfer.api.globus.org:all"


class Campus:
    """A user's site that delivers to a collection of the stand-in."""

    def __init__(self, site: Site, service: Globus) -> None:
        self.site, self.service = site, service
        site.more |= service.environment
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

    def login(self, *options: str) -> tuple[list[str], str]:
        """`dropline login` with a person at the browser: (URLs that it printed, all that it said)."""
        said, keyboard = self.site.root / "login", self.site.root / "keyboard"
        said.write_text("")
        if not keyboard.exists():
            os.mkfifo(keyboard)
        urls: list[str] = []
        process = self.site.zygote.start(
            ["login", *options], self.site.root, self.site.environment, out=said, err=said, stdin=keyboard
        )
        with keyboard.open("w") as typed:

            def ended() -> bool:
                asked: list[str] = re.findall(r"(https?://\S+/authorize\?\S+)\n", said.read_text())
                for url in asked[len(urls) :]:
                    print(self.service.code(url), file=typed, flush=True)
                    urls.append(url)
                return not process.running

            self.site.until(ended, "the login")
        assert process.code == 0, said.read_text()
        return urls, said.read_text()

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
    before = campus.site.dropline("whoami")
    assert (before.code, before.err) == (2, "dropline: not logged in to Globus; run `dropline login`\n")
    urls, said = campus.login()
    assert [scopes(url) for url in urls] == [{"openid", TRANSFER}]
    assert f"logged in as {campus.service.person.username}" in said
    folder = campus.site.state / "globus"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {
        "globus": 0o700, f"tokens-{campus.service.app.id}.json": 0o600, "collections.json": 0o600,
    }  # fmt: skip
    who = json.loads(campus.site.dropline("whoami", "--format", "json").out)
    assert (who["id"], who["name"], who["service_account"]) == (
        campus.service.person.id, campus.service.person.username, False,
    )  # fmt: skip
    (campus.site.share / "sub").mkdir()
    (campus.site.share / "sub/scan.h5").write_bytes(b"x" * 5)
    assert "scan.h5" in campus.site.dropline("ls", "share:sub").out
    assert "sub/" in campus.site.dropline("ls", "share").out
    (entry,) = json.loads(campus.site.dropline("ls", "share:/sub", "--format", "json").out)
    assert (entry["name"], entry["kind"], entry["size"]) == ("scan.h5", "file", 5)
    missing = campus.site.dropline("ls", "share:nowhere")
    assert (missing.code, "Traceback" in missing.err) == (1, False)
    assert campus.site.dropline("ls", "elsewhere").code == 2
    (found,) = json.loads(campus.site.dropline("collections", "Campus", "--format", "json").out)
    assert (found["id"], found["name"]) == (campus.share.id, "Campus")
    assert campus.site.dropline("logout").code == 0
    assert campus.site.dropline("whoami").code == 2


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
    assert campus.site.dropline("run", "--once").code == 0
    assert (campus.site.share / "a.dat").read_bytes() == b"x"


def test_an_agent_waits_for_a_login_and_goes_on_by_itself(campus: Campus) -> None:
    """Not logged in, and later revoked: refused with the command to run in status, health and log; never a prompt."""
    campus.configure({"client_id": campus.service.app.id}, {"listen": "127.0.0.1:0"})
    campus.site.put("a.dat", b"one")
    agent = campus.site.start()
    campus.site.until(lambda: agent.get("/healthz").status == 503, "refused")
    why = "not logged in to Globus; run `dropline login`"
    campus.site.until(lambda: why in campus.site.dropline("status").out, "the reason")
    assert why in agent.get("/healthz").body
    (place,) = json.loads(agent.get("/status.json").body)["destinations"]
    assert (place["up"], place["refused"], place["reason"]) == (False, True, why)
    assert f"REFUSED: {why}" in campus.site.dropline("status").out
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
    assert "the login lasts until" in campus.site.dropline("whoami").out
    assert "the login to Globus ends" not in campus.site.dropline("run", "--once").err
    (tokens,) = (campus.site.state / "globus").glob("tokens-*")
    os.utime(tokens, (0, tokens.stat().st_mtime - 170 * 86400))
    assert "the login to Globus ends in 10 d unless" in campus.site.dropline("run", "--once").err
    assert "the login to Globus ends in 10 d unless" in campus.site.dropline("whoami").out


def test_the_next_login_asks_for_what_the_collection_demanded(campus: Campus) -> None:
    """A policy that the session does not meet refuses the destination; `dropline login` alone meets it."""
    campus.configure({"client_id": campus.service.app.id})
    campus.login()
    campus.share.session_policy = {"session_required_single_domain": "example.org"}
    campus.site.put("a.dat", b"x")
    assert campus.site.dropline("run", "--once").code == 1
    told = campus.site.dropline("status").out
    assert "REFUSED: Globus wants another login" in told
    urls, _ = campus.login()
    assert "session_required_single_domain" in urls[0]
    assert campus.site.dropline("run", "--once").code == 0
    assert (campus.site.share / "a.dat").read_bytes() == b"x"


@pytest.mark.parametrize(("mode", "good"), [(0o600, True), (0o640, True), (0o644, False), (0o620, False)])
def test_a_service_account_needs_no_login_but_a_private_secret(campus: Campus, mode: int, good: bool) -> None:
    """The secret's file must be its owner's; then files travel, and whoami names the account."""
    secret = campus.site.root / "globus.secret"
    secret.write_text("not-so-secret\n")
    secret.chmod(mode)
    campus.configure({"client_id": campus.service.account.id, "client_secret_file": "globus.secret"})
    campus.site.put("a.dat", b"x")
    done = campus.site.dropline("run", "--once")
    assert "not-so-secret" not in done.out + done.err + campus.logged()
    if not good:
        assert (done.code, f"chmod 600 {secret}" in done.err) == (2, True)
        return
    assert (done.code, (campus.site.share / "a.dat").read_bytes()) == (0, b"x")
    assert "a service account" in campus.site.dropline("whoami").out
    assert campus.site.dropline("login").code == 2


def test_what_is_proved_by_checksum_may_be_reclaimed(campus: Campus) -> None:
    """The local copy goes only with evidence by checksum; with `evidence = "stat"` adopted ones go, too."""
    globus = {"client_id": campus.service.account.id, "client_secret": "not-so-secret"}
    campus.site.put("sent.dat", b"x")
    adopted = campus.site.put("adopted.dat", b"y")
    copy = campus.site.share / "adopted.dat"
    copy.write_bytes(b"y")
    os.utime(copy, ns=(0, adopted.stat().st_mtime_ns))
    campus.configure(globus, reclaim={"after": "0s"})
    assert campus.site.dropline("run", "--once").code == 0
    assert campus.site.local == {"adopted.dat": b"y"}
    plan = json.loads(campus.site.dropline("reclaim", "--dry-run", "--format", "json").out)
    assert [one["reason"] for one in plan] == [
        "at share, only size and mtime were compared, and the rule demands a checksum"
    ]
    campus.configure(globus, reclaim={"after": "0s", "evidence": "stat"})
    assert campus.site.dropline("run", "--once").code == 0
    assert campus.site.local == {}
    assert {name: content for name, content in campus.site.delivered.items() if not name.startswith(".")} == {
        "sent.dat": b"x", "adopted.dat": b"y",
    }  # fmt: skip


def test_what_a_collection_tells_of_copies_is_what_counts(campus: Campus) -> None:
    """Existence and size disprove, mtime alone is a doubt; a file travels again beside what stands there, in a task."""
    campus.configure({"client_id": campus.service.account.id, "client_secret": "not-so-secret"})
    for name in ("cut.dat", "gone.dat", "same.dat", "touched.dat"):
        campus.site.put(f"run/{name}", b"four")
    assert campus.site.dropline("run", "--once").code == 0
    done = campus.site.dropline("verify", "share")
    assert (done.code, done.out) == (
        0, "share: 4 copies (16 B) were read again: 4 as delivered by size and mtime, which is all that can be asked there\n",
    )  # fmt: skip
    share = campus.site.share / "run"
    (share / "cut.dat").write_bytes(b"cut")
    (share / "gone.dat").unlink()
    os.utime(share / "touched.dat", (1, 1))
    found = json.loads(campus.site.dropline("verify", "share", "--format", "json").out)
    assert {key: count for key, count in found["outcomes"].items() if count} == {
        "stat": 1, "changed": 1, "missing": 1, "doubtful": 1,
    }  # fmt: skip
    campus.site.dropline("run", "--once")
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
    assert campus.site.dropline("run", "--once").code == 1
    assert (campus.site.share / "run1/a.dat").read_bytes() == b"x"
    waiting = json.loads(campus.site.dropline("status", "--format", "json").out)["outbox"]
    named = [
        (re.sub("^flow-[0-9a-f]{8}$", "flow", one["action"]), "run `dropline login`" in one["reason"])
        for one in waiting
    ]
    assert named == [
        ("flow", True), ("share-eve@example.org", True),
    ]  # fmt: skip
    urls, _ = campus.login()
    user = f"https://auth.globus.org/scopes/{flow.id}/flow_{flow.id.replace('-', '_')}_user"
    status = "https://auth.globus.org/scopes/eec9b274-0c81-4334-bdc2-54e90e689b9a/run_status"
    names = "urn:globus:auth:scope:auth.globus.org:view_identities"
    assert [scopes(url) for url in urls] == [{"openid", TRANSFER, user, status, names}]
    assert campus.site.dropline("run", "--once").code == 0
    assert [run["flow_id"] for run in campus.service.flows.runs.values()] == [flow.id]
    assert [(rule.path, rule.principal) for rule in campus.share.rules.values()] == [("/run1/", eve.id)]


def test_the_agent_acts_as_three_at_once(campus: Campus) -> None:
    """Two people and a service account, each with their own destination: one is revoked while it runs, and the others go on."""
    site, service = campus.site, campus.service
    people = {name: service.auth.directory.person(f"{name}@example.org", name) for name in ("alice", "bob")}
    shares = {name: service.collection(name, site.root / name, owner=who) for name, who in people.items()}
    secret = site.root / "secret"
    secret.write_text(service.account.secret or "")
    secret.chmod(0o600)
    table = {"transport": "globus", "source_collection": campus.source.id, "source_root": str(site.inbox)}
    destinations = {
        "own": table | {"collection": campus.share.id},
        **{name: table | {"collection": shares[name].id, "login": name} for name in people},
    }
    site.configure(site.rule(deliver=[{"to": name} for name in destinations]), destinations=destinations)
    globus = {
        "client_id": service.account.id, "client_secret_file": str(secret), "login_client_id": service.app.id,
    }  # fmt: skip
    text = site.config.read_text()
    site.config.write_text(text + f"globus = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in globus.items())} }}\n")
    before = site.dropline("whoami")
    assert (before.code, "alice: not logged in to Globus; run `dropline login --as alice`" in before.out) == (2, True)
    assert site.dropline("login", "--as", "carol").code == 2
    for name, who in people.items():
        service.auth.browser = who
        _, said = campus.login("--as", name)
        assert f"logged in as {who.username}, for destinations with login = {name}" in said
    who = json.loads(site.dropline("whoami", "--format", "json").out)
    assert [(one["login"], one["id"], one["service_account"]) for one in who["logins"]] == [
        (None, service.account.id, True), ("alice", people["alice"].id, False), ("bob", people["bob"].id, False),
    ]  # fmt: skip
    agent = site.start()
    site.put("a.dat", b"one")
    site.until(lambda: all((site.root / name / "a.dat").exists() for name in people), "delivery as both")
    site.until((site.share / "a.dat").exists, "delivery as the service account")
    service.auth.tokens.revoke_all(identity=people["bob"].id)
    site.put("b.dat", b"two")
    site.until((site.root / "alice/b.dat").exists, "delivery as alice")
    site.until((site.share / "b.dat").exists, "delivery as the service account")
    agent.logs("run `dropline login --as bob`")
    assert not (site.root / "bob/b.dat").exists()
    lines = {one["name"]: one for one in site.dropline("status", "--format", "json").json["destinations"]}
    assert {name: line["up"] for name, line in lines.items()} == {"own": True, "alice": True, "bob": False}
    service.auth.browser = people["bob"]
    campus.login("--as", "bob")
    site.until((site.root / "bob/b.dat").exists, "delivery after the second login")


def test_people_need_an_application_of_their_own_beside_a_service_account() -> None:
    """Nobody can log in by a service account's application: the configuration says so."""
    text = """
    globus = { client_id = "11111111-1111-4111-8111-111111111111", client_secret = "s" }
    [destinations.campus]
    transport = "globus"
    collection = "22222222-2222-4222-8222-222222222222"
    login = "alice"
    """
    with pytest.raises(
        RuleError, match=r"\[destinations.campus\]: login: nobody can log in .* set login_client_id in \[globus\]"
    ):
        check(tomllib.loads(text), "f.toml", PurePath("/cfg"))
