"""Batches on their way to destinations, and the evidence that comes of it."""

import json
import os
import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from agent.ledger.destinations import Destinations
from agent.ledger.history import History
from agent.ledger.states import CAME_LATER, UNFINISHED, UNPROVED, DeliveryState, State, listed
from agent.ledger.store import Store, Transition, among
from agent.ledger.summaries import Summaries
from agent.ledger.versions import File, read, without_copies
from rules.model import STAT, Content, Evidence, counted, proof_in_words
from rules.naming import Owner, name_key, stat_content
from rules.paths import Paths


@dataclass(frozen=True, slots=True)
class Delivery:
    """One batch to one destination."""

    id: int
    batch: int
    rule: str
    state: DeliveryState
    attempt: int
    files: int
    size: int
    """Files and bytes of the batch."""
    submission: int | None = None
    """The last request that it was in, with others of its rule; None: it was in none."""
    kept: int = False
    """Whether that request is kept, as long as it may have to be sent again: see `Deliveries.request`."""
    task: str | None = None
    """What the destination calls that request."""

    @property
    def failures(self) -> int:
        """How often it failed in a row: one that could not even be asked for has no attempt."""
        return max(self.attempt, 1) if self.state is DeliveryState.FAILED else 0

    @property
    def resumed(self) -> bool:
        """Whether the destination may have the request, and no answer came, or nobody knows of it any more."""
        begun = DeliveryState.SUBMITTING, DeliveryState.ACTIVE, DeliveryState.VERIFYING
        return bool(self.kept) and self.state in begun


class Aside(NamedTuple):
    """The former copy at the path where a file goes may have another name already."""

    path: str
    aside: str
    """The other name."""
    content: Content
    """Of the former copy."""
    rewritten: bool
    """The file does not go on from it, whatever its first bytes are."""


class Proof(NamedTuple):
    """One file arrived: what is to be recorded."""

    file: File
    path: str
    content: Content
    """What is there: evidence only where its size is the version's."""
    algorithm: str
    how: str
    """`accepted`: travelled now. `adopted`: the same content was there already."""
    mount: str | None = None
    """The last directory on the way to it where another file system begins; None: there is none."""
    aside: str | None = None
    """Where the former copy at the path stands now; None: what the path had has been replaced, if it had anything."""


def _raw(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def _content(checksum: bytes, size: int, in_place: int, mtime_ns: int) -> Content:
    """What stands for the content of a copy, as its destination tells of it."""
    return Content(stat_content(size, mtime_ns) if in_place else checksum, size)


_TOGETHER = 500
"""Paths in one statement."""
_SELECT = (
    "SELECT d.id, d.batch, r.name, d.state, d.attempt, b.files, b.bytes, d.submission, s.request IS NOT NULL, s.task"
    " FROM deliveries d JOIN batches b ON b.id = d.batch JOIN rules r ON r.id = b.rule"
    " LEFT JOIN submissions s ON s.id = d.submission"
)


def _deliveries(rows: Iterable[tuple[Any, ...]]) -> list[Delivery]:
    return [Delivery(number, batch, rule, DeliveryState(state), *rest) for number, batch, rule, state, *rest in rows]


class Deliveries:
    """Rows of `deliveries` and `copies`. Past-tense methods are transitions, for use in a transaction."""

    def __init__(self, store: Store, destinations: Destinations, history: History, summaries: Summaries) -> None:
        self._store = store
        self._destinations = destinations
        self._history = history
        self._summaries = summaries

    # What is to be done

    def due(self, destination: int, now: float, limit: int, most: int = 2**63 - 1, *, least: int = 0) -> list[Delivery]:
        """Deliveries to try by now, of batches with `least` to `most` bytes, oldest first."""
        sql = f"{_SELECT} WHERE d.destination = ? AND d.again <= ? AND b.bytes BETWEEN ? AND ? ORDER BY d.again, d.id LIMIT ?"
        return _deliveries(self._store.execute(sql, (destination, now, least, most, limit)))

    def resumed_with(self, delivery: Delivery) -> list[Delivery]:
        """The deliveries, itself among them, that share its request, which may have been sent and is due again."""
        sql = f"{_SELECT} WHERE d.submission = ? AND d.again IS NOT NULL AND d.under_way ORDER BY d.id"
        return _deliveries(self._store.execute(sql, (delivery.submission,)))

    def request(self, delivery: Delivery) -> bytes:
        """The request of a resumed delivery, which it may share with many."""
        sql = "SELECT request FROM submissions WHERE id = ?"
        found: bytes = self._store.execute(sql, (delivery.submission,)).fetchone()[0]
        return found

    def next_due(self, destination: int) -> float | None:
        """When the next delivery is to be tried."""
        sql = "SELECT min(again) FROM deliveries WHERE destination = ? AND again IS NOT NULL"
        found: float | None = self._store.execute(sql, (destination,)).fetchone()[0]
        return found

    def closing(self, destination: int) -> bool:
        """Whether a closing batch waits there for the other files of its dataset."""
        sql = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE destination = ? AND state = 'pending' AND again IS NULL)"
        return bool(self._store.execute(sql, (destination,)).fetchone()[0])

    def followed(self, destination: int, now: float) -> int:
        """Closing batches are due whose datasets have no other file left to arrive there. Returns how many still wait.

        A refused file holds them back, and so does one that waits to be complete: the delivery's reason names it.
        """
        sql = (
            "SELECT d.id, b.closes, d.reason FROM deliveries d JOIN batches b ON b.id = d.batch"
            " WHERE d.destination = ? AND d.state = 'pending' AND d.again IS NULL"
        )
        waiting = 0
        for number, dataset, known in self._store.execute(sql, (destination,)).fetchall():
            before = self._before_closing(dataset, destination)
            waiting += before is not None
            if before is None or before != known:
                self._store.execute(
                    "UPDATE deliveries SET again = ?, reason = ? WHERE id = ?",
                    (now if before is None else None, before or None, number),
                )
        return waiting

    def _before_closing(self, dataset: int, destination: int) -> str | None:
        """What a dataset's markers wait for at a destination: a reason, "" for files on their way, None for nothing."""
        sql = (
            "SELECT f.state, d.path, f.name, f.reason FROM files f JOIN dirs d ON d.id = f.dir"
            " WHERE f.dataset = ?1 AND f.state = ?3"
            " AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.id = f.batch AND b.closes IS NOT NULL)"
            " AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.file = f.id AND c.destination = ?2 AND c.proved_at IS NOT NULL)"
            f" AND NOT EXISTS (SELECT 1 FROM deliveries v WHERE v.batch = f.batch AND v.destination = ?2"
            f" AND v.state IN ({listed(CAME_LATER)})) LIMIT 1"
        )
        for state in (State.REFUSED, *UNPROVED):  # first what names a file
            row = self._store.execute(sql, (dataset, destination, state)).fetchone()
            if row is None:
                continue
            if state not in (State.REFUSED, State.CANDIDATE):
                return ""
            path = f"{os.fsdecode(row[1])}/{os.fsdecode(row[2])}"
            why = f"{path} is {row[0]}" + (f": {row[3]}" if row[3] else "")
            return f"the markers of its dataset wait: {why}; `dropline complete` sends them without it"
        return None

    def closing_of(self, dataset: int) -> bool:
        """Whether markers of a dataset wait for its other files."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM batches b JOIN deliveries d ON d.batch = b.id AND d.state = 'pending'"
            " AND d.again IS NULL WHERE b.closes = ?)"
        )
        return bool(self._store.execute(sql, (dataset,)).fetchone()[0])

    def closed(self, dataset: int, now: float) -> None:
        """A person said that a dataset is complete: its markers wait for nothing more."""
        self._store.execute(
            "UPDATE deliveries SET again = ?, reason = NULL WHERE state = 'pending' AND again IS NULL"
            " AND batch IN (SELECT id FROM batches WHERE closes = ?)",
            (now, dataset),
        )

    def interrupted(self, destination: int, now: float) -> int:
        """Deliveries that a former run left under way, or failed, are due at once. Returns how many.

        So are those that wait for a time to come because the clock was ahead then.
        """
        # As the partial indexes have them.
        which = ("under_way AND (state <> 'pending' OR again > ?1)", "again IS NOT NULL AND state = 'failed'")
        with self._store.transaction():
            return sum(
                self._store.execute(
                    f"UPDATE deliveries SET again = ?1 WHERE destination = ?2 AND {states}", (now, destination)
                ).rowcount
                for states in which
            )

    def not_proved(self, delivery: Delivery, destination: int) -> list[File]:
        """The files of the delivery's batch that still have to get there."""
        where = (
            "f.batch = ? AND f.state = 'batched' AND NOT EXISTS (SELECT 1 FROM copies c"
            " WHERE c.file = f.id AND c.destination = ? AND c.proved_at IS NOT NULL) ORDER BY f.id"
        )
        return read(self._store, where, (delivery.batch, destination))

    def intents(self, delivery: Delivery, destination: int) -> dict[int, str]:
        """Where files of the delivery's batch, not proved yet, were last meant to go: file → path."""
        sql = (
            "SELECT c.file, c.path FROM copies c JOIN files f ON f.id = c.file"
            " WHERE f.batch = ? AND f.state = 'batched' AND c.destination = ? AND c.proved_at IS NULL"
        )
        rows = self._store.execute(sql, (delivery.batch, destination))
        return {file: os.fsdecode(path) for file, path in rows}

    def sent(self, files: Iterable[int], destination: int) -> dict[int, str]:
        """file → path where any part of a file, not proved yet, may be: a service took a request for it, of whatever batch."""
        sql = "SELECT path FROM copies WHERE file = ? AND destination = ? AND proved_at IS NULL AND sent"
        rows = ((file, self._store.execute(sql, (file, destination)).fetchone()) for file in files)
        return {file: os.fsdecode(row[0]) for file, row in rows if row}

    def templates(self, batch: int) -> dict[int, str | None]:
        """What the paths of a batch were rendered from, at each destination that it waits for; None: they were not."""
        sql = f"SELECT destination, template FROM deliveries WHERE batch = ? AND state IN ({listed(UNFINISHED)})"
        return dict(self._store.execute(sql, (batch,)))

    def paths(self, delivery: int) -> Paths | None:
        """The paths of a delivery's files; None: they were not rendered."""
        (text,) = self._store.execute("SELECT paths FROM deliveries WHERE id = ?", (delivery,)).fetchone()
        if text is None:
            return None
        root, others = json.loads(text)
        return Paths(root, {int(file): path for file, path in others.items()})

    def of_dataset(self, dataset: int, destination: int) -> list[tuple[int, list[File]]]:
        """Deliveries to a destination that have files of a dataset on their way, and these files."""
        sql = (
            "SELECT id, batch FROM deliveries WHERE destination = ? AND batch IN"
            " (SELECT batch FROM files WHERE dataset = ? AND state = 'batched')"
        )
        rows = self._store.execute(sql, (destination, dataset)).fetchall()
        of_batch = "f.batch = ? AND f.dataset = ? AND f.state = 'batched'"
        return [(number, read(self._store, of_batch, (batch, dataset))) for number, batch in rows]

    def taken(self, destination: int, paths: Sequence[str], dataset: int) -> bool:
        """Whether another file has, or had, one of these names there: of no local path that is one of the dataset's."""
        for start in range(0, len(paths), _TOGETHER):
            marks, keys = among([name_key(path) for path in paths[start : start + _TOGETHER]])
            sql = (
                f"SELECT EXISTS (SELECT 1 FROM copies c JOIN files f ON f.id = c.file WHERE c.path_key IN ({marks})"
                " AND c.destination = ? AND f.dataset IS NOT ?"
                " AND NOT EXISTS (SELECT 1 FROM files m WHERE m.dir = f.dir AND m.name = f.name AND m.dataset = ?))"
            )
            if self._store.execute(sql, (*keys, destination, dataset, dataset)).fetchone()[0]:
                return True
        return False

    def leftovers(self, delivery: Delivery, destination: int) -> list[tuple[int, str]]:
        """(file, path) of intents that nobody will carry out: their files left the batch before they were proved."""
        sql = (
            "SELECT c.file, c.path FROM copies c JOIN files f ON f.id = c.file"
            " WHERE f.batch = ? AND f.state <> 'batched' AND c.destination = ? AND c.proved_at IS NULL"
        )
        rows = self._store.execute(sql, (delivery.batch, destination))
        return [(file, os.fsdecode(path)) for file, path in rows]

    def former_copy(self, destination: int, file: File) -> tuple[str, Content] | None:
        """(path, content) of the last copy of an earlier generation that changed in place since: it may be replaced."""
        sql = (
            "SELECT c.path, c.checksum, c.size, n.in_place, f.mtime_ns FROM files m"
            " JOIN files f ON f.dir = m.dir AND f.name = m.name"
            " JOIN copies c ON c.file = f.id AND c.destination = ? AND c.proved_at IS NOT NULL"
            " JOIN destinations n ON n.id = c.destination"
            " WHERE m.id = ? AND f.generation < m.generation AND NOT EXISTS (SELECT 1 FROM files g WHERE g.dir = f.dir"
            "  AND g.name = f.name AND g.generation BETWEEN f.generation AND m.generation AND (g.gone OR g.state = 'vanished'))"
            " ORDER BY f.generation DESC LIMIT 1"
        )
        row = self._store.execute(sql, (destination, file.id)).fetchone()
        return (os.fsdecode(row[0]), _content(*row[1:])) if row else None

    def same_size_copies(self, destination: int, file: File) -> list[str]:
        """Paths of copies of earlier generations that have its size, the newest first: it may be one of those, back again."""
        sql = (
            "SELECT c.path FROM files m JOIN files f ON f.dir = m.dir AND f.name = m.name AND f.size = m.size"
            " JOIN copies c ON c.file = f.id AND c.destination = ? AND c.proved_at IS NOT NULL"
            " WHERE m.id = ? AND f.generation < m.generation ORDER BY f.generation DESC"
        )
        rows = self._store.execute(sql, (destination, file.id))
        return list(dict.fromkeys(os.fsdecode(path) for (path,) in rows))

    def rewritten(self, file: File, since: int) -> bool:
        """Whether a version after the generation `since`, up to this one, is another file than the one before it, or was seen
        smaller than what was proved.
        """
        sql = (
            "SELECT EXISTS (SELECT 1 FROM files m JOIN files g ON g.dir = m.dir AND g.name = m.name"
            " AND g.generation > ? AND g.generation <= m.generation WHERE m.id = ? AND g.rewritten)"
        )
        return bool(self._store.execute(sql, (since, file.id)).fetchone()[0])

    def asides(self, delivery: Delivery, destination: int) -> dict[int, Aside]:
        """Files of the delivery's batch whose former copies an earlier attempt may have renamed."""
        sql = (
            "SELECT f.generation, m.id, i.path, i.aside, EXISTS (SELECT 1 FROM files g WHERE g.dir = m.dir AND g.name = m.name"
            "  AND g.generation > f.generation AND g.generation <= m.generation AND g.rewritten),"
            " c.checksum, c.size, n.in_place, f.mtime_ns FROM files m"
            # CROSS JOIN keeps the order: from one batch to its files to their copies, never through all copies.
            " CROSS JOIN copies i ON i.file = m.id AND i.destination = ?2 AND i.aside IS NOT NULL"
            " CROSS JOIN files f ON f.dir = m.dir AND f.name = m.name AND f.generation < m.generation"
            " CROSS JOIN copies c ON c.file = f.id AND c.destination = ?2 AND c.path = i.path AND c.proved_at IS NOT NULL"
            " CROSS JOIN destinations n ON n.id = c.destination WHERE m.batch = ?1 AND m.state = 'batched'"
        )
        rows = sorted(self._store.execute(sql, (delivery.batch, destination)).fetchall())
        return {
            file: Aside(os.fsdecode(path), os.fsdecode(aside), _content(*rest), bool(rewritten))
            for _, file, path, aside, rewritten, *rest in rows
        }

    def owners(self, destination: int, path: str, file: File) -> list[Owner]:
        """The other files of ours that have, or had, this name at the destination (or one that it may take for the same)."""
        sql = (
            "SELECT f.dir = m.dir AND f.name = m.name, f.state, c.checksum, c.proved_at IS NOT NULL, c.path,"
            " EXISTS (SELECT 1 FROM files g WHERE g.dir = f.dir AND g.name = f.name"
            "   AND g.generation BETWEEN f.generation AND m.generation AND (g.gone OR g.state = 'vanished')), d.path, f.name,"
            " f.generation, c.size, n.in_place, f.mtime_ns"
            " FROM copies c JOIN files f ON f.id = c.file JOIN dirs d ON d.id = f.dir"
            " JOIN destinations n ON n.id = c.destination, files m"
            " WHERE m.id = ? AND c.destination = ? AND c.path_key = ? AND c.file <> m.id"
        )
        rows = self._store.execute(sql, (file.id, destination, name_key(path)))
        return [
            Owner(
                source=posixpath.join(os.fsdecode(row[6]), os.fsdecode(row[7])),
                same_source=bool(row[0]),
                gone=bool(row[5]),
                content=_content(row[2], *row[9:]) if row[3] else None,
                path=os.fsdecode(row[4]),
                in_place=bool(row[10]),
                generation=row[8],
            )
            for row in rows
        ]

    def busy(self, destination: int, path: str, file: int) -> bool:
        """Whether another file is on its way to this name, by a delivery that has not ended."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM copies c JOIN files f ON f.id = c.file"
            " JOIN deliveries d ON d.batch = f.batch AND d.destination = c.destination"
            "  AND d.state IN ('submitting', 'active', 'verifying')"
            " WHERE c.destination = ? AND c.path_key = ? AND c.file <> ? AND c.proved_at IS NULL)"
        )
        return bool(self._store.execute(sql, (destination, name_key(path), file)).fetchone()[0])

    def evidence(self, file: int) -> list[tuple[Evidence, str, str]]:
        """(evidence, destination's address, path there) of a version."""
        sql = (
            "SELECT n.name, c.checksum, c.algorithm, c.proved_at, c.size, c.mount, n.address, c.path FROM copies c"
            " JOIN destinations n ON n.id = c.destination WHERE c.file = ? AND c.proved_at IS NOT NULL"
        )
        found = []
        for name, checksum, algorithm, proved_at, size, mount, address, path in self._store.execute(sql, (file,)):
            where = None if mount is None else os.fsdecode(mount)
            found.append((Evidence(name, checksum, algorithm, proved_at, size, where), address, os.fsdecode(path)))
        return found

    def mounts(self, destination: int) -> list[str]:
        """Directories at a destination where another file system began when copies were proved there."""
        rows = self._store.execute("SELECT path FROM mounts WHERE destination = ?", (destination,))
        return [os.fsdecode(path) for (path,) in rows]

    # Transitions

    def rendered(self, batch: int, destination: int, template: str, paths: Paths) -> None:
        """The paths of a batch's files at the destination, made of this template. As text, any file name is ASCII."""
        self._store.execute(
            "UPDATE deliveries SET template = ?, paths = ? WHERE batch = ? AND destination = ?",
            (template, json.dumps([paths.root, paths.others]), batch, destination),
        )

    def planned(self, destination: int, items: Iterable[tuple[int, str]]) -> None:
        """(file, path): the intent to write there."""
        self._store.executemany(
            "INSERT INTO copies (file, destination, path, path_key) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET sent = sent AND path = excluded.path, path = excluded.path,"
            " path_key = excluded.path_key WHERE proved_at IS NULL",
            ((file, destination, os.fsencode(path), name_key(path)) for file, path in items),
        )

    def setting_aside(self, destination: int, items: Iterable[tuple[int, str]]) -> None:
        """(file, aside): the former copy at the path where the file is meant to go may be renamed to `aside` first."""
        self._store.executemany(
            "UPDATE copies SET aside = ? WHERE file = ? AND destination = ? AND proved_at IS NULL",
            ((os.fsencode(aside), file, destination) for file, aside in items),
        )

    def submitting(
        self, deliveries: Sequence[Delivery], request: bytes, now: float, submission: int | None = None
    ) -> int:
        """The request for these deliveries is frozen and about to be sent: `submission`, or a new one. Returns its number."""
        if submission is None:
            submission = self._store.execute("INSERT INTO submissions (request) VALUES (?)", (request,)).lastrowid
            assert submission is not None, "SQLite numbers what is inserted"
        self._store.executemany(
            "UPDATE deliveries SET state = 'submitting', again = NULL, reason = NULL, changed_at = ?, attempt = attempt + 1,"
            " submission = ? WHERE id = ?",
            ((now, submission, delivery.id) for delivery in deliveries),
        )
        return submission

    def submitted(self, submission: int, task: str, now: float) -> None:
        """The destination took this request, and calls it `task`."""
        self._store.execute("UPDATE submissions SET task = ? WHERE id = ?", (task, submission))
        self._store.execute(
            "UPDATE deliveries SET state = 'active', changed_at = ? WHERE submission = ? AND under_way AND state = 'submitting'",
            (now, submission),
        )

    def began(
        self, deliveries: Sequence[Delivery], task: str, now: float, destination: int, files: Iterable[int]
    ) -> None:
        """A service carries them out, and writes these files. Kept beside the last task, because evidence comes of it."""
        self._store.executemany(
            "UPDATE copies SET sent = 1 WHERE file = ? AND destination = ? AND proved_at IS NULL",
            ((file, destination) for file in files),
        )
        self._store.executemany(
            "INSERT OR IGNORE INTO tasks VALUES (?, ?, ?)", ((delivery.id, task, now) for delivery in deliveries)
        )

    def unanswered(self, deliveries: Sequence[Delivery], reason: str, now: float, again: float) -> None:
        """They may have been taken, though no answer came: the very same request will be sent again."""
        self._changed(deliveries, "state = 'submitting', again = ?2, reason = ?3, changed_at = ?4", again, reason, now)

    def held_up(self, deliveries: Sequence[Delivery], reason: str | None) -> None:
        """What keeps them from going on, for a person to read; None: nothing any more."""
        self._changed(deliveries, "reason = ?2", reason)

    def failed(self, deliveries: Sequence[Delivery], reason: str, now: float, again: float) -> None:
        """They will be tried again, with another request."""
        self._changed(deliveries, "state = 'failed', again = ?2, reason = ?3, changed_at = ?4", again, reason, now)
        self.forget_requests(delivery.batch for delivery in deliveries)

    def forget_requests(self, batches: Iterable[int]) -> None:
        """Of requests for deliveries of these batches, those that need not be sent again."""
        self._store.executemany(
            "UPDATE submissions SET request = NULL WHERE id IN (SELECT submission FROM deliveries WHERE batch = ?)"
            " AND NOT EXISTS (SELECT 1 FROM deliveries d"
            " WHERE d.submission = submissions.id AND d.under_way AND d.state <> 'pending')",
            ((batch,) for batch in batches),
        )

    def _changed(self, deliveries: Sequence[Delivery], what: str, *values: object) -> None:
        sql = f"UPDATE deliveries SET {what} WHERE id = ?1"
        self._store.executemany(sql, ((delivery.id, *values) for delivery in deliveries))

    def proved(self, destination: int, name: str, items: Sequence[Proof], now: float) -> None:
        """These files are at the destination; those that are now at every destination of their batch are verified.

        A file that became another version is passed over: what arrived is no evidence for what it is now, nor
        is content of another size than the version's.
        """
        versions = self._versions([item.file.id for item in items])
        items = [
            item for item in items
            if versions[item.file.id] == item.file.version and item.content.size == item.file.version.size
        ]  # fmt: skip
        for weak in (False, True):
            self._summaries.proved(
                [item.file.id for item in items if (item.algorithm == STAT) is weak], destination, weak=weak
            )
        self._store.executemany(
            "UPDATE copies SET checksum = ?, size = ?, algorithm = ?, proved_at = ?, mount = ?, aside = NULL"
            " WHERE file = ? AND destination = ?",
            ((*item.content, item.algorithm, now, _raw(item.mount), item.file.id, destination) for item in items),
        )
        for item in items:
            if item.file.generation > 1:
                self._replaced(destination, item)
        mounts = {item.mount for item in items if item.mount is not None}
        self._store.executemany(
            "INSERT OR IGNORE INTO mounts VALUES (?, ?)", ((destination, os.fsencode(path)) for path in mounts)
        )
        self._store.tell(
            Transition(
                item.file.rule, "proved", item.file.path, f"{proof_in_words(item.algorithm, item.content.checksum)} at {item.path}",
                item.file.version.size, name, now - item.file.since, item.how,
            )
            for item in items
        )  # fmt: skip
        self.verified([item.file for item in items], now)
        if items:
            self._destinations.proved(destination, now)

    def _replaced(self, destination: int, item: Proof) -> None:
        """Earlier versions with other content have no copy at the path any more: it was renamed, or written over."""
        sql = (
            "SELECT c.file FROM files m JOIN files f ON f.dir = m.dir AND f.name = m.name AND f.generation < m.generation"
            " JOIN copies c ON c.file = f.id AND c.destination = ?1 AND c.path = ?2 AND c.proved_at IS NOT NULL"
            " JOIN copies k ON k.file = m.id AND k.destination = ?1 AND k.algorithm = c.algorithm"
            " WHERE m.id = ?3 AND NOT f.gone AND (k.checksum <> c.checksum OR k.size <> c.size)"
        )
        former = self._store.execute(sql, (destination, os.fsencode(item.path), item.file.id)).fetchall()
        if item.aside is not None:
            self._store.executemany(
                "UPDATE copies SET path = ?, path_key = ? WHERE file = ? AND destination = ?",
                ((os.fsencode(item.aside), name_key(item.aside), file, destination) for (file,) in former),
            )
            return
        without_copies(self._store, [(file, destination) for (file,) in former])

    def verified(self, files: Sequence[File], now: float) -> None:
        """Those of the files that are at every destination of their batch are verified."""
        everywhere = self._everywhere([file.id for file in files])
        done = [file for file in files if file.id in everywhere]
        if done:
            self._summaries.verified([file.id for file in done])
        self._store.executemany(
            "UPDATE files SET state = 'verified', reason = NULL WHERE id = ?", ((file.id,) for file in done)
        )
        if done:
            self._history.verified(len(done), sum(counted(file.version.size) for file in done), now)
        self._store.tell(Transition(file.rule, "verified", file.path, size=file.version.size) for file in done)

    def _versions(self, files: Sequence[int]) -> dict[int, tuple[int, ...]]:
        marks, values = among(files)
        sql = f"SELECT id, size, mtime_ns, ctime_ns, inode FROM files WHERE id IN ({marks})"
        return {row[0]: row[1:] for row in self._store.execute(sql, values)}

    def _everywhere(self, files: Sequence[int]) -> set[int]:
        """Those whose version is still the batched one, with evidence from every delivery of its batch."""
        marks, values = among(files)
        sql = (
            f"SELECT f.id FROM files f WHERE f.id IN ({marks}) AND f.state = 'batched'"
            f" AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.batch = f.batch AND d.state NOT IN ({listed(CAME_LATER)})"
            " AND NOT EXISTS"
            " (SELECT 1 FROM copies c WHERE c.file = f.id AND c.destination = d.destination AND c.proved_at IS NOT NULL))"
        )
        return {row[0] for row in self._store.execute(sql, values)}

    def disproved(self, file: File, destination: str) -> None:
        """The destination was asked again and has not got what was proved: the evidence counts no more."""
        self._store.execute(
            "UPDATE copies SET proved_at = NULL, checksum = NULL, size = NULL, algorithm = NULL, reread_at = NULL WHERE file = ?"
            " AND destination IN (SELECT id FROM destinations WHERE name = ?)",
            (file.id, destination),
        )
        # Where an intent says that any part of the file may be there, it must not: that file is somebody else's work.
        self._store.execute(
            "DELETE FROM copies WHERE file = ? AND proved_at IS NULL"
            " AND destination IN (SELECT id FROM destinations WHERE name = ? AND in_place = 1)",
            (file.id, destination),
        )

    def finished(self, deliveries: Sequence[Delivery], now: float) -> list[int]:
        """Every file of these batches has its verdict at this destination. Returns the batches that thereby are verified."""
        # CROSS JOIN keeps the order: from one batch to its files to their copies, never through all copies.
        self._store.executemany(
            "UPDATE deliveries SET again = NULL, reason = NULL, changed_at = ?1, state = CASE WHEN"
            " EXISTS (SELECT 1 FROM files f WHERE f.batch = deliveries.batch AND f.state = 'refused')"
            " AND NOT EXISTS (SELECT 1 FROM files f CROSS JOIN copies c ON c.file = f.id"
            "  AND c.destination = deliveries.destination AND c.proved_at IS NOT NULL WHERE f.batch = deliveries.batch)"
            " THEN 'refused' ELSE 'verified' END WHERE id = ?2",
            ((now, delivery.id) for delivery in deliveries),
        )
        self.forget_requests(delivery.batch for delivery in deliveries)
        return self.ended(dict.fromkeys(delivery.batch for delivery in deliveries), now)

    def ended(self, batches: Iterable[int], now: float) -> list[int]:
        """Those batches whose deliveries have all ended are verified: they are returned."""
        sql = (
            "UPDATE batches SET verified_at = ?2, reclaim_at = ?2 WHERE id = ?1 AND verified_at IS NULL"
            f" AND NOT EXISTS (SELECT 1 FROM deliveries WHERE batch = ?1 AND state IN ({listed(UNFINISHED)}))"
        )
        ended = [batch for batch in batches if self._store.execute(sql, (batch, now)).rowcount]
        self._store.executemany(
            "UPDATE deliveries SET template = NULL, paths = NULL WHERE batch = ?", ((batch,) for batch in ended)
        )
        return ended

    def retried(self, now: float) -> int:
        """A person asks: failed deliveries are tried at once. Returns how many."""
        sql = "UPDATE deliveries SET again = ? WHERE state = 'failed' OR (state = 'submitting' AND again IS NOT NULL)"
        return self._store.execute(sql, (now,)).rowcount
