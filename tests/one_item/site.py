"""An agent in one process with one ledger in memory, its parts passed by hand, and a clock that the scene moves."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.app.parts import Parts
from agent.files.posix import mounts
from agent.ledger import MEMORY, Ledger, State
from agent.observe.metrics import Metrics
from tests.one_item import BAD

T0 = 2_000_000_000.0
Acting = Callable[[], AbstractContextManager[object]]
"""Around what a scene does with its items, without what goes before and after it."""
_PATIENCE = 20.0
_MOUNTS = list(mounts._table())
"""Nothing is mounted meanwhile: the scenes ask some hundred times."""


class Shared(Ledger):
    """A connection that all parts share: each of them closes it, and it stays open."""

    def close(self) -> None:
        """It goes with the process."""


class Site:
    """Folders `data/*` and shares, a configuration, and the agent's parts."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, rules: list[dict[str, Any]], **tables: Any) -> None:
        self.root, self.data = root, root / "data"
        self.trouble: list[Exception] = []
        self.woken = threading.Event()
        self._ledgers: list[Shared] = []
        patch.setattr("agent.app.parts.Ledger", self._connect)
        patch.setattr("os.fsync", lambda fd: None)
        patch.setattr("agent.files.posix.mounts._table", _MOUNTS.__iter__)
        patch.setattr("agent.files.posix.durable.make_durable", lambda fds: None)
        (root / "state").mkdir(parents=True)
        for rule in rules:
            (self.data / rule["name"]).mkdir(parents=True)
        self.shares = {name: root / f"to-{name}" for name in ("share", BAD)}
        for share in self.shares.values():
            share.mkdir()
        plain = {
            "complete": {"quiet": "0s"},
            "batch": {"linger": "0s"},
            "deliver": [{"to": "share", "path": "{rule}/{relpath}"}],
        }
        config = {
            "agent": {"state_dir": str(root / "state"), "listen": "", "canary_every": "0s", "sweep_every": "60s"},
            "destinations": {name: {"path": str(path), "mounted": False} for name, path in self.shares.items()},
            "rules": [plain | {"watch": str(self.data / rule["name"])} | rule for rule in rules], **tables,
        }  # fmt: skip
        self.config = check(config, "test", root)
        self._stack = ExitStack()
        self.parts = Parts(self.config, Metrics(), lambda name: self.woken.set, self._stack)
        self.ledger = self._ledgers[0]

    def _connect(self, path: str, *announce: Any) -> Ledger:
        if not self._ledgers:
            self._ledgers.append(Shared(MEMORY, *announce))
        return self._ledgers[0]

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._stack.close()
        except RuntimeError:
            pass  # what a scene makes fail while all ends
        super(Shared, self.ledger).close()

    def put(self, *names: str, content: bytes = b"content") -> None:
        """Files below `data`."""
        for name in names:
            path = self.data / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def place(self, name: str) -> int:
        """The number of a destination."""
        return self.ledger.destinations.place(name, self.config.settings.destinations[name].address).id

    def take_in(self, now: float) -> None:
        """Find what is there, and seal it."""
        self.parts.replan.start(now - 2)
        self.parts.intake.start(now - 2)
        for at in (now - 2, now - 1, now):
            self.passes(self.parts.take_in, at, 4)

    def passes(self, step: Callable[[float], object], now: float, times: int = 8, of: str = "") -> None:
        """As the worker that runs the passes. `of`: what it is for; a thread of a bad item may fail."""
        for _ in range(times):
            try:
                step(now)
            except Exception as error:  # noqa: BLE001
                if BAD not in of:
                    self.trouble.append(error)

    def deliver(self, now: float) -> None:
        """Pass until nothing of the good files is in flight."""
        deadline = time.monotonic() + _PATIENCE
        for _ in range(4):
            self.woken.clear()
            for name, part in self.parts.deliverers.items():
                self.passes(part.step, now, 1, name)
            while any(BAD not in file.file.path for part in self.parts.deliverers.values()
                      for one in part.submissions for file in one.files.values()):  # fmt: skip
                assert self.woken.wait(max(deadline - time.monotonic(), 0)), "a good file is not delivered"
                self.woken.clear()
                for name, part in self.parts.deliverers.items():
                    self.passes(part.step, now, 1, name)

    @property
    def files(self) -> Mapping[str, str]:
        """Good files and versions -> state and reason."""
        return {
            f"{file.path[len(str(self.data)) :]} {file.version.size} {file.generation}": f"{file.state} {file.reason}"
            for file in self.ledger.reports.files(list(State), 1000)
            if BAD not in file.path[len(str(self.data)) :]
        }

    @property
    def copies(self) -> Mapping[str, bytes]:
        """Good files at the shares."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for share in self.shares.values()
            for path in share.rglob("*")
            if path.is_file() and BAD not in str(path.relative_to(self.root)) and not path.name.startswith(".dropline")
        }
