"""The mark of a destination: a directory whose name says which destination it is, for no small file can be written there."""

import logging
import uuid
from itertools import islice
from typing import Any

from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.listing import Ask, Entry, Listing
from agent.destinations.globus.session import Forbidden, NotADirectory, NotThere
from agent.errors import Refused, Transient
from rules.globus.collection import uncarriable
from rules.model import OWN_PREFIX

MARK = OWN_PREFIX + "-destination-"
"""Begin of its name; the identity is the rest."""

_MARKS = 1_000
"""Entries that are looked through: there is one mark, or a few of agents that were set up at one time."""

log = logging.getLogger(__name__)


class IdentityMarker:
    """Looks for the mark, and makes it."""

    def __init__(self, ask: Ask[Any], collection_path: CollectionPath) -> None:
        """`ask`: sends requests; `collection_path`: knows where the destination is."""
        self._ask = ask
        self._collection_path = collection_path
        self._address = collection_path.address
        self._listing = Listing(ask, collection_path.collection, collection_path.path)

    def found(self) -> list[str]:
        """Identities of the marks at the destination. Raises Transient, Refused."""
        try:
            listed = islice(self._listing.names("", f"{MARK}*"), _MARKS)
            found = [one.name for one in listed if _is_mark(one) and uncarriable(one.name) is None]
        except (NotThere, NotADirectory) as error:
            raise Transient(f"{self._address} is not there: {error}; make the folder, or mend `path`") from None
        except Forbidden as error:
            raise Refused(f"{self._address} may not be listed: {error.reason}", error.hint) from None
        return sorted(name.removeprefix(MARK) for name in found)

    def set_up(self, name: str) -> str:
        """Find the mark, or make one. Raises Transient, Refused."""
        marks = self.found()
        if not marks:
            made = self._collection_path.there(f"{MARK}{uuid.uuid4()}")
            try:
                self._ask("mkdir", lambda tc: tc.operation_mkdir(self._collection_path.collection, made))
            except Forbidden as error:
                raise Refused(f"{self._address} may not be written to: {error.reason}", error.hint) from None
            marks = self.found()  # another agent may have been as fast: all take the first
            log.warning("set up %s as destination %s (identity %s)", self._address, name, ", ".join(marks))
        if not marks:
            raise Transient(f"{self._address}: the mark was made, but is not listed")
        return marks[0]

    def require(self, identity: str) -> None:
        """Raise Transient or Refused unless the collection shows the destination with this identity."""
        try:
            own = self._listing.stat(f"{MARK}{identity}")
        except (NotADirectory, Forbidden):
            own = None  # the listing says why
        marks = [identity] if own is not None and _is_mark(own) else self.found()
        if identity not in marks:
            found = f"it is marked {marks[0]}" if marks else f"it has no directory {MARK}{identity}"
            raise Transient(
                f"{self._address} is not the destination that was set up: {found}; mend `path`, or make that directory again"
            )


def _is_mark(entry: Entry) -> bool:
    return entry.kind not in ("file", "link") and entry.name.startswith(MARK)
