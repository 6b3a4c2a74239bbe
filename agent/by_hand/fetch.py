"""Fetching back what a person names: whatever the transport, and whoever else runs on the state directory."""

import logging
import time
from collections.abc import Callable

from agent.app.transports import globus_collection_path, globus_session
from agent.by_hand import inbound
from agent.by_hand.inbound import Fetched
from agent.errors import LedgerError, Refused, Transient
from agent.files import LOCAL, Trouble, What
from agent.host.lock import Held, alone
from agent.host.rate_limiter import limited
from agent.ledger import Ledger
from rules.config.settings import CollectionTable, Configuration, DirectoryTable
from rules.globus.task import Stage, next_look
from rules.retry import backoff

log = logging.getLogger(__name__)


def _make(target: str) -> None:
    """Make a person's directory, and those above it, where they are absent. Raises Trouble."""
    above, missing = target, ""
    while True:
        try:
            with LOCAL.tree(above or "/") as tree:
                tree.make_directory(missing)
                return
        except Trouble as trouble:
            if trouble.what is not What.ABSENT or not above:
                raise
        above, _, name = above.rpartition("/")
        missing = f"{name}/{missing}" if missing else name


class Fetch:
    """One path at one destination, into one local directory."""

    def __init__(self, config: Configuration, ledger: Ledger, name: str, source: str, target: str) -> None:
        """
        Args:
            config: the destinations.
            ledger: a connection.
            name: of the destination.
            source: path there; empty: all of it.
            target: absolute local directory; made if absent. Raises Refused where it cannot be.
        """
        try:
            _make(target)
        except Trouble as trouble:
            raise Refused(f"{target} cannot be made: {trouble.reason}", "choose another directory") from None
        self._config = config
        self._ledger = ledger
        self._name = name
        self._source = source
        self._target = target
        self._table = config.settings.destinations[name]
        in_place = isinstance(self._table, CollectionTable)
        self._place = ledger.destinations.place(name, self._table.address, in_place=in_place)
        self._number = ledger.fetches.number(self._place.id, source, target)

    def see_through(self, *, wait: bool, deadline: float | None) -> Fetched | None:
        """Fetch; what a former attempt left under way is taken up. None: it is under way at the service.

        Args:
            wait: until it has ended, also while the destination is away; else a task is only handed in, or looked at once.
            deadline: monotonic seconds after which nothing is waited for; None: none.

        Raises Transient, Refused.
        """

        def late() -> bool:
            return not wait or (deadline is not None and time.monotonic() >= deadline)

        failures = 0
        while True:
            try:
                with alone(self._config.state_dir, self._number):
                    if isinstance(self._table, DirectoryTable):
                        LOCAL.prepare()
                        path = self._table.path
                        return inbound.fetch(
                            path,
                            self._place.identity,
                            self._source,
                            self._target,
                            f"{self._ledger.key}-fetch-{self._number}",
                            limited(self._table.limits(self._config.zone)),
                        )
                    return self._by_globus(self._table, late)
            except (LedgerError, Transient, Held) as error:
                if late():
                    raise Transient(str(error)) from None
                failures += 1
                seconds = 1.0 if isinstance(error, Held) else backoff(failures)
                log.warning("%s; tried again in %.0f s", error, seconds)
                time.sleep(max(seconds, error.after if isinstance(error, Transient) else 0.0))

    def _by_globus(self, table: CollectionTable, late: Callable[[], bool]) -> Fetched | None:
        """One task after the other, each stored before it is sent, until nothing is left."""
        from agent.destinations.globus.identity_marker import IdentityMarker
        from agent.destinations.globus.inbound import Inbound
        from agent.destinations.globus.session import Rejected

        session = globus_session(self._config, table.login)
        try:
            collection_path = globus_collection_path(self._name, table)
            if self._place.identity is not None:
                IdentityMarker(lambda _, call: session.ask(call), collection_path).require(self._place.identity)
            coming = Inbound(
                self._name, collection_path, lambda _, call: session.ask(call), self._source, self._target,
                f"Dropline {self._ledger.agent} fetch {self._number}",
            )  # fmt: skip
            while True:
                under_way = self._ledger.fetches.under_way(self._number)
                if under_way is None:
                    request = coming.serialize()
                    if request is None:
                        coming.clear()
                        return Fetched(coming.arrived, coming.present, coming.refused)
                    self._ledger.fetches.frozen(self._number, request)
                    task = None
                else:
                    request, task = under_way
                if task is None:
                    try:
                        task = coming.submit(request)
                    except Rejected:
                        self._ledger.fetches.ended(self._number)  # it will never be taken: the next attempt has another
                        raise
                    self._ledger.fetches.taken(self._number, task)
                begun, said = time.monotonic(), ""
                while (reading := coming.reading(task)).stage not in (Stage.SUCCEEDED, Stage.FAILED):
                    if late():
                        return None
                    if reading.reason and reading.reason != said:
                        log.warning("Globus task %s: %s", task, reading.reason)
                        said = reading.reason
                    now = time.monotonic()
                    time.sleep(max(next_look(begun, now) - now, 0.0))
                coming.take_in(request, task, reading)
                self._ledger.fetches.ended(self._number)
        finally:
            session.close()
