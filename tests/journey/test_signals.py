"""What a signal does: it stops the agent within its bound, whatever hangs, and a terminal that goes away ends it."""

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.journey.conftest import DROPLINE

if TYPE_CHECKING:
    from tests.journey.conftest import Site

TERMINAL = """
import os, pty, select, signal, sys
agent, terminal = pty.fork()
if not agent:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs these tests may have ignored it, which is inherited
    os.execvp(sys.argv[1], sys.argv[1:])
signal.alarm(60)
print(agent, flush=True)
try:
    while sys.stdin not in select.select([sys.stdin, terminal], [], [])[0]:
        os.read(terminal, 65536)
except OSError:
    sys.stdin.readline()  # nohup has closed it at its side
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(agent, 0)[1]), flush=True)
"""
"""A terminal, and a command in it. Prints the number of its process, and goes away at a line of input; then how it ended."""
HANGS = """
import hashlib, sys, threading
from agent.host import signals
signals.STOP_AT_MOST = 0.3
one = signals.Signals(unfinished=int(sys.argv[2]))
one.install()
print("ready", flush=True)
if sys.argv[1] == "main thread":
    while True: hashlib.pbkdf2_hmac("sha512", b"", b"", 10**9)  # a call that no handler of Python interrupts
one.changed.wait()
if sys.argv[1] == "thread":
    threading.Thread(target=threading.Event().wait).start()  # the interpreter waits for it at its end
print("ends", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("what", "status", "said"), [("main thread", 0, ""), ("thread", 1, "ends\n"), ("nothing", 0, "ends\n")]
)
def test_a_stop_waits_for_nothing_that_hangs(number: int, what: str, status: int, said: str) -> None:
    """Neither a system call of the main thread, which no handler reaches, nor a thread is waited for beyond the bound."""
    with subprocess.Popen([sys.executable, "-P", "-c", HANGS, what, str(status)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert (process.stdout.read().decode(), process.wait(10.0)) == (said, status)


@pytest.mark.parametrize("prefix", [[], ["nohup"]], ids=["plain", "nohup"])
def test_a_terminal_that_goes_away_ends_the_agent_unless_it_was_told_to_survive(
    site: "Site", prefix: list[str]
) -> None:
    """With `nohup` the hang-up is a reload; without, an agent whose window was closed does not go on unseen."""
    site.configure(agent={"listen": "127.0.0.1:0"})
    with subprocess.Popen(
        [sys.executable, "-P", "-c", TERMINAL, *prefix, *DROPLINE, "run"],
        cwd=site.root, env=site.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as shell:  # fmt: skip
        assert shell.stdin is not None
        assert shell.stdout is not None
        agent = int(shell.stdout.readline())
        try:
            site.put("a.dat", b"before")
            site.until(lambda: site.delivered.get("a.dat") == b"before", "it runs")
            print("away", file=shell.stdin, flush=True)
            if prefix:
                site.configure(site.rule(exclude=["*.tmp"]), agent={"listen": "127.0.0.1:0"})
                os.kill(agent, signal.SIGHUP)
                site.put("b.dat", b"after")
                site.until(lambda: site.delivered.get("b.dat") == b"after", "it goes on")
                os.kill(agent, signal.SIGTERM)
            began = time.monotonic()
            assert shell.stdout.readline() == "0\n"
            assert time.monotonic() - began < 10
        finally:
            shell.stdin.close()
            try:
                os.kill(agent, signal.SIGKILL)
            except ProcessLookupError:
                pass


def test_without_a_terminal_a_hang_up_is_a_reload(site: "Site") -> None:
    """As in a container, and under cron."""
    site.configure(agent={"listen": "127.0.0.1:0"})
    agent = site.start()
    site.configure(site.rule(exclude=["*.tmp"]), agent={"listen": "127.0.0.1:0"})
    agent.process.signal(signal.SIGHUP)
    agent.logs("the configuration was read again")
    assert agent.process.running
    assert agent.stop() == 0
