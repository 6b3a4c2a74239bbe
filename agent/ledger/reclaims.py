"""Removing local copies: what may go, and what is on its way out."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.ledger.states import State
from agent.ledger.store import Store, Transition
from agent.ledger.versions import File, read


@dataclass(frozen=True, slots=True)
class Intent:
    """A file that is being removed: where it belongs, and where it stands until then (relative to the root)."""

    file: File
    root: str
    original: str
    aside: str
    purge_at: float
    reason: str
    ctime_ns: int | None = None
    """Of the file since it stands aside; None: not known."""
    coming_back: int = False
    """Whether it was about to be put back: where nothing stands aside any more, it was."""
    leaving: int = False
    """Whether it was about to be removed from the trash: where nothing stands aside any more, it was."""


@dataclass(frozen=True, slots=True)
class Emptied:
    """A directory that files were removed from, and that may be empty."""

    path: str
    rule: str
    ctime_ns: int
    """As it was seen last."""
    since: float
    """Since when it has been seen so."""


_GAPS = 10_000
"""Files of a directory, the newest, whose times are compared."""


class Reclaims:
    """Rows of `reclaims`, and the verified batches they come from."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def due_batches(self, rule: str, now: float, limit: int) -> list[int]:
        """Verified batches of a rule with something left to reclaim, whose next look is due."""
        sql = (
            "SELECT b.id FROM batches b JOIN rules r ON r.id = b.rule WHERE r.name = ? AND b.reclaim_at <= ?"
            " ORDER BY b.verified_at, b.id LIMIT ?"
        )
        return [row[0] for row in self._store.execute(sql, (rule, now, limit))]

    def batches(self, rule: str) -> list[int]:
        """All verified batches of a rule with something left to reclaim, oldest first."""
        return self.due_batches(rule, float("inf"), -1)

    def next_due(self, rule: str) -> float | None:
        """When the next batch of a rule is to be thought of."""
        sql = (
            "SELECT min(b.reclaim_at) FROM batches b JOIN rules r ON r.id = b.rule"
            " WHERE r.name = ? AND b.reclaim_at IS NOT NULL"
        )
        found: float | None = self._store.execute(sql, (rule,)).fetchone()[0]
        return found

    def verified(self, batch: int) -> list[File]:
        """The verified files of a batch that are still here."""
        return read(self._store, "f.batch = ? AND f.state = 'verified' ORDER BY f.id", (batch,))

    def markers(self, dataset: int) -> list[File]:
        """The verified files of a dataset's closing batches that are still here."""
        where = "f.batch IN (SELECT id FROM batches WHERE closes = ?) AND f.state = 'verified' ORDER BY f.id"
        return read(self._store, where, (dataset,))

    def data_is_here(self, dataset: int) -> bool:
        """Whether verified files of a dataset are still here that are in no closing batch."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM files f JOIN batches b ON b.id = f.batch WHERE f.dataset = ?"
            " AND f.state = 'verified' AND b.closes IS NULL)"
        )
        return bool(self._store.execute(sql, (dataset,)).fetchone()[0])

    def intents(self, now: float, limit: int) -> list[Intent]:
        """Removals begun and not ended, whose time has come."""
        return self._intents("WHERE purge_at <= ? ORDER BY purge_at LIMIT ?", (now, limit))

    def unfinished(self) -> list[Intent]:
        """All removals begun and not ended."""
        return self._intents("ORDER BY purge_at", ())

    def trashed(self, rule: str) -> list[Intent]:
        """Removals of a rule that wait in the trash, oldest first."""
        return [intent for intent in self.unfinished() if intent.file.rule == rule]

    def _intents(self, where: str, values: tuple[object, ...]) -> list[Intent]:
        sql = f"SELECT file, root, original, aside, purge_at, reason, ctime_ns, coming_back, leaving FROM reclaims {where}"
        found = []
        for ident, root, original, aside, *rest in self._store.execute(sql, values).fetchall():
            (file,) = read(self._store, "f.id = ?", (ident,))
            found.append(Intent(file, os.fsdecode(root), os.fsdecode(original), os.fsdecode(aside), *rest))
        return found

    def next_purge(self) -> float | None:
        """When the next removal is to be ended."""
        found: float | None = self._store.execute("SELECT min(purge_at) FROM reclaims").fetchone()[0]
        return found

    def dataset_ended(self, dataset: int | None) -> bool:
        """Whether a dataset was complete, nothing of it waits, and no file of it is here."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM datasets WHERE id = ?1 AND again IS NULL) AND NOT EXISTS"
            " (SELECT 1 FROM files WHERE dataset = ?1 AND (here OR state = 'reclaiming'))"
        )
        return bool(self._store.execute(sql, (dataset,)).fetchone()[0])

    def emptied_due(self, now: float, limit: int) -> list[Emptied]:
        """Directories that may be empty, and are to be looked at by now."""
        sql = (
            "SELECT d.path, r.name, e.ctime_ns, e.since FROM emptied e JOIN dirs d ON d.id = e.dir JOIN rules r ON r.id = e.rule"
            " WHERE e.again <= ? ORDER BY e.again LIMIT ?"
        )
        return [Emptied(os.fsdecode(path), *rest) for path, *rest in self._store.execute(sql, (now, limit))]

    def next_emptied(self) -> float | None:
        """When the next directory that may be empty is to be looked at."""
        found: float | None = self._store.execute("SELECT min(again) FROM emptied").fetchone()[0]
        return found

    def longest_gap(self, directory: str) -> float:
        """Seconds between two files that came into a directory one after the other, at the most."""
        sql = (
            "SELECT max(gap) FROM (SELECT seen_at - lag(seen_at) OVER (ORDER BY seen_at) AS gap FROM (SELECT seen_at FROM files"
            " WHERE dir = (SELECT id FROM dirs WHERE path = ?) ORDER BY id DESC LIMIT ?))"
        )
        return self._store.execute(sql, (os.fsencode(directory), _GAPS)).fetchone()[0] or 0.0

    def held_files(self, directory: str) -> bool:
        """Whether files that a rule claimed were directly in a directory."""
        sql = "SELECT EXISTS (SELECT 1 FROM files WHERE dir = (SELECT id FROM dirs WHERE path = ?))"
        return bool(self._store.execute(sql, (os.fsencode(directory),)).fetchone()[0])

    # Transitions

    def emptied(self, rule: str, directory: str, ctime_ns: int, now: float, again: float) -> None:
        """Files were removed from a directory, which is to be looked at then."""
        self._store.execute(
            "INSERT INTO emptied (dir, rule, ctime_ns, since, again) SELECT d.id, r.id, ?3, ?4, ?5 FROM dirs d, rules r"
            " WHERE d.path = ?1 AND r.name = ?2 ON CONFLICT (dir) DO UPDATE SET rule = excluded.rule, ctime_ns ="
            " excluded.ctime_ns, since = excluded.since, again = excluded.again",
            (os.fsencode(directory), rule, ctime_ns, now, again),
        )

    def emptied_again(self, item: Emptied, ctime_ns: int, since: float, again: float) -> None:
        """The directory is to be looked at then. `ctime_ns`, `since`: as it is now, and since when."""
        self._store.execute(
            "UPDATE emptied SET ctime_ns = ?, since = ?, again = ? WHERE dir = (SELECT id FROM dirs WHERE path = ?)",
            (ctime_ns, since, again, os.fsencode(item.path)),
        )

    def not_emptied(self, item: Emptied) -> None:
        """The directory is gone, or is nobody's to remove."""
        self._store.execute(
            "DELETE FROM emptied WHERE dir = (SELECT id FROM dirs WHERE path = ?)", (os.fsencode(item.path),)
        )

    def reconsider(self) -> None:
        """Think of every batch again, whatever was decided before."""
        self._store.execute("UPDATE batches SET reclaim_at = verified_at WHERE reclaim_at IS NOT NULL")

    def later(self, batch: int, again: float | None) -> None:
        """Think of this batch again then; None: nothing of it is left to reclaim."""
        self._store.execute("UPDATE batches SET reclaim_at = ? WHERE id = ?", (again, batch))

    def intended(self, items: Sequence[Intent]) -> None:
        """These files are about to be moved aside."""
        self._store.executemany(
            "UPDATE files SET state = 'reclaiming', reason = ? WHERE id = ?",
            ((item.reason, item.file.id) for item in items),
        )
        self._store.executemany(
            "INSERT OR REPLACE INTO reclaims (file, root, original, aside, purge_at, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (
                (item.file.id, *map(os.fsencode, (item.root, item.original, item.aside)), item.purge_at, item.reason)
                for item in items
            ),
        )
        self._store.tell(
            Transition(item.file.rule, "reclaiming", item.file.path, item.reason, item.file.version.size)
            for item in items
        )

    def moved_aside(self, items: Sequence[tuple[Intent, int]]) -> None:
        """These files stand aside, each with this ctime since then."""
        self._store.executemany(
            "UPDATE reclaims SET ctime_ns = ? WHERE file = ?", ((ctime, one.file.id) for one, ctime in items)
        )

    def stayed(self, items: Iterable[tuple[File, str | None]]) -> None:
        """These verified files stay, each with the reason where it should go and a person must act."""
        self._store.executemany(
            "UPDATE files SET reason = ? WHERE id = ? AND state = 'verified' AND NOT restamped",
            ((reason, file.id) for file, reason in items if reason != file.reason),
        )

    def coming_back(self, item: Intent) -> None:
        """This file is about to be put back, under its own name or beside it."""
        self._store.execute("UPDATE reclaims SET coming_back = 1 WHERE file = ?", (item.file.id,))

    def leaving(self, item: Intent) -> None:
        """This file is about to be removed from the trash."""
        self._store.execute("UPDATE reclaims SET leaving = 1 WHERE file = ?", (item.file.id,))

    def taken(self, item: Intent) -> None:
        """Somebody else took this file away, or removed it: its removal is none of the agent's."""
        self._store.execute("DELETE FROM reclaims WHERE file = ?", (item.file.id,))

    def postponed(self, item: Intent, again: float) -> None:
        """What stands aside could not be asked about, or not be looked at: not before that time again."""
        self._store.execute("UPDATE reclaims SET purge_at = ? WHERE file = ?", (again, item.file.id))

    def reclaimed(self, items: Sequence[Intent], now: float) -> None:
        """The local copies are gone."""
        self._store.executemany(
            "UPDATE files SET state = 'reclaimed', ended_at = ?, lasting = 1 WHERE id = ?",
            ((now, item.file.id) for item in items),
        )
        self._store.executemany("DELETE FROM reclaims WHERE file = ?", ((item.file.id,) for item in items))
        self._store.tell(
            Transition(item.file.rule, "reclaimed", item.file.path, item.reason, item.file.version.size)
            for item in items
        )

    def kept(self, item: Intent, state: State, reason: str, ctime_ns: int | None, now: float, again: float) -> None:
        """The file was put back (or never moved): it stands at its path again, with the ctime of our own rename.

        `again`: when to think of it next.
        """
        self._store.execute(
            "UPDATE files SET state = ?, ended_at = ?2, lasting = CASE WHEN ?2 IS NOT NULL THEN 1 END, reason = ?,"
            " ctime_ns = coalesce(?, ctime_ns) WHERE id = ?",
            (state.value, now if state is State.SUPERSEDED else None, reason, ctime_ns, item.file.id),
        )
        self._store.execute("DELETE FROM reclaims WHERE file = ?", (item.file.id,))
        self._store.execute(
            "UPDATE batches SET reclaim_at = min(coalesce(reclaim_at, ?1), ?1) WHERE id = ?2", (again, item.file.batch)
        )
        self._store.tell([Transition(item.file.rule, state.value, item.file.path, reason, item.file.version.size)])
