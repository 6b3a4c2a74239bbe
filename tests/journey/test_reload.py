"""A configuration that is read again: nothing that it does not concern is disturbed, and nothing in it ends the agent."""

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.journey.conftest import Agent, Site

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="signals as on Linux")
TOKEN = "t" * 20
PAGE = {"listen": "127.0.0.1:0"}
SLOW = {"share": {"path": "share", "bandwidth": "1MB"}}


def reads(agent: "Agent", site: "Site", what: str) -> None:
    """Have the file read again, and wait for what the log says of that."""
    before = agent.log().count(what)
    agent.process.signal(signal.SIGHUP)
    site.until(lambda: agent.log().count(what) > before, f"{what!r} in the log")


def part(site: "Site") -> "Path | None":
    """What is being written at the share."""
    return next(site.share.glob("*.part"), None)


def edits(site: "Site") -> dict[str, dict[str, Any]]:
    """Configurations that do not concern what goes from the inbox to the share."""
    (site.root / "second").mkdir()
    (site.root / "place").mkdir()
    second = site.rule(name="s", watch="second", deliver=[{"to": "place"}])
    places = SLOW | {"place": {"path": "place"}}
    return {
        "another key": {"agent": PAGE | {"sweep_every": "7m"}, "destinations": SLOW},
        "another rule and destination": {"rules": [site.rule(), second], "agent": PAGE, "destinations": places},
        "without them": {"agent": PAGE, "destinations": SLOW},
        "no page": {"agent": {}, "destinations": SLOW},
    }


def test_what_an_edit_does_not_concern_goes_on(site: "Site") -> None:
    """A copy under way stays the one that it is, whatever is edited beside it; and what is new works at once."""
    site.configure(destinations=SLOW, agent=PAGE)
    agent = site.start()
    site.put("x.dat", os.urandom(6_000_000))
    copy = site.until(lambda: part(site), "a copy is under way")
    under_way = copy.stat().st_ino
    for name, keys in edits(site).items():
        site.configure(*keys.get("rules", ()), destinations=keys["destinations"], agent=keys["agent"])
        reads(agent, site, "the configuration was read again")
        assert copy.stat().st_ino == under_way, name
        if "rules" in keys:
            (site.root / "second/y.dat").write_bytes(b"y")
            site.until((site.root / "place/y.dat").exists, "the new rule delivers")
    site.until((site.share / "x.dat").exists, "it arrives")
    assert (site.share / "x.dat").stat().st_ino == under_way
    assert agent.log().count(f"sweep of {site.inbox}: start") == 1, "its watch stayed, too"
    assert site.dropline("wait", site.inbox / "x.dat", "--timeout", "1m").code == 0
    site.put("z.dat", b"z")
    site.until((site.share / "z.dat").exists, "the deliverer goes on")
    assert agent.stop() == 0


def test_a_file_that_says_the_same_changes_nothing(site: "Site") -> None:
    """A touch, a comment, or SIGHUP alone: a line in the log, and no part of the agent is replaced."""
    site.configure(agent=PAGE)
    agent = site.start()
    said = "the configuration was read again, and nothing has changed"
    reads(agent, site, said)
    text = site.config.read_text()
    site.config.write_text(f"# a comment\n{text}")
    site.until(lambda: agent.log().count(said) == 2, "it was read")
    assert agent.get("/healthz").body == "ok\n"
    threads = len(os.listdir(f"/proc/{agent.process.pid}/task"))
    for _ in range(5):
        reads(agent, site, said)
    assert len(os.listdir(f"/proc/{agent.process.pid}/task")) == threads
    assert agent.stop() == 0


def test_a_deliverer_that_stays_goes_by_the_new_rules(site: "Site") -> None:
    """`updates_in_place` disturbs nothing that is under way, and counts from the reload on."""
    site.configure(agent=PAGE)
    agent = site.start()
    for content in (b"head 1, data", b"head 2, data, data"):
        site.put("scan.h5", content)
        assert site.dropline("wait", site.inbox / "scan.h5", "--timeout", "1m").code == 0
        site.configure(site.rule(updates_in_place=True), agent=PAGE)
        reads(agent, site, "the configuration was read again")
    assert site.delivered == {"scan.h5": b"head 2, data, data"}
    assert agent.stop() == 0


def test_no_reload_leaves_a_thread_behind(site: "Site") -> None:
    """Not those of a page at another port, and not those of a destination that changed."""
    site.configure(agent=PAGE)
    agent = site.start()
    counts = []
    for number in range(6):
        destinations = {"share": {"path": "share", "bandwidth": f"{number + 1}GB"}}
        site.configure(agent=PAGE | {"hosts": [f"host{number}"]}, destinations=destinations)
        reads(agent, site, "the configuration was read again")
        site.put(f"{number}.dat", b"x")
        site.until((site.share / f"{number}.dat").exists, "it works")
        counts.append(len(os.listdir(f"/proc/{agent.process.pid}/task")))
    assert max(counts[2:]) <= counts[1] + 2, counts
    assert agent.stop() == 0


def test_what_cannot_be_run_is_shown_until_it_is_mended(site: "Site") -> None:
    """A token that others may read, an edit that is no TOML: the old rules go on, and every way to look says so."""
    token = site.root / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    site.configure(agent=PAGE)
    agent = site.start()

    def metric() -> str:
        return next(line for line in agent.get("/metrics").body.splitlines() if line.startswith("dropline_config_"))

    assert metric() == "dropline_config_last_reload_successful 1.0"
    refused = f"the secret in {token} can be read by others; chmod 600 {token}"
    token.chmod(0o644)
    site.configure(agent=PAGE | {"token_file": str(token)})
    reads(agent, site, f"the configuration is not taken, the old rules go on: {refused}")
    answer = agent.get("/healthz")
    assert (answer.status, answer.body) == (
        200,
        f"ok\nthe configuration is not taken, the old rules go on: {refused}\n",
    )
    assert metric() == "dropline_config_last_reload_successful 0.0"
    status = site.dropline("status")
    assert (status.code, f"the old rules go on: {refused}" in status.out) == (1, True)
    page = agent.get("/").body
    assert "The configuration is not in effect" in page
    assert "can be read by others" in page
    site.put("x.dat", b"x")
    site.until((site.share / "x.dat").exists, "the old rules go on")

    token.chmod(0o600)
    reads(agent, site, "the configuration was read again")
    site.configure(agent=PAGE)
    reads(agent, site, "the configuration was read again")
    site.until(lambda: site.dropline("status").code == 0, "all is well")
    assert agent.stop() == 0


def test_a_page_may_move_to_another_address_of_its_port(site: "Site") -> None:
    """One that includes the former, which is served until the new one is; a taken port changes nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = site.root / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    site.configure(agent={"listen": f"127.0.0.1:{port}"})
    agent = site.start()
    assert agent.get("/healthz").body == "ok\n"
    site.configure(agent={"listen": f"0.0.0.0:{port}", "token_file": str(token)})
    reads(agent, site, "the configuration was read again")

    def status(token: str) -> int | None:
        try:
            return agent.request("GET", "/status.json", {"Authorization": f"Bearer {token}"}).status
        except ConnectionError:
            return None  # the former page ended as it was asked

    site.until(lambda: status("") == 401, "it wants the token")
    token.write_text(TOKEN * 2)
    reads(agent, site, "the configuration was read again")
    site.until(lambda: (status(TOKEN), status(TOKEN * 2)) == (401, 200), "the new token counts")
    assert agent.stop() == 0


def test_the_emergency_brake_works_whatever_the_file_says(site: "Site") -> None:
    """While the file has an error, commands go by what the agent took last, and say so; `check` and `run` do not."""
    site.configure(site.rule(reclaim={"after": "0s"}), agent=PAGE)
    agent = site.start()
    path = site.put("x.dat", b"x")
    site.until(lambda: not path.exists(), "it is reclaimed")
    good = site.config.read_text()
    for bad, said in (
        (good + "\nrules = [ {", "is not TOML"),
        (good.replace('"exclude"', "").replace('"watch"', '"wach"'), "wach"),
    ):
        site.config.write_text(bad)
        site.config.chmod(0o600)
        agent.logs("the configuration is not taken")
        for words in (
            ("pause", "reclaim"),
            ("files",),
            ("explain", path),
            ("retry",),
            ("batches",),
            ("resume", "reclaim"),
        ):
            done = site.dropline(*words)
            assert (done.code, done.err.startswith("warning: the configuration is not taken"), said in done.err) == (
                0, True, True,
            ), words  # fmt: skip
        status = site.dropline("status")
        assert (status.code, status.out.startswith("the configuration is not taken"), said in status.out) == (
            1,
            True,
            True,
        )
        for words in (("check",), ("whoami",), ("verify", "share"), ("reclaim",)):
            assert site.dropline(*words).code == 2, words
    site.config.write_text(good)
    site.until(lambda: site.dropline("status").code == 0, "all is well")
    assert agent.stop() == 0


def test_another_file_is_not_helped_by_what_an_agent_took(site: "Site") -> None:
    """A broken file that no agent runs stays an error, though it names the same state directory."""
    agent = site.start()
    other = site.root / "other.toml"
    other.write_text(f'[agent]\nstate_dir = "{site.state}"\nlisten = 1 2\n')
    done = site.dropline("status", "--config", other)
    assert (done.code, "other.toml:3: is not TOML" in done.err) == (2, True)
    assert agent.stop() == 0


def test_an_open_page_keeps_that_the_agent_was_stopped(site: "Site") -> None:
    """Its script asks every two seconds: the agent waits for that, and no page speaks of dead threads."""
    site.configure(agent=PAGE)
    agent = site.start()
    live = {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Site": "same-origin"}
    assert "Stopped" not in agent.request("GET", "/", live).body
    agent.process.signal(signal.SIGTERM)
    page = site.until(
        lambda: (found := agent.request("GET", "/", live).body) and "Stopped at" in found and found, "it says so"
    )
    assert "is dead" not in page
    assert agent.process.wait(10) == 0


def test_a_command_under_way_is_neither_ended_nor_run_beside_itself(site: "Site") -> None:
    """An edit, even of the action's own rule: the command of the former configuration goes on, and is run once."""
    began, go_on = site.root / "began", site.root / "go on"
    then = [{"command": ["/bin/sh", "-c", f"echo $$ >> '{began}'; while [ ! -e '{go_on}' ]; do sleep 0.05; done"]}]
    site.configure(site.rule(then=then), agent=PAGE)
    agent = site.start()
    site.put("x.dat", b"x")
    site.until(began.exists, "the command runs")
    site.configure(site.rule(then=then, complete={"quiet": "1ms"}), agent=PAGE | {"sweep_every": "7m"})
    reads(agent, site, "the configuration was read again")
    site.put("y.dat", b"y")
    site.until((site.share / "y.dat").exists, "the new configuration runs")
    go_on.touch()
    site.until(lambda: site.status()["outbox"] == [], "nothing waits to be done")
    assert len(began.read_text().split()) == 2
    assert agent.stop() == 0


FAILS = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from agent.app.run import run
from agent.app.configuration import read
file, failures, tries = Path(sys.argv[1]), int(sys.argv[2]), []
@contextmanager
def started(parts, server):
    tries.append([rule.name for rule in parts.config.rules])
    print(*tries[-1], flush=True)
    if len(tries) == 1:
        file.write_text(file.read_text().replace('"name" = "r"', '"name" = "edited"'))
    elif len(tries) < 2 + failures:
        raise RuntimeError("not now")
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    yield
run(read(file), started)
"""


@pytest.mark.parametrize("failures", [0, 2])
def test_an_edit_while_it_starts_is_taken_up_until_it_runs(site: "Site", failures: int) -> None:
    """Between the reading and the first look for edits; what then fails, whatever it raises, is tried again with growing waits."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", FAILS, site.config, str(failures)],
        cwd=site.root, env=site.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "r\n" + "edited\n" * (1 + failures)), done.stderr
