"""The command line: exit codes, messages and formats."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from datetime import date, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import typer

from agent.cli import app
from rules.patterns.partial import WORDS

if TYPE_CHECKING:
    from tests.journey.conftest import Site

HOSTILE = "\x1b[31mred\x9b\r\u202e\n.dat"


# Configuration and usage


def broken(old: str, new: str) -> "Callable[[str], str]":
    """An edit of the good configuration."""

    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


MISTAKES: dict[str, "tuple[Callable[[str], str], str]"] = {
    "not TOML": (lambda text: text + "[", "is not TOML: "),
    "not UTF-8": (lambda text: text + "# \udcff", "is not TOML: "),
    "unknown table": (lambda text: text + "[wathc]\n", "unknown key"),
    "unknown key": (
        broken('"watch" = ', '"wacth" = "x", "watch" = '),
        "[[rules]] 'r': wacth: unknown key; did you mean 'watch'?",
    ),
    "missing key": (broken('"watch" = "inbox", ', ""), "[[rules]] 'r': watch: missing; this key is required"),
    "duration": (broken('"quiet" = "0s"', '"quiet" = "soon"'), "[[rules]] 'r': complete.quiet: 'soon' is not a duration"),
    "duration without unit": (broken('"quiet" = "0s"', '"quiet" = 10'), "[[rules]] 'r': complete.quiet: write it as text"),
    "negative duration": (broken('"quiet" = "0s"', '"quiet" = "-5s"'), "[[rules]] 'r': complete.quiet: '-5s' is not a"),
    "destination": (
        broken('"to" = "share"', '"to" = "shar"'),
        "[[rules]] 'r': deliver.0.to: there is no [destinations.shar]; did you mean 'share'?",
    ),
    "no destination": (broken('[{ "to" = "share" }]', "[]"), "[[rules]] 'r': deliver: "),
    "template field": (
        broken('"to" = "share"', '"to" = "share", "path" = "{relpth}"'),
        "[[rules]] 'r': deliver.0.path: template '{relpth}': unknown field {relpth}",
    ),
    "template leaves": (
        broken('"to" = "share"', '"to" = "share", "path" = "../{name}"'),
        "[[rules]] 'r': deliver.0.path: template '../{name}' leaves the destination",
    ),
    "template format": (
        broken('"to" = "share"', '"to" = "share", "path" = "{mtime}/{name}"'),
        "[[rules]] 'r': deliver.0.path: template '{mtime}/{name}': {mtime} wants a format",
    ),
    "regex": (broken('"name" = "r"', '"name" = "r", "capture" = "(?P<a"'), "[[rules]] 'r': capture: the regular expression"),
    "by": (broken('"linger" = "0s"', '"by" = "run"'), "[[rules]] 'r': batch.by: 'run' is none of"),
    "schedule": (
        broken('"linger" = "0s"', '"schedule" = "61 * * * *"'),
        "[[rules]] 'r': batch.schedule: '61 * * * *' is not a cron expression",
    ),
    "percentage": (
        broken('"name" = "r"', '"name" = "r", "reclaim" = { "when_free_below" = "15" }'),
        "[[rules]] 'r': reclaim.when_free_below: '15' is not a percentage",
    ),
    "empty reclaim": (broken('"name" = "r"', '"name" = "r", "reclaim" = {}'), "[[rules]] 'r': reclaim: says neither"),
    "rule name": (broken('"name" = "r"', '"name" = "a b"'), "[[rules]] 'a b': name: "),
    "two rules of a name": (
        lambda text: text.replace("rules = [", "rules = [" + text.split("rules = [")[1][:-2] + ", "),
        "[[rules]] 'r': name: two rules have this name",
    ),
    "checksum": (broken('"path" = "share"', '"path" = "share", "checksum" = "crc"'), "[destinations.share]: checksum: "),
    "transport": (broken('"path" = "share"', '"path" = "share", "transport" = "ftp"'), "[destinations.share]: transport: "),
    "into itself": (broken('"path" = "share"', '"path" = "inbox"'), "[destinations.share]: path: "),
    "state inside": (broken('"state_dir" = "state"', '"state_dir" = "inbox/state"'), "[agent]: state_dir: "),
    "listen": (broken('"listen" = ""', '"listen" = 9469'), "[agent]: listen: "),
    "table for a list": (broken("rules = [", "rules = 3 #"), "rules: "),
}  # fmt: skip


@pytest.mark.parametrize("config_error", MISTAKES)
def test_a_mistake_in_the_configuration_is_told_in_one_line(site: "Site", config_error: str) -> None:
    """File, line, table and key, what is wrong, then the line: on standard error, exit code 2, and nothing is begun."""
    edit, message = MISTAKES[config_error]
    site.config.write_text(edit(site.config.read_text()), errors="surrogateescape")
    for command in (["check"], ["run", "--once"]):
        done = site.dropline(*command)
        line, *shown = done.err.splitlines()
        assert (done.code, done.out, len(shown) <= 1) == (2, "", True), done
        assert re.match(rf"dropline: {re.escape(str(site.config))}(:\d+)?: ", line)
        assert message in line
    assert not site.state.exists()


USAGE: dict[str, list[str]] = {
    "no such command": ["delvier"],
    "no such option": ["run", "--onec"],
    "watch without to": ["run", "--watch", "inbox"],
    "config and watch": ["run", "--config", "dropline.toml", "--watch", "inbox", "--to", "share"],
    "no such format": ["status", "--format", "xml"],
    "no such state": ["files", "--state", "lost"],
    "no such pausable": ["pause", "delivery"],
    "no path": ["wait"],
    "no duration": ["wait", "x", "--timeout", "soon"],
    "no such file": ["check", "--config", "nothing.toml"],
    "a directory for a file": ["check", "--config", "inbox"],
    "no ledger yet": ["status"],
}


@pytest.mark.parametrize("what", USAGE)
def test_wrong_usage_is_exit_code_2(site: "Site", what: str) -> None:
    """What cannot be meant is told on standard error."""
    done = site.dropline(*USAGE[what])
    assert (done.code, done.out, bool(done.err)) == (2, "", True), done
    if what == "no ledger yet":
        assert len(done.err.splitlines()) == 1


def test_without_any_configuration_the_way_out_is_told(site: "Site") -> None:
    """No file anywhere: exit code 2, and the ways to get one."""
    site.config.unlink()
    done = site.dropline("run")
    assert (done.code, done.err) == (
        2,
        "dropline: no configuration file (dropline.toml) here, in the user's or in the system's folder; write one with"
        " `dropline init`, name one with --config, or use `dropline run --watch DIR --to DIR`\n",
    )


def test_the_command_in_a_fresh_process(site: "Site") -> None:
    """`dropline --version`, and with nothing at all the list of commands, by the interpreter that a user would start."""
    done = site.dropline("--version", fresh=True)
    assert (done.code, done.out, done.err) == (0, f"dropline {version('dropline')}\n", "")
    done = site.dropline(fresh=True)
    words = (done.out + done.err).split()
    commands = (
        "run",
        "check",
        "init",
        "status",
        "explain",
        "files",
        "batches",
        "retry",
        "reclaim",
        "pause",
        "resume",
        "wait",
    )
    assert (done.code, [name for name in commands if name not in words]) == (2, [])


def test_check_says_when_a_schedule_comes_next(site: "Site") -> None:
    """Three times, by the clock of `timezone`: here a clock without daylight saving time, half an hour off the others."""
    site.configure(site.rule(batch={"schedule": "30 2 * * *"}), agent={"timezone": "Asia/Kolkata"})
    now = datetime.now(ZoneInfo("Asia/Kolkata"))
    first = now.replace(hour=2, minute=30, second=0, microsecond=0)
    first += timedelta(days=int(first <= now))
    times = [f"{first + timedelta(days=days):%a %Y-%m-%d 02:30} IST" for days in range(3)]
    assert f"its next times: {', '.join(times)}" in site.dropline("check").out


def test_a_run_to_the_end_never_lingers(site: "Site") -> None:
    """Nothing more will come: what is complete goes, however long others might be waited for."""
    site.configure(
        site.rule(batch={"linger": "1h"}), site.rule(name="b", watch="other", batch={"schedule": "0 3 1 1 *"})
    )
    (site.root / "other").mkdir()
    (site.root / "other/y.dat").write_bytes(b"y")
    site.put("x.dat", b"x")
    assert (site.once(), site.delivered) == (0, {"x.dat": b"x", "y.dat": b"y"})


def test_check_says_in_words_what_will_happen(site: "Site") -> None:
    """Each rule as sentences, what is not there now, and what is unwise."""
    site.configure(
        site.rule(
            include=["**/*.h5"],
            exclude=["**/*.tmp"],
            complete={"quiet": "10s", "marker": "*.done", "patience": "1h"},
            batch={"max_files": 5, "linger": "30s"},
            deliver=[{"to": "share", "path": "{rule}/{relpath}"}],
            reclaim={"after": "7d", "when_free_below": "15%", "trash": "3d", "empty_dirs": True},
        ),
        site.rule(name="other", watch="absent"),
    )
    site.share.rmdir()
    done = site.dropline("check")
    assert (done.code, done.err) == (0, "")
    for sentence in (
        f"{site.config} is good; state in {site.state}",
        f"destination share: the directory {site.share} (NOT THERE NOW: nothing is delivered until it is);"
        " copies are read back, checksums are sha256; they are not read again later",
        "rule r:",
        f"  - watches {site.inbox} for **/*.h5, but not **/*.tmp",
        "  - takes a file as complete when no process has it open for writing and it has not changed for 10 s (20 s where"
        " open writers cannot be seen), and a file '*.done' is beside it (waits 1 h for that)",
        "  - delivers each batch to share as {rule}/{relpath}",
        f"  - skips partial files of other programs: {WORDS}",
        "  - moves local files to the trash (for 3 d) 7 d after they are proved at every destination; deletes the oldest"
        " proved local files, and none else, while less than 15% of the disk is free; removes directories left empty and unused",
        "rule other:",
        f"  - skips partial files of other programs: {WORDS}",
        "  - keeps the local files for ever",
        f"  - note: {site.root / 'absent'} is not there now; the agent waits for it",
    ):
        assert sentence in done.out.splitlines(), sentence


def test_init_writes_what_check_takes_and_never_overwrites(site: "Site") -> None:
    """The file to start from is good as it is; a second `init` leaves it alone."""
    site.config.unlink()
    assert site.dropline("init", "--watch", "my inbox", "--to", 'a "share"').code == 0
    written = site.config.read_bytes()
    assert site.dropline("check").code == 0
    done = site.dropline("init")
    assert (done.code, done.err) == (2, "dropline: dropline.toml is there already; edit it, or name another file\n")
    assert site.config.read_bytes() == written
    (site.root / "my inbox").mkdir()
    (site.root / 'a "share"').mkdir()
    (site.root / "my inbox" / "x.dat").write_bytes(b"x")
    assert site.once() == 0
    assert site.tree(site.root / 'a "share"') == {"x.dat": b"x"}


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_init_asks_what_becomes_of_old_data(site: "Site") -> None:
    """Where the folder has files: no is the day, yes the absent key, and an option answers without a question."""

    def rule(file: str) -> dict[str, Any]:
        (found,) = tomllib.loads((site.root / file).read_text())["rules"]
        return dict(found)

    site.put("run/old", b"x")
    lines = {}
    for answer in ("n", "y"):
        terminal, other = os.openpty()
        os.write(terminal, f"y\n{answer}\n".encode())
        command = [
            sys.executable,
            "-P",
            "-c",
            "from agent.cli import main; main()",
            "init",
            f"{answer}.toml",
            "--watch",
            str(site.inbox),
            "--to",
            str(site.share),
        ]
        done = subprocess.run(
            command,
            cwd=site.root,
            env=site.environment,
            stdin=other,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        os.close(terminal)
        os.close(other)
        assert "Are they delivered, too?" in done.stdout + done.stderr
        lines[answer] = rule(f"{answer}.toml").get("newer_than")
    assert lines == {"n": datetime.now().astimezone().date(), "y": None}
    command = ["init", "o.toml", "--watch", str(site.inbox), "--to", str(site.share), "--newer-than"]
    assert site.dropline(*command, "2026-01-31").code == 0
    assert rule("o.toml")["newer_than"] == date(2026, 1, 31)
    assert site.dropline("check", "--config", "o.toml").code == 0
    assert site.dropline(*command, "30d").code == 2


def test_old_data_is_before_the_agent(site: "Site") -> None:
    """In the reports: status counts it, files lists it, wait ends with the reason, and its page says no."""
    site.put("run/old", b"x")
    site.configure(site.rule(newer_than="2199-01-01"), agent={"listen": "127.0.0.1:0"})
    agent = site.start()
    site.until(lambda: site.states("--state", "ignored"), "the first sweep")
    assert re.search(r"^ +ignored +1 files +1 B  before the agent$", site.dropline("status").out, re.M)
    done = site.dropline("wait", site.inbox / "run/old")
    assert done.code == 1
    assert "before the agent: it is older than 2199-01-01" in done.err
    page = agent.get(f"/file?path={site.inbox}/run/old").body
    assert "No: 1 file is from before the agent, and not delivered" in page
    assert "Safe to remove" not in page
    assert "No files since the agent began" in agent.get("/").body


def test_the_environment_overrides_the_file(site: "Site") -> None:
    """DROPLINE_AGENT__STATE_DIR and its like come before the file; an error there is told, too."""
    done = site.dropline("check", environment={"DROPLINE_AGENT__STATE_DIR": str(site.root / "elsewhere")})
    assert done.out.splitlines()[0] == f"{site.config} is good; state in {site.root / 'elsewhere'}"
    done = site.dropline("check", environment={"DROPLINE_AGENT__SWEEP_EVERY": "often"})
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "sweep_every" in done.err


# Reports


@pytest.fixture(scope="module")
def delivered(sites: "Callable[[], Site]") -> "Site":
    """Three files, one of them refused."""
    site = sites()
    site.put("run/a.dat", b"a" * 1500)
    site.put("run/b.dat", b"b" * 500)
    site.put("taken.dat", b"mine")
    (site.share / "taken.dat").write_bytes(b"theirs")
    assert site.once() == 1
    return site


def test_status_tells_counts_destinations_and_rules(delivered: "Site") -> None:
    """As JSON with the promised keys, as text for people; exit code 1 while something is refused."""
    done = delivered.dropline("status", "--format", "json")
    told = done.json
    since = [(place.pop("since"), place.pop("proved_at")) for place in told["destinations"]]
    assert all(0 < changed <= proved < time.time() for changed, proved in since)
    assert (done.code, told) == (
        1,
        {
            "configuration": None,
            "without_events": [],
            "links": [],
            "skipped_links": {},
            "copied_links": [],
            "refused_links": [],
            "waiting": [],
            "files": {"verified": 2, "refused": 1},
            "bytes": {"verified": 2000, "refused": 4},
            "deliveries": {"share": {"verified": 1, "refused": 1}},
            "destinations": [
                {"name": "share", "address": str(delivered.share), "up": True, "refused": False, "reason": ""}
            ],
            "held_up": [],
            "scrub": [],
            "findings": [],
            "outbox": [],
            "rules": [
                {"name": "r", "watch": str(delivered.inbox), "files": {"verified": 2, "refused": 1}},
            ],
            "unclaimed": [],
            "left_out": [],
            "unseen": [],
            "came_back": [],
            "datasets": [],
            "paused": [],
            "replanning": False,
            "deletion": None,
            "behind": [],
            "kept": [],
            "not_shown": [],
        },
    )
    done = delivered.dropline("status")
    assert (done.code, done.out.splitlines()) == (
        1,
        [
            "    verified         2 files       2 kB",
            "     refused         1 files        4 B",
            f"destination share ({delivered.share}): up; deliveries: 1 refused, 1 verified",
            "`dropline files --state refused` says what to do about the refused ones",
        ],
    )


def test_files_lists_states_and_reasons(delivered: "Site") -> None:
    """Newest first, as many as asked for, only those in the states asked for."""
    keys = ["path", "rule", "state", "size", "reason"]
    lines = delivered.dropline("files", "--format", "json").json
    assert [list(line) for line in lines] == [keys] * 3
    assert {(line["path"], line["rule"], line["state"], line["size"]) for line in lines} == {
        (str(delivered.inbox / "run/a.dat"), "r", "verified", 1500),
        (str(delivered.inbox / "run/b.dat"), "r", "verified", 500),
        (str(delivered.inbox / "taken.dat"), "r", "refused", 4),
    }
    assert delivered.dropline("files", "--format", "json", "--limit", "1").json == lines[:1]
    text = delivered.dropline("files", "--state", "verified", "--state", "candidate").out.splitlines()
    assert set(text) == {
        f"verified      1.5 kB  {delivered.inbox}/run/a.dat",
        f"verified       500 B  {delivered.inbox}/run/b.dat",
    }


def test_batches_lists_deliveries(delivered: "Site") -> None:
    """Each batch with its rule, key, files, bytes, and what became of it where."""
    lines = delivered.dropline("batches", "--format", "json").json
    assert sorted((line["key"], line["files"], line["bytes"]) for line in lines) == [("", 1, 4), ("run", 2, 2000)]
    states = {
        line["key"]: [(one["destination"], one["state"], one["attempt"]) for one in line["deliveries"]]
        for line in lines
    }
    assert states == {"": [("share", "refused", 1)], "run": [("share", "verified", 1)]}
    text = delivered.dropline("batches").out
    assert "r run: 2 files, 2 kB, sealed: " in text
    assert "to share: verified, attempt 1" in text


def test_explain_tells_a_files_whole_way(delivered: "Site") -> None:
    """What it is, its batch, its deliveries, its copies and why; also of files that the agent does not know."""
    out = delivered.dropline("explain", "inbox/run/a.dat").out
    for piece in (
        "is there; claimed by rule 'r'",
        "version 1: 1500 bytes",
        "verified (rule r)",
        "share as run/a.dat: proved",
    ):
        assert piece in out, piece
    out = delivered.dropline("explain", "inbox/taken.dat").out
    for piece in ("refused (rule r): at share, 'taken.dat' is there already", "share as taken.dat: not proved there"):
        assert piece in out, piece
    done = delivered.dropline("explain", "inbox/nothing.dat")
    assert (done.code, done.out.splitlines()[1:]) == (
        0,
        ["the ledger does not know it: it is new, no rule claims it, or no sweep has come by yet"],
    )
    done = delivered.dropline("explain", "/elsewhere/x.dat")
    assert "no rule watches this directory" in done.out


def test_people_read_times_by_their_clock(site: "Site") -> None:
    """In reports, the log and the page those of `timezone`, with the offset; in JSON, which programs read, as they were."""
    site.configure(agent={"timezone": "Asia/Kathmandu", "listen": "127.0.0.1:0"})
    path = site.put("a.dat", b"content")
    agent = site.start()
    site.until(lambda: site.delivered, "the copy")
    site.until(lambda: "proved" in site.dropline("explain", path).out, "the proof")
    out = site.dropline("explain", path).out
    assert len(re.findall(r"(?:seen|complete|proved) 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+05:45", out)) == 3
    assert all(isinstance(copy["proved_at"], float) for one in site.explain(path) for copy in one["copies"])
    assert re.search(r"<time datetime=\"20[0-9: -]+\+05:45\"", agent.get(f"/file?path={path}").body)
    agent.stop()
    assert {line.split()[0][-6:] for line in (site.state / "log/dropline.log").read_text().splitlines()} == {"+05:45"}


def test_wait_ends_with_the_proof_the_refusal_or_the_time(delivered: "Site") -> None:
    """Verified: 0. Refused: 1 with the reason. Not in time: 1. Directories stand for what is in them."""
    assert delivered.dropline("wait", "inbox/run/a.dat", "inbox/run", "--timeout", "1ms").code == 0
    done = delivered.dropline("wait", "inbox/run", "inbox/taken.dat")
    assert (done.code, done.err.startswith(f"refused: {delivered.inbox}/taken.dat: at share, ")) == (1, True)
    done = delivered.dropline("wait", "inbox/nothing.dat", "--timeout", "1ms")
    why = "it is new, no sweep has come by yet, or nothing is there"
    assert (done.code, done.err) == (1, f"not verified in time: {delivered.inbox}/nothing.dat: {why}\n")


def test_wait_ends_for_a_folder_that_was_delivered_and_is_gone(site: "Site") -> None:
    """The ledger knows what was in it; what was never known is waited for."""
    site.configure(site.rule(reclaim={"after": "0s", "empty_dirs": True}))
    site.put("run/a.dat", b"a")
    site.put("run/sub/b.dat", b"b")
    assert site.once() == 0
    shutil.rmtree(site.inbox / "run", ignore_errors=True)
    assert site.dropline("wait", "inbox/run", "--timeout", "1ms").code == 0
    assert site.dropline("wait", "inbox/never", "--timeout", "1ms").code == 1


def test_every_state_says_what_it_waits_for(site: "Site") -> None:
    """A file that changes again and again, one whose batch is open, one on its way: in explain and in files."""
    site.configure(site.rule(complete={"quiet": "1h"}), site.rule(name="b", watch="other", batch={"linger": "1h"}))
    (site.root / "other").mkdir()
    site.put("log.txt", b"line")
    (site.root / "other/done.dat").write_bytes(b"x")
    agent = site.start()
    site.until(lambda: site.status()["files"] == {"candidate": 1, "complete": 1}, "they are known")
    found = {line["state"]: line["reason"] for line in site.dropline("files", "--format", "json").json}
    assert found["complete"].endswith("it waits for its batch to be full or old enough")
    assert found["candidate"] in (
        "written a moment ago; its quiet period has not passed", "changed less than 1 h ago",
    )  # fmt: skip
    assert site.explain("log.txt")[0]["reason"] == found["candidate"]
    waits = site.dropline("wait", "inbox/log.txt", "other/done.dat", "--timeout", "1ms").err.splitlines()
    assert waits == [
        f"not verified in time: {site.inbox}/log.txt: candidate: {found['candidate']}",
        f"not verified in time: {site.root}/other/done.dat: complete: {found['complete']}",
    ]
    assert f"{site.inbox}/log.txt: {found['candidate']}" in site.dropline("status").out
    assert agent.stop() == 0


def test_wait_is_about_the_file_as_it_is_now(site: "Site") -> None:
    """A proof for what the file was before somebody wrote to it, or for a file of that name that is gone, is none."""
    site.configure(site.rule(reclaim={"after": "0s"}, include=["gone.dat"]), site.rule(name="keeps", watch="other"))
    site.put("gone.dat", b"first")
    other = site.root / "other"
    other.mkdir()
    (other / "changed.dat").write_bytes(b"first")
    assert site.once() == 0
    words = ("wait", "inbox/gone.dat", "other/changed.dat", "--timeout", "1ms")
    assert site.dropline(*words).code == 0
    site.put("gone.dat", b"second")
    with (other / "changed.dat").open("ab") as file:
        file.write(b" and more")
    done = site.dropline(*words)
    assert (done.code, done.err.splitlines()) == (
        1,
        [
            f"not verified in time: {site.inbox}/gone.dat: the file there now is not known yet; the one before it is reclaimed",
            f"not verified in time: {other}/changed.dat: the file there now is not known yet; the one before it is verified",
        ],
    )


def test_wait_does_not_wait_for_what_never_goes(site: "Site") -> None:
    """In a directory, files that no rule takes and our own are passed over; asked for by name they are an error."""
    site.configure(site.rule(include=["*.dat"]))
    site.put("x.dat", b"x")
    assert site.once() == 0
    site.put("note.txt", b"nobody takes it")
    site.put(".dropline-canary", b"")
    assert site.dropline("wait", "inbox", "--timeout", "1ms").code == 0
    done = site.dropline("wait", "inbox/note.txt")
    assert (done.code, done.err) == (
        2,
        f"dropline: {site.inbox}/note.txt will not be delivered: no include pattern of rule 'r' matches it;"
        " `dropline check` says what the rules take\n",
    )
    done = site.dropline("wait", "home")
    assert (done.code, done.err.startswith(f"dropline: no rule watches {site.home}; ")) == (2, True)


def test_reports_work_while_the_reader_closes_early(delivered: "Site") -> None:
    """`dropline files | head -0`: no traceback."""
    process = delivered.spawn("files", "--format", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60) in (0, 1), "Traceback" in err, "Exception ignored" in err) == (True, False, False), err


def test_a_run_without_a_file_is_reported_without_one(site: "Site") -> None:
    """`run --watch DIR --to DIR` keeps its state here, and status, files, explain and wait find it."""
    site.config.unlink()
    words = ("--watch", "drop here", "--to", "the share")
    assert site.dropline("run", "--once", *words).code == 0
    (site.root / "drop here" / "x.dat").write_bytes(b"x")
    assert site.dropline("run", "--once", *words).code == 0
    assert site.tree(site.root / "the share") == {"x.dat": b"x"}
    found = site.dropline("status", "--format", "json").json
    assert (found["files"], [(place["name"], place["up"]) for place in found["destinations"]]) == (
        {"verified": 1},
        [("the-share", True)],
    )
    for command in (["files"], ["explain", "drop here/x.dat"], ["batches"], ["wait", "drop here/x.dat"], ["retry"]):
        assert site.dropline(*command).code == 0, command


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_a_stopped_run_once_says_that_it_is_not_done(site: "Site") -> None:
    """SIGTERM during `run --once`: it ends with exit code 1, nothing half written stays, and the next run does the rest."""
    size = 192 * 2**20
    for number in range(4):
        os.truncate(site.put(f"{number}.dat", b""), size)
    process = site.spawn("run", "--once", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    site.until(lambda: any(".part" in name for name in os.listdir(site.share)), "something is being written")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1
    there = [path for path in site.share.iterdir() if path.name != ".dropline-destination"]
    assert [path.name for path in there if ".part" in path.name] == []
    assert {path.stat().st_size for path in there} <= {size}
    assert site.once() == 0
    assert site.states() == {f"{number}.dat": ["verified"] for number in range(4)}


def test_no_command_lets_a_name_speak_to_the_terminal(site: "Site") -> None:
    """Each, with such a name wherever one may stand: in its output and in its errors it is escaped."""
    site.put(HOSTILE, b"x")
    site.put("plain", b"x")
    assert site.once() == 0
    top: Any = typer.main.get_command(app)
    inner = ({name: one} | {f"{name} {sub}": below for sub, below in getattr(one, "commands", {}).items()}
             for name, one in top.commands.items())  # fmt: skip
    tried = 0
    for name, command in (pair for some in inner for pair in some.items()):
        options = {option for one in command.params for option in one.opts}
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        ways = [[HOSTILE] * len(arguments)] if arguments else []
        ways += [["--config", f"{site.root}/{HOSTILE}", *["plain"] * len(arguments)]] if "--config" in options else []
        ways += [["share:" + HOSTILE, HOSTILE], [f"inbox/{HOSTILE}", "--to", "share"], ["--state", HOSTILE]]
        for words in ways:
            done = site.dropline(*name.split(), *words)
            said = done.out + done.err
            assert all(char.isprintable() or char == "\n" for char in said), (name, words, said)
            tried += "x1b" in said
    assert tried > 30
