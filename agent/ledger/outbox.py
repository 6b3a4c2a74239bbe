"""What is to be done because a batch was verified, until it is done."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from agent.ledger.store import Store
from agent.ledger.versions import read
from rules.actions.event import Batch, Copy, Item
from rules.model import proof_in_words


@dataclass(frozen=True, slots=True)
class Errand:
    """One action for one batch."""

    id: int
    batch: int
    rule: str
    action: str
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

    def due(self, rule: str, action: str) -> list[Errand]:
        """At most two of an action: the next that was not tried yet, or that a person wants; the next that failed."""
        sql = (
            "SELECT o.id, o.batch, r.name, o.action, o.payload, o.made_at, o.attempt, o.again, o.reason FROM outbox o"
            " JOIN rules r ON r.id = o.rule WHERE r.name = ? AND o.action = ? AND o.again IS NOT NULL AND {}"
            " ORDER BY o.again, o.attempt, o.id LIMIT 1"
        )
        fresh = "(o.attempt = 0 OR o.again = 0)"
        rows = [
            row
            for which in (fresh, f"NOT {fresh}")
            for row in self._store.execute(sql.format(which), (rule, action)).fetchall()
        ]
        return [Errand(*row) for row in rows]

    def waiting(self) -> list[tuple[str, str, int, int, str | None, float]]:
        """(rule, action, how many are not done, how many of them failed, a reason, when the oldest was made)."""
        sql = (
            "SELECT r.name, o.action, count(*), sum(o.reason IS NOT NULL), max(o.reason), min(o.made_at) FROM outbox o"
            " JOIN rules r ON r.id = o.rule WHERE o.again IS NOT NULL GROUP BY o.rule, o.action ORDER BY min(o.id)"
        )
        return list(self._store.execute(sql))

    # Transitions

    def owed(self, batch: Batch, payloads: Mapping[str, bytes], now: float) -> None:
        """The batch was verified: action → what is to be sent."""
        self._store.executemany(
            "INSERT OR IGNORE INTO outbox (batch, rule, action, payload, made_at, again)"
            " VALUES (?1, (SELECT rule FROM batches WHERE id = ?1), ?2, ?3, ?4, ?4)",
            ((batch.number, action, payload, now) for action, payload in payloads.items()),
        )

    def tried(self, errands: Iterable[Errand]) -> None:
        """They are about to be done."""
        self._store.executemany(
            "UPDATE outbox SET attempt = attempt + 1 WHERE id = ?", ((errand.id,) for errand in errands)
        )

    def done(self, errand: Errand, now: float) -> None:
        """It happened."""
        self._store.execute(
            "UPDATE outbox SET again = NULL, reason = NULL, payload = NULL, ended_at = ? WHERE id = ?", (now, errand.id)
        )

    def failed(self, errand: Errand, reason: str, again: float) -> None:
        """It will be tried again; one that was given up meanwhile stays so."""
        self._store.execute(
            "UPDATE outbox SET again = ?, reason = ? WHERE id = ? AND again IS NOT NULL", (again, reason, errand.id)
        )

    def resumed(self, now: float) -> None:
        """A new run: what failed is due at once."""
        self._store.execute("UPDATE outbox SET again = ? WHERE again > ?", (now, now))

    def retried(self) -> int:
        """A person asks: all that waits is tried at once. Returns how many."""
        return self._store.execute("UPDATE outbox SET again = 0 WHERE again IS NOT NULL").rowcount

    def given_up(self, kept: Collection[tuple[str, str]], now: float) -> int:
        """What waits for other actions than these (rule, action) is not done any more. Returns how many."""
        names = [(rule, action) for rule, action, *_ in self.waiting() if (rule, action) not in kept]
        return sum(
            self._store.execute(
                "UPDATE outbox SET again = NULL, payload = NULL, ended_at = ?, reason = 'its rule does not have it any more'"
                " WHERE again IS NOT NULL AND action = ? AND rule = (SELECT id FROM rules WHERE name = ?)",
                (now, action, rule),
            ).rowcount
            for rule, action in names
        )
