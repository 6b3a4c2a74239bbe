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
from agent.observe.looks import Looks
from agent.observe.metrics import Metrics, Readings, everything, with_process
from agent.observe.status import Health, status
from agent.observe.textfile import Textfile

if TYPE_CHECKING:
    from agent.observe.web.server import Server


def serve(
    parts: Parts, well: Callable[[], Health], metrics: Metrics, clock: Clock, looks: Looks, stack: ExitStack
) -> "Server | None":
    """Bind the status page, where one is configured. Raises Refused."""
    config = parts.config
    page = config.settings.agent
    if not page.listen:
        return None
    from agent.observe.web import Sources
    from agent.observe.web.server import Server
    from agent.observe.web.views import Views

    destinations = [(name, table.address) for name, table in config.settings.destinations.items()]
    source = str(absolute(PurePath(config.source))) if own_files.is_file(config.source) else ""
    roots = parts.intake.roots

    def sources() -> Sources:
        ledger = Ledger(str(config.ledger))

        def state() -> dict[str, Any]:
            return status(ledger, config.rules, destinations, config.scrubs, doubts(config))

        readings = Readings(ledger, config.rules, roots, dict(destinations), clock, parts.expiries, looks)
        views = Views(ledger, config.rules, destinations, roots, state, well, clock, source, looks)
        return Sources(views, state, with_process(everything(metrics, readings)), ledger.close)

    server = Server(sources, well, page.listen, page.token_file, page.hosts)
    stack.callback(server.close)
    server.start()
    return server


def write(parts: Parts, metrics: Metrics, clock: Clock, looks: Looks, stack: ExitStack) -> Textfile | None:
    """The file for node_exporter, where one is configured."""
    config = parts.config
    if config.settings.agent.textfile is None:
        return None
    ledger = Ledger(str(config.ledger))
    stack.callback(ledger.close)
    destinations = {name: table.address for name, table in config.settings.destinations.items()}
    readings = Readings(ledger, config.rules, parts.intake.roots, destinations, clock, parts.expiries, looks)
    return Textfile(PurePath(config.settings.agent.textfile), everything(metrics, readings))
