"""The composition root: makes the parts from the configuration, connects them, runs them."""

import gc
import logging
import platform
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import probe, systemd
from agent.delivery import Courier
from agent.errors import Refused, Transient
from agent.intake import Intake
from agent.ledger import Ledger, Transition
from agent.lock import RESIDENT, locked, of_destination
from agent.log import kept, tell
from agent.metrics import Metrics, Readings, everything, with_process
from agent.notify import Notifier
from agent.notify.chat import Chat
from agent.notify.dispatch import Channel
from agent.notify.email import Email
from agent.outbox import Call, Sender
from agent.outbox.command import Runner
from agent.outbox.globus import Services
from agent.outbox.webhook import post
from agent.priority import step_back
from agent.reclaim import Reclaimer, Record, Required
from agent.scrub import Scrubber
from agent.settings import CollectionTable, Configuration, DirectoryTable, account_folder, client_secret, read
from agent.status import Health, health, status
from agent.textfile import Textfile
from agent.transport import Transport, Wake
from agent.transport.directory import DirectoryTransport
from agent.watch import Watch
from agent.web import Server, Sources
from agent.web.views import Views
from agent.worker import Clock, Worker
from rules.actions import Flow, Share
from rules.load import RuleError
from rules.model import Rule
from rules.notice import Policy
from rules.notify import PORTS, NotifyTable

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
            return DirectoryTransport(
                name, table.path, table.verify, table.checksum, self._agent, wake, hold, table.limits
            )
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


def polite(config: Configuration) -> None:
    """Step back behind the instrument's programs, as configured. From the main thread, before others are started."""
    for sentence in step_back(config.settings.agent.nice, config.settings.agent.io_priority):
        log.warning("[agent] %s", sentence)


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


def host_name() -> str:
    """What this computer is called."""
    return platform.node() or "unknown"


def status_page(listen: str) -> str:
    """The address of the status page; "" where there is none, or its port is chosen anew at each start."""
    return "" if not listen or listen.endswith(":0") else f"http://{listen}/"


def channels(table: NotifyTable | None) -> dict[str, Channel]:
    """The ways to people."""
    found: dict[str, Channel] = {}
    if table is not None and table.email is not None:
        mail = table.email
        found["email"] = Email(
            mail.host, mail.port or PORTS[mail.tls], mail.tls, mail.from_, mail.to,
            mail.user, mail.password_file, mail.timeout,
        )  # fmt: skip
    if table is not None and table.webhook is not None:
        found["webhook"] = Chat(table.webhook.url, table.webhook.url_file, table.webhook.timeout)
    return found


def roots(rules: Sequence[Rule]) -> list[str]:
    """The directory trees to watch: each rule's directory, without those inside another."""
    found: list[str] = []
    for path in sorted({rule.watch for rule in rules}, key=len):
        if not any((path + "/").startswith(other.rstrip("/") + "/") for other in found):
            found.append(path)
    return found


def scrubber_of(destination: str) -> str:
    """The name of the thread that reads a destination's copies again. No destination has such a name."""
    return f"scrub {destination}"


class Parts:
    """The parts of an agent for one configuration, connected and ready to run."""

    def __init__(
        self,
        config: Configuration,
        metrics: Metrics,
        wake: Callable[[str], Wake],
        stack: ExitStack,
        beat: Callable[[str], Callable[[int], object]] = lambda name: lambda length: None,
    ) -> None:
        """Connect the parts. From the main thread.

        Args:
            config: what to build.
            metrics: counts what happens.
            wake: how to wake the part of a name: `intake`, `reclaim`, `outbox`, `notify`, or a destination's.
            stack: closes what is opened here.
            beat: what the long passes of the part of a name call, as they go on.
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
        metrics.expect(config.rules)
        host = host_name()
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
        table = config.settings.notify
        self.notifier = Notifier(
            connect(), table.policy if table else Policy(frozenset(), 0.0, 0.0), channels(table),
            {name: place.address for name, place in tables.items()}, host, status_page(settings.listen),
            metrics.notified, wake("notify"),
        )  # fmt: skip
        stack.callback(self.notifier.close)
        self.couriers = {
            name: Courier(
                connect(), transport, places[name], config.rules, host, metrics, wake("intake"), wake("outbox")
            )
            for name, transport in transports.items()
        }
        self.scrubbers = {
            scrubber_of(name): Scrubber(
                connect(), transports[name], places[name], table.scrub.policy,
                partial(metrics.scrubbed, name), beat(scrubber_of(name)),
            )
            for name, table in tables.items()
            if table.scrub is not None
        }  # fmt: skip
        required = {name: Required(transport.address, transport.confirm) for name, transport in transports.items()}
        record = Record(config.state_dir / "deletions.jsonl")
        self.reclaimer = Reclaimer(connect(), config.rules, required, record)

    def start(self, now: float) -> None:
        """Take up what a former run left."""
        # What is here by now stays: the collector would look through all of it every few thousand files.
        gc.freeze()
        self.intake.start(now)
        for courier in self.couriers.values():
            courier.start(now)
        self.sender.start(now)
        self.notifier.start(now)
        self.reclaimer.start(now)

    def leave(self) -> None:
        """Close the transports, all at once: each may have to wait for what it has under way."""
        with ThreadPoolExecutor(max(len(self._transports), 1)) as pool:
            for closing in [pool.submit(transport.close) for transport in self._transports.values()]:
                closing.result()


def serve(parts: Parts, well: Callable[[], Health], metrics: Metrics, clock: Clock, stack: ExitStack) -> Server | None:
    """Bind the status page, where one is configured. Raises Refused."""
    config = parts.config
    page = config.settings.agent
    if not page.listen:
        return None
    ledger = Ledger(str(config.ledger))
    stack.callback(ledger.close)
    destinations = [(name, table.address) for name, table in config.settings.destinations.items()]
    names = [name for name, _ in destinations]
    readings = Readings(ledger, config.rules, parts.intake.roots, names, clock, parts.expiries, dict(destinations))

    def state() -> dict[str, Any]:
        return status(ledger, config.rules, destinations, config.scrubs)

    source = str(Path(config.source).absolute()) if Path(config.source).is_file() else ""
    views = Views(ledger, config.rules, destinations, parts.intake.roots, state, well, clock, source)
    sources = Sources(views=views, status=state, health=well, registry=with_process(everything(metrics, readings)))
    server = Server(sources, page.listen, page.token_file, page.hosts)
    stack.callback(server.close)
    server.start()
    return server


def write(parts: Parts, metrics: Metrics, clock: Clock, stack: ExitStack) -> Textfile | None:
    """The file for node_exporter, where one is configured."""
    config = parts.config
    if config.settings.agent.textfile is None:
        return None
    ledger = Ledger(str(config.ledger))
    stack.callback(ledger.close)
    destinations = {name: table.address for name, table in config.settings.destinations.items()}
    readings = Readings(
        ledger, config.rules, parts.intake.roots, list(destinations), clock, parts.expiries, destinations
    )
    return Textfile(Path(config.settings.agent.textfile), everything(metrics, readings))


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
    with locked(config.state_dir), locked(config.state_dir, name=RESIDENT), kept(config.state_dir):
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
    polite(config)
    scrubbed = [scrubber_of(name) for name, table in config.settings.destinations.items() if table.scrub is not None]
    names = ["intake", "reclaim", "outbox", "notify", *(["textfile"] if config.settings.agent.textfile else [])]
    workers = {name: Worker(name, clock) for name in (*names, *config.settings.destinations, *scrubbed)}
    with ExitStack() as stack:
        parts = Parts(config, metrics, lambda name: workers[name].wake, stack, lambda name: workers[name].beat)
        parts.start(clock())

        def well() -> Health:
            refusals = {name: courier.refusal for name, courier in parts.couriers.items()}
            every = config.settings.agent.sweep_every
            away = {name: courier.away for name, courier in parts.couriers.items()}
            return health(list(workers.values()), parts.intake.roots, every, refusals, away, clock())

        server = serve(parts, well, metrics, clock, stack)
        textfile = write(parts, metrics, clock, stack)
        stack.callback(_stop, list(workers.values()), parts)
        workers["intake"].start(parts.intake.step)
        workers["reclaim"].start(parts.reclaimer.step)
        workers["outbox"].start(parts.sender.step)
        workers["notify"].start(parts.notifier.step)
        if textfile is not None:
            workers["textfile"].start(textfile.step)
        for name, courier in parts.couriers.items():
            workers[name].start(courier.step)
        for name, scrubber in parts.scrubbers.items():
            workers[name].start(scrubber.step)
        stack.enter_context(started(parts, server))
        modified = _modified(config)
        systemd.tell(READY="1")
        while not signals.stop:
            _report(well(), [*workers.values(), *([server] if server else [])])
            signals.changed.wait(2.0)
            signals.changed.clear()
            if signals.reload or _modified(config) != modified:
                signals.reload, modified = False, _modified(config)
                following = _reread(config)
                if following is not None:
                    systemd.reloading()
                    return following
        systemd.tell(STOPPING="1")
    return config


def _report(found: Health, threads: Sequence[Worker | Server]) -> None:
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
    polite(config)
    config = config.with_agent(canary_every=0.0)  # a canary needs time to come back
    metrics, clock, bell = Metrics(), Clock(), threading.Event()
    signals = Signals()
    signals.install()
    signals.changed = bell
    with locked(config.state_dir), kept(config.state_dir), ExitStack() as stack:
        parts = Parts(config, metrics, lambda name: bell.set, stack)
        parts.start(clock())
        while not signals.stop:
            bell.clear()
            wait = _pass(parts, clock)
            if wait is None:
                break
            bell.wait(wait)
        parts.notifier.conclude(clock())
        textfile = write(parts, metrics, clock, stack)
        if textfile is not None:
            textfile.step(clock())
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
