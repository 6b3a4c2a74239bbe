"""An agent from its start to its end: `run` until a signal stops it, `once` until nothing more can be done."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from math import inf
from pathlib import PurePath
from typing import TYPE_CHECKING

from agent.actions import END_WITHIN
from agent.app.configuration import read
from agent.app.pages import serve, write
from agent.app.parts import Parts, scrubber_of
from agent.errors import LedgerError, Refused, Transient
from agent.host import own_files, systemd
from agent.host.lock import RESIDENT, locked
from agent.host.priority import step_back
from agent.host.signals import Signals
from agent.host.worker import Clock, Worker
from agent.observe.logs import kept
from agent.observe.looks import Looks
from agent.observe.metrics import Metrics
from agent.observe.status import Health, health
from rules.config.mistake import RuleError
from rules.config.settings import Configuration

if TYPE_CHECKING:  # an agent without a page does not load it
    from agent.observe.web.server import Server

_COMES_WITHIN = 10.0
"""Seconds, after the quiet periods that ran when it had seen all that is there, in which `run --once` takes what comes."""
_CONCLUDE_WITHIN = 60.0
"""Seconds that `run --once` gives to telling people how things stand."""
STOP_WITHIN = 8.0
"""Seconds in which the threads end; what is not done by then is done again by the next run."""

log = logging.getLogger(__name__)


def polite(config: Configuration) -> None:
    """Step back behind the instrument's programs, as configured. From the main thread, before others are started."""
    for sentence in step_back(config.settings.agent.nice, config.settings.agent.io_priority):
        log.warning("[agent] %s", sentence)


def run(config: Configuration, started: "Callable[[Parts, Server | None], AbstractContextManager[object]]") -> None:
    """Run until a signal stops it. `started` gets the parts and may show them while they run.

    Raises LedgerError, Refused, Transient.
    """
    signals, metrics, clock = Signals(), Metrics(), Clock()
    signals.install()
    with locked(config.state_dir), locked(config.state_dir, name=RESIDENT), kept(config.state_dir):
        former: Configuration | None = None
        stamp = config.stamp
        while not signals.stop:
            try:
                following = _run_configuration(config, stamp, signals, metrics, clock, started)
            except (LedgerError, Refused, Transient) as error:
                if former is None:
                    raise
                log.error("the configuration is not taken, the old rules go on: %s", error)  # noqa: TRY400
                config, former = former, None
            else:
                config, former, stamp = following, config, following.stamp


def _run_configuration(
    config: Configuration, stamp: tuple[int, int, int] | None, signals: Signals, metrics: Metrics, clock: Clock,
    started: "Callable[[Parts, Server | None], AbstractContextManager[object]]",
) -> Configuration:  # fmt: skip
    """Run one configuration until it is to be replaced or the agent is to stop. Returns what to run next.

    `stamp`: of the file when it was read last, by this configuration or by one that could not be run.
    """
    polite(config)
    scrubbed = map(scrubber_of, config.scrubs)
    names = [
        "intake",
        "reclaim",
        "outbox",
        "notify",
        "pruning",
        *(["textfile"] if config.settings.agent.textfile else []),
    ]
    workers = {name: Worker(name, clock) for name in (*names, *config.settings.destinations, *scrubbed)}
    with ExitStack() as stack:
        parts = Parts(config, metrics, lambda name: workers[name].wake, stack, lambda name: workers[name].beat)
        parts.start(clock())

        looks = Looks(clock, [rule.watch for rule in config.rules])

        def well() -> Health:
            refusals = {name: deliverer.refusal for name, deliverer in parts.deliverers.items()}
            every = config.settings.agent.sweep_every
            away = {name: deliverer.away for name, deliverer in parts.deliverers.items()}
            return health(list(workers.values()), parts.intake.roots, every, refusals, away, looks.silent(), clock())

        server = serve(parts, well, metrics, clock, looks, stack)
        textfile = write(parts, metrics, clock, looks, stack)
        stack.callback(_stop, list(workers.values()), parts)
        steps: dict[str, Callable[[float], float | None]] = {
            "intake": parts.take_in,
            "reclaim": parts.reclaimer.step,
            "outbox": parts.dispatcher.step,
            "notify": parts.notifier.step,
            "pruning": parts.pruner.step,
            **({"textfile": textfile.step} if textfile is not None else {}),
            **{name: deliverer.step for name, deliverer in parts.deliverers.items()},
            **{name: scrubber.step for name, scrubber in parts.scrubbers.items()},
        }
        for name, step in steps.items():
            workers[name].start(step)
        stack.enter_context(started(parts, server))
        systemd.tell(READY="1")
        while not signals.stop:
            _report(well(), [*workers.values(), *([server] if server else [])])
            signals.changed.wait(2.0)
            signals.changed.clear()
            if signals.reload or _stamp(config) != stamp:
                signals.reload, stamp = False, _stamp(config)
                following = _reread(config)
                if following is not None:
                    systemd.reloading()
                    return following
        systemd.tell(STOPPING="1")
    return config


def _report(found: Health, threads: "Sequence[Worker | Server]") -> None:
    """Tell systemd how it goes, and, while every thread runs, that it need not start the agent anew.

    A thread that is long over its pass is told, too, but still counts as alive: it may be comparing a file of 500 GB
    before its deletion, which every restart would begin from the start.
    """
    alive = {"WATCHDOG": "1"} if all(thread.alive for thread in threads) else {}
    systemd.tell(STATUS="; ".join(found.problems) or "at work", **alive)


def _stop(workers: Sequence[Worker], parts: Parts) -> None:
    for worker in workers:
        worker.stop()
    deadline = time.monotonic() + STOP_WITHIN
    for worker in workers:
        worker.join(max(deadline - STOP_WITHIN / 2 - time.monotonic(), 0.0))
    parts.leave()  # what waits for a destination that does not answer now waits no more
    for worker in workers:
        if not worker.join(max(deadline - time.monotonic(), 0.1)):
            log.warning("thread %s did not end in time; what it was doing is done again by the next run", worker.name)


def _stamp(config: Configuration) -> tuple[int, int, int] | None:
    try:
        return own_files.facts(config.source).stamp
    except OSError:
        return None  # no file (run --watch --to), or between two writes of an editor


def _reread(config: Configuration) -> Configuration | None:
    if _stamp(config) is None:
        return None
    try:
        following = read(PurePath(config.source))
    except RuleError as error:
        log.error("the configuration is not taken, the old rules go on: %s", error)  # noqa: TRY400  (the message is all)
        return None
    if following.state_dir != config.state_dir:
        log.error("state_dir cannot change while the agent runs; the old configuration goes on")
        return None
    log.info("the configuration was read again: %s", config.source)
    return following


def once(config: Configuration) -> bool:
    """Process what is there until nothing more can be done without waiting for a person, a writer or a lost destination.

    It waits for the quiet periods that run when it has seen all that is there, and takes what comes a few seconds longer.
    Returns whether all went well: nothing failed, refused or left on the way. Raises LedgerError, Refused, Transient.
    """
    polite(config)
    config = config.with_agent(canary_every=0.0)  # a canary needs time to come back
    metrics, clock, bell = Metrics(), Clock(), threading.Event()
    signals = Signals(unfinished=1)
    signals.changed = bell
    signals.install()
    with locked(config.state_dir), kept(config.state_dir), ExitStack() as stack:
        parts = Parts(config, metrics, lambda name: bell.set, stack)
        parts.start(clock())
        seen_at: float | None = None
        takes_until = inf
        while not signals.stop:
            bell.clear()
            wait = _pass(parts, clock, takes_until)
            if seen_at is None and not parts.intake.busy:
                seen_at, takes_until = clock(), 0.0
            if seen_at is not None:
                quiet_until = parts.ledger.files.quiet_until(seen_at)
                takes_until = max(takes_until, (quiet_until or seen_at) + _COMES_WITHIN)
            if wait is None:
                break
            bell.wait(wait)
        parts.pruner.step(clock())
        parts.conclude(clock(), END_WITHIN if signals.stop else _CONCLUDE_WITHIN)
        textfile = write(parts, metrics, clock, Looks(clock, [rule.watch for rule in config.rules]), stack)
        if textfile is not None:
            textfile.step(clock())
        down = any(deliverer.down for deliverer in parts.deliverers.values())
        reports = parts.ledger.reports
        return not (signals.stop or down or reports.unfinished() or reports.waiting())


def _pass(parts: Parts, clock: Clock, takes_until: float = inf) -> float | None:
    """One pass of every part. Returns seconds until the next makes sense; None: nothing moves by itself any more.

    `takes_until`: when intake ends; what is sealed by then is delivered.
    """
    now = clock()
    takes = now <= takes_until
    again = [
        parts.take_in(now) if takes else None,
        *(deliverer.step(now) for deliverer in parts.deliverers.values()),
        parts.dispatcher.step(now),
        parts.reclaimer.step(now),
    ]
    if (takes and parts.intake.busy) or any(at is not None and at <= now for at in again):
        return 0.0
    if parts.dispatcher.waiting or any(deliverer.waiting for deliverer in parts.deliverers.values()):
        return 0.2
    settled = parts.ledger.files.next_settled()
    if takes and settled is not None and settled <= takes_until:
        return min(max(settled - now, 0.0), 0.2)
    if parts.intake.seal_all(now) or any(deliverer.ready(now) for deliverer in parts.deliverers.values()):
        return 0.0
    lie_until = parts.reclaimer.lie_until
    return None if lie_until is None else min(max(lie_until - now, 0.0), 0.2)
