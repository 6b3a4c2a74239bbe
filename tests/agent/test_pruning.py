"""The ledger forgets what is over, and nothing that is forgotten changes what the agent does next."""

import os
import random
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.app.parts import Parts
from agent.ledger import File, Found, Ledger, Proof, Pruner, Sealed, State
from agent.ledger.links import Link
from agent.ledger.pruning import SLICE
from agent.observe.metrics import Metrics
from rules.config.config_error import RuleError
from rules.model import Content, FileId, Kind, Observation, OpenBatch, Version, VolumeId
from rules.versions.pruning import MOST_UNDELIVERED

T0 = 2_000_000_000.0
DAY = 86400.0
HISTORY = 100 * DAY
NAMES = ("c.h5", "d.h5", "run_1/a.h5", "run_1/b.h5", "run_2/a.h5")
CONTENTS = (b"one", b"two", b"three", b"thirteen")


class Agent:
    """An agent in its own directories, that passes when it is told to."""

    def __init__(self, root: Path, *, forgets: bool) -> None:
        self.root, self.data, self.now = root, root / "data", T0
        for name in ("data/run_1", "data/run_2", "share", "tape", "state"):
            (root / name).mkdir(parents=True)
        self._bell = threading.Event()
        self._stack = ExitStack()
        self._forgets = forgets
        self.parts = self._begin()

    def _begin(self) -> Parts:
        place = {name: {"path": str(self.root / name), "mounted": False} for name in ("share", "tape")}
        common = {
            "watch": str(self.data), "deliver": [{"to": "share"}, {"to": "tape"}], "reclaim": {"after": "30d", "min_age": "0s"},
        }  # fmt: skip
        files: dict[str, Any] = {"name": "files", "include": ["/*.h5"], "complete": {"quiet": "0s"}, **common}
        runs: dict[str, Any] = {
            "name": "runs", "include": ["/run_*/"], "dataset": {"dir": r"^(?P<run>run_\d+)/"},
            "complete": {"quiet": "0s", "require": [{"has": "*.h5", "at_least": 2}]}, **common,
        }  # fmt: skip
        settings = {"state_dir": str(self.root / "state"), "listen": "", "canary_every": "0s"}
        config = check({"agent": settings, "destinations": place, "rules": [files, runs]}, "test", self.root)
        parts = Parts(config, Metrics(), lambda name: self._bell.set, self._stack)
        parts.start(self.now)
        return parts

    def work(self) -> None:
        """Passes until nothing moves by itself; then it forgets what it may."""
        parts = self.parts
        for root in parts.intake.roots:
            root.why = "test"
        for _ in range(500):
            self._bell.clear()
            again = [
                parts.take_in(self.now), *(one.step(self.now) for one in parts.deliverers.values()),
                parts.reclaimer.step(self.now),
            ]  # fmt: skip
            if any(one.waiting for one in parts.deliverers.values()):
                self._bell.wait(1.0)
            elif not parts.intake.busy and all(at is None or at > self.now + 5 for at in again):
                break
            elif not parts.intake.busy and all(at is None or at > self.now for at in again):
                self.now = min(at for at in again if at is not None)
        if self._forgets:
            Pruner(parts.ledger, HISTORY).step(self.now)

    def restart(self) -> None:
        """It ends, and begins again."""
        self.close()
        self.parts = self._begin()

    def close(self) -> None:
        """As at its end."""
        self._stack.close()

    def known(self) -> list[tuple[str, str]]:
        """(path, state) of what is not over."""
        rows = self.parts.ledger.execute(
            "SELECT d.path, f.name, f.state FROM files f JOIN dirs d ON d.id = f.dir WHERE f.here"
        )
        return sorted(
            (os.path.relpath(os.fsdecode(path + b"/" + name), self.data), state) for path, name, state in rows
        )

    def files(self) -> list[tuple[str, bytes]]:
        """Everything that is here and there; names that a file got for itself (`a~2.h5`) without their number.

        Versions of a path of which nothing was ever delivered are numbered from 1 again once they are forgotten.
        """
        paths = [path for place in ("data", "share", "tape", "away") for path in (self.root / place).rglob("*.h5")]
        return sorted((re.sub(r"~\d+", "~", str(path.relative_to(self.root))), path.read_bytes()) for path in paths)


def act(agent: Agent, what: str, name: str, content: bytes) -> None:
    """Something happens on the disk."""
    path, tape, away = agent.data / name, agent.root / "tape", agent.root / "away"
    match what:
        case "write":
            path.write_bytes(content)
        case "append":
            with path.open("ab") as file:
                file.write(content)
        case "remove":
            path.unlink(missing_ok=True)
        case "replace":
            (agent.root / "new").write_bytes(content)
            (agent.root / "new").rename(path)
        case "unmount" if tape.exists():
            tape.rename(away)
        case "mount" if away.exists():
            away.rename(tape)
        case "spoil" if (agent.root / "share" / name).exists():
            (agent.root / "share" / name).write_bytes(b"spoiled")
        case "retry":
            with agent.parts.ledger.transaction():
                agent.parts.ledger.files.retried(agent.now)
                agent.parts.ledger.deliveries.retried(agent.now)
        case "restart":
            agent.restart()


HAPPENS = {
    "write": 2, "append": 2, "remove": 3, "replace": 4, "unmount": 1, "mount": 4, "spoil": 1, "retry": 1, "restart": 1
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory, in memory where there is such a file system: an agent waits for the disk most of its time."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield Path(made)


@pytest.mark.parametrize("seed", range(int(os.environ.get("SEEDS", "4"))))
def test_forgetting_changes_nothing_that_comes(place: Path, seed: int) -> None:
    """Whatever happened to files and how long ago: names, copies, removals and what waits are as if nothing was forgotten."""
    chance = random.Random(seed)  # noqa: S311  (not a secret)
    agents = [Agent(place / name, forgets=name == "forgets") for name in ("forgets", "remembers")]
    events: list[tuple[str, str, bytes, float]] = []
    for _ in range(40):
        what = chance.choices(list(HAPPENS), list(HAPPENS.values()))[0]
        later = chance.choice([60.0, 60.0, DAY, 8 * DAY, 40 * DAY, 150 * DAY])
        events.append((what, chance.choice(NAMES), chance.choice(CONTENTS), later))
        for agent in agents:
            act(agent, *events[-1][:3])
            agent.now += later
            agent.work()
        one, other = agents
        assert (one.known(), one.files()) == (other.known(), other.files()), events
        assert one.parts.ledger.execute("PRAGMA foreign_key_check").fetchall() == []
    rows = [agent.parts.ledger.execute("SELECT count(*), sum(batch IS NULL) FROM files").fetchone() for agent in agents]
    print(rows)
    for agent in agents:
        agent.close()


class Names:
    """A ledger in which names come and go."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path, T0
        self.ledger = Ledger(str(path))
        self.ledger.execute("PRAGMA synchronous = OFF")
        self.share = self.ledger.destinations.place("share", "/mnt/share").id

    def come(self, *names: str, dataset: str | None = None) -> list[File]:
        """New files become candidates."""
        with self.ledger.transaction():
            files = self.ledger.files
            whole = self.ledger.datasets.number(files.rule("r"), dataset, self.now) if dataset else None
            found = []
            for name in names:
                directory, _, last = f"/data/{name}".rpartition("/")
                known = files.known(directory, [last]).get(last)
                seen = Observation(Version(10, 1, 1, FileId(1)), VolumeId(1), Kind.FILE)
                generation = 1 if known is None else known.generation + 1
                number = files.directory(directory)
                found.append(Found(number, f"/data/{name}", "r", seen, generation, self.now, self.now, whole))
            files.found(found)
        return [self.ledger.files.history(f"/data/{name}")[-1] for name in names]

    def seal(self, files: list[File]) -> int:
        """They are a batch, on its way to the share."""
        with self.ledger.transaction():
            batch = self.ledger.batches.opened("r", "key", self.now)
            self.ledger.files.completed([(file, batch, "quiet") for file in files], self.now)
            self.ledger.batches.joined(batch, OpenBatch("key", len(files), 10, self.now, self.now))
            self.ledger.batches.sealed([Sealed(batch, "r", "full", [self.share])], self.now)
        return batch

    def deliver(self, files: list[File]) -> int:
        """They are verified, and removed here."""
        batch = self.seal(files)
        (delivery,) = [one for one in self.ledger.deliveries.due(self.share, self.now, 10**6) if one.batch == batch]
        with self.ledger.transaction():
            self.ledger.deliveries.planned(self.share, [(file.id, file.path[6:]) for file in files])
            self.ledger.deliveries.submitting([delivery], b"request", self.now)
            proofs = [Proof(file, file.path[6:], Content(b"c", 10), "sha256", "accepted") for file in files]
            self.ledger.deliveries.proved(self.share, "share", proofs, self.now)
            self.ledger.deliveries.finished([delivery], self.now)
            self.ledger.files.removed([(file.id, "r", file.path, "by somebody") for file in files], self.now)
        return batch

    def go(self, files: list[File]) -> None:
        """They go away before they were delivered."""
        with self.ledger.transaction():
            self.ledger.files.vanished([(file.id, "r", file.path, "it went away") for file in files], self.now)

    def forget(self, history: float = HISTORY) -> int:
        """All that may be. Returns how many slices it took."""
        pruner = Pruner(self.ledger, history)
        for slices in range(1, 10_000):
            again = pruner.step(self.now)
            if again > self.now + 1:
                return slices
            self.now = again
        raise AssertionError("it does not end")

    def rows(self) -> dict[str, int]:
        """Of each table that grows with what comes."""
        tables = ("files", "dirs", "datasets", "batches", "deliveries", "submissions", "summaries", "copies")
        return {table: self.ledger.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}  # noqa: S608


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    """An empty ledger."""
    made = Names(tmp_path / "ledger.sqlite")
    yield made
    made.ledger.close()


def test_names_that_come_and_go_for_ever_do_not_fill_the_disk(names: Names) -> None:
    """Whole directories, datasets and batches of them: after a week all is forgotten, and what was written is written over."""
    sizes = []
    for week in range(5):
        for number in range(4):
            plain = names.come(*(f"w{week}/{number}/{file}" for file in range(100)))
            names.seal(plain[:50])
            names.go(
                plain + names.come(*(f"d{week}-{number}/{file}" for file in range(50)), dataset=f"d{week}-{number}")
            )
        with names.ledger.transaction():
            names.ledger.execute("UPDATE datasets SET again = NULL")
        names.now += 8 * DAY
        names.forget()
        sizes.append(names.ledger.execute("PRAGMA page_count").fetchone()[0])
    assert names.rows() == dict.fromkeys(names.rows(), 0)
    assert sizes[1:] == [sizes[1]] * 4
    assert names.ledger.execute("SELECT * FROM tally WHERE files <> 0 OR bytes <> 0").fetchall() == []
    assert names.ledger.reports.deliveries() == []


def test_datasets_of_links_alone_are_forgotten(names: Names) -> None:
    """A folder with nothing but a link, made and removed again and again under new names: its dataset goes with the link."""
    ledger = names.ledger
    for number in range(2 * SLICE):
        with ledger.transaction():
            rule = ledger.files.rule("r")
            dataset = ledger.datasets.number(rule, f"d{number}", names.now)
            ledger.links.found(f"/data/d{number}", [Link("link", rule, dataset, "/etc/passwd")], whole=True)
    with ledger.transaction():
        ledger.execute("UPDATE datasets SET again = NULL")
        for number in range(1, 2 * SLICE):
            ledger.links.found(f"/data/d{number}", [], whole=True)
    names.forget()
    assert names.rows()["datasets"] == ledger.links.of_rules()["r"] == 1


def test_no_more_than_ten_thousand_are_known_that_never_arrived(names: Names) -> None:
    """However young they are; a pass takes a slice, so that nobody waits for it."""
    names.go(names.come(*(f"{number}/a" for number in range(MOST_UNDELIVERED + 2 * SLICE))))
    names.now += 60
    (last,) = names.come("last")
    names.go([last])
    Pruner(names.ledger, HISTORY).step(names.now)
    assert names.rows()["files"] == MOST_UNDELIVERED + SLICE + 1
    names.forget()
    assert MOST_UNDELIVERED - SLICE < names.rows()["files"] == names.rows()["dirs"] <= MOST_UNDELIVERED
    assert names.ledger.files.history("/data/last")[-1].id == last.id


def test_what_was_delivered_is_compacted_in_its_time(names: Names) -> None:
    """Its batch, deliveries and reason go; its state, its copy and its checksum stay, and the last batch of a rule does."""
    (file,) = names.come("a")
    names.deliver([file])
    names.now += 1
    last = names.deliver(names.come("b"))
    names.now += HISTORY - 2
    names.forget()
    assert names.rows() == dict.fromkeys(names.rows(), 2) | {"dirs": 1, "datasets": 0, "summaries": 1}
    copies = names.ledger.reports.copies_of(file.id)
    names.now += 2
    names.forget()
    (known,) = names.ledger.files.history("/data/a")
    assert known == file._replace(state=State.REMOVED, since=T0)
    assert names.ledger.reports.copies_of(file.id) == copies
    assert [one["checksum"] for one in copies] == ["sha256:63"]
    assert names.rows() == dict.fromkeys(names.rows(), 1) | {"files": 2, "copies": 2, "datasets": 0}
    assert [one.id for one in names.ledger.reports.batches(10)] == [last]
    assert names.ledger.reports.last_verified() == {"r": T0 + 1}
    assert names.forget() == 1


def test_numbers_are_never_used_again(names: Names) -> None:
    """Events of batches have ids that are made of them, and so have names of parts and of the trash."""
    (file,) = names.come("a")
    batch = names.seal([file])
    names.go([file])
    names.now += 8 * DAY
    names.forget()
    assert names.rows()["files"] == names.rows()["batches"] == 0
    (other,) = names.come("a")
    assert (other.id, other.generation, names.seal([other])) == (file.id + 1, 1, batch + 1)


def test_an_empty_batch_stays_while_somebody_has_it_in_hand(names: Names) -> None:
    """While its destination is up, or what is to be done for it waits."""
    files = names.come("a", "b")
    batches = [names.seal([file]) for file in files]
    names.go(files)
    with names.ledger.transaction():
        names.ledger.destinations.went(names.share, True, None, names.now)
        names.ledger.outbox.enqueued([(("r", "webhook"), batches[0], b"{}")], names.now)
    names.now += 8 * DAY
    names.forget()
    assert names.rows()["batches"] == 2
    with names.ledger.transaction():
        names.ledger.destinations.went(names.share, False, "away", names.now)
    names.forget()
    assert [one.id for one in names.ledger.reports.batches(10)] == [batches[0]]


def test_a_copy_that_a_later_version_replaced_is_forgotten(names: Names) -> None:
    """One that is the last of its content is not: the file was gone before the next version came."""
    for path, gone in (("replaced", False), ("only", True)):
        for generation in range(1, 4):
            (file,) = names.come(path)
            names.seal([file])
            with names.ledger.transaction():
                names.ledger.deliveries.planned(names.share, [(file.id, path)])
                proof = Proof(file, path, Content(bytes([generation]), 10), "sha256", "accepted")
                names.ledger.deliveries.proved(names.share, "share", [proof], names.now)
                names.ledger.deliveries.finished(names.ledger.deliveries.due(names.share, names.now, 9), names.now)
                end = names.ledger.files.removed if gone else names.ledger.files.superseded
                end([(file.id, "r", file.path, "over")], names.now)
    names.now += 2 * HISTORY
    names.forget()
    assert [one.generation for one in names.ledger.files.history("/data/replaced")] == [3]
    assert [one.generation for one in names.ledger.files.history("/data/only")] == [1, 2, 3]


def test_that_a_file_was_written_again_is_known_as_long_as_a_copy_of_what_it_was_before(names: Names) -> None:
    """Of versions that were never delivered one stays: a later one may not replace what is at the share."""
    (first,) = names.come("a")
    names.seal([first])
    with names.ledger.transaction():
        names.ledger.deliveries.planned(names.share, [(first.id, "a")])
        proof = Proof(first, "a", Content(b"c", 10), "sha256", "accepted")
        names.ledger.deliveries.proved(names.share, "share", [proof], names.now)
    for number in range(3):
        former = names.ledger.files.history("/data/a")[-1]
        again = Observation(Version(99, 1, 1, FileId(number + 2)), VolumeId(1), Kind.FILE)
        with names.ledger.transaction():
            names.ledger.files.superseded(
                [(former.id, "r", former.path, "a newer version of the file is here")], names.now
            )
            directory = names.ledger.files.directory("/data")
            generation, rewritten = former.generation + 1, number < 2
            names.ledger.files.found(
                [Found(directory, "/data/a", "r", again, generation, names.now, names.now, None, rewritten)]
            )
    names.now += 8 * DAY
    names.forget()
    known = names.ledger.files.history("/data/a")
    assert [file.generation for file in known] == [1, 2, 4]
    assert names.ledger.deliveries.rewritten(known[-1], since=1)


def test_a_configuration_says_how_long(tmp_path: Path) -> None:
    """A year where it says nothing; a day at the least; `"1y"` is 365 days."""

    def history(**agent: str) -> float:
        share = {"share": {"path": str(tmp_path)}}
        return check({"agent": agent, "destinations": share, "rules": []}, "test", tmp_path).settings.agent.keep_history

    assert (history(), history(keep_history="2y"), history(keep_history="1d")) == (365 * DAY, 730 * DAY, DAY)
    with pytest.raises(RuleError, match="keep_history"):
        history(keep_history="23h")
