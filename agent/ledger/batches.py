"""Groups of files, from the first that joins to sealed."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from agent.ledger.files import Files
from agent.ledger.store import Store, Transition
from agent.ledger.versions import File
from rules.model import OpenBatch, counted
from rules.paths import Member


class Sealed(NamedTuple):
    """A batch that takes no more files, and where it goes."""

    id: int
    rule: str
    reason: str
    destinations: Sequence[int]
    closes: int | None = None
    """The dataset whose markers it has: they go to a destination when all its other files are there."""


class Batches:
    """Rows of `batches`. Methods in the past tense are transitions; call them inside `Store.transaction`."""

    def __init__(self, store: Store, files: Files) -> None:
        self._store = store
        self._files = files

    def open(self) -> list[tuple[int, str, OpenBatch]]:
        """(id, rule, group) of the batches that still take files."""
        sql = (
            "SELECT b.id, r.name, b.key, b.files, b.bytes, b.first_at, b.last_at"
            " FROM batches b JOIN rules r ON r.id = b.rule WHERE b.sealed_at IS NULL"
        )
        return [(row[0], row[1], OpenBatch(*row[2:])) for row in self._store.execute(sql)]

    def key(self, batch: int) -> str:
        """What the files of a batch have in common."""
        return str(self._store.execute("SELECT key FROM batches WHERE id = ?", (batch,)).fetchone()[0])

    def members(self, batch: int) -> list[Member]:
        """The files of a sealed batch that are on their way."""
        sql = (
            "SELECT f.id, d.path, f.name, coalesce(s.mtime_ns, f.mtime_ns), coalesce(s.ordinal, 1) FROM files f"
            " JOIN dirs d ON d.id = f.dir LEFT JOIN datasets s ON s.id = f.dataset WHERE f.batch = ? AND f.state = 'batched'"
        )
        return [
            Member(number, f"{os.fsdecode(directory)}/{os.fsdecode(name)}", *rest)
            for number, directory, name, *rest in self._store.execute(sql, (batch,))
        ]

    def opened(self, rule: str, key: str, now: float) -> int:
        """A new group began. Returns the batch's number."""
        cursor = self._store.execute(
            "INSERT INTO batches (rule, key, files, bytes, first_at, last_at) VALUES (?, ?, 0, 0, ?, ?)",
            (self._files.rule(rule), key, now, now),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def joined(self, batch: int, group: OpenBatch) -> None:
        """Files joined a group, which now looks so."""
        self._store.execute(
            "UPDATE batches SET files = ?, bytes = ?, last_at = ? WHERE id = ?",
            (group.files, group.bytes, group.last_at, batch),
        )

    def sealed(self, batches: Sequence[Sealed], now: float) -> None:
        """The batches are immutable from now on, and each has a delivery to each of its destinations."""
        self._store.executemany(
            "UPDATE batches SET sealed_at = ?, reason = ?, closes = ? WHERE id = ?",
            ((now, batch.reason, batch.closes, batch.id) for batch in batches),
        )
        self._store.executemany(
            "INSERT INTO deliveries (batch, destination, state, again, changed_at) VALUES (?, ?, 'pending', ?, ?)",
            (
                (batch.id, destination, now if batch.closes is None else None, now)
                for batch in batches
                for destination in batch.destinations
            ),
        )
        members = (
            "SELECT d.path, f.name, f.size FROM files f JOIN dirs d ON d.id = f.dir"
            " WHERE f.batch = ? AND f.state = 'complete'"
        )
        self._store.tell(
            Transition(batch.rule, "batched", f"{os.fsdecode(directory)}/{os.fsdecode(name)}", batch.reason, size)
            for batch in batches
            for directory, name, size in self._store.execute(members, (batch.id,))
        )
        self._store.executemany(
            "UPDATE files SET state = 'batched' WHERE batch = ? AND state = 'complete'",
            ((batch.id,) for batch in batches),
        )

    def sealed_again(self, destinations: Sequence[int], files: Sequence[File], reason: str, now: float) -> int:
        """These verified files of one batch are a sealed batch once more, to these destinations alone. Returns it."""
        assert files[0].batch is not None, "they were in a batch"
        rule, key = files[0].rule, self.key(files[0].batch)
        batch = self.opened(rule, key, now)
        self._store.executemany(
            "UPDATE files SET state = 'complete', batch = ?, since = ?, reason = ? WHERE id = ? AND state = 'verified'",
            ((batch, now, reason, file.id) for file in files),
        )
        size = sum(counted(file.version.size) for file in files)
        self.joined(batch, OpenBatch(key, len(files), size, now, now))
        self.sealed([Sealed(batch, rule, reason, destinations)], now)
        return batch
