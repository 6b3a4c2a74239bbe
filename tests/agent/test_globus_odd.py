"""A service that answers oddly about one task: that is the task's own trouble, with a bound in requests and time."""

from __future__ import annotations

import copy
import itertools
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent.delivery.health import DestinationHealth
from agent.destinations.globus import GlobusTransport, answers, listing, tasks
from agent.destinations.globus.collection_path import CollectionPath
from agent.errors import Refused, Transient
from agent.ledger import Sealed
from rules.health import Condition
from rules.model import OpenBatch
from tests.agent import test_globus
from tests.agent.test_globus import SUBMIT, Rig
from tests.globus import faults

ODD: tuple[Any, ...] = (None, True, -1, 10**30, "", "x" * 10_000, "9999-99-99T99:99:99+00:00", [None], {"x": None})
ROUTES = (
    "GET */task_list", "GET */task/*", "GET */successful_transfers", "GET */skipped_errors", "GET */event_list",
    "GET */pause_info", "POST */cancel", "GET */ls", "GET */stat", "GET */submission_id", SUBMIT,
)  # fmt: skip


rig = test_globus.rig


def under_way(rig: Rig, name: str) -> str:
    """One file of this name, in a task that the service has. Returns the task."""
    before = set(rig.service.tasks.all)
    rig.batch(**{name: name.encode()})
    for _ in range(20):
        rig.step(work=False)
        found = set(rig.service.tasks.all) - before
        if found:
            return found.pop()
    raise AssertionError("no task")


@pytest.mark.parametrize(
    "reply", [faults.internal_error(), faults.content({"DATA": [], "next_marker": "m"}), faults.page(), faults.error(403, "X")]
)  # fmt: skip
def test_evidence_that_cannot_be_read_holds_up_its_own_task_alone(rig: Rig, reply: Any) -> None:
    """One task's list is unreadable each time: a younger task ends, the destination stays up, the first gets weak proof."""
    old = under_way(rig, "old")
    rig.service.faults.answer(f"GET */task/{old}/successful_transfers", reply, None)
    under_way(rig, "young")
    asked = rig.service.count()
    rig.run(lambda: rig.states()["young"] == "verified", 60)
    assert rig.states() == {"old": "batched", "young": "verified"}
    assert rig.destination() == (True, None)
    rig.run(lambda: rig.states()["old"] == "verified", 600)
    assert (rig.evidence("old"), rig.evidence("young"), rig.tasks) == (["stat"], ["md5"], 2)
    assert rig.service.count() - asked < 250


def test_a_page_marker_that_repeats_ends_the_list(rig: Rig) -> None:
    """The same next page again and again is asked for once, not ten thousand times."""
    rig.service.faults.answer(
        "GET */successful_transfers", faults.content({"DATA": [{}] * 3, "next_marker": "again"}), None
    )
    rig.batch(a=b"one")
    rig.deliver()
    asked = [one for one in rig.service.asked() if one.path.endswith("/successful_transfers")]
    assert (rig.states(), rig.evidence("a")) == ({"a": "verified"}, ["stat"])
    assert len(asked) < 30


@pytest.mark.parametrize("route", ["GET */task_list", "GET */ls", SUBMIT, "GET */successful_transfers"])
@pytest.mark.parametrize(
    "wait", ["1" + "0" * 12, "9" * 400, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "\N{SUPERSCRIPT TWO}", "-1"]
)
def test_a_burst_of_absurd_waits_costs_an_hour_each(rig: Rig, route: str, wait: str) -> None:
    """Retry-After says anything, three times in a row: an hour each at the most, and the file arrives."""
    began = rig.now
    rig.service.faults.answer(route, faults.error(503, "ServiceUnavailable", "", {"Retry-After": wait}), 3)
    rig.batch(a=b"one")
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)
    assert rig.now - began < 5 * 3600.0


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand in a document, at any depth."""
    for key in document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ():
        yield (*path, key)
        yield from places(document[key], (*path, key))


def with_odd(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at one place."""
    changed = copy.deepcopy(document)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


@pytest.mark.parametrize("route", ROUTES)
def test_no_field_of_any_answer_stops_the_deliverer(rig: Rig, route: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each field of each answer, one after the other, is of another type for three answers: all arrives."""
    seen: set[tuple[Any, ...]] = set()
    shape: dict[str, Any] = {}

    def note(found: Any) -> Any:
        for place in places(found):
            generic = tuple("*" if isinstance(key, int) else key for key in place)
            if generic not in seen:
                seen.add(generic)
                shape[repr(place)] = place
        return found

    rig.service.faults.twist(route, note, None)
    exercise(rig, "shape")
    values = itertools.cycle(ODD)
    for number, place in enumerate(list(shape.values())):
        for value in (next(values), next(values)):
            rig.service.faults.clear()
            rig.service.faults.twist(route, partial(applied, place=place, value=value), 3)
            exercise(rig, f"f{number}-{type(value).__name__}")
    assert {name: state for name, state in rig.states().items() if state not in ("verified", "refused")} == {}
    assert [record for record in caplog.records if record.exc_info] == []


def applied(found: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The document with the odd value, where it has that place."""
    try:
        return with_odd(found, place, value)
    except (LookupError, TypeError):
        return found


def exercise(rig: Rig, name: str) -> None:
    """One file goes there, with a task that was stuck and paused on its way."""
    rig.put(name, name.encode())
    rig.seal(name)
    rig.service.faults.file(f"*/{name}", "PERMISSION_DENIED", 1)
    for turn in range(300):
        rig.campus.paused = "a rule" if turn == 2 else None
        try:
            rig.step()
        except (Transient, Refused) as error:
            raise AssertionError("the deliverer handles these") from error
        if rig.states()[name] not in ("batched", "complete"):
            return
    raise AssertionError(f"{name} never came: {rig.reasons()[:1]}, {rig.destination()}")


@pytest.mark.parametrize(
    "key", ["code", "message", "request_id", "resource", "required_scopes", "authorization_parameters"]
)
def test_no_field_of_an_error_stops_the_deliverer(rig: Rig, key: str) -> None:
    """Errors whose fields are of another type are errors all the same."""
    for number, (value, status) in enumerate(itertools.product(ODD[::2], (400, 403, 404, 409, 500))):
        body = {"code": "EndpointError", "message": "no", "request_id": "r", "resource": "/x", key: value}
        for route in ("GET */task_list", SUBMIT):
            rig.service.faults.answer(route, faults.content(body, status), 1)
        rig.batch(**{f"f{number}": b"one"})
        for _ in range(3):
            rig.step()
    rig.service.faults.clear()
    rig.run(lambda: set(rig.states().values()) <= {"verified", "refused"})


def test_a_file_put_under_the_name_after_a_refused_request_is_not_overwritten(rig: Rig) -> None:
    """The service never took the request: nothing of it can be there, so what stands there then is somebody else's."""
    rig.batch(a=b"one")
    rig.service.faults.answer(SUBMIT, faults.error(400, "ClientError.BadRequest", "not this one"), 1)
    rig.run(lambda: any("not this one" in reason for reason in rig.reasons()))
    (rig.share / "a").write_bytes(b"somebody else's")
    rig.deliver()
    assert rig.there == {"a": b"somebody else's"}
    assert (rig.states(), rig.tasks) == ({"a": "refused"}, 0)
    assert "this agent did not write it" in rig.reason("a")


def test_what_a_task_left_is_no_proof_for_a_later_batch(rig: Rig) -> None:
    """A task left other bytes with the file's size and date, and the file was refused: the next batch that it joins sends it."""
    rig.service.faults.corrupt("*/a", 1)
    rig.service.faults.file("*/a", "PERMISSION_DENIED", 1)
    rig.batch(a=b"one", b=b"two")
    rig.deliver()
    assert (rig.states(), rig.there["b"]) == ({"a": "refused", "b": "verified"}, b"two")
    assert rig.there["a"] != b"one"
    rig.ledger.files.retried(rig.now)
    (file,) = rig.ledger.files.history(str(rig.data / "a"))
    with rig.ledger.transaction():
        batch = rig.ledger.batches.opened("r", "key", rig.now)
        rig.ledger.files.completed([(file, batch, "quiet")], rig.now)
        rig.ledger.batches.joined(batch, OpenBatch("key", 1, 3, rig.now, rig.now))
        rig.ledger.batches.sealed([Sealed(batch, "r", "full", [rig.place])], rig.now)
    rig.deliver()
    assert (rig.states(), rig.there["a"]) == ({"a": "verified", "b": "verified"}, b"one")
    assert rig.evidence("a") == ["md5"]


def test_a_refused_request_leaves_no_task(rig: Rig) -> None:
    """What was never taken has no task to show."""
    rig.batch(a=b"one")
    rig.service.faults.answer(SUBMIT, faults.error(400, "ClientError.BadRequest", "not this one"), None)
    rig.run(lambda: any("not this one" in reason for reason in rig.reasons()))
    rig.step()
    assert rig.ledger.execute("SELECT count(*) FROM tasks").fetchone() == (0,)


def test_a_list_with_another_checksum_than_ours_proves_nothing(rig: Rig) -> None:
    """The agent read the file itself, and the service's list says another checksum: it goes again until both agree."""
    rig.options = {"checksum": "md5"}
    rig.start()
    rig.service.faults.misreport("*/a", 1)
    rig.batch(a=b"one", b=b"two")
    rig.run(lambda: any("another checksum than the local file" in reason for reason in rig.reasons()))
    assert (rig.states(), rig.evidence("a")) == ({"a": "batched", "b": "verified"}, [])
    rig.deliver()
    assert (rig.states(), rig.evidence("a"), rig.tasks) == ({"a": "verified", "b": "verified"}, ["md5"], 2)


def test_a_directory_that_is_a_link_while_the_task_runs_is_no_proof_with_our_checksum(rig: Rig) -> None:
    """Somebody swaps the directory for a link and back while the service reads: what it read is not what the agent read."""
    rig.options = {"checksum": "md5"}
    rig.start()
    rig.put("other/a", b"foe")
    rig.batch(**{"run/a": b"one"})
    for _ in range(20):
        rig.step(work=False)
        if rig.tasks:
            break
    os.rename(rig.data / "run", rig.data / "kept")
    os.symlink(rig.data / "other", rig.data / "run")
    rig.service.work()
    os.unlink(rig.data / "run")
    os.rename(rig.data / "kept", rig.data / "run")
    rig.deliver()
    assert (rig.states(), rig.there) == ({"run/a": "verified"}, {"run/a": b"one"})
    assert (rig.evidence("run/a"), rig.tasks) == (["md5"], 2)


def test_two_names_of_one_path_at_two_collections_are_refused_by_the_mark(rig: Rig) -> None:
    """Another collection shows the path of the other collection: the mark there is the other destination's."""
    guest = rig.service.collection("Guest", rig.share)
    rig.batch(a=b"one")
    rig.deliver()
    collection_path = CollectionPath(rig.source.id, str(rig.data), "/", guest.id, "/")
    transport = GlobusTransport(
        "guest", collection_path, rig.session, "a1b2c3d4e5f6", 6, lambda *_: None, clock=lambda: rig.now
    )
    place = rig.ledger.destinations.place("guest", transport.address, in_place=True).id
    health = DestinationHealth(rig.ledger, transport, place, rig.counts, lambda: 0.0, {rig.place: "campus"})
    health.check(rig.now, idle=True)
    assert health.now.condition is Condition.REFUSED
    assert "one copy would count as two" in (health.now.reason or "")


@pytest.mark.parametrize("kind", ["GCSv5_guest_collection", "GCP_guest_collection"])
@pytest.mark.parametrize(
    ("path", "within", "reason"),
    [
        ("/", "", "one copy could count as two"),
        ("/run", "", "one copy could count as two"),
        ("/run", "other", None),
        ("/", "apart", None),
    ],
)
def test_a_guest_collection_in_another_destination_is_refused_where_a_rule_delivers_to_both(
    rig: Rig, kind: Any, path: str, within: str, reason: str | None
) -> None:
    """The service says which collection it shows a part of. `within`: no such rule, or no such directory."""
    rig.batch(a=b"one")
    rig.deliver()
    (rig.share / "run").mkdir()
    outer = rig.service.collection("Project", rig.root)
    guest = rig.service.guest("Guest", rig.campus, path, kind) if within != "apart" else outer
    (rig.root / "run").mkdir()
    transport = GlobusTransport(
        "guest", CollectionPath(rig.source.id, str(rig.data), "/", guest.id, "/run" if path == "/" else "/"),
        rig.session, "a1b2c3d4e5f6", 6, lambda *_: None, clock=lambda: rig.now,
    )  # fmt: skip
    place = rig.ledger.destinations.place("guest", transport.address, in_place=True).id
    health = DestinationHealth(rig.ledger, transport, place, rig.counts, lambda: 0.0, {rig.place: "campus"})
    health.beside = {"campus"} if within != "other" else ()
    health.check(rig.now, idle=True)
    assert health.now.condition is (Condition.UP if reason is None else Condition.REFUSED)
    assert (reason or "") in (health.now.reason or "")
    there = f"{guest.id}:/run" if within == "apart" else f"{rig.campus.id}:/run"
    assert rig.ledger.destinations.location("guest", transport.address) == there


@pytest.mark.parametrize(
    "reply", [faults.internal_error(), faults.content([]), *(faults.content({"host_endpoint_id": odd}) for odd in ODD)]
)
def test_a_collection_that_does_not_say_where_it_is_still_takes_files(rig: Rig, reply: Any) -> None:
    """What the service says of it oddly is asked again, and nothing is deleted on two such proofs until it says."""
    rig.service.faults.answer(f"GET */endpoint/{rig.campus.id}", reply, None)
    rig.start()
    rig.batch(a=b"one")
    rig.deliver()
    assert (rig.states(), rig.destination()) == ({"a": "verified"}, (True, None))
    known = rig.ledger.destinations.location("campus", rig.transport.address)
    assert known in (None, rig.transport.address)


def test_a_pause_of_the_source_is_known_before_a_task_is_made(rig: Rig) -> None:
    """Both collections are asked for the rules that hold: the administrator's words are shown, and no task waits at the service."""
    rig.source.paused = "the microscope moves house"
    rig.batch(a=b"one")
    rig.run(lambda: any(rig.reasons()))
    assert rig.reasons() == [
        f"the administrator of collection {rig.source.id} has paused transfers: the microscope moves house;"
        " it goes when that has ended"
    ]
    assert (rig.tasks, rig.destination()) == (0, (True, None))
    rig.source.paused = None
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)


@pytest.mark.parametrize(
    "reply", [faults.internal_error(), faults.error(403, "PermissionDenied"), faults.content({"DATA": 3})]
)
def test_rules_that_cannot_be_read_hold_up_nothing(rig: Rig, reply: Any) -> None:
    """They are asked for people alone."""
    rig.service.faults.answer("GET */my_effective_pause_rule_list", reply, None)
    rig.batch(a=b"one")
    rig.deliver()
    assert (rig.states(), rig.tasks) == ({"a": "verified"}, 1)


def _plant(folder: Path, *names: bytes) -> None:
    """What whoever may write into the share puts there: names that are no text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.mkdir(os.path.join(os.fsencode(folder), name))


def test_names_that_are_no_text_stop_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Names at the collection that are no UTF-8, beside the mark and beside the files: all files arrive, and are confirmed."""
    _plant(rig.share, b".dropline-destination-\xff", b"\xff")
    _plant(rig.share / "d", b"\xfe.h5")
    names = [f"d/{name}" for name in "abcde"]
    for name in names:
        rig.put(name, name.encode())
    rig.seal(*names)
    rig.deliver()
    assert rig.states() == dict.fromkeys(names, "verified")
    identity = rig.deliverer._health.identity
    assert identity is not None
    for name in names:
        file = rig.ledger.files.history(str(rig.data / name))[-1]
        assert rig.transport.confirm(name, file.version, b"", "md5", identity).ok
    assert [record for record in caplog.records if record.exc_info] == []


def test_a_large_directory_is_looked_through_in_parts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody fills a directory there: of what is not among so many entries, each name is asked for alone."""
    monkeypatch.setattr(listing, "PAGE", 10)
    monkeypatch.setattr(listing, "_LOOKED_THROUGH", 20)
    (rig.share / "d").mkdir()
    for number in range(100):
        (rig.share / f"d/a{number:03}").write_bytes(b"x")
    names = [f"d/b{number}" for number in range(5)]
    for name in names:
        rig.put(name, b"content")
    (rig.share / names[0]).write_bytes(b"somebody else's")
    rig.seal(*names)
    rig.deliver()
    assert rig.states() == {name: "refused" if name == names[0] else "verified" for name in names}
    identity = rig.deliverer._health.identity
    assert identity is not None
    for name in names[1:]:
        file = rig.ledger.files.history(str(rig.data / name))[-1]
        assert rig.transport.confirm(name, file.version, b"", "md5", identity).ok
    assert rig.counts.requests["ls", "ok"] < 20


def test_a_page_of_the_longest_names_is_read() -> None:
    """Names of letters that are escaped, as long as they may be: a page of them has fewer bytes than an answer may have."""
    row = {"name": "\U0001f600" * 63, "type": "file", "size": 2**63, "last_modified": "2026-01-01 00:00:00+00:00"}
    row |= {"DATA_TYPE": "file", "user": "x" * 255, "group": "x" * 255, "permissions": "0644", "link_target": None}
    page = json.dumps({"DATA": [row] * listing.PAGE}).encode()
    assert len(page) < answers.AT_MOST // 2


def test_one_answer_that_cannot_be_read_holds_up_its_own_file(rig: Rig) -> None:
    """A name is asked for alone, and the answer is none: the other files of the batch go, the destination stays up."""
    rig.batch(first=b"one")
    rig.deliver()
    rig.service.faults.answer("GET */stat?path=*few/a", faults.page(), None)
    rig.put("few/a", b"one")
    names = [f"many/{number}" for number in range(5)]
    for name in names:
        rig.put(name, b"one")
    rig.seal("few/a", *names)
    rig.run(lambda: rig.states()["many/0"] == "verified", 60)
    assert rig.states() == {"few/a": "batched"} | dict.fromkeys(["first", *names], "verified")
    assert rig.destination() == (True, None)
    rig.service.faults.clear()
    rig.deliver()
    assert (set(rig.states().values()), rig.destination()) == ({"verified"}, (True, None))


def test_details_without_an_end_are_read_in_time() -> None:
    """Details of an event that are blank lines, or one line of blanks, cost a moment."""
    for details in ("\n" * 10**6, "File: " + " " * 10**6 + "x\n", " " * 10**6):
        began = time.monotonic()
        list(tasks._paths(details))
        assert time.monotonic() - began < 2.0
    assert list(tasks._paths("Error\n  File: /a b/c \nFile: \n")) == ["/a b/c"]


@pytest.mark.parametrize(
    "said",
    ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "9999-99-99", "x", "", None, 10**30, "2026-01-31 12:00:00+00:00"],
)  # fmt: skip
def test_whatever_time_an_entry_has_can_be_shown(said: Any) -> None:
    """In each time zone: `dropline ls` lists a directory where somebody set a time at an end of the calendar."""
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        at = listing.entry({"name": "a", "type": "file", "last_modified": said}).mtime
        assert datetime.fromtimestamp(at, ZoneInfo(zone)).isoformat()


def test_marks_of_others_cost_no_time(rig: Rig) -> None:
    """Somebody makes a thousand marks beside the destination's: it is asked for by name, and no list is read."""
    rig.batch(a=b"one")
    rig.deliver()
    for number in range(1_000):
        (rig.share / f".dropline-destination-{number:04}").mkdir()
    before = rig.counts.requests["ls", "ok"]
    rig.batch(b=b"two")
    rig.deliver()
    assert (rig.states(), rig.destination()) == ({"a": "verified", "b": "verified"}, (True, None))
    assert rig.counts.requests["ls", "ok"] == before
