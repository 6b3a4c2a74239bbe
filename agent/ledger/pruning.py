"""Forgets what is over, a slice at a time: nobody waits for it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent.ledger.store import Store
from rules.versions.pruning import MOST_UNDELIVERED, Over, What, horizons, prune

SLICE = 300
"""Rows that one transaction takes: some 30 ms, for which others wait that write."""
_PAUSE = 0.1
"""Seconds between two slices, while there is more."""
_EVERY = 60.0
"""Seconds until there may be more."""
_OTHER = "FROM files g WHERE g.dir = f.dir AND g.name = f.name AND g.generation"
_TELLS = "(g.lasting IS NOT 0 OR g.state = 'vanished' OR g.rewritten)"
"""It may have copies, was gone, or was written again."""
_REPLACED = (
    "NOT EXISTS (SELECT 1 FROM findings WHERE file = f.id)"
    " AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.file = f.id AND NOT EXISTS (SELECT 1 FROM copies d"
    f" WHERE d.file = (SELECT g.id {_OTHER} > f.generation AND {_TELLS} ORDER BY g.generation LIMIT 1)"
    " AND d.destination = c.destination AND d.path = c.path AND d.proved_at IS NOT NULL))"
)
_FACTS = (
    "SELECT EXISTS (SELECT 1 FROM copies WHERE file = f.id) OR EXISTS (SELECT 1 FROM findings WHERE file = f.id),"
    f" CASE WHEN f.state = 'superseded' THEN {_REPLACED} ELSE 0 END,"
    " EXISTS (SELECT 1 FROM deliveries d WHERE d.batch = f.batch AND (d.under_way OR d.state = 'failed')),"
    f" NOT EXISTS (SELECT 1 {_OTHER} > f.generation),"
    f" EXISTS (SELECT 1 {_OTHER} < f.generation AND g.lasting IS NOT 0),"
    f" (f.gone OR f.state = 'vanished' OR f.rewritten) AND coalesce((SELECT NOT (g.gone OR g.state = 'vanished'"
    f"   OR (g.rewritten AND NOT EXISTS (SELECT 1 FROM copies WHERE file = g.id))) {_OTHER} < f.generation"
    f"  AND {_TELLS} ORDER BY g.generation DESC LIMIT 1), 0)"
    " FROM files f WHERE f.id = ?"
)


class _Row(NamedTuple):
    id: int
    dir: int
    dataset: int | None
    ended_at: float


class Pruner:
    """Takes out of the ledger what `rules.versions.pruning` says."""

    def __init__(self, store: Store, history: float) -> None:
        """`history`: seconds, as of `rules.versions.pruning.prune`."""
        self._store = store
        self._history = history
        self._again_at = 0.0

    def step(self, now: float) -> float:
        """One slice, if its time has come. Returns when the next is due."""
        if now >= self._again_at:
            with self._store.transaction():
                taken = self._prune_versions(now)
                taken += self._forget_batches(now, SLICE - taken)
                taken += self._forget_datasets(SLICE - taken)
            self._again_at = now + (_EVERY if taken < SLICE else _PAUSE)
        return self._again_at

    def _horizons(self, crowded: str, now: float) -> tuple[float, float]:
        """`crowded`: the times of all that no destination has a copy of."""
        row = self._store.execute(f"{crowded} DESC LIMIT 1 OFFSET {MOST_UNDELIVERED}").fetchone()
        return horizons(self._history, row and row[0], now)

    def _prune_versions(self, now: float) -> int:
        """Returns how many versions were thought of."""
        crowded = "SELECT ended_at FROM files WHERE lasting = 0 AND ended_at IS NOT NULL ORDER BY ended_at"
        rows: list[_Row] = []
        for lasting, before in enumerate(self._horizons(crowded, now)):
            sql = "SELECT id, dir, dataset, ended_at FROM files WHERE lasting = ? AND ended_at <= ? ORDER BY ended_at LIMIT ?"
            rows += map(_Row._make, self._store.execute(sql, (lasting, before, SLICE - len(rows))))
        found: dict[What, list[_Row]] = {what: [] for what in What}
        for row in rows:
            facts = map(bool, self._store.execute(_FACTS, (row.id,)).fetchone())
            found[prune(Over(now - row.ended_at, *facts), self._history).what].append(row)
        self._store.executemany(
            "UPDATE files SET ended_at = CASE WHEN lasting THEN ?1 ELSE ended_at END, lasting = 1 WHERE id = ?2",
            ((now, row.id) for row in found[What.KEPT]),
        )
        compacted = [(row.id,) for row in found[What.COMPACTED]]
        self._store.executemany(
            "UPDATE files SET batch = NULL, reason = NULL, ended_at = NULL, lasting = 1 WHERE id = ?", compacted
        )
        forgotten = [(row.id,) for row in found[What.FORGOTTEN]]
        self._store.executemany("DELETE FROM checksums WHERE file = ?", compacted + forgotten)
        self._store.executemany("DELETE FROM copies WHERE file = ?", forgotten)
        self._store.executemany("DELETE FROM files WHERE id = ?", forgotten)
        self._forget_directories({row.dir for row in found[What.FORGOTTEN]})
        return len(rows)

    def _forget_datasets(self, limit: int) -> int:
        """Those that nothing is known of, and that were never complete: else what comes is more of the same dataset.

        Returns how many were forgotten.
        """
        sql = (
            "SELECT id FROM datasets s WHERE generation = 0 AND again IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM files WHERE dataset = s.id)"
            " AND NOT EXISTS (SELECT 1 FROM links WHERE dataset = s.id) LIMIT ?"
        )
        empty = self._store.execute(sql, (limit,)).fetchall()
        self._forget_summaries(empty, whole=1)
        self._store.executemany("DELETE FROM datasets WHERE id = ?", empty)
        return len(empty)

    def _forget_directories(self, numbers: Iterable[int]) -> None:
        """Those that no file is known of."""
        sql = "SELECT id FROM dirs d WHERE id = ? AND NOT EXISTS (SELECT 1 FROM files WHERE dir = d.id)"
        empty = [row for number in numbers for row in self._store.execute(sql, (number,)).fetchall()]
        self._forget_summaries(empty, whole=0)
        self._store.executemany("DELETE FROM told WHERE dir = ?", empty)
        self._store.executemany("DELETE FROM emptied WHERE dir = ?", empty)
        self._store.executemany("DELETE FROM returns WHERE dir = ?", empty)
        self._store.executemany("DELETE FROM dirs WHERE id = ?", empty)

    def _forget_summaries(self, places: Sequence[tuple[int]], *, whole: int) -> None:
        """The counts of directories, or of datasets, that are about to be forgotten."""
        which = f"rule IN (SELECT id FROM rules) AND whole = {whole} AND place = ?"
        self._store.executemany(
            f"DELETE FROM summary_copies WHERE summary IN (SELECT id FROM summaries WHERE {which})", places
        )
        self._store.executemany(f"DELETE FROM summaries WHERE {which}", places)

    def _forget_batches(self, now: float, limit: int) -> int:
        """Batches that no file is in any more, and that nobody has in hand. Returns how many were forgotten."""
        crowded = "SELECT sealed_at FROM batches WHERE files = left AND sealed_at IS NOT NULL ORDER BY sealed_at"
        before, _ = self._horizons(crowded, now)
        sql = (
            "SELECT b.id FROM batches b WHERE b.files = b.left AND b.sealed_at <= ?"
            " AND NOT EXISTS (SELECT 1 FROM files WHERE batch = b.id)"
            " AND NOT EXISTS (SELECT 1 FROM outbox WHERE batch = b.id)"
            # What waits for a destination that is away is in nobody's hands: it is read again when that is up.
            " AND NOT EXISTS (SELECT 1 FROM deliveries d JOIN destinations n ON n.id = d.destination"
            "  WHERE d.batch = b.id AND (d.under_way OR d.state = 'failed')"
            "  AND NOT (d.again IS NOT NULL AND d.state IN ('pending', 'failed') AND n.up IS NOT 1))"
            # The last one says when the rule last verified a batch.
            " AND (b.verified_at IS NULL"
            "  OR EXISTS (SELECT 1 FROM batches n WHERE n.rule = b.rule AND n.verified_at > b.verified_at))"
            " ORDER BY b.sealed_at LIMIT ?"
        )
        batches = self._store.execute(sql, (before, limit)).fetchall()
        submissions = [
            row
            for batch in batches
            for row in self._store.execute("SELECT DISTINCT submission FROM deliveries WHERE batch = ?", batch)
        ]
        self._store.executemany(
            "DELETE FROM tasks WHERE delivery IN (SELECT id FROM deliveries WHERE batch = ?)", batches
        )
        for table, column in (("deliveries", "batch"), ("sends", "batch"), ("batches", "id")):
            self._store.executemany(f"DELETE FROM {table} WHERE {column} = ?", batches)
        self._store.executemany(
            "DELETE FROM submissions WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE submission = ?1)",
            submissions,
        )
        return len(batches)
