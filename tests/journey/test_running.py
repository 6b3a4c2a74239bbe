"""The agent as it runs: files, directories, configurations and signals come while it does."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.journey.conftest import DROPLINE
from tests.mailbox import free_port
from tests.systems import WINDOWS

if TYPE_CHECKING:
    from tests.journey.conftest import Site

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="signals, modes and events as on Linux")
SOON = 5.0
"""Seconds in which a dropped file is at the share even on a busy machine; the test's properties say how long it took."""


def arrived(site: "Site") -> dict[str, bytes | str]:
    """What a reader of the share takes for data: all but what is still being written."""
    return {name: data for name, data in site.delivered.items() if not name.endswith(".part")}


def arrives(site: "Site", expected: dict[str, bytes]) -> None:
    """Wait until exactly this is at the share."""
    site.until(lambda: arrived(site) == expected, f"{sorted(expected)} at the share")


def test_a_dropped_file_is_at_the_share_at_once(site: "Site", record_property: Any) -> None:
    """With the defaults of `run --watch DIR --to DIR`, which makes both and tells its status page."""
    shutil.rmtree(site.inbox)
    shutil.rmtree(site.share)
    agent = site.start("--watch", "inbox", "--to", "share")
    assert agent.said[0] == f"watching {site.inbox} (rule inbox), delivering to share"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", agent.url)
    assert agent.get("/healthz").body == "ok\n"
    site.put("x.dat", b"dropped")
    began = time.monotonic()
    site.until(lambda: site.delivered == {"x.dat": b"dropped"}, "the file is at the share", SOON)
    record_property("seconds", time.monotonic() - began)
    assert agent.stop() == 0


def test_what_comes_by_whatever_way_is_delivered(site: "Site") -> None:
    """Written, renamed, in a directory moved in, in a deep tree made in one breath, and under another name later."""
    agent = site.start()
    site.put("written.dat", b"written")
    (site.root / "renamed").write_bytes(b"renamed")
    (site.root / "renamed").rename(site.inbox / "renamed.dat")
    moved = site.root / "moved" / "sub"
    moved.mkdir(parents=True)
    (moved / "a.dat").write_bytes(b"moved")
    (site.root / "moved").rename(site.inbox / "moved")
    for number in range(30):
        site.put(f"new/{number}/deep/x.dat", b"%d" % number)
    expected = {f"new/{number}/deep/x.dat": b"%d" % number for number in range(30)}
    expected |= {"written.dat": b"written", "renamed.dat": b"renamed", "moved/sub/a.dat": b"moved"}
    arrives(site, expected)
    (site.inbox / "written.dat").rename(site.inbox / "other.dat")
    (site.inbox / "moved").rename(site.inbox / "elsewhere")
    arrives(site, expected | {"other.dat": b"written", "elsewhere/sub/a.dat": b"moved"})
    assert agent.stop() == 0


def test_what_raises_no_event_is_found_by_the_sweep(site: "Site") -> None:
    """truncate(2) raises no event that tells of it: the next sweep finds the file, and a metric says so."""
    site.configure(agent={"listen": "127.0.0.1:0", "sweep_every": "1s"})
    agent = site.start()
    site.put("x.dat", b"first")
    arrives(site, {"x.dat": b"first"})
    os.truncate(site.inbox / "x.dat", 8)
    arrives(site, {"x.dat": b"first\0\0\0"})
    assert 'dropline_files_found_by_sweep_total{rule="r"} 1.0' in agent.get("/metrics").body.splitlines()
    assert agent.stop() == 0


def test_a_kernel_that_refuses_watches_is_said_and_costs_time_only(site: "Site") -> None:
    """With a limit of one watch: sweeps find the files, and status, /healthz and the page give the line that raises it."""
    limited = ["unshare", "-Ur", "sh", "-c", 'echo 1 > /proc/sys/user/max_inotify_watches && exec "$@"', "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*limited, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no user namespaces here")
    port = free_port()
    site.configure(agent={"listen": f"127.0.0.1:{port}", "sweep_every": "1s"})
    site.put("a/x.dat", b"x")
    process = subprocess.Popen(
        [*limited, *DROPLINE, "run"],
        cwd=site.root,
        env=site.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    said = f"{site.inbox}: file events do not come, and new files are found by sweeps only: no more inotify watches"
    line = "sysctl -w fs.inotify.max_user_watches="

    def page(path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    try:
        arrives(site, {"a/x.dat": b"x"})
        site.put("b/y.dat", b"y")
        arrives(site, {"a/x.dat": b"x", "b/y.dat": b"y"})
        site.until(lambda: said in page("/healthz") and line in page("/healthz"), "the health check says so")
        assert page("/healthz").startswith("ok\n")
        assert line in page("/")
        status = site.dropline("status").out
        assert (said in status, line in status) == (True, True)
    finally:
        process.terminate()
        assert process.wait(15) == 0


def test_what_appears_without_being_written_does_not_wait_for_the_sweep(site: "Site") -> None:
    """By a hard link, and by O_TMPFILE with linkat(2): whole at once, under its name, with a creation event alone."""
    site.configure(agent={"sweep_every": "1h"})
    agent = site.start()
    site.put("x.dat", b"first")
    arrives(site, {"x.dat": b"first"})
    (site.root / "outside").write_bytes(b"linked")
    os.link(site.root / "outside", site.inbox / "linked.dat")
    expected = {"x.dat": b"first", "linked.dat": b"linked"}
    if hasattr(os, "O_TMPFILE"):
        fd = os.open(site.inbox, os.O_TMPFILE | os.O_WRONLY)
        os.write(fd, b"no name yet")
        os.link(f"/proc/self/fd/{fd}", site.inbox / "named.dat", src_dir_fd=fd)  # only so does Python follow it
        os.close(fd)
        expected["named.dat"] = b"no name yet"
    arrives(site, expected)
    assert agent.stop() == 0


def test_a_watched_directory_may_come_go_and_come_again(site: "Site") -> None:
    """Absent at the start it is waited for; removed and made again it is watched again; /healthz tells meanwhile."""
    other = site.root / "other"
    other.mkdir()
    site.inbox.rmdir()
    site.configure(
        site.rule(), site.rule(name="o", watch="other", exclude=["**"]), agent={"listen": "127.0.0.1:0"}
    )  # fmt: skip
    agent = site.start()

    def look() -> None:
        """Something happens elsewhere: the agent looks after all its directories."""
        (other / "hint").write_bytes(b"")

    def unhealthy() -> bool:
        look()
        answer = agent.get("/healthz")
        gone = f"{site.inbox}: the directory is not there: No such file or directory\n"
        return (answer.status, answer.body) == (503, gone)

    def healthy() -> bool:
        look()
        return agent.get("/healthz")[::2] == (200, "ok\n")

    site.until(unhealthy, "the health check tells that it is not there")
    site.put("x.dat", b"first")
    site.until(healthy, "all is well")
    arrives(site, {"x.dat": b"first"})
    shutil.rmtree(site.inbox)
    site.until(unhealthy, "the health check tells that it is gone")
    site.put("y.dat", b"second")
    site.until(healthy, "all is well again")
    site.put("z.dat", b"third")
    arrives(site, {"x.dat": b"first", "y.dat": b"second", "z.dat": b"third"})
    assert agent.stop() == 0


def test_a_share_may_go_and_come_again(site: "Site") -> None:
    """While it is away files wait and metrics say so; when it is back they go by themselves."""
    site.configure(agent={"listen": "127.0.0.1:0"})
    agent = site.start()
    site.put("x.dat", b"first")
    arrives(site, {"x.dat": b"first"})
    site.share.rename(site.root / "away")
    site.put("y.dat", b"second")
    down = 'dropline_destination_up{destination="share"} 0.0'
    site.until(lambda: down in agent.get("/metrics").body.splitlines(), "the metrics tell that it is down")
    (site.root / "away").rename(site.share)
    arrives(site, {"x.dat": b"first", "y.dat": b"second"})
    assert agent.stop() == 0


# Signals and configurations


def test_a_stop_is_quick_and_leaves_nothing_half_done(site: "Site") -> None:
    """SIGTERM in the middle of a delivery: it ends within 10 s, no temporary file stays, and the next run does the rest."""
    content = {f"run{number % 7}/{number}.dat": os.urandom(2**18) for number in range(60)}
    for name, data in content.items():
        site.put(name, data)
    for number in range(3):
        os.truncate(site.put(f"large{number}", b""), 192 * 2**20)
    agent = site.start()
    site.until(lambda: next(site.share.rglob("*.dat"), None), "the first file is at the share")
    began = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - began < 10
    assert [path.name for path in site.share.rglob("*.part")] == []
    there = {name: data for name, data in site.delivered.items() if name in content}
    assert there == {name: content[name] for name in there}
    assert site.once() == 0
    assert {name: data for name, data in site.delivered.items() if name in content} == content
    assert site.status()["files"] == {"verified": 63}


def test_an_interrupt_ends_it_as_well(site: "Site") -> None:
    """Ctrl-C is a stop like any other: exit code 0, no traceback."""
    agent = site.start()
    assert agent.stop(signal.SIGINT) == 0
    assert "Traceback" not in agent.log()


def test_a_bad_edit_keeps_the_old_rules_and_a_good_one_takes_effect(site: "Site") -> None:
    """On SIGHUP or an edit the configuration is read again; an error is told and changes nothing."""
    site.configure(agent={"listen": "127.0.0.1:0"})
    agent = site.start()
    good = site.config.read_text()
    site.config.write_text("rules = [ { nmae = ")
    if not WINDOWS:  # which has an edit alone
        agent.process.signal(signal.SIGHUP)
    agent.logs("the configuration is not taken, the old rules go on")
    agent.logs(f"{site.config}: is not TOML")
    site.put("a.dat", b"by the old rules")
    arrives(site, {"a.dat": b"by the old rules"})
    site.config.write_text(good.replace('"name" = "r"', '"name" = "r", "exclude" = ["*.tmp"]'))
    agent.logs("the configuration was read again")
    site.put("b.tmp", b"excluded")
    site.put("c.dat", b"claimed")
    arrives(site, {"a.dat": b"by the old rules", "c.dat": b"claimed"})
    assert site.dropline("wait", site.inbox / "c.dat", "--timeout", "1m").code == 0
    assert site.states() == {"a.dat": ["verified"], "c.dat": ["verified"]}
    assert agent.process.running
    assert agent.stop() == 0


def test_an_edit_that_cannot_be_run_keeps_the_old_rules(site: "Site") -> None:
    """A configuration that reads well and cannot be used (its port is taken) does not end the agent, either."""
    site.configure(agent={"listen": "127.0.0.1:0"})
    agent = site.start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        site.configure(site.rule(exclude=["*"]), agent={"listen": address})
        agent.process.signal(signal.SIGHUP)
        agent.logs("the configuration is not taken, the old rules go on: the status page cannot listen on")
        site.put("x.dat", b"by the old rules")
        arrives(site, {"x.dat": b"by the old rules"})
    assert agent.stop() == 0


def test_a_terminal_shows_what_goes_on(site: "Site") -> None:
    """On a terminal: live counts, and what needs a person with its name as it is; Ctrl-C ends it."""
    (site.inbox / "[red]link.dat").symlink_to("/nowhere")
    site.put("x.dat", b"first")
    main, terminal = os.openpty()
    process = site.spawn("run", stdout=terminal, stderr=terminal, environment={"TERM": "xterm"})
    os.close(terminal)
    os.set_blocking(main, False)
    shown = b""

    def shows(*words: bytes) -> bool:
        nonlocal shown
        try:
            shown += os.read(main, 65536)
        except OSError:
            pass  # nothing new, or the other end is closed
        return all(word in shown for word in words)

    try:
        refused = f"{site.inbox}/[red]link.dat: a link, not a file".encode()
        site.until(lambda: shows(b"status page", b"on the way", b"1 (5 B)", refused), "the terminal shows the counts")
        process.send_signal(signal.SIGINT)
        site.until(lambda: shows() and process.poll() is not None, "it ends")
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert (process.returncode, b"Traceback" in shown) == (0, False)


def test_two_agents_never_share_a_state_directory(site: "Site") -> None:
    """The second ends with exit code 2 and names the directory; the first goes on."""
    agent = site.start()
    for command in (["run"], ["reclaim"]):
        done = site.dropline(*command)
        assert (done.code, done.err.splitlines()[-1]) == (
            2,
            f"dropline: another agent uses {site.state};"
            " stop it, or give this one its own state directory ([agent] state_dir)",
        )
    site.put("x.dat", b"first")
    arrives(site, {"x.dat": b"first"})
    assert agent.stop() == 0


# Complete, and together


def test_a_damaged_ledger_is_said_in_one_line_and_costs_time_only(site: "Site") -> None:
    """Damage deep in the file, which no opening shows: each command names the ledger and what to do; then all is adopted."""
    site.put("a.dat", b"a")
    assert site.once() == 0
    ledger = site.state / "ledger.sqlite"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    for words in (("run", "--once"), ("run",), ("status",), ("files",), ("retry",)):
        done = site.dropline(*words)
        assert (done.code, len(done.err.splitlines())) == (2, 1), words
        assert "cannot be read: database disk image is malformed; move it away" in done.err
    ledger.rename(site.root / "damaged")
    copy = (site.share / "a.dat").stat().st_ino
    assert (site.once(), site.status()["files"], (site.share / "a.dat").stat().st_ino) == (0, {"verified": 1}, copy)


def test_damage_that_only_some_readings_meet_ends_with_the_same_status(site: "Site") -> None:
    """Status 2, as at the opening, wherever the damage shows: a service that starts again would end again."""
    site.put("a.dat", b"a")
    assert site.once() == 0
    ledger = site.state / "ledger.sqlite"
    with closing(sqlite3.connect(ledger)) as opened:
        ((page, size),) = opened.execute(
            "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'files'"
        )
    with ledger.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    for words in (("files",), ("explain", str(site.inbox / "a.dat")), ("run", "--once")):
        done = site.dropline(*words)
        assert done.code == 2, words
        assert "cannot be read: database disk image is malformed; move it away" in done.err.splitlines()[-1]


def test_a_marker_makes_a_waiting_file_go_and_patience_ends(site: "Site") -> None:
    """marker = "*.done": the file goes when the marker comes; with patience = "1s" it goes without one, too."""
    site.configure(
        site.rule(include=["wait/*.dat"], complete={"quiet": "0s", "marker": "{stem}.done"}),
        site.rule(
            name="patient", include=["*.dat"], complete={"quiet": "0s", "marker": "{stem}.done", "patience": "1s"}
        ),
    )
    agent = site.start()
    site.put("wait/x.dat", b"first")
    site.put("y.dat", b"second")
    arrives(site, {"y.dat": b"second"})
    (version,) = site.explain("wait/x.dat")
    assert (version["state"], version["reason"]) == ("candidate", "its marker '{stem}.done' is not there")
    site.put("wait/x.done", b"")
    arrives(site, {"y.dat": b"second", "wait/x.dat": b"first"})
    (version,) = site.explain("wait/x.dat")
    assert version["state"] in ("batched", "verified")
    assert agent.stop() == 0


def keys(site: "Site") -> list[tuple[str, str, int]]:
    """(rule, key, files) of each batch."""
    lines = site.dropline("batches", "--format", "json").json
    return sorted((line["rule"], line["key"], line["files"]) for line in lines)


def test_batches_are_files_of_one_directory_capture_or_template(site: "Site") -> None:
    """`by` says which files travel together; unclaimed ones are told of in the status."""
    batch = {"linger": "0s"}
    site.configure(
        site.rule(name="captured", include=["*_*.h5"], capture=r"(?P<run>run\d+)_", batch=batch | {"by": "capture"}),
        site.rule(name="template", include=["*.raw"], batch=batch | {"by": "{mtime:%Y}"}),
        site.rule(name="directory", include=["**/*.dat"], batch=batch | {"max_files": 2}),
    )
    for name in ("run1_a.h5", "run1_b.h5", "run2_a.h5", "d1/a.dat", "d1/b.dat", "d1/c.dat", "d2/a.dat"):
        site.put(name, name.encode())
    for number, name in enumerate(("a.raw", "b.raw", "c.raw")):
        site.put(name, name.encode(), (10**9 + number // 2 * 10**8) * 10**9)
    site.put("what/is.this", b"no rule claims it")
    site.put("nor.this", b"no rule claims it")
    assert site.once() == 0
    assert keys(site) == [
        ("captured", "run1", 2), ("captured", "run2", 1),
        ("directory", "d1", 1), ("directory", "d1", 2), ("directory", "d2", 1),
        ("template", "2001", 2), ("template", "2004", 1),
    ]  # fmt: skip
    (unclaimed,) = site.status()["unclaimed"]
    assert (unclaimed["watch"], unclaimed["files"]) == (str(site.inbox), 2)
    assert f"no rule claims 2 files below {site.inbox}" in site.dropline("status").out
    done = site.dropline("explain", site.inbox / "nor.this")
    assert "no include pattern of rule 'directory' matches it" in done.out


def test_a_group_is_sealed_when_it_is_full_or_nobody_joins(site: "Site") -> None:
    """max_files seals at once though linger is long; the last group waits for company for `linger`, and no longer."""
    site.configure(site.rule(batch={"max_files": 3, "linger": "2s"}))
    agent = site.start()
    for number in range(7):
        site.put(f"{number}.dat", b"%d" % number)
    site.until(lambda: len(site.delivered) == 6, "two full groups are delivered")
    arrives(site, {f"{number}.dat": b"%d" % number for number in range(7)})
    reasons = [(line["files"], line["reason"]) for line in site.dropline("batches", "--format", "json").json]
    assert sorted(reasons) == [
        (1, "no more files for 2 s (linger)"),
        (3, "3 files (max_files)"),
        (3, "3 files (max_files)"),
    ]
    assert agent.stop() == 0


# Deletions by a running agent


def test_a_pause_reaches_a_running_agent(site: "Site") -> None:
    """`pause reclaim` while it runs stops deletions, and `resume` lets them go on."""
    site.configure(site.rule(reclaim={"after": "0s"}))
    agent = site.start()
    site.put("x.dat", b"first")
    site.until(lambda: site.local == {}, "the first file is reclaimed")
    assert site.dropline("pause", "reclaim").code == 0
    site.put("y.dat", b"second")
    assert site.dropline("wait", site.inbox / "y.dat", "--timeout", "1m").code == 0
    site.put("z.dat", b"third")
    assert site.dropline("wait", site.inbox / "z.dat", "--timeout", "1m").code == 0
    assert site.local == {"y.dat": b"second", "z.dat": b"third"}
    assert site.dropline("resume", "reclaim").code == 0
    site.until(lambda: site.local == {}, "the others are reclaimed")
    assert agent.stop() == 0


def test_a_name_that_is_deleted_and_written_anew_gets_a_name_of_its_own(site: "Site") -> None:
    """The copy of what somebody deleted here is the only one of it: the new file does not overwrite it."""
    site.configure(agent={"sweep_every": "1s"})
    agent = site.start()
    path = site.put("x.dat", b"first")
    arrives(site, {"x.dat": b"first"})
    site.until(lambda: site.states() == {"x.dat": ["verified"]}, "it is verified")
    path.unlink()
    site.until(lambda: site.states() == {"x.dat": ["removed"]}, "the agent knows that it is gone")
    site.put("x.dat", b"second")
    arrives(site, {"x.dat": b"first", "x~2.dat": b"second"})
    assert agent.stop() == 0


@pytest.mark.parametrize("how", ["renamed", "deleted"])
def test_a_name_that_is_freed_and_taken_at_once_gets_a_name_of_its_own(site: "Site", how: str) -> None:
    """Also where no sweep came by between the two: the copy of the first content is not overwritten."""
    agent = site.start()
    path = site.put("x.dat", b"first")
    arrives(site, {"x.dat": b"first"})
    site.until(lambda: site.states() == {"x.dat": ["verified"]}, "it is verified")
    if how == "renamed":
        path.rename(site.root / "x.dat")
    else:
        path.unlink()
    site.put("x.dat", b"second")
    site.until(lambda: b"second" in arrived(site).values(), "the second one arrives")
    assert arrived(site) == {"x.dat": b"first", "x~2.dat": b"second"}
    assert agent.stop() == 0


def test_verbose_log_lines_are_one_a_transition(site: "Site") -> None:
    """As text and as JSON, one line each, whatever the file's name is; without --verbose there is one line of what was proved."""
    site.put("a\nb.dat", b"x")
    done = site.dropline("run", "--once", "--log", "json", "--verbose")
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [line["event"] for line in lines if line.get("file") == str(site.inbox / "a\nb.dat")] == [
        "candidate", "complete", "batched", "proved", "verified",
    ]  # fmt: skip
    site.put("c\nd.dat", b"y")
    text = site.dropline("run", "--once", "--verbose").err.splitlines()
    words = [line.split()[2] for line in text if f'file="{site.inbox}/c\\nd.dat"' in line]
    assert words == ["candidate", "complete", "batched", "proved", "verified"]
    time = r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)"
    assert all(re.match(rf"{time} (DEBUG|INFO|WARNING) ", line) for line in text)
    site.put("e.dat", b"z")
    done = site.dropline("run", "--once", "--log", "json")
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [(line["event"], line.get("files"), line.get("verified")) for line in lines if "event" in line] == [
        ("proved", 1, None), ("hour", None, 1),
    ]  # fmt: skip


def test_paused_deliveries_wait_until_they_are_resumed(site: "Site") -> None:
    """To one destination or to all; status says so; what is found meanwhile goes when it is resumed."""
    site.configure(site.rule())
    assert site.once() == 0
    site.put("x.dat", b"x")
    assert site.dropline("pause", "delivery", "share").code == 0
    assert site.dropline("pause", "delivery").code == 0
    assert (site.once(), site.delivered, site.status()["paused"]) == (1, {}, ["delivery", "delivery share"])
    still = site.dropline("resume", "delivery", "share")
    assert (still.code, "delivery share is still paused, with all the others" in still.err) == (2, True)
    assert (site.once(), site.delivered, site.status()["paused"]) == (1, {}, ["delivery"])
    assert site.dropline("pause", "delivery", "share").code == 0
    assert site.dropline("resume", "delivery").out == "delivery goes on\n"
    assert (site.once(), site.delivered, site.status()["paused"]) == (0, {"x.dat": b"x"}, [])
    for words, said in (
        (("delivery", "elsewhere"), "known are share"),
        (("reclaim", "share"), "write `reclaim` alone"),
    ):
        done = site.dropline("pause", *words)
        assert (done.code, said in done.err) == (2, True)


def test_a_running_agent_obeys_a_pause(site: "Site") -> None:
    """It goes on finding and judging files, and sends them once it is resumed."""
    site.configure(site.rule())
    agent = site.start()
    site.put("a.dat", b"a")
    site.until(lambda: site.delivered == {"a.dat": b"a"}, "the first file")
    assert site.dropline("pause", "delivery").code == 0
    site.put("b.dat", b"b")
    site.until(lambda: site.status()["files"].get("batched") == 1, "the second file waits")
    agent.logs("a person paused deliveries")
    assert site.delivered == {"a.dat": b"a"}
    assert site.dropline("resume", "delivery").code == 0
    site.put("c.dat", b"c")
    site.until(lambda: site.delivered == {"a.dat": b"a", "b.dat": b"b", "c.dat": b"c"}, "all files")
    assert agent.stop() == 0


def test_large_files_do_not_delay_small_ones_behind_them(site: "Site") -> None:
    """However many batches of large files are under way or wait: a small file that comes then is there at once."""
    site.configure(site.rule(batch={"by": "dir", "linger": "0s"}))
    for number in range(40):
        large = site.put(f"large{number}/frames.raw", b"")
        os.truncate(large, 2**35)  # a hole: it takes a minute to read, and no space
    agent = site.start()
    site.until(lambda: site.status()["deliveries"].get("share", {}).get("active", 0) >= 24, "large files are under way")
    site.put("small.dat", b"small")
    site.until((site.share / "small.dat").exists, "the small file", SOON)
    assert list(site.share.rglob("*.raw")) == []
    assert agent.stop() == 0


def test_a_directory_that_cannot_be_listed_is_left_and_the_exit_code_says_so(site: "Site") -> None:
    """Nobody knows what is in it: `run --once` and `status` do not end as if all were well."""
    site.put("seen.dat", b"x")
    site.put("closed/hidden.dat", b"y")
    (site.inbox / "closed").chmod(0)
    try:
        assert (site.once(unprivileged=True), site.delivered) == (1, {"seen.dat": b"x"})
        assert site.dropline("status").code == 1
    finally:
        (site.inbox / "closed").chmod(0o700)
    assert (site.once(unprivileged=True), site.dropline("status").code) == (0, 0)


def test_files_that_nobody_decided_about_are_left_and_the_exit_code_says_so(site: "Site") -> None:
    """A destination that came later lacks what was delivered before, until the configuration says what is wanted."""
    site.put("early.dat", b"x")
    assert site.once() == 0
    (site.root / "later").mkdir()
    places = {"share": {"path": "share"}, "later": {"path": "later"}}
    site.configure(site.rule(deliver=[{"to": "share"}, {"to": "later"}]), destinations=places)
    assert (site.once(), site.dropline("status").code) == (1, 1)
    site.configure(site.rule(deliver=[{"to": "share"}, {"to": "later", "backfill": False}]), destinations=places)
    assert (site.once(), site.dropline("status").code) == (0, 0)
