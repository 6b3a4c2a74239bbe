"""The composition root: makes the parts from the configuration, connects them, runs them."""

import logging
import platform
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from agent import probe
from agent.delivery import Courier
from agent.errors import Refused, Transient
from agent.intake import Intake
from agent.ledger import Ledger, State, Transition
from agent.lock import RESIDENT, locked, of_destination
from agent.log import tell
from agent.metrics import Metrics, Readings
from agent.outbox import Call, Sender
from agent.outbox.command import Runner
from agent.outbox.globus import Services
from agent.outbox.webhook import post
from agent.reclaim import Reclaimer, Record, Required
from agent.settings import CollectionTable, Configuration, DirectoryTable, account_folder, client_secret, read
from agent.status import health, status
from agent.transport import Transport, Wake
from agent.transport.directory import DirectoryTransport
from agent.watch import Watch
from agent.web import Server, Sources
from agent.worker import Clock, Worker
from rules.actions import Flow, Share
from rules.load import RuleError
from rules.model import Rule

if TYPE_CHECKING:
    from agent.transport.globus.course import Course
    from agent.transport.globus.session import Session

STOP_WITHIN = 8.0
"""Seconds in which the threads end; what is not done by then is done again by the next run."""

log = logging.getLogger(__name__)


class Transports:
    """Makes the transports of the configured destinations; those that speak to one service share a session."""

    def __init__(self, config: Configuration, agent: str, count: Metrics) -> None:
        """
        Args:
            config: the destinations.
            agent: id of this agent.
            count: counts requests.
        """
        self._config = config
        self._agent = agent
        self._count = count
        self._session: Session | None = None
        self.expiries: dict[str, Callable[[], float | None]] = {}
        """When the login of each destination that needs one dies unless it is used."""

    def make(self, name: str, wake: Wake) -> Transport:
        """The transport of a destination. Raises Refused."""
        table = self._config.settings.destinations[name]
        if isinstance(table, DirectoryTable):
            hold = of_destination(self._config.state_dir, name)
            return DirectoryTransport(name, table.path, table.verify, table.checksum, self._agent, wake, hold)
        # Imported here: who delivers to directories only does not pay for what this brings along.
        from agent.transport.globus import GlobusTransport

        transport = GlobusTransport(
            name, globus_course(name, table), self.session(), self._agent, table.outstanding,
            lambda operation, outcome: self._count.requested(name, operation, outcome),
        )  # fmt: skip
        self.expiries[name] = transport.expires_at
        return transport

    def session(self) -> "Session":
        """How Globus is spoken to. Raises Refused."""
        if self._session is None:
            self._session = globus_session(self._config)
        return self._session


def globus_session(config: Configuration) -> "Session":
    """Globus, as the configured account speaks to it. Raises Refused."""
    from agent.transport.globus.login import Account
    from agent.transport.globus.session import Session

    return Session(
        Account(config.settings.globus.client_id, account_folder(config), client_secret(config.settings.globus))
    )


def globus_course(name: str, table: CollectionTable) -> "Course":
    """Between which collections a destination's files go. Raises Refused where there is no source collection."""
    from agent.transport.globus.course import Course, local_collection

    source = table.source_collection or local_collection()
    if source is None:
        raise Refused(
            f"destination {name} has no source_collection, and there is no Globus Connect Personal here",
            "set source_collection to the collection that shows the files (`dropline collections SEARCH` finds it)",
        )
    return Course(
        source=source, source_root=table.source_root, source_path=table.source_path, collection=table.collection,
        path=table.path, verify_checksum=table.verify_checksum, encrypt_data=table.encrypt_data, deadline=table.deadline,
        notify=table.notify, checksum=table.checksum,
    )  # fmt: skip


def roots(rules: Sequence[Rule]) -> list[str]:
    """The directory trees to watch: each rule's directory, without those inside another."""
    found: list[str] = []
    for path in sorted({rule.watch for rule in rules}, key=len):
        if not any((path + "/").startswith(other.rstrip("/") + "/") for other in found):
            found.append(path)
    return found


class Parts:
    """The parts of an agent for one configuration, connected and ready to run."""

    def __init__(
        self,
        config: Configuration,
        metrics: Metrics,
        wake: Callable[[str], Wake],
        stack: ExitStack,
    ) -> None:
        """Connect the parts. From the main thread.

        Args:
            config: what to build.
            metrics: counts what happens.
            wake: how to wake the part of a name: `intake`, `reclaim`, `outbox`, or a destination's.
            stack: closes what is opened here.
        """

        def announce(transitions: Sequence[Transition]) -> None:
            metrics.announce(transitions)
            tell(transitions)

        def connect() -> Ledger:
            ledger = Ledger(str(config.ledger), announce)
            stack.callback(ledger.close)
            return ledger

        def wake_couriers() -> None:
            for name in tables:
                wake(name)()

        probe.prepare()  # whoever asks for open writers, the agent or a command, gets an answer
        settings, tables = config.settings.agent, config.settings.destinations
        self.config = config
        self.ledger = connect()
        host = platform.node() or "unknown"
        places = {
            name: self.ledger.deliveries.place(name, table.address, in_place=isinstance(table, CollectionTable)).id
            for name, table in tables.items()
        }
        watches = [Watch(root, wake("intake")) for root in roots(config.rules)]
        for watch in watches:
            stack.callback(watch.close)
        self.intake = Intake(
            self.ledger, config.rules, watches, places, host,
            settings.sweep_every, settings.canary_every, time.time, wake_couriers,
        )  # fmt: skip
        agent = self.ledger.meta("agent") or ""
        made = Transports(config, agent, metrics)
        self._transports = transports = {name: made.make(name, wake(name)) for name in tables}
        self.expiries = made.expiries
        stack.callback(self.leave)
        commands = Runner()
        stack.callback(commands.close)
        calls: dict[str, Call] = {"webhook": post, "command": commands.run}
        if any(isinstance(action, Flow | Share) for rule in config.rules for action in rule.actions.values()):
            services = Services(made.session())
            calls |= {"flow": services.run_flow, "share": services.share}
        self.sender = Sender(connect(), config.rules, calls, wake("outbox"))
        stack.callback(self.sender.close)
        self.couriers = {
            name: Courier(
                connect(), transport, places[name], config.rules, host, metrics, wake("intake"), wake("outbox")
            )
            for name, transport in transports.items()
        }
        required = {name: Required(transport.address, transport.confirm) for name, transport in transports.items()}
        record = Record(config.state_dir / "deletions.jsonl")
        self.reclaimer = Reclaimer(connect(), config.rules, required, record)

    def start(self, now: float) -> None:
        """Take up what a former run left."""
        self.intake.start(now)
        for courier in self.couriers.values():
            courier.start(now)
        self.sender.start(now)
        self.reclaimer.start(now)

    def leave(self) -> None:
        """Close the transports, all at once: each may have to wait for what it has under way."""
        with ThreadPoolExecutor(max(len(self._transports), 1)) as pool:
            for closing in [pool.submit(transport.close) for transport in self._transports.values()]:
                closing.result()


def serve(parts: Parts, workers: Sequence[Worker], metrics: Metrics, clock: Clock, stack: ExitStack) -> Server | None:
    """Bind the status page, where one is configured. Raises Refused."""
    config = parts.config
    listen = config.settings.agent.listen
    if not listen:
        return None
    ledger = Ledger(str(config.ledger))
    stack.callback(ledger.close)
    destinations = [(name, table.address) for name, table in config.settings.destinations.items()]
    names = [name for name, _ in destinations]
    readings = Readings(ledger, config.rules, parts.intake.roots, names, clock, parts.expiries)
    metrics.registry.register(readings)
    stack.callback(metrics.registry.unregister, readings)

    def files(states: Sequence[State]) -> list[dict[str, object]]:
        found = ledger.reports.files(list(states), 20)
        return [{"path": file.path, "state": file.state.word, "reason": file.reason} for file in found]

    sources = Sources(
        status=lambda: status(ledger, config.rules, destinations),
        refused=lambda: files([State.REFUSED]),
        recent=lambda: files([state for state in State if state is not State.SUPERSEDED]),
        health=lambda: health(
            workers,
            parts.intake.roots,
            config.settings.agent.sweep_every,
            {name: courier.refusal for name, courier in parts.couriers.items()},
            {name: courier.away for name, courier in parts.couriers.items()},
            clock(),
        ),
        registry=metrics.registry,
    )
    server = Server(sources, listen)
    stack.callback(server.close)
    server.start()
    return server


class Signals:
    """SIGTERM and SIGINT stop, SIGHUP and an edited file reload."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.stop = False
        self.reload = False

    def install(self) -> None:
        """From the main thread."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, number: int, frame: object) -> None:
        self.stop = True
        self.changed.set()

    def _on_reload(self, number: int, frame: object) -> None:
        self.reload = True
        self.changed.set()


def run(config: Configuration, started: Callable[[Parts, Server | None], AbstractContextManager[object]]) -> None:
    """Run until a signal stops it. `started` gets the parts and may show them while they run. Raises Refused, Transient."""
    signals, metrics, clock = Signals(), Metrics(), Clock()
    signals.install()
    with locked(config.state_dir), locked(config.state_dir, name=RESIDENT):
        former: Configuration | None = None
        while not signals.stop:
            try:
                following = _run_configuration(config, signals, metrics, clock, started)
            except (Refused, Transient) as error:
                if former is None:
                    raise
                log.error("the configuration is not taken, the old rules go on: %s", error)  # noqa: TRY400
                config, former = former, None
            else:
                config, former = following, config


def _run_configuration(
    config: Configuration, signals: Signals, metrics: Metrics, clock: Clock,
    started: Callable[[Parts, Server | None], AbstractContextManager[object]],
) -> Configuration:  # fmt: skip
    """Run one configuration until it is to be replaced or the agent is to stop. Returns what to run next."""
    workers = {name: Worker(name, clock) for name in ("intake", "reclaim", "outbox", *config.settings.destinations)}
    with ExitStack() as stack:
        parts = Parts(config, metrics, lambda name: workers[name].wake, stack)
        parts.start(clock())
        server = serve(parts, list(workers.values()), metrics, clock, stack)
        stack.callback(_stop, list(workers.values()), parts)
        workers["intake"].start(parts.intake.step)
        workers["reclaim"].start(parts.reclaimer.step)
        workers["outbox"].start(parts.sender.step)
        for name, courier in parts.couriers.items():
            workers[name].start(courier.step)
        stack.enter_context(started(parts, server))
        modified = _modified(config)
        while not signals.stop:
            signals.changed.wait(2.0)
            signals.changed.clear()
            if signals.reload or _modified(config) != modified:
                signals.reload, modified = False, _modified(config)
                following = _reread(config)
                if following is not None:
                    return following
    return config


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


def _modified(config: Configuration) -> float | None:
    try:
        return Path(config.source).stat().st_mtime
    except OSError:
        return None  # no file (run --watch --to), or between two writes of an editor


def _reread(config: Configuration) -> Configuration | None:
    if not Path(config.source).is_file():
        return None
    try:
        following = read(Path(config.source))
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

    Returns whether all went well: nothing failed, refused or left on the way. Raises Refused, Transient.
    """
    config = config.with_agent(canary_every=0.0)  # a canary needs time to come back
    metrics, clock, bell = Metrics(), Clock(), threading.Event()
    signals = Signals()
    signals.install()
    signals.changed = bell
    with locked(config.state_dir), ExitStack() as stack:
        parts = Parts(config, metrics, lambda name: bell.set, stack)
        parts.start(clock())
        while not signals.stop:
            bell.clear()
            wait = _pass(parts, clock)
            if wait is None:
                break
            bell.wait(wait)
        down = any(courier.down for courier in parts.couriers.values())
        return not (signals.stop or down or parts.ledger.reports.unfinished())


def _pass(parts: Parts, clock: Clock) -> float | None:
    """One pass of every part. Returns seconds until the next makes sense; None: nothing moves by itself any more."""
    now = clock()
    again = [
        parts.intake.step(now),
        *(courier.step(now) for courier in parts.couriers.values()),
        parts.sender.step(now),
        parts.reclaimer.step(now),
    ]
    if parts.intake.busy or any(at is not None and at <= now for at in again):
        return 0.0
    if parts.sender.waiting or any(courier.waiting for courier in parts.couriers.values()):
        return 0.2
    settled = parts.ledger.files.next_settled()
    if settled is not None:
        return min(max(settled - now, 0.0), 0.2)
    if parts.intake.seal_all(now) or any(courier.ready(now) for courier in parts.couriers.values()):
        return 0.0
    return None
