"""Dropline as a service, as its manager and a person who needs help meet it."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.journey.conftest import Site


def surround(site: "Site", monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """Add to the environment of the site's commands."""
    monkeypatch.setattr(type(site), "environment", site.environment | more)


# What systemd is told


class Notifications:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(60)

    def next(self, key: str) -> str:
        """The value of the next message that has this key."""
        while True:
            facts = dict(line.split("=", 1) for line in self.socket.recv(65536).decode().splitlines())
            if key in facts:
                return facts[key]


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[Notifications]:
    made = Notifications(tmp_path / "notify")
    yield made
    made.socket.close()


def test_systemd_is_told_how_it_goes(
    site: "Site", notifications: Notifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready when it works, alive meanwhile, what is wrong in words, reloading, stopping."""
    surround(site, monkeypatch, NOTIFY_SOCKET=notifications.address)
    agent = site.start()
    assert notifications.next("READY") == "1"
    assert notifications.next("WATCHDOG") == "1"
    assert notifications.next("STATUS") == "at work"
    site.inbox.rename(site.root / "elsewhere")
    site.until(lambda: "inbox" in notifications.next("STATUS"), "the missing folder in the status")
    site.configure(site.rule(name="another"))
    assert int(notifications.next("MONOTONIC_USEC")) > 0
    assert notifications.next("READY") == "1"
    assert agent.stop() == 0
    assert notifications.next("STOPPING") == "1"


def test_an_agent_with_a_dead_thread_no_longer_says_that_it_is_alive(
    tmp_path: Path, notifications: Notifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manager then starts it anew; the reason is in the status."""
    from agent.app.run import _report
    from agent.host.worker import Clock, Worker
    from agent.observe.status import health

    monkeypatch.setenv("NOTIFY_SOCKET", notifications.address)
    clock = Clock()
    well, dead = Worker("intake", clock), Worker("reclaim", clock)
    for worker in (well, dead):
        worker.start(lambda now: None)
    _report(health([well, dead], [], 300.0, {}, {}, {}, clock()), alive=well.alive and dead.alive)
    assert notifications.socket.recv(65536) == b"STATUS=at work\nWATCHDOG=1"
    dead.stop()
    assert dead.join(60)
    _report(health([well, dead], [], 300.0, {}, {}, {}, clock()), alive=well.alive and dead.alive)
    assert notifications.socket.recv(65536) == b"STATUS=thread reclaim is dead"
    well.stop()
    assert well.join(60)


def test_nobody_who_listens_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a socket, with one that is gone, and with one in the abstract namespace."""
    from agent.host.posix import supervisor as systemd

    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.tell(READY="1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not systemd.tell(READY="1")
    if sys.platform == "linux":
        name = f"dropline-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(f"\0{name}")
            monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
            assert systemd.tell(STATUS="two\nlines")
            assert listener.recv(100) == b"STATUS=two lines"


# Installing


class System:
    """A `systemctl` that is not the system's: it writes down what it is asked for, and answers `show`."""

    def __init__(self, site: "Site") -> None:
        self.folder = site.root / "bin"
        self.record = site.root / "systemctl.log"
        self.shown = site.root / "shown"
        self.folder.mkdir()
        script = self.folder / "systemctl"
        script.write_text(
            f'#!/bin/sh\necho "$@" >> {shlex.quote(str(self.record))}\n'
            f'[ "$2" = show ] && cat {shlex.quote(str(self.shown))}\nexit 0\n'
        )
        script.chmod(0o755)
        self.environment = {"PATH": f"{self.folder}:{site.environment['PATH']}", "XDG_CONFIG_HOME": str(site.home)}

    def asked(self) -> list[str]:
        return self.record.read_text().splitlines()


linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd")


@linux
def test_a_person_installs_looks_and_uninstalls(site: "Site", monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root: the unit is in that person's folder, and systemctl --user is asked."""
    system = System(site)
    surround(site, monkeypatch, **system.environment)

    def dropline(*words: str) -> Any:
        return site.dropline("service", *words)

    unit = site.home / "systemd/user/dropline.service"
    done = dropline("install", "--user")
    assert (done.code, done.out.splitlines()[0]) == (0, f"wrote {unit}"), done.err
    assert f"--config {site.config}" in unit.read_text()
    assert system.asked() == ["--user daemon-reload", "--user enable dropline", "--user restart dropline"]
    assert dropline("install", "--user", "--print").out == unit.read_text()

    site.configure(agent={"listen": "127.0.0.1:0"})
    agent = site.start()
    surround(site, monkeypatch, DROPLINE_AGENT__LISTEN=agent.url.removeprefix("http://").rstrip("/"))
    system.shown.write_text("ActiveState=active\nSubState=running\nActiveEnterTimestamp=@1764000000\n")
    site.until(lambda: agent.get("/healthz").status == 200, "health")
    done = dropline("status", "--user", "--format", "json")
    assert done.json == {
        "name": "dropline", "installed": str(unit), "running": True, "since": 1764000000.0,
        "detail": "active (running)", "health": "ok",
    }  # fmt: skip
    assert done.code == 0
    assert agent.stop() == 0
    done = dropline("status", "--user")
    assert done.code == 1
    assert re.search(r"^health: no answer at 127.0.0.1:\d+: Connection refused$", done.out, re.M), done.out

    assert dropline("uninstall", "--user").code == 0
    assert not unit.exists()
    assert site.config.exists()
    done = dropline("uninstall", "--user")
    assert (done.code, done.err) == (
        2, f"dropline: {unit} is not there; `dropline service status` says what is installed\n",
    )  # fmt: skip


@linux
def test_a_service_of_the_computer_names_its_user(site: "Site") -> None:
    """Who runs it is a decision, and the state directory must be one that this user has."""
    for words in (["install"], ["install", "--user", "--run-as", "daemon"]):
        done = site.dropline("service", *words)
        assert (done.code, "--run-as USER" in done.err) == (2, True)
    done = site.dropline("service", "install", "--run-as", "daemon", "--print")
    assert (done.code, f"ReadWritePaths={site.state}" in done.out) == (0, True), done.err
    if os.geteuid() != 0:
        assert "only root may install" in site.dropline("service", "install", "--run-as", "daemon").err
        return
    done = site.dropline("service", "install", "--run-as", "no-such-user")
    assert done.err.startswith("dropline: there is no user no-such-user; make it")
    site.config.chmod(0o600)
    done = site.dropline("service", "install", "--run-as", "daemon")
    assert (done.code, done.err.startswith("dropline: as daemon: ")) == (2, True), done.err


# The last log lines


def test_the_last_lines_are_kept_within_a_bound(site: "Site") -> None:
    """As standard error had them, whatever is shown there; in files that do not grow for ever."""
    from agent.observe import logs as log

    site.put("a.dat", b"x")
    done = site.dropline("run", "--once", "--verbose")
    assert done.code == 0
    kept = (site.state / log.FILE).read_text()
    assert [line.split()[2] for line in kept.splitlines() if "a.dat" in line] == [
        "candidate", "complete", "batched", "proved", "verified",
    ]  # fmt: skip
    assert kept == done.err
    assert log.last_lines(site.state, 2) == kept.splitlines()[-2:]


def test_kept_files_rotate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of them, and the newest lines are found across them, in order."""
    import logging

    from agent.observe import logs as log

    monkeypatch.setattr(log, "KEPT", 2000)
    with log.kept(tmp_path):
        for number in range(200):
            logging.getLogger("agent.test").info("line %d", number)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "log").iterdir()}
    assert sizes.keys() == {"dropline.log", "dropline.log.1", "dropline.log.2", "dropline.log.3"}
    assert min(size for name, size in sizes.items() if name != "dropline.log") >= 2000
    assert max(sizes.values()) < 2100, "one line more"
    assert [line.split()[-1] for line in log.last_lines(tmp_path, 90)] == [str(number) for number in range(110, 200)]


def test_a_state_directory_that_keeps_no_log_stops_nothing(site: "Site") -> None:
    """A file in the way is said, and the delivery goes on."""
    site.state.mkdir()
    (site.state / "log").write_text("")
    site.put("a.dat", b"x")
    done = site.dropline("run", "--once")
    assert (done.code, site.delivered) == (0, {"a.dat": b"x"})
    assert f"WARNING no log is kept in {site.state}/log: " in done.err


# The support bundle

SENTINELS = {
    "client": "sentinel-of-the-client", "file": "sentinel-in-the-file", "hook": "sentinel-in-the-path",
    "query": "sentinel-in-the-query", "header": "sentinel-of-the-header", "argument": "sentinel-argument",
    "body": "sentinel-in-the-body", "chat": "sentinel-of-the-chat",
    "mail": "sentinel-of-the-mail", "token": "sentinel-of-the-token-file",
}  # fmt: skip


def unpacked(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as bundle:
        return {name: bundle.read(name).decode() for name in bundle.namelist()}


def test_the_bundle_has_what_helps_and_no_secret(site: "Site", monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of the file, of the files that it names, of the environment, of tokens; in the log as well."""
    for name in ("file", "header", "mail"):
        (site.root / name).write_text(SENTINELS[name] + "\n")
        (site.root / name).chmod(0o600)
    hook = f"https://example.org/{SENTINELS['hook']}/x?key={SENTINELS['query']}"
    rule = site.rule(
        then=[
            {"webhook": hook, "secret_file": "header"},
            {"command": ["false", "--password", SENTINELS["argument"]]},
            {"flow": "7c1f4a0e-3c67-4a2e-9a55-0d3c0b6c8f55", "body": {"key": SENTINELS["body"]}},
        ]
    )
    site.configure(rule)
    (site.state / "globus").mkdir(parents=True)
    (site.state / "globus/tokens-x.json").write_text(json.dumps({"refresh_token": SENTINELS["token"]}))
    (site.state / "log").mkdir()
    told = "".join(f"2026-01-31T12:00:00.000Z INFO {name} said {secret}\n" for name, secret in SENTINELS.items())
    (site.state / "log/dropline.log").write_text(f"{told}url http://ada:pw@proxy/x?a=b Authorization: Bearer abc\n")
    with site.config.open("a") as config:
        config.write('[globus]\nclient_id = "6f2c1e0a-6f0e-4c63-9d5a-2b7f8f1f0a11"\n')
        config.write('client_secret_file = "file"\n')
        config.write(f'[notify.webhook]\nurl = "https://hooks.example.org/services/{SENTINELS["chat"]}"\n')
        config.write(
            '[notify.email]\nhost = "mail"\nfrom = "a@x.org"\nto = ["b@x.org"]\nuser = "u"\npassword_file = "mail"\n'
        )
    surround(site, monkeypatch, DROPLINE_AGENT__SWEEP_EVERY="7m", DROPLINE_OTHER_SECRET=SENTINELS["client"])
    done = site.dropline("report", "--output", "bundle.zip")
    assert done.code == 0, done.err
    found = unpacked(site.root / "bundle.zip")
    assert list(found) == [
        "configuration.json", "system.json", "status.json", "refused.json", "batches.json", "log.txt",
    ]  # fmt: skip
    assert all(name in done.out for name in found)
    whole = "\n".join(found.values())
    assert [name for name, secret in SENTINELS.items() if secret in whole] == []
    assert found["log.txt"].splitlines()[0] == "2026-01-31T12:00:00.000Z INFO client said [masked]"
    assert found["log.txt"].splitlines()[-1] == (
        "url http://[masked]@proxy/x?[masked] Authorization: [masked] [masked]"
    )
    configuration = json.loads(found["configuration.json"])
    then = configuration["settings"]["rules"][0]["then"]
    assert [then[0]["webhook"], then[1]["command"], then[2]["body"]] == [
        "https://example.org/[masked]", ["false", "[masked]", "[masked]"], "[masked]",
    ]  # fmt: skip
    assert configuration["settings"]["notify"]["webhook"]["url"] == "https://hooks.example.org/[masked]"
    assert configuration["settings"]["agent"]["sweep_every"] == 420
    assert configuration["settings"]["globus"]["client_secret_file"] == str(site.root / "file")
    assert configuration["environment"] == ["DROPLINE_AGENT__SWEEP_EVERY", "DROPLINE_OTHER_SECRET"]
    assert (site.root / "bundle.zip").stat().st_mode & 0o777 == 0o600


def test_the_bundle_says_what_is_refused_and_where_things_are(site: "Site") -> None:
    """Status, reasons, places, versions: as the commands say them."""
    site.put("a.dat", b"x")
    os.mkfifo(site.inbox / "pipe")
    assert site.once() == 1
    assert site.dropline("report", "-o", "b.zip").code == 0
    found = {name: json.loads(text) for name, text in unpacked(site.root / "b.zip").items() if name.endswith("json")}
    assert found["status.json"] == site.status()
    assert [(one["path"], one["reason"][:6]) for one in found["refused.json"]] == [(f"{site.inbox}/pipe", "a FIFO")]
    assert [one["files"] for one in found["batches.json"]] == [1]
    assert {name: one["path"] for name, one in found["system.json"]["places"].items()} == {
        "state_dir": str(site.state), "rule r": str(site.inbox), "destination share": str(site.share),
    }  # fmt: skip
    assert {"dropline", "pydantic", "globus-sdk"} <= found["system.json"]["versions"].keys()
    assert found["system.json"]["agent_running"] is False


def test_a_bundle_is_made_of_a_configuration_that_is_not_good(site: "Site") -> None:
    """That is when it is needed: the error is in it, the ledger is found, and no secret of the file is."""
    assert site.once() == 0
    text = site.config.read_text()
    site.config.write_text(f'{text}[globus]\nclient_secret = "{SENTINELS["client"]}"\nclient_idd = "x"\n')
    done = site.dropline("report", "-o", "b.zip")
    assert (done.code, "client_idd: unknown key" in done.out) == (0, True)
    found = unpacked(site.root / "b.zip")
    assert SENTINELS["client"] not in "".join(found.values())
    assert "unknown key" in json.loads(found["configuration.json"])["mistake"]
    assert "destinations" in json.loads(found["status.json"])
    site.config.write_text(f'{text}[globus]\nclient_secret = "{SENTINELS["client"]}"\n[')
    assert site.dropline("report", "-o", "c.zip").code == 0
    assert SENTINELS["client"] not in "".join(unpacked(site.root / "c.zip").values())
    done = site.dropline("report", "-o", "c.zip")
    assert (done.code, done.err) == (2, "dropline: c.zip is there already; name another file with --output\n")


# Habits


def test_the_schema_is_printed_and_written(site: "Site") -> None:
    """To standard output, or to a file that the configuration of `init` names."""
    printed = site.dropline("schema").json
    assert site.dropline("schema", "--output", "dropline.schema.json").code == 0
    assert json.loads((site.root / "dropline.schema.json").read_text()) == printed
    assert site.dropline("init", "fresh.toml", "--watch", "w", "--to", "t").code == 0
    assert (site.root / "fresh.toml").read_text().startswith("#:schema ./dropline.schema.json\n")


def test_shells_are_given_their_completion(site: "Site") -> None:
    """For bash: a script that the real bash takes, and the names of commands and options when it asks."""
    command = Path(sysconfig.get_path("scripts"), "dropline")

    def said(*words: str, **more: str) -> str:
        environment = site.environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"} | more
        return subprocess.run([command, *words], env=environment, capture_output=True, text=True, check=True).stdout

    script = said("--show-completion", "bash")
    assert "_DROPLINE_COMPLETE=complete_bash" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    asked = {"_DROPLINE_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    assert said(COMP_WORDS="dropline service inst", **asked).split() == ["install"]
