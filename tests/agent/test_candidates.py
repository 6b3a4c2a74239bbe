"""What becomes of a candidate that cannot be read: a person is asked only where the trouble is the file's own."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from agent.files import LOCAL, CannotTell, Handle, Look, Trouble, What
from agent.files.events import Hint
from agent.files.posix.tree import PosixTree
from agent.intake import Intake
from agent.intake.watch import Watch
from agent.ledger import File, Ledger, Proof, State, returns
from agent.observe.status import status
from rules.model import Content, Observation, Writer
from tests import configured

NOW = 1e9


class Site:
    """The real intake over a directory with one rule."""

    def __init__(
        self, root: Path, stack: ExitStack, marker: str = "{name}.done", complete: dict[str, str] | None = None
    ) -> None:
        self.data = root / "data"
        (self.data / "run").mkdir(parents=True)
        self.ledger = Ledger(str(root / "ledger.sqlite"))
        stack.callback(self.ledger.close)
        self.watch = Watch(LOCAL, str(self.data), lambda: None)
        stack.callback(self.watch.close)
        table = {
            "name": "r", "watch": str(self.data / "run"), "deliver": [{"to": "share"}],
            "batch": {"linger": "1s"},
            "complete": {"quiet": "1s", "marker": marker, "patience": "10s"} if complete is None else complete,
        }  # fmt: skip
        rules = (configured.rule(table),)
        place = self.ledger.destinations.place("share", "/share").id
        self.intake = Intake(
            self.ledger, LOCAL, rules, [self.watch], {"share": place}, "pc", 1e6, 0.0, lambda: 0.0, lambda: None
        )
        self.intake.start(NOW)

    def file(self, now: float) -> File:
        """Passes until nothing is due; then the file."""
        for _ in range(10):
            self.intake.step(now)
        (file,) = self.ledger.reports.files(list(State), 10)
        return file


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        made = Site(tmp_path, stack)
        (made.data / "run/scan.dat").write_bytes(b"x")
        assert made.file(NOW).state is State.CANDIDATE
        yield made


READABLE = "cannot be read: as told; make it readable for the agent's user, then `dropline retry`"
OPENABLE = "cannot be opened: as told; mend that, then `dropline retry`"
LATER = "it cannot be opened now: as told"


@pytest.mark.parametrize(
    ("what", "state", "reason"),
    [
        (What.DENIED, State.REFUSED, READABLE),
        (What.NOT_PERMITTED, State.REFUSED, READABLE),
        (What.DAMAGED, State.REFUSED, OPENABLE),
        (What.OTHER, State.REFUSED, OPENABLE),
        (What.BUSY, State.CANDIDATE, "a process has it open for writing"),
        (What.STALE, State.CANDIDATE, LATER),
        (What.NO_ANSWER, State.CANDIDATE, LATER),
        (What.EXHAUSTED, State.CANDIDATE, LATER),
    ],
)
def test_a_file_that_cannot_be_opened(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: What, state: State, reason: str
) -> None:
    """It waits where the trouble passes, and is refused where a person must act; nothing says that it went away."""

    def refuse(*_: object) -> None:
        raise Trouble(what, "as told")

    monkeypatch.setattr(PosixTree, "open", refuse)
    file = site.file(NOW + 2.0)
    assert (file.state, file.reason) == (state, reason)
    monkeypatch.undo()
    if state is State.CANDIDATE:
        assert site.file(NOW + 20.0).state is State.COMPLETE


def test_a_watched_directory_that_is_away_is_waited_for(site: Site) -> None:
    """Its files may be where it is. What is missing once it is back went away."""
    os.rename(site.data, f"{site.data}.away")
    file = site.file(NOW + 2.0)
    assert file.state is State.CANDIDATE
    assert file.reason == "the watched directory cannot be opened: No such file or directory"
    os.rename(f"{site.data}.away", site.data)
    (site.data / "run/scan.dat").unlink()
    file = site.file(NOW + 20.0)
    assert (file.state, file.reason) == (State.VANISHED, "it went away before it was delivered")


def test_a_file_on_another_file_system_than_its_directory_is_not_gone(site: Site) -> None:
    """Its own is not mounted."""
    with site.ledger.transaction():
        site.ledger.execute("UPDATE files SET device = device + 1")
    (site.data / "run/scan.dat").unlink()
    file = site.file(NOW + 2.0)
    assert (file.state, file.reason) == (State.CANDIDATE, "it is not there, and another file system is mounted there")


@pytest.mark.parametrize("marker", ["{name}.done", "{name}*.done"])
def test_a_marker_that_cannot_be_looked_for_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    """Patience is for markers that are not there."""
    look = PosixTree.look

    def refuse(*_: object) -> None:
        raise Trouble(What.DENIED, "as told")

    def looked(tree: PosixTree, path: str) -> Look:
        return CannotTell(Trouble(What.DENIED, "as told")) if path.endswith(".done") else look(tree, path)

    with ExitStack() as stack:
        site = Site(tmp_path, stack, marker)
        (site.data / "run/scan.dat").write_bytes(b"x")
        site.file(NOW)
        monkeypatch.setattr(PosixTree, "names", refuse)
        monkeypatch.setattr(PosixTree, "look", looked)
        file = site.file(NOW + 20.0)
        assert (file.state, file.reason) == (State.CANDIDATE, "its marker cannot be looked for: as told")
        monkeypatch.undo()
        assert site.file(NOW + 30.0).state is State.COMPLETE


def test_a_file_is_a_candidate_from_its_creation_and_its_close_ends_the_wait(site: Site) -> None:
    """It waits for its writer as any other; nothing is added to the quiet period by the looks between."""
    path = site.data / "run/new.dat"

    def state(now: float) -> tuple[State, str | None]:
        """Passes with a hint; then the file."""
        site.watch._put([Hint(str(path))])
        for _ in range(10):
            site.intake.step(now)
        (file,) = (file for file in site.ledger.reports.files(list(State), 10) if file.path == str(path))
        return file.state, file.reason

    (site.data / "run/new.dat.done").write_bytes(b"")
    with path.open("wb") as writer:
        assert state(NOW)[0] is State.CANDIDATE
        writer.write(b"x")
        writer.flush()
        assert state(NOW + 1.0)[0] is State.CANDIDATE
        assert state(NOW + 5.0) == (State.CANDIDATE, Writer.OPEN.value)
    assert state(NOW + 5.1)[0] in (State.COMPLETE, State.BATCHED)


def test_a_file_that_waits_for_its_marker_is_not_opened_again_and_its_marker_wakes_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands may wait for long. A look is enough to see that it changed."""
    opened: list[str] = []
    real = PosixTree.open

    def counting(tree: PosixTree, path: str, seen: Observation | None = None) -> Handle:
        opened.append(path)
        return real(tree, path, seen)

    monkeypatch.setattr(PosixTree, "open", counting)
    waits = "its marker '{name}.done' is not there; waiting 10 s at most"
    seen = [site.file(NOW + seconds) for seconds in (2.0, 4.5, 7.0, 7.5)]
    assert [(file.state, file.reason) for file in seen] == [(State.CANDIDATE, waits)] * 4
    assert opened == ["scan.dat"]
    done = site.data / "run/scan.dat.done"
    done.write_bytes(b"")
    site.watch._put([Hint(str(done))])
    site.intake.step(NOW + 7.6)
    site.intake.step(NOW + 7.6)
    assert [file.path for file in site.ledger.reports.files([State.COMPLETE], 10)] == [str(site.data / "run/scan.dat")]


def _written(path: Path, content: bytes, mtime: float) -> None:
    """Appended to and closed, at this time of its file system."""
    with path.open("ab") as file:
        file.write(content)
    os.utime(path, (mtime, mtime))


def test_a_writer_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    """First for its own file; after a second one, for all with the suffix in the folder, and for no other; also after a restart."""
    with ExitStack() as stack:
        site = Site(tmp_path, stack, complete={})
        run, now = site.data / "run", NOW

        def states(*names: str) -> list[str]:
            for _ in range(10):
                site.intake.step(now)
            return [site.ledger.files.history(str(run / name))[-1].state.value for name in names]

        def appended(*names: str) -> None:
            for name in names:
                _written(run / name, b"block", now)
                site.watch._put([Hint(str(run / name))])

        appended("one.raw")
        states()
        now += 1
        assert states("one.raw") == ["complete"]
        now += 2
        appended("one.raw", "two.raw")
        states()
        now += 1
        assert states("one.raw", "two.raw") == ["candidate", "complete"]
        now += 2
        appended("two.raw", "three.raw", "other.txt")
        states()
        now += 1
        assert states("one.raw", "two.raw", "three.raw", "other.txt") == [
            "candidate",
            "candidate",
            "candidate",
            "complete",
        ]
        now += 6
        assert states("one.raw", "two.raw", "three.raw") == ["batched"] * 3
        held = {one.suffix: one.quiet for one in site.ledger.returns.all(10) if one.name is None}
        assert held == {".raw": 6.0}
        with closing(Ledger(str(tmp_path / "ledger.sqlite"), read_only=True)) as again:
            assert [again.returns.quiet(str(run / name)) for name in ("new.raw", "new.txt")] == [6.0, 0.0]


def _saved(path: Path, content: bytes, how: str) -> None:
    """Saved by a program, as programs do it."""
    match how:
        case "append":
            with path.open("ab") as file:
                file.write(content[path.stat().st_size :])
        case "write over":
            with path.open("wb") as file:
                file.write(content)
        case "rename over":
            path.with_name("temporary").write_bytes(content)
            path.with_name("temporary").rename(path)


@pytest.mark.parametrize("how", ["append", "write over", "rename over"])
@pytest.mark.parametrize(
    ("former", "later", "quiet"),
    [
        (b"block", b"block, block", 6.0),
        (b"", b"filled", 6.0),
        (b"first", b"second, another one", 0.0),
        (b"a" * (16 * 2**20 + 1), b"b" * (16 * 2**20 + 2), 6.0),
    ],
    ids=["it goes on", "a placeholder", "written again", "too much to compare"],
)
def test_a_file_that_was_written_again_is_no_writer_that_comes_back(
    tmp_path: Path, former: bytes, later: bytes, quiet: float, how: str
) -> None:
    """Whichever way a program saves, a longer file with the first bytes that were proved goes on, and no other."""
    if how == "append" and not later.startswith(former):
        later = former + later  # it cannot write other bytes
        quiet = 6.0
    with ExitStack() as stack:
        site = Site(tmp_path, stack, complete={})
        path = site.data / "run/scan.raw"
        path.write_bytes(former)
        os.utime(path, (NOW, NOW))
        site.watch._put([Hint(str(path))])
        site.file(NOW)
        for now in (NOW + 0.5, NOW + 2.0):
            site.file(now)
        (file,) = site.ledger.reports.files([State.BATCHED], 10)
        place = site.ledger.destinations.place("share", "/share").id
        with site.ledger.transaction():
            content = Content(hashlib.sha256(former).digest(), len(former))
            site.ledger.deliveries.planned(place, [(file.id, "scan.raw")])
            site.ledger.deliveries.proved(
                place, "share", [Proof(file, "scan.raw", content, "sha256", "accepted")], NOW + 2.0
            )
        _saved(path, later, how)
        site.watch._put([Hint(str(path))])
        for now in (NOW + 3.0, NOW + 3.5):
            site.intake.step(now)
        site.intake.step(NOW + 3.5)
        assert site.ledger.returns.quiet(str(path)) == quiet
        site.intake.step(NOW + 9.0)
        assert site.ledger.files.history(str(path))[-1].state in (State.COMPLETE, State.BATCHED)


def test_the_page_and_status_name_what_waits_longer(tmp_path: Path) -> None:
    """The one file, or all with its suffix in its folder."""
    with closing(Ledger(str(tmp_path / "ledger.sqlite"))) as ledger:
        with ledger.transaction():
            ledger.returns.came_back("/data/a/one.raw", 6.0, NOW)
            ledger.returns.came_back("/data/a/two.raw", 4.0, NOW + 1)
            ledger.returns.came_back("/data/b/log", 600.0, NOW + 2)
        assert status(ledger, [], [], {}, {})["came_back"] == [
            {"files": "/data/b/log", "quiet": 600.0},
            {"files": "/data/a/*.raw", "quiet": 6.0},
        ]


def test_what_is_learned_of_writers_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose files have a new suffix each: the newest are remembered, in memory and on disk, also after a restart."""
    monkeypatch.setattr(returns, "MOST", 20)
    path = tmp_path / "ledger.sqlite"
    with closing(Ledger(str(path))) as ledger:
        for number in range(200):
            with ledger.transaction():
                ledger.returns.came_back(f"/data/a/file.{number}", 6.0, NOW + number)
            assert ledger.returns.quiet(f"/data/a/other.{number}") == 0.0
            assert len(ledger.returns.all(1000)) <= 23
        assert ledger.returns.quiet("/data/a/file.199") == 6.0
        assert ledger.returns.quiet("/data/a/file.0") == 0.0
    with closing(Ledger(str(path), read_only=True)) as again:
        assert again.returns.quiet("/data/a/file.199") == 6.0
