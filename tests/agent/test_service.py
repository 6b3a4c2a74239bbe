"""The service: units and property lists that their systems accept, and what systemd is asked for."""

import logging
import os
import plistlib
import re
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from agent.app.configuration import check
from agent.cli import service
from agent.errors import Refused
from agent.host.service import MARK, Condition, Job, plist
from agent.host.service.job import checked, job
from agent.host.service.programs import Said, run
from agent.host.service.systemd import Systemd
from agent.host.service.tasks import Tasks
from agent.host.windows import event_log
from rules.config.settings import Configuration
from tests.programs import program

ROOT = Path(__file__).resolve().parents[2]
DROPLINE = f"{sysconfig.get_path('scripts')}/dropline"


class Recorder:
    """Stands for the system: writes down what it is asked for, and answers as it was told."""

    def __init__(self, **answers: Said) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.answers = answers

    def __call__(self, *words: str, user: str | None = None) -> Said:
        self.asked.append(words)
        return next((said for verb, said in self.answers.items() if verb in words), Said(0, ""))


def a_job(**changes: Any) -> Job:
    made = {
        "name": "dropline", "program": "/opt/dropline/bin/dropline", "config": "/etc/dropline/dropline.toml",
        "state_dir": "/var/lib/dropline", "user": "ada",
    }  # fmt: skip
    return Job(**(made | changes))


def configuration(text: str, source: str = "/etc/dropline/dropline.toml") -> Configuration:
    return check(tomllib.loads(text), source, Path("/etc/dropline"))


RULES = """
[agent]
state_dir = "/var/lib/dropline"
canary_every = "{canary}"
[destinations.share]
path = "/mnt/share"
[[rules]]
name = "kept"
watch = "/data/kept"
deliver = [{{ to = "share" }}]
[[rules]]
name = "freed"
watch = "/data/freed"
deliver = [{{ to = "share" }}]
reclaim = {{ after = "7d" }}
{more}
"""


# What is to run


def test_the_service_may_write_where_the_agent_writes_and_nowhere_else() -> None:
    """Destinations, folders that files are deleted from; with a canary, every watched folder."""
    read = {sys.prefix, sys.base_prefix}
    without = job(configuration(RULES.format(canary="0s", more="")), "dropline", "ada")
    assert (without.writes, set(without.reads)) == (("/data/freed", "/mnt/share"), {"/data/kept"} | read)
    with_canary = job(configuration(RULES.format(canary="60s", more="")), "dropline", "ada")
    assert (with_canary.writes, set(with_canary.reads)) == (("/data/kept", "/data/freed", "/mnt/share"), read)
    assert with_canary.words == (DROPLINE, "run", "--config", "/etc/dropline/dropline.toml")


def test_programs_and_secrets_of_rules_are_seen() -> None:
    """A command is somebody else's program; a webhook's secret is read."""
    more = 'then = [{ command = ["/opt/after", "x"] }, { webhook = "https://x.org/h", secret_file = "/etc/hook" }]'
    found = job(configuration(RULES.format(canary="0s", more=more)), "dropline", "ada")
    assert found.commands
    assert {"/opt/after", "/etc/hook"} <= set(found.reads)


def test_what_the_agent_needs_beside_its_rules_is_seen_and_may_be_done(tmp_path: Path) -> None:
    """The token, secrets of messages, the folder of the text file; a lower priority where one is asked for."""
    agent = 'textfile = "/var/lib/node/dropline.prom"\ntoken_file = "/etc/token"\nnice = 5\n[destinations.share]'
    notify = (
        '[notify.email]\nhost = "mail"\nfrom = "a@x.org"\nto = ["b@x.org"]\nuser = "u"\npassword_file = "/etc/mail"\n'
        '[notify.webhook]\nurl_file = "/etc/chat"\n'
    )
    text = RULES.format(canary="0s", more="").replace("[destinations.share]", agent) + notify
    found = job(configuration(text), "dropline", "ada")
    assert "/var/lib/node" in found.writes
    assert {"/etc/token", "/etc/mail", "/etc/chat"} <= set(found.reads)
    assert found.lowers_priority
    units = Systemd(Recorder(), tmp_path, person=False)
    assert "SystemCallFilter=~@privileged\n" in units.text(found)
    assert "SystemCallFilter=~@privileged @resources\n" in units.text(a_job())


NO_RULE = '[agent]\nstate_dir = "/s"\n'
REFUSED = {
    "no rules": (NO_RULE, "dropline", "has no [[rules]]"),
    "no state": (RULES.format(canary="0s", more="").replace("state_dir", "# "), "dropline", "names no state_dir"),
    "name": (RULES.format(canary="0s", more=""), "../x", "is no name for a service"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_service_is_refused(case: str) -> None:
    """Before anything is written."""
    text, name, message = REFUSED[case]
    with pytest.raises(Refused, match=re.escape(message)):
        job(configuration(text), name, "ada")


def test_a_service_of_a_person_needs_no_state_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The default is that person's, for the service and for every command."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    text = RULES.format(canary="0s", more="").replace('state_dir = "/var/lib/dropline"', "")
    assert job(configuration(text), "dropline", None).state_dir == f"{tmp_path}/dropline"


# systemd


def unit(folder: Path, **changes: Any) -> str:
    return Systemd(Recorder(), folder, person=changes.get("user", "ada") is None).text(a_job(**changes))


def settings(text: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text, re.M)


JOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "odd paths": {"config": "/etc/a b/50%$HOME\"\\ü.toml", "writes": ("/mnt/a b", "/mnt/50%", "/mnt/$x", '/mnt/"')},
    "secret": {"secret": "/etc/dropline/globus 50%.secret"},
    "commands": {"commands": True},
    "state elsewhere": {"state_dir": "/data/state"},
    "homes": {"writes": ("/home/ada/in", "/tmp/out")},
    "of a person": {"user": None},
}  # fmt: skip


@pytest.mark.parametrize("case", JOBS)
def test_systemd_accepts_the_unit(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`systemd-analyze verify` has nothing to say about it."""
    analyze = program("systemd-analyze")
    fake = tmp_path / "dropline"
    fake.touch(0o755)
    path = tmp_path / "dropline.service"
    path.write_text(unit(tmp_path, **({"user": "daemon", "program": str(fake)} | JOBS[case])))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # for the manager of a person
    scope = ["--user"] if JOBS[case].get("user", "") is None else []
    assert run(analyze, "verify", *scope, "--man=no", str(path)) == Said(0, "")


@pytest.mark.parametrize(("case", "worst"), [("plain", 2.0), ("secret", 2.0), ("homes", 2.0), ("commands", 4.5)])
def test_the_unit_is_confined(case: str, worst: float, tmp_path: Path) -> None:
    """`systemd-analyze security` gives it less exposure than this, of 10; a service that says nothing has 9.6."""
    path = tmp_path / "dropline.service"
    path.write_text(unit(tmp_path, **JOBS[case]))
    said = run(program("systemd-analyze"), "security", "--offline=true", f"--threshold={worst * 10:.0f}", str(path))
    assert said.code == 0, said.out.splitlines()[-1]


def test_the_parts_of_the_unit_that_the_agent_depends_on(tmp_path: Path) -> None:
    """Its words, its places, its secret, and the capability that shows it open writers."""
    text = unit(tmp_path, secret="/etc/s", writes=("/mnt/my share", "/data"))
    assert settings(text, "Type") == ["notify"]
    assert settings(text, "ExecStart") == ["/opt/dropline/bin/dropline run --config /etc/dropline/dropline.toml"]
    assert settings(text, "ReadWritePaths") == ['-"/mnt/my share"', "-/data"]
    assert (settings(text, "StateDirectory"), settings(text, "User")) == (["dropline"], ["ada"])
    assert settings(text, "AmbientCapabilities") == settings(text, "CapabilityBoundingSet") == ["CAP_LEASE"]
    assert settings(text, "LoadCredential") == ["globus.secret:/etc/s"]
    assert settings(text, "ProtectHome") == settings(text, "PrivateTmp") == ["yes"]
    assert settings(text, "MemoryDenyWriteExecute") == ["yes"]


@pytest.mark.parametrize("user", ["ada", None])
def test_a_unit_leaves_no_core_and_nothing_for_others(tmp_path: Path, user: str | None) -> None:
    """A core has secrets in it; what the agent makes is its group's at the most."""
    text = unit(tmp_path, user=user)
    assert (settings(text, "LimitCORE"), settings(text, "UMask")) == (["0"], ["0027"])


def test_a_unit_gives_way_where_the_work_needs_it(tmp_path: Path) -> None:
    """Homes and /tmp are seen where something is there; programs of others are not bound by what suits the agent."""
    homes = unit(tmp_path, **JOBS["homes"])
    assert (settings(homes, "ProtectHome"), settings(homes, "PrivateTmp")) == (["read-only"], ["no"])
    assert settings(unit(tmp_path, commands=True), "SystemCallFilter") == []
    outside = unit(tmp_path, state_dir="/data/state")
    assert (settings(outside, "StateDirectory"), settings(outside, "ReadWritePaths")) == ([], ["/data/state"])
    share = 'path = "/mnt/share"'
    says = configuration(RULES.format(canary="0s", more="").replace(share, f'{share}\ndir_mode = "0770"', 1))
    assert job(says, "dropline", "ada").sets_modes
    bits = [settings(text, "RestrictSUIDSGID") for text in (homes, unit(tmp_path, sets_modes=True))]
    assert bits == [["yes"], []], "below a directory with the setgid bit, chmod must be let keep it"


def test_the_agent_makes_no_system_call_that_the_unit_forbids(tmp_path: Path) -> None:
    """A delivery with a deletion, under strace, against the unit's own filter."""
    strace, analyze = program("strace"), program("systemd-analyze")

    def calls(group: str) -> set[str]:
        words = [line.strip() for line in run(analyze, "syscall-filter", group).out.splitlines()[1:]]
        found = {word for word in words if word and word[0] not in "@#"}
        return found.union(*(calls(word) for word in words if word.startswith("@")))

    permitted, forbidden = (line.lstrip("~").split() for line in settings(unit(tmp_path), "SystemCallFilter"))
    filter_ = set().union(*map(calls, [*permitted, "@default"])) - set().union(*map(calls, forbidden))
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    for number in range(20):
        (tmp_path / f"in/{number}").write_bytes(b"x" * number)
    config = tmp_path / "dropline.toml"
    config.write_text(
        '[agent]\nstate_dir = "state"\n[destinations.share]\npath = "out"\n[[rules]]\nname = "r"\nwatch = "in"\n'
        'complete = { quiet = "0s" }\ndeliver = [{ to = "share" }]\nreclaim = { after = "0s", min_age = "0s" }\n'
    )
    words = [sys.executable, "-P", "-c", "from agent.cli import main; main()", "run", "--once", "--config", str(config)]
    assert run(strace, "-f", "-qq", "-o", str(tmp_path / "trace"), *words).code == 0
    assert len(list((tmp_path / "out").iterdir())) == 21, "with the identity file"
    made = set(re.findall(r"^\d+ +(\w+)\(", (tmp_path / "trace").read_text(errors="replace"), re.M))
    # As root, SQLite gives its files to the owner of the ledger; it does without where it may not.
    assert made - filter_ - {"fchown"} == set()


def test_systemd_is_asked_to_run_it_and_to_forget_it(tmp_path: Path) -> None:
    """The unit is there before it is enabled; again installed, it is started again; uninstalled, nothing is left."""
    system = Recorder()
    systemd = Systemd(system, tmp_path / "system", person=False)
    for _ in range(2):
        systemd.install(a_job())
    one = [("systemctl", "daemon-reload"), ("systemctl", "enable", "dropline"), ("systemctl", "restart", "dropline")]
    assert system.asked == one * 2
    assert [path.name for path in (tmp_path / "system").iterdir()] == ["dropline.service"]
    system.asked.clear()
    systemd.uninstall("dropline")
    assert system.asked == [("systemctl", "disable", "--now", "dropline"), ("systemctl", "daemon-reload")]
    assert list((tmp_path / "system").iterdir()) == []
    with pytest.raises(Refused, match="is not there"):
        systemd.uninstall("dropline")


def test_a_service_that_does_not_start_is_told(tmp_path: Path) -> None:
    """With the manager's words, and where to look."""
    systemd = Systemd(Recorder(restart=Said(1, "Job for dropline.service failed.")), tmp_path, person=False)
    with pytest.raises(Refused, match=r"Job for dropline\.service failed\.; `journalctl -u dropline`"):
        systemd.install(a_job())


def test_a_unit_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Neither overwritten nor removed."""
    theirs = tmp_path / "dropline.service"
    theirs.write_text("[Unit]\n")
    systemd = Systemd(Recorder(), tmp_path, person=False)
    for act in (lambda: systemd.install(a_job()), lambda: systemd.uninstall("dropline")):
        with pytest.raises(Refused, match="was not made by Dropline"):
            act()
    assert theirs.read_text() == "[Unit]\n"


def test_a_state_directory_that_systemd_does_not_make_must_be_there(tmp_path: Path) -> None:
    """Else the unit would fail with a number."""
    with pytest.raises(Refused, match=r"is not there; make it with `install -d -m 700 -o ada "):
        Systemd(Recorder(), tmp_path, person=False).install(a_job(state_dir=str(tmp_path / "state")))


SHOWN = """ActiveState=active
SubState=running
ActiveEnterTimestamp=@1764000000
StatusText=destination share: no login
NRestarts=2
Result=watchdog
"""


def test_the_condition_is_what_systemd_says(tmp_path: Path) -> None:
    """Running, since when, in its own words; and installed only where the unit is."""
    systemd = Systemd(Recorder(show=Said(0, SHOWN)), tmp_path, person=False)
    words = "active (running); destination share: no login; restarted 2 times, last because of watchdog"
    assert systemd.condition("dropline") == Condition(None, True, 1764000000.0, words)
    stopped = Systemd(Recorder(show=Said(0, "ActiveState=inactive\nSubState=dead\n")), tmp_path, person=False)
    stopped.install(a_job())
    assert stopped.condition("dropline") == Condition(f"{tmp_path}/dropline.service", False, None, "inactive (dead)")


# Where there is no systemd


def test_the_property_list_says_what_to_run() -> None:
    """As plistlib, which is not ours, reads it."""
    text = plist.text(a_job(config="/etc/a & b.toml"))
    assert plistlib.loads(text.encode()) == {
        "Label": "dropline", "ProgramArguments": ["/opt/dropline/bin/dropline", "run", "--config", "/etc/a & b.toml"],
        "RunAtLoad": True, "KeepAlive": True, "ThrottleInterval": 10, "ExitTimeOut": 20, "ProcessType": "Interactive",
        "WorkingDirectory": "/", "UserName": "ada", "HardResourceLimits": {"Core": 0}, "Umask": 0o027,
    }  # fmt: skip
    assert "UserName" not in plistlib.loads(plist.text(a_job(user=None)).encode())


@pytest.mark.parametrize(("platform", "named"), [("darwin", "macOS"), ("plan9", "plan9")])
def test_other_systems_have_no_service(
    platform: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command says so; on macOS, `install` prints what a person can install, and where it goes."""
    monkeypatch.setattr(service, "PLATFORM", platform)
    file = tmp_path / "dropline.toml"
    file.write_text(RULES.format(canary="0s", more="").replace("/var/lib/dropline", str(tmp_path / "state")))
    for command in (service.install, service.uninstall, service.status):
        with pytest.raises(Refused) as refused:
            command(file, person=True)
        assert f"Dropline has no service on {named} yet" in str(refused.value)
        printed = capsys.readouterr().out
        if platform == "darwin" and command is service.install:
            assert plistlib.loads(printed.encode())["ProgramArguments"][-1] == str(file)
            assert "write this to ~/Library/LaunchAgents/dropline.plist" in str(refused.value)
        else:
            assert printed == ""
    if platform == "darwin":
        service.install(file, person=True, show=True)
        assert plistlib.loads(capsys.readouterr().out.encode())["Label"] == "dropline"


# Windows


def test_a_task_runs_the_agent_as_the_person_for_as_long_as_they_are_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the limits of 72 hours and of batteries that a task has by default; odd characters are escaped."""
    monkeypatch.setenv("USERDOMAIN", "LAB")
    monkeypatch.setenv("USERNAME", "ada")
    text = Tasks(Recorder()).text(a_job(user=None, config="C:/a & b.toml"))
    task = ElementTree.fromstring(text.encode("utf-16"))  # noqa: S314  (of our own)
    found = {one.tag.partition("}")[2]: one.text for one in task.iter() if one.text and one.text.strip()}
    assert MARK in (found.pop("Description") or "")
    code = "from agent.host.windows.supervisor import connect; connect('dropline'); from agent.cli import main; main()"
    assert found == {
        "Enabled": "true", "UserId": "LAB\\ada", "LogonType": "InteractiveToken", "RunLevel": "LeastPrivilege",
        "MultipleInstancesPolicy": "IgnoreNew", "DisallowStartIfOnBatteries": "false", "StopIfGoingOnBatteries": "false",
        "StartWhenAvailable": "true", "ExecutionTimeLimit": "PT0S", "Priority": "6", "Interval": "PT1M", "Count": "999",
        "Command": sys.executable,
        "Arguments": f'-P -c "{code}" service run --name dropline --config "C:/a & b.toml"',
    }  # fmt: skip


def test_the_scheduler_is_asked_to_run_a_task_and_to_forget_it() -> None:
    """A task of another program is left alone, and one that is not there is not removed."""
    one = a_job(user=None, name="beam-7")
    absent = Recorder(**{"/query": Said(1, "ERROR")})
    Tasks(absent).install(one)
    assert [asked[1] for asked in absent.asked] == ["/query", "/create", "/run"]
    with pytest.raises(Refused, match="is not there"):
        Tasks(absent).uninstall(one.name)
    assert Tasks(absent).condition(one.name) == Condition(None, detail="there is no such task of Dropline")
    ours = Recorder(**{"/query": Said(0, f"<Task>{MARK}")})
    Tasks(ours).install(one)
    Tasks(ours).uninstall(one.name)
    asked = ["/query", "/query", "/end", "/create", "/run", "/query", "/end", "/delete"]
    assert [words[1] for words in ours.asked] == asked
    assert Tasks(ours).condition(one.name) == Condition("beam-7 of the Task Scheduler", detail="does not run")
    other = Tasks(Recorder(**{"/query": Said(0, "<Task>")}))
    for act in (lambda: other.install(one), lambda: other.uninstall(one.name)):
        with pytest.raises(Refused, match="was not made by Dropline"):
            act()


def test_the_event_log_gets_what_a_person_must_see_and_no_flood() -> None:
    """Warnings and errors with their level; beyond a bound in an hour, one says where the rest is."""
    events: list[tuple[int, str]] = []
    log = event_log.EventLog(lambda number, text: events.append((number, text)))

    def logged(level: int, text: str, at: float) -> None:
        record = logging.LogRecord("agent", level, "", 0, text, None, None)
        record.created = at
        if record.levelno >= log.level:
            log.handle(record)

    logged(logging.INFO, "destination share is up", 0.0)
    logged(logging.ERROR, "destination share is down: it does not answer", 1.0)
    logged(logging.WARNING, "refused rule=r", 2.0)
    down = (event_log.ERROR, "destination share is down: it does not answer")
    assert events == [down, (event_log.WARNING, "refused rule=r")]
    for number in range(100):
        logged(logging.WARNING, f"w{number}", 3.0)
    assert len(events) == 60
    assert events[-1][1].endswith("More warnings of this hour are only in the log folder of the state directory.")
    logged(logging.WARNING, "of the next hour", 3602.0)
    assert events[-1] == (event_log.WARNING, "of the next hour")


# The system's commands


def test_a_program_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And nothing is run."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="there is no systemctl here"):
        run("systemctl", "status")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run as another")
def test_the_user_of_the_service_is_the_one_that_tries_it() -> None:
    """With that user's groups and home, not root's."""
    said = run("sh", "-c", "id -un; echo $HOME")
    other = run("sh", "-c", "id -un; echo $HOME", user="daemon")
    assert (said.out.splitlines()[0], other) == ("root", Said(0, "daemon\n/usr/sbin"))


@pytest.mark.parametrize("name", ["dropline", "beam-7.b"])
def test_names_that_systems_take_are_taken(name: str) -> None:
    """They become names of files and of units."""
    assert checked(name) == name
