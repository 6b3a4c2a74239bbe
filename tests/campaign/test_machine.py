"""Whatever happens in whatever order, no byte is lost: random journeys through an agent in this process.

Real folders, a real ledger, the same oracle as the campaign. The clock is the test's: minutes pass between two steps while
writers hold their files open, and it steps by a day between two starts.
"""

import os
import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.files import LOCAL
from tests.campaign.instrument import digest
from tests.campaign.rig import Rig

NAMES = st.sampled_from(["run/a.dat", "run/b.dat", "c.dat"])
POLICIES = st.sampled_from([{}, {"reclaim": {"after": "0s"}}, {"reclaim": {"after": "10m", "trash": "10m"}}])
MINUTES = 60.0
DAY = 86400.0

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="leases as on Linux")


class Journeys(RuleBasedStateMachine):
    """The instrument, the agent, the clock and what goes wrong, as rules."""

    @initialize(policy=POLICIES, seed=st.integers(0, 2**32))
    def begin(self, policy: dict[str, object], seed: int) -> None:
        """An empty site, with an agent that has run once."""
        LOCAL.prepare()
        self.folder = Path(tempfile.mkdtemp(prefix="dropline-machine-"))
        self.rig = Rig(self.folder, Random(seed), **policy)  # noqa: S311  (contents, no secrets)
        self.instrument = self.rig.instrument
        self.reclaims = bool(policy)
        self.rig.settle()  # the destinations are taken into use while they are there

    def teardown(self) -> None:
        """Mended, everything arrives; then nothing stays."""
        if not hasattr(self, "rig"):
            return
        try:
            self.mend()
            for path in self.instrument.open:
                self.instrument.finish(path)
            for _ in range(4):
                self.rig.tick(3 * DAY)  # what was proved "tomorrow" may go, and what failed is tried again
                self.rig.settle()
                assert self.rig.parts is not None
                with self.rig.parts.ledger.transaction():
                    self.rig.parts.ledger.files.retried(self.rig.now)
            found = self.rig.oracle.judge()
            assert found.harm == []
            assert found.kept == []
            if self.reclaims:
                assert self.rig.oracle.left() == []
        finally:
            self.rig.end()
            self.instrument.finish_all()
            shutil.rmtree(self.folder)

    def mend(self) -> None:
        """Destinations are back; damaged copies are moved away."""
        for path in self.rig.shares.values():
            away = path.with_name(path.name + "-away")
            if away.exists():
                away.rename(path)
        for share, copy, _ in self.rig.instrument.journal.spoiled:
            (self.rig.shares[share] / copy).unlink(missing_ok=True)

    # The instrument

    def _here(self, name: str) -> bool:
        return (self.rig.inbox / name).is_file() and name not in self.instrument.open

    @rule(name=NAMES, size=st.integers(0, 3000))
    def write(self, name: str, size: int) -> None:
        """A new file; or, where there is one, other content in place."""
        if name not in self.instrument.open:
            self.instrument.rewrite(name) if self._here(name) else self.instrument.write(name, size)

    @rule(name=NAMES, set_back=st.booleans())
    def open_one(self, name: str, set_back: bool) -> None:
        """A new file that stays open; `set_back`: with an hour-old date."""
        if name not in self.instrument.open and not (self.rig.inbox / name).exists():
            self.instrument.begin(name, set_back=set_back)

    @precondition(lambda self: self.instrument.open)
    @rule()
    def go_on(self) -> None:
        """More for a file that is open."""
        self.instrument.go_on()

    @precondition(lambda self: self.instrument.open)
    @rule()
    def close_one(self) -> None:
        """A file is whole."""
        self.instrument.finish()

    @rule(name=NAMES)
    def append(self, name: str) -> None:
        """More for a file that was whole."""
        if self._here(name):
            self.instrument.append(name)

    @rule(name=NAMES)
    def disguise(self, name: str) -> None:
        """Other content with size and date as before."""
        if self._here(name):
            self.instrument.rewrite(name, in_disguise=True)

    @rule(name=NAMES)
    def swap(self, name: str) -> None:
        """A person who sees a file at every destination removes it here, and the instrument writes another at once."""
        if self._here(name):
            latest = self.instrument.journal.versions[name][-1].digest
            shares = [path / name for path in self.rig.shares.values()]
            if all(copy.is_file() and digest(copy.read_bytes()) == latest for copy in shares):
                self.instrument.take(name)
                self.instrument.write(name, 100)

    # The agent and its clock

    @rule()
    def work(self) -> None:
        """The agent does what there is to do."""
        self.rig.settle()

    @rule(commits=st.integers(1, 24))
    def crash(self, commits: int) -> None:
        """It works, and dies in the middle of it."""
        self.rig.crash(commits)

    @rule()
    def restart(self) -> None:
        """It stops; the next one starts when there is work."""
        self.rig.end()

    @rule(seconds=st.sampled_from([1.0, 10 * MINUTES, 60 * MINUTES]))
    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.rig.tick(seconds)

    @rule(seconds=st.sampled_from([-DAY, DAY]))
    def step_clock(self, seconds: float) -> None:
        """The computer's clock steps; the agent takes over the new time when it starts."""
        self.rig.end()
        self.rig.tick(seconds)

    # What goes wrong

    @rule(share=st.sampled_from(["share", "mirror"]))
    def take_away(self, share: str) -> None:
        """A destination is not mounted: what is there is an empty folder."""
        path = self.rig.shares[share]
        away = path.with_name(path.name + "-away")
        if not away.exists():
            path.rename(away)
            path.mkdir()
        else:
            assert os.listdir(path) == [], "something was written into the hole"
            path.rmdir()
            away.rename(path)

    @rule(name=NAMES, share=st.sampled_from(["share", "mirror"]), bit=st.integers(0, 7))
    def flip(self, name: str, share: str, bit: int) -> None:
        """A bit of a copy is another one, while the local file is here."""
        copy = self.rig.shares[share] / name
        latest = self.instrument.journal.versions.get(name, [])[-1:]
        if not (self._here(name) and copy.is_file() and latest):
            return
        content = bytearray(copy.read_bytes())
        if content and digest(bytes(content)) == latest[0].digest:
            content[len(content) // 2] ^= 1 << bit
            copy.write_bytes(content)
            self.instrument.journal.spoiled.add((share, name, digest(bytes(content))))

    @invariant()
    def nothing_is_lost(self) -> None:
        """What is owed is here or at every destination; nothing is half, twice, overwritten or deleted without proof."""
        if not hasattr(self, "rig") or any(
            path.with_name(path.name + "-away").exists() for path in self.rig.shares.values()
        ):
            return
        found = self.rig.oracle.judge()
        found.litter = []  # a crash may leave that until the next run
        assert found.harm == []


TestJourneys = Journeys.TestCase
TestJourneys.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)


def test_a_copy_that_was_never_reported_is_kept_when_the_file_changes_once_more(tmp_path: Path) -> None:
    """Killed between the rename and the report: the next version takes a name of its own, and nobody must act."""
    LOCAL.prepare()
    rig = Rig(tmp_path / "site", Random(1))  # noqa: S311  (contents, no secrets)
    rig.instrument.write("x.dat", 100)
    rig.settle()
    rig.instrument.rewrite("x.dat")
    second = (rig.inbox / "x.dat").read_bytes()
    rig.replace_unheard(lambda: all((share / "x.dat").read_bytes() == second for share in rig.shares.values()))
    rig.end()
    rig.instrument.rewrite("x.dat")
    third = (rig.inbox / "x.dat").read_bytes()
    rig.settle()
    rig.end()
    for share in rig.shares.values():
        assert ((share / "x.dat").read_bytes(), (share / "x~3.dat").read_bytes()) == (second, third)
    assert (rig.oracle.judge().harm, rig.oracle.judge().kept) == ([], [])


def test_what_was_batched_under_a_clock_that_was_ahead_does_not_wait_for_that_time(tmp_path: Path) -> None:
    """The clock is put back by a day before the next start: sealed batches go at once, open ones count from now."""
    LOCAL.prepare()
    rig = Rig(tmp_path / "site", Random(1))  # noqa: S311  (contents, no secrets)
    rig.settle()
    rig.instrument.write("x.dat", 100)
    rig.tick(DAY)
    intake = rig.start().intake
    for _ in range(3):
        intake.step(rig.now)
        rig.tick(301.0)
    ledger = rig.start().ledger
    with ledger.transaction():
        ledger.batches.opened("r", "another", rig.now)
    rig.end()
    rig.tick(-DAY)
    began = rig.now
    (group,) = [group for _, _, group in rig.start().ledger.batches.open()]
    assert (group.first_at, group.last_at) == (began, began)
    rig.settle()
    rig.end()
    assert (rig.oracle.judge().kept, rig.now < began + DAY / 2) == ([], True)
