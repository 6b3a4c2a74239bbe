"""An agent from its start to its end: `run` until a signal stops it, `once` until nothing more can be done."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from typing import NamedTuple, TypeVar

from agent.actions import END_WITHIN
from agent.app.active import Active, Process, Started, apply_priority
from agent.app.configuration import Secrets, again
from agent.app.kept import KeptConfiguration, require_owner
from agent.app.pages import write
from agent.app.parts import Parts
from agent.errors import LedgerError, Refused, Transient
from agent.host import own_files, supervisor
from agent.host.lock import RESIDENT, locked
from agent.host.signals import Signals
from agent.host.worker import Clock, Workers
from agent.observe.file_inspector import FileInspector
from agent.observe.logs import kept
from agent.observe.metrics import Metrics
from agent.observe.status import Health
from rules.config.config_error import RuleError
from rules.config.settings import Configuration
from rules.retry import backoff

T = TypeVar("T")
_COMES_WITHIN = 10.0
"""Seconds, after the quiet periods that ran when it had seen all that is there, in which `run --once` takes what comes."""
_CONCLUDE_WITHIN = 60.0
"""Seconds that `run --once` gives to telling people how things stand."""

log = logging.getLogger(__name__)


def run(config: Configuration, started: Started) -> None:
    """Run until a signal stops it. `started` gets the parts and may show them while they run.

    Raises LedgerError, Refused, Transient where it cannot be started; once it runs, nothing but a signal ends it.
    """
    signals, metrics, taken = Signals(), Metrics(), KeptConfiguration()
    metrics.configuration(lambda: taken.refused is None)
    process = Process(metrics, Clock(), Workers(), lambda: taken.refused)
    signals.install()
    with (
        locked(config.state_dir),
        locked(config.state_dir, name=RESIDENT),
        kept(config.state_dir),
        ExitStack() as stack,
    ):
        require_owner(config)
        active = Active(config, Secrets.of(config), process)
        stack.callback(lambda: active.close())  # noqa: PLW0108  (another one may be active by then)
        active.take_over()
        active.start(started)
        taken.took(config)
        supervisor.ready()
        stamp = config.stamp  # of the file when it was read last, by what runs or by what could not be run
        while not signals.stop:
            _report(active.health(), alive=active.alive)
            signals.changed.wait(2.0)
            signals.changed.clear()
            if not (signals.reload or _stamp(active.config) != stamp):
                continue
            signals.reload, stamp = False, _stamp(active.config)
            following = _following(active, process, taken, stamp)
            if following is None:
                continue
            supervisor.reloading()
            active, stamp = following, following.config.stamp
            _start(active, started, signals)
            taken.took(active.config)
            supervisor.ready()
        active.stopped_at = process.clock()
        supervisor.stopping()


class _Failed(NamedTuple):
    """What a reload tried."""

    reason: str


def _tried(act: Callable[[], T]) -> T | _Failed:
    """What comes of it: nothing that a reload does may end the agent."""
    try:
        return act()
    except RuleError as error:
        return _Failed(error.short)
    except (LedgerError, Refused, Transient) as error:
        return _Failed(str(error))
    except Exception as error:
        log.exception("a reload failed unexpectedly")
        return _Failed(f"{type(error).__name__}: {error}")


def _following(
    active: Active, process: Process, taken: KeptConfiguration, stamp: tuple[int, int, int] | None
) -> Active | None:
    """The configuration as its file is now, made and not started; None: nothing has changed, or it cannot be run.

    What runs is not ended before all of its successor is made.
    """
    if stamp is None:
        return None  # no file (run --watch --to), or between two writes of an editor
    following = _tried(lambda: _made(active, process))
    if isinstance(following, _Failed):
        taken.not_taken(following.reason, stamp)
        return None
    if following is active:
        log.info("the configuration was read again, and nothing has changed: %s", active.config.source)
        taken.took(active.config)
        return None
    log.info("the configuration was read again: %s", active.config.source)
    return following


def _made(active: Active, process: Process) -> Active:
    config = again(active.config)
    secrets = Secrets.of(config)
    if config.state_dir != active.config.state_dir:
        raise Refused("state_dir cannot change while the agent runs", "start the agent again")
    if (config.settings, secrets) != (active.config.settings, active.secrets):
        return Active(config, secrets, process, active)
    active.config = config
    return active


def _start(active: Active, started: Started, signals: Signals) -> None:
    """End the former configuration, and start what replaces it: again and again until it succeeds, or the agent is to stop."""
    ended = _tried(active.take_over)
    if isinstance(ended, _Failed):
        log.error("a part of the former configuration could not be ended as it should: %s", ended.reason)
    attempt = 0
    while not signals.stop and isinstance(failed := _tried(lambda: active.start(started)), _Failed):
        attempt += 1
        active.failed(f"the new configuration cannot be started: {failed.reason}")
        log.error("%s; tried again in %g s", active.health().problems[0], backoff(attempt))
        _report(active.health(), alive=True)
        signals.changed.wait(backoff(attempt))
        signals.changed.clear()


def _report(found: Health, *, alive: bool) -> None:
    """Report to the service manager how it goes, and, while every thread runs, that it need not restart the agent.

    A thread that is long over its pass is reported, too, but still counts as alive: it may be comparing a file of 500 GB
    before its deletion, which every restart would begin from the start.
    """
    supervisor.report("; ".join(found.problems) or "at work", alive=alive)


def _stamp(config: Configuration) -> tuple[int, int, int] | None:
    try:
        return own_files.facts(config.source).stamp
    except OSError:
        return None


def once(config: Configuration) -> bool:
    """Process the files that exist until nothing more can be done without waiting for a person, a writer or a lost destination.

    It waits for the quiet periods that run when it has seen all that is there, and takes what comes a few seconds longer.
    Returns whether all went well: nothing failed, refused or left on the way. Raises LedgerError, Refused, Transient.
    """
    apply_priority(config)
    given, config = config, config.with_agent(canary_every=0.0)  # a canary needs time to come back
    metrics, clock, bell = Metrics(), Clock(), threading.Event()
    signals = Signals(unfinished=1)
    signals.changed = bell
    signals.install()
    with locked(config.state_dir), kept(config.state_dir), ExitStack() as stack:
        require_owner(given)
        KeptConfiguration().took(given)
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
        textfile = write(parts, metrics, clock, FileInspector(clock, [rule.watch for rule in config.rules]), stack)
        if textfile is not None:
            textfile.step(clock())
        down = any(deliverer.down for deliverer in parts.deliverers.values())
        reports = parts.ledger.reports
        return not (signals.stop or down or reports.unfinished() or reports.waiting())


def _pass(parts: Parts, clock: Clock, takes_until: float = inf) -> float | None:
    """One pass of every part. Returns seconds until the next makes sense; None: nothing moves any more.

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
    rests = parts.ledger.files.next_rested()
    if takes and rests is not None and rests <= takes_until:
        return min(max(rests - now, 0.0), 0.2)
    if parts.intake.seal_all(now) or any(deliverer.ready(now) for deliverer in parts.deliverers.values()):
        return 0.0
    lie_until = parts.reclaimer.lie_until
    return None if lie_until is None else min(max(lie_until - now, 0.0), 0.2)
