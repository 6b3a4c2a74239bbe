"""Copies that are read again after their delivery, and what was found to be wrong."""

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.ledger.batches import Batches
from agent.ledger.states import State
from agent.ledger.store import Store, Transition
from agent.ledger.versions import File, read, without_copies
from rules.model import SENT, Content
from rules.naming import Owner, stat_content
from rules.retention import taken_at_once
from rules.scrub import CopyStatus

_NEVER = float("inf")
_GONE = "gone."
"""Before the name of a destination: a fact in `meta`."""
_KEY = "coalesce(c.reread_at, c.proved_at)"
_OPEN = "g.closed_at IS NULL"


class Copy(NamedTuple):
    """A copy as it was proved."""

    file: File
    path: str
    checksum: bytes
    algorithm: str
    proved_at: float | None
    """None: a finding, whose evidence was withdrawn."""


class Finding(NamedTuple):
    """A copy that is not what was proved."""

    destination: str
    address: str
    copy: Copy
    copy_status: CopyStatus
    reason: str
    found_at: float


class Standing(NamedTuple):
    """How far a destination is read again."""

    destination: str
    address: str
    last_at: float | None
    """When a copy there was last read again."""
    oldest_at: float | None
    """When the copy that was read longest ago was read or, if never, proved."""
    findings: dict[str, int]
    """Kind → open findings."""


class Scrubs:
    """Rows of `findings`, and when copies were read again. Past-tense methods are transitions, for use in a transaction."""

    def __init__(self, store: Store, batches: Batches) -> None:
        self._store = store
        self._batches = batches

    # What is to be read

    def oldest(self, destination: int, before: float, limit: int) -> list[Copy]:
        """Copies that were neither proved nor read again since `before`, longest ago first."""
        sql = (
            "SELECT c.file, c.path, c.checksum, c.algorithm, c.proved_at FROM copies c"
            f" WHERE c.destination = ? AND c.proved_at IS NOT NULL AND {_KEY} < ? ORDER BY {_KEY} LIMIT ?"
        )
        return self._copies(self._store.execute(sql, (destination, before, limit)))

    def oldest_at(self, destination: int) -> float | None:
        """When the copy that was read longest ago was read or, if never, proved; None: there is nothing to read."""
        sql = f"SELECT {_KEY} FROM copies c WHERE c.destination = ? AND c.proved_at IS NOT NULL ORDER BY {_KEY} LIMIT 1"
        row = self._store.execute(sql, (destination,)).fetchone()
        return None if row is None or row[0] == _NEVER else row[0]

    def extent(self, destination: int, before: float) -> tuple[int, int]:
        """(copies, bytes) that were neither proved nor read again since `before`. It walks through them all."""
        sql = (
            "SELECT count(*), coalesce(sum(f.counted), 0) FROM copies c JOIN files f ON f.id = c.file"
            f" WHERE c.destination = ? AND c.proved_at IS NOT NULL AND {_KEY} < ? AND f.state <> 'superseded'"
        )
        copies, size = self._store.execute(sql, (destination, before)).fetchone()
        return copies, size

    def free_at(self, destination: int) -> float:
        """Before this time the rate allows no reading."""
        return float(self._store.execute("SELECT free_at FROM destinations WHERE id = ?", (destination,)).fetchone()[0])

    def _copies(self, rows: Iterable[tuple[int, bytes, bytes, str, float | None]]) -> list[Copy]:
        found = list(rows)
        files: dict[int, File] = {}
        for start in range(0, len(found), 500):
            numbers = [row[0] for row in found[start : start + 500]]
            files |= {one.id: one for one in read(self._store, f"f.id IN ({', '.join('?' * len(numbers))})", numbers)}
        return [Copy(files[row[0]], os.fsdecode(row[1]), *row[2:]) for row in found]

    # What is known of findings

    def open(self, destination: int | None = None, looked_before: float = _NEVER, limit: int = -1) -> list[Finding]:
        """Findings that nobody has settled (at one destination), those first that were looked at longest ago."""
        where = f"{_OPEN} AND g.looked_at < ?" + (" AND g.destination = ?" if destination is not None else "")
        sql = (
            "SELECT g.file, g.path, g.checksum, g.algorithm, n.name, n.address, g.kind, g.reason, g.found_at"
            f" FROM findings g JOIN destinations n ON n.id = g.destination WHERE {where} ORDER BY g.looked_at LIMIT ?"
        )
        values = (looked_before, limit) if destination is None else (looked_before, destination, limit)
        rows = self._store.execute(sql, values).fetchall()
        copies = self._copies((*row[:4], None) for row in rows)
        return [
            Finding(row[4], row[5], copy, CopyStatus(row[6]), row[7], row[8])
            for row, copy in zip(rows, copies, strict=True)
        ]

    def standings(self) -> list[Standing]:
        """How far each destination, of former configurations too, is read again."""
        rows = self._store.execute("SELECT id, name, address, reread_at FROM destinations ORDER BY id").fetchall()
        return [
            Standing(name, address, at, self.oldest_at(number), self.findings(number))
            for number, name, address, at in rows
        ]

    def known(self, destination: int, copy: Copy) -> tuple[CopyStatus, str] | None:
        """(how it was found, reason) of the open finding about a copy."""
        sql = (
            f"SELECT g.kind, g.reason FROM findings g WHERE g.destination = ? AND g.file = ? AND g.path = ? AND {_OPEN}"
        )
        row = self._store.execute(sql, (destination, copy.file.id, os.fsencode(copy.path))).fetchone()
        return (CopyStatus(row[0]), row[1]) if row else None

    def findings(self, destination: int) -> dict[str, int]:
        """Kind → open findings at a destination."""
        sql = f"SELECT g.kind, count(*) FROM findings g WHERE g.destination = ? AND {_OPEN} GROUP BY g.kind"
        return dict(self._store.execute(sql, (destination,)))

    def damaged(self, destination: int, file: File) -> set[str]:
        """Paths there at which a copy of this path was found to be something else: they are not ours to write to."""
        sql = (
            "SELECT g.path FROM files m JOIN files f ON f.dir = m.dir AND f.name = m.name"
            " JOIN findings g ON g.destination = ? AND g.file = f.id WHERE m.id = ?"
        )
        return {os.fsdecode(path) for (path,) in self._store.execute(sql, (destination, file.id))}

    def owners(self, destination: int, path: str, file: File) -> list[Owner]:
        """Of which of our files a copy was found damaged at this path."""
        sql = (
            "SELECT f.dir = m.dir AND f.name = m.name, g.checksum, d.path, f.name, n.in_place, f.size, f.mtime_ns"
            " FROM findings g JOIN files f ON f.id = g.file JOIN dirs d ON d.id = f.dir"
            " JOIN destinations n ON n.id = g.destination, files m WHERE m.id = ? AND g.destination = ? AND g.path = ?"
            # Where it was delivered again under the same name, its evidence speaks for it.
            " AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.file = g.file AND c.destination = g.destination"
            "  AND c.path = g.path AND c.proved_at IS NOT NULL)"
        )
        return [
            Owner(
                source=posixpath.join(os.fsdecode(row[2]), os.fsdecode(row[3])),
                same_source=bool(row[0]),
                gone=True,  # that copy may be the only one of its kind, whoever made it
                content=Content(stat_content(*row[5:]) if row[4] else row[1], row[5]),
                path=path,
                in_place=bool(row[4]),
                damaged=True,
            )
            for row in self._store.execute(sql, (file.id, destination, os.fsencode(path)))
        ]

    def others(self, destination: int, file: int) -> list[tuple[str, str]]:
        """(destination, path) of the version's copies elsewhere that nothing was found wrong with."""
        sql = (
            "SELECT n.name, c.path FROM copies c JOIN destinations n ON n.id = c.destination"
            " WHERE c.file = ? AND c.destination <> ? AND c.proved_at IS NOT NULL AND NOT EXISTS"
            f" (SELECT 1 FROM findings g WHERE g.destination = c.destination AND g.file = c.file AND g.path = c.path AND {_OPEN})"
        )
        return [(name, os.fsdecode(path)) for name, path in self._store.execute(sql, (file, destination))]

    def now_proved(self, destination: int, file: int) -> str | None:
        """Where the version is proved at a destination; None: it is not."""
        sql = "SELECT path FROM copies WHERE file = ? AND destination = ? AND proved_at IS NOT NULL"
        row = self._store.execute(sql, (file, destination)).fetchone()
        return os.fsdecode(row[0]) if row else None

    def states(self, destination: int, copies: Sequence[Copy]) -> Mapping[int, State]:
        """File → its state now, of those copies whose evidence is still the one that was read."""
        sql = (
            "SELECT f.state FROM files f LEFT JOIN copies c ON c.file = f.id AND c.destination = ?"
            " AND c.proved_at IS NOT NULL WHERE f.id = ? AND (?3 IS NULL OR (c.path = ?4 AND c.proved_at = ?3))"
        )
        found = {
            one.file.id: self._store.execute(
                sql, (destination, one.file.id, one.proved_at, os.fsencode(one.path))
            ).fetchone()
            for one in copies
        }
        return {file: State(row[0]) for file, row in found.items() if row is not None}

    def taken(self, destination: str, address: str, file: int) -> bool:
        """Whether a copy is not asked for any more: where files are taken away after their arrival, it was."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM copies c JOIN destinations n ON n.id = c.destination"
            " WHERE c.file = ? AND n.name = ? AND n.address = ? AND c.reread_at = ?)"
        )
        return bool(self._store.execute(sql, (file, destination, address, _NEVER)).fetchone()[0])

    def gone_at_once(self, destination: str) -> str | None:
        """Why nothing is deleted on the proof of a destination where more is gone than anybody takes; None: it is not."""
        return taken_at_once(destination) if self._store.meta(f"{_GONE}{destination}") is not None else None

    def unproved(self, destination: int) -> list[File]:
        """Verified files whose evidence was withdrawn because of a finding, and which nobody delivers again yet."""
        sql = (
            "SELECT g.file FROM findings g JOIN files f ON f.id = g.file WHERE g.destination = ? AND f.state = 'verified'"
            " AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.file = g.file AND c.destination = g.destination)"
        )
        numbers = [row[0] for row in self._store.execute(sql, (destination,))]
        return [file for number in dict.fromkeys(numbers) for file in read(self._store, "f.id = ?", (number,))]

    def arrived_again(self, destination: int) -> list[Copy]:
        """Copies with an open finding that were delivered again since, under the same name."""
        sql = (
            "SELECT g.file, g.path, g.checksum, g.algorithm, c.proved_at FROM findings g JOIN copies c"
            f" ON c.file = g.file AND c.destination = g.destination WHERE g.destination = ? AND {_OPEN}"
            " AND c.path = g.path AND c.proved_at > g.found_at"
        )
        return self._copies(self._store.execute(sql, (destination,)))

    # Transitions

    def looked(self, destination: int, free_at: float, now: float) -> None:
        """Copies there were read again; nothing more before `free_at`."""
        self._store.execute(
            "UPDATE destinations SET reread_at = ?, free_at = ? WHERE id = ?", (now, free_at, destination)
        )

    def reread(self, destination: int, copies: Iterable[Copy], now: float) -> None:
        """These copies were read again."""
        self._store.executemany(
            "UPDATE copies SET reread_at = ? WHERE file = ? AND destination = ? AND path = ?",
            ((now, one.file.id, destination, os.fsencode(one.path)) for one in copies),
        )

    def retired(self, destination: int, copies: Iterable[Copy]) -> None:
        """These copies are not read any more."""
        self.reread(destination, copies, _NEVER)

    def found(self, destination: int, name: str, copy: Copy, copy_status: CopyStatus, reason: str, now: float) -> bool:
        """A copy is not what was proved. Returns whether that is news."""
        key = (destination, copy.file.id, os.fsencode(copy.path))
        known = self.known(destination, copy)
        if known is not None and known[0] is copy_status:
            self._store.execute(
                "UPDATE findings SET looked_at = ?, reason = ? WHERE destination = ? AND file = ? AND path = ?",
                (now, reason, *key),
            )
            return False
        self._store.execute(
            "INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
            (*key, copy_status.value, reason, copy.checksum, copy.algorithm, now, now),
        )
        self._store.tell(
            [Transition(copy.file.rule, copy_status.value, copy.file.path, reason, copy.file.version.size, name)]
        )
        return True

    def looked_again(self, destination: int, copy: Copy, now: float) -> None:
        """A finding was looked at once more, and stays open."""
        self._store.execute(
            "UPDATE findings SET looked_at = ? WHERE destination = ? AND file = ? AND path = ?",
            (now, destination, copy.file.id, os.fsencode(copy.path)),
        )

    def closed(self, destination: int, copy: Copy, why: str, now: float) -> bool:
        """A finding is settled. Returns whether there was an open one."""
        sql = (
            "UPDATE findings SET closed_at = ?, closed = ? WHERE destination = ? AND file = ? AND path = ?"
            " AND closed_at IS NULL"
        )
        values = (now, why, destination, copy.file.id, os.fsencode(copy.path))
        return self._store.execute(sql, values).rowcount > 0

    def accepted(self, destination: int, finding: Finding, now: float) -> None:
        """A person knows of it: the copy is not read any more, unless it was delivered again."""
        self.closed(destination, finding.copy, "accepted by a person", now)
        self.retired(destination, [finding.copy])

    def gone(self, destination: str) -> None:
        """More copies are gone at once than anybody takes: a person must say that they were taken. Outside of transactions."""
        self._store.set_meta(f"{_GONE}{destination}", "more than anybody takes")

    def all_taken(self, number: int, destination: str) -> None:
        """A person says that what is gone was taken away: copies that are there by now are not asked for any more."""
        self._store.execute(
            "UPDATE copies SET reread_at = ? WHERE destination = ? AND proved_at IS NOT NULL", (_NEVER, number)
        )
        self._store.execute("DELETE FROM meta WHERE key = ?", (f"{_GONE}{destination}",))

    def withdrawn(self, destination: int, files: Iterable[int]) -> None:
        """The evidence counts no more, nor does an intent: that file is not to be written to."""
        without_copies(self._store, [(file, destination) for file in files])

    def reopened(self, destination: int, file: File, now: float) -> bool:
        """The delivery of a batch on its way begins again. Returns whether it had ended."""
        sql = (
            "UPDATE deliveries SET state = 'pending', again = ?, changed_at = ? WHERE batch = ? AND destination = ?"
            " AND state IN ('verified', 'refused')"
        )
        return self._store.execute(sql, (now, now, file.batch, destination)).rowcount > 0

    def delivered_again(self, destination: int, files: Sequence[File], now: float) -> None:
        """These verified files are sealed batches once more, to this destination alone: one for each that they were in."""
        former: dict[int | None, list[File]] = {}
        for file in files:
            former.setdefault(file.batch, []).append(file)
        for number, together in former.items():
            reason = f"delivered again: its copy of batch {number} was not what was proved"
            batch = self._batches.sealed_again([destination], together, reason, now)
            if together[0].rule == SENT:
                self._store.execute(
                    "INSERT INTO sends SELECT ?, ?, root FROM sends WHERE batch = ?", (batch, batch, number)
                )
