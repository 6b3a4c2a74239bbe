"""What is known of datasets and directories, as counts; and how to find one, or a file, by its name."""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent.ledger.store import Store, among
from agent.ledger.versions import File, read
from rules.model import counted

_NAMES = 20_000
"""Rows, newest first, that one search by a part of a name looks through."""
_DIRECTORIES = 2_000
"""Directories, newest first: a search looks in each for names that begin as asked."""
_SAMPLE = 200
_PLAIN = "f.dir = ? AND f.dataset IS NULL"
_SELECT = (
    "SELECT h.id, r.name, h.whole, coalesce(s.key, d.path), h.waiting, h.waiting_bytes, h.verified, h.verified_bytes,"
    " h.reclaimed, h.reclaimed_bytes, h.removed, h.removed_bytes, h.refused, h.refused_bytes, h.vanished,"
    " h.ignored, h.ignored_bytes, h.place"
    " FROM summaries h CROSS JOIN rules r ON r.id = h.rule LEFT JOIN datasets s ON h.whole = 1 AND s.id = h.place"
    " LEFT JOIN dirs d ON h.whole = 0 AND d.id = h.place"
)


class Summary(NamedTuple):
    """The files of one rule in one dataset or, without datasets, directly in one directory: versions and their bytes."""

    id: int
    rule: str
    whole: bool
    """A dataset."""
    name: str
    """The dataset's key, relative to the rule's directory, or the path of the directory."""
    waiting: int
    """On their way: candidate, complete, batched."""
    waiting_bytes: int
    verified: int
    verified_bytes: int
    reclaimed: int
    """Removed here by the agent, or about to be."""
    reclaimed_bytes: int
    removed: int
    """Removed by somebody else, after they were proved."""
    removed_bytes: int
    refused: int
    refused_bytes: int
    vanished: int
    ignored: int
    """From before the agent: not delivered, by `newer_than`."""
    ignored_bytes: int
    place: int
    """Number of the dataset or directory."""

    @property
    def here(self) -> int:
        """Versions that are expected to be here."""
        return self.waiting + self.verified + self.refused + self.ignored

    @property
    def gone(self) -> int:
        """Versions that were proved and are not here any more."""
        return self.reclaimed + self.removed

    @property
    def files(self) -> int:
        """Versions that are here, or were proved and are gone."""
        return self.here + self.gone

    @property
    def bytes(self) -> int:
        """Of `files`."""
        here = self.waiting_bytes + self.verified_bytes + self.refused_bytes + self.ignored_bytes
        return here + self.reclaimed_bytes + self.removed_bytes


class Copies(NamedTuple):
    """How many copies of a summary's files are proved at one destination."""

    destination: str
    address: str
    here: int
    """Of versions that are here."""
    weak: int
    """Those of them with only size and mtime compared."""
    gone: int
    """Of versions that were reclaimed, or removed by somebody else."""


class Summaries:
    """Rows of `summaries`, which triggers keep, and of `summary_copies`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def current(self, limit: int) -> list[Summary]:
        """Those with refused files first, then those with files on their way, then the others; each newest first."""
        found: dict[int, Summary] = {}
        for condition in ("h.refused > 0", "h.waiting > 0", "true"):
            if len(found) < limit:
                rows = self._read(f"{condition} ORDER BY h.latest DESC LIMIT ?", limit)
                found |= {one.id: one for one in rows if one.id not in found}
        return list(found.values())[:limit]

    def get(self, number: int) -> Summary | None:
        """One by its number."""
        return next(iter(self._read("h.id = ?", number)), None)

    def of(self, file: File) -> Summary | None:
        """The one that a file belongs to."""
        where = (
            "h.rule = (SELECT rule FROM files WHERE id = ?1) AND h.whole = (SELECT dataset IS NOT NULL FROM files WHERE id = ?1)"
            " AND h.place = (SELECT coalesce(dataset, dir) FROM files WHERE id = ?1)"
        )
        return next(iter(self._read(where, file.id)), None)

    def named(self, text: str, limit: int) -> list[Summary]:
        """Datasets and directories, among the newest, with this in their name, whatever its case; newest first."""
        where = (
            f"h.id IN (SELECT id FROM summaries ORDER BY latest DESC LIMIT {_NAMES})"
            " AND instr(lower(CAST(coalesce(s.key, d.path) AS TEXT)), lower(CAST(? AS TEXT))) ORDER BY h.latest DESC LIMIT ?"
        )
        return self._read(where, os.fsencode(text), limit)

    def _read(self, where: str, *values: object) -> list[Summary]:
        rows = self._store.execute(f"{_SELECT} WHERE {where}", values)
        return [Summary(row[0], row[1], bool(row[2]), os.fsdecode(row[3]), *row[4:]) for row in rows]

    def copies(self, number: int) -> list[Copies]:
        """Proved copies, per destination."""
        sql = (
            "SELECT n.name, n.address, c.here, c.weak, c.gone FROM summary_copies c"
            " JOIN destinations n ON n.id = c.destination WHERE c.summary = ? ORDER BY n.name"
        )
        return [Copies(*row) for row in self._store.execute(sql, (number,))]

    def of_waiting_datasets(self) -> int:
        """How many files that are not delivered belong to datasets which wait for more."""
        sql = (
            "SELECT coalesce(sum(h.waiting), 0) FROM datasets s CROSS JOIN summaries h ON h.rule = s.rule AND h.whole = 1"
            " AND h.place = s.id WHERE s.again IS NOT NULL"
        )
        return int(self._store.execute(sql).fetchone()[0])

    def unproved_below(self, directory: str) -> bool:
        """Whether any file at or below a directory, of whichever rule, is not at all its destinations."""
        raw = os.fsencode(directory)
        sql = (
            "SELECT EXISTS (SELECT 1 FROM dirs WHERE unproved > 0 AND path = ?1)"
            " OR EXISTS (SELECT 1 FROM dirs WHERE unproved > 0 AND path >= ?2 AND path < ?3)"
        )
        return bool(self._store.execute(sql, (raw, raw + b"/", raw + b"0")).fetchone()[0])

    def files(self, summary: Summary, limit: int) -> list[File]:
        """Some of its files: of a dataset, those that wait first; of a directory, from the last name on."""
        which, order = (
            ("f.dataset = ?", "f.state, f.id") if summary.whole else (_PLAIN, "f.name DESC, f.generation DESC")
        )
        where = f"+f.rule = (SELECT id FROM rules WHERE name = ?) AND {which} ORDER BY {order} LIMIT ?"
        return read(self._store, where, (summary.rule, summary.place, limit))

    def waits(self, summary: Summary) -> File | None:
        """One of the last of its files, by name, that is not at all its destinations, if there is one among them."""
        which = "dataset = ?" if summary.whole else "dir = ? AND dataset IS NULL"
        order = "id" if summary.whole else "name DESC, generation"
        where = (
            f"f.id IN (SELECT id FROM (SELECT id, waiting, rule FROM files WHERE {which} ORDER BY {order} DESC LIMIT {_SAMPLE})"
            " WHERE waiting AND rule = (SELECT id FROM rules WHERE name = ?)) ORDER BY f.reason IS NULL LIMIT 1"
        )
        return next(iter(read(self._store, where, (summary.place, summary.rule))), None)

    def files_named(self, text: str, limit: int) -> list[File]:
        """Files whose name begins so in the newest directories, and those of the newest that have it within, newest first."""
        raw = os.fsencode(text)
        begins = (
            "f.id IN (SELECT g.id FROM (SELECT id FROM dirs ORDER BY id DESC LIMIT ?1) e CROSS JOIN files g"
            " ON g.dir = e.id AND g.name >= ?2 AND g.name < ?3 LIMIT ?4) ORDER BY f.id DESC"
        )
        has = (
            "f.id IN (SELECT id FROM (SELECT id, name FROM files ORDER BY id DESC LIMIT ?1)"
            " WHERE instr(lower(CAST(name AS TEXT)), lower(CAST(?2 AS TEXT))) LIMIT ?3) ORDER BY f.id DESC"
        )
        found = {one.id: one for one in read(self._store, begins, (_DIRECTORIES, raw, raw + b"\xff" * 4, limit))}
        if len(found) < limit:
            found |= {one.id: one for one in read(self._store, has, (_NAMES, raw, limit))}
        return sorted(found.values(), key=lambda one: -one.id)[:limit]

    # Transitions

    def found(self, files: Iterable[tuple[int, int | None, int, int]]) -> None:
        """Candidates were just entered: (rule, dataset, directory, size). Inside a transaction."""
        counts: dict[tuple[int, int | None, int], list[int]] = {}
        for rule, dataset, directory, size in files:
            count = counts.setdefault((rule, dataset, directory), [0, 0])
            count[0] += 1
            count[1] += counted(size)
        (latest,) = self._store.execute("SELECT last_insert_rowid()").fetchone()
        self._store.executemany(
            "INSERT INTO summaries VALUES (NULL, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)"
            " ON CONFLICT (rule, whole, place) DO UPDATE SET latest = max(latest, excluded.latest),"
            " waiting = waiting + excluded.waiting, waiting_bytes = waiting_bytes + excluded.waiting_bytes",
            (
                (rule, dataset is not None, directory if dataset is None else dataset, latest, *count)
                for (rule, dataset, directory), count in counts.items()
            ),
        )
        self._store.executemany(
            "UPDATE dirs SET unproved = unproved + ? WHERE id = ?",
            ((count[0], directory) for (_, _, directory), count in counts.items()),
        )

    def verified(self, files: Sequence[int]) -> None:
        """These batched files are about to be verified. Inside a transaction."""
        marks, values = among(files)
        self._store.execute(
            "UPDATE summaries SET waiting = waiting - g.files, waiting_bytes = waiting_bytes - g.bytes,"
            " verified = verified + g.files, verified_bytes = verified_bytes + g.bytes"
            " FROM (SELECT rule, dataset IS NOT NULL AS whole, coalesce(dataset, dir) AS place, count(*) AS files,"
            f"   sum(counted) AS bytes FROM files WHERE id IN ({marks}) AND state = 'batched' GROUP BY 1, 2, 3) g"
            " WHERE summaries.rule = g.rule AND summaries.whole = g.whole AND summaries.place = g.place",
            values,
        )
        self._store.execute(
            "UPDATE dirs SET unproved = unproved - g.files"
            f" FROM (SELECT dir, count(*) AS files FROM files WHERE id IN ({marks}) AND state = 'batched' GROUP BY dir) g"
            " WHERE dirs.id = g.dir",
            values,
        )

    def proved(self, files: Sequence[int], destination: int, *, weak: bool) -> None:
        """These files are about to be proved at a destination. Inside a transaction.

        One statement for all of them, where a trigger would look up the summary of each.
        """
        marks, values = among(files)
        self._store.execute(
            "INSERT INTO summary_copies SELECT h.id, c.destination, sum(f.here),"
            f" sum(f.here) * {int(weak)}, sum(f.gone) FROM files f"
            " CROSS JOIN copies c ON c.file = f.id AND c.destination = ? AND c.proved_at IS NULL"
            " CROSS JOIN summaries h ON h.rule = f.rule AND h.whole = (f.dataset IS NOT NULL)"
            f" AND h.place = coalesce(f.dataset, f.dir) WHERE f.id IN ({marks}) AND (f.here OR f.gone) GROUP BY h.id"
            " ON CONFLICT DO UPDATE SET here = here + excluded.here, weak = weak + excluded.weak, gone = gone + excluded.gone",
            (destination, *values),
        )
