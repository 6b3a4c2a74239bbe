"""Each step of a removal, with somebody who interferes: nothing is lost, nothing is deleted that is not what was proved."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.app.run import once
from agent.errors import Transient
from agent.files import LOCAL, Trouble, What
from agent.files.posix import writer_probe
from agent.files.posix.tree import PosixTree
from agent.ledger import File, Ledger
from agent.reclaim import Reclaimer, Record, Required
from rules.config.settings import Configuration
from rules.model import OWN_PREFIX, Observation, Version
from rules.naming import stat_content
from rules.versions.copies import Confirmed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases as on Linux")
PROVED = b"proved"
DAY = 86400.0
Act = Callable[[str], object]


class Watched(PosixTree):
    """A directory of this computer, and somebody who learns of each step before the next."""

    def __init__(self, root: str, act: Act) -> None:
        super().__init__(root)
        self._act = act

    def move_aside(self, path: str, aside: str, proved: Version) -> Any:
        self._act("decided")
        held = super().move_aside(path, aside, proved)
        self._act("moved")
        return held

    def hold(self, aside: str, proved: Version, ctime_ns: int | None) -> Any:
        self._act("asked again")
        held = super().hold(aside, proved, ctime_ns)
        self._act("held")
        return held

    def rename_new(self, source: str, target: str) -> None:
        self._act("to be put back")
        super().rename_new(source, target)
        self._act("put back")

    def replace(self, source: str, target: str) -> None:
        self._act("compared")
        super().replace(source, target)
        self._act("renamed")

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._act("unlinked")


class Computer:
    """This computer, with somebody who interferes."""

    def __init__(self, act: Act) -> None:
        self._act = act

    def __getattr__(self, name: str) -> Any:
        return getattr(LOCAL, name)

    def tree(self, root: str) -> Any:
        return Watched(root, self._act)


class Desk:
    """An agent that delivered `run/scan.h5`, which may go now."""

    def __init__(self, root: Path, template: Path, names: Sequence[str]) -> None:
        """`template`: where an agent delivered files of these names; the ledger of this one is told that it did."""
        self.data, self.share, self.state = root / "data", root / "share", root / "state"
        shutil.copytree(template, root, dirs_exist_ok=True)
        self.path = self.data / names[0]
        self.inode = self.path.stat().st_ino
        self.ledger = Ledger(str(self.state / "ledger.sqlite"))
        with self.ledger.transaction():
            for table, column in (("dirs", "path"), ("destinations", "address")):
                for value, number in self.ledger.execute(f"SELECT {column}, rowid FROM {table}").fetchall():  # noqa: S608
                    moved = value.replace(
                        *((os.fsencode(one) if column == "path" else str(one)) for one in (template, root))
                    )
                    self.ledger.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (moved, number))  # noqa: S608
            for name in names:
                self._noted(self.data / name)
        self.now: float = self.ledger.execute("SELECT max(proved_at) + 1 FROM copies").fetchone()[0]
        self.steps: list[str] = []
        """What was done, in its order."""
        self.at: dict[str, Callable[[], object]] = {}
        """Step -> what somebody does then, once."""
        self.answer: Callable[[], Confirmed] = lambda: Confirmed(True, "it is there")

    def _noted(self, path: Path) -> None:
        status, seen = path.stat(), LOCAL.look(str(path))
        assert isinstance(seen, Observation)
        self.ledger.execute(
            "UPDATE files SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, device = ? WHERE name = ?",
            (
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_ino,
                seen.volume,
                os.fsencode(path.name),
            ),
        )

    def config(self, **reclaim: Any) -> Configuration:
        return configuration(self.data.parent, **({"reclaim": {"min_age": "0s"} | reclaim} if reclaim else {}))

    def act(self, step: str) -> None:
        self.steps.append(step)
        self.at.pop(step, lambda: None)()

    def _ask(self, *_: object) -> Confirmed:
        self.act("asked")
        return self.answer()

    def reclaimer(self, free: Callable[[str], float | None] | None = None, **reclaim: Any) -> Reclaimer:
        required = {"share": Required(str(self.share), self._ask)}
        made = Reclaimer(
            self.ledger, Computer(self.act), self.config(**reclaim).rules, required, Record(self.record), free
        )
        made.start(self.now)
        return made

    @property
    def record(self) -> Path:
        return self.state / "deletions.jsonl"

    @property
    def recorded(self) -> list[str]:
        """Paths of files whose deletion is recorded."""
        text = self.record.read_text() if self.record.exists() else ""
        return [os.path.relpath(json.loads(line)["file"], self.data) for line in text.splitlines()]

    @property
    def here(self) -> dict[str, bytes]:
        """What is in the watched directory."""
        found = (one for one in self.data.rglob("*") if one.is_file())
        return {os.path.relpath(one, self.data): one.read_bytes() for one in found}

    @property
    def aside(self) -> Path:
        """Where the file stands now."""
        return next(one for one in self.data.rglob("*") if one.is_file() and one.stat().st_ino == self.inode)

    @property
    def files(self) -> list[File]:
        """What the ledger has of all."""
        return [self.ledger.files.history(str(self.data / name))[-1] for name in NAMES]

    @property
    def file(self) -> File:
        """What the ledger has of it."""
        return self.ledger.files.history(str(self.path))[-1]

    def holds(self, content: bytes) -> None:
        """The law: this content is here under a name that sweeps see, nothing is recorded, nothing untrue is called safe."""
        seen = {name: data for name, data in self.here.items() if OWN_PREFIX not in name}
        assert content in seen.values(), self.here
        assert self.recorded == []
        assert self.file.state.value in ("verified", "superseded", "refused")
        if self.file.state.value == "verified" and self.path.exists():
            status = self.path.stat()
            disk = Version(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)  # type: ignore[arg-type]
            assert self.file.version != disk or seen["run/scan.h5"] == PROVED


def configuration(root: Path, **rule: Any) -> Configuration:
    """One rule from `data` to `share`."""
    rules = [
        {
            "name": "r", "watch": str(root / "data"), "complete": {"quiet": "0s"}, "batch": {"linger": "0s"},
            "deliver": [{"to": "share"}], **rule,
        }
    ]  # fmt: skip
    agent = {"state_dir": str(root / "state"), "listen": "", "canary_every": "0s"}
    return check(
        {"agent": agent, "destinations": {"share": {"path": str(root / "share")}}, "rules": rules}, "test", root
    )


NAMES = ["run/scan.h5", "run/second.h5"]


def _template(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        (root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / name).write_bytes(PROVED)
    (root / "share").mkdir()
    once(configuration(root))
    return root


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an agent delivered one file."""
    return _template(tmp_path_factory.mktemp("one"), NAMES[:1])


@pytest.fixture(scope="module")
def template_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an agent delivered two files."""
    return _template(tmp_path_factory.mktemp("two"), NAMES)


@pytest.fixture
def desk(tmp_path: Path, template: Path) -> Iterator[Desk]:
    """One file is verified."""
    made = Desk(tmp_path / "desk", template, NAMES[:1])
    yield made
    made.ledger.close()


@pytest.fixture
def two(tmp_path: Path, template_of_two: Path) -> Iterator[Desk]:
    """Two files of one batch are verified."""
    made = Desk(tmp_path / "desk", template_of_two, NAMES)
    yield made
    made.ledger.close()


def in_place(desk: Desk, content: bytes, *, mtime: bool) -> bytes:
    """Somebody who opens the file writes, where nobody keeps a program from opening it. Returns what it then holds."""
    path = desk.aside
    before = path.stat()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except BlockingIOError:
        return PROVED  # it waits, and writes later
    os.write(fd, content)
    os.close(fd)
    if not mtime:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path.read_bytes()


def replaced(desk: Desk) -> bytes:
    """Another file with the same size and mtime takes the name."""
    path, status = desk.aside, desk.aside.stat()
    other = desk.data.parent / "other"
    other.write_bytes(b"OTHER!")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)
    return b"OTHER!"


def touched(desk: Desk) -> bytes:
    status = desk.aside.stat()
    os.utime(desk.aside, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    return PROVED


INTERFERENCE: Mapping[str, Callable[[Desk], bytes]] = {
    "appended": lambda desk: in_place(desk, PROVED + b" and more", mtime=True),
    "appended, with its mtime put back": lambda desk: in_place(desk, PROVED + b" and more", mtime=False),
    "rewritten": lambda desk: in_place(desk, b"PROVED", mtime=True),
    "rewritten, with its mtime put back": lambda desk: in_place(desk, b"PROVED", mtime=False),
    "replaced": replaced,
    "touched": touched,
}
STEPS = ["asked", "decided", "compared", "renamed", "moved"]


@pytest.fixture(params=["leases", "no leases"])
def leasing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """File systems with leases, and those without."""
    monkeypatch.setattr(writer_probe, "_prepared", request.param == "leases")
    return bool(request.param == "leases")


TRASH = {"no trash": {}, "trash": {"trash": "1d"}}


@pytest.mark.usefixtures("leasing")
@pytest.mark.parametrize("trash", TRASH)
@pytest.mark.parametrize("how", INTERFERENCE)
@pytest.mark.parametrize("step", STEPS)
def test_what_is_changed_at_any_step_stays(desk: Desk, step: str, how: str, trash: str) -> None:
    """Whatever changes, and whenever, up to the unlink: the newest content is here, and nothing is recorded as deleted."""
    newest: list[bytes] = []
    desk.at[step] = lambda: newest.append(INTERFERENCE[how](desk))
    desk.reclaimer(after="0s", **TRASH[trash]).step(desk.now)
    if desk.file.state.value == "reclaiming":  # it waits in the trash, and is looked at again before it goes
        assert trash == "trash"
        desk.reclaimer(after="0s", **TRASH[trash]).step(desk.now + 2 * DAY)
    assert newest, desk.steps
    desk.holds(newest[0])


@pytest.mark.usefixtures("leasing")
@pytest.mark.parametrize("how", INTERFERENCE)
@pytest.mark.parametrize("step", ["waiting", "asked", "asked again", "held"])
def test_what_is_changed_in_the_trash_comes_back(desk: Desk, step: str, how: str) -> None:
    """A file that waits there, or whose time is over, is compared with what it was when it was moved there."""
    desk.reclaimer(after="0s", trash="1d").step(desk.now)
    assert (desk.file.state.value, list(desk.here)) == ("reclaiming", [f".dropline-trash/{desk.file.id}/run/scan.h5"])
    newest: list[bytes] = []
    if step == "waiting":
        newest.append(INTERFERENCE[how](desk))
    desk.at[step] = lambda: newest.append(INTERFERENCE[how](desk))
    desk.reclaimer(after="0s", trash="1d").step(desk.now + 2 * DAY)
    desk.holds(newest[0])


@pytest.mark.parametrize("trash", TRASH)
@pytest.mark.parametrize("step", STEPS)
def test_a_program_that_opens_the_file_gets_it_with_its_name(desk: Desk, step: str, trash: str) -> None:
    """It may have to wait for a moment; what it then writes is in the file that has the name."""
    opened = threading.Event()

    def append(path: Path) -> None:
        with path.open("ab") as file:
            opened.set()
            file.write(b" and more")

    def comes() -> None:
        writer = threading.Thread(target=append, args=(desk.aside,))
        writer.start()
        writers.append(writer)
        while not (opened.is_set() or _breaking(desk.inode)):
            writer.join(0.001)  # gives the processor away

    writers: list[threading.Thread] = []
    desk.at[step] = comes
    desk.reclaimer(after="0s", **TRASH[trash]).step(desk.now)
    writers[0].join()
    if desk.file.state.value == "reclaiming":
        desk.reclaimer(after="0s", trash="1d").step(desk.now + 2 * DAY)
    desk.holds(PROVED + b" and more")
    assert desk.path.read_bytes() == PROVED + b" and more"


def _breaking(inode: int) -> bool:
    """Whether a program waits to open the file for writing."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("LEASE" in line and "BREAKING" in line and f":{inode} " in line for line in lines)


@pytest.mark.parametrize("step", ["asked", "decided"])
def test_a_file_that_is_open_for_writing_is_not_even_moved(desk: Desk, step: str) -> None:
    """Nothing was written to it yet; its name never goes away."""
    fds: list[int] = []
    desk.at[step] = lambda: fds.append(os.open(desk.path, os.O_WRONLY))
    desk.reclaimer(after="0s").step(desk.now)
    os.close(fds[0])
    assert "compared" not in desk.steps
    assert (desk.here, desk.file.state.value, desk.recorded) == ({NAMES[0]: PROVED}, "verified", [])
    desk.reclaimer(after="0s").step(desk.now + 100)
    assert (desk.here, desk.file.state.value, desk.recorded) == ({}, "reclaimed", NAMES[:1])


FIELDS = ["size", "mtime_ns", "ctime_ns", "inode"]


@pytest.mark.parametrize("field", FIELDS)
def test_evidence_of_another_version_permits_nothing(desk: Desk, field: str) -> None:
    """Each of size, mtime, ctime and identity by itself makes it another one: said so, and not even moved."""
    with desk.ledger.transaction():
        desk.ledger.execute(f"UPDATE files SET {field} = {field} + 1")  # noqa: S608  (a field of ours)
        if field == "size":
            desk.ledger.execute("UPDATE copies SET size = size + 1")  # else the evidence is refused for its own size
    reclaimer = desk.reclaimer(after="0s")
    (decision,) = reclaimer.plan(desk.now)
    assert decision.verdict.reason == "the local file is not the version that was proved"
    reclaimer.step(desk.now)
    assert (desk.here, desk.recorded) == ({NAMES[0]: PROVED}, [])
    assert "decided" not in desk.steps


def test_a_writer_is_seen_before_anything_is_moved(desk: Desk) -> None:
    """The verdict says so, and nothing begins."""
    with desk.path.open("ab"):
        reclaimer = desk.reclaimer(after="0s")
        (decision,) = reclaimer.plan(desk.now)
        assert decision.verdict.reason == "a process has it open for writing"
        reclaimer.step(desk.now)
    assert "decided" not in desk.steps
    assert desk.here == {NAMES[0]: PROVED}


def trashed(desk: Desk) -> None:
    """The file waits in the trash, and nobody does anything."""
    desk.reclaimer(after="0s", trash="1d").step(desk.now)
    assert desk.file.state.value == "reclaiming"
    desk.steps.clear()


# What is asked


@pytest.mark.parametrize("short", [False, True])
def test_the_trash_is_not_purged_without_asking(desk: Desk, short: bool) -> None:
    """Also when space is short: each destination is asked first, and a copy that is gone brings the file back."""
    trashed(desk)
    desk.answer = lambda: Confirmed(False, "at share, it is gone")
    policy = {"after": "0s", "trash": "1d"} | ({"when_free_below": "50%"} if short else {})
    reclaimer = desk.reclaimer(lambda path: 0.1, **policy)
    reclaimer.step(desk.now + (1 if short else 2 * DAY))
    assert desk.steps[:2] == ["asked", "asked again"]
    desk.holds(PROVED)
    assert desk.path.exists()


@pytest.mark.parametrize("short", [False, True])
def test_what_cannot_be_asked_about_is_not_deleted(desk: Desk, short: bool) -> None:
    """A destination that does not answer: nothing goes and nothing is recorded, and it is not asked again at once."""
    trashed(desk)

    def away() -> Confirmed:
        raise Transient("away")

    desk.answer = away
    policy = {"after": "0s", "trash": "1d"} | ({"when_free_below": "50%"} if short else {})
    later = desk.now + (1 if short else 2 * DAY)
    again = desk.reclaimer(lambda path: 0.1, **policy).step(later)
    assert (list(desk.here.values()), desk.recorded, desk.file.state.value) == ([PROVED], [], "reclaiming")
    assert again == later + 60
    desk.answer = lambda: Confirmed(True, "it is there")
    desk.reclaimer(lambda path: 0.1, **policy).step(later + 60)
    assert (desk.here, desk.recorded, desk.file.state.value) == ({}, NAMES[:1], "reclaimed")


def test_withdrawn_evidence_brings_the_file_back(desk: Desk) -> None:
    """The ledger does not know any more that a copy is there: nobody needs to be asked."""
    trashed(desk)
    with desk.ledger.transaction():
        desk.ledger.execute("UPDATE copies SET proved_at = NULL")
    desk.reclaimer(after="0s", trash="1d").step(desk.now + 2 * DAY)
    desk.holds(PROVED)
    assert "asked" not in desk.steps


@pytest.mark.parametrize("left", ["reclaim", "rule"])
def test_nothing_goes_after_the_rule_said_so(desk: Desk, left: str) -> None:
    """`reclaim`, or the rule itself, left the configuration: what waits in the trash comes back, whoever has what."""
    trashed(desk)
    reclaimer = desk.reclaimer()
    if left == "rule":
        reclaimer = Reclaimer(desk.ledger, LOCAL, [], {}, Record(desk.record))
        reclaimer.start(desk.now)
    reclaimer.step(desk.now + 2 * DAY)
    desk.holds(PROVED)
    assert (desk.path.exists(), "asked" in desk.steps) == (True, False)


# What is put back


@pytest.mark.parametrize("taken", [[NAMES[0]], [NAMES[0], "run/scan~1.h5"]])
def test_what_is_put_back_beside_a_newer_file_is_seen(desk: Desk, taken: list[str]) -> None:
    """It is neither hidden nor called verified, and the newer file is not touched."""
    trashed(desk)
    for name in taken:
        (desk.data / name).write_bytes(b"newer")
    desk.reclaimer().step(desk.now + 2 * DAY)
    assert desk.here == {**dict.fromkeys(taken, b"newer"), f"run/scan~{len(taken)}.h5": PROVED}
    assert (desk.file.state.value, desk.recorded) == ("superseded", [])


@pytest.mark.parametrize("taken", [[], [NAMES[0]], [NAMES[0], "run/scan~1.h5"]])
def test_an_agent_that_is_killed_while_it_puts_a_file_back_records_no_deletion(desk: Desk, taken: list[str]) -> None:
    """Whatever name the file got: the next run knows that it was coming back."""
    trashed(desk)
    for name in taken:
        (desk.data / name).write_bytes(b"newer")

    def killed() -> None:
        raise KeyboardInterrupt

    desk.at["put back"] = killed
    with pytest.raises(KeyboardInterrupt):
        desk.reclaimer().step(desk.now + 2 * DAY)
    desk.reclaimer(after="0s", trash="1d").step(desk.now + 3 * DAY)
    desk.holds(PROVED)
    assert (desk.file.state.value, desk.recorded) == ("superseded", [])


def test_what_is_put_back_unchanged_stays_verified(desk: Desk) -> None:
    """The rename moved its ctime, which the ledger learns: no sweep takes it for a new version."""
    trashed(desk)
    desk.reclaimer().step(desk.now + 2 * DAY)
    assert (desk.file.state.value, desk.file.version.ctime_ns) == ("verified", desk.path.stat().st_ctime_ns)
    assert desk.ledger.execute("SELECT reclaim_at FROM batches").fetchone() == (desk.now + 2 * DAY + 60.0,)


def test_what_changed_before_it_is_put_back_is_not_verified(desk: Desk) -> None:
    """Whatever the reason why it comes back."""
    trashed(desk)
    newest = INTERFERENCE["appended"](desk)
    desk.reclaimer().step(desk.now + 2 * DAY)
    desk.holds(newest)
    assert desk.file.state.value == "superseded"


def test_a_program_that_comes_while_the_file_is_put_back_ends_its_proof(desk: Desk) -> None:
    """What it writes may have the very ctime of the rename: the next sweep looks at the file."""
    trashed(desk)

    def comes() -> None:
        with pytest.raises(BlockingIOError):
            os.open(desk.path, os.O_WRONLY | os.O_NONBLOCK)

    desk.at["put back"] = comes
    desk.reclaimer().step(desk.now + 2 * DAY)
    assert desk.path.read_bytes() == PROVED
    assert desk.file.version.ctime_ns != desk.path.stat().st_ctime_ns


# What is recorded


def test_each_deletion_has_its_record(two: Desk) -> None:
    """Where it cannot be written at first, it is when that is mended; once."""
    reclaimer = two.reclaimer(after="0s")
    two.record.mkdir()
    with pytest.raises(Transient, match="deletions cannot be recorded"):
        reclaimer.step(two.now)
    assert two.here == {}
    two.record.rmdir()
    reclaimer.step(two.now + 1)
    assert (two.here, sorted(two.recorded)) == ({}, NAMES)
    two.reclaimer(after="0s").step(two.now + 100)
    assert sorted(two.recorded) == NAMES


def test_a_deletion_that_the_ledger_cannot_take_is_recorded_once(two: Desk) -> None:
    """However often a pass fails after the line was written."""
    two.ledger.execute(
        "CREATE TEMP TRIGGER full BEFORE UPDATE OF state ON files WHEN NEW.state = 'reclaimed'"
        " BEGIN SELECT RAISE(ABORT, 'it cannot be written'); END"
    )
    reclaimer = two.reclaimer(after="0s")
    for later in range(5):
        reclaimer.step(two.now + 100 * later)
    assert (two.here, sorted(two.recorded)) == ({}, NAMES)
    assert {file.state.value for file in two.files} == {"reclaiming"}
    two.ledger.execute("DROP TRIGGER full")
    reclaimer.step(two.now + 1000)
    assert sorted(two.recorded) == NAMES
    assert {file.state.value for file in two.files} == {"reclaimed"}


@pytest.mark.parametrize("answer", ["absent", "another file system"])
def test_only_a_file_that_is_surely_gone_is_recorded(desk: Desk, answer: str) -> None:
    """It is not where it stood aside, after a run that was about to remove it: gone, on the file system where it was."""
    trashed(desk)
    desk.at["unlinked"] = _killed
    with pytest.raises(KeyboardInterrupt):
        desk.reclaimer(after="0s", trash="1d").step(desk.now + 2 * DAY)
    assert desk.here == {}
    if answer != "absent":
        with desk.ledger.transaction():
            desk.ledger.execute("UPDATE files SET device = device + 1")
    again = desk.reclaimer(after="0s", trash="1d").step(desk.now + 2 * DAY)
    if answer == "absent":
        assert (desk.recorded, desk.file.state.value) == (NAMES[:1], "reclaimed")
    else:
        assert (desk.recorded, desk.file.state.value, again) == ([], "reclaiming", desk.now + 2 * DAY + 60)


@pytest.mark.parametrize("how", ["appended", "touched"])
def test_a_file_that_was_never_moved_is_not_recorded(desk: Desk, how: str) -> None:
    """A run was killed after it wrote the intent; the file was changed meanwhile. It was not deleted."""
    desk.at["decided"] = _killed
    with pytest.raises(KeyboardInterrupt):
        desk.reclaimer(after="0s").step(desk.now)
    assert desk.file.state.value == "reclaiming"
    newest = INTERFERENCE[how](desk)
    desk.reclaimer(after="0s").step(desk.now + 100)
    desk.holds(newest)
    assert desk.file.state.value == "superseded"


def test_a_file_that_was_never_moved_is_as_verified_as_before(desk: Desk) -> None:
    """A run was killed after it wrote the intent, and nothing happened since."""
    desk.at["decided"] = _killed
    with pytest.raises(KeyboardInterrupt):
        desk.reclaimer(after="0s").step(desk.now)
    desk.reclaimer(after="7d")
    assert (desk.file.state.value, desk.file.reason) == ("verified", "it had not been moved yet")


def _killed() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("step", ["renamed", "moved"])
def test_what_a_killed_run_left_aside_is_read(desk: Desk, step: str, changed: bool) -> None:
    """Its ctime is not known, so its stamps prove nothing: its content decides."""
    desk.at[step] = _killed
    with pytest.raises(KeyboardInterrupt):
        desk.reclaimer(after="0s").step(desk.now)
    assert list(desk.here) == [f"run/.dropline-reclaim-{desk.file.id}"]
    newest = INTERFERENCE["rewritten, with its mtime put back"](desk) if changed else PROVED
    desk.reclaimer(after="0s").step(desk.now + 100)
    if changed:
        desk.holds(newest)
    else:
        assert (desk.here, desk.recorded, desk.file.state.value) == ({}, NAMES[:1], "reclaimed")


def test_a_file_that_has_both_names_is_not_deleted(desk: Desk) -> None:
    """Killed while it was put back by a second name: it keeps the first one, and nothing is recorded as deleted."""
    desk.at["moved"] = _killed
    with pytest.raises(KeyboardInterrupt):
        desk.reclaimer(after="0s").step(desk.now)
    os.link(desk.data / f"run/.dropline-reclaim-{desk.file.id}", desk.data / NAMES[0])
    desk.reclaimer(after="0s").step(desk.now + 100)
    assert (desk.here, desk.recorded, desk.file.state.value) == ({NAMES[0]: PROVED}, [], "superseded")


# Pauses


@pytest.mark.parametrize("step", ["asked", "decided"])
def test_a_pause_in_the_middle_of_a_pass_is_obeyed(two: Desk, step: str) -> None:
    """What is decided when a person pauses stays, as verified as it was; of what was begun, no more than that."""
    two.at[step] = lambda: two.ledger.pauses.paused("reclaim")
    two.reclaimer(after="0s").step(two.now)
    left = NAMES if step == "asked" else NAMES[1:]
    assert (sorted(two.here), two.steps.count("decided")) == (left, 2 - len(left))
    assert [file.state.value for file in two.files] == (
        ["verified"] * 2 if step == "asked" else ["reclaimed", "verified"]
    )
    two.ledger.pauses.resumed("reclaim")
    two.reclaimer(after="0s").step(two.now + 1)
    assert (two.here, sorted(two.recorded)) == ({}, NAMES)


def test_a_pause_while_the_trash_is_asked_about_is_obeyed(two: Desk) -> None:
    """The answer comes late: the file waits in the trash, and so do the others."""
    two.reclaimer(after="0s", trash="1d").step(two.now)
    two.steps.clear()
    two.at["asked"] = lambda: two.ledger.pauses.paused("reclaim")
    two.reclaimer(after="0s", trash="1d").step(two.now + 2 * DAY)
    assert (two.steps, list(two.here.values()), two.recorded) == (["asked"], [PROVED] * 2, [])


# How long it lies


def test_a_file_lies_unmoved_before_it_goes(desk: Desk) -> None:
    """For `min_age` of this run's own time, whatever a former run saw; also when space is short."""
    reclaimer = desk.reclaimer(lambda path: 0.1, after="0s", when_free_below="50%", min_age="60s")
    reclaimer.step(desk.now + 59)
    assert (desk.here, desk.steps, reclaimer.lie_until) == ({NAMES[0]: PROVED}, [], desk.now + 60)
    reclaimer.step(desk.now + 60)
    assert (desk.here, desk.recorded, reclaimer.lie_until) == ({}, NAMES[:1], None)


def test_a_change_in_this_run_begins_the_time_anew(desk: Desk) -> None:
    """The agent saw it become complete a second ago."""
    reclaimer = desk.reclaimer(after="0s", min_age="60s")
    with desk.ledger.transaction():
        desk.ledger.execute("UPDATE files SET since = ?", (desk.now + 70,))
    reclaimer.step(desk.now + 129)
    assert desk.here == {NAMES[0]: PROVED}
    reclaimer.step(desk.now + 130)
    assert desk.here == {}


# What is left of the folders, and what cannot be made durable


def folders(desk: Desk) -> list[str]:
    """What is left of the watched directory's folders."""
    return sorted(os.path.relpath(one, desk.data) for one in desk.data.rglob("*"))


@pytest.mark.parametrize("empty_dirs", [False, True])
def test_folders_that_a_removal_leaves_empty_go_where_the_rule_says_so(desk: Desk, empty_dirs: bool) -> None:
    """Once they have lain unchanged for an hour: a program saves into its folder again and again."""
    (desk.data / "other").mkdir()
    reclaimer = desk.reclaimer(after="0s", empty_dirs=empty_dirs)
    reclaimer.step(desk.now)
    reclaimer.step(desk.now + 3600)
    assert (desk.here, folders(desk)) == ({}, ["other", "run"])
    reclaimer.step(desk.now + 3602)
    assert folders(desk) == (["other"] if empty_dirs else ["other", "run"])


def test_a_folder_that_was_used_meanwhile_stays_for_another_hour(desk: Desk) -> None:
    """Something was made and removed there: the hour begins with the look that shows it."""
    reclaimer = desk.reclaimer(after="0s", empty_dirs=True)
    reclaimer.step(desk.now)
    (desk.data / "run/next.h5").touch()
    (desk.data / "run/next.h5").unlink()
    reclaimer.step(desk.now + 3602)
    reclaimer.step(desk.now + 7202)
    assert folders(desk) == ["run"]
    reclaimer.step(desk.now + 7204)
    assert folders(desk) == []


def test_a_folder_above_one_that_had_files_is_never_removed(desk: Desk) -> None:
    """It was there before the agent, which knows nothing of who uses it."""
    os.rename(desk.data / "run", desk.data / "run.moved")
    (desk.data / "user/run").mkdir(parents=True)
    os.rename(desk.data / "run.moved" / "scan.h5", desk.data / "user/run/scan.h5")
    (desk.data / "run.moved").rmdir()
    with desk.ledger.transaction():
        desk.ledger.execute(
            "UPDATE dirs SET path = ? WHERE path = ?",
            (os.fsencode(desk.data / "user/run"), os.fsencode(desk.data / "run")),
        )
        seen = LOCAL.look(str(desk.data / "user/run/scan.h5"))
        assert isinstance(seen, Observation)
        desk.ledger.execute("UPDATE files SET ctime_ns = ?", (seen.version.ctime_ns,))
    reclaimer = desk.reclaimer(after="0s", empty_dirs=True)
    for later in (0, 3602, 7204, 10806):
        reclaimer.step(desk.now + later)
    assert (desk.here, folders(desk)) == ({}, ["user"])


@pytest.mark.parametrize("empty_dirs", [False, True])
def test_the_trash_is_not_left_behind(desk: Desk, empty_dirs: bool) -> None:
    """Neither it nor the folders in it; a folder that still holds something stays in any case."""
    trashed(desk)
    (desk.data / "run/notes.txt").write_bytes(b"of somebody")
    desk.reclaimer(after="0s", trash="1d", empty_dirs=empty_dirs).step(desk.now + 2 * DAY)
    assert (desk.recorded, desk.here) == ([NAMES[0]], {"run/notes.txt": b"of somebody"})
    assert sorted(one.name for one in desk.data.iterdir()) == ["run"]


def test_nothing_is_recorded_before_it_is_durable(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be flushed: a later pass takes up what the intent says."""
    with monkeypatch.context() as patch:
        patch.setattr(PosixTree, "sync", failing(What.DAMAGED))
        desk.reclaimer(after="0s").step(desk.now)
    assert (desk.here, desk.recorded, desk.file.state.value) == ({}, [], "reclaiming")
    desk.reclaimer(after="0s").step(desk.now + DAY)
    assert (desk.recorded, desk.file.state.value) == ([NAMES[0]], "reclaimed")


@pytest.mark.parametrize("what", [What.ABSENT, What.NOT_A_DIRECTORY, What.LINK])
def test_a_folder_that_went_away_with_its_content_needs_no_flush(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, what: What
) -> None:
    """Somebody removed it, or something else has its name."""
    monkeypatch.setattr(PosixTree, "sync", failing(what))
    desk.reclaimer(after="0s").step(desk.now)
    assert (desk.recorded, desk.file.state.value) == ([NAMES[0]], "reclaimed")


def failing(what: What) -> Callable[[PosixTree, str], None]:
    """A flush that fails."""

    def sync(tree: PosixTree, path: str) -> None:
        raise Trouble(what, "cannot be flushed")

    return sync


# What has the name by now


@pytest.mark.parametrize("comes", ["another file", "an older file", "a folder", "nothing"])
def test_what_somebody_took_from_the_trash_was_not_removed_by_the_agent(desk: Desk, comes: str) -> None:
    """Somebody else removed it, and no deletion is recorded; another file, or a folder, that has its name is not touched."""
    trashed(desk)
    if comes == "an older file":  # it was there before the proof, as far as its birth tells
        desk.path.write_bytes(b"newer")
        with desk.ledger.transaction():
            desk.ledger.execute("UPDATE files SET ctime_ns = ?", (desk.path.stat().st_ctime_ns + 1,))
    desk.aside.unlink()
    if comes == "another file":
        desk.path.write_bytes(b"newer")
        assert desk.path.stat().st_ino != desk.inode or desk.path.stat().st_ctime_ns != desk.file.version.ctime_ns
    elif comes == "a folder":
        (desk.path / "inside").mkdir(parents=True)
    desk.reclaimer(after="0s", trash="1d").step(desk.now + 2 * DAY)
    assert (desk.file.state.value, desk.recorded, desk.ledger.reclaims.unfinished()) == ("removed", [], [])
    assert desk.file.reason == "removed by somebody else, from the trash or before it was moved there"
    assert desk.here == ({NAMES[0]: b"newer"} if comes.endswith("file") else {})
    assert desk.path.is_dir() is (comes == "a folder")


def test_a_file_without_a_free_name_beside_its_own_stays_aside(desk: Desk) -> None:
    """A hundred names are tried; it is neither lost nor hidden from the next pass, which puts it back once there is room."""
    trashed(desk)
    names = [NAMES[0], *(f"run/scan~{number}.h5" for number in range(1, 103))]
    for name in names:
        (desk.data / name).write_bytes(b"newer")
    desk.reclaimer().step(desk.now + 2 * DAY)
    assert (desk.aside.read_bytes(), desk.file.state.value, desk.recorded) == (PROVED, "reclaiming", [])
    for name in names[1:]:
        (desk.data / name).unlink()
    desk.reclaimer().step(desk.now + 4 * DAY)
    assert desk.here == {NAMES[0]: b"newer", "run/scan~1.h5": PROVED}
    assert desk.file.state.value == "superseded"


@pytest.mark.parametrize("known", [False, True])
def test_on_a_weak_proof_only_what_was_compared_goes(desk: Desk, known: bool) -> None:
    """Where size and mtime are the proof, stamps that nobody wrote down since the rename are none: it is put back."""
    with desk.ledger.transaction():
        desk.ledger.execute(
            "UPDATE copies SET algorithm = 'stat', checksum = ?", (stat_content(6, desk.file.version.mtime_ns),)
        )
    desk.reclaimer(after="0s", trash="1d", evidence="stat").step(desk.now)
    assert desk.file.state.value == "reclaiming"
    if not known:
        with desk.ledger.transaction():
            desk.ledger.execute("UPDATE reclaims SET ctime_ns = NULL")
    desk.reclaimer(after="0s", trash="1d", evidence="stat").step(desk.now + 2 * DAY)
    assert (desk.recorded, PROVED in desk.here.values()) == (([NAMES[0]], False) if known else ([], True))
