"""One instrument workstation: its folders, its configuration, and the agent's process."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.zygote import Process, Zygote

STOPS_WITHIN = 10.0
"""Seconds from SIGTERM to the end, whatever the agent is doing."""
REST = 0.3
"""Seconds between two passes of a part of the agent that nobody wakes: in five, as in the product, less would go wrong."""
PATIENCE = 60.0
"""Seconds after which something that was waited for counts as never coming."""


def until(condition: Callable[[], object], seconds: float = PATIENCE, every: float = 0.02) -> bool:
    """Ask again and again. Returns whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _at_once(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The rule, whose files need not lie unmoved before they are reclaimed, unless it says so."""
    return {**rule, "reclaim": {"min_age": "0s"} | rule["reclaim"]} if "reclaim" in rule else dict(rule)


class Station:
    """A workstation. What faults change of its configuration counts from the next `configure` on."""

    def __init__(self, root: Path, zygote: Zygote) -> None:
        self.root = root
        self.zygote = zygote
        self.inbox, self.state = root / "inbox", root / "state"
        self.shares = {"share": root / "share", "mirror": root / "mirror"}
        for path in (root / "home", self.inbox, *self.shares.values()):
            path.mkdir(parents=True)
        self.clock = root / "clock"
        self.clock.write_text("0")
        self.log = root / "agent.log"
        self.agent: dict[str, Any] = {"state_dir": "state", "listen": "", "sweep_every": "3s", "canary_every": "0s"}
        self.destinations: dict[str, dict[str, Any]] = {name: {"path": name, "mounted": False} for name in self.shares}
        self.rule: dict[str, Any] = {
            "name": "r", "watch": "inbox", "exclude": ["*.tmp"], "complete": {"quiet": "0s"},
            "batch": {"linger": "0s"}, "deliver": [{"to": name} for name in self.shares],
        }  # fmt: skip
        self.rules: list[dict[str, Any]] = []
        """More rules."""
        self.patience: float | None = None
        """Seconds that its agents wait for an answer of a destination; None: as the product does."""
        self.rest: float | None = REST
        self.out = root / "agent.out"
        """What the agent answers."""
        self.tables: dict[str, Any] = {}
        """More tables of the configuration."""
        self.environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": str(root / "home"), "COLUMNS": "200", "NO_COLOR": "1",
        }  # fmt: skip
        self.process: Process | None = None
        self.starts = 0
        self.broken: list[str] = []
        self.may_refuse = False
        """An agent that starts may find that it cannot work, and end with 1."""
        """What the agent did that it must not do."""
        self.tolerated: tuple[str, ...] = ()
        """Complaints that hold one of these words are what a fault is about."""
        self.spares: list[Process] = []
        """Other agents that a fault started: ended with the station."""

    def configure(self, file: str = "dropline.toml", **agent: Any) -> Path:
        """Write the configuration, in one rename. `agent`: keys of its table, for an agent beside the first one."""
        tables = {
            "agent": self.agent | agent,
            "destinations": self.destinations,
            "rules": [_at_once(rule) for rule in (self.rule, *self.rules)],
            **self.tables,
        }
        fresh = self.root / "fresh"
        fresh.touch(mode=0o600)
        fresh.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in tables.items()))
        return fresh.rename(self.root / file)

    def spawn(self, *words: str, config: str = "dropline.toml", out: str = os.devnull) -> Process:
        """Start a command; what it says goes to the log, what it answers to `out`."""
        return self.zygote.start(
            [words[0], "--config", config, *words[1:]], self.root, self.environment,
            out=out, err=self.log, clock=self.clock, patience=self.patience, rest=self.rest,
        )  # fmt: skip

    def ask(self, *words: str, seconds: float = PATIENCE) -> str:
        """A command to its end: what it answers."""
        answer = self.root / "answer"
        answer.unlink(missing_ok=True)
        process = self.spawn(*words, out=str(answer))
        if process.wait(seconds) is None:
            self.broken.append(f"dropline {' '.join(words)} did not end")
            process.signal(signal.SIGKILL)
            process.wait(STOPS_WITHIN)
        return answer.read_text() if answer.exists() else ""

    # The agent

    @property
    def running(self) -> bool:
        """Whether the agent runs."""
        return self.process is not None and self.process.running

    def start(self) -> None:
        """Start the agent, unless it runs."""
        if not self.running:
            self.starts += 1
            self.process = self.spawn("run", out=str(self.out))

    def kill(self) -> None:
        """SIGKILL, and wait until it is dead."""
        if self.process is not None:
            self.process.signal(signal.SIGKILL)
            self.process.wait(STOPS_WITHIN)

    def stop(self) -> None:
        """SIGTERM; it must end well, and in time."""
        if self.process is None or self.process.code is not None:
            return
        began = time.monotonic()
        self.process.signal(signal.SIGCONT)
        self.process.signal(signal.SIGTERM)
        code = self.process.wait(STOPS_WITHIN)
        if code is None:
            self.broken.append(f"it did not stop within {STOPS_WITHIN:g} s")
            self.kill()
        elif code not in (0, -signal.SIGTERM) and not (
            self.may_refuse and code == 1
        ):  # the latter before it listens to signals
            self.broken.append(f"it ended with {code} {time.monotonic() - began:.1f} s after SIGTERM")

    def ended_by_itself(self) -> int | None:
        """The exit code of an agent that nobody ended; None: it runs, or was ended."""
        if self.process is None or self.process.code is not None or self.process.running:
            return None
        return self.process.wait(0)

    def close(self) -> None:
        """End everything."""
        for process in (*self.spares, *([self.process] if self.process else [])):
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGKILL)
            process.wait(STOPS_WITHIN)

    def complaints(self) -> list[str]:
        """Tracebacks and other signs in the log that the program itself failed."""
        said = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        signs = ("Traceback", "failed unexpectedly", "Exception ignored", "did not end in time")
        return [
            f"line {number} of its log: {line}"
            for number, line in enumerate(said, 1)
            if any(sign in line for sign in signs) and not any(word in line for word in self.tolerated)
        ]
