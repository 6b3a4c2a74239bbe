"""README as a reader runs it: every shell block, in a copy, in its own order."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import test_bootstrap, test_docs
from tests.journey.conftest import until

pytestmark = pytest.mark.slow
BLOCKS = [block.strip() for block in re.findall(r"```sh\n(.*?)```", test_docs.TEXT["README.md"], re.S)]
NOT_RUN = {
    test_docs.TEST: "it is what runs this very test; .ci/run does it, and test_docs holds the two together",
}
"""Blocks that are not run here, and why."""

index = test_bootstrap.index


@pytest.fixture
def copy(tmp_path: Path, index: test_bootstrap.Index) -> test_bootstrap.Clone:
    """A copy whose installation, from an index and by a pip of our own, leaves the command of this checkout."""
    made = test_bootstrap.Clone(tmp_path / "copy", index)
    code = "from agent.cli import main; main()"
    made.pip_installs(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-P", "-c", code])} "$@"\n')
    return made


def test_every_shell_block_is_run_or_says_why_not(copy: test_bootstrap.Clone) -> None:
    """The first installs and starts the agent; the others are run beside it, in the same folder; Ctrl-C ends it."""
    first, *others = [block for block in BLOCKS if block not in NOT_RUN]
    assert first == test_docs.RUN
    assert set(NOT_RUN) < set(BLOCKS)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    home = copy.temp / "home"
    home.mkdir()
    environment = kept | {"HOME": str(home), "TMPDIR": str(copy.temp), "PIP_INDEX_URL": copy.index.url, "no_proxy": "*"}

    def bash(block: str) -> list[str]:
        return ["bash", "-euo", "pipefail", "-c", block]

    said = copy.temp / "said"
    with (
        said.open("wb") as output,
        subprocess.Popen(
            bash(first), cwd=copy.root, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as agent,
    ):
        try:
            until(lambda: "status page: http" in said.read_text() or agent.poll() is not None, "a status page")
            assert agent.poll() is None, said.read_text()
            (copy.root / "inbox/scan.h5").write_bytes(b"a scan")
            until(lambda: " proved" in said.read_text(), "the proof")
            assert (copy.root / "share/scan.h5").read_bytes() == b"a scan"
            told = ""
            for block in others:
                done = subprocess.run(
                    bash(block), cwd=copy.root, env=environment, capture_output=True, text=True, check=False
                )
                assert (done.returncode, done.stderr) == (0, ""), block
                told += done.stdout
        finally:
            os.killpg(agent.pid, signal.SIGINT)
    assert agent.returncode == 0, said.read_text()
    assert "verified         1 files" in told, "status"
    assert f"{copy.root}/inbox/scan.h5: is there" in told, "explain"
