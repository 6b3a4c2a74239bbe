"""How the agent steps back: tried in its own process, for it cannot be undone."""

import json
import os
import subprocess
import sys

import pytest

PRINTS = """
import json, os, subprocess, sys, threading
from agent.host.priority import lower_priority
if {before}:
    os.nice({before})
failed = lower_priority({nice}, {io!r})
seen = []
def look():
    ours = subprocess.run([sys.executable, "-c", "import os, psutil; print(os.nice(0), psutil.Process().ionice().ioclass.value)"],
                          capture_output=True, text=True, check=True).stdout.split()
    seen.append([os.nice(0), *map(int, ours)])
thread = threading.Thread(target=look)
thread.start()
thread.join()
print(json.dumps([failed, *seen]))
"""
NONE, IDLE = 0, 3


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux does")
@pytest.mark.parametrize(
    ("before", "nice", "io", "ioclass"),
    [(0, 0, "normal", NONE), (0, 7, "idle", IDLE), (10, 5, "idle", IDLE)],
    ids=["as it is", "both", "never less nice"],
)
def test_threads_and_helpers_step_back_with_the_agent(before: int, nice: int, io: str, ioclass: int) -> None:
    """What was set counts for a thread that is started later, and for a process that this starts."""
    then = max(os.nice(0) + before, nice)
    code = PRINTS.format(before=before, nice=nice, io=io)
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [[], [then, then, ioclass]]
