"""Datasets: files that become complete, travel and are reclaimed together."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from agent.ledger.states import UNPROVED, State, listed
from agent.ledger.store import Store
from agent.ledger.versions import File, read
from rules.model import CopyId
from rules.naming import own_name


class Directory(NamedTuple):
    """The directory of a dataset, as it was when the dataset was last complete."""

    file: CopyId
    ctime_ns: int


class Known(NamedTuple):
    """A dataset that waits, or was complete."""

    id: int
    rule: str
    key: str
    generation: int
    """How often it was complete."""
    seen_at: float
    checked_at: float | None
    released: bool
    waits: bool
    reason: str | None
    ordinal: int = 1
    """2 or more: the name was used before, for another dataset."""
    mtime_ns: int | None = None
    """The date of all its paths, since it was first complete."""
    directory: Directory | None = None

    @property
    def name(self) -> str:
        """Its key, with the number where the key was used before."""
        return own_name(self.key, self.ordinal) if self.ordinal > 1 else self.key


_SELECT = (
    "SELECT s.id, r.name, s.key, s.generation, s.seen_at, s.checked_at, s.released, s.again IS NOT NULL, s.reason,"
    " s.ordinal, s.mtime_ns, s.device, s.inode, s.ctime_ns"
    " FROM datasets s JOIN rules r ON r.id = s.rule"
)


_BEFORE = (
    "SELECT DISTINCT d.path, f.name FROM files f JOIN dirs d ON d.id = f.dir JOIN files g ON g.dir = f.dir AND g.name = f.name"
    " AND g.dataset = f.dataset AND g.generation < f.generation AND (g.size <> f.size OR g.mtime_ns <> f.mtime_ns)"
    " WHERE f.dataset = ? AND f.state = 'candidate'"
)
"""Files that wait for a dataset and have an earlier generation in it. One that came back as it was is no other content."""


def _known(row: Sequence[Any]) -> Known:
    ident, rule, key, generation, seen_at, checked_at, released, waits, reason, ordinal, mtime_ns, *stamps = row
    device, inode, ctime_ns = stamps
    directory = None if inode is None else Directory(CopyId(device, inode), ctime_ns)
    return Known(
        ident, rule, os.fsdecode(key), generation, seen_at, checked_at, bool(released), bool(waits), reason, ordinal,
        mtime_ns, directory,
    )  # fmt: skip


class Datasets:
    """Rows of `datasets`. Methods in the past tense are transitions; call them inside `Store.transaction`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # What is known

    def number(self, rule: int, key: str, now: float) -> int:
        """The number of the present dataset of a name (by the rule's number); a new one is entered. Inside a transaction."""
        found = self._store.numbers.get((rule, key))
        if found is None:
            raw = os.fsencode(key)
            self._store.execute(
                "INSERT OR IGNORE INTO datasets (rule, key, generation, seen_at, again, released)"
                " SELECT ?1, ?2, 0, ?3, ?3, 0 WHERE NOT EXISTS (SELECT 1 FROM datasets WHERE rule = ?1 AND key = ?2)",
                (rule, raw, now),
            )
            sql = "SELECT id FROM datasets WHERE rule = ? AND key = ? ORDER BY ordinal DESC LIMIT 1"
            (found,) = self._store.execute(sql, (rule, raw)).fetchone()
            self._store.numbers[rule, key] = found
        return found

    def due(self, now: float, limit: int) -> list[Known]:
        """Those that wait and are to be looked at by now, longest waiting first."""
        return [
            _known(row)
            for row in self._store.execute(f"{_SELECT} WHERE s.again <= ? ORDER BY s.again LIMIT ?", (now, limit))
        ]

    def next_due(self) -> float | None:
        """When the next is to be looked at."""
        found: float | None = self._store.execute("SELECT min(again) FROM datasets WHERE again IS NOT NULL").fetchone()[
            0
        ]
        return found

    def waiting(self, limit: int = -1) -> list[Known]:
        """Those that wait, longest waiting first."""
        return [
            _known(row)
            for row in self._store.execute(f"{_SELECT} WHERE s.again IS NOT NULL ORDER BY s.seen_at LIMIT ?", (limit,))
        ]

    def get(self, number: int) -> Known:
        """One by its number."""
        return _known(self._store.execute(f"{_SELECT} WHERE s.id = ?", (number,)).fetchone())

    def unplanned(self, batch: int, destination: int) -> list[int]:
        """Datasets of the files in a batch that have no copy at the destination, and no intent to write one."""
        sql = (
            "SELECT s.dataset FROM (SELECT DISTINCT dataset FROM files"
            " WHERE batch = ? AND dataset IS NOT NULL AND state = 'batched') s WHERE NOT EXISTS"
            " (SELECT 1 FROM files f JOIN copies c ON c.file = f.id AND c.destination = ? WHERE f.dataset = s.dataset)"
        )
        return [number for (number,) in self._store.execute(sql, (batch, destination))]

    def folder(self, number: int, destination: int) -> int:
        """The number of the folder that a dataset has at a destination; 1: none, since its names are free there."""
        sql = "SELECT number FROM dataset_folders WHERE dataset = ? AND destination = ?"
        row = self._store.execute(sql, (number, destination)).fetchone()
        return 1 if row is None else int(row[0])

    def named(self, rule: str, key: str) -> Known | None:
        """The present one of a rule and key."""
        sql = f"{_SELECT} WHERE r.name = ? AND s.key = ? ORDER BY s.ordinal DESC LIMIT 1"
        row = self._store.execute(sql, (rule, os.fsencode(key))).fetchone()
        return None if row is None else _known(row)

    def unfinished(self, number: int) -> tuple[float, str, str | None] | None:
        """(when it is looked at, path, why it waits) of the first of its files that has not settled."""
        sql = (
            "SELECT f.again, d.path, f.name, f.reason FROM files f JOIN dirs d ON d.id = f.dir"
            " WHERE f.dataset = ? AND f.state = 'candidate' AND f.again IS NOT NULL ORDER BY f.again LIMIT 1"
        )
        row = self._store.execute(sql, (number,)).fetchone()
        return None if row is None else (row[0], f"{os.fsdecode(row[1])}/{os.fsdecode(row[2])}", row[3])

    def fresh(self, number: int, limit: int = -1) -> list[File]:
        """Its files that have settled and wait for it."""
        where = "f.dataset = ? AND f.state = 'candidate' AND f.again IS NULL ORDER BY f.id LIMIT ?"
        return read(self._store, where, (number, limit))

    def changed_at(self, number: int) -> float | None:
        """When the last of the files that wait for it was first read as it is now; None where none waits."""
        sql = "SELECT max(since) FROM files WHERE dataset = ? AND state = 'candidate'"
        found: float | None = self._store.execute(sql, (number,)).fetchone()[0]
        return found

    def back(self, number: int) -> str | None:
        """The first path of the files that wait which was delivered with the dataset, was seen gone, and has other content now."""
        row = self._store.execute(
            f"{_BEFORE} AND g.gone AND coalesce(g.ended_at, 0) < f.seen_at LIMIT 1", (number,)
        ).fetchone()
        return None if row is None else f"{os.fsdecode(row[0])}/{os.fsdecode(row[1])}"

    def written_again(self, number: int) -> list[str]:
        """Paths of the files that wait which were delivered with the dataset before."""
        rows = self._store.execute(f"{_BEFORE} AND g.batch IS NOT NULL", (number,))
        return [f"{os.fsdecode(directory)}/{os.fsdecode(name)}" for directory, name in rows]

    def first_ctime_ns(self, number: int) -> int:
        """The earliest ctime of its files."""
        return int(
            self._store.execute("SELECT min(ctime_ns) FROM files WHERE dataset = ?", (number,)).fetchone()[0] or 0
        )

    def members(self, number: int) -> list[tuple[str, int, bool]]:
        """(path, size, whether it waits) of all its files, each in its present generation, delivered ones among them."""
        sql = (
            "SELECT d.path, f.name, f.size, f.state FROM files f JOIN dirs d ON d.id = f.dir"
            " WHERE f.dataset = ? AND (f.here OR f.gone) AND f.generation ="
            " (SELECT max(generation) FROM files g WHERE g.dir = f.dir AND g.name = f.name)"
        )
        return [
            (f"{os.fsdecode(directory)}/{os.fsdecode(name)}", size, state == State.CANDIDATE)
            for directory, name, size, state in self._store.execute(sql, (number,))
        ]

    def on_its_way(self, number: int) -> int:
        """How many of its files are neither proved nor gone: while there are any, nothing of it is reclaimed."""
        sql = f"SELECT count(*) FROM files WHERE dataset = ? AND state IN ({listed((*UNPROVED, State.REFUSED))})"
        return int(self._store.execute(sql, (number,)).fetchone()[0])

    def checksum(self, file: int) -> tuple[str, str] | None:
        """(algorithm, hexadecimal checksum) that a list which came with the data gives for a version, compared."""
        row = self._store.execute("SELECT algorithm, checksum FROM checksums WHERE file = ?", (file,)).fetchone()
        return None if row is None else (row[0], row[1].hex())

    def newest_ns(self, number: int, first_sweep: float) -> int | None:
        """The newest time of its files; None: one was seen after the first sweep, or is delivered, or on its way."""
        sql = (
            "SELECT max(iif(restamped, mtime_ns, max(mtime_ns, ctime_ns))), max(seen_at),"
            " max(state NOT IN ('candidate', 'complete', 'ignored', 'refused')) FROM files"
            " WHERE dataset = ? AND state NOT IN ('superseded', 'vanished')"
        )
        newest, seen_at, further = self._store.execute(sql, (number,)).fetchone()
        return None if newest is None or further or seen_at > first_sweep else int(newest)

    # Transitions

    def has_folder(self, number: int, destination: int, folder: int) -> None:
        """Other files have its names at the destination: its files go into a folder with this number, and keep theirs."""
        self._store.execute("INSERT INTO dataset_folders VALUES (?, ?, ?)", (number, destination, folder))

    def touched(self, numbers: Iterable[int], now: float) -> None:
        """Something about them changed: look at them now."""
        self._store.executemany(
            "UPDATE datasets SET seen_at = CASE WHEN again IS NULL THEN ?1 ELSE seen_at END, again = ?1 WHERE id = ?2",
            ((now, number) for number in numbers),
        )

    def woken(self, items: Iterable[tuple[int, str | None]], now: float) -> None:
        """A file that conditions look for appeared: look at the dataset now, (rule, key), or at all that wait, (rule, None)."""
        for rule, key in items:
            one = "" if key is None else " AND key = ?3"
            values = (now, rule) if key is None else (now, rule, os.fsencode(key))
            self._store.execute(f"UPDATE datasets SET again = ?1 WHERE rule = ?2 AND again > ?1{one}", values)

    def gathered(self, items: Iterable[tuple[int, str, int]]) -> None:
        """Files have no writer and have not changed for their quiet period: (dataset, reason, id)."""
        self._store.executemany(
            "UPDATE files SET again = NULL, dataset = ?, reason = ? WHERE id = ? AND state = 'candidate'", items
        )

    def restarted(self, now: float) -> None:
        """The agent starts: what settled in a former run is to settle again, and is looked for once more."""
        self._store.execute(
            "UPDATE files SET since = ?, again = ?, reason = NULL WHERE dataset IS NOT NULL AND state = 'candidate'",
            (now, now),
        )
        self._store.execute("UPDATE datasets SET checked_at = NULL, again = ? WHERE again IS NOT NULL", (now,))

    def waits(self, number: int, again: float, reason: str, *, checking: bool) -> None:
        """It goes on waiting; `checking`: only until each of its files has been looked at once more."""
        self._store.execute(
            "UPDATE datasets SET again = ?1, reason = ?2, checked_at = CASE WHEN ?3 THEN checked_at END WHERE id = ?4",
            (again, reason, checking, number),
        )

    def checked(self, number: int, now: float) -> None:
        """It looks complete: each of its files is to be looked at once more before it is."""
        self._store.execute("UPDATE datasets SET checked_at = ?, again = ? WHERE id = ?", (now, now, number))
        self._store.execute(
            "UPDATE files SET again = ?, reason = NULL WHERE dataset = ? AND state = 'candidate'", (now, number)
        )

    def completed(self, number: int, reason: str, mtime_ns: int, directory: Directory | None) -> None:
        """It was complete, once more. `mtime_ns`: its date, where it was not complete before."""
        of_directory = (None, None, None) if directory is None else (*directory.file, directory.ctime_ns)
        self._store.execute(
            "UPDATE datasets SET generation = generation + 1, again = NULL, checked_at = NULL, released = 0, reason = ?,"
            " mtime_ns = coalesce(mtime_ns, ?), device = ?, inode = ?, ctime_ns = ? WHERE id = ?",
            (reason, mtime_ns, *of_directory, number),
        )

    def ended(self, number: int, reason: str, now: float) -> None:
        """Nothing more comes to it: what waits with its name is another dataset."""
        self._store.execute(
            "INSERT INTO datasets (rule, key, ordinal, generation, seen_at, again, released)"
            " SELECT rule, key, ordinal + 1, 0, ?1, ?1, 0 FROM datasets WHERE id = ?2",
            (now, number),
        )
        rule, key, new = self._store.execute(
            "SELECT rule, key, (SELECT id FROM datasets t WHERE t.rule = s.rule AND t.key = s.key AND t.ordinal = s.ordinal + 1)"
            " FROM datasets s WHERE id = ?", (number,)
        ).fetchone()  # fmt: skip
        self._store.execute("UPDATE files SET dataset = ? WHERE dataset = ? AND state = 'candidate'", (new, number))
        self._store.numbers[rule, os.fsdecode(key)] = new
        self.left(number, f"ended: {reason}")

    def left(self, number: int, reason: str | None) -> None:
        """Nothing of it waits any more: its files went, or a person must act (then with the reason)."""
        self._store.execute(
            "UPDATE datasets SET again = NULL, checked_at = NULL, released = 0, reason = coalesce(?, reason) WHERE id = ?",
            (reason, number),
        )

    def released(self, number: int, now: float) -> None:
        """A person said that it is complete."""
        self._store.execute("UPDATE datasets SET released = 1, again = ? WHERE id = ?", (now, number))

    def proved_by_list(self, items: Iterable[tuple[int, str, str]]) -> None:
        """Checksums that came with the data are those of these versions: (file, algorithm, hexadecimal)."""
        self._store.executemany(
            "INSERT OR REPLACE INTO checksums VALUES (?, ?, ?)",
            ((file, algorithm, bytes.fromhex(checksum)) for file, algorithm, checksum in items),
        )
