"""Answers of the service that are not what they should be: the agent waits, or says what is wrong; it does not break."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from agent.destinations.globus import answers, listing, proof
from agent.destinations.globus.session import Session
from agent.errors import Refused, Transient
from tests.agent import test_globus
from tests.agent.test_globus import Rig
from tests.globus import faults
from tests.globus.wire import Answer

WRONG: tuple[Any, ...] = (
    None, True, -1, 1.5, 10**30, "", "x" * 10_000, "../../etc/passwd", "9999-99-99T99:99:99+00:00", [], {}, [None],
    {"x": None}, [[]], "\x00", "SUCCEEDED", 0,
)  # fmt: skip


rig = test_globus.rig


def twisted(document: Any, chance: random.Random) -> Any:
    """The document with one value, at any depth, replaced by a wrong one, or left out."""
    changed = copy.deepcopy(document)
    places: list[tuple[Any, Any]] = []
    waiting = [changed]
    while waiting:
        one = waiting.pop()
        for key in one if isinstance(one, dict) else range(len(one)):
            places.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    if not places or chance.random() < 0.05:
        return chance.choice(WRONG)
    where, key = chance.choice(places)
    if isinstance(where, dict) and chance.random() < 0.2:
        del where[key]
    else:
        where[key] = chance.choice(WRONG)
    return changed


@pytest.mark.parametrize("seed", range(8))
def test_a_wrong_value_anywhere_breaks_nothing(rig: Rig, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever one value of every second answer is: each pass ends as passes end, and no traceback is logged."""
    chance = random.Random(seed)  # noqa: S311  (no secret)
    rig.batch(a=b"one", b=b"two")
    rig.service.faults.twist(
        "*/v0.10/*", lambda found: twisted(found, chance) if chance.random() < 0.5 else found, None
    )
    for _ in range(40):
        try:
            rig.step()
        except (Transient, Refused):
            rig.now += 30.0
    assert [record for record in caplog.records if record.exc_info] == []


def raw(body: bytes) -> faults.Reply:
    """These bytes, called JSON."""
    return lambda _: Answer(200, body, {"Content-Type": "application/json"})


@pytest.mark.parametrize(
    "reply",
    [
        raw(b"[" * 200_000), raw(b'{"a":' * 100_000), raw(b'{"value": ' + b"9" * 10_000 + b"}"), raw(b'{"value": NaN}'),
        raw(b'{"value": "\xff\xfe"}'), raw(b'{"value": "\\ud800"}'), raw(b""), raw(b"\x00" * 1000), faults.huge(answers.AT_MOST),
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["GET */submission_id", "GET */ls"])
def test_what_is_hardly_json_costs_time_only(
    rig: Rig, route: str, reply: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Too deep, too large, no text: it counts as no answer, and the file arrives afterwards."""
    rig.batch(a=b"one")
    rig.service.faults.answer(route, reply, 2)
    rig.deliver()
    assert (rig.states(), rig.there, rig.tasks) == ({"a": "verified"}, {"a": b"one"}, 1)
    assert [record for record in caplog.records if record.exc_info] == []


def test_an_answer_that_is_too_large_or_too_slow_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason; what fits is read whole."""

    def asked(session: Session) -> Any:
        return session.ask(lambda client: client.get_submission_id().data)

    rig.service.faults.answer("GET */submission_id", faults.huge(answers.AT_MOST), 2)
    with pytest.raises(Transient, match="Globus cannot be reached: the answer is larger than 64 MiB"):
        asked(rig.session)
    assert asked(rig.session)["value"]
    monkeypatch.setattr(answers, "LONGEST", -1.0)
    with pytest.raises(Transient, match="Globus cannot be reached: timed out"):
        asked(rig.session)


def test_a_list_without_an_end_is_not_read_for_ever(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose pages always name a next one, and a directory whose pages are always full: given up, with the reason."""
    monkeypatch.setattr(proof, "_PAGES", 3)
    monkeypatch.setattr(listing, "_PAGES", 3)
    monkeypatch.setattr(listing, "PAGE", 1)
    more = {"DATA_TYPE": "x", "DATA": [{"name": "a", "type": "file", "size": 1}], "next_marker": "m"}
    rig.service.faults.answer("GET */successful_transfers", faults.content(more), None)
    rig.service.faults.answer("GET */ls", faults.content(more), None)

    def ask(_: str, call: Any) -> Any:
        return rig.session.ask(call)

    with pytest.raises(Transient, match="gives a list without an end"):
        proof.moved_files(ask, "task", ())
    with pytest.raises(Transient, match="lists /there/x without an end"):
        list(listing.Listing(ask, "collection", "/there/").names("x"))


def test_a_wait_is_an_hour_at_the_most(rig: Rig) -> None:
    """Whatever the service asks for."""
    rig.service.faults.answer("GET */submission_id", faults.rate_limited(10**400), 1)
    for _ in range(2):  # the second time nothing is asked
        with pytest.raises(Transient) as error:
            rig.session.ask(lambda client: client.get_submission_id().data)
        assert error.value.after == pytest.approx(3600.0, abs=60.0)
