"""What status, metrics and people read from the ledger. Only the notes of unclaimed files and unseen directories are written."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from agent.ledger.states import State, listed
from agent.ledger.store import Store, among
from agent.ledger.versions import File, read
from rules.model import proof_in_words

_NEWEST = 10_000
"""Files among which an example is looked for."""
_KEPT = 10_000
"""Files that stay which are counted at the most."""
_NO_EVENTS = "without events"
"""The one-off fact: watched trees for which the computer gives no events."""


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One batch, for lists."""

    id: int
    rule: str
    key: str
    files: int
    bytes: int
    sealed_at: float | None
    reason: str | None
    deliveries: list[dict[str, Any]]


class Kept(NamedTuple):
    """Local files that should go and stay, for one reason."""

    rule: str
    files: int
    example: str
    reason: str


class Reports:
    """Questions about the whole ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def tally(self) -> list[tuple[str, str, int, int]]:
        """(rule, state, files, bytes)."""
        sql = "SELECT r.name, t.state, t.files, t.bytes FROM tally t JOIN rules r ON r.id = t.rule WHERE t.files > 0"
        return list(self._store.execute(sql))

    def deliveries(self) -> list[tuple[str, str, int]]:
        """(destination, state, how many)."""
        sql = (
            "SELECT n.name, t.state, sum(t.deliveries) FROM delivery_tally t JOIN destinations n ON n.id = t.destination"
            " WHERE t.deliveries > 0 GROUP BY n.name, t.state"
        )
        return list(self._store.execute(sql))

    def destinations(self) -> list[tuple[str, str, bool | None, str | None]]:
        """(name, address, up, reason)."""
        sql = "SELECT name, address, up, reason FROM destinations ORDER BY id"
        return [(row[0], row[1], None if row[2] is None else bool(row[2]), row[3]) for row in self._store.execute(sql)]

    def kept(self, rules: Sequence[str]) -> list[Kept]:
        """Verified files of these rules that should go and stay, with the reason; the first 10,000 of them are counted."""
        marks, values = among(rules)
        sql = (
            "SELECT r.name, kept.reason, count(*), min(kept.id) FROM (SELECT id, rule, reason FROM files WHERE state = 'verified'"
            f" AND reason IS NOT NULL AND NOT restamped AND rule IN (SELECT id FROM rules WHERE name IN ({marks})) LIMIT {_KEPT})"
            " kept JOIN rules r ON r.id = kept.rule GROUP BY r.name, kept.reason ORDER BY count(*) DESC LIMIT 20"
        )
        found = []
        for rule, reason, count, example in self._store.execute(sql, values).fetchall():
            (file,) = read(self._store, "f.id = ?", (example,))
            found.append(Kept(rule, count, file.path, reason))
        return found

    def held_up(self) -> list[tuple[str, str, int]]:
        """(destination, reason, deliveries) of what is under way and does not move on."""
        sql = (
            "SELECT n.name, d.reason, count(*) FROM deliveries d JOIN destinations n ON n.id = d.destination"
            " WHERE d.under_way AND d.reason IS NOT NULL GROUP BY n.name, d.reason ORDER BY min(d.id) LIMIT 20"
        )
        return list(self._store.execute(sql))

    def since(self) -> dict[tuple[str, str], tuple[float | None, float | None]]:
        """(name, address) → (when it went up or down, when a copy there was last proved)."""
        rows = self._store.execute("SELECT name, address, changed_at, proved_at FROM destinations")
        return {(name, address): (changed, proved) for name, address, changed, proved in rows}

    def refusing(self) -> list[tuple[str, str]]:
        """(name, address) of destinations that take nothing until a person acts."""
        return list(self._store.execute("SELECT name, address FROM destinations WHERE refused = 1 ORDER BY id"))

    def oldest_unverified(self) -> dict[str, float]:
        """When the oldest file that is not yet verified was first seen, per rule."""
        sql = (
            "SELECT name, (SELECT min(at) FROM ("
            "  SELECT min(seen_at) AS at FROM files WHERE rule = r.id AND again IS NOT NULL"
            "  UNION ALL SELECT min(first_at) FROM batches WHERE rule = r.id AND verified_at IS NULL"
            "  UNION ALL SELECT min(seen_at) FROM datasets WHERE rule = r.id AND again IS NOT NULL)) AS oldest"
            " FROM rules r WHERE oldest IS NOT NULL"
        )
        return dict(self._store.execute(sql))

    def unchanged_since(self) -> dict[str, float]:
        """Since when that of a rule which is not yet verified, and has stood longest without a change, has stood so."""
        sql = (
            "SELECT name, (SELECT min(at) FROM ("
            "  SELECT min(since) AS at FROM files WHERE rule = r.id AND again IS NOT NULL AND dataset IS NULL"
            "  UNION ALL SELECT min(first_at) FROM batches WHERE rule = r.id AND verified_at IS NULL"
            "  UNION ALL SELECT min((SELECT max(f.since) FROM files f WHERE f.dataset = s.id AND f.state = 'candidate'))"
            "   FROM datasets s WHERE s.rule = r.id AND s.again IS NOT NULL)) AS oldest"
            " FROM rules r WHERE oldest IS NOT NULL"
        )
        return dict(self._store.execute(sql))

    def last_verified(self) -> dict[str, float]:
        """When the last batch of each rule was verified."""
        sql = (
            "SELECT name, (SELECT max(verified_at) FROM batches WHERE rule = rules.id AND verified_at IS NOT NULL) AS at"
            " FROM rules WHERE at IS NOT NULL"
        )
        return dict(self._store.execute(sql))

    def _left(self, table: str, root: str, count: int, example: str) -> None:
        """What the last sweep of a watched directory left out."""
        shown = example.encode("utf-8", "backslashreplace").decode()
        self._store.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", (os.fsencode(root), count, shown))

    def left_unclaimed(self, root: str, files: int, example: str) -> None:
        """What the sweep of a watched directory found that no rule claims. Inside a transaction."""
        self._left("unclaimed", root, files, example)

    def unclaimed(self) -> list[tuple[str, int, str]]:
        """(watched directory, files, an example) of what no rule claims, as of the last sweep."""
        return self._found_by_sweeps("unclaimed", "files")

    def left_unseen(self, root: str, directories: int, example: str) -> None:
        """Directories below a watched one that cannot be listed, or not as a whole. Inside a transaction."""
        self._left("unseen", root, directories, example)

    def left_out(self, root: str, directories: int, example: str) -> None:
        """Destinations below a watched directory, whose files are no data. Inside a transaction."""
        self._left("landing", root, directories, example)

    def landing(self) -> list[tuple[str, int, str]]:
        """(watched directory, destinations below it, an example), as of the last sweep."""
        return self._found_by_sweeps("landing", "directories")

    def unseen(self) -> list[tuple[str, int, str]]:
        """(watched directory, directories, an example with its reason) of what cannot be listed."""
        return self._found_by_sweeps("unseen", "directories")

    def _found_by_sweeps(self, table: str, count: str) -> list[tuple[str, int, str]]:
        rows = self._store.execute(f"SELECT root, {count}, example FROM {table} WHERE {count} > 0")
        return [(os.fsdecode(root), number, example) for root, number, example in rows]

    def events_refused(self, trees: Mapping[str, str]) -> None:
        """Watched trees for which the computer gives no events, with the reason: sweeps find what comes there."""
        self._store.set_meta(_NO_EVENTS, json.dumps(dict(trees)) if trees else None)

    def without_events(self) -> dict[str, str]:
        """Those trees, as the agent last noted them."""
        found: dict[str, str] = json.loads(self._store.meta(_NO_EVENTS) or "{}")
        return found

    def files(self, states: list[State], limit: int) -> list[File]:
        """Files in these states, newest first."""
        # Names in the text, and one as an equation: only so does SQLite use the index on refused files.
        which = f"= {listed(states)}" if len(states) == 1 else f"IN ({listed(states)})"
        return read(self._store, f"f.state {which} ORDER BY f.id DESC LIMIT ?", [limit])

    def newest(self, state: State) -> File | None:
        """The newest file in a state; None: the newest 10,000 files are in other ones."""
        where = f"f.id > (SELECT max(id) - {_NEWEST} FROM files) AND f.state = ? ORDER BY f.id DESC LIMIT 1"
        return next(iter(read(self._store, where, [state])), None)

    def batches(self, limit: int) -> list[BatchLine]:
        """Batches with their deliveries, newest first."""
        sql = (
            "SELECT b.id, r.name, b.key, b.files, b.bytes, b.sealed_at, b.reason FROM batches b"
            " JOIN rules r ON r.id = b.rule ORDER BY b.id DESC LIMIT ?"
        )
        return [
            BatchLine(number, rule, key, files, size, sealed_at, reason, self.deliveries_of(number))
            for number, rule, key, files, size, sealed_at, reason in self._store.execute(sql, (limit,)).fetchall()
        ]

    def deliveries_of(self, batch: int) -> list[dict[str, Any]]:
        """The deliveries of a batch."""
        sql = (
            "SELECT n.name, d.state, d.attempt, s.task, d.reason FROM deliveries d JOIN destinations n ON n.id = d.destination"
            " LEFT JOIN submissions s ON s.id = d.submission WHERE d.batch = ? ORDER BY n.name"
        )
        return [
            dict(zip(("destination", "state", "attempt", "task", "reason"), row, strict=True))
            for row in self._store.execute(sql, (batch,))
        ]

    def copies_of(self, file: int) -> list[dict[str, Any]]:
        """Where a version is, or is meant to be."""
        sql = (
            "SELECT n.name, n.address, c.path, c.algorithm, c.checksum, c.proved_at, c.reread_at, (SELECT t.name FROM tasks t"
            "  JOIN deliveries d ON d.id = t.delivery JOIN files f ON f.batch = d.batch AND f.id = c.file"
            "  WHERE d.destination = c.destination AND t.begun_at <= c.proved_at ORDER BY t.begun_at DESC LIMIT 1)"
            " FROM copies c"
            " JOIN destinations n ON n.id = c.destination WHERE c.file = ? ORDER BY n.name"
        )
        return [
            {
                "destination": name,
                "address": address,
                "path": os.fsdecode(path),
                "checksum": proof_in_words(algorithm, checksum) if checksum else None,
                "proved_at": proved_at,
            }
            | ({"reread_at": reread_at} if reread_at not in (None, float("inf")) else {})
            | ({"task": task} if task else {})
            for name, address, path, algorithm, checksum, proved_at, reread_at, task in self._store.execute(
                sql, (file,)
            )
        ]

    def findings_of(self, file: int) -> list[dict[str, Any]]:
        """Copies of a version that were found wrong, settled ones among them."""
        sql = (
            "SELECT n.name, g.path, g.kind, g.reason, g.found_at, g.closed_at, g.closed"
            # CROSS: destination by destination: there are few; findings have no index by file alone.
            " FROM destinations n CROSS JOIN findings g ON g.destination = n.id AND g.file = ? ORDER BY g.found_at"
        )
        names = ("destination", "path", "kind", "reason", "found_at", "closed_at", "closed")
        return [
            dict(zip(names, row, strict=True)) | {"path": os.fsdecode(row[1])}
            for row in self._store.execute(sql, (file,))
        ]

    def waiting(self) -> bool:
        """Whether files are here that are not delivered, for whatever reason."""
        sql = "SELECT EXISTS (SELECT 1 FROM tally WHERE state IN ('candidate', 'complete', 'batched') AND files > 0)"
        return bool(self._store.execute(sql).fetchone()[0])

    def unfinished(self) -> bool:
        """Whether anything is failed, refused or left to be done: what the exit code tells."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM tally WHERE state = 'refused' AND files > 0)"
            " OR EXISTS (SELECT 1 FROM deliveries WHERE under_way)"
            " OR EXISTS (SELECT 1 FROM deliveries WHERE again IS NOT NULL AND state = 'failed')"
            " OR EXISTS (SELECT 1 FROM outbox WHERE batch IS NOT NULL)"
            " OR EXISTS (SELECT 1 FROM findings WHERE closed_at IS NULL)"
            " OR EXISTS (SELECT 1 FROM unseen WHERE directories > 0)"
            " OR EXISTS (SELECT 1 FROM behind)"
        )
        return bool(self._store.execute(sql).fetchone()[0])
