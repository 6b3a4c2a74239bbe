"""Nothing waits without a reason: each state of a file and of its deliveries has one, in explain, wait and status."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.ledger import CAME_LATER, UNPROVED, DeliveryState, Ledger, State
from agent.observe.explain import explain
from agent.observe.status import status
from agent.observe.waiting import Reasons
from tests.agent.test_deliverer import NOW, _seal

OVER = {DeliveryState.VERIFIED, DeliveryState.REFUSED, *CAME_LATER}


class Desk:
    """A ledger with one file, in whatever state."""

    def __init__(self, root: Path) -> None:
        self.ledger = Ledger(str(root / "ledger.sqlite"))
        self.place = self.ledger.destinations.place("share", "/mnt/share").id
        self.path = root / "scan.h5"
        self.path.write_bytes(b"frame")
        with self.ledger.transaction():
            self.ledger.destinations.set_up(self.place, "identity")
            self.ledger.destinations.went(self.place, True, None, NOW)
        _seal(self.ledger, self.place, self.path)

    def put(self, column: str, value: object, table: str = "files") -> None:
        """As some run left it."""
        with self.ledger.transaction():
            self.ledger.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608  (names of this file)

    @property
    def reason(self) -> str | None:
        """Of the file, as all who show it have it."""
        (file,) = self.ledger.files.history(str(self.path))
        said = Reasons(self.ledger).of(file)
        assert explain(self.ledger, [], str(self.path))["versions"][-1]["reason"] == said
        waiting = status(self.ledger, [], [("share", "/mnt/share")], {}, {})["waiting"]
        shown = {"state": file.state.value, "files": 1, "example": str(self.path), "reason": said}
        assert waiting == ([shown] if file.state in UNPROVED else [])
        return said


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


@pytest.mark.parametrize("state", UNPROVED)
@pytest.mark.parametrize("reason", [None, "written by somebody"])
def test_a_file_on_its_way_has_a_reason(desk: Desk, state: State, reason: str | None) -> None:
    """Also where the ledger has none, for a moment or since it only waits for time."""
    desk.put("state", state.value)
    desk.put("reason", reason)
    assert desk.reason


@pytest.mark.parametrize(
    ("state", "up", "reason"), list(itertools.product(DeliveryState, [True, False, None], [None, "the share is full"]))
)
def test_a_delivery_that_has_not_ended_has_a_reason(
    desk: Desk, state: DeliveryState, up: bool | None, reason: str | None
) -> None:
    """Its own, or the destination's, or what is done in its state."""
    desk.put("state", state.value, "deliveries")
    desk.put("reason", reason, "deliveries")
    desk.put("up", None if up is None else int(up), "destinations")
    desk.put("reason", None if up else "not mounted", "destinations")
    said = desk.reason or ""
    if state in OVER:
        assert said == "its deliveries have ended, and what came of them is about to be written down"
        return
    begin, _, why = said.partition(f"to share: {state}: ")
    assert begin == ""
    if up is False:
        assert why == "it is down: not mounted"
    elif up is None:
        assert why == "it was not looked at yet"
    else:
        assert why == reason or (reason is None and len(why) > 10)


def test_a_person_is_the_reason_where_deliveries_are_paused(desk: Desk) -> None:
    """Whatever else is true of the destination, and however it was paused."""
    for of in (None, "share"):
        desk.ledger.pauses.paused("delivery", of)
        assert desk.reason == "to share: pending: a person paused deliveries (`dropline resume delivery`)"
        desk.ledger.pauses.resumed("delivery", of)
    assert desk.reason == "to share: pending: it waits for its turn, or for the other files of its dataset"


def test_a_former_address_of_the_destination_is_no_reason(desk: Desk) -> None:
    """Where it is now counts."""
    new = desk.ledger.destinations.place("share", "/mnt/other").id
    with desk.ledger.transaction():
        desk.ledger.destinations.went(desk.place, False, "not mounted", NOW)
        desk.ledger.destinations.went(new, True, None, NOW)
    assert desk.reason == "to share: pending: it waits for its turn, or for the other files of its dataset"


def test_an_example_is_looked_for_among_the_newest_files_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million files that came later cost status nothing."""
    monkeypatch.setattr("agent.ledger.reports._NEWEST", 0)
    (waiting,) = status(desk.ledger, [], [("share", "/mnt/share")], {}, {})["waiting"]
    said = {"example": "a file that was found long ago", "reason": "see `dropline files --state batched`"}
    assert waiting == {"state": "batched", "files": 1} | said
