"""What sweeps and hints make of a directory that is known already, and what they leave where nothing can be told."""

import itertools
import logging
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from agent.errors import LedgerError
from agent.files import LOCAL, CannotTell, Look, Trouble, What
from agent.files.events import Hint
from agent.files.posix.tree import PosixTree
from agent.files.tree import Listed
from agent.intake.candidates import Candidates
from agent.intake.groups import Groups
from agent.intake.root import Root
from agent.intake.scanner import ENTRIES_A_PASS, Scanner
from agent.intake.watch import Watch
from agent.ledger import File, Ledger, Proof, State
from agent.observe.status import health
from rules.model import Content
from tests import configured


@contextmanager
def surveyed(data: Path, **keys: Any) -> Iterator[tuple[Ledger, Root, Scanner]]:
    """A directory that one rule watches, and what looks after it."""
    with ExitStack() as stack:
        ledger = Ledger(f"{data}.sqlite")
        stack.callback(ledger.close)
        watch = Watch(LOCAL, str(data), lambda: None)
        stack.callback(watch.close)
        table = {"name": "r", "watch": str(data), "deliver": [{"to": "share"}]} | keys
        root = Root(watch, (configured.rule(table),))
        yield ledger, root, Scanner(ledger, LOCAL, [root])


def states(ledger: Ledger) -> Counter[str]:
    """How many files are in each state."""
    return Counter(state for _, state, count, _ in ledger.reports.tally() for _ in range(count))


def swept(ledger: Ledger, root: Root, scanner: Scanner, now: float) -> Counter[str]:
    """Sweep it all. Returns the states."""
    root.why = "start"
    while scanner.take_sweeps(now):
        pass
    return states(ledger)


@pytest.fixture
def unclear(monkeypatch: pytest.MonkeyPatch) -> dict[str, What]:
    """Names whose looks cannot tell, by the end of their paths, and why."""
    names: dict[str, What] = {}
    look = PosixTree.look

    def looked(tree: PosixTree, path: str) -> Look:
        for name, what in names.items():
            if path.endswith(name):
                return CannotTell(Trouble(what, "as the test wants it"))
        return look(tree, path)

    monkeypatch.setattr(PosixTree, "look", looked)
    return names


@pytest.mark.parametrize("size", [10, 300], ids=["few", "many"])
def test_a_sweep_tells_what_is_as_it_was_from_what_is_not(tmp_path: Path, size: int) -> None:
    """Unchanged files stay as they are, whatever their names; new, changed and missing ones are found, be they few or many."""
    data = tmp_path / "data"
    data.mkdir()

    names = [b"%d.\xff" % number for number in range(size)]
    with surveyed(data) as (ledger, root, scanner):

        def sweep(now: float) -> Counter[str]:
            return swept(ledger, root, scanner, now)

        for name in names:
            Path(os.fsdecode(bytes(data) + b"/" + name)).write_bytes(b"x")
        assert sweep(1.0) == {"candidate": size}
        before = ledger.files.due(1e9, 10 * size)
        assert sweep(2.0) == {"candidate": size}
        assert ledger.files.due(1e9, 10 * size) == before
        for name in names[: size // 2]:
            os.unlink(bytes(data) + b"/" + name)
        Path(os.fsdecode(bytes(data) + b"/" + names[-1])).write_bytes(b"longer")
        (data / "new").write_bytes(b"x")
        assert sweep(3.0) == {"candidate": size - size // 2 + 1, "vanished": size // 2}
        sizes = {file.path: file.version.size for file in ledger.files.due(1e9, 10 * size)}
        assert sizes[os.fsdecode(bytes(data) + b"/" + names[-1])] == len("longer")


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("what", [What.DAMAGED, What.DENIED, What.ABSENT])
def test_a_hint_of_which_nothing_can_be_told_changes_nothing(
    tmp_path: Path, unclear: dict[str, What], what: What, gone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The file counts as there, one line names it, and the next sweep looks again."""
    data = tmp_path / "data"
    data.mkdir()
    with surveyed(data) as (ledger, root, scanner):
        for name in ("a", "b"):
            (data / name).write_bytes(b"x")
        assert swept(ledger, root, scanner, 1.0) == {"candidate": 2}
        for name in ("a", "b"):
            (data / name).unlink()
            unclear[name] = what
        root.watch._put([Hint(f"{data}/a", gone=gone), Hint(f"{data}/b", gone=gone)])
        with caplog.at_level(logging.WARNING, "agent.intake"):
            scanner.take_hints(2.0)
        assert states(ledger) == {"candidate": 2}
        why = "its content cannot be listed: as the test wants it (and 1 more); the next sweep looks again"
        assert [record.getMessage() for record in caplog.records] == [f"{data}/a: {why}"]
        unclear.clear()
        assert swept(ledger, root, scanner, 3.0) == {"vanished": 2}


def test_a_root_that_is_not_there_says_nothing_of_its_files(tmp_path: Path) -> None:
    """Neither hints nor a sweep: it may be away as a whole. Once it is back, what is missing is missing."""
    data = tmp_path / "data"
    data.mkdir()
    with surveyed(data) as (ledger, root, scanner):
        for name in ("a", "b"):
            (data / name).write_bytes(b"x")
        assert swept(ledger, root, scanner, 1.0) == {"candidate": 2}
        data.rename(tmp_path / "away")
        root.watch._put([Hint(f"{data}/a", gone=True), Hint(str(data), below=True, gone=True)])
        scanner.take_hints(2.0)
        assert swept(ledger, root, scanner, 3.0) == {"candidate": 2}
        (tmp_path / "away/a").unlink()
        (tmp_path / "away").rename(data)
        assert swept(ledger, root, scanner, 4.0) == {"candidate": 1, "vanished": 1}


def test_what_is_asked_for_while_the_root_is_away_waits(tmp_path: Path) -> None:
    """Without a pass after the other; when the root is back, the directory is swept with the whole."""
    data = tmp_path / "data"
    data.mkdir()
    with surveyed(data) as (ledger, root, scanner):
        swept(ledger, root, scanner, 1.0)
        (data / "run").mkdir()
        (data / "run/a").write_bytes(b"x")
        data.rename(tmp_path / "away")
        part = Hint(f"{data}/run", below=True)
        root.want(part, needed=True)
        assert (scanner.take_sweeps(2.0), root.wants(part), root.again_at) == (False, True, 7.0)
        assert (scanner.take_sweeps(3.0), root.wants(part), root.again_at) == (False, True, 7.0)
        (tmp_path / "away").rename(data)
        assert swept(ledger, root, scanner, 7.0) == {"candidate": 1}
        assert (root.wants(part), root.again_at) == (False, None)


@pytest.mark.parametrize("place", ["", "run/"])
def test_directories_and_huge_listings_go_by_looks_that_can_tell(
    tmp_path: Path, unclear: dict[str, What], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Where each name is looked for, only what is certainly not there is gone, and the others are asked all the same."""
    monkeypatch.setattr("agent.intake.scan.CHUNK", 2)
    data = tmp_path / "data"
    (data / place).mkdir(parents=True, exist_ok=True)
    names = [str(number) for number in range(6)]
    with surveyed(data) as (ledger, root, scanner):
        for name in names:
            (data / place / name).write_bytes(b"x")
        assert swept(ledger, root, scanner, 1.0) == {"candidate": 6}
        for name in names[:4]:
            (data / place / name).unlink()
        unclear[f"{place}1"] = What.DENIED
        unclear[f"{place}5"] = What.DENIED
        assert swept(ledger, root, scanner, 2.0) == {"candidate": 3, "vanished": 3}
        unclear.clear()
        if place:
            for name in names[4:]:
                (data / place / name).unlink()
            (data / place).rmdir()
            unclear["run"] = What.STALE
            assert swept(ledger, root, scanner, 3.0) == {"candidate": 3, "vanished": 3}
            unclear.clear()
            assert swept(ledger, root, scanner, 4.0) == {"vanished": 6}


@pytest.mark.parametrize("how", ["hint", "sweep", "huge", "directory"])
def test_what_is_on_a_file_system_that_is_not_mounted_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The nearest directory that is there lies on another file system than the file did."""
    if how == "huge":
        monkeypatch.setattr("agent.intake.scan.CHUNK", 1)
    data = tmp_path / "data"
    (data / "share").mkdir(parents=True)
    with surveyed(data) as (ledger, root, scanner):
        for name in ("a", "b", "c"):
            (data / "share" / name).write_bytes(b"x")
        assert swept(ledger, root, scanner, 1.0) == {"candidate": 3}
        with ledger.transaction():
            ledger.execute("UPDATE files SET device = device + 1 WHERE CAST(name AS TEXT) <> 'c'")
        for name in ("a", "b"):
            (data / "share" / name).unlink()
        if how == "directory":
            (data / "share/c").unlink()
            (data / "share").rmdir()
        if how == "hint":
            (data / "share/c").unlink()
            root.watch._put([Hint(f"{data}/share/{name}", gone=True) for name in ("a", "b", "c")])
            scanner.take_hints(2.0)
        else:
            swept(ledger, root, scanner, 2.0)
        gone = {"vanished": 1} if how in ("hint", "directory") else {}
        assert states(ledger) == {"candidate": 3 - len(gone)} | gone


STATES = [State.CANDIDATE, State.COMPLETE, State.BATCHED, State.VERIFIED, State.REFUSED]


def delivered(ledger: Ledger, place: int, path: Path) -> None:
    """The present version of a file is proved at a destination."""
    file = ledger.files.history(str(path))[-1]
    with ledger.transaction():
        ledger.deliveries.planned(place, [(file.id, path.name)])
        proof = Proof(file, path.name, Content(b"sum", file.version.size), "sha256", "accepted")
        ledger.deliveries.proved(place, "s", [proof], 2.0)


def put_into(ledger: Ledger, path: Path, state: State) -> None:
    """The present version of a file is in a state, however it came there."""
    file = ledger.files.history(str(path))[-1]
    with ledger.transaction():
        again = 0.0 if state is State.CANDIDATE else None
        ledger.files._store.execute("UPDATE files SET state = ?, again = ? WHERE id = ?", (state, again, file.id))


@pytest.mark.parametrize(
    ("way", "state"), [*((way, state) for way in ("hint", "sweep") for state in STATES), ("look", State.CANDIDATE)]
)
@pytest.mark.parametrize("how", ["renamed over it", "in place", "renamed over it, unseen between"])
def test_whose_a_reading_is_is_asked_wherever_it_is_taken_up(tmp_path: Path, way: str, state: State, how: str) -> None:
    """In whatever state the known version is: another file under its name does not go on from the former copies."""
    data = tmp_path / "data"
    data.mkdir()
    path = data / "scan.h5"
    with surveyed(data) as (ledger, root, scanner):
        place = ledger.destinations.place("s", "/s").id
        path.write_bytes(b"first")
        swept(ledger, root, scanner, 1.0)
        delivered(ledger, place, path)
        if "unseen" not in how:
            put_into(ledger, path, State.VERIFIED)
            with path.open("ab") as file:
                file.write(b"+")
            swept(ledger, root, scanner, 3.0)
        put_into(ledger, path, state)
        if how == "in place":
            with path.open("ab") as file:
                file.write(b"+")
        else:
            (tmp_path / "other").write_bytes(b"another measurement")
            os.rename(tmp_path / "other", path)
        if way == "hint":
            root.watch._put([Hint(str(path))])
            scanner.take_hints(4.0)
        elif way == "sweep":
            swept(ledger, root, scanner, 4.0)
        else:
            rules = list(root.rules)
            candidates = Candidates(
                ledger, LOCAL, rules, Groups(ledger, rules, {"share": place}, "host"), cast(Any, None)
            )
            with ledger.transaction():
                candidates.apply(candidates.read(4.0), 4.0)
        newest = ledger.files.history(str(path))[-1]
        assert newest.version.size == path.stat().st_size
        (owner,) = ledger.deliveries.owners(place, "scan.h5", newest)
        written_again = ledger.deliveries.rewritten(newest, owner.generation)
        assert (owner.gone, written_again) == (False, how != "in place")


class Broken(Exception):
    """What nobody expects."""


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("error", [Broken, LedgerError])
def test_a_pass_that_fails_gives_back_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """Whichever transaction fails: hints, directories and sweeps are taken up again, and each file is where it is.

    What nobody expects does not fail the pass: it is the trouble of the directory, whose sweep goes on a little later.
    """
    monkeypatch.setattr("agent.intake.scanner.ENTRIES_A_PASS", 2)
    data = tmp_path / "data"
    for name in ("a", "b", "c"):
        (data / name).mkdir(parents=True)
    with surveyed(data) as (ledger, root, scanner):
        swept(ledger, root, scanner, 1.0)
        for name in ("a", "b", "c"):
            (data / name / "1").write_bytes(b"x")
            (data / name / "2").write_bytes(b"xy")
        root.watch._put([Hint(f"{data}/a/1"), Hint(f"{data}/a/2"), Hint(f"{data}/b", below=True)])
        root.why, commits, failed = "test", 0, 0

        def commit() -> None:
            nonlocal commits
            commits += 1
            if commits == number + 1:
                raise error
            ledger.execute("COMMIT")

        monkeypatch.setattr(ledger, "_commit", commit)
        before = root.swept_at
        for now in range(2, 32):
            try:
                scanner.take_hints(now)
                scanner.take_sweeps(now)
            except LedgerError:
                failed += 1
                assert root.swept_at == before
            if root.again_at is not None:
                root.why, root.again_at = "the last one broke off", None
        assert (commits > number, failed, root.swept_at) == (True, int(error is LedgerError), pytest.approx(10, abs=8))
        assert (root.wanted, root.partial, root.sweep, root.watch.drain(10)) == ({}, None, None, [])
        found = {(file.path, file.version.size) for file in ledger.files.due(1e9, 100)}
        assert found == {(f"{data}/{name}/{size}", size) for name in ("a", "b", "c") for size in (1, 2)}


def test_groups_forget_what_a_transaction_that_was_undone_had_joined(tmp_path: Path) -> None:
    """Memory follows the ledger: the next file finds the group as it is there."""
    data = tmp_path / "data"
    data.mkdir()
    with surveyed(data) as (ledger, root, scanner):
        for name in ("1", "2"):
            (data / name).write_bytes(b"x")
        swept(ledger, root, scanner, 1.0)
        one, two = ledger.files.due(1e9, 2)
        place = ledger.destinations.place("s", "/s").id
        groups = Groups(ledger, root.rules, {"share": place}, "host")

        def join(file: File, *, fail: bool) -> None:
            with ledger.transaction():
                joining = groups.joining(2.0)
                ledger.files.completed([(file, joining.alone(file, root.rules[0]), "done")], 2.0)
                joining.end()
                if fail:
                    raise Broken

        join(one, fail=False)
        for _ in range(2):
            with pytest.raises(Broken):
                join(two, fail=True)
        join(two, fail=False)
        assert [(group.files, group.bytes) for _, _, group in ledger.batches.open()] == [(2, 2)]


def deep(top: Path, name: str, levels: int, *, leaf: str) -> str:
    """Make directories in one another, whose whole path no system call may take, and a file in the last one."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open(leaf, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd))
    os.close(fd)
    return "/".join([str(top), *[name] * levels, leaf])


@pytest.mark.parametrize(("name", "levels"), [("d", 1100), ("n" * 200, 40)], ids=["levels", "characters"])
def test_depth_stops_neither_sweeps_nor_events(
    tmp_path: Path, name: str, levels: int, until: Callable[[Callable[[], bool], str], bool]
) -> None:
    """The file at the bottom is found, those beside are found, and events of the others come."""
    data = tmp_path / "data"
    data.mkdir()
    bottom = deep(data, name, levels, leaf="scan.h5")
    with surveyed(data) as (ledger, root, scanner):
        assert root.watch.check(0.0) == "start"
        assert root.watch.up
        assert swept(ledger, root, scanner, 1.0) == {"candidate": 1}
        assert [file.path for file in ledger.files.due(1e9, 10)] == [bottom]
        (data / "beside").write_bytes(b"x")
        (data / "new").mkdir()
        deep(data / "new", name, levels, leaf="late.h5")
        wanted = {Hint(f"{data}/beside"), Hint(f"{data}/new", below=True)}
        heard: set[Hint] = set()
        until(lambda: heard.update(root.watch.drain(10)) or wanted <= heard, "both hints")
        assert not root.watch.losing
        root.watch._put(list(wanted))
        scanner.take_hints(2.0)
        while scanner.take_sweeps(2.0):
            pass
        assert states(ledger) == {"candidate": 3}
    subprocess.run(["rm", "-rf", data], check=True)  # shutil.rmtree has a call for each level


@pytest.fixture
def unlisted(monkeypatch: pytest.MonkeyPatch) -> dict[str, What]:
    """Directories, by their paths below the root, that cannot be listed, and why; with "*" only their last entry cannot be seen."""
    troubles: dict[str, What] = {}
    scan = PosixTree.scan

    def scanned(tree: PosixTree, path: str, most: int) -> Iterator[Listed]:
        if path in troubles:
            raise Trouble(troubles[path], "as the test wants it")
        if f"{path}*" not in troubles:
            yield from scan(tree, path, most)
            return
        (listed,) = scan(tree, path, most)
        entries = dict(sorted(listed.entries.items())[:-1])
        yield listed._replace(
            entries=entries, unseen=Trouble(troubles[f"{path}*"], "1 of its entries cannot be looked at")
        )

    monkeypatch.setattr(PosixTree, "scan", scanned)
    return troubles


@pytest.mark.parametrize("how", ["a", "a*"])
@pytest.mark.parametrize("what", [What.DENIED, What.DAMAGED, What.STALE])
def test_what_cannot_be_listed_is_counted_and_all_else_goes_on(
    tmp_path: Path, unlisted: dict[str, What], unclear: dict[str, What], how: str, what: What
) -> None:
    """Nothing in it is taken for gone; until it can be listed it is said, at once and by each sweep, unless it is excluded."""
    data = tmp_path / "data"
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        for number in ("1", "2"):
            (data / name / number).write_bytes(b"x")
    with surveyed(data) as (ledger, root, scanner):
        root.watch.check(0.0)
        assert swept(ledger, root, scanner, 1.0) == {"candidate": 4}
        assert (root.unseen, ledger.reports.unseen()) == ({}, [])
        unlisted[how] = what
        unclear["a/2"] = what
        (data / "b/3").write_bytes(b"x")
        reason = "as the test wants it" if how == "a" else "1 of its entries cannot be looked at"
        root.want(Hint(f"{data}/a", below=True))
        while scanner.take_sweeps(2.0):
            pass
        said = [(str(data), 1, f"{data}/a: {reason}")]
        assert (root.unseen, ledger.reports.unseen()) == ({f"{data}/a": reason}, said)
        assert swept(ledger, root, scanner, 3.0) == {"candidate": 5}
        assert (root.unseen, ledger.reports.unseen(), root.swept_at) == ({f"{data}/a": reason}, said, 3.0)
        lines = health([], [root], 60.0, {}, {}, {}, 4.0)
        assert lines.good == root.watch.present
        assert lines.away == [f"{data}: 1 directories cannot be listed, such as {data}/a: {reason}"]
        unlisted.clear()
        unclear.clear()
        root.want(Hint(f"{data}/a", names=True))
        while scanner.take_sweeps(4.0):
            pass
        assert (root.unseen, ledger.reports.unseen()) == ({}, [])


def test_a_directory_that_is_excluded_need_not_be_seen(tmp_path: Path, unlisted: dict[str, What]) -> None:
    """Such as the `lost+found` of a disk."""
    data = tmp_path / "data"
    (data / "lost+found").mkdir(parents=True)
    unlisted["lost+found"] = What.DENIED
    with surveyed(data, exclude=["lost+found/"]) as (ledger, root, scanner):
        swept(ledger, root, scanner, 1.0)
        assert (root.unseen, ledger.reports.unseen()) == ({}, [])


def test_an_agent_without_descriptors_has_not_swept(tmp_path: Path, unlisted: dict[str, What]) -> None:
    """It says nothing of any directory: the sweep breaks off, and begins again."""
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    (data / "b").write_bytes(b"x")
    with surveyed(data) as (ledger, root, scanner):
        unlisted["a"] = What.EXHAUSTED
        swept(ledger, root, scanner, 1.0)
        assert (root.swept_at, root.unseen, root.again_at) == (None, None, 6.0)
        unlisted.clear()
        assert swept(ledger, root, scanner, 6.0) == {"candidate": 1}
        assert (root.swept_at, root.unseen, root.again_at) == (6.0, {}, None)


def test_long_work_is_cut_into_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that comes, a huge directory, one that goes: a hint is taken up while any of it goes on, and no pass does much."""
    monkeypatch.setattr("agent.intake.scanner.ENTRIES_A_PASS", 10)
    monkeypatch.setattr("agent.intake.scan.CHUNK", 20)
    looks, look, numbers = Counter[str](), PosixTree.look, itertools.count()
    data = tmp_path / "data"
    data.mkdir()

    def looked(tree: PosixTree, path: str) -> Look:
        looks["all"] += 1
        return look(tree, path)

    monkeypatch.setattr(PosixTree, "look", looked)
    with surveyed(data) as (ledger, root, scanner):
        swept(ledger, root, scanner, 1.0)

        def work(hint: Hint) -> int:
            """Do what a hint asks for, with one new file each pass. Returns the passes."""
            passes = 0
            root.watch._put([hint])
            scanner.take_hints(2.0)
            while root.wanted or root.partial:
                passes += 1
                before, _ = sum(states(ledger).values()), looks.clear()
                new = data / f"new{next(numbers)}"
                new.write_bytes(b"x")
                root.watch._put([Hint(str(new))])
                scanner.take_hints(2.0)
                assert sum(states(ledger).values()) == before + 1
                scanner.take_sweeps(2.0)
                assert sum(states(ledger).values()) <= before + 1 + 10 + 20
                assert looks["all"] <= 10 + 10 + 5
            return passes

        for number in range(30):
            (data / "run" / str(number)).mkdir(parents=True)
            for name in range(5):
                (data / "run" / str(number) / str(name)).write_bytes(b"x")
        assert work(Hint(f"{data}/run", below=True)) >= 15
        (data / "huge").mkdir()
        for number in range(100):
            (data / "huge" / str(number)).write_bytes(b"x")
        assert work(Hint(f"{data}/huge", below=True)) >= 10
        for path in [*(data / "run").glob("*/*"), *(data / "huge").glob("*")]:
            path.unlink()
        shutil.rmtree(data / "run")
        shutil.rmtree(data / "huge")
        assert work(Hint(f"{data}/run", below=True, gone=True)) >= 10
        assert work(Hint(f"{data}/huge", below=True, gone=True)) >= 5
        assert states(ledger)["vanished"] == 30 * 5 + 100


@pytest.mark.parametrize(
    ("marker", "woken"), [("{stem}.done", {"3.h5"}), ("*.done", {f"{number}.h5" for number in range(5)})]
)
def test_a_marker_wakes_the_files_that_it_may_be_for(tmp_path: Path, marker: str, woken: set[str]) -> None:
    """And no other: thousands may wait in the folder."""
    data = tmp_path / "data"
    data.mkdir()
    with surveyed(data, include=["*.h5"], complete={"marker": marker}) as (ledger, root, scanner):
        for number in range(5):
            (data / f"{number}.h5").write_bytes(b"x")
        swept(ledger, root, scanner, 1.0)
        with ledger.transaction():
            ledger.files.waits([(100.0, "its marker", file.id) for file in ledger.files.due(1e9, 10)])
        (data / "3.done").write_bytes(b"")
        root.watch._put([Hint(f"{data}/3.done")])
        scanner.take_hints(2.0)
        assert {os.path.basename(file.path) for file in ledger.files.due(2.0, 10)} == woken


def test_a_sweep_that_a_former_configuration_began_begins_again(tmp_path: Path) -> None:
    """The whole one and that of a part: what they left out is judged by what the new one knows."""
    data = tmp_path / "data"
    for number in range(2 * ENTRIES_A_PASS):
        path = data / "part" / str(number // 100) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with surveyed(data) as (ledger, root, scanner):
        root.why = "start"
        root.want(Hint(f"{data}/part", below=True))
        scanner.take_sweeps(1.0)
        under_way = root.sweep, root.partial
        assert None not in under_way
        following = Scanner(ledger, LOCAL, [root])
        following.start()
        assert (root.sweep, root.partial, root.why) == (None, None, "another configuration")
        while following.take_sweeps(2.0):
            pass
        assert states(ledger) == {"candidate": 2 * ENTRIES_A_PASS}


def test_excluded_directories_are_not_walked_and_left_over_partial_files_are_named(tmp_path: Path) -> None:
    """A partial file counts once nobody has gone on with it for an hour; what is excluded counts for nothing."""
    data = tmp_path / "data"
    (data / "lost+found").mkdir(parents=True)
    for name, age in (("lost+found/x", 0), ("old.h5.part", 7200), ("new.h5.part", 60)):
        (data / name).write_bytes(b"x")
        os.utime(data / name, (1e9 - age, 1e9 - age))
    with surveyed(data, exclude=["lost+found"]) as (ledger, root, scanner):
        swept(ledger, root, scanner, 1e9)
        example = f"{data}/old.h5.part: left-over partial file; rule 'r' skips partial files of other programs"
        assert ledger.reports.unclaimed() == [(str(data), 1, example)]
        assert ledger.files.directories_below(str(data)) == []
