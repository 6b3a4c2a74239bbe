"""What arrived where files are taken away, as a record has it that outlived a lost ledger."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from agent.ledger.store import Store
from rules.model import Version


class Arrival(NamedTuple):
    """A file that arrived at a destination."""

    identity: str
    """Of the destination."""
    file: str
    """Its local path."""
    size: int
    mtime_ns: int
    path: str
    """At the destination."""
    algorithm: str
    checksum: bytes


class Arrivals:
    """Rows of `arrivals`. They are made once, when a ledger is new."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def any(self) -> bool:
        """Whether any are known."""
        return bool(self._store.execute("SELECT EXISTS (SELECT 1 FROM arrivals)").fetchone()[0])

    def of(self, identity: str, file: str, version: Version) -> Arrival | None:
        """What arrived of a local file of this size and mtime at the destination of this identity."""
        sql = "SELECT path, algorithm, checksum FROM arrivals WHERE identity = ? AND file = ? AND size = ? AND mtime_ns = ?"
        row = self._store.execute(sql, (identity, os.fsencode(file), version.size, version.mtime_ns)).fetchone()
        if row is None:
            return None
        return Arrival(identity, file, version.size, version.mtime_ns, os.fsdecode(row[0]), row[1], row[2])

    # Transitions

    def recalled(self, arrivals: Iterable[Arrival]) -> None:
        """A record has these."""
        self._store.executemany(
            "INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    one.identity,
                    os.fsencode(one.file),
                    one.size,
                    one.mtime_ns,
                    os.fsencode(one.path),
                    one.algorithm,
                    one.checksum,
                )
                for one in arrivals
            ),
        )
