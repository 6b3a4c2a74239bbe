"""The SQLite file: connections, layout, transactions."""

import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, NamedTuple
from urllib.parse import quote

from agent.errors import LedgerDamaged, LedgerError, Refused
from agent.host import own_files
from agent.host.bulkhead import Bulkhead
from agent.host.lock import require_own

APPLICATION = 0x44726F70
"""The `application_id` of every ledger, "Drop": the file is a ledger, and not the database of another program."""
LAYOUT = 37
"""The `user_version` of a ledger with the tables of schema.sql. Raised with each change of them."""
_EMPTY = (
    "an empty ledger adopts by checksum what is at the destinations, and has no record of pauses (pause again), of transfers"
    " under way, of which share is the right one (see that it is mounted), and of files in the trash (look into"
    " .dropline-trash in each watched directory)"
)
"""What a person must know who moves a ledger away: ends the hint."""
MEMORY = ":memory:"
"""Instead of a path: a ledger that is gone when its connection closes."""
_TIMEOUT = 30.0
"""Seconds to wait for other connections."""


class Transition(NamedTuple):
    """Something that became true: one row, one log line, one counter."""

    rule: str
    event: str
    path: str
    reason: str = ""
    size: int = 0
    destination: str = ""
    """Set where the event is about one destination."""
    seconds: float | None = None
    """From complete to proved, on `proved`."""
    how: str = ""
    """`accepted` or `adopted`, on `proved`."""


Announce = Callable[[Sequence[Transition]], None]


def silent(transitions: Sequence[Transition]) -> None:
    """For readers, who change nothing."""


def unreadable(ledger: str, error: sqlite3.DatabaseError | UnicodeDecodeError) -> Refused:
    """It is no ledger, or a damaged one."""
    hint = f"move it away, with its -wal and -shm; the agent then starts an empty ledger: {_EMPTY}"
    return Refused(f"{ledger} cannot be read: {error}", hint)


_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises. It quotes damaged names in its own words, which then cannot be decoded."""


def _translated(ledger: str, error: sqlite3.Error | UnicodeDecodeError) -> Exception:
    """What SQLite says of the ledger itself, as LedgerError. What it says of a value or a constraint stays what it is."""
    if isinstance(error, sqlite3.OperationalError):
        return LedgerError(f"ledger {ledger}: {error}")
    if isinstance(error, UnicodeDecodeError) or type(error) is sqlite3.DatabaseError:
        return LedgerDamaged(str(unreadable(f"ledger {ledger}", error)))
    return error


class _Cursor(sqlite3.Cursor):
    """An answer is read row by row, long after its question was put: each step may find that the ledger cannot be read."""

    def __init__(self, connection: sqlite3.Connection, ledger: str) -> None:
        super().__init__(connection)
        self._ledger = ledger

    def execute(self, sql: str, values: Any = ()) -> "_Cursor":
        try:
            return super().execute(sql, values)
        except _ERRORS as error:
            raise _translated(self._ledger, error) from error

    def executemany(self, sql: str, rows: Iterable[Any]) -> "_Cursor":
        try:
            return super().executemany(sql, rows)
        except _ERRORS as error:
            raise _translated(self._ledger, error) from error

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except _ERRORS as error:
            raise _translated(self._ledger, error) from error

    def fetchone(self) -> Any:
        """The next row; None at the end."""
        return next(self, None)

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        return list(self)


def _stored(value: Any) -> Any:
    """The ledger's text is UTF-8, and file names, which reasons quote, may be anything: what is no UTF-8 is spelt out."""
    return value.encode("utf-8", "backslashreplace").decode() if type(value) is str and not value.isascii() else value


def _private(path: str) -> None:
    """Make the file, for its owner alone, where it is absent: SQLite gives its companions the same mode.

    A file that is there is not opened: closing it would give up locks that this process holds. Raises Refused.
    """
    if own_files.is_link(path):
        raise Refused(
            f"ledger {path} is a link", "move the ledger itself there, or set [agent] state_dir to where it is"
        )
    try:
        own_files.create(path).close()
    except OSError:
        pass  # it is there, or SQLite says why it cannot be


def among(values: Sequence[object]) -> tuple[str, list[object]]:
    """What stands in the parentheses of an `IN`, and its values.

    NULLs, which equal nothing, make their number a power of two: so SQLite has few statements to prepare and to keep.
    """
    number = 1 << max(len(values) - 1, 0).bit_length()
    return ", ".join("?" * number), [*values, *[None] * (number - len(values))]


class Store:
    """One connection to the ledger. Each thread has its own."""

    def __init__(self, path: str, announce: Announce = silent, *, read_only: bool = False) -> None:
        """Open or create the ledger; `read_only`: open it, and let nothing be written by this connection.

        Raises LedgerError where that cannot be done now, and Refused where the file is not a ledger, is damaged, or has
        another layout: it is not changed then.
        """
        self.path = path
        self._announce = announce
        self._pending: list[Transition] = []
        self._announcements = Bulkhead[list[Transition]]("announcements, such as of", lambda told: told[0].path)
        self._undone: list[Callable[[], None]] = []
        self.numbers: dict[tuple[object, ...], int] = {}
        """Of rows that the transaction under way found or entered, by what they are. After it, others may delete them."""
        try:
            if path != MEMORY:
                require_own(PurePath(path))
            if path != MEMORY and not read_only:
                _private(path)
            where = f"file:{quote(os.fsencode(path))}?mode=ro" if read_only else path
            self._db = sqlite3.connect(
                where, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False, uri=read_only
            )
            try:
                is_empty = not self._has_layout()  # before anything is written to a file of somebody else
                if not read_only:
                    self._use_wal()
                # A megabyte of log, not SQLite's four: on a disk that was full, it would take the room that became free.
                for pragma in (
                    "synchronous = FULL",
                    "foreign_keys = ON",
                    "cache_size = -8000",
                    "wal_autocheckpoint = 256",
                ):
                    self._db.execute(f"PRAGMA {pragma}")
                if is_empty:
                    self._create()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.OperationalError as error:
            raise _translated(path, error) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise unreadable(f"ledger {path}", error) from error

    def _use_wal(self) -> None:
        """Write ahead, as the file remembers from its first connection on. Here SQLite does not wait for others."""
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _has_layout(self) -> bool:
        """Whether the tables are those of schema.sql; False: the file is empty. Raises Refused where it is anything else."""
        self._db.execute("BEGIN")  # one view of all three, while another connection may be creating the tables
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (layout,) = self._db.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in self._db.execute("SELECT CAST(name AS BLOB) FROM sqlite_schema")}
        self._db.execute("COMMIT")
        if (application, layout) == (APPLICATION, LAYOUT):
            return True
        if (application, layout, tables) == (0, 0, set()):
            return False
        # Before layout 10 a ledger had no application_id, but it had this table.
        if application != APPLICATION and b"delivery_tally" not in tables:
            hint = "set [agent] state_dir to a directory that no other program uses; move the file away only if nobody needs it"
            raise Refused(f"{self.path} is the database of another program, not a ledger", hint)
        way = "upgrade this one" if layout > LAYOUT else "go on with that version"
        raise Refused(
            f"ledger {self.path} has layout {layout}, and this version of dropline knows layout {LAYOUT} only",
            f"another version wrote it: {way}; or let that version run until nothing is under way or in the trash, stop it, and"
            f" move the ledger away, with its -wal and -shm: {_EMPTY}",
        )

    def _create(self) -> None:
        """Make the tables, and the agent's key with them."""
        schema = own_files.resource("agent.ledger", "schema.sql").decode()
        # executescript commits on its own, so all is one script with its own transaction.
        try:
            self._db.executescript(
                f"BEGIN IMMEDIATE;\n{schema}\nINSERT INTO meta VALUES ('agent', '{uuid.uuid4().hex}');"
                f"PRAGMA application_id = {APPLICATION};PRAGMA user_version = {LAYOUT};COMMIT;"
            )
        except sqlite3.OperationalError:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if not self._has_layout():  # else another connection was faster
                raise

    def on_rollback(self, forget: Callable[[], None]) -> None:
        """Call `forget` whenever a transaction or a part of it is undone: for those who remember what it wrote."""
        self._undone.append(forget)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; what was announced inside is passed on after the commit. Raises LedgerError where SQLite cannot."""
        self.execute("BEGIN IMMEDIATE")
        self.numbers.clear()
        with self._undone_by("ROLLBACK"):
            yield
            self._commit()
        told, self._pending = self._pending, []
        for one in self._announcements.each([told] if told else ()):
            with one:
                self._announce(told)  # it is committed: nobody may take an error for its failure

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of a transaction: where it is left by an exception, what was written and announced in it is undone."""
        self.execute("SAVEPOINT part")
        with self._undone_by("ROLLBACK TO part", "RELEASE part"):
            yield
            self.execute("RELEASE part")

    @contextmanager
    def _undone_by(self, *statements: str) -> Iterator[None]:
        announced = len(self._pending)
        try:
            yield
        except BaseException:
            del self._pending[announced:]
            self.numbers.clear()
            for forget in self._undone:
                forget()
            if self._db.in_transaction:  # else SQLite undid it all, as for a full disk
                for statement in statements:
                    self.execute(statement)
            raise

    def _commit(self) -> None:
        self.execute("COMMIT")

    def tell(self, transitions: Iterable[Transition]) -> None:
        """Announce these after the commit of the transaction under way."""
        self._pending.extend(transitions)

    def execute(self, sql: str, values: Iterable[Any] = ()) -> sqlite3.Cursor:
        """Run one statement. Raises LedgerError, as the answer does while it is read."""
        return _Cursor(self._db, self.path).execute(sql, tuple(map(_stored, values)))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for many rows. Raises LedgerError."""
        _Cursor(self._db, self.path).executemany(sql, (tuple(map(_stored, row)) for row in rows))

    @property
    def key(self) -> str:
        """The agent's key. Nobody else knows it, so nobody can foretell names that are made of it."""
        return self.meta("agent") or ""

    @property
    def agent(self) -> str:
        """The agent's id, for people, services and its own names: the beginning of its key."""
        return self.key[:12]

    def meta(self, key: str) -> str | None:
        """A one-off fact."""
        row = self.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def set_meta(self, key: str, value: str | None) -> None:
        """Record a one-off fact, or forget it."""
        with self.transaction():
            self.execute("DELETE FROM meta WHERE key = ?", (key,))
            if value is not None:
                self.execute("INSERT INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the connection."""
        self._db.close()
