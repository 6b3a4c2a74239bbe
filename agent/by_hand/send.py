"""Seeing deliveries through that a person asked for: by the agent that runs, else by ourselves."""

import platform
import threading
import time
from contextlib import ExitStack

from agent.app.active import apply_priority
from agent.app.transports import Transports
from agent.delivery.deliverer import Deliverer
from agent.files import LOCAL
from agent.host.lock import Held, locked, resident
from agent.host.worker import Clock
from agent.ledger import Ledger
from agent.observe.logs import tell
from agent.observe.metrics import Metrics
from rules.config.settings import CollectionTable, Configuration

_POLL = 0.2
"""Seconds between two looks at what others do."""


class Sending:
    """Deliveries of one command, written down already."""

    def __init__(self, config: Configuration, to: str, number: int, deadline: float | None) -> None:
        """
        Args:
            config: the destinations, and the rules of what else waits for the destination.
            to: name of the destination.
            number: the command, as the ledger numbers it.
            deadline: monotonic seconds after which nothing is waited for; None: none.
        """
        self._config = config
        self._to = to
        self._number = number
        self._deadline = deadline
        self._ledger = Ledger(str(config.ledger))

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    @property
    def over(self) -> bool:
        """Whether each of its files has its verdict."""
        return not self._ledger.sends.under_way(self._number)

    def see_through(self, *, wait: bool) -> bool:
        """Return when it is over, or the time is; without `wait` also when nothing here can bring it on.

        Returns whether it was left to an agent.

        Where an agent stays on the state directory, that one delivers. Another holder of the lock may end before it
        looks at our deliveries, so it is taken as soon as it is free. Raises Refused, Transient.
        """
        while not self.over and not self._late:
            if resident(self._config.state_dir):
                if not wait:
                    return True
                time.sleep(_POLL)
                continue
            try:
                with locked(self._config.state_dir, 0.0):
                    self._carry(wait=wait)
                    return False
            except Held:
                time.sleep(_POLL)
        return False

    @property
    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _carry(self, *, wait: bool) -> None:
        """Be the agent, for this destination alone, until it is over."""
        table = self._config.settings.destinations[self._to]
        bell, clock, metrics = threading.Event(), Clock(), Metrics()
        LOCAL.prepare()
        apply_priority(self._config)
        with ExitStack() as stack:
            ledger = Ledger(str(self._config.ledger), tell)
            stack.callback(ledger.close)
            made = Transports(self._config, ledger.key, metrics)
            transport = made.make(self._to, bell.set)
            stack.callback(transport.close)
            place = ledger.destinations.place(self._to, table.address, in_place=isinstance(table, CollectionTable))
            deliverer = Deliverer(
                ledger,
                transport,
                place.id,
                self._config.rules,
                platform.node() or "unknown",
                metrics,
                lambda: None,
                lambda: None,
            )
            deliverer.start(clock())
            while not self._late:
                bell.clear()
                again = deliverer.step(clock())
                if self.over or not (wait or deliverer.waiting or deliverer.ready(clock())):
                    return
                due = _POLL if again is None else min(max(again - clock(), 0.0), _POLL)
                bell.wait(due)
