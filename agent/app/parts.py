"""The parts of an agent, made from the configuration and connected."""

import gc
import logging
import os
import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from agent.actions import Call, Dispatcher, notify, queues
from agent.actions.command import Runner
from agent.actions.globus import Services
from agent.actions.notify import Channel, Notifier
from agent.actions.webhook import post
from agent.app.replan import Replan
from agent.app.transports import Transports
from agent.delivery.actions import enqueue
from agent.delivery.arrivals import Arrivals, recall
from agent.delivery.deliverer import Deliverer
from agent.destinations import Transport, Wake
from agent.destinations.directory import transport as directories
from agent.destinations.directory.opening import Place
from agent.errors import Transient
from agent.files import LOCAL
from agent.intake import Intake
from agent.intake.watch import Watch
from agent.intake.zones import Zones
from agent.ledger import Ledger, Pruner, Transition
from agent.observe.doubts import deletion_unseen, doubt
from agent.observe.logs import tell
from agent.observe.metrics import Metrics
from agent.reclaim import Reclaimer, Record, Required
from agent.scrub import Scrubber
from rules.actions import Flow, Share
from rules.config.notify import PORTS, NotifyTable
from rules.config.settings import CollectionTable, Configuration, DirectoryTable
from rules.notice import Policy
from rules.rule import Rule

log = logging.getLogger(__name__)


def host_name() -> str:
    """What this computer is called."""
    return platform.node() or "unknown"


def status_page(listen: str) -> str:
    """The address of the status page; "" where there is none, or each start chooses another port."""
    return "" if not listen or listen.endswith(":0") else f"http://{listen}/"


def channels(table: NotifyTable | None) -> dict[str, Channel]:
    """The ways to people."""
    found: dict[str, Channel] = {}
    if table is not None and table.email is not None:
        from agent.actions.notify.email import Email

        mail = table.email
        found["email"] = Email(
            mail.host, mail.port or PORTS[mail.tls], mail.tls, mail.from_, mail.to,
            mail.user, mail.password_file, mail.timeout,
        )  # fmt: skip
    if table is not None and table.webhook is not None:
        from agent.actions.notify.chat import Chat

        found["webhook"] = Chat(table.webhook.url, table.webhook.url_file, table.webhook.timeout)
    return found


def roots(rules: Sequence[Rule]) -> list[str]:
    """The directory trees to watch: each rule's directory, without those inside another."""
    found: list[str] = []
    for path in sorted({rule.watch for rule in rules}, key=len):
        if not any((path + "/").startswith(other.rstrip("/") + "/") for other in found):
            found.append(path)
    return found


def inside(config: Configuration) -> list[str]:
    """Destination directories that lie in watched ones, by the paths that lead to them there."""
    found: list[str] = []
    for root in roots(config.rules):
        within = LOCAL.location(root)
        for table in config.settings.destinations.values():
            at = LOCAL.location(table.path) if isinstance(table, DirectoryTable) else None
            if at is not None and within.holds(at) and at != within:
                found.append(root.rstrip("/") + at.path[len(within.path.rstrip("/")) :])
    return found


def is_destination(ledger: Ledger, identity: str, directory: str) -> bool:
    """Whether a directory is the destination of this identity, which may be one of a former configuration.

    Raises Transient where that cannot be told.
    """
    places = [
        Place(name, address, identity, "size", "sha256", ledger.key)
        for name, address in ledger.destinations.named(identity)
        if os.path.isabs(address)  # else a collection of a service: it has no such file
    ]
    unknown: Transient | None = None
    for place in places:
        try:
            if directories.is_destination(place, directory):
                return True
        except Transient as error:
            unknown = error
    if unknown is not None:
        raise unknown
    return False


def scrubber_of(destination: str) -> str:
    """The name of the thread that reads a destination's copies again. No destination has such a name."""
    return f"scrub {destination}"


def required_of(config: Configuration, transports: Mapping[str, Transport]) -> dict[str, Required]:
    """The destinations as reclaim needs them."""
    tables = config.settings.destinations
    return {
        name: Required(one.address, one.confirm, partial(doubt, config, name), one.is_service, tables[name].consumed)
        for name, one in transports.items()
    }


@dataclass(frozen=True, slots=True)
class Route:
    """All that serves one destination: it outlives a configuration that the next one does not change here."""

    transport: Transport
    deliverer: Deliverer
    scrubber: Scrubber | None
    expires_at: Callable[[], float | None] | None
    """When its login dies unless it is used; None: it needs none."""
    ledgers: Sequence[Ledger]


class Parts:
    """The parts of an agent for one configuration, connected and ready to run."""

    def __init__(
        self,
        config: Configuration,
        metrics: Metrics,
        wake: Callable[[str], Wake],
        stack: ExitStack,
        heartbeat: Callable[[str], Callable[[int], object]] = lambda name: lambda length: None,
        former: "Parts | None" = None,
        kept: Collection[str] = (),
    ) -> None:
        """Connect the parts. From the main thread.

        Args:
            config: what to build.
            metrics: counts what happens.
            wake: how to wake the part of a name: `intake`, `reclaim`, `outbox`, `notify`, or a destination's.
            stack: closes what is opened here.
            heartbeat: what the long passes of the part of a name call, as they go on.
            former: the parts that run until `take_over`.
            kept: destinations that former parts serve, and that go on as they are.
        """

        def announce(transitions: Sequence[Transition]) -> None:
            metrics.announce(transitions)
            tell(transitions)

        def connect() -> Ledger:
            ledger = Ledger(str(config.ledger), announce)
            stack.callback(ledger.close)
            return ledger

        def wake_deliverers() -> None:
            for name in tables:
                wake(name)()

        LOCAL.prepare()  # whoever asks for open writers, the agent or a command, gets an answer
        settings, tables = config.settings.agent, config.settings.destinations
        self.config = config
        self.ledger = connect()
        metrics.expect(config.rules)
        host = host_name()
        with self.ledger.transaction():
            for before, now in self.ledger.destinations.renamed({name: one.address for name, one in tables.items()}):
                log.warning("destination %s is called %s now: what was proved there counts on", before, now)
        places = {
            name: self.ledger.destinations.place(name, table.address, in_place=isinstance(table, CollectionTable)).id
            for name, table in tables.items()
        }
        self._former = former
        known = {root.watch.root: root for root in former.intake.roots} if former else {}
        watches = [
            known[path].watch if path in known else Watch(LOCAL, path, wake("intake")) for path in roots(config.rules)
        ]
        self._watches = [one for one in watches if one.root not in known]
        """Those that are closed with these parts."""
        stack.callback(self._close_watches)
        self.intake: Intake = Intake(
            self.ledger, LOCAL, config.rules, watches, places, host,
            settings.sweep_every, settings.canary_every, time.time, wake_deliverers,
            Zones(self.ledger.destinations.identities, partial(is_destination, self.ledger), inside(config)),
            list(known.values()),
        )  # fmt: skip
        by_name = {rule.name: rule for rule in config.rules}
        self.replan = Replan(
            self.ledger, config.rules, places, host, lambda batch, at: enqueue(self.ledger, by_name, batch, host, at)
        )
        made = Transports(config, self.ledger.key, metrics)
        arrivals = Record(config.state_dir / "arrivals.jsonl", settings.keep_history)
        self._arrivals = arrivals
        self._continues = False
        """Whether former parts made calls that may be under way."""
        self._going_on: set[str] = set()
        """Destinations that former parts have in flight."""
        self._routes: dict[str, Route] = {}
        """Those that are closed with these parts."""
        stack.callback(self._close_ledgers)
        stack.callback(self.leave)
        self._before = {
            name: {places[other]: other for other in list(tables)[:number]} for number, name in enumerate(tables)
        }

        def route(name: str) -> Route:
            table, transport = tables[name], made.make(name, wake(name))
            ledgers = [Ledger(str(config.ledger), announce)]
            deliverer = Deliverer(
                ledgers[0], transport, places[name], config.rules, host, metrics, wake("intake"), wake("outbox"),
                former=self._before[name],
                arrivals=Arrivals(ledgers[0], arrivals, name, table.address) if table.consumed else None,
            )  # fmt: skip
            scrubber = None
            if table.scrub is not None:
                ledgers.append(Ledger(str(config.ledger), announce))
                scrubber = Scrubber(
                    ledgers[1], LOCAL, transport, places[name], table.scrub.policy,
                    partial(metrics.scrubbed, name), heartbeat(scrubber_of(name)), consumed=table.consumed,
                )  # fmt: skip
            self._routes[name] = Route(transport, deliverer, scrubber, made.expiries.get(name), ledgers)
            return self._routes[name]

        self.routes: dict[str, Route] = {
            name: former.routes[name] if former and name in kept else route(name) for name in tables
        }
        self._commands: Runner = former._commands if former else Runner()
        calls: dict[str, Call] = {"webhook": post, "command": self._commands.run}
        if any(isinstance(action, Flow | Share) for rule in config.rules for action in rule.actions.values()):
            services = Services(made.session())
            calls |= {"flow": services.run_flow, "share": services.share}
        table, ways = config.settings.notify, channels(config.settings.notify)
        self._queues = queues(config.rules, calls) | notify.queues(ways, self.ledger.agent, metrics.notified)
        self._outbox = ExitStack()
        """Closes what makes calls, where these parts are the last that do."""
        stack.callback(self._close_outbox)
        if former is not None:
            self.dispatcher: Dispatcher = former.dispatcher
        else:
            outbox = Ledger(str(config.ledger), announce)
            self.dispatcher = Dispatcher(outbox, self._queues, wake("outbox"))
            for close in (outbox.close, self._commands.close, self.dispatcher.close):
                self._outbox.callback(close)
        self.notifier = Notifier(
            connect(), table.policy(config.zone) if table else Policy(frozenset(), 0.0, 0.0), list(ways),
            {name: place.address for name, place in tables.items()}, host, status_page(settings.listen), wake("outbox"),
            [rule.name for rule in config.rules if rule.links is None],
        )  # fmt: skip
        self.deliverers = {name: one.deliverer for name, one in self.routes.items()}
        self.scrubbers = {
            scrubber_of(name): one.scrubber for name, one in self.routes.items() if one.scrubber is not None
        }
        self.expiries = {name: one.expires_at for name, one in self.routes.items() if one.expires_at is not None}
        required = required_of(config, {name: one.transport for name, one in self.routes.items()})
        record = Record(config.state_dir / "deletions.jsonl", settings.keep_history)
        self.reclaimer = Reclaimer(connect(), LOCAL, config.rules, required, record)
        self.pruner = Pruner(connect(), settings.keep_history)

    def take_over(self) -> None:
        """What former parts made and these use, too, is closed with these from now on. Once, before those are closed."""
        former, self._former = self._former, None
        if former is None:
            return
        self._continues = True
        self._outbox = former._outbox.pop_all()
        self.dispatcher.follow(self._queues)
        used = {id(root.watch) for root in self.intake.roots}
        self._watches += [one for one in former._watches if id(one) in used]
        former._watches = [one for one in former._watches if id(one) not in used]
        for name, one in self.routes.items():
            if name not in self._routes:
                self._routes[name] = former._routes.pop(name)
                one.deliverer.follow(self.config.rules, self._before[name])
                self._going_on.add(name)

    def start(self, now: float) -> None:
        """Take up what a former run left. Where that fails, it may be tried again."""
        # What is here by now stays: the collector would look through all of it every few thousand files.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._arrivals.mend()
        recall(self.ledger, self._arrivals)
        self.replan.start(now)
        self.intake.start(now)
        for name, deliverer in self.deliverers.items():
            if name not in self._going_on:
                deliverer.start(now)
        if not self._continues:
            self.dispatcher.start(now)
        self.notifier.start(now)
        self.reclaimer.start(now)
        unseen = deletion_unseen(self.config.rules)
        if unseen is not None:
            log.warning("%s", unseen)

    def take_in(self, now: float) -> float | None:
        """One whole pass of intake, and of what follows a changed configuration. Returns when the next is due."""
        more = self.replan.step(now)
        again = self.intake.step(now)
        return now if more else again

    def conclude(self, now: float, within: float) -> None:
        """Tell people what stands now, and give that so many seconds to be sent."""
        self.notifier.conclude(now)
        self.dispatcher.step(now)
        self.dispatcher.wait(within)

    def leave(self) -> None:
        """Close the transports, all at once: each may have to wait for what it has under way."""
        with ThreadPoolExecutor(max(len(self._routes), 1)) as pool:
            for closing in [pool.submit(one.transport.close) for one in self._routes.values()]:
                closing.result()

    def _close_outbox(self) -> None:
        self._outbox.close()

    def _close_ledgers(self) -> None:
        for route in self._routes.values():
            for ledger in route.ledgers:
                ledger.close()

    def _close_watches(self) -> None:
        for watch in self._watches:
            watch.close()
