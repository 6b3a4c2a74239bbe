"""What people fetch back: a row for each path at a destination and local directory, with the request under way."""

import os
from typing import NamedTuple

from agent.ledger.store import Store


class InFlight(NamedTuple):
    """A request that may have been sent. `task` None: no answer is known."""

    request: bytes
    task: str | None


class Fetches:
    """Rows of `fetches`. Each method is one transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def number(self, destination: int, source: str, target: str) -> int:
        """The number of a fetch; a new one is entered."""
        values = (destination, os.fsencode(source), os.fsencode(target))
        with self._store.transaction():
            self._store.execute("INSERT OR IGNORE INTO fetches (destination, source, target) VALUES (?, ?, ?)", values)
        sql = "SELECT id FROM fetches WHERE destination = ? AND source = ? AND target = ?"
        found: int = self._store.execute(sql, values).fetchone()[0]
        return found

    def under_way(self, fetch: int) -> InFlight | None:
        """What was asked for and has not ended."""
        row = self._store.execute("SELECT request, task FROM fetches WHERE id = ?", (fetch,)).fetchone()
        return InFlight(*row) if row and row[0] is not None else None

    def frozen(self, fetch: int, request: bytes) -> None:
        """The request is about to be sent."""
        with self._store.transaction():
            self._store.execute("UPDATE fetches SET request = ?, task = NULL WHERE id = ?", (request, fetch))

    def taken(self, fetch: int, task: str) -> None:
        """The service has it."""
        with self._store.transaction():
            self._store.execute("UPDATE fetches SET task = ? WHERE id = ?", (task, fetch))

    def ended(self, fetch: int) -> None:
        """What came of it is known, and in its place."""
        with self._store.transaction():
            self._store.execute("UPDATE fetches SET request = NULL, task = NULL WHERE id = ?", (fetch,))
