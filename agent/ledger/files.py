"""Versions of files, from the first sight to complete."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from agent.ledger.states import CAME_LATER, STATES, State, listed
from agent.ledger.store import Store, Transition, among
from agent.ledger.versions import LASTING, File, Known, at_or_below, read
from rules.model import SENT, STAT, Content, Entry, Kind, Observation, Version, VolumeId
from rules.versions.copies import left_in_words
from rules.versions.identity import Adoption


class Found(NamedTuple):
    """A version that a rule claims, to be entered as a candidate."""

    dir: int
    path: str
    rule: str
    seen: Observation
    generation: int
    seen_at: float
    again: float
    dataset: int | None = None
    rewritten: bool = False
    """It is another file than the one that had its name."""


class Former(NamedTuple):
    """The version of a file before the present one: it was taken as complete, and its name was not seen away since."""

    version: Version
    complete_at: float
    content: Content | None
    """What a destination has of it, by a checksum."""
    algorithm: str | None
    written_again: bool
    """The present one does not go on from it: it was seen smaller, or is another file."""


_HAS_COPIES = (
    "SELECT EXISTS (SELECT 1 FROM files m JOIN files f ON f.dir = m.dir AND f.name = m.name"
    " JOIN copies c ON c.file = f.id WHERE m.id = ?)"
)
PROVED = (
    "(SELECT {what} FROM files g WHERE g.dir = {dir} AND g.name = {name}"
    " AND EXISTS (SELECT 1 FROM copies WHERE file = g.id AND proved_at IS NOT NULL) ORDER BY g.generation DESC LIMIT 1)"
)
"""A fact of the last version of a path that a destination has."""
_HAS_EVIDENCE = "SELECT EXISTS (SELECT 1 FROM copies WHERE file = ? AND proved_at IS NOT NULL)"
_ON_ITS_WAY = (
    "SELECT EXISTS (SELECT 1 FROM copies c JOIN deliveries d ON d.destination = c.destination AND d.under_way"
    " WHERE c.file = ?1 AND c.proved_at IS NULL AND c.destination <> ?2 AND d.state <> 'pending'"
    " AND d.batch = (SELECT batch FROM files WHERE id = ?1))"
)
_KNOWN = "f.name, f.id, f.state, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.device, f.generation, r.name"
_KNOWN_IN = (
    f"SELECT {_KNOWN} FROM files f JOIN rules r ON r.id = f.rule WHERE f.dir = (SELECT id FROM dirs WHERE path = ?)"
    f" AND r.name <> '{SENT}'"
)
"""What was sent by hand is no business of rules: they find, deliver and reclaim the path as if it had not been."""
_OF_SENDS = f"(SELECT id FROM rules WHERE name = '{SENT}')"


def _known(row: Sequence[Any]) -> tuple[str, Known]:
    return os.fsdecode(row[0]), Known(row[1], STATES[row[2]], Version._make(row[3:7]), row[7], row[8], row[9])


Count = Callable[[Iterable[tuple[int, int | None, int, int]]], None]


class Files:
    """Rows of `files`. Methods in the past tense are transitions; call them inside `Store.transaction`."""

    def __init__(self, store: Store, count: Count) -> None:
        """`count`: called with candidates that were entered: (rule, dataset, directory, size) of each."""
        self._store = store
        self._count = count

    # What is known

    def directory(self, path: str) -> int:
        """The number of a directory; a new one is entered. Inside a transaction."""
        found = self._store.numbers.get((path,))
        if found is None:
            raw = os.fsencode(path)
            self._store.execute("INSERT OR IGNORE INTO dirs (path) VALUES (?)", (raw,))
            (found,) = self._store.execute("SELECT id FROM dirs WHERE path = ?", (raw,)).fetchone()
            self._store.numbers[path,] = found
        return found

    def rule(self, name: str) -> int:
        """The number of a rule; a new one is entered. Inside a transaction."""
        found = self._store.numbers.get(("rule", name))
        if found is None:
            self._store.execute("INSERT OR IGNORE INTO rules (name) VALUES (?)", (name,))
            (found,) = self._store.execute("SELECT id FROM rules WHERE name = ?", (name,)).fetchone()
            self._store.numbers["rule", name] = found
        return found

    def known(self, directory: str, names: Sequence[str] | None = None) -> dict[str, Known]:
        """The present generation of each known name of a directory (of these names only, where given)."""
        values: list[object] = [os.fsencode(directory)]
        some = ""
        if names is not None:
            marks, wanted = among([os.fsencode(name) for name in names])
            some = f" AND f.name IN ({marks})"
            values += wanted
        return dict(map(_known, self._store.execute(f"{_KNOWN_IN}{some} ORDER BY f.name, f.generation", values)))

    def entries(self, directory: str, names: Sequence[bytes] | None = None) -> set[Entry]:
        """What should be in the directory (of these names only, where given), as a sweep reads it.

        The sweep of a million files that are as they were compares sets, and asks for `known` only of the rest.
        """
        values: list[object] = [os.fsencode(directory)]
        some = ""
        if names is not None:
            marks, wanted = among(names)
            some = f" AND name IN ({marks})"
            values += wanted
        sql = (
            "SELECT name, size, mtime_ns, ctime_ns, inode, device FROM files WHERE dir = (SELECT id FROM dirs WHERE path = ?)"
            f"{some} AND here AND rule IS NOT {_OF_SENDS}"
        )
        return set(self._store.execute(sql, values))

    def expected(self, directory: str, after: str, limit: int) -> list[tuple[str, Known]]:
        """Names that should be in the directory, in order after `after`: a page at a time, for huge directories."""
        sql = f"{_KNOWN_IN} AND f.name > ? AND f.here ORDER BY f.name, f.generation LIMIT ?"
        return list(map(_known, self._store.execute(sql, (os.fsencode(directory), os.fsencode(after), limit))))

    def directories_below(self, directory: str) -> list[str]:
        """Known directories at or below a path that hold files which should be there."""
        sql = (
            "SELECT path FROM dirs d WHERE (path = ?1 OR (path >= ?2 AND path < ?3))"
            f" AND EXISTS (SELECT 1 FROM files WHERE dir = d.id AND here AND rule IS NOT {_OF_SENDS})"
        )
        return [os.fsdecode(path) for (path,) in self._store.execute(sql, at_or_below(directory))]

    def known_below(self, directory: str) -> list[str]:
        """Paths at or below a directory of files that were delivered, or will be, wherever they are now."""
        sql = (
            "SELECT d.path, f.name FROM dirs d JOIN files f ON f.dir = d.id WHERE (d.path = ?1 OR (d.path >= ?2 AND d.path < ?3))"
            f" AND (f.here OR f.gone) AND f.rule IS NOT {_OF_SENDS} GROUP BY f.dir, f.name"
        )
        rows = self._store.execute(sql, at_or_below(directory))
        return [f"{os.fsdecode(above)}/{os.fsdecode(name)}" for above, name in rows]

    def history(self, path: str) -> list[File]:
        """All versions of a path, oldest first."""
        directory, name = os.path.split(path)
        where = "d.path = ? AND f.name = ? ORDER BY f.generation"
        return read(self._store, where, (os.fsencode(directory), os.fsencode(name)))

    def first_sweep(self, rule: str, watch: str) -> float | None:
        """When the first whole sweep of a rule's directory ended; None: it has not."""
        row = self._store.execute("SELECT swept, swept_at FROM rules WHERE name = ?", (rule,)).fetchone()
        return row[1] if row is not None and row[0] == os.fsencode(watch) else None

    def ignored_of(self, dataset: int) -> list[File]:
        """The ignored files of a dataset that has others, too: they are delivered with those."""
        others = "SELECT 1 FROM files g WHERE g.dataset = ?1 AND g.state NOT IN ('ignored', 'superseded', 'vanished')"
        return read(self._store, f"f.dataset = ?1 AND f.state = 'ignored' AND EXISTS ({others})", (dataset,))

    def due(self, now: float, limit: int) -> list[File]:
        """Candidates that are to be looked at by now, longest waiting first: before all others those that wait for time alone.

        The others wait for something to happen, and may be very many: what is new, or was woken, does not wait for them.
        """
        new = read(self._store, "f.again <= ? AND f.reason IS NULL ORDER BY f.again LIMIT ?", (now, limit))
        others = "f.again <= ? AND f.reason IS NOT NULL ORDER BY f.again LIMIT ?"
        return new + (read(self._store, others, (now, limit - len(new))) if len(new) < limit else [])

    def batched(self, files: Sequence[int]) -> set[int]:
        """Those of the files that are still on their way in a batch."""
        marks, values = among(files)
        sql = f"SELECT id FROM files WHERE id IN ({marks}) AND state = 'batched'"
        return {row[0] for row in self._store.execute(sql, values)}

    def destinations_of(self, file: int) -> tuple[list[str], list[str]]:
        """Destinations of a file's batch: where its version is proved, and where it is not."""
        sql = (
            "SELECT n.name, EXISTS (SELECT 1 FROM copies c WHERE c.file = f.id AND c.destination = d.destination"
            " AND c.proved_at IS NOT NULL) FROM files f JOIN deliveries d ON d.batch = f.batch"
            f" AND d.state NOT IN ({listed(CAME_LATER)}) JOIN destinations n ON n.id = d.destination WHERE f.id = ? ORDER BY n.name"
        )
        rows = self._store.execute(sql, (file,)).fetchall()
        return [name for name, proved in rows if proved], [name for name, proved in rows if not proved]

    def next_due(self) -> float | None:
        """When the next candidate is to be looked at."""
        found: float | None = self._store.execute("SELECT min(again) FROM files WHERE again IS NOT NULL").fetchone()[0]
        return found

    def next_rested(self) -> float | None:
        """When the next candidate that only waits for time is to be looked at: not for a writer, marker or person."""
        sql = "SELECT min(again) FROM files WHERE again IS NOT NULL AND reason IS NULL"
        found: float | None = self._store.execute(sql).fetchone()[0]
        return found

    def quiet_until(self, since: float) -> float | None:
        """When the last candidate is to be looked at that only waits for time, and has not changed since then."""
        sql = "SELECT max(again) FROM files WHERE again IS NOT NULL AND reason IS NULL AND since <= ?"
        found: float | None = self._store.execute(sql, (since,)).fetchone()[0]
        return found

    def former(self, file: File) -> Former | None:
        """The version that a candidate replaced; None: none was complete, or the name was seen away since."""
        sql = (
            "SELECT f.state = 'superseded' AND f.batch IS NOT NULL, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.since,"
            " c.checksum, c.size, c.algorithm, m.rewritten FROM files m"
            " JOIN files f ON f.dir = m.dir AND f.name = m.name AND f.rule = m.rule AND f.generation < m.generation"
            " LEFT JOIN copies c ON c.file = f.id AND c.proved_at IS NOT NULL AND c.algorithm <> ?"
            " WHERE m.id = ? ORDER BY f.generation DESC LIMIT 1"
        )
        row = self._store.execute(sql, (STAT, file.id)).fetchone()
        if row is None or not row[0]:
            return None
        content = None if row[6] is None else Content(row[6], row[7])
        return Former(Version._make(row[1:5]), row[5], content, row[8], bool(row[9]))

    # Transitions

    def found(self, items: Sequence[Found]) -> None:
        """Each became a candidate, of this generation, or of the next one that no version sent by hand has."""
        self._store.executemany(
            "INSERT INTO files (dir, name, generation, rule, state, size, mtime_ns, ctime_ns, device, inode, seen_at, since, again,"
            " dataset, rewritten)"
            " VALUES (?1, ?2, max(?3, 1 + coalesce((SELECT max(generation) FROM files WHERE dir = ?1 AND name = ?2), 0)),"
            " ?4, 'candidate', ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
            f" ?3 > 1 AND (?14 OR coalesce({PROVED.format(what='?5 < g.size', dir='?1', name='?2')}, 0)))",
            (
                (
                    item.dir,
                    os.fsencode(item.path.rpartition("/")[2]),
                    item.generation,
                    self.rule(item.rule),
                    seen.version.size,
                    seen.version.mtime_ns,
                    seen.version.ctime_ns,
                    seen.volume,
                    seen.version.file_id,
                    item.seen_at,
                    item.seen_at,
                    item.again,
                    item.dataset,
                    item.rewritten,
                )
                for item in items
                for seen in (item.seen,)
            ),
        )
        if items:
            self._count((self.rule(one.rule), one.dataset, one.dir, one.seen.version.size) for one in items)
        self._store.tell(Transition(item.rule, "candidate", item.path, size=item.seen.version.size) for item in items)

    def changed(self, file: int, adoption: Adoption, now: float, again: float) -> None:
        """The candidate has a new reading: its quiet period begins again.

        Where a destination has the version that it was, that version keeps its row and its evidence. Where the reading is
        of another file, and a destination may have a copy of any version of the former one, the former one is gone.
        """
        seen, another = adoption.seen, adoption.replaced
        if not adoption.same_file and not another and self._store.execute(_HAS_COPIES, (file,)).fetchone()[0]:
            (known,) = read(self._store, "f.id = ?", (file,))
            reason = f"{adoption.reason}, and it was not delivered before"
            self.vanished([(known.id, known.rule, known.path, reason)], now)
            self._next(known, seen, now, again)
            return
        if self._store.execute(_HAS_EVIDENCE, (file,)).fetchone()[0]:
            (known,) = read(self._store, "f.id = ?", (file,))
            self._renewed(known, seen, "it changed before it was at every destination", now, again, rewritten=another)
            return
        version = seen.version
        self._store.execute(
            "UPDATE files SET size = ?1, mtime_ns = ?, ctime_ns = ?, inode = ?, device = ?, since = ?, again = ?,"
            " rewritten = rewritten OR ?9"
            f" OR coalesce({PROVED.format(what='?1 < g.size', dir='files.dir', name='files.name')}, 0),"
            " reason = NULL WHERE id = ?8 AND state = 'candidate'",
            (version.size, version.mtime_ns, version.ctime_ns, version.file_id, seen.volume, now, again, file, another),
        )

    def restamped(self, file: int, seen: Observation, now: float) -> None:
        """The ctime of a verified file changed and nothing else: the age of its proof stays, and its content is to be compared."""
        reason = "only its ctime changed since its proof: its content is compared before the local copy is deleted"
        self._store.execute(
            "UPDATE files SET ctime_ns = ?, since = ?, restamped = 1, reason = ? WHERE id = ? AND state = 'verified'",
            (seen.version.ctime_ns, now, reason, file),
        )

    def still_ignored(self, file: int, seen: Observation) -> None:
        """The ctime of an ignored file changed and nothing else, as by a `chmod -R`: that does not make it newer."""
        self._store.execute(
            "UPDATE files SET ctime_ns = ?, restamped = 1 WHERE id = ? AND state = 'ignored'",
            (seen.version.ctime_ns, file),
        )

    def is_restamped(self, file: int) -> bool:
        """Whether the content of a version is still to be compared with its proof."""
        return bool(self._store.execute("SELECT restamped FROM files WHERE id = ?", (file,)).fetchone()[0])

    def has_evidence(self, file: int) -> bool:
        """Whether any destination is proved to have a version."""
        return bool(self._store.execute(_HAS_EVIDENCE, (file,)).fetchone()[0])

    def touched(self, file: int, seen: Observation, now: float, again: float) -> None:
        """The stamps of a refused file changed and nothing else: it is judged again, under the same number.

        Its rights may have been the reason. Where they were not, it is refused again, and nothing was delivered since.
        """
        (known,) = read(self._store, "f.id = ?", (file,))
        self._store.execute(
            "UPDATE files SET state = 'candidate', batch = NULL, mtime_ns = ?, ctime_ns = ?, since = ?, again = ?,"
            " reason = NULL WHERE id = ? AND state = 'refused'",
            (seen.version.mtime_ns, seen.version.ctime_ns, now, again, file),
        )
        self._store.tell(
            [Transition(known.rule, "candidate", known.path, "its rights, its owner or its content may have changed")]
        )

    def compared(self, files: Iterable[File]) -> None:
        """The content of these versions is what was proved."""
        self._store.executemany(
            "UPDATE files SET restamped = 0, reason = NULL WHERE id = ? AND ctime_ns = ? AND state = 'verified'",
            ((file.id, file.version.ctime_ns) for file in files),
        )

    def _renewed(
        self, file: File, seen: Observation, reason: str, now: float, again: float, *, rewritten: bool = False
    ) -> None:
        self.superseded([(file.id, file.rule, file.path, reason)], now)
        self._next(file, seen, now, again, rewritten=rewritten)

    def _next(self, file: File, seen: Observation, now: float, again: float, *, rewritten: bool = False) -> None:
        """The next generation of a file becomes a candidate."""
        directory, name = os.path.split(file.path)
        generation = self.known(directory, [name])[name].generation + 1
        number = self.directory(directory)
        self.found([Found(number, file.path, file.rule, seen, generation, now, again, file.dataset, rewritten)])

    def waits(self, items: Iterable[tuple[float, str | None, int]]) -> None:
        """Candidates go on waiting: (look again at, reason unless it is only time, id)."""
        self._store.executemany("UPDATE files SET again = ?, reason = ? WHERE id = ? AND state = 'candidate'", items)

    def woken(self, items: Iterable[tuple[str, str, str]], now: float) -> None:
        """Something came: look now at the candidates of a directory whose names lie in a range, (directory, first, beyond)."""
        self._store.executemany(
            "UPDATE files SET again = min(again, ?1), reason = NULL"
            " WHERE dir = (SELECT id FROM dirs WHERE path = ?2) AND name >= ?3 AND name < ?4"
            " AND state = 'candidate' AND again IS NOT NULL AND (again > ?1 OR reason IS NOT NULL)",
            (
                (now, os.fsencode(directory), os.fsencode(first), os.fsencode(beyond))
                for directory, first, beyond in items
            ),
        )

    def restarted(self, now: float) -> None:
        """The agent starts: readings of a former run are no observations of this one, so quiet periods begin again."""
        self._store.execute(
            "UPDATE files SET since = ?, again = min(again, ?), reason = NULL WHERE again IS NOT NULL", (now, now)
        )
        # The clock may have been ahead then.
        self._store.execute(
            "UPDATE batches SET first_at = min(first_at, ?1), last_at = min(last_at, ?1) WHERE sealed_at IS NULL",
            (now,),
        )

    def completed(self, items: Sequence[tuple[File, int, str]], now: float) -> None:
        """Each file became complete and joined a batch: (file, batch, reason)."""
        self._store.executemany(
            "UPDATE files SET state = 'complete', batch = ?, again = NULL, since = ?, reason = ?"
            " WHERE id = ? AND state = 'candidate'",
            ((batch, now, reason, file.id) for file, batch, reason in items),
        )
        self._store.tell(
            Transition(file.rule, "complete", file.path, reason, file.version.size) for file, _, reason in items
        )

    def mounted_again(self, root: str, before: VolumeId, after: VolumeId) -> None:
        """A file system at or below a watched directory has another identity since it was mounted again."""
        self._store.execute(
            "UPDATE files SET device = ?4 WHERE device = ?5 AND dir IN"
            " (SELECT id FROM dirs WHERE path = ?1 OR (path >= ?2 AND path < ?3))",
            (*at_or_below(root), after, before),
        )

    def refused(self, items: Sequence[tuple[int, str, str, str]]) -> None:
        """A person must act: (id, rule, path, reason with its hint)."""
        self._turned(items, State.REFUSED, None)

    def swept(self, rule: str, watch: str, now: float) -> None:
        """A whole sweep of a rule's directory ended: the first one is remembered."""
        self._store.execute(
            "UPDATE rules SET swept = ?1, swept_at = ?2 WHERE id = ?3 AND swept IS NOT ?1",
            (os.fsencode(watch), now, self.rule(rule)),
        )

    def ignored(self, items: Sequence[tuple[int, str, str, str]]) -> None:
        """They were there before the agent, and stay as they are: (id, rule, path, reason)."""
        self._turned(items, State.IGNORED, None)
        self._store.executemany("UPDATE files SET batch = NULL WHERE id = ?", ((one[0],) for one in items))

    def superseded(self, items: Sequence[tuple[int, str, str, str]], now: float) -> None:
        """A newer version of the path exists: (id, rule, path, reason)."""
        self._own_no_name(items)
        self._turned(items, State.SUPERSEDED, now)

    def vanished(self, items: Sequence[tuple[int, str, str, str]], now: float) -> None:
        """Gone before it was delivered: (id, rule, path, reason)."""
        self._own_no_name(items)
        self._turned(items, State.VANISHED, now)

    def removed(self, items: Sequence[tuple[int, str, str, str]], now: float) -> None:
        """A verified file was removed by somebody else: (id, rule, path, reason). The copies may be the only ones now."""
        self._turned(items, State.REMOVED, now)

    def found_in_flight(self, files: Sequence[int]) -> list[File]:
        """Those of these files that went away while they were copied are on their way again: they were read to their end."""
        marks, values = among(files)
        found = read(self._store, f"f.id IN ({marks}) AND f.state = 'vanished' AND f.batch IS NOT NULL", values)
        if found:
            self._store.executemany(
                "UPDATE files SET state = 'batched', ended_at = NULL, lasting = NULL, reason = NULL WHERE id = ?",
                ((file.id,) for file in found),
            )
        return found

    def lost_in_flight(self, files: Sequence[File], now: float) -> None:
        """These files are away: what is proved everywhere was removed, the others vanished."""
        rows: dict[bool, list[tuple[int, str, str, str]]] = {False: [], True: []}
        for file in files:
            proved, missing = self.destinations_of(file.id)
            reason = f"removed by somebody else while it was copied; {left_in_words(proved, missing)}"
            rows[bool(missing)].append((file.id, file.rule, file.path, reason))
        self.removed(rows[False], now)
        self.vanished(rows[True], now)

    def _own_no_name(self, items: Sequence[tuple[int, str, str, str]]) -> None:
        """Of refused files among these, no intent stands for a copy: what is under the name may be somebody else's.

        Where copies are written under their final names, any part of one may be there.
        """
        self._store.executemany(
            "DELETE FROM copies WHERE file = ? AND proved_at IS NULL"
            " AND destination IN (SELECT id FROM destinations WHERE in_place = 0)"
            " AND (SELECT state FROM files WHERE id = copies.file) = 'refused'",
            ((one[0],) for one in items),
        )

    def _turned(self, items: Sequence[tuple[int, str, str, str]], state: State, ended_at: float | None) -> None:
        self._store.executemany(
            f"UPDATE files SET state = ?, ended_at = ?2, lasting = CASE WHEN ?2 IS NOT NULL THEN {LASTING} END, again = NULL,"
            " reason = ? WHERE id = ?",
            ((state.value, ended_at, reason, ident) for ident, _, _, reason in items),
        )
        self._store.tell(Transition(rule, state.value, path, reason) for _, rule, path, reason in items)

    def put_back(self, files: Iterable[tuple[File, str]], now: float, at: int | None = None) -> None:
        """(file, reason): on its way it turned out to be gone, changed or to have a writer. It is a candidate once more.

        Where one destination has this version already, or may have it in a moment, the version keeps its row for the
        evidence and is superseded: the next generation becomes the candidate. Without that row, the copy would be nobody's.

        `at`: the destination that found it.
        """
        for file, reason in files:
            has_evidence = self._store.execute(_HAS_EVIDENCE, (file.id,)).fetchone()[0]
            if has_evidence or (at is not None and self._store.execute(_ON_ITS_WAY, (file.id, at)).fetchone()[0]):
                self._renewed(file, Observation(file.version, file.volume, Kind.FILE), reason, now, now)
                continue
            self._store.execute(
                "UPDATE files SET state = 'candidate', batch = NULL, since = ?, again = ?, reason = ?, rule = ?, dataset = ?"
                " WHERE id = ?",
                (now, now, reason, self.rule(file.rule), file.dataset, file.id),
            )
            self._store.tell([Transition(file.rule, "candidate", file.path, reason, file.version.size)])

    def retried(self, now: float) -> int:
        """A person acted: refused files are looked at again. Returns how many."""
        files = read(self._store, "f.state = 'refused'")
        # What was sent by hand is no candidate of a rule: it goes again as it is, by its own delivery if that has ended.
        ended = (
            f"state = 'refused' AND rule = {_OF_SENDS}"
            " AND batch IN (SELECT batch FROM deliveries WHERE state IN ('verified', 'refused'))"
        )
        self._store.execute(
            "UPDATE deliveries SET state = 'pending', again = ?, changed_at = ?"
            f" WHERE batch IN (SELECT batch FROM files WHERE {ended})",
            (now, now),
        )
        self._store.execute(
            f"UPDATE files SET state = 'batched', reason = NULL WHERE state = 'refused' AND rule = {_OF_SENDS}"
            " AND batch IN (SELECT batch FROM deliveries WHERE state = 'pending')"
        )
        self._store.execute(
            "UPDATE files SET state = 'candidate', batch = NULL, since = ?, again = ?, reason = NULL WHERE state = 'refused'"
            f" AND rule IS NOT {_OF_SENDS}",
            (now, now),
        )
        self._store.tell(
            Transition(file.rule, "batched" if file.rule == SENT else "candidate", file.path, "retried")
            for file in files
        )
        return len(files)
