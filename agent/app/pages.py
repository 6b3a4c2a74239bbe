"""What others see of a running agent: the status page with its metrics, and the file for node_exporter."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from agent.app.configuration import absolute
from agent.app.parts import Parts
from agent.host import own_files
from agent.host.worker import Clock
from agent.ledger import Ledger
from agent.observe.doubts import doubts
from agent.observe.file_inspector import FileInspector
from agent.observe.metrics import Metrics, Readings, everything, with_process
from agent.observe.rows import Rows
from agent.observe.status import Health, status
from agent.observe.textfile import Textfile

if TYPE_CHECKING:  # an agent without a page does not load it
    from agent.observe.web import Sources
    from agent.observe.web.server import Server


class Page:
    """What the status page of one configuration shows."""

    def __init__(
        self,
        parts: Parts,
        well: Callable[[], Health],
        metrics: Metrics,
        clock: Clock,
        inspector: FileInspector,
        token: str | None,
    ) -> None:
        """`token`: what is wanted of every request; None: nothing."""
        self._parts = parts
        self._well = well
        self._metrics = metrics
        self._clock = clock
        self._inspector = inspector
        self._token = token

    def serve(self, former: "Server | None" = None) -> "Server | None":
        """The server, where a page is configured: the former one, where that listens at the same address. Raises Refused."""
        page = self._parts.config.settings.agent
        if not page.listen:
            return None
        from agent.observe.web.server import Server

        if former is not None and former.listen == page.listen:
            return former
        return Server(self._sources, self._well, page.listen, self._token, page.hosts, former)

    def show(self, server: "Server") -> None:
        """Show it from now on."""
        server.show(self._sources, self._well, self._token, self._parts.config.settings.agent.hosts)

    def _sources(self) -> "Sources":
        from agent.observe.web import Sources
        from agent.observe.web.views import Views

        config, roots = self._parts.config, self._parts.intake.roots
        destinations = [(name, table.address) for name, table in config.settings.destinations.items()]
        source = str(absolute(PurePath(config.source))) if own_files.is_file(config.source) else ""
        ledger, rows = Ledger(str(config.ledger)), Rows()

        def state() -> dict[str, Any]:
            refused = self._well().refused
            return status(
                ledger, config.rules, destinations, config.scrubs, doubts(config), refused, rows, config.consumed
            )

        clock, inspector = self._clock, self._inspector
        readings = Readings(ledger, config.rules, roots, dict(destinations), clock, self._parts.expiries, inspector)
        views = Views(ledger, config.rules, destinations, roots, state, self._well, clock, source, inspector)
        return Sources(views, state, with_process(everything(self._metrics, readings)), ledger.close)


def write(parts: Parts, metrics: Metrics, clock: Clock, inspector: FileInspector, stack: ExitStack) -> Textfile | None:
    """The file for node_exporter, where one is configured."""
    config = parts.config
    if config.settings.agent.textfile is None:
        return None
    ledger = Ledger(str(config.ledger))
    stack.callback(ledger.close)
    destinations = {name: table.address for name, table in config.settings.destinations.items()}
    readings = Readings(ledger, config.rules, parts.intake.roots, destinations, clock, parts.expiries, inspector)
    return Textfile(PurePath(config.settings.agent.textfile), everything(metrics, readings))
