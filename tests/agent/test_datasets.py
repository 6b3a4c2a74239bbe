"""Datasets in the real intake: what the timelines of presets cannot tell."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.files import LOCAL, CannotTell, Trouble, What
from agent.files.posix.tree import PosixTree
from agent.intake import Intake, candidates, content, dataset_completer, texts
from agent.intake.dataset_completer import DatasetCompleter
from agent.intake.watch import Watch
from agent.ledger import File, Ledger, Proof, State
from rules.datasets import listed
from rules.model import Content
from rules.patterns.glob import Glob
from rules.rule import Rule
from tests import configured

START = 1e9
RUN = {"dir": "run_[0-9]+/"}
DONE = [{"marker": "done"}]


def rule(watch: Path, **keys: Any) -> Rule:
    """A rule whose datasets are the folders run_N, each complete with a file `done`."""
    table = {
        "name": "r", "watch": str(watch), "dataset": RUN, "deliver": [{"to": "share"}],
        "complete": {"quiet": "10s", "require": DONE},
    }  # fmt: skip
    return configured.rule(table | keys)


class Site:
    """The real intake on a real directory, by a clock that is told."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.data.mkdir(exist_ok=True)
        self.ledger = Ledger(str(root / "ledger.sqlite"))
        self.watch = Watch(LOCAL, str(self.data), lambda: None)
        self.now = START

    def start(self, *rules: Rule) -> None:
        """The agent starts with these rules."""
        place = self.ledger.destinations.place("share", "/share").id
        self.intake = Intake(
            self.ledger, LOCAL, rules, [self.watch], {"share": place}, "pc", 7200.0, 0.0, lambda: 0.0, lambda: None
        )
        self.intake.start(self.now)

    def put(self, path: str, text: bytes = b"x") -> Path:
        """The instrument writes a file."""
        whole = self.data / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(text)
        return whole

    def pass_time(self, seconds: float, *, sweep: bool = True) -> None:
        """Let time pass, from one thing that is due to the next. At its beginning and end whatever is there is seen."""
        until = self.now + seconds
        if sweep:  # events may come late
            self.intake.roots[0].why = "test"
        while (again := self.intake.step(self.now)) is not None and again <= until:
            self.now = max(self.now, again)
        self.now = until
        if sweep:
            self.intake.roots[0].why = "test"
        while (again := self.intake.step(self.now)) is not None and again <= self.now:
            pass

    def files(self) -> dict[str, File]:
        """The present version of each file by its relative path."""
        found = sorted(self.ledger.reports.files(list(State), 100_000), key=lambda file: file.generation)
        return {os.path.relpath(file.path, self.data): file for file in found}

    def states(self) -> dict[str, str]:
        """The state of each file."""
        return {path: file.state.value for path, file in self.files().items()}

    def reason(self, key: str) -> str | None:
        """Why a dataset waits, or was complete."""
        known = self.ledger.datasets.named("r", key)
        assert known is not None
        return known.reason

    def close(self) -> None:
        self.watch.close()
        self.ledger.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def test_all_files_of_a_dataset_are_in_one_batch_whatever_its_limits(site: Site) -> None:
    """`max_files` is about files that merely travel together; the marker alone closes the dataset, in a batch after it."""
    for number in range(700):
        site.put(f"run_1/{number % 7}/{number}")
    site.put("run_1/done")
    site.start(rule(site.data, batch={"max_files": 100}))
    site.pass_time(60.0)
    batches = site.ledger.reports.batches(10)
    assert [(one.key, one.files, one.reason) for one in batches] == [
        ("dataset run_1, last", 1, "the last files of the dataset"),
        ("dataset run_1", 700, "the dataset is complete"),
    ]
    assert set(site.states().values()) == {"batched"}


def test_datasets_may_share_a_batch_and_are_never_torn_by_its_limits(site: Site) -> None:
    """`batch.by` puts small datasets together; a batch is full only between two of them."""
    for run in range(4):
        for name in ("a", "b", "done"):
            site.put(f"run_{run}/{name}")
    site.start(rule(site.data, batch={"by": "{rule}", "max_files": 4, "linger": "1s"}))
    site.pass_time(60.0)
    assert sorted(one.files for one in site.ledger.reports.batches(10)) == [1, 1, 1, 1, 4, 4]
    of_batch: dict[str, set[int | None]] = {}
    for path, file in site.files().items():
        if not path.endswith("/done"):
            of_batch.setdefault(path.split("/")[0], set()).add(file.batch)
    assert all(len(batches) == 1 for batches in of_batch.values())


def test_a_file_that_no_event_told_of_is_found_before_the_dataset_is_complete(site: Site) -> None:
    """Its directory is listed once more, when everything else is as it should be."""
    site.put("run_1/a")
    site.start(rule(site.data))
    site.pass_time(60.0)
    site.intake.roots[0].watch.drain(10_000)
    site.put("run_1/done")
    site.put("run_1/deep/late")
    site.watch.drain(10_000)
    known = site.ledger.datasets.named("r", "run_1")
    assert known is not None
    with site.ledger.transaction():
        site.ledger.datasets.touched([known.id], site.now)
    site.pass_time(30.0, sweep=False)
    assert site.states() == dict.fromkeys(("run_1/a", "run_1/done", "run_1/deep/late"), "batched")
    assert [one.key for one in site.ledger.reports.batches(10)] == ["dataset run_1, last", "dataset run_1"]


@pytest.mark.parametrize("operation", ["names", "look", "open"])
def test_a_disk_that_does_not_answer_makes_nothing_complete(
    site: Site, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """What cannot be seen is not taken for absent: the dataset waits, says for what, and is asked for again."""
    site.put("run_1/a")
    sums = f"{hashlib.md5(b'x').hexdigest()}  a\n".encode()  # noqa: S324
    site.put("run_1/md5.sums", sums)
    site.start(rule(site.data, complete={"quiet": "10s", "require": [{"manifest": "*.sums"}]}))
    site.pass_time(5.0)
    trouble = Trouble(What.NO_ANSWER, "as told")

    def refuse(*_: object) -> CannotTell:
        if operation == "look":
            return CannotTell(trouble)
        raise trouble

    decide = DatasetCompleter._decide

    def without_answer(self: DatasetCompleter, *arguments: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(PosixTree, operation, refuse)
            return decide(self, *arguments)

    monkeypatch.setattr(DatasetCompleter, "_decide", without_answer)
    site.pass_time(60.0)
    assert set(site.states().values()) == {"candidate"}
    inside = "run_1" if operation == "names" else "run_1/md5.sums"
    assert site.reason("run_1") == f"{site.data} cannot be read: {inside}: as told"
    monkeypatch.undo()
    site.pass_time(60.0)
    assert set(site.states().values()) == {"batched"}


@pytest.mark.usefixtures("leases")
def test_a_file_that_was_opened_again_holds_its_dataset(site: Site) -> None:
    """It had settled long ago; the last look before the dataset is complete sees the writer."""
    path = site.put("run_1/a")
    site.start(rule(site.data))
    site.pass_time(600.0)
    with path.open("ab"):
        site.put("run_1/done")
        site.pass_time(60.0)
        assert site.states() == {"run_1/a": "candidate", "run_1/done": "candidate"}
        assert site.reason("run_1") == "run_1/a: a process has it open for writing"
    site.pass_time(60.0)
    assert set(site.states().values()) == {"batched"}


def test_nothing_is_complete_before_the_first_sweep_after_a_start(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came while the agent was away belongs to the dataset, too; and quiet periods begin again."""
    site.put("run_1/a")
    site.start(rule(site.data))
    site.pass_time(60.0)
    for number in range(50):
        site.put(f"run_1/{number:03}/late")
    site.put("run_1/done")
    monkeypatch.setattr("agent.intake.scanner.ENTRIES_A_PASS", 5)
    site.start(rule(site.data))
    site.pass_time(9.0)
    assert set(site.states().values()) == {"candidate"}
    site.pass_time(5.0)
    assert [one.files for one in site.ledger.reports.batches(10)] == [1, 51]


def test_a_file_that_goes_away_is_not_waited_for(site: Site) -> None:
    """A temporary file that somebody cleans up is no part of the dataset any more."""
    site.put("run_1/a")
    gone = site.put("run_1/scratch")
    site.start(rule(site.data, complete={"quiet": "10s", "require": [*DONE, {"without": "scratch"}]}))
    site.pass_time(60.0)
    site.put("run_1/done")
    site.pass_time(60.0)
    assert site.reason("run_1") == "scratch has 1 bytes"
    gone.unlink()
    site.pass_time(400.0)
    assert site.states() == {"run_1/a": "batched", "run_1/done": "batched", "run_1/scratch": "vanished"}


def test_a_changed_file_travels_again_as_a_supplement(site: Site) -> None:
    """Also when the marker is gone: the dataset has been complete."""
    path = site.put("run_1/a")
    done = site.put("run_1/done")
    site.start(rule(site.data))
    site.pass_time(60.0)
    path.write_bytes(b"more")
    done.unlink()
    site.put("run_1/new")
    site.pass_time(60.0)
    assert [(one.key, one.files) for one in site.ledger.reports.batches(10)] == [
        ("dataset run_1, supplement 1", 2),
        ("dataset run_1, last", 1),
        ("dataset run_1", 1),
    ]


def test_checksums_that_came_with_the_data_become_evidence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are compared a part a pass, and kept with the versions that they are of."""
    monkeypatch.setattr(content, "BYTES_A_PASS", 2**20)
    big = os.urandom(3 * 2**20)
    site.put("run_1/big", big)
    site.put("run_1/sums", f"{hashlib.sha256(big).hexdigest()}  big\n".encode())
    site.start(rule(site.data, complete={"quiet": "10s", "require": [{"manifest": "sums"}]}))
    site.pass_time(60.0)
    files = site.files()
    assert site.reason("run_1") == "all 1 checksums of sums are right"
    assert site.ledger.datasets.checksum(files["run_1/big"].id) == ("sha256", hashlib.sha256(big).hexdigest())
    assert site.ledger.datasets.checksum(files["run_1/sums"].id) is None
    assert files["run_1/big"].reason == "dataset run_1 is complete: all 1 checksums of sums are right"


def test_a_long_list_holds_up_no_other_dataset(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read a part a pass, and looked at again at once until it is read."""
    for name in ("BLOCK", "BEGINNINGS_A_PASS", "REST_A_PASS"):
        monkeypatch.setattr(texts, name, 1_000)
    monkeypatch.setattr(listed, "_TOGETHER", 1)
    line = f"{hashlib.md5(b'x').hexdigest()}  a\n".encode()  # noqa: S324
    for run, lines in ((1, 1_000), (2, 1)):
        site.put(f"run_{run}/a")
        site.put(f"run_{run}/sums", line * lines)
    site.start(rule(site.data, complete={"quiet": "10s", "require": [{"manifest": "sums"}]}))
    site.intake.step(site.now)
    site.now += 11.0
    while site.states()["run_2/a"] != "batched":
        site.now = max(site.now, site.intake.step(site.now) or 0.0)
    assert site.reason("run_1") == "sums is being read"
    site.pass_time(1.0)
    assert site.reason("run_1") == "all 1 checksums of sums are right"


def test_a_pass_takes_its_time_and_no_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the looks at files and datasets are, the first of each is looked at, and the others come next."""
    monkeypatch.setattr(dataset_completer, "SECONDS_A_PASS", 0.0)
    monkeypatch.setattr(candidates, "SECONDS_A_PASS", 0.0)
    monkeypatch.setattr(content, "LOOKS_A_PASS", 1)
    for run in range(3):
        for name in ("a.h5", "b.h5", "done"):
            site.put(f"run_{run}/{name}")
    site.start(rule(site.data, complete={"quiet": "1s", "require": [*DONE, {"format": "hdf5"}]}))
    site.intake.step(site.now)
    site.now += 2.0
    assert site.intake.step(site.now) == site.now
    assert [file.reason for file in site.files().values()].count("it waits for the rest of its dataset") == 1
    site.pass_time(60.0)
    assert set(site.states().values()) == {"batched"}


def test_a_mismatch_refuses_the_dataset_until_the_data_is_right(site: Site) -> None:
    """Both checksums are named; nothing of the dataset travels; the right file brings it back whole."""
    right, wrong = hashlib.md5(b"good").hexdigest(), hashlib.md5(b"bad").hexdigest()  # noqa: S324
    path = site.put("run_1/a", b"bad")
    site.put("run_1/sums", f"{right}  a\n".encode())
    site.start(rule(site.data, complete={"quiet": "10s", "require": [{"manifest": "sums"}]}))
    site.pass_time(60.0)
    files = site.files()
    said = f"sums says md5 {right}, the file has {wrong}"
    hint = "nothing of its dataset travels; copy it again or correct the list, then `dropline retry`"
    assert {name: (file.state, file.reason) for name, file in files.items()} == {
        "run_1/a": (State.REFUSED, f"{said}; {hint}"),
        "run_1/sums": (State.CANDIDATE, "it waits for the rest of its dataset"),
    }
    assert site.reason("run_1") == f"a: {said}"
    site.put("run_1/more")
    site.pass_time(60.0)
    assert site.reason("run_1") == "a is refused or cannot be read; `dropline retry` looks at it again"
    path.write_bytes(b"good")
    site.pass_time(60.0)
    assert site.states() == dict.fromkeys(("run_1/a", "run_1/sums", "run_1/more"), "batched")
    assert [one.files for one in site.ledger.reports.batches(10)] == [1, 2]


@pytest.mark.usefixtures("leases")
def test_a_released_dataset_goes_without_the_file_that_is_still_open(site: Site) -> None:
    """A person can end the waiting, but not make half a file whole: it follows as a supplement."""
    site.put("run_1/a")
    site.start(rule(site.data))
    with (site.data / "run_1/b").open("wb") as still:
        still.write(b"x")
        still.flush()
        site.pass_time(60.0)
        known = site.ledger.datasets.named("r", "run_1")
        assert known is not None
        with site.ledger.transaction():
            site.ledger.datasets.released(known.id, site.now)
        site.pass_time(60.0)
        assert site.states() == {"run_1/a": "batched", "run_1/b": "candidate"}
    site.pass_time(60.0)
    assert site.states() == {"run_1/a": "batched", "run_1/b": "batched"}
    assert len(site.ledger.reports.batches(10)) == 2


def test_a_rule_that_has_no_datasets_any_more_waits_for_none(site: Site) -> None:
    """Its files go by themselves, and `status` forgets the dataset."""
    site.put("run_1/a")
    site.start(rule(site.data))
    site.pass_time(60.0)
    site.start(rule(site.data, dataset=None, complete={"quiet": "10s"}))
    site.pass_time(60.0)
    assert site.states() == {"run_1/a": "batched"}
    assert site.ledger.datasets.waiting() == []


def test_names_may_be_any_bytes(site: Site) -> None:
    """In datasets, reasons, lists and batches."""
    odd = os.fsdecode(b"run_1/\xff\xfe")
    site.put(odd, b"bad")
    site.put(f"{odd}.d/done")
    right = hashlib.md5(b"good").hexdigest()  # noqa: S324
    sums = site.put("run_1/sums", f"{right}  ".encode() + b"\xff\xfe\n")
    keys = {"dataset": {"dir": "run_1/"}, "complete": {"quiet": "10s", "require": [{"manifest": "sums"}]}}
    site.start(rule(site.data, **keys))
    site.pass_time(60.0)
    assert site.states() == {odd: "refused", f"{odd}.d/done": "candidate", "run_1/sums": "candidate"}
    sums.write_bytes(hashlib.md5(b"bad").hexdigest().encode() + b"  \xff\xfe\n")  # noqa: S324
    with site.ledger.transaction():
        site.ledger.files.retried(site.now)
    site.start(rule(site.data, **keys | {"dataset": {"group": "(?P<dir>run_1/)"}}))
    site.pass_time(60.0)
    assert set(site.states().values()) == {"batched"}


def test_other_rules_know_nothing_of_datasets(site: Site) -> None:
    """A rule without them enters none, and its files settle by themselves."""
    site.put("a")
    site.start(rule(site.data, dataset=None, complete={"quiet": "10s"}))
    site.pass_time(60.0)
    assert site.states() == {"a": "batched"}
    assert site.files()["a"].dataset is None
    assert site.ledger.datasets.waiting() == []


def test_datasets_that_wait_keep_the_oldest_unverified_file_in_view(site: Site) -> None:
    """A run that is held for days shows in the metric that people watch."""
    site.put("run_1/a")
    site.start(rule(site.data))
    site.pass_time(1000.0)
    assert site.ledger.reports.oldest_unverified() == {"r": START}
    assert [(one.key, one.reason) for one in site.ledger.datasets.waiting()] == [("run_1", "done is not there")]


def test_a_run_waits_from_what_was_written_of_it_last(site: Site) -> None:
    """While it is measured it does not wait, however old its first file is; its end that never comes does."""
    site.put("run_1/a")
    site.start(rule(site.data))
    for number in range(5):
        site.pass_time(1000.0)
        site.put(f"run_1/{number}")
    written = site.now
    site.pass_time(1000.0)
    (since,) = site.ledger.reports.unchanged_since().values()
    assert (since - written, site.ledger.reports.oldest_unverified()) == (pytest.approx(0.0, abs=60.0), {"r": START})


def test_a_rule_that_has_other_datasets_after_an_edit_goes_by_those(site: Site) -> None:
    """What waits is sorted anew at the start."""
    site.put("run_1/a")
    site.start(rule(site.data))
    site.pass_time(60.0)
    site.start(rule(site.data, dataset={"group": "(?P<dir>.*/)?(?P<one>[^/]+)$"}, complete={"quiet": "10s"}))
    site.pass_time(60.0)
    assert site.states() == {"run_1/a": "batched"}
    assert [one.key for one in site.ledger.reports.batches(10)] == ["dataset run_1/a"]
    assert site.ledger.datasets.waiting() == []


def test_datasets_that_share_a_folder_do_not_list_it_each(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass lists it once, and tries no pattern on each of its names for each of them."""
    counted = Counter[str]()
    names, match_file = PosixTree.names, Glob.match_file

    def listed(tree: PosixTree, path: str) -> list[str]:
        counted["names"] += 1
        return names(tree, path)

    def tried(glob: Glob, name: str) -> bool:
        counted["tries"] += 1
        return match_file(glob, name)

    monkeypatch.setattr(PosixTree, "names", listed)
    monkeypatch.setattr(Glob, "match_file", tried)
    for number in range(100):
        site.put(f"all/{number:03}_a")
        site.put(f"all/{number:03}_b")
    require = [{"marker": "{run}*.done"}, {"marker": "*/*{run}.ok"}]
    site.start(
        rule(
            site.data, dataset={"group": "(?P<dir>.*/)(?P<run>[0-9]+)_"}, complete={"quiet": "10s", "require": require}
        )
    )
    site.pass_time(60.0)
    counted.clear()
    with site.ledger.transaction():
        site.ledger.datasets.touched([one.id for one in site.ledger.datasets.waiting()], site.now)
    site.intake.step(site.now)
    assert len(site.ledger.datasets.waiting()) == 100
    assert counted["names"] <= 3
    assert counted["tries"] <= 3 * 200
    site.put("all/007_x.done")
    site.put("all/sub/x_007.ok")
    site.pass_time(60.0)
    assert [one.key for one in site.ledger.datasets.waiting() if one.key.endswith("007")] == []
    assert len(site.ledger.datasets.waiting()) == 99


@pytest.mark.parametrize("where", ["done", "../{name}.done"])
def test_a_marker_wakes_its_dataset_and_no_other(site: Site, where: str) -> None:
    """Where all files that conditions look for lie in the dataset; else it may be any of them."""
    for run in range(5):
        site.put(f"run_{run}/a")
    site.start(rule(site.data, complete={"quiet": "10s", "require": [{"marker": where}]}))
    site.pass_time(60.0)
    site.put(f"run_3/{where.format(name='run_3')}")
    site.intake.roots[0].why = "test"
    while site.intake.roots[0].why or site.intake.roots[0].sweep:
        site.intake._scanner.take_sweeps(site.now)
    due = {one.key for one in site.ledger.datasets.due(site.now, 100)}
    assert due == ({"run_3"} if where == "done" else {f"run_{run}" for run in range(5)})


def test_markers_are_due_at_a_destination_when_the_other_files_are_there(site: Site) -> None:
    """However their batches are scheduled; a refused file holds the markers back, and is named, until a person says so."""
    for name in ("a", "b", "done"):
        site.put(f"run_1/{name}")
    site.start(rule(site.data, batch={"by": "{rule}", "schedule": "0 0 1 1 *"}))
    site.pass_time(60.0)
    files, deliveries = site.files(), site.ledger.deliveries
    (place,) = {one.id for one in [site.ledger.destinations.place("share", "/share")]}

    def asked() -> tuple[int, float | None, list[str | None]]:
        """Closing batches that wait; when the next delivery is due; the reasons of those that wait."""
        with site.ledger.transaction():
            waiting = deliveries.followed(place, site.now)
        reasons = [one["reason"] for line in site.ledger.reports.batches(10) for one in line.deliveries]
        return waiting, deliveries.next_due(place), reasons

    assert asked() == (1, None, [None])
    site.intake.seal_all(site.now)
    (batch,) = {files["run_1/a"].batch, files["run_1/b"].batch}
    (due,) = deliveries.due(place, site.now, 10)
    assert (due.batch, asked()[0]) == (batch, 1)
    proofs = [Proof(files[name], name, Content(b"c", 1), "sha256", "accepted") for name in ("run_1/a", "run_1/b")]
    with site.ledger.transaction():
        deliveries.planned(place, [(one.file.id, one.path) for one in proofs])
        deliveries.proved(place, "share", proofs[:1], site.now)
        site.ledger.files.refused([(files["run_1/b"].id, "r", files["run_1/b"].path, "its name is taken")])
        deliveries.finished([due], site.now)
    why = f"{site.data}/run_1/b is refused: its name is taken"
    held = f"the markers of its dataset wait: {why}; `dropline complete` sends them without it"
    assert asked() == (1, None, [held, None])
    dataset = files["run_1/a"].dataset
    assert dataset is not None
    assert deliveries.closing_of(dataset)
    with site.ledger.transaction():
        deliveries.closed(dataset, site.now)
    assert asked() == (0, site.now, [None, None])
    (last,) = deliveries.due(place, site.now, 10)
    assert last.batch == files["run_1/done"].batch


def delivered(site: Site, *, reclaimed: bool = False) -> None:
    """What is on its way is proved, and with `reclaimed` the local files go."""
    for path, file in site.files().items():
        assert file.state in (State.BATCHED, State.VERIFIED), path
        if reclaimed:
            (site.data / path).unlink()
    with site.ledger.transaction():
        site.ledger.execute("UPDATE files SET state = 'verified' WHERE state = 'batched'")
        if reclaimed:
            site.ledger.execute(
                "UPDATE files SET state = 'reclaimed', ended_at = ? WHERE state = 'verified'", (site.now,)
            )


def ordinal(site: Site) -> int:
    """How often the name run_1 was used."""
    known = site.ledger.datasets.named("r", "run_1")
    assert known is not None
    return known.ordinal


def first_run(site: Site, **keys: Any) -> None:
    """The first run_1 is complete and on its way."""
    for name in ("a", "b", "done"):
        site.put(f"run_1/{name}", b"first")
    site.start(rule(site.data, **keys))
    site.pass_time(60.0)


def test_a_directory_that_was_made_again_is_another_dataset(site: Site) -> None:
    """A counter begins from 1 again: nothing of the new run_1 travels before its own marker, whatever its files are called."""
    first_run(site)
    delivered(site)
    shutil.rmtree(site.data / "run_1")
    site.pass_time(5.0)
    site.put("run_1/other", b"second")
    site.pass_time(300.0)
    assert (ordinal(site), site.reason("run_1"), site.states()["run_1/other"]) == (2, "done is not there", "candidate")
    site.put("run_1/done", b"second")
    site.pass_time(300.0)
    assert (ordinal(site), site.states()["run_1/other"], site.states()["run_1/done"]) == (2, "batched", "batched")
    names = ["dataset run_1~2, last", "dataset run_1~2", "dataset run_1, last", "dataset run_1"]
    assert [one.key for one in site.ledger.reports.batches(10)] == names


@pytest.mark.parametrize("away", ["no answer", "another disk"])
def test_while_it_cannot_be_told_it_is_the_same_dataset(site: Site, monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    """The disk does not answer, or another file system is mounted there: what comes late is a supplement, or waits."""
    first_run(site)
    delivered(site)
    shutil.rmtree(site.data / "run_1")
    site.pass_time(5.0)
    site.put("run_1/other", b"second")
    if away == "another disk":
        with site.ledger.transaction():
            site.ledger.execute("UPDATE datasets SET device = 7")
        site.pass_time(300.0)
        assert (ordinal(site), site.states()["run_1/other"]) == (1, "batched")
        return
    asked = DatasetCompleter._ended

    def without_answer(self: DatasetCompleter, *arguments: Any) -> str | None:
        with monkeypatch.context() as patch:
            patch.setattr(PosixTree, "look", lambda *_: CannotTell(Trouble(What.NO_ANSWER, "as the test wants it")))
            return asked(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(DatasetCompleter, "_ended", without_answer)
        site.pass_time(300.0)
        reason = f"{site.data} cannot be read: as the test wants it"
        assert (ordinal(site), site.reason("run_1"), site.states()["run_1/other"]) == (1, reason, "candidate")
    site.pass_time(300.0)
    assert (ordinal(site), site.reason("run_1"), site.states()["run_1/other"]) == (2, "done is not there", "candidate")


def test_a_path_that_was_delivered_and_comes_back_begins_another_dataset(site: Site) -> None:
    """The agent removed the local files, the folder stayed: the first file that is written again tells."""
    first_run(site)
    delivered(site, reclaimed=True)
    site.pass_time(60.0)
    site.put("run_1/a", b"another")
    site.pass_time(300.0)
    assert (ordinal(site), site.reason("run_1"), site.states()["run_1/a"]) == (2, "done is not there", "candidate")
    site.put("run_1/a", b"another, and more")
    site.pass_time(300.0)
    assert ordinal(site) == 2


def test_a_marker_that_no_rule_claims_counts_once(site: Site) -> None:
    """It stands there since the first run: for the second it must be written again."""
    first_run(site, exclude=["done"])
    delivered(site, reclaimed=True)
    site.pass_time(60.0)
    site.put("run_1/a", b"another")
    site.pass_time(300.0)
    assert (ordinal(site), site.reason("run_1")) == (2, "done is not there")
    site.put("run_1/done", b"again")
    site.pass_time(300.0)
    assert site.states()["run_1/a"] == "batched"


def test_a_marker_that_is_written_again_ends_what_was_before(site: Site) -> None:
    """With new data; a marker that is only touched is more of the same dataset, and so are files without a marker."""
    first_run(site)
    delivered(site)
    site.put("run_1/late")
    site.pass_time(300.0)
    assert (ordinal(site), site.states()["run_1/late"]) == (1, "batched")
    delivered(site)
    site.put("run_1/done", b"touched")
    site.pass_time(300.0)
    assert (ordinal(site), site.states()["run_1/done"]) == (1, "batched")
    delivered(site)
    site.put("run_1/c", b"second")
    site.put("run_1/done", b"second, done")
    site.pass_time(300.0)
    assert (ordinal(site), site.states()["run_1/c"], site.states()["run_1/done"]) == (2, "batched", "batched")


def test_a_file_that_is_back_as_it_was_is_no_other_dataset(site: Site) -> None:
    """A person took it out of the trash, or copied it back with its times."""
    first_run(site)
    before = (site.data / "run_1/a").stat()
    delivered(site, reclaimed=True)
    site.pass_time(60.0)
    os.utime(site.put("run_1/a", b"first"), ns=(before.st_atime_ns, before.st_mtime_ns))
    site.pass_time(300.0)
    assert (ordinal(site), site.states()["run_1/a"]) == (1, "batched")


def test_links_are_known_while_they_are_there(site: Site) -> None:
    """One that goes away is counted no more, and one in the place of a file supersedes that file."""
    path = site.put("run_1/a")
    (site.data / "run_1/link").symlink_to("/nowhere")
    (site.data / "run_1/other").symlink_to("a")
    site.start(rule(site.data))
    site.pass_time(60.0)
    known = site.ledger.datasets.named("r", "run_1")
    assert known is not None
    links = site.ledger.links
    assert (links.of_dataset(known.id), links.outside_of(known.id), site.states()) == (
        2,
        True,
        {"run_1/a": "candidate"},
    )
    (site.data / "run_1/link").unlink()
    path.unlink()
    path.symlink_to("b")
    site.pass_time(60.0)
    assert (links.of_dataset(known.id), links.outside_of(known.id)) == (2, True), "no b is there"
    assert site.states() == {"run_1/a": "superseded"}
    site.put("run_1/b")
    site.pass_time(60.0, sweep=False)
    site.pass_time(60.0)
    assert (links.of_dataset(known.id), links.outside_of(known.id)) == (2, False)
    shutil.rmtree(site.data / "run_1")
    site.pass_time(60.0)
    assert links.of_dataset(known.id) == 0


def test_a_link_leads_to_what_is_delivered_though_that_is_reclaimed(site: Site) -> None:
    """To a file, or to a directory of files; not to one that was gone before it was delivered."""
    for name in ("a", "sub/b", "done"):
        site.put(f"run_1/{name}")
    for name, target in (("to_a", "a"), ("to_sub", "sub"), ("to_c", "c")):
        (site.data / "run_1" / name).symlink_to(target)
    site.start(rule(site.data))
    site.pass_time(60.0)
    lost = f"{site.data}/run_1/to_c -> {site.data}/run_1/c"
    assert [one.examples for one in site.ledger.links.outside(["r"], 9)] == [(lost,)]
    delivered(site, reclaimed=True)
    shutil.rmtree(site.data / "run_1/sub")
    site.put("run_1/c")
    site.pass_time(1.0)
    assert site.ledger.links.outside(["r"], 9) == []
    (site.data / "run_1/c").unlink()
    site.pass_time(60.0)
    assert site.states()["run_1/c"] == "vanished"
    assert [one.examples for one in site.ledger.links.outside(["r"], 9)] == [(lost,)]
