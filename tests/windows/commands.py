"""Starts `dropline` commands on Windows, where no process forks: each by an interpreter of its own, as `tests.zygote` does.

Wine passes no Ctrl-Break on to a program without a console. The number of a signal comes by a pipe instead, and the command
raises it: Windows, too, calls the handler of a Ctrl-Break in a thread that it starts for it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.zygote import ADDING, become

_ROOT = Path(__file__).parents[2]


class Process:
    """A command with a process of its own."""

    def __init__(self, order: bytes) -> None:
        self._process = _interpreter(stdin=subprocess.PIPE)
        self.pid = self._process.pid
        self._write(order)

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal; one that has ended gets none."""
        if self.running:
            self._write(b"%d" % number)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self, seconds: float) -> int | None:
        """Its exit code; None: it did not end in time."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        assert self._process.stdin is not None
        self._process.stdin.close()
        return code


class Report:
    """A command that an interpreter runs after others: its start would take longer than the command."""

    def __init__(self, interpreter: "subprocess.Popen[bytes]", order: bytes) -> None:
        self._interpreter = interpreter
        self._ended = threading.Event()
        self._code: int | None = None
        threading.Thread(target=self._run, args=(order,), daemon=True).start()

    def _run(self, order: bytes) -> None:
        assert self._interpreter.stdin is not None
        assert self._interpreter.stdout is not None
        self._interpreter.stdin.write(order + b"\n")
        self._interpreter.stdin.flush()
        self._code = int(self._interpreter.stdout.readline() or -1)
        self._ended.set()

    def kill(self) -> None:
        """End it at once, with its interpreter."""
        self._interpreter.kill()

    def wait(self, seconds: float) -> int | None:
        """Its exit code; None: it did not end in time."""
        self._ended.wait(seconds)
        return self._code


class Commands:
    """Where the commands come from."""

    def __init__(self) -> None:
        self._interpreter: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Commands":
        return self

    def __exit__(self, *error: object) -> None:
        if self._interpreter is not None:
            self._interpreter.kill()
            self._interpreter.communicate()

    def start(
        self, words: Sequence[str | Path], directory: Path, environment: Mapping[str, str], *,
        out: str | Path = os.devnull, err: str | Path = os.devnull, stdin: str | Path = os.devnull,
    ) -> Process | Report:  # fmt: skip
        """Start a command. It adds what it says to `out` and `err`. An agent has a process of its own."""
        for path in (out, err):
            os.close(os.open(path, ADDING, 0o600))  # whoever started it may read them at once
        order = {
            "arguments": [os.fsencode(word).hex() for word in words], "directory": str(directory),
            "environment": dict(environment), "streams": [str(stdin), str(out), str(err)],
            "clock": None, "patience": None, "rest": None,
        }  # fmt: skip
        line = json.dumps(order).encode()
        if words[0] == "run":
            return Process(line)
        if self._interpreter is None or self._interpreter.poll() is not None:
            self._interpreter = _interpreter("reports", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return Report(self._interpreter, line)


def _interpreter(*words: str, **pipes: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-m", "tests.windows.commands", *words],
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        **pipes,
    )


def run(orders: Any) -> None:
    """Become the command that the first line says; the others are signals."""
    become(json.loads(orders.readline()))

    def obey() -> None:
        for line in orders:
            signal.raise_signal(int(line))
        os._exit(1)  # the test has ended

    threading.Thread(target=obey, daemon=True).start()
    from agent.cli import main

    main()


def reports(orders: Any, codes: Any) -> None:
    """Run the command that each line says, and write its exit code."""
    from agent.cli import main

    for line in orders:
        become(json.loads(line))
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        sys.stderr.flush()
        codes.write(b"%d\n" % (code if isinstance(code, int) else 1 if code else 0))
        codes.flush()


if __name__ == "__main__":
    received = os.fdopen(os.dup(0), "rb")
    if sys.argv[1:] == ["reports"]:
        reports(received, os.fdopen(os.dup(1), "wb"))
    else:
        run(received)
