"""What is told of a verified batch, and what is made of it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.actions.event import (
    FLOW_BYTES,
    LISTED,
    Batch,
    Copy,
    Item,
    at_collection,
    batch_of,
    body,
    event,
    flow_input,
    folders,
)

laws = settings(max_examples=200, deadline=None)
CAMPUS = "11111111-2222-3333-4444-555555555555"


def batch(*paths: str, **changes: Any) -> Batch:
    """A batch of these files, at two destinations."""
    items = [Item(f"/data/{path}", 2, [Copy(to, path, "md5:00") for to in ("share", "campus")]) for path in paths]
    addresses = {"share": "/mnt/share", "campus": f"{CAMPUS}:/ingest"}
    made = Batch("0123456789ab", 7, "r", "run1", "pc", 0.5, addresses, items)
    return made._replace(**changes)


def test_the_id_is_that_of_the_batch_and_the_action() -> None:
    """Two tellings of one batch for one action have one id; another action, batch or agent has another."""
    ids = [
        event(one, action)["id"]
        for one in (batch("a"), batch("a", number=8), batch("a", agent="f" * 12))
        for action in ("webhook", "webhook-2")
    ]
    assert ids == [
        "0123456789ab-7/webhook", "0123456789ab-7/webhook-2", "0123456789ab-8/webhook", "0123456789ab-8/webhook-2",
        "ffffffffffff-7/webhook", "ffffffffffff-7/webhook-2",
    ]  # fmt: skip
    assert event(batch("a"), "webhook") == event(batch("a"), "webhook")


def test_a_large_batch_is_cut_and_says_so() -> None:
    """Counts and sums are of the whole batch; the list is cut, with a note that says by how much."""
    whole, cut = (event(batch(*map(str, range(count))), "x")["data"] for count in (LISTED, LISTED + 5))
    assert (len(whole["items"]), whole["files"], whole["bytes"], "note" in whole) == (LISTED, LISTED, 2 * LISTED, False)
    assert (len(cut["items"]), cut["files"], cut["bytes"]) == (LISTED, LISTED + 5, 2 * LISTED + 10)
    assert cut["note"].startswith("5 more files are not listed")


@laws
@given(st.lists(st.binary(min_size=1, max_size=9).filter(lambda name: b"\0" not in name), min_size=1))
def test_any_file_name_makes_json_that_strict_readers_take(names: list[bytes]) -> None:
    """No lone surrogates, whatever bytes names have; and the batch's id is read back."""
    made = batch(
        *(name.decode("utf-8", "surrogateescape") for name in names), key=names[0].decode("utf-8", "surrogateescape")
    )
    payload = json.dumps(event(made, "x"))
    json.loads(payload)["data"]["key"].encode()
    assert [one["path"].encode() for one in json.loads(payload)["data"]["items"]]
    assert batch_of(payload.encode()) == made.id


PARTS = st.sampled_from(["a", "b", "ab", "c d"])
PATHS = st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12, unique=True)


@laws
@given(PATHS)
def test_shared_folders_are_those_of_the_files_and_no_more(paths: list[str]) -> None:
    """Each file is below exactly one of them, and each of them holds one of the files itself."""
    shared = folders(batch(*paths), "campus")
    assert all(one.startswith("/ingest/") and one.endswith("/") for one in shared)
    for path in paths:
        assert sum(f"/ingest/{path}".startswith(one) for one in shared) == 1
    own = {f"/ingest/{path}".rpartition("/")[0] + "/" for path in paths}
    assert set(shared) <= own
    assert shared == sorted(shared)


def test_folders_told_in_events_hold_the_whole_batch() -> None:
    """The lowest folder that holds all files, at each destination as it names it."""
    told = event(batch("p/s1/a", "p/s1/raw/b", "p/s2/c"), "x")["data"]["destinations"]
    assert told == [
        {"name": "share", "collection": None, "folder": "/mnt/share/p/"},
        {"name": "campus", "collection": CAMPUS, "folder": "/ingest/p/"},
    ]
    root = batch("a", "b/c", addresses={"campus": f"{CAMPUS}:/"})
    assert [one["folder"] for one in event(root, "x")["data"]["destinations"]] == ["/"]
    assert folders(root, "campus") == ["/"]


def test_a_template_is_filled_everywhere_and_alone_keeps_its_type() -> None:
    """Fields in text, in lists and tables; a field alone may be a number, a list or the event."""
    of = event(batch("run1/a", "run1/b"), "flow")
    template = {
        "whole": "{event}", "n": "{files}", "items": ["{items}"], "text": "{rule}/{number} at {time}",
        "path": {"deep": "{folder:campus}x", "id": "{collection:campus}"}, "plain": [1, True, 2.5, "{{}}", ""],
    }  # fmt: skip
    assert body(template, of) == {
        "whole": of, "n": 2, "items": [of["data"]["items"]], "text": "r/7 at 1970-01-01T00:00:00.500Z",
        "path": {"deep": "/ingest/run1/x", "id": CAMPUS}, "plain": [1, True, 2.5, "{}", ""],
    }  # fmt: skip
    assert body(None, of) == of


def test_only_the_address_of_a_collection_is_one() -> None:
    """A directory whose name looks like it is none: directories are absolute."""
    assert at_collection(f"{CAMPUS}:/ingest/x:y") == (CAMPUS, "/ingest/x:y")
    assert at_collection(f"/{CAMPUS}:/ingest") is None
    assert at_collection("/mnt/share") is None


@pytest.mark.parametrize("template", [None, {"files": "{items}", "whole": "{event}"}, {"only": "{folder}"}])
@pytest.mark.parametrize("count", [0, 1, 300, 1000, 20_000])
def test_the_input_of_a_flow_has_a_bound(template: dict[str, str] | None, count: int) -> None:
    """A run's state has a limit: as many files are listed as there is room for, and the counts are those of all."""
    made = batch(*(f"{number:06}" + "n" * 200 for number in range(count)))
    found = flow_input(template, made, "x")
    assert len(json.dumps(found)) <= FLOW_BYTES
    if template is None:
        listed = len(found["data"]["items"])
        assert (found["data"]["files"], found["id"]) == (count, event(made, "x")["id"])
        assert (listed == count) is ("note" not in found["data"])
        assert listed == count or found["data"]["note"].startswith(f"{count - listed} more files are not listed")
        assert listed >= min(count, 100)
