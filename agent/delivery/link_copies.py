"""Makes the symbolic links of rules with `links = "copy"` at one destination, when the data beside them is there."""

import logging
from collections.abc import Callable, Sequence

from agent.destinations import LinkItem, Transport
from agent.errors import Refused, Transient
from agent.host.bulkhead import Bulkhead
from agent.ledger import Ledger, ToCopy
from rules.links import uncopiable
from rules.naming import PathRefused

_AT_ONCE = 200
"""Links that one pass makes: copies of new data must not wait long."""

log = logging.getLogger(__name__)


class LinkCopies:
    """Copies links, as they are written."""

    def __init__(
        self, ledger: Ledger, transport: Transport, destination: int, item: Callable[[ToCopy], LinkItem],
        rules: Sequence[str],
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            transport: of the destination.
            destination: its number in the ledger.
            item: says where a link goes. Raises PathRefused.
            rules: names of those that deliver here and copy links.
        """
        self._ledger = ledger
        self._transport = transport
        self._destination = destination
        self._item = item
        self._rules = rules
        self._links = Bulkhead[ToCopy]("link", lambda one: one.path, through=(Transient, Refused))

    def due(self, limit: int = 1) -> list[ToCopy]:
        """Links that are to be made now."""
        return self._ledger.links.to_copy(self._destination, self._rules, limit) if self._rules else []

    def step(self, identity: str, now: float) -> bool:
        """Make some. Returns whether there are more. Raises Transient, Refused."""
        links = self.due(_AT_ONCE)
        done: list[tuple[ToCopy, str | None]] = []
        try:
            for one in self._links.each(links, failed=lambda link, failure: done.append((link, failure.reason))):
                with one as link:
                    done.append((link, self._made(link, identity)))
        finally:
            if done:
                with self._ledger.transaction():
                    self._ledger.links.was_copied(self._destination, done)
        for link, reason in done:
            if reason is not None:
                log.warning("the link %s is not copied: %s", link.path, reason)
        return len(links) == _AT_ONCE

    def _made(self, link: ToCopy, identity: str) -> str | None:
        """Why it cannot be made; None: it is there. Raises Transient, Refused."""
        try:
            item = self._item(link)
        except PathRefused as error:
            return str(error)
        return uncopiable(item.path, item.target) or self._transport.make_link(item, identity)
