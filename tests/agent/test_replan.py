"""The configuration changes: whatever a file's state, nobody is forgotten, and nothing is deleted without proof."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.app.configuration import check
from agent.app.parts import Parts
from agent.app.replan import preview
from agent.errors import LedgerError
from agent.ledger import Behind, Ledger, Sent
from agent.observe.explain import explain
from agent.observe.metrics import Metrics
from agent.observe.status import status
from rules.config.settings import Configuration
from rules.match import match
from rules.model import Kind, Observation

T0 = 2_000_000_000.0
HOUR = 3600.0
DONE, GONE, WAY, OPEN, TINY = "done/a.h5", "done/b.h5", "way/c.h5", "open/e.h5", "tiny/f.h5"
FILES = {
    DONE: b"delivered",
    GONE: b"delivered, removed",
    WAY: b"on its way",
    "way/d.h5": b"and its company",
    OPEN: b"complete",
    TINY: b"x",
}
RECLAIM = {"after": "0s", "min_age": "0s"}


class Site:
    """A workstation with files in every state, by a configuration with one rule and two destinations."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        for name in ("data", "share", "tape", "new", "state"):
            (root / name).mkdir()
        self.rule: dict[str, Any] = {
            "name": "tomo", "watch": str(self.data), "include": ["**/*.h5"], "links": "refuse",
            "complete": {"quiet": "0s", "min_size": 2},
            "batch": {"linger": "1h", "max_files": 2}, "deliver": [{"to": "share"}, {"to": "tape"}],
        }  # fmt: skip
        self.places: dict[str, Any] = {name: self.place(name) for name in ("share", "tape", "new")}

    def place(self, name: str) -> dict[str, Any]:
        return {"path": str(self.root / name), "mounted": False}

    def config(
        self, *rules: dict[str, Any], places: dict[str, Any] | None = None, timezone: str = "local"
    ) -> Configuration:
        data = {
            "agent": {
                "state_dir": str(self.root / "state"), "listen": "", "canary_every": "0s", "timezone": timezone,
            },
            "destinations": self.places if places is None else places, "rules": list(rules),
        }  # fmt: skip
        return check(data, "test", self.root)

    def write(self, *names: str) -> None:
        for name in names:
            path = self.data / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(FILES[name])
            os.utime(path, (T0 - HOUR, T0 - HOUR))

    def fill(self) -> None:
        """Files in every state that an edit may find them in."""
        config = self.config(self.rule)
        self.write(DONE, GONE)
        with agent(config, T0) as parts:
            work(parts, T0)
            (self.data / GONE).unlink()
            for root in parts.intake.roots:
                root.why = "test"
            work(parts, T0 + 10)
        (self.root / "tape").rename(self.root / "away")
        self.write(WAY, "way/d.h5", OPEN, TINY)
        (self.data / "link.h5").symlink_to("nowhere")
        with agent(config, T0 + 20) as parts:
            work(parts, T0 + 20)
        (self.root / "away").rename(self.root / "tape")
        states = {name: state for name, state, _ in self.rows()}
        assert states == {
            DONE: "verified", GONE: "removed", WAY: "batched", "way/d.h5": "batched", OPEN: "complete", TINY: "candidate",
            "link.h5": "refused",
        }  # fmt: skip

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with closing(Ledger(str(self.root / "state/ledger.sqlite"))) as ledger:
            yield ledger

    def rows(self) -> list[tuple[str, str, str]]:
        """(name, state, rule) of the present generation of each path."""
        sql = (
            "SELECT d.path, f.name, f.state, r.name FROM files f JOIN dirs d ON d.id = f.dir JOIN rules r ON r.id = f.rule"
            " ORDER BY f.generation"
        )
        with self.ledger() as ledger:
            found = {
                os.path.relpath(os.fsdecode(path) + "/" + os.fsdecode(name), self.data): (state, rule)
                for path, name, state, rule in ledger.execute(sql)
            }
        return [(name, *rest) for name, rest in sorted(found.items())]

    def there(self, place: Path) -> set[bytes]:
        return {path.read_bytes() for path in place.rglob("*.h5")}


@contextmanager
def agent(config: Configuration, now: float) -> Iterator[Parts]:
    """The parts of an agent, started."""
    bell = threading.Event()
    with ExitStack() as stack:
        parts = Parts(config, Metrics(), lambda name: bell.set, stack)
        parts.bell = bell  # type: ignore[attr-defined]
        parts.start(now)
        yield parts


def work(parts: Parts, now: float) -> None:
    """Passes until nothing moves within some seconds."""
    bell: threading.Event = parts.bell  # type: ignore[attr-defined]
    until = now + 8.0
    for _ in range(1000):
        bell.clear()
        again = [parts.take_in(now), *(one.step(now) for one in parts.deliverers.values()), parts.reclaimer.step(now)]
        if parts.intake.busy or any(at is not None and at <= now for at in again):
            continue
        if any(one.waiting for one in parts.deliverers.values()):
            bell.wait(1.0)
            continue
        now = min((at for at in again if at is not None), default=until)
        if now >= until:
            return
    raise AssertionError("the passes do not end")


Edit = tuple[list[dict[str, Any]], dict[str, Any]]


def edits(site: Site) -> dict[str, Edit]:
    """Every edit of a configuration: (rules, destinations)."""
    rule, places = site.rule, site.places
    share, tape = rule["deliver"]
    moved = site.root / "moved"
    moved.mkdir(exist_ok=True)
    moved = {**places, "tape": site.place("moved")}
    found: dict[str, Edit] = {"nothing": ([rule], places)}
    for word, backfill in (("unset", {}), ("true", {"backfill": True}), ("false", {"backfill": False})):
        new = {"to": "new", **backfill}
        found[f"destination added, {word}"] = [{**rule, "deliver": [share, tape, new]}], places
        found[f"destination replaced, {word}"] = [{**rule, "deliver": [share, new]}], places
        found[f"destination moved, {word}"] = [{**rule, "deliver": [share, {**tape, **backfill}]}], moved
        found[f"all replaced, {word}"] = [{**rule, "deliver": [new]}], places
        found[f"rule renamed, destination added, {word}"] = (
            [{**rule, "name": "ct", "deliver": [share, tape, new]}],
            places,
        )
    return found | {
        "destination removed from the rule": ([{**rule, "deliver": [share]}], places),
        "destination removed": ([{**rule, "deliver": [share]}], {"share": places["share"]}),
        "destination renamed": (
            [{**rule, "deliver": [share, {"to": "vault"}]}], {"share": places["share"], "vault": places["tape"]}
        ),
        "path at the destination changed": ([{**rule, "deliver": [{**share, "path": "x/{relpath}"}, tape]}], places),
        "rule renamed": ([{**rule, "name": "ct"}], places),
        "rule removed": ([], places),
        "rule removed, another watches": ([{**rule, "name": "logs", "include": ["*.log"]}], places),
        "rule removed, two others claim": (
            [{**rule, "name": "way", "include": ["way/c.h5", "done/"]}, {**rule, "name": "rest"}], places
        ),
        "watch narrowed": ([{**rule, "watch": str(site.data / "done")}], places),
        "include changed": ([{**rule, "include": ["**/*.tif"]}], places),
        "excluded": ([{**rule, "exclude": ["way/", "done/"]}], places),
        "batch keys changed": ([{**rule, "batch": {"by": "{mtime:%Y}", "linger": "0s"}}], places),
        "datasets": ([{**rule, "dataset": {"dir": "[^/]+"}}], places),
    }  # fmt: skip


NAMES = (
    "nothing", *(f"{what}, {word}" for what in (
        "destination added", "destination replaced", "destination moved", "all replaced", "rule renamed, destination added"
    ) for word in ("unset", "true", "false")),
    "destination removed from the rule", "destination removed", "destination renamed", "path at the destination changed",
    "rule renamed", "rule removed", "rule removed, another watches", "rule removed, two others claim", "watch narrowed",
    "include changed", "excluded", "batch keys changed", "datasets",
)  # fmt: skip


@pytest.mark.parametrize("reclaims", [False, True], ids=["keeps", "reclaims"])
@pytest.mark.parametrize("edit", NAMES)
def test_an_edited_configuration_forgets_nobody(tmp_path: Path, edit: str, reclaims: bool) -> None:
    """Nothing waits for what no longer exists, nothing undelivered is forgotten, nothing is deleted without its proofs."""
    site = Site(tmp_path)
    site.fill()
    rules, places = edits(site)[edit]
    rules = [rule | {"reclaim": RECLAIM} for rule in rules] if reclaims else rules
    config = site.config(*rules, places=places)
    for hours in (1, 2):  # what begins again, waits for company once more
        with agent(config, T0 + hours * 2 * HOUR) as parts:
            work(parts, T0 + hours * 2 * HOUR)
            work(parts, T0 + hours * 2 * HOUR + 1.5 * HOUR)
    configured = {rule.name for rule in config.rules}
    known = {name: (state, rule) for name, state, rule in site.rows()}
    with site.ledger() as ledger:
        assert ledger.plans.waiting() == []
        open_batches = {rule for _, rule, _ in ledger.batches.open()}
        assert open_batches <= configured
        behind = ledger.plans.behind()
        assert not ledger.plans.under_change()
    undecided: set[tuple[str, str]] = set()
    for name, content in FILES.items():
        claim = match(config.rules, str(site.data / name))
        state, owner = known[name]
        before = name in (DONE, GONE)
        if claim.rule is None:
            watched = any(str(site.data / name).startswith(rule.watch + "/") for rule in config.rules)
            assert state == (
                (known[name][0] if before else "vanished") if watched else state if before else "refused"
            ), name
            assert before or (site.data / name).exists()
            continue
        assert owner == claim.rule.name, name
        lacking: set[str] = set()
        for target in claim.rule.deliver:
            there = content in site.there(Path(config.settings.destinations[target.to].address))
            came_later = (
                before
                and target.to not in ("share", "vault")
                and (target.to != "tape" or edit.startswith("destination moved"))
            )
            if not there:
                lacking.add(target.to)
            if came_later:
                assert there is (target.backfill is True and name == DONE), (name, target.to)
                if target.backfill is None or (name == GONE and target.backfill):
                    undecided.add((claim.rule.name, target.to))
            elif name != TINY:
                assert there, (name, target.to)
        if not (site.data / name).exists() and name != GONE:
            excused = {target.to for target in claim.rule.deliver if target.backfill is False and before}
            assert lacking <= excused, name
            assert len(lacking) < len(claim.rule.deliver), name
        assert state in ({"candidate"} if name == TINY else {"verified", "reclaimed", "removed"}), name
        if reclaims and name not in (TINY, GONE):
            free = not lacking or (lacking < {target.to for target in claim.rule.deliver} and not any(
                target.backfill is None for target in claim.rule.deliver if target.to in lacking
            ))  # fmt: skip
            assert (state == "reclaimed") is free, name
    assert {(one.rule, one.destination) for one in behind} == undecided


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ({}, "tomo/2033-05-18 02h/way"),
        ({"name": "other"}, "tomo/2033-05-18 02h/way"),
        ({"watch": "way"}, "tomo/2033-05-18 02h/way"),
        ({"capture": "(?P<run>d.)"}, "tomo/2033-05-18 02h/way"),
        ({"preset": "hdf5"}, "tomo/2033-05-18 02h/way"),
        ({"path": "{rule}/{mtime:%Hh}/{run}", "capture": "/(?P<run>.)"}, "tomo/16h/c"),
        ({"path": "{rule}/{mtime:%Hh}/{run}", "capture": "/(?P<run>.)", "name": "other"}, "other/16h/c"),
    ],
)
def test_a_path_is_rendered_once(tmp_path: Path, edit: dict[str, str], expected: str) -> None:
    """When the batch is sealed: neither another zone nor another name, folder or pattern of its rule changes it.

    What is not delivered follows a template that changed, by the zone and the rule as they are then.
    """
    site = Site(tmp_path)
    deliver = [{"to": "tape", "path": "{rule}/{mtime:%Y-%m-%d %Hh}/{run}"}]
    rule = {**site.rule, "capture": "(?P<run>[^/]*)", "deliver": deliver, "batch": {"linger": "0s"}}
    (tmp_path / "tape").rename(tmp_path / "away")
    site.write(WAY)
    with agent(site.config(rule, timezone="UTC"), T0) as parts:
        work(parts, T0)
    assert site.rows() == [(WAY, "batched", "tomo")]
    (tmp_path / "away").rename(tmp_path / "tape")
    changed = {**rule, **{key: value for key, value in edit.items() if key != "path"}}
    changed["watch"] = os.path.normpath(f"{rule['watch']}/{edit.get('watch', '')}")
    changed["deliver"] = [{**deliver[0], "path": edit.get("path", deliver[0]["path"])}]
    places = {"tape": site.places["tape"]}
    with agent(site.config(changed, places=places, timezone="Pacific/Kiritimati"), T0 + HOUR) as parts:
        work(parts, T0 + HOUR)
    files = [path for path in (tmp_path / "tape").rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert [path.relative_to(tmp_path / "tape").as_posix() for path in files] == [expected]
    assert files[0].read_bytes() == FILES[WAY]


def test_what_is_undecided_is_said_everywhere(tmp_path: Path) -> None:
    """`status`, `explain` and `check` name the destination, the files that are not there, and the line to add."""
    site = Site(tmp_path)
    site.fill()
    deliver = [*site.rule["deliver"], {"to": "new"}]
    config = site.config({**site.rule, "deliver": deliver})
    line = 'add `backfill = true` to { to = "new" } in `deliver`'
    with site.ledger() as ledger:
        said = list(preview(ledger, config))
    assert [line in one for one in said] == [True]
    with agent(config, T0 + HOUR) as parts:
        work(parts, T0 + HOUR)
    with site.ledger() as ledger:
        places = [(name, table.address) for name, table in config.settings.destinations.items()]
        found = status(ledger, config.rules, places, {}, {})
        assert ledger.plans.behind() == [Behind("tomo", "new", undecided=1, gone=1)]
        assert [line in one["hint"] for one in found["behind"]] == [True]
        (version,) = explain(ledger, config.rules, str(site.data / DONE))["versions"]
        reasons = {one["destination"]: (one["state"], line in (one["reason"] or "")) for one in version["deliveries"]}
        assert reasons == {"share": ("verified", False), "tape": ("verified", False), "new": ("undecided", True)}


def test_a_decision_may_be_made_and_changed(tmp_path: Path) -> None:
    """Unset, then false, then true: kept here, then free to go, then delivered there, and nobody is behind any more."""
    site = Site(tmp_path)
    site.fill()
    found = []
    for number, said in enumerate(({}, {"backfill": False}, {}, {"backfill": True}), 1):
        config = site.config({**site.rule, "deliver": [*site.rule["deliver"], {"to": "new", **said}]})
        with agent(config, T0 + number * HOUR) as parts:
            work(parts, T0 + number * HOUR)
        with site.ledger() as ledger:
            skipped = ledger.plans.skipped(ledger.files.history(str(site.data / DONE))[-1].batch)
            found.append((sum(one.undecided for one in ledger.plans.behind()), {name for name, _ in skipped}))
    assert found == [(1, set()), (0, {"new"}), (1, set()), (0, set())]
    assert FILES[DONE] in site.there(site.root / "new")


def test_a_slice_that_could_not_be_written_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither passed over nor counted twice: what one process remembers goes with the transaction."""
    site = Site(tmp_path)
    site.fill()
    config = site.config({**site.rule, "deliver": [*site.rule["deliver"], {"to": "new"}]})
    with agent(config, T0 + HOUR) as parts:
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "_commit", full)
            with pytest.raises(LedgerError):
                parts.replan.step(T0 + HOUR)
        work(parts, T0 + HOUR)
    with site.ledger() as ledger:
        batch = ledger.files.history(str(site.data / DONE))[-1].batch
        assert sorted(ledger.plans.deliveries(batch).values()) == ["undecided", "verified", "verified"]
        assert sum(one.undecided for one in ledger.plans.behind()) == 1


def full(ledger: Ledger) -> None:
    """The disk of the ledger is."""
    raise LedgerError("database or disk is full")


def test_a_destination_is_what_is_at_its_address(tmp_path: Path) -> None:
    """Two destinations that change their names keep what was proved there."""
    with closing(Ledger(":memory:")) as ledger:
        one, two = (ledger.destinations.place(name, f"/{name}").id for name in ("one", "two"))
        with ledger.transaction():
            assert ledger.destinations.renamed({"two": "/one", "one": "/two"}) == [("one", "two"), ("two", "one")]
            assert ledger.destinations.renamed({"two": "/one", "one": "/two"}) == []
        assert (ledger.destinations.place("two", "/one").id, ledger.destinations.place("one", "/two").id) == (one, two)


def test_what_was_sent_by_hand_does_not_wait_for_a_destination_that_is_gone(tmp_path: Path) -> None:
    """It is refused, with the reason, at the next pass."""
    site = Site(tmp_path)
    site.fill()
    config = site.config(site.rule, places={name: site.places[name] for name in ("share", "tape")})
    with agent(config, T0 + HOUR) as parts:
        work(parts, T0 + HOUR)
        with site.ledger() as ledger, ledger.transaction():
            path = str(site.data / TINY)
            seen = ledger.files.history(path)[-1]
            observation = Observation(seen.version, seen.volume, Kind.FILE)
            sql = "INSERT INTO destinations (name, address) VALUES ('old', '/old') RETURNING id"
            (place,) = ledger.execute(sql).fetchone()
            ledger.sends.sent(None, str(site.data), place, [Sent(path, observation, T0, "by a person")], T0)
        work(parts, T0 + HOUR + 1)
    with site.ledger() as ledger:
        assert ledger.plans.waiting() == []
        (sent,) = [file for file in ledger.files.history(path) if file.rule == "send"]
        assert (sent.state.value, "not configured any more" in (sent.reason or "")) == ("refused", True)
