"""Calls that wait to be made: an action for a verified batch, or a message to people. A row goes once its call was made."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agent.ledger.store import Store
from agent.ledger.versions import read
from rules.actions.event import Batch, Copy, Item
from rules.model import proof_in_words

Key = tuple[str, str]
"""(rule, action), or (MESSAGES, channel): what the calls of one queue have in common."""
MESSAGES = ""
"""Instead of the name of a rule."""
_SELECT = (
    "SELECT id, name, rule, batch, payload, made_at, attempt, again, reason FROM outbox WHERE rule = ? AND name = ?"
)


@dataclass(frozen=True, slots=True)
class Queued:
    """A call that waits."""

    id: int
    name: str
    """Of the rule's action, or of the channel."""
    rule: str
    batch: int | None
    """None: a message."""
    payload: bytes
    made_at: float
    attempt: int
    """How often it was tried; it may have happened though nobody here knows."""
    again: float
    reason: str | None

    @property
    def asked(self) -> bool:
        """Whether a person wants it at once."""
        return self.again == 0.0


class Waiting(NamedTuple):
    """What waits in one queue."""

    rule: str
    name: str
    calls: int
    failed: int
    """How many of them were tried."""
    reason: str | None
    """Why one of those failed."""
    since: float
    """When the oldest was made."""


class Outbox:
    """Rows of `outbox`. Past-tense methods are transitions, for use in a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def batch(self, number: int, host: str, now: float) -> Batch:
        """A batch that was verified now, with those of its files that are at every destination."""
        sql = "SELECT r.name, b.key FROM batches b JOIN rules r ON r.id = b.rule WHERE b.id = ?"
        rule, key = self._store.execute(sql, (number,)).fetchone()
        # CROSS JOIN keeps the order: from the batch to its files to their copies, never through all copies.
        sql = (
            "SELECT c.file, n.name, c.path, c.algorithm, c.checksum FROM files f CROSS JOIN copies c ON c.file = f.id"
            " JOIN destinations n ON n.id = c.destination"
            " JOIN deliveries d ON d.batch = f.batch AND d.destination = c.destination"
            " WHERE f.batch = ? AND f.state = 'verified' AND c.proved_at IS NOT NULL ORDER BY d.id"
        )
        copies: dict[int, list[Copy]] = {}
        for file, name, path, algorithm, checksum in self._store.execute(sql, (number,)):
            copies.setdefault(file, []).append(Copy(name, os.fsdecode(path), proof_in_words(algorithm, checksum)))
        sql = (
            "SELECT n.name, n.address FROM deliveries d JOIN destinations n ON n.id = d.destination"
            " WHERE d.batch = ? ORDER BY d.id"
        )
        return Batch(
            agent=self._store.agent,
            number=number,
            rule=rule,
            key=key,
            host=host,
            at=now,
            addresses=dict(self._store.execute(sql, (number,))),
            items=[
                Item(file.path, file.version.size, copies.get(file.id, []))
                for file in read(self._store, "f.batch = ? AND f.state = 'verified' ORDER BY f.id", (number,))
            ],
        )

    def due(self, key: Key) -> list[Queued]:
        """At most two of a queue: the next that was not tried yet, or that a person wants; the next that failed."""
        fresh = "(attempt = 0 OR again = 0)"
        return [
            Queued(*row)
            for which in (fresh, f"NOT {fresh}")
            for row in self._store.execute(f"{_SELECT} AND {which} ORDER BY again, attempt, id LIMIT 1", key).fetchall()
        ]

    def oldest(self, key: Key, limit: int) -> list[Queued]:
        """What waits in a queue, oldest first."""
        return [Queued(*row) for row in self._store.execute(f"{_SELECT} ORDER BY id LIMIT ?", (*key, limit))]

    def actions(self) -> list[Waiting]:
        """The queues of actions in which anything waits."""
        return [one for one in self._waiting() if one.rule != MESSAGES]

    def messages(self) -> list[Waiting]:
        """The queues of messages in which anything waits."""
        return [one for one in self._waiting() if one.rule == MESSAGES]

    def _waiting(self) -> list[Waiting]:
        sql = (
            "SELECT rule, name, count(*), sum(reason IS NOT NULL), max(reason), min(made_at) FROM outbox"
            " GROUP BY rule, name ORDER BY min(id)"
        )
        return [Waiting(*row) for row in self._store.execute(sql)]

    # Transitions

    def enqueued(self, items: Iterable[tuple[Key, int | None, bytes]], now: float) -> None:
        """These calls are to be made: (queue, batch, payload)."""
        self._store.executemany(
            "INSERT INTO outbox (rule, name, batch, payload, made_at, again) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
            ((*key, batch, payload, now) for key, batch, payload in items),
        )

    def tried(self, items: Iterable[Queued]) -> None:
        """They are about to be made."""
        self._store.executemany("UPDATE outbox SET attempt = attempt + 1 WHERE id = ?", ((one.id,) for one in items))

    def done(self, items: Iterable[Queued]) -> None:
        """They were made."""
        self._store.executemany("DELETE FROM outbox WHERE id = ?", ((one.id,) for one in items))

    def failed(self, items: Sequence[Queued], reason: str, again: float) -> None:
        """They will be tried again."""
        self._store.executemany(
            "UPDATE outbox SET again = ?, reason = ? WHERE id = ?", ((again, reason, one.id) for one in items)
        )

    def resumed(self, now: float) -> None:
        """A new run: what failed is due at once."""
        self._store.execute("UPDATE outbox SET again = ? WHERE again > ?", (now, now))

    def retried(self) -> int:
        """A person asks: all that waits is tried at once. Returns how many actions do."""
        return self._store.execute("UPDATE outbox SET again = 0 WHERE rule <> ?", (MESSAGES,)).rowcount

    def given_up(self, kept: Collection[Key]) -> list[Waiting]:
        """What waits in other queues than these will not be done. Returns those queues."""
        gone = [one for one in self._waiting() if (one.rule, one.name) not in kept]
        self._store.executemany(
            "DELETE FROM outbox WHERE rule = ? AND name = ?", ((one.rule, one.name) for one in gone)
        )
        return gone
