"""One configuration that runs: its parts, their threads, and its page."""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from agent.app.configuration import Secrets
from agent.app.pages import Page, write
from agent.app.parts import Parts, scrubber_of
from agent.host.priority import lower_priority
from agent.host.worker import Clock, Worker, Workers
from agent.host.zone import show_in
from agent.observe.file_inspector import FileInspector
from agent.observe.metrics import Metrics
from agent.observe.status import Health, health
from rules.config.reload import unaffected
from rules.config.settings import Configuration

if TYPE_CHECKING:  # an agent without a page does not load it
    from agent.observe.web.server import Server

_SHOWN_WITHIN = 2.2
"""Seconds in which a page that is open asks again what is new."""
STOP_WITHIN = 8.0
"""Seconds in which the threads end; what is not done by then is done again by the next run."""

log = logging.getLogger(__name__)

Started = Callable[[Parts, "Server | None"], AbstractContextManager[object]]
"""Gets what runs, and may show it while it runs."""


def apply_priority(config: Configuration) -> None:
    """Lower the priority, as configured, below that of the instrument's programs. From the main thread, before others start."""
    for sentence in lower_priority(config.settings.agent.nice, config.settings.agent.io_priority):
        log.warning("[agent] %s", sentence)


class Process(NamedTuple):
    """What outlives a configuration."""

    metrics: Metrics
    clock: Clock
    workers: Workers
    refused: Callable[[], str | None]
    """Why the configuration file, as it is now, is not in effect."""


class Active:
    """The parts of one configuration with their threads. What the former configuration has under way may go on in it."""

    def __init__(
        self, config: Configuration, secrets: Secrets, process: Process, former: "Active | None" = None
    ) -> None:
        """Make everything and start nothing, while `former` runs.

        Raises LedgerError, Refused, Transient; then nothing is left of it.
        """
        self.config = config
        self.secrets = secrets
        self.server: Server | None = None
        self.stopped_at: float | None = None
        """When a person stopped the agent; None: it runs."""
        self._process = process
        self._former = former
        self._started = False
        """Whether the parts have taken up what was left; their threads may not run yet."""
        self._problem: str | None = "the agent is about to start"
        """Why nothing runs."""
        kept = unaffected(former.config.settings, config.settings) if former is not None else frozenset()
        if former is not None and former.secrets.globus != secrets.globus:
            kept -= {name for name, table in config.settings.destinations.items() if table.transport == "globus"}
        names = [
            "intake",
            "reclaim",
            "outbox",
            "notify",
            "pruning",
            *(["textfile"] if config.settings.agent.textfile else []),
        ]
        names += [*config.settings.destinations, *map(scrubber_of, config.scrubs)]
        going_on = former._workers if former is not None else {}
        serving = {*kept, *map(scrubber_of, kept), *({"outbox"} & going_on.keys())}
        self._workers: dict[str, Worker] = {
            name: going_on[name] if name in serving else Worker(name, process.clock) for name in names
        }
        with ExitStack() as stack:
            self.parts: Parts = Parts(
                config, process.metrics, process.workers.wake, stack, lambda name: self._workers[name].heartbeat,
                former.parts if former is not None else None, kept,
            )  # fmt: skip
            self._inspector = FileInspector(process.clock, [rule.watch for rule in config.rules])
            self._page = Page(self.parts, self.health, process.metrics, process.clock, self._inspector, secrets.token)
            self.server = self._page.serve(former.server if former is not None else None)
            stack.callback(self._close_server)
            textfile = write(self.parts, process.metrics, process.clock, self._inspector, stack)
            self._steps: Mapping[str, Callable[[float], float | None]] = {
                "intake": self.parts.take_in,
                "reclaim": self.parts.reclaimer.step,
                "outbox": self.parts.dispatcher.step,
                "notify": self.parts.notifier.step,
                "pruning": self.parts.pruner.step,
                **({"textfile": textfile.step} if textfile is not None else {}),
                **{name: deliverer.step for name, deliverer in self.parts.deliverers.items()},
                **{name: scrubber.step for name, scrubber in self.parts.scrubbers.items()},
            }
            stack.callback(self._stop)
            self._stack = stack.pop_all()

    def take_over(self) -> None:
        """End the former configuration, but for what goes on in this one; the page is this one's from now on."""
        former, self._former = self._former, None
        if former is not None:
            self.parts.take_over()
            former._workers = {name: one for name, one in former._workers.items() if one is not self._workers.get(name)}
        if self.server is not None:
            if former is not None and former.server is self.server:
                former.server = None
                self._page.show(self.server)
            else:
                self.server.start()
        if former is not None:
            former.close()

    def start(self, started: Started) -> None:
        """Start what does not run. Where that fails, it may be tried again.

        Raises LedgerError, Refused, Transient.
        """
        apply_priority(self.config)
        show_in(self.config.zone)
        self._process.workers.replace(self._workers)
        if not self._started:
            self.parts.start(self._process.clock())
            self._started = True
        for name, step in self._steps.items():
            if not self._workers[name].alive:
                self._workers[name].start(step)
        if self._problem is not None:
            self._stack.enter_context(started(self.parts, self.server))
        self._problem = None

    def failed(self, reason: str) -> None:
        """It could not be started."""
        self._problem = reason

    def close(self) -> None:
        """End all that runs."""
        self._stack.close()

    @property
    def alive(self) -> bool:
        """Whether every thread runs."""
        return all(one.alive for one in self._workers.values()) and (self.server is None or self.server.alive)

    def health(self) -> Health:
        """What /healthz answers."""
        refused = self._process.refused()
        if self.stopped_at is not None:
            return Health(["the agent stops"], stopped_at=self.stopped_at)
        if self._problem is not None:
            return Health([self._problem], refused=refused)
        deliverers = self.parts.deliverers
        found = health(
            list(self._workers.values()), self.parts.intake.roots, self.config.settings.agent.sweep_every,
            {name: one.refusal for name, one in deliverers.items()}, {name: one.away for name, one in deliverers.items()},
            self._inspector.silent(), self._process.clock(),
        )  # fmt: skip
        return replace(found, refused=refused)

    def _stop(self) -> None:
        workers = list(self._workers.values())
        for worker in workers:
            worker.stop()
        deadline = time.monotonic() + STOP_WITHIN
        for worker in workers:
            worker.join(max(deadline - STOP_WITHIN / 2 - time.monotonic(), 0.0))
        self.parts.leave()  # what waits for a destination that does not answer now waits no more
        for worker in workers:
            if not worker.join(max(deadline - time.monotonic(), 0.1)):
                log.warning(
                    "thread %s did not end in time; what it was doing is done again by the next run", worker.name
                )

    def _close_server(self) -> None:
        if self.server is not None and (self._former is None or self.server is not self._former.server):
            if self.stopped_at is not None:
                self.server.site.farewell(_SHOWN_WITHIN)
            self.server.close()
