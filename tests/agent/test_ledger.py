"""The ledger: real SQLite files, the methods that change them, and the questions they answer."""

import hashlib
import itertools
import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib.resources import files as resources
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.errors import LedgerDamaged, LedgerError, Refused
from agent.ledger import (
    GONE,
    HERE,
    UNPROVED,
    Delivery,
    DeliveryState,
    File,
    Found,
    Intent,
    Known,
    Ledger,
    Proof,
    Sealed,
    State,
    Transition,
)
from agent.ledger.links import Link
from agent.ledger.states import listed
from agent.ledger.store import APPLICATION, LAYOUT, among
from agent.ledger.versions import read
from rules.model import Content, Evidence, FileId, Kind, Observation, OpenBatch, Version, VolumeId, counted
from rules.naming import Owner, stat_content
from rules.paths import Paths
from rules.versions.identity import Adoption

ODD = os.fsdecode(b"\xff\xfe \xe9\n")
VOLUME = VolumeId(42)


class Undo(Exception):
    """Raised in a transaction so that it is undone."""


def undone(ledger: Ledger, change: Callable[[], object]) -> None:
    """Make a change in a transaction that is undone."""
    try:
        with ledger.transaction():
            change()
            raise Undo  # noqa: TRY301  (this is what the function is for)
    except Undo:
        pass  # as it should be


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the ledger is."""
    return str(tmp_path / "ledger.sqlite")


@pytest.fixture
def told() -> list[Transition]:
    """All that the ledger announced."""
    return []


@pytest.fixture
def ledger(path: str, told: list[Transition]) -> Iterator[Ledger]:
    """An empty ledger."""
    opened = Ledger(path, told.extend)
    yield opened
    opened.close()


# Helpers that play the agent's part


def seen(size: int = 10, inode: int = 1, at: int = 0) -> Observation:
    return Observation(Version(size, 10**18 + at, 10**18 + at, FileId(inode)), VOLUME, Kind.FILE)


def find(ledger: Ledger, path: str, seen_: Observation | None = None, rule_: str = "tomo", now: float = 1.0) -> File:
    """A new version of a path becomes a candidate."""
    directory, name = os.path.split(path)
    with ledger.transaction():
        known = ledger.files.known(directory, [name]).get(name)
        if known is not None and known.state in HERE:
            ledger.files.superseded([(known.id, known.rule, path, "a newer version of the file is here")], now)
        generation = 1 if known is None else known.generation + 1
        found = Found(ledger.files.directory(directory), path, rule_, seen_ or seen(), generation, now, now)
        ledger.files.found([found])
    return ledger.files.history(path)[-1]


def fresh(ledger: Ledger, file: File) -> File:
    """The row as it is now."""
    return next(one for one in ledger.files.history(file.path) if one.id == file.id)


def seal(ledger: Ledger, files: Sequence[File], *places: int, now: float = 2.0) -> int:
    """The files become complete and a sealed batch. Returns its number."""
    with ledger.transaction():
        batch = ledger.batches.opened(files[0].rule, "key", now)
        ledger.files.completed([(file, batch, "quiet") for file in files], now)
        size = sum(counted(file.version.size) for file in files)
        ledger.batches.joined(batch, OpenBatch("key", len(files), size, now, now))
        ledger.batches.sealed([Sealed(batch, files[0].rule, "the group is full", places)], now)
    return batch


def prove(ledger: Ledger, place: int, file: File, path: str, checksum: bytes = b"c", now: float = 3.0) -> File:
    """The file arrived."""
    with ledger.transaction():
        ledger.deliveries.planned(place, [(file.id, path)])
        ledger.deliveries.proved(
            place,
            "share",
            [Proof(fresh(ledger, file), path, Content(checksum, file.version.size), "sha256", "accepted")],
            now,
        )
    return fresh(ledger, file)


def deliver(ledger: Ledger, place: int, file: File, path: str, checksum: bytes = b"c") -> File:
    """The file was sealed alone, and arrived."""
    seal(ledger, [file], place)
    return prove(ledger, place, file, path, checksum)


def intent(file: File, purge_at: float = 4.0) -> Intent:
    root, name = os.path.split(file.path)
    return Intent(file, root, name, f".dropline-reclaim-{file.id}", purge_at, "proved everywhere")


def reclaim(ledger: Ledger, file: File) -> None:
    with ledger.transaction():
        ledger.reclaims.intended([intent(file)])
    with ledger.transaction():
        ledger.reclaims.reclaimed([intent(file)], 9.0)


_KEY = "f.rule, f.dataset IS NOT NULL, coalesce(f.dataset, f.dir)"
_BYTES = "sum((f.state IN ({0})) * f.size)"


def summaries(ledger: Ledger) -> list[list[tuple[object, ...]]]:
    """What is kept of holdings, their copies and what is not proved in a directory; without what counts nothing."""
    return [
        ledger.execute(sql).fetchall()
        for sql in (
            "SELECT rule, whole, place, waiting, waiting_bytes, verified, verified_bytes, reclaimed, reclaimed_bytes,"
            " removed, removed_bytes, refused, refused_bytes, vanished, ignored, ignored_bytes"
            " FROM summaries"
            " WHERE waiting <> 0 OR verified <> 0 OR reclaimed <> 0 OR removed <> 0 OR refused <> 0 OR vanished <> 0"
            " OR ignored <> 0 OR ignored_bytes <> 0"
            " OR waiting_bytes <> 0 OR verified_bytes <> 0"
            " OR reclaimed_bytes <> 0 OR removed_bytes <> 0 OR refused_bytes <> 0 ORDER BY 1, 2, 3",
            "SELECT h.rule, h.whole, h.place, c.destination, c.here, c.weak, c.gone FROM summary_copies c"
            " JOIN summaries h ON h.id = c.summary WHERE c.here <> 0 OR c.weak <> 0 OR c.gone <> 0 ORDER BY 1, 2, 3, 4",
            "SELECT id, unproved FROM dirs ORDER BY id",
        )
    ]


def recounted(ledger: Ledger) -> list[list[tuple[object, ...]]]:
    """The same, counted again."""
    here, gone = f"f.state IN ({listed(HERE)})", f"f.state IN ({listed(GONE)})"
    counts = ", ".join(
        f"sum(f.state IN ({listed(states)})), {_BYTES.format(listed(states))}"
        for states in (UNPROVED, [State.VERIFIED], GONE[:2], [State.REMOVED], [State.REFUSED])
    )
    ignored = f"sum(f.state = 'ignored'), {_BYTES.format(listed([State.IGNORED]))}"
    return [
        ledger.execute(sql).fetchall()
        for sql in (
            f"SELECT {_KEY}, {counts}, sum(f.state = 'vanished'), {ignored} FROM files f WHERE f.state <> 'superseded'"  # noqa: S608  (constants)
            f" GROUP BY {_KEY} ORDER BY 1, 2, 3",
            f"SELECT {_KEY}, c.destination, sum({here}), sum({here} AND c.algorithm = 'stat'), sum({gone})"  # noqa: S608
            " FROM files f JOIN copies c ON c.file = f.id AND c.proved_at IS NOT NULL"
            " WHERE f.state NOT IN ('superseded', 'vanished')"
            f" GROUP BY {_KEY}, c.destination ORDER BY 1, 2, 3, 4",
            "SELECT id, (SELECT count(*) FROM files f WHERE f.dir = dirs.id"
            " AND f.state IN ('candidate', 'complete', 'batched', 'refused', 'ignored')) FROM dirs ORDER BY id",
        )
    ]


def test_statements_call_states_by_their_names() -> None:
    """No statement compares a state with a number, or with a name that no state has: it would find nothing, silently."""
    room = resources("agent.ledger")
    text = "\n".join(one.read_text("utf-8") for one in room.iterdir() if one.name.endswith((".py", ".sql")))
    compared = re.findall(r"\bstate (?:=|<>|(?:NOT )?IN|THEN) \(?('\w+'(?:, '\w+')*|\d+)", text)
    named = [name for names in compared for name in names.split(", ")]
    assert len(named) > 60
    assert {name.strip("'") for name in named} <= {state.value for state in (*State, *DeliveryState)}
    assert re.findall(r"\bstate *(?:[<>]=?|BETWEEN) *\(?[\w?]", text) == []


def dump(ledger: Ledger) -> list[str]:
    """All rows of all tables."""
    tables = [row[0] for row in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    rows = {table: sorted(map(repr, ledger.execute(f"SELECT * FROM {table}"))) for table in tables}  # noqa: S608  (names of its own)
    return [f"{table}: {row}" for table in tables for row in rows[table]]


# The file


def test_a_new_ledger_has_the_tables_of_the_schema(path: str, ledger: Ledger) -> None:
    """A new file says that it is a ledger and which layout it has, and only its owner may read it."""
    assert ledger.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
    assert ledger.execute("PRAGMA user_version").fetchone() == (LAYOUT,)
    assert ledger.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert ledger.execute("PRAGMA foreign_key_check").fetchall() == []
    plain = [
        row[0] for row in ledger.execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict")
    ]
    assert sorted(plain) == ["sqlite_schema", "sqlite_sequence"]  # SQLite's own
    assert {stat.S_IMODE(os.stat(path + end).st_mode) for end in ("", "-wal", "-shm")} == {0o600}


def test_other_tables_are_another_layout() -> None:
    """LAYOUT goes up with each change of schema.sql: else a ledger is opened whose tables are others than the code expects.

    After a change: raise LAYOUT, and write the new digest here. Comments and spaces do not count.
    """
    schema = resources("agent.ledger").joinpath("schema.sql").read_text("utf-8")
    statements = " ".join(re.sub(r"--.*", "", schema).split())
    assert (LAYOUT, hashlib.sha256(statements.encode()).hexdigest()[:16]) == (37, "a414c3c077e4c9ac")


def test_a_ledger_that_is_only_read_is_not_written(tmp_path: Path) -> None:
    """Nor made; it shows what others write into it meanwhile."""
    path = tmp_path / "odd ?#% \udcff.sqlite"
    with pytest.raises(LedgerError, match="unable to open"):
        Ledger(str(path), read_only=True)
    assert list(tmp_path.iterdir()) == []
    path.touch(0o600)
    with pytest.raises(LedgerError, match="readonly"):
        Ledger(str(path), read_only=True)
    assert path.stat().st_size == 0
    with closing(Ledger(str(path))) as written, closing(Ledger(str(path), read_only=True)) as known:
        written.set_meta("x", "1")
        assert (known.meta("x"), known.agent) == ("1", written.agent)
        with pytest.raises(LedgerError, match="readonly"):
            known.set_meta("x", "2")


def test_a_row_refers_to_rows_that_exist(ledger: Ledger) -> None:
    """A number of a directory that is not there, as after an undone transaction, is an error and not somebody else's file."""
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"), ledger.transaction():
        ledger.files.found([Found(7, "/data/scan.dat", "tomo", seen(), 1, 1.0, 1.0)])
    assert ledger.files.history("/data/scan.dat") == []


def test_commits_are_durable(ledger: Ledger) -> None:
    """The write-ahead log is synced at each commit: what was announced survives a power failure."""
    assert ledger.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert ledger.execute("PRAGMA synchronous").fetchone() == (2,)


def test_opening_again_changes_nothing(path: str, ledger: Ledger) -> None:
    """What was written is there after opening again, and the agent keeps its id."""
    file = find(ledger, f"/data/{ODD}/scan.dat")
    before = dump(ledger)
    ledger.close()
    again = Ledger(path)
    try:
        assert dump(again) == before
        assert again.files.history(file.path) == [file]
        agent = again.meta("agent")
        assert agent is not None
        assert len(agent) == 32
    finally:
        again.close()


def test_a_ledger_is_made_whole_or_not_at_all(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while the tables are made leaves an empty file, which is made a ledger later; none is without the agent's id."""

    class Killed(sqlite3.Connection):
        def executescript(self, script: str) -> sqlite3.Cursor:
            super().executescript(script.removesuffix("COMMIT;"))
            self.close()
            raise Undo

    with monkeypatch.context() as patched:
        patched.setattr("agent.ledger.store.sqlite3.connect", Killed)
        with pytest.raises(Undo):
            Ledger(path)
    plain = sqlite3.connect(path)
    assert plain.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    plain.close()
    again = Ledger(path)
    try:
        assert again.meta("agent")
    finally:
        again.close()


def test_an_empty_file_becomes_a_ledger(path: str) -> None:
    """A file without a byte, as a kill leaves it, has nothing in it that could be lost."""
    Path(path).touch()
    opened = Ledger(path)
    try:
        assert opened.execute("PRAGMA user_version").fetchone() == (LAYOUT,)
    finally:
        opened.close()


def test_many_open_a_new_ledger_at_once(path: str) -> None:
    """Processes that come upon an absent ledger at the same moment all get the same one."""
    start = threading.Barrier(6)
    found: list[str | None] = []

    def open_it() -> None:
        start.wait()
        opened = Ledger(path)
        found.append(opened.meta("agent"))
        opened.close()

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert found[0] is not None


@pytest.mark.parametrize(
    ("application", "layout", "way"),
    [
        (APPLICATION, LAYOUT + 1, "upgrade this one"),
        (APPLICATION, LAYOUT - 1, "go on with that version"),
        (0, 9, "go on with that version"),  # as ledgers were before they had an application_id
    ],
)
def test_a_ledger_of_another_layout_is_refused(
    path: str, ledger: Ledger, application: int, layout: int, way: str
) -> None:
    """It is not touched; a person is told which file, which layouts, what to do, and what an empty ledger does not know."""
    file = find(ledger, "/data/scan.dat")
    ledger.pauses.paused("reclaim")
    ledger.execute(f"PRAGMA application_id = {application}")
    ledger.execute(f"PRAGMA user_version = {layout}")
    before = dump(ledger)
    with pytest.raises(Refused) as refused:
        Ledger(path)
    assert (
        refused.value.reason
        == f"ledger {path} has layout {layout}, and this version of dropline knows layout {LAYOUT} only"
    )
    for word in (
        way,
        "move the ledger away",
        "adopts by checksum",
        "pauses",
        ".dropline-trash",
        "under way",
        "which share",
    ):
        assert word in refused.value.hint
    assert dump(ledger) == before
    assert ledger.files.history(file.path) == [file]
    assert ledger.execute("PRAGMA application_id").fetchone() == (application,)
    assert ledger.execute("PRAGMA user_version").fetchone() == (layout,)


@pytest.mark.parametrize(
    "made", ["CREATE TABLE theirs (x)", "PRAGMA application_id = 252006673", "PRAGMA user_version = 3"]
)
def test_a_database_of_another_program_is_refused(path: str, made: str) -> None:
    """Not a byte of it changes, not even the way that it is journaled, and nothing appears beside it."""
    theirs = sqlite3.connect(path)
    theirs.execute(made)
    theirs.commit()
    theirs.close()
    before = Path(path).read_bytes()
    with pytest.raises(Refused, match="database of another program") as refused:
        Ledger(path)
    assert path in refused.value.reason
    assert "state_dir" in refused.value.hint
    assert Path(path).read_bytes() == before
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_ledger_is_refused(path: str, content: bytes) -> None:
    """A file that is no ledger is not touched, and the person is told that it can be moved away without losing data."""
    Path(path).write_bytes(content)
    with pytest.raises(Refused, match=path) as refused:
        Ledger(path)
    assert "move it away" in refused.value.hint
    assert "adopts" in refused.value.hint
    assert Path(path).read_bytes() == content


def test_half_a_ledger_is_refused(path: str, ledger: Ledger) -> None:
    """A ledger that was cut off, as by a full disk under a copy, is refused when it is opened, not when it is used."""
    with ledger.transaction():
        directory = ledger.files.directory("/data")
        ledger.files.found([Found(directory, f"/data/{n:0100}", "tomo", seen(), 1, 1.0, 1.0) for n in range(500)])
    ledger.close()
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(Refused, match="malformed"):
        Ledger(path)


def test_a_ledger_that_cannot_be_opened_now_may_be_later(tmp_path: Path) -> None:
    """A missing directory is no damage: tried again."""
    with pytest.raises(LedgerError, match="unable to open"):
        Ledger(str(tmp_path / "missing/ledger.sqlite"))


def test_a_refused_ledger_leaves_no_descriptor(path: str) -> None:
    """What could not be used is closed."""
    Path(path).write_bytes(b"not a database" * 1000)
    before = len(os.listdir("/proc/self/fd"))
    kept = []
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            Ledger(path)
        kept.append(refused)  # and with it the frames that hold the connection
    assert len(os.listdir("/proc/self/fd")) == before


# Transactions


def test_what_happened_is_told_after_the_commit(path: str) -> None:
    """When a transition is announced, every other connection sees it already."""
    heard: list[tuple[str, int]] = []

    def announce(transitions: Sequence[Transition]) -> None:
        heard.extend((one.event, reader.execute("SELECT count(*) FROM files").fetchone()[0]) for one in transitions)

    ledger = Ledger(path, announce)
    reader = Ledger(path)
    try:
        with ledger.transaction():
            directory = ledger.files.directory("/data")
            ledger.files.found([Found(directory, f"/data/{n}", "tomo", seen(), 1, 1.0, 1.0) for n in range(2)])
            ledger.files.superseded([(1, "tomo", "/data/0", "newer")], 9.0)
            assert heard == []
        assert heard == [("candidate", 2), ("candidate", 2), ("superseded", 2)]
    finally:
        ledger.close()
        reader.close()


def test_what_did_not_happen_is_never_told(ledger: Ledger, told: list[Transition]) -> None:
    """After a rollback nothing is announced, then or later, and nothing has changed."""
    before = dump(ledger)

    def change() -> None:
        directory = ledger.files.directory("/data")
        ledger.files.found([Found(directory, "/data/scan.dat", "tomo", seen(), 1, 1.0, 1.0)])

    undone(ledger, change)
    assert (told, dump(ledger)) == ([], before)
    with ledger.transaction():
        pass
    assert told == []


def test_a_part_of_a_transaction_is_undone_alone(ledger: Ledger, told: list[Transition]) -> None:
    """What was written and announced in it is gone, and numbers that were given in it; the rest of the transaction stays."""

    def enter(name: str) -> None:
        number = ledger.files.directory(f"/data/{name}")
        ledger.files.found([Found(number, f"/data/{name}/x", name, seen(), 1, 1.0, 1.0)])

    with ledger.transaction():
        enter("one")
        for inner in ("fails", "fails alone"):
            try:
                with ledger.savepoint():
                    enter(f"two {inner}")
                    with ledger.savepoint():
                        enter(f"three {inner}")
                    raise Undo  # noqa: TRY301  (this is what the test is about)
            except Undo:
                pass  # as it should be
        with ledger.savepoint():
            enter("four")
    assert [one.path for one in told] == ["/data/one/x", "/data/four/x"]
    assert [path for (path,) in ledger.execute("SELECT path FROM dirs ORDER BY id")] == [b"/data/one", b"/data/four"]
    assert [name for (name,) in ledger.execute("SELECT name FROM rules WHERE name LIKE 't%'")] == []


def test_text_that_is_no_utf8_is_spelt_out(ledger: Ledger) -> None:
    """Reasons quote the names of files, which may be any bytes: in one statement, and in one for many rows."""
    for name in ("scan.dat", "b\xe4d.dat", "b\udcffd.dat"):
        file = find(ledger, f"/data/{name}")
        with ledger.transaction():
            ledger.files.refused([(file.id, file.rule, file.path, f"no {name} \ud800")])
    assert {file.reason for file in ledger.reports.files([State.REFUSED], 10)} == {
        r"no scan.dat \ud800", "no b\xe4d.dat" + r" \ud800", r"no b\udcffd.dat \ud800"
    }  # fmt: skip
    ledger.set_meta("key", "\udcff")
    assert ledger.meta("key") == r"\udcff"


@pytest.mark.parametrize("many", [False, True])
def test_what_is_wrong_with_a_value_is_no_error_of_the_ledger(ledger: Ledger, many: bool) -> None:
    """A number that is too large, a row that must not be: the caller's, who goes on with others."""
    run = (lambda sql, values: ledger.executemany(sql, [values])) if many else ledger.execute
    for values, error in (((2**63, b"x"), OverflowError), ((1, "text"), sqlite3.IntegrityError)):
        with pytest.raises(error), ledger.transaction():
            run("INSERT INTO dirs (id, path) VALUES (?, ?)", values)
    with pytest.raises(LedgerError, match=f"ledger {re.escape(ledger.path)}: no such table"):
        ledger.execute("SELECT * FROM missing")


def test_a_ledger_that_is_damaged_under_way_says_so_while_an_answer_is_read(path: str) -> None:
    """Row by row, long after the question: it is the ledger's trouble, with what a person can do."""
    ledger = Ledger(path)
    with ledger.transaction():
        for number in range(3000):
            ledger.files.directory(f"/data/{number:0500}")
    ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    ledger = Ledger(path)
    with open(path, "r+b") as file:
        file.seek(2**19)
        file.write(b"\xff" * 2**19)
    with pytest.raises(LedgerDamaged, match=r"malformed.*move it away"):
        ledger.execute("SELECT path FROM dirs NOT INDEXED ORDER BY id").fetchall()
    ledger.close()


def test_damaged_names_that_sqlite_quotes_are_the_ledgers_trouble(path: str) -> None:
    """They are no UTF-8, and Python cannot make an error of them: it says so of the ledger all the same, at any time."""
    ledger = Ledger(path)
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA writable_schema = ON")
    raw.execute("UPDATE sqlite_schema SET sql = 'CREATE TABEL x', name = CAST(x'ac61' AS TEXT) WHERE name = 'meta'")
    raw.execute("PRAGMA schema_version = 9999")
    raw.commit()
    raw.close()
    with pytest.raises(LedgerDamaged, match="move it away"):
        ledger.execute("SELECT path FROM dirs")
    with pytest.raises(LedgerDamaged, match="move it away"):
        ledger.executemany("INSERT INTO dirs (path) VALUES (?)", [[b"/data"]])
    ledger.close()
    with pytest.raises(Refused, match="move it away"):
        Ledger(path)


def test_numbers_of_an_undone_transaction_are_forgotten(ledger: Ledger) -> None:
    """Directories and rules that were entered in a transaction that was undone are entered anew, not confused with others."""
    undone(ledger, lambda: (ledger.files.directory("/data/one"), ledger.files.rule("one")))
    two = find(ledger, "/data/two/scan.dat", rule_="two")
    one = find(ledger, "/data/one/scan.dat", rule_="one")
    assert (one.path, one.rule, two.path, two.rule) == ("/data/one/scan.dat", "one", "/data/two/scan.dat", "two")
    assert ledger.files.history("/data/two/scan.dat") == [two]


def test_a_full_disk_undoes_and_may_pass(ledger: Ledger, told: list[Transition]) -> None:
    """Where SQLite runs out of space the whole transaction is undone, and can be done later."""
    (pages,) = ledger.execute("PRAGMA page_count").fetchone()
    ledger.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with ledger.transaction():
            directory = ledger.files.directory("/data")
            ledger.files.found([Found(directory, f"/data/{n:01000}", "tomo", seen(), 1, 1.0, 1.0) for n in range(100)])

    before = dump(ledger)
    with pytest.raises(LedgerError, match="full"):
        fill()
    assert (told, dump(ledger)) == ([], before)
    ledger.execute("PRAGMA max_page_count = 100000")
    fill()
    assert (len(told), len(ledger.files.known("/data"))) == (100, 100)


def test_a_locked_ledger_may_pass(path: str, ledger: Ledger) -> None:
    """Where another connection writes for too long, the transaction fails for now, and readers go on."""
    other = Ledger(path)
    try:
        other.execute("PRAGMA busy_timeout = 0")
        with ledger.transaction():
            ledger.files.directory("/data")
            with pytest.raises(LedgerError, match="locked"), other.transaction():
                pytest.fail("two write at once")
            assert other.reports.tally() == []
        with other.transaction():
            other.files.directory("/data")
    finally:
        other.close()


def test_one_off_facts_are_kept_and_forgotten(ledger: Ledger) -> None:
    """A fact is what was said last, or nothing."""
    assert ledger.meta("paused") is None
    ledger.set_meta("paused", "by me")
    ledger.set_meta("paused", "by you")
    assert ledger.meta("paused") == "by you"
    ledger.set_meta("paused", None)
    assert ledger.meta("paused") is None


# What is known


def test_names_of_any_bytes_come_back(ledger: Ledger) -> None:
    """Paths that are no UTF-8 come back byte for byte from every question."""
    directory = f"/data/{ODD}"
    file = find(ledger, f"{directory}/{ODD}.dat")
    place = ledger.destinations.place("share", "/mnt/share").id
    assert os.fsencode(file.path) == b"/data/\xff\xfe \xe9\n/\xff\xfe \xe9\n.dat"
    known = Known(file.id, State.CANDIDATE, file.version, VOLUME, 1, "tomo")
    assert ledger.files.known(directory) == {f"{ODD}.dat": known}
    assert ledger.files.known(directory, [f"{ODD}.dat", "other"]) == {f"{ODD}.dat": known}
    assert ledger.files.expected(directory, "", 10) == [(f"{ODD}.dat", known)]
    assert ledger.files.directories_below("/data") == [directory]
    assert ledger.files.history(file.path) == [file]
    assert ledger.files.due(1.0, 10) == [file]
    file = deliver(ledger, place, file, f"to/{ODD}", b"sum")
    assert ledger.deliveries.evidence(file.id) == [
        (Evidence("share", b"sum", "sha256", 3.0, 10), "/mnt/share", f"to/{ODD}")
    ]
    newer = find(ledger, file.path)
    assert ledger.deliveries.former_copy(place, newer) == (f"to/{ODD}", Content(b"sum", 10))
    assert ledger.deliveries.owners(place, f"to/{ODD}", newer) == [
        Owner(file.path, True, False, Content(b"sum", file.version.size), f"to/{ODD}", generation=1)
    ]
    with ledger.transaction():
        ledger.reclaims.intended([intent(newer)])
    assert ledger.reclaims.intents(4.0, 10) == [intent(fresh(ledger, newer))]
    with ledger.transaction():
        ledger.reports.left_unclaimed("/data", 1, f"/data/{ODD}")
    assert [(root, files) for root, files, _ in ledger.reports.unclaimed()] == [("/data", 1)]


def test_known_is_the_present_generation(ledger: Ledger) -> None:
    """Of each name the highest generation is known, in whatever state, and only of that very directory."""
    for path in ("/data/a", "/data/b", "/data/sub/c", "/data2/d"):
        find(ledger, path)
    second = find(ledger, "/data/a", seen(size=20))
    third = find(ledger, "/data/b", seen(size=30))
    with ledger.transaction():
        ledger.files.vanished([(third.id, "tomo", "/data/b", "gone")], 9.0)
    assert ledger.files.known("/data") == {
        "a": Known(second.id, State.CANDIDATE, second.version, VOLUME, 2, "tomo"),
        "b": Known(third.id, State.VANISHED, third.version, VOLUME, 2, "tomo"),
    }
    assert set(ledger.files.known("/data", ["b", "c"])) == {"b"}
    assert ledger.files.known("/data", []) == {}
    assert ledger.files.known("/nowhere") == {}


def test_expected_is_what_should_be_there(ledger: Ledger) -> None:
    """Names in the states that stand at their path come in the order of their bytes, a page at a time."""
    names = sorted((f"{number}" for number in range(25)), key=os.fsencode)
    place = ledger.destinations.place("share", "/mnt").id
    files = {name: find(ledger, f"/data/{name}") for name in names}
    deliver(ledger, place, files["1"], "1")
    seal(ledger, [files["2"]], place)
    with ledger.transaction():
        ledger.files.refused([(files["3"].id, "tomo", "/data/3", "no")])
        ledger.files.vanished([(files["4"].id, "tomo", "/data/4", "gone")], 9.0)
        ledger.files.removed([(files["5"].id, "tomo", "/data/5", "gone")], 9.0)
    reclaim(ledger, deliver(ledger, place, files["6"], "6"))
    with ledger.transaction():
        ledger.reclaims.intended([intent(deliver_later) for deliver_later in [files["7"]]])
    find(ledger, "/data/8", seen(size=8))
    found, after = [], ""
    while page := ledger.files.expected("/data", after, 4):
        assert len(page) <= 4
        after = page[-1][0]
        found += [(name, known.generation) for name, known in page]
    assert found == [(name, 2 if name == "8" else 1) for name in names if name not in ("4", "5", "6", "7")]


def test_history_is_all_versions(ledger: Ledger) -> None:
    """All versions of a path come oldest first, each with its state, reason and times."""
    first = find(ledger, "/data/scan.dat", seen(size=1), now=1.0)
    second = find(ledger, "/data/scan.dat", seen(size=2), now=5.0)
    find(ledger, "/data/scan.dat.old")
    assert ledger.files.history("/data/scan.dat") == [
        first._replace(state=State.SUPERSEDED, reason="a newer version of the file is here"),
        File(second.id, "/data/scan.dat", 2, "tomo", State.CANDIDATE, seen(2).version, VOLUME, 5.0, 5.0, None, None),
    ]
    assert ledger.files.history("/data/other") == []


def test_directories_below_hold_what_should_be_there(ledger: Ledger) -> None:
    """Directories at or below a path are told, not those whose names only begin alike, nor those with nothing to expect."""
    for directory in ("/data", "/data/a", "/data/a/b", "/data/z", "/data!", "/data0", "/data-x", "/datax", "/other"):
        find(ledger, f"{directory}/scan.dat")
    gone = find(ledger, "/data/gone/scan.dat")
    with ledger.transaction():
        ledger.files.vanished([(gone.id, "tomo", gone.path, "gone")], 9.0)
    assert sorted(ledger.files.directories_below("/data")) == ["/data", "/data/a", "/data/a/b", "/data/z"]
    assert ledger.files.directories_below("/data/a/b") == ["/data/a/b"]
    assert ledger.files.directories_below("/data/none") == []


def test_what_is_due(ledger: Ledger) -> None:
    """Candidates whose time has come are told, longest waiting first, but last those that wait for something to happen."""
    for name, again in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("d", 9.0)):
        find(ledger, f"/data/{name}", now=again)
    names = lambda files: [os.path.basename(file.path) for file in files]  # noqa: E731  (used in this test only)
    assert names(ledger.files.due(3.0, 10)) == ["a", "b", "c"]
    assert names(ledger.files.due(3.0, 2)) == ["a", "b"]
    assert ledger.files.next_due() == 1.0
    with ledger.transaction():
        ledger.files.waits([(5.0, "a writer", 2), (6.0, None, 3), (7.0, None, 1)])
    assert names(ledger.files.due(8.0, 10)) == ["b", "c", "a"]
    assert names(ledger.files.due(8.0, 2)) == ["b", "c"]
    assert (ledger.files.next_due(), ledger.files.next_rested()) == (5.0, 6.0)
    with ledger.transaction():
        ledger.files.woken([("/data", "", "\udcff")], 0.5)
    assert {(file.path, file.reason) for file in ledger.files.due(0.5, 10)} == {
        (f"/data/{name}", None) for name in "abcd"
    }
    with ledger.transaction():
        ledger.files.restarted(20.0)
    assert {(file.since, file.reason) for file in ledger.files.due(0.5, 10)} == {(20.0, None)}


# Who has a name


def test_owners_are_the_others_with_that_name(ledger: Ledger) -> None:
    """Other files that have, or had, or are meant to have a name at the destination are told with what is proved of them."""
    place, other = (ledger.destinations.place(name, "/mnt").id for name in ("share", "campus"))
    me = find(ledger, "/data/me.dat")
    seal(ledger, [me], place)
    assert ledger.deliveries.owners(place, "x/Scan.dat", me) == []
    proved = deliver(ledger, place, find(ledger, "/data/proved.dat"), "x/Scan.dat", b"1")
    meant = find(ledger, "/data/meant.dat")
    folded = deliver(ledger, place, find(ledger, "/data/folded.dat"), "x/scan.DAT", b"2")
    deliver(ledger, place, find(ledger, "/data/other.dat"), "x/scan2.dat", b"3")
    deliver(ledger, other, find(ledger, "/data/elsewhere.dat"), "x/Scan.dat", b"4")
    with ledger.transaction():
        ledger.deliveries.planned(place, [(meant.id, "x/Scan.dat"), (me.id, "x/Scan.dat")])
    assert sorted(ledger.deliveries.owners(place, "x/Scan.dat", me), key=lambda owner: owner.source) == [
        Owner(folded.path, False, False, Content(b"2", folded.version.size), "x/scan.DAT", generation=1),
        Owner(meant.path, False, False, None, "x/Scan.dat", generation=1),
        Owner(proved.path, False, False, Content(b"1", proved.version.size), "x/Scan.dat", generation=1),
    ]


def test_owners_know_names_that_a_destination_may_take_for_one(ledger: Ledger) -> None:
    """Names that differ only in case or in their Unicode form are told with the form that they have."""
    place = ledger.destinations.place("share", "/mnt").id
    deliver(ledger, place, find(ledger, "/data/a"), "Größe.dat", b"1")
    me = find(ledger, "/data/me")
    for path in ("Größe.dat", "GRÖSSE.DAT", "Gro\N{COMBINING DIAERESIS}ße.dat"):
        assert [owner.path for owner in ledger.deliveries.owners(place, path, me)] == ["Größe.dat"]
    assert ledger.deliveries.owners(place, "Grosse.dat", me) == []


@pytest.mark.parametrize("end", ["changed in place", "reclaimed", "reclaiming", "removed", "vanished later"])
def test_owners_know_whether_the_copy_may_be_the_only_one(ledger: Ledger, end: str) -> None:
    """An earlier generation counts as gone when it, or one since, was away from its path at any time."""
    place = ledger.destinations.place("share", "/mnt").id
    first = deliver(ledger, place, find(ledger, "/data/scan.dat"), "scan.dat", b"1")
    match end:
        case "reclaimed":
            reclaim(ledger, first)
        case "reclaiming":
            with ledger.transaction():
                ledger.reclaims.intended([intent(first)])
        case "removed":
            with ledger.transaction():
                ledger.files.removed([(first.id, "tomo", first.path, "by somebody")], 9.0)
        case "vanished later":
            second = find(ledger, "/data/scan.dat")
            with ledger.transaction():
                ledger.files.vanished([(second.id, "tomo", second.path, "gone")], 9.0)
    me = find(ledger, "/data/scan.dat")
    gone = end != "changed in place"
    assert ledger.deliveries.owners(place, "scan.dat", me) == [
        Owner(first.path, True, gone, Content(b"1", first.version.size), "scan.dat", generation=1)
    ]
    assert ledger.deliveries.former_copy(place, me) == (None if gone else ("scan.dat", Content(b"1", 10)))


def test_the_former_copy_is_the_last_one_proved_there(ledger: Ledger) -> None:
    """Of earlier generations that changed in place the last one proved at that destination may be replaced."""
    place, other = (ledger.destinations.place(name, "/mnt").id for name in ("share", "campus"))
    first = find(ledger, "/data/scan.dat")
    assert ledger.deliveries.former_copy(place, first) is None
    deliver(ledger, place, first, "scan.dat", b"1")
    second = find(ledger, "/data/scan.dat")
    deliver(ledger, place, second, "scan~2.dat", b"2")
    third = find(ledger, "/data/scan.dat")
    with ledger.transaction():
        ledger.deliveries.planned(place, [(third.id, "scan~3.dat")])  # meant, never proved
    fourth = find(ledger, "/data/scan.dat")
    assert ledger.deliveries.former_copy(place, fourth) == ("scan~2.dat", Content(b"2", 10))
    assert ledger.deliveries.former_copy(other, fourth) is None
    assert ledger.deliveries.former_copy(place, second) == ("scan.dat", Content(b"1", 10))
    other = find(ledger, "/data/other.dat")
    assert ledger.deliveries.former_copy(place, other) is None


@pytest.mark.parametrize("written_again", [False, True])
def test_an_attempt_that_was_interrupted_knows_whether_the_file_goes_on(ledger: Ledger, written_again: bool) -> None:
    """The next attempt keeps the former copy where the first one would have."""
    place = ledger.destinations.place("share", "/mnt").id
    deliver(ledger, place, find(ledger, "/data/scan.dat"), "scan.dat", b"1")
    again = find(ledger, "/data/scan.dat", seen(size=3 if written_again else 30))
    seal(ledger, [again], place)
    with ledger.transaction():
        ledger.deliveries.planned(place, [(again.id, "scan.dat")])
        ledger.deliveries.setting_aside(place, [(again.id, "scan~1.dat")])
    (delivery,) = [one for one in ledger.deliveries.due(place, 9.0, 10) if one.batch == fresh(ledger, again).batch]
    assert ledger.deliveries.asides(delivery, place) == {
        again.id: ("scan.dat", "scan~1.dat", Content(b"1", 10), written_again)
    }


def test_what_may_be_replaced_ends_with_a_loss(ledger: Ledger) -> None:
    """A copy from before the path was away is never offered, even if a later generation changed in place."""
    place = ledger.destinations.place("share", "/mnt").id
    first = deliver(ledger, place, find(ledger, "/data/scan.dat"), "scan.dat", b"1")
    reclaim(ledger, first)
    second = find(ledger, "/data/scan.dat")
    assert ledger.deliveries.former_copy(place, second) is None
    deliver(ledger, place, second, "scan~2.dat", b"2")
    third = find(ledger, "/data/scan.dat")
    assert ledger.deliveries.former_copy(place, third) == ("scan~2.dat", Content(b"2", 10))


# Deliveries


def test_a_file_is_verified_when_every_destination_has_it(ledger: Ledger, told: list[Transition]) -> None:
    """A file of a batch with two destinations is verified with the second proof, and told once for each step."""
    one, two = (ledger.destinations.place(name, "/mnt").id for name in ("one", "two"))
    file = find(ledger, "/data/scan.dat", seen(size=7))
    seal(ledger, [file], one, two)
    told.clear()
    assert prove(ledger, one, file, "a", b"sum").state is State.BATCHED
    assert prove(ledger, two, file, "b", b"sum").state is State.VERIFIED
    proved = [("proved", f"sha256:{b'sum'.hex()} at {path}", 7, "share", 1.0, "accepted") for path in ("a", "b")]
    assert [one[1:2] + one[3:] for one in told] == [*proved, ("verified", "", 7, "", None, "")]


def test_a_proof_is_for_one_version_only(ledger: Ledger, told: list[Transition]) -> None:
    """What arrived of a version that the file no longer is makes no evidence and no transition."""
    place = ledger.destinations.place("share", "/mnt").id
    file = find(ledger, "/data/scan.dat")
    seal(ledger, [file], place)
    batched = fresh(ledger, file)
    with ledger.transaction():
        ledger.deliveries.planned(place, [(file.id, "scan.dat")])
        ledger.files.put_back([(batched, "it changed")], 3.0)
        ledger.files.changed(file.id, Adoption(seen(size=99), True, "in place"), 3.0, 3.0)
    told.clear()
    with ledger.transaction():
        ledger.deliveries.proved(
            place,
            "share",
            [Proof(batched, "scan.dat", Content(b"sum", batched.version.size), "sha256", "accepted")],
            4.0,
        )
    assert (ledger.deliveries.evidence(file.id), fresh(ledger, file).state, told) == ([], State.CANDIDATE, [])


@pytest.mark.parametrize("how", ["put back", "changed after a retry"])
def test_evidence_is_never_carried_to_another_version(ledger: Ledger, how: str) -> None:
    """A version that one destination has keeps its row and evidence; what the path became is its own generation."""
    one, two = (ledger.destinations.place(name, "/mnt").id for name in ("one", "two"))
    file = find(ledger, "/data/scan.dat")
    seal(ledger, [file], one, two)
    prove(ledger, one, file, "scan.dat", b"sum")
    with ledger.transaction():
        if how == "put back":
            ledger.files.put_back([(fresh(ledger, file), "it changed")], 5.0)
        else:
            ledger.files.refused([(file.id, "tomo", file.path, "no")])
            assert ledger.files.retried(5.0) == 1
            ledger.files.changed(file.id, Adoption(seen(size=99), True, "in place"), 5.0, 6.0)
    old, new = ledger.files.history("/data/scan.dat")
    assert (old.state, old.version, new.state, new.generation) == (State.SUPERSEDED, file.version, State.CANDIDATE, 2)
    assert [evidence.checksum for evidence, _, _ in ledger.deliveries.evidence(old.id)] == [b"sum"]
    assert ledger.deliveries.evidence(new.id) == []
    assert ledger.deliveries.former_copy(one, new) == ("scan.dat", Content(b"sum", 10))


def test_a_copy_that_arrives_after_the_file_was_put_back_is_evidence_for_what_it_was(ledger: Ledger) -> None:
    """One destination finds the file changed while another shows its copy: without evidence that copy would be nobody's."""
    one, two = (ledger.destinations.place(name, "/mnt").id for name in ("one", "two"))
    file = find(ledger, "/data/scan.dat")
    seal(ledger, [file], one, two)
    batched = fresh(ledger, file)
    with ledger.transaction():
        for place in (one, two):
            ledger.deliveries.planned(place, [(file.id, "scan.dat")])
            ledger.deliveries.submitting(ledger.deliveries.due(place, 2.0, 9), b"", 2.0)
        ledger.files.put_back([(batched, "it changed")], 3.0, two)
        (new,) = [known for known in ledger.files.history("/data/scan.dat") if known.id != file.id]
        ledger.files.changed(new.id, Adoption(seen(size=99), True, "in place"), 3.0, 3.0)
        proof = Proof(batched, "scan.dat", Content(b"sum", batched.version.size), "sha256", "accepted")
        ledger.deliveries.proved(one, "share", [proof], 4.0)
    old, new = ledger.files.history("/data/scan.dat")
    assert (old.state, new.state, new.version.size, new.generation) == (State.SUPERSEDED, State.CANDIDATE, 99, 2)
    (owner,) = ledger.deliveries.owners(one, "scan.dat", new)
    assert (owner.same_source, owner.gone, owner.content) == (True, False, Content(b"sum", batched.version.size))


def test_the_way_of_a_delivery(ledger: Ledger) -> None:
    """Pending, submitting with its frozen request, active, failed and again, until it is finished with its batch."""
    place = ledger.destinations.place("share", "/mnt").id
    file = find(ledger, "/data/scan.dat")
    batch = seal(ledger, [file], place, now=2.0)
    deliveries = ledger.deliveries

    def due(now: float) -> Delivery:
        (delivery,) = deliveries.due(place, now, 10)
        return delivery

    assert deliveries.next_due(place) == 2.0
    assert deliveries.due(place, 1.9, 10) == []
    assert due(2.0) == Delivery(1, batch, "tomo", DeliveryState.PENDING, 0, 1, 10)
    assert deliveries.not_proved(due(2.0), place) == [fresh(ledger, file)]
    delivery = due(2.0)
    with ledger.transaction():
        deliveries.planned(place, [(file.id, "scan.dat")])
        submission = deliveries.submitting([delivery], b"request", 3.0)
    assert deliveries.due(place, 99.0, 10) == []
    assert deliveries.interrupted(place, 4.0) == 1
    assert due(4.0) == Delivery(1, batch, "tomo", DeliveryState.SUBMITTING, 1, 1, 10, 1, True)
    assert deliveries.request(due(4.0)) == b"request"
    with ledger.transaction():
        deliveries.submitted(submission, "task", 5.0)
    assert ledger.reports.deliveries() == [("share", "active", 1)]
    with ledger.transaction():
        deliveries.failed([delivery], "share is away", 6.0, 60.0)
    assert due(60.0).state is DeliveryState.FAILED
    assert ledger.reports.unfinished()
    assert deliveries.retried(7.0) == 1
    assert due(7.0).attempt == 1
    with ledger.transaction():
        deliveries.submitting([delivery], b"request", 8.0)
    prove(ledger, place, file, "scan.dat")
    assert deliveries.not_proved(delivery, place) == []
    with ledger.transaction():
        deliveries.finished([delivery], 9.0)
    assert ledger.reports.deliveries() == [("share", "verified", 1)]
    assert ledger.reclaims.batches("tomo") == [batch]
    assert not ledger.reports.unfinished()


_NAMES = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_NAMES, st.dictionaries(st.integers(1), st.none() | _NAMES))
def test_paths_come_back_as_they_were_rendered(ledger: Ledger, root: str, others: dict[int, str | None]) -> None:
    """Also names that are no UTF-8; they are forgotten when the batch has ended."""
    place = ledger.destinations.place("share", "/share").id
    file = find(ledger, "/data/f")
    batch = seal(ledger, [file], place)
    (delivery,) = (one for one in ledger.deliveries.due(place, 9.0, 9) if one.batch == batch)
    assert (ledger.deliveries.templates(batch), ledger.deliveries.paths(delivery.id)) == ({place: None}, None)
    with ledger.transaction():
        ledger.deliveries.rendered(batch, place, "template", Paths(root, others))
    assert ledger.deliveries.templates(batch) == {place: "template"}
    assert ledger.deliveries.paths(delivery.id) == Paths(root, others)
    prove(ledger, place, file, "f")
    with ledger.transaction():
        assert ledger.deliveries.finished([delivery], 4.0) == [batch]
    assert (ledger.deliveries.templates(batch), ledger.deliveries.paths(delivery.id)) == ({}, None)


def test_leftovers_are_intents_that_nobody_carries_out(ledger: Ledger) -> None:
    """Files that left their batch before they were proved are told with the path they were meant for."""
    place = ledger.destinations.place("share", "/mnt").id
    files = [find(ledger, f"/data/{name}") for name in "abc"]
    seal(ledger, files, place)
    (delivery,) = ledger.deliveries.due(place, 9.0, 10)
    with ledger.transaction():
        ledger.deliveries.planned(place, [(file.id, f"to/{ODD}{file.id}") for file in files])
        ledger.files.refused([(files[0].id, "tomo", files[0].path, "no")])
    prove(ledger, place, files[1], "to/b")
    assert ledger.deliveries.leftovers(delivery, place) == [(files[0].id, f"to/{ODD}{files[0].id}")]


def test_a_disproved_copy_counts_no_more(ledger: Ledger) -> None:
    """Evidence that a destination contradicts is gone, at that destination only."""
    one, two = ledger.destinations.place("one", "/mnt/1").id, ledger.destinations.place("two", "/mnt/2").id
    file = find(ledger, "/data/scan.dat")
    seal(ledger, [file], one, two)
    prove(ledger, one, file, "a", b"1")
    prove(ledger, two, file, "a", b"1")
    with ledger.transaction():
        ledger.deliveries.disproved(file, "one")
    assert ledger.deliveries.evidence(file.id) == [(Evidence("two", b"1", "sha256", 3.0, 10), "/mnt/2", "a")]


def test_a_disproved_copy_in_place_is_nobodys(ledger: Ledger) -> None:
    """Where an intent would permit overwriting, what took the place of a proved copy has no owner: it is not touched."""
    place = ledger.destinations.place("campus", "c:/", in_place=True).id
    file = deliver(ledger, place, find(ledger, "/data/scan.dat"), "a", b"1")
    with ledger.transaction():
        ledger.deliveries.disproved(file, "campus")
    assert ledger.deliveries.evidence(file.id) == []
    assert ledger.deliveries.owners(place, "a", find(ledger, "/data/scan.dat")) == []


@pytest.mark.parametrize("size", [0, 9, 11])
def test_content_of_another_size_is_no_evidence(ledger: Ledger, size: int) -> None:
    """What is proved to be there has as many bytes as the version, or proves nothing."""
    place = ledger.destinations.place("share", "/mnt/share").id
    file = find(ledger, "/data/scan.dat")
    with ledger.transaction():
        ledger.deliveries.planned(place, [(file.id, "scan.dat")])
        proof = Proof(file, "scan.dat", Content(b"sum", size), "sha256", "accepted")
        ledger.deliveries.proved(place, "share", [proof], 3.0)
    assert ledger.deliveries.evidence(file.id) == []


def test_copies_in_place_are_known_by_size_and_mtime(ledger: Ledger) -> None:
    """Where others write under final names, an earlier version's content is its size and mtime; unproved, any part of it."""
    place = ledger.destinations.place("campus", "c:/", in_place=True).id
    first = deliver(ledger, place, find(ledger, "/data/scan.dat"), "scan.dat", b"md5")
    content = Content(stat_content(first.version.size, first.version.mtime_ns), first.version.size)
    second = find(ledger, "/data/scan.dat")
    assert ledger.deliveries.owners(place, "scan.dat", second) == [
        Owner(first.path, True, False, content, "scan.dat", in_place=True, generation=1)
    ]
    assert ledger.deliveries.former_copy(place, second) == ("scan.dat", content)
    with ledger.transaction():
        ledger.deliveries.planned(place, [(second.id, "scan.dat")])
    third = find(ledger, "/data/scan.dat")
    assert {owner.content for owner in ledger.deliveries.owners(place, "scan.dat", third)} == {None, content}


def test_a_request_without_an_answer_is_due_again_as_it_is(ledger: Ledger) -> None:
    """It stays frozen and under way, with the names that were meant; a person's `retry` hurries it; its task is kept."""
    place = ledger.destinations.place("campus", "c:/", in_place=True).id
    file = find(ledger, "/data/scan.dat")
    batch = seal(ledger, [file], place)
    (delivery,) = ledger.deliveries.due(place, 2.0, 10)
    with ledger.transaction():
        ledger.deliveries.planned(place, [(file.id, "scan~2.dat")])
        ledger.deliveries.submitting([delivery], b"request", 3.0)
        ledger.deliveries.unanswered([delivery], "the line is dead", 4.0, 60.0)
    assert ledger.deliveries.due(place, 59.0, 10) == []
    assert ledger.deliveries.due(place, 60.0, 10) == [
        Delivery(1, batch, "tomo", DeliveryState.SUBMITTING, 1, 1, 10, 1, True)
    ]
    assert ledger.deliveries.request(ledger.deliveries.due(place, 60.0, 10)[0]) == b"request"
    assert ledger.deliveries.intents(delivery, place) == {file.id: "scan~2.dat"}
    assert ledger.deliveries.retried(5.0) == 1
    (again,) = ledger.deliveries.due(place, 5.0, 10)
    with ledger.transaction():
        assert ledger.deliveries.submitting([again], b"request", 6.0, again.submission) == again.submission == 1
        ledger.deliveries.submitted(1, "task-1", 6.0)
        ledger.deliveries.began([again], "task-1", 6.0, place, [file.id])
        ledger.deliveries.held_up([again], "paused")
    assert [(one["task"], one["reason"]) for one in ledger.reports.deliveries_of(batch)] == [("task-1", "paused")]
    prove(ledger, place, file, "scan~2.dat", now=7.0)
    assert ledger.reports.copies_of(file.id) == [
        {
            "destination": "campus", "address": "c:/", "path": "scan~2.dat", "checksum": "sha256:63", "proved_at": 7.0,
            "task": "task-1",
        }
    ]  # fmt: skip


def test_a_refused_destination_is_told_of_until_it_is_up(ledger: Ledger) -> None:
    """It is down, and a person must act."""
    place = ledger.destinations.place("campus", "c:/").id
    with ledger.transaction():
        ledger.destinations.went(place, False, "not logged in", 5.0, refused=True)
    assert ledger.reports.refusing() == [("campus", "c:/")]
    assert ledger.reports.destinations() == [("campus", "c:/", False, "not logged in")]
    with ledger.transaction():
        ledger.destinations.went(place, True, None, 6.0)
    assert ledger.reports.refusing() == []


def test_a_destination_that_moves_is_another_one(ledger: Ledger) -> None:
    """A name at another address has its own identity and nothing of the old one's evidence."""
    one, two = ledger.destinations.place("share", "/mnt/1"), ledger.destinations.place("share", "/mnt/2")
    with ledger.transaction():
        ledger.destinations.set_up(one.id, "identity")
        ledger.destinations.went(one.id, True, None, 5.0)
    assert one.id != two.id
    assert ledger.destinations.identity("share", "/mnt/1") == "identity"
    assert ledger.destinations.identity("share", "/mnt/2") is None
    assert ledger.destinations.identity("share", "/mnt/3") is None
    assert ledger.reports.destinations() == [("share", "/mnt/1", True, None), ("share", "/mnt/2", None, None)]


# Reclaims


def test_the_way_of_a_removal(ledger: Ledger, told: list[Transition]) -> None:
    """Verified, intended, and gone, or put back with the ctime of our own rename: each step is told."""
    place = ledger.destinations.place("share", "/mnt").id
    one, two = (deliver(ledger, place, find(ledger, f"/data/{name}"), name) for name in "ab")
    told.clear()
    with ledger.transaction():
        ledger.reclaims.intended([intent(one, 5.0), intent(two, 4.0)])
    one, two = fresh(ledger, one), fresh(ledger, two)
    assert (one.state, two.state) == (State.RECLAIMING, State.RECLAIMING)
    assert ledger.reclaims.next_purge() == 4.0
    assert ledger.reclaims.intents(3.9, 10) == []
    assert ledger.reclaims.intents(5.0, 10) == [intent(two, 4.0), intent(one, 5.0)]
    assert ledger.reclaims.intents(5.0, 1) == [intent(two, 4.0)]
    assert ledger.reclaims.trashed("tomo") == [intent(two, 4.0), intent(one, 5.0)]
    assert ledger.reclaims.trashed("other") == []
    with ledger.transaction():
        ledger.reclaims.reclaimed([intent(one, 5.0)], 9.0)
        ledger.reclaims.kept(intent(two, 4.0), State.VERIFIED, "it could not be asked", 777, 9.0, 60.0)
    assert ledger.reclaims.unfinished() == []
    assert fresh(ledger, one).state is State.RECLAIMED
    assert fresh(ledger, two) == two._replace(
        state=State.VERIFIED, reason="it could not be asked", version=two.version._replace(ctime_ns=777)
    )
    assert [(told_.event, told_.path) for told_ in told] == [
        ("reclaiming", "/data/a"), ("reclaiming", "/data/b"), ("reclaimed", "/data/a"), ("verified", "/data/b"),
    ]  # fmt: skip


def test_batches_are_thought_of_in_their_time(ledger: Ledger) -> None:
    """Verified batches come oldest first when they are due; a batch with nothing left comes no more."""
    place = ledger.destinations.place("share", "/mnt").id
    files = [find(ledger, f"/data/{name}") for name in "abc"]
    batches = []
    for number, file in enumerate(files):
        batches.append(seal(ledger, [file], place))
        (delivery,) = ledger.deliveries.due(place, 9.0, 10)
        prove(ledger, place, file, str(number))
        with ledger.transaction():
            ledger.deliveries.finished([delivery], 10.0 - number)
    assert ledger.reclaims.batches("tomo") == batches[::-1]
    assert ledger.reclaims.due_batches("tomo", 9.0, 10) == [batches[2], batches[1]]
    assert ledger.reclaims.due_batches("tomo", 9.0, 1) == [batches[2]]
    assert ledger.reclaims.verified(batches[0]) == [fresh(ledger, files[0])]
    with ledger.transaction():
        ledger.reclaims.later(batches[2], None)
        ledger.reclaims.later(batches[1], 100.0)
    assert (ledger.reclaims.batches("tomo"), ledger.reclaims.next_due("tomo")) == (batches[1::-1], 10.0)
    with ledger.transaction():
        ledger.reclaims.reconsider()
    assert ledger.reclaims.next_due("tomo") == 9.0
    assert ledger.reclaims.next_due("other") is None


# Size


def test_a_file_costs_little(path: str) -> None:
    """With realistic names and one proved copy each, 20,000 files take well under 400 bytes apiece."""
    count, ledger = 20_000, Ledger(path)
    try:
        ledger.execute("PRAGMA synchronous = OFF")
        place = ledger.destinations.place("share", "/mnt/share").id
        names = [f"/data/beamline7/2026-03/run{n // 200:04}/scan_{n % 200:06}.tiff" for n in range(count)]
        with ledger.transaction():
            ledger.files.found(
                [
                    Found(
                        ledger.files.directory(name.rpartition("/")[0]), name, "tomography",
                        seen(8_000_000 + n, 50_000_000 + n, n * 10**9 + 123_456_789), 1, 1.7e9 + n / 7, 1.7e9 + n / 7,
                    )
                    for n, name in enumerate(names)
                ]
            )  # fmt: skip
        files = ledger.files.due(float("inf"), count)
        for start in range(0, count, 500):
            seal(ledger, files[start : start + 500], place, now=1.7e9 + start / 7)
        batched = {file.id: file for file in read(ledger, "f.state = 'batched'")}
        assert len(batched) == count
        numbers = sorted(batched)
        for start in range(0, count, 128):
            chunk = [batched[number] for number in numbers[start : start + 128]]
            with ledger.transaction():
                ledger.deliveries.planned(place, [(file.id, file.path[6:]) for file in chunk])
                proofs = [
                    Proof(file, file.path[6:], Content(os.urandom(32), file.version.size), "sha256", "accepted")
                    for file in chunk
                ]
                ledger.deliveries.proved(place, "share", proofs, 1.7e9)
        assert ledger.reports.tally() == [("tomography", "verified", count, sum(8_000_000 + n for n in range(count)))]
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert os.path.getsize(path) / count < 350
    finally:
        ledger.close()


# Whatever happens, in whatever order


class Agent(RuleBasedStateMachine):
    """Random transitions of files, deliveries and removals, some of them undone, as the parts of the agent make them."""

    path = ""
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Transition] = []
        self.ledger = Ledger(f"{self.path}.{next(self.numbers)}", self.told.extend)
        self.ledger.execute("PRAGMA synchronous = OFF")
        self.places = [self.ledger.destinations.place(name, "/mnt").id for name in ("one", "two")]
        self.now = 1.0
        self.undone = False

    def teardown(self) -> None:
        self.ledger.close()
        for end in ("", "-wal", "-shm"):
            Path(self.ledger.path + end).unlink(missing_ok=True)

    def act(self, change: Callable[[], object]) -> None:
        """Make a change in a transaction; undo it where that was drawn, and see that nothing is left of it."""
        self.now += 1.0
        self.told.clear()
        if self.undone:
            self.undone = False
            before = dump(self.ledger)
            undone(self.ledger, change)
            assert (dump(self.ledger), self.told) == (before, [])
        else:
            with self.ledger.transaction():
                change()

    def some(self, which: int, *states: State) -> list[File]:
        """Some of the files in these states."""
        files = read(self.ledger, f"f.state IN ({listed(states)}) ORDER BY f.id")
        return [file for number, file in enumerate(files) if which >> (number % 8) & 1]

    def lines(self, files: Sequence[File]) -> list[tuple[int, str, str, str]]:
        return [(file.id, file.rule, file.path, "reason") for file in files]

    @rule()
    def undo_the_next(self) -> None:
        self.undone = True

    @initialize()
    def begin(self) -> None:
        for number in range(3):
            self.find("/data", str(number), "tomo", 10 * number)

    @rule(
        directory=st.sampled_from(["/data", "/data/sub", f"/data/{ODD}"]),
        name=st.sampled_from(["0", "1", "2", "3", ODD]),
        rule_=st.sampled_from(["tomo", "rest"]),
        size=st.integers(0, 2**40),
        whole=st.booleans(),
    )
    def find(self, directory: str, name: str, rule_: str, size: int, whole: bool = False) -> None:
        files = self.ledger.files

        def change() -> None:
            known = files.known(directory, [name]).get(name)
            if known is not None and known.state is State.CANDIDATE:
                files.changed(known.id, Adoption(seen(size, at=int(self.now)), True, "in place"), self.now, self.now)
                return
            if known is not None and known.state in HERE:
                files.superseded([(known.id, known.rule, f"{directory}/{name}", "newer")], 9.0)
            generation = 1 if known is None else known.generation + 1
            number = files.directory(directory)
            dataset = self.ledger.datasets.number(files.rule(rule_), name, self.now) if whole else None
            files.found(
                [
                    Found(
                        number,
                        f"{directory}/{name}",
                        rule_,
                        seen(size, at=int(self.now)),
                        generation,
                        self.now,
                        self.now,
                        dataset,
                    )
                ]
            )

        self.act(change)

    @rule(which=st.integers(1, 255))
    def belong(self, which: int) -> None:
        """Candidates settle in a dataset, and are then to be looked at once more."""
        files = self.some(which, State.CANDIDATE)

        def change() -> None:
            for file in files:
                number = self.ledger.datasets.number(self.ledger.files.rule(file.rule), "run", self.now)
                self.ledger.datasets.gathered([(number, "quiet", file.id)])
                self.ledger.datasets.checked(number, self.now)

        self.act(change)

    @rule(which=st.integers(1, 255))
    def look(self, which: int) -> None:
        files = self.some(which, State.CANDIDATE)
        self.act(lambda: self.ledger.files.waits([(self.now + 5, "a writer", file.id) for file in files]))

    @rule()
    def start(self) -> None:
        self.act(lambda: (self.ledger.files.restarted(self.now), self.ledger.reclaims.reconsider()))
        for place in self.places:
            self.ledger.deliveries.interrupted(place, self.now)

    @rule(which=st.integers(1, 255))
    def complete(self, which: int) -> None:
        files = self.some(which, State.CANDIDATE)

        def change() -> None:
            for rule_ in {file.rule for file in files}:
                mine = [file for file in files if file.rule == rule_]
                batch = self.ledger.batches.opened(rule_, "key", self.now)
                self.ledger.files.completed([(file, batch, "quiet") for file in mine], self.now)
                size = sum(file.version.size for file in mine)
                self.ledger.batches.joined(batch, OpenBatch("key", len(mine), size, self.now, self.now))

        self.act(change)

    @rule(count=st.integers(1, 2))
    def seal(self, count: int) -> None:
        batches = self.ledger.batches.open()
        sealed = [Sealed(batch, rule_, "full", self.places[:count]) for batch, rule_, _ in batches[:2]]
        self.act(lambda: self.ledger.batches.sealed(sealed, self.now))

    @rule(place=st.integers(0, 1), end=st.sampled_from(["submitted", "failed", "killed"]))
    def submit(self, place: int, end: str) -> None:
        deliveries, place = self.ledger.deliveries, self.places[place]
        due = deliveries.due(place, self.now + 1, 3)

        def change() -> None:
            for delivery in due:
                travellers = deliveries.not_proved(delivery, place)
                deliveries.planned(place, [(file.id, f"to{file.path}") for file in travellers])
            submission = deliveries.submitting(due, b"request", self.now) if due else 0
            if end == "failed":
                deliveries.failed(due[:1], "away", self.now, self.now + 1)
            if end == "submitted":
                deliveries.submitted(submission, "task", self.now)

        self.act(change)

    @rule(place=st.integers(0, 1), which=st.integers(0, 255))
    def report(self, place: int, which: int) -> None:
        deliveries, place = self.ledger.deliveries, self.places[place]
        sql = "SELECT id, batch, attempt FROM deliveries WHERE destination = ? AND state = 'active'"
        active = [
            Delivery(ident, batch, "tomo", DeliveryState.ACTIVE, attempt, 1, 1)
            for ident, batch, attempt in self.ledger.execute(sql, (place,)).fetchall()
        ]

        def change() -> None:
            for delivery in active:
                files = deliveries.not_proved(delivery, place)
                arrived = [file for number, file in enumerate(files) if which >> (number % 8) & 1]
                how = "stat" if which % 2 else "sha256"
                proofs = [
                    Proof(file, f"to{file.path}", Content(b"sum", file.version.size), how, "accepted")
                    for file in arrived
                ]
                deliveries.proved(place, "share", proofs, self.now)
                rest = [file for file in files if file not in arrived]
                still = self.ledger.files.batched([file.id for file in rest])
                self.ledger.files.put_back([(file, "changed") for file in rest[::2] if file.id in still], self.now)
                self.ledger.files.refused(self.lines([file for file in rest[1::2] if file.id in still]))
                deliveries.finished([delivery], self.now)

        self.act(change)

    @rule(which=st.integers(1, 255), how=st.sampled_from(["refused", "vanished", "ignored"]))
    def lose(self, which: int, how: str) -> None:
        files = self.some(which, State.CANDIDATE, State.COMPLETE, State.BATCHED, State.REFUSED)
        when = (self.now,) if how == "vanished" else ()
        self.act(lambda: getattr(self.ledger.files, how)(self.lines(files), *when))

    @rule(which=st.integers(1, 255))
    def take(self, which: int) -> None:
        """Ignored files are taken after all."""
        files = self.some(which, State.IGNORED)
        self.act(lambda: self.ledger.files.put_back([(file, "newer") for file in files], self.now))

    @rule(which=st.integers(1, 255))
    def remove(self, which: int) -> None:
        files = self.some(which, State.VERIFIED)
        self.act(lambda: self.ledger.files.removed(self.lines(files), self.now))

    @rule()
    def retry(self) -> None:
        self.act(lambda: (self.ledger.files.retried(self.now), self.ledger.deliveries.retried(self.now)))

    @rule(which=st.integers(1, 255))
    def intend(self, which: int) -> None:
        files = self.some(which, State.VERIFIED)
        self.act(lambda: self.ledger.reclaims.intended([intent(file, self.now + 1) for file in files]))

    @precondition(lambda self: self.ledger.reclaims.unfinished())
    @rule(which=st.integers(0, 255))
    def end(self, which: int) -> None:
        intents = self.ledger.reclaims.intents(self.now + 1, 100)
        gone = [one for number, one in enumerate(intents) if which >> (number % 8) & 1]
        back = [one for one in intents if one not in gone]

        def change() -> None:
            self.ledger.reclaims.reclaimed(gone, self.now)
            for number, one in enumerate(back):
                state = State.SUPERSEDED if number % 2 else State.VERIFIED
                self.ledger.reclaims.kept(one, state, "put back", int(self.now), self.now, self.now)

        self.act(change)

    @rule(which=st.integers(1, 255))
    def disprove(self, which: int) -> None:
        files = self.some(which, State.VERIFIED)
        self.act(
            lambda: (
                [self.ledger.deliveries.disproved(file, "one") for file in files],
                self.ledger.files.refused(self.lines(files)),
            )
        )

    @invariant()
    def tallies_are_recounts(self) -> None:
        recount = "SELECT rule, state, count(*), sum(size) FROM files GROUP BY rule, state ORDER BY rule, state"
        tally = "SELECT * FROM tally WHERE files <> 0 OR bytes <> 0 ORDER BY rule, state"
        assert self.ledger.execute(tally).fetchall() == self.ledger.execute(recount).fetchall()
        recount = "SELECT destination, state, count(*) FROM deliveries GROUP BY destination, state ORDER BY 1, 2"
        tally = "SELECT * FROM delivery_tally WHERE deliveries <> 0 ORDER BY destination, state"
        assert self.ledger.execute(tally).fetchall() == self.ledger.execute(recount).fetchall()

    @invariant()
    def summaries_are_recounts(self) -> None:
        assert summaries(self.ledger) == recounted(self.ledger)

    @invariant()
    def nothing_dangles(self) -> None:
        assert self.ledger.execute("PRAGMA foreign_key_check").fetchall() == []

    @invariant()
    def one_generation_is_here(self) -> None:
        sql = "SELECT dir, name FROM files WHERE here GROUP BY dir, name HAVING count(*) > 1"
        assert self.ledger.execute(sql).fetchall() == []

    @invariant()
    def verified_means_proved_everywhere(self) -> None:
        sql = (
            "SELECT f.id FROM files f JOIN deliveries d ON d.batch = f.batch WHERE f.state IN ('verified', 'reclaiming')"
            " AND NOT EXISTS (SELECT 1 FROM copies c WHERE c.file = f.id AND c.destination = d.destination"
            "  AND c.proved_at IS NOT NULL AND c.checksum IS NOT NULL AND c.algorithm IS NOT NULL)"
        )
        assert self.ledger.execute(sql).fetchall() == []

    @invariant()
    def only_candidates_are_due(self) -> None:
        sql = "SELECT id, state FROM files WHERE (again IS NOT NULL) <> (state = 'candidate')"
        assert self.ledger.execute(sql).fetchall() == []

    @invariant()
    def every_transition_is_a_row(self) -> None:
        for one in self.told:
            if one.event != "proved":
                states = [file.state.value for file in self.ledger.files.history(one.path)]
                assert one.event in states or one.event == "candidate"


def test_tallies_never_disagree(tmp_path: Path) -> None:
    """Whatever transitions happen in whatever order, undone ones too, every count is a recount and every promise holds."""
    Agent.path = str(tmp_path / "ledger.sqlite")
    run_state_machine_as_test(
        Agent,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sqlite_is_new_enough() -> None:
    """STRICT tables and RETURNING-free upserts need SQLite 3.37."""
    assert sqlite3.sqlite_version_info >= (3, 37)


@given(st.sets(st.integers(0, 99)), st.sets(st.integers(0, 99)))
def test_among_finds_what_is_among_the_values(asked: set[int], there: set[int]) -> None:
    """However many values an `IN` has, it finds them and nothing else, with one of a few statements."""
    marks, values = among(sorted(asked))
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE numbers (n)")
        database.executemany("INSERT INTO numbers VALUES (?)", [(None,), *((one,) for one in there)])
        sql = f"SELECT n FROM numbers WHERE n IN ({marks})"  # noqa: S608  (question marks only)
        found = {row[0] for row in database.execute(sql, values)}
    database.close()
    assert (found, len(values).bit_count()) == (asked & there, 1)


def test_no_size_overflows_a_sum(ledger: Ledger) -> None:
    """Sparse files of any size, which everybody can make: they are counted, and the sums stay numbers that 64 bits hold."""
    place = ledger.destinations.place("share", "/mnt/share").id
    files = [find(ledger, f"/data/{number:04}", seen(2**63 - 1)) for number in range(300)]
    batch = seal(ledger, files, place)
    (delivery,) = ledger.deliveries.due(place, 1e9, 10)
    assert delivery.batch == batch
    for file in files:
        with ledger.transaction():
            ledger.deliveries.planned(place, [(file.id, file.path[1:])])
            ledger.deliveries.proved(
                place,
                "share",
                [Proof(fresh(ledger, file), file.path[1:], Content(b"c", file.version.size), "sha256", "accepted")],
                3.0,
            )
    assert [(state, count, held) for _, state, count, held in ledger.reports.tally() if count] == [
        ("verified", 300, 300 * 2**44)
    ]
    (held,) = ledger.summaries.current(10)
    assert (held.verified, held.verified_bytes, held.waiting_bytes) == (300, 300 * 2**44, 0)
    assert {fresh(ledger, file).version.size for file in files} == {2**63 - 1}


def test_where_file_systems_begin_is_remembered(ledger: Ledger) -> None:
    """Of each proof, and for the deliveries to come."""
    place = ledger.destinations.place("share", "/mnt/share").id
    files = [find(ledger, f"/data/{name}") for name in ("a", "b")]
    seal(ledger, files, place)
    with ledger.transaction():
        ledger.deliveries.planned(place, [(files[0].id, "p1/a"), (files[1].id, "b")])
        proofs = [
            Proof(fresh(ledger, file), path, Content(b"c", file.version.size), "sha256", "accepted", mount)
            for file, path, mount in ((files[0], "p1/a", "p1"), (files[1], "b", None))
        ]
        ledger.deliveries.proved(place, "share", proofs, 3.0)
    assert [one.mount for file in files for one, _, _ in ledger.deliveries.evidence(file.id)] == ["p1", None]
    assert ledger.deliveries.mounts(place) == ["p1"]


def test_many_links_make_no_new_file_slow(tmp_path: Path) -> None:
    """Somebody links to thirty thousand things that no rule delivers, then a thousand files come: each looks up its own path."""
    with closing(Ledger(str(tmp_path / "ledger.sqlite"))) as ledger:
        with ledger.transaction():
            rule = ledger.files.rule("r")
            ledger.links.found("/data", [Link(f"l{n}", rule, None, f"/away/{n}") for n in range(30_000)], whole=True)
        began = time.monotonic()
        with ledger.transaction():
            ledger.links.targets_found("/away", [f"/away/{n}" for n in range(0, 2_000, 2)])
        assert time.monotonic() - began < 2.0
        (of,) = ledger.links.outside(["r"], 10)
        assert of.links == 29_000
