"""An agent in this process, on real folders and a real ledger, with a clock that the test moves and crashes on demand."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from agent.app import run
from agent.app.configuration import check
from agent.app.parts import Parts
from agent.delivery.deliverer import Deliverer
from agent.ledger.store import Store
from agent.observe.metrics import Metrics
from tests.campaign.instrument import Instrument
from tests.campaign.oracle import Oracle
from tests.campaign.station import until

_PASSES = 400
"""More passes than this without coming to rest are a loop."""


class Crash(BaseException):
    """The process dies here. Nothing catches it but who asked for it."""


class Rig:
    """One site and the parts of its agent, which run when they are told to."""

    def __init__(self, root: Path, chance: Random, **rule: Any) -> None:
        self.root = root
        self.inbox, self.shares = root / "inbox", {"share": root / "share", "mirror": root / "mirror"}
        for folder in (self.inbox, *self.shares.values()):
            folder.mkdir(parents=True)
        self.instrument = Instrument(self.inbox, chance, pace=0.0)
        self.oracle = Oracle(self.instrument.journal, self.inbox, self.shares, root / "state" / "deletions.jsonl")
        self.rule = {
            "name": "r", "watch": str(self.inbox), "exclude": ["*.tmp"], "complete": {"quiet": "5m"},
            "batch": {"linger": "0s"}, "deliver": [{"to": name} for name in self.shares], **rule,
        }  # fmt: skip
        self.now = 1_800_000_000.0
        self.parts: Parts | None = None
        self._left: int | None = None
        self._bell = threading.Event()
        self._stack = ExitStack()

    # The agent

    def start(self) -> Parts:
        """A new process, so to speak; the one that runs goes on."""
        if self.parts is None:
            agent = {"state_dir": str(self.root / "state"), "listen": "", "canary_every": "0s"}
            tables = {
                "agent": agent,
                "destinations": {name: {"path": str(path), "mounted": False} for name, path in self.shares.items()},
            }
            (self.root / "state").mkdir(exist_ok=True)
            self._stack = ExitStack()
            try:
                self.parts = Parts(
                    check(tables | {"rules": [self.rule]}, "test", self.root), Metrics(), lambda name: self._bell.set, self._stack
                )  # fmt: skip
                self.parts.start(self.now)
            except BaseException:
                self.end()
                raise
        return self.parts

    def end(self) -> None:
        """The process is gone. What its threads were writing is finished, and nobody was told."""
        self.parts = None
        self._stack.close()

    def crash(self, commits: int) -> None:
        """Run, and die at the so-many-th commit from now: before it (odd numbers), or after it."""
        self._left = commits
        commit = Store._commit

        def counted(store: Store) -> None:
            assert self._left is not None
            self._left -= 1
            if self._left == 0 and commits % 2:
                raise Crash
            commit(store)
            if self._left == 0:
                raise Crash

        Store._commit = counted  # type: ignore[method-assign, assignment]
        try:
            self.settle()
        except Crash:
            pass  # as was asked for
        finally:
            Store._commit = commit  # type: ignore[method-assign]
            self.end()

    def settle(self) -> None:
        """Pass after pass, until nothing moves by itself any more; where only time is missing, it passes."""
        parts = self.start()
        for _ in range(_PASSES):
            self._bell.clear()
            wait = run._pass(parts, lambda: self.now)  # type: ignore[arg-type]
            if wait is None:
                return
            if any(deliverer.waiting for deliverer in parts.deliverers.values()):
                self._bell.wait(0.2)
            else:
                self.now = max(self.now + wait, parts.ledger.files.next_rested() or 0.0)
        raise AssertionError("it does not come to rest")

    def replace_unheard(self, done: Callable[[], bool]) -> None:
        """Have what changed in place replace its copies, and do not take the report of it."""
        parts = self.start()
        for _ in range(6):
            parts.intake.step(self.now)
            self.now += 301.0
        for deliverer in parts.deliverers.values():
            assert until(partial(self._replacing, deliverer)), "it did not say that the name is taken"
        assert until(done), "it was not delivered"

    def _replacing(self, deliverer: Deliverer) -> bool:
        """One more pass, unless by now what may replace its copy was handed over."""
        deliverer.step(self.now)
        submissions = deliverer._in_flight.values()
        return any(one.item.replaces is not None for submission in submissions for one in submission.files.values())

    def tick(self, seconds: float) -> None:
        """Time passes, or the clock steps."""
        self.now += seconds
