"""What people send by hand: batches that are sealed as they are entered, each of one directory, to one destination."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from agent.ledger.batches import Batches, Sealed
from agent.ledger.files import PROVED, Files
from agent.ledger.store import Store, Transition
from agent.ledger.versions import LASTING, File, read
from rules.model import SENT, Observation, OpenBatch, counted

_OF_COMMAND = "f.batch IN (SELECT batch FROM sends WHERE command = ?)"
_REASON = "sent by hand"


class Sent(NamedTuple):
    """A version that a person sends."""

    path: str
    seen: Observation
    seen_at: float
    reason: str
    """Why it is complete."""


class Sends:
    """Rows of `sends`, and their files. Each file is a separate generation: what rules do with the path goes on."""

    def __init__(self, store: Store, files: Files, batches: Batches) -> None:
        self._store = store
        self._files = files
        self._batches = batches

    # What is known

    def root(self, batch: int) -> str:
        """The directory that the paths of a batch count from."""
        return os.fsdecode(self._store.execute("SELECT root FROM sends WHERE batch = ?", (batch,)).fetchone()[0])

    def under_way(self, command: int) -> bool:
        """Whether some of its deliveries have not ended."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM sends s JOIN deliveries d ON d.batch = s.batch"
            " WHERE s.command = ? AND d.state NOT IN ('verified', 'refused'))"
        )
        return bool(self._store.execute(sql, (command,)).fetchone()[0])

    def reasons(self, command: int) -> list[str]:
        """Why its deliveries wait or have failed, each reason once."""
        sql = (
            "SELECT DISTINCT d.reason FROM sends s JOIN deliveries d ON d.batch = s.batch"
            " WHERE s.command = ? AND d.state NOT IN ('verified', 'refused') AND d.reason IS NOT NULL"
        )
        return [reason for (reason,) in self._store.execute(sql, (command,))]

    def verified(self, command: int) -> tuple[int, int]:
        """(files, bytes) of it that are proved."""
        sql = f"SELECT count(*), coalesce(sum(f.counted), 0) FROM files f WHERE {_OF_COMMAND} AND f.state = 'verified'"
        files, size = self._store.execute(sql, (command,)).fetchone()
        return files, size

    def unverified(self, command: int, limit: int) -> list[File]:
        """Files of it that are not proved."""
        return read(self._store, f"{_OF_COMMAND} AND f.state <> 'verified' ORDER BY f.id LIMIT ?", (command, limit))

    # Transitions

    def sent(self, command: int | None, root: str, destination: int, files: Sequence[Sent], now: float) -> int:
        """These files are a sealed batch with a delivery to the destination. Inside a transaction.

        `command`: what the first batch of this command returned. Returns the command.
        """
        batch = self._batches.opened(SENT, root.encode("utf-8", "backslashreplace").decode(), now)
        command = batch if command is None else command
        self._store.execute("INSERT INTO sends VALUES (?, ?, ?)", (batch, command, os.fsencode(root)))
        rule = self._files.rule(SENT)
        places = [self._place(one.path) for one in files]
        self._refused_before([(*place, rule, destination, now) for place in places])
        self._store.executemany(
            "INSERT INTO files (dir, name, generation, rule, state, size, mtime_ns, ctime_ns, inode, device, seen_at,"
            " since, batch, reason, rewritten) VALUES (?1, ?2, (SELECT 1 + coalesce(max(generation), 0) FROM files WHERE dir = ?1"
            " AND name = ?2), ?3, 'complete', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"
            f" coalesce({PROVED.format(what='?4 < g.size OR ?7 <> g.inode', dir='?1', name='?2')}, 0))",
            (
                (*place, rule, *one.seen.version, one.seen.volume, one.seen_at, now, batch, one.reason)
                for place, one in zip(places, files, strict=True)
            ),
        )
        self._store.tell(Transition(SENT, "complete", one.path, one.reason, one.seen.version.size) for one in files)
        size = sum(counted(one.seen.version.size) for one in files)
        self._batches.joined(batch, OpenBatch("", len(files), size, now, now))
        self._batches.sealed([Sealed(batch, SENT, _REASON, [destination])], now)
        return command

    def _refused_before(self, files: Sequence[tuple[int, bytes, int, int, float]]) -> None:
        """(dir, name, rule, destination, now): what an earlier command there was refused is settled by this one.

        It wrote nothing; so what it meant to write says nothing of the file there, unless others may have written.
        """
        which = (
            "dir = ?1 AND name = ?2 AND rule = ?3 AND state = 'refused'"
            " AND batch IN (SELECT batch FROM deliveries WHERE destination = ?4)"
        )
        self._store.executemany(
            f"DELETE FROM copies WHERE file IN (SELECT id FROM files WHERE {which}) AND proved_at IS NULL"
            " AND destination IN (SELECT id FROM destinations WHERE id = ?4 AND in_place = 0)",
            (file[:4] for file in files),
        )
        self._store.executemany(
            f"UPDATE files SET state = 'superseded', ended_at = ?5, lasting = {LASTING} WHERE {which}", files
        )

    def _place(self, path: str) -> tuple[int, bytes]:
        directory, _, name = path.rpartition("/")
        return self._files.directory(directory), os.fsencode(name)
