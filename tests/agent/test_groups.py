"""Groups that become batches: each in its time, whichever of them are looked at."""

from collections.abc import Iterator
from datetime import tzinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.intake import groups as module
from agent.intake.groups import Groups
from agent.ledger import MEMORY, File, Ledger, State
from rules import batch
from rules.model import FileId, OpenBatch, Verdict, Version, VolumeId
from rules.rule import Rule, Sealing
from tests import configured

T0 = 2_000_000_000.0
RULES: list[dict[str, object]] = [
    {"batch": {"linger": "5s", "max_age": "20s", "max_files": 3}},
    {"batch": {"schedule": "*/2 * * * *", "max_files": 4}},
]


def rules(*tables: dict[str, object]) -> tuple[Rule, ...]:
    """Rules r0, r1, ... of these tables, and of what each rule has."""
    return configured.rules({
        "rules": [
            {"name": f"r{number}", "watch": f"/data/{number}", "deliver": [{"to": "share"}], **table}
            for number, table in enumerate(tables)
        ]
    })  # fmt: skip


def file(rule: Rule, folder: str) -> File:
    """A file that was found complete."""
    version = Version(1, 1, 1, FileId(1))
    return File(1, f"{rule.watch}/{folder}/f", 1, rule.name, State.CANDIDATE, version, VolumeId(1), T0, T0, None, None)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """An empty one."""
    made = Ledger(MEMORY)
    yield made
    made.close()


class Undo(Exception):
    """Undoes a transaction."""


def undo(ledger: Ledger, made: Groups, rule: Rule, now: float) -> None:
    """A file joins in a transaction that is undone."""
    with ledger.transaction():
        made.joining(now).alone(file(rule, "undone"), rule)
        raise Undo


Step = tuple[int, int, float, bool]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.floats(0, 40), st.booleans()), max_size=40))
def test_each_is_sealed_in_the_first_pass_after_its_time(steps: list[Step]) -> None:
    """Whatever joins, and whatever is undone: as if all groups were asked in each pass; no time is missed."""
    ledger, both, now = Ledger(MEMORY), rules(*RULES), T0
    try:
        made = Groups(ledger, both, {"share": ledger.destinations.place("share", "/share").id}, "host")
        for which, folder, later, undone in steps:
            now += later
            with ledger.transaction():
                joining = made.joining(now)
                joining.alone(file(both[which], str(folder)), both[which])
                joining.end()
            if undone:
                with pytest.raises(Undo):
                    undo(ledger, made, both[which], now)
            by_name = {rule.name: rule for rule in both}
            asked = {
                number: batch.seal(by_name[rule].batch, group, now) for number, rule, group in ledger.batches.open()
            }
            with ledger.transaction():
                again = made.seal(now)
            left = {number for number, _, _ in ledger.batches.open()}
            assert left == {number for number, verdict in asked.items() if not verdict.ok}
            times = [at for number in left if (at := asked[number].again_at) is not None]
            assert (again is None) == (not times)
            assert again is None or now < again <= min(times)
    finally:
        ledger.close()


def test_only_those_are_asked_whose_time_may_have_come(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are open: each once when it is new, and then not before its time."""
    (rule,) = rules({"batch": {"schedule": "0 3 * * *", "by": "dir"}})
    made = Groups(ledger, [rule], {"share": ledger.destinations.place("share", "/share").id}, "host")
    asked: list[str] = []
    seal = batch.seal
    monkeypatch.setattr(
        module.batch,
        "seal",
        lambda sealing, group, now, zone: asked.append(group.key) or seal(sealing, group, now, zone),
    )
    with ledger.transaction():
        joining = made.joining(T0)
        for number in range(200):
            joining.alone(file(rule, str(number)), rule)
        joining.end()
    for later in (0.0, 1.0, 2.0):
        with ledger.transaction():
            at = made.seal(T0 + later)
    assert len(asked) == 200
    assert at == batch.next_time("0 3 * * *", T0)
    with ledger.transaction():
        assert made.seal(at) is None
    assert (len(asked), ledger.batches.open()) == (400, [])


def test_one_that_fails_is_asked_again_in_its_time(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are sealed, and it is neither asked in each pass nor forgotten."""
    (rule,) = rules({"batch": {"linger": "0s", "by": "dir"}})
    made = Groups(ledger, [rule], {"share": ledger.destinations.place("share", "/share").id}, "host")
    seal, asked = batch.seal, list[float]()

    def fail(sealing: Sealing, group: OpenBatch, now: float, zone: tzinfo) -> Verdict:
        if group.key == "bad":
            asked.append(now - T0)
            raise RecursionError
        return seal(sealing, group, now, zone)

    monkeypatch.setattr(module.batch, "seal", fail)
    with ledger.transaction():
        joining = made.joining(T0)
        for name in ("1", "bad", "2"):
            joining.alone(file(rule, name), rule)
        joining.end()
    again = T0
    for _ in range(4):
        with ledger.transaction():
            found = made.seal(again)
        assert found is not None
        again = found
        assert [group.key for _, _, group in ledger.batches.open()] == ["bad"]
    assert asked == [0.0, 1.0, 3.0, 7.0]


def test_a_schedule_holds_for_full_batches(ledger: Ledger) -> None:
    """Files beyond `max_files` are other batches, all sealed at its time; also after a restart."""
    (rule,) = rules({"batch": {"schedule": "0 3 * * *", "by": "dir", "max_files": 2}})
    places = {"share": ledger.destinations.place("share", "/share").id}
    made = Groups(ledger, [rule], places, "host")
    for number in range(5):
        with ledger.transaction():
            joining = made.joining(T0 + number)
            joining.alone(file(rule, "day"), rule)
            joining.end()
    for again in (made, Groups(ledger, [rule], places, "host")):
        with ledger.transaction():
            at = again.seal(T0 + 10)
        assert at == batch.next_time("0 3 * * *", T0)
        assert [group.files for _, _, group in ledger.batches.open()] == [2, 2, 1]
    with ledger.transaction():
        assert again.seal(at) is None
    assert ledger.batches.open() == []
