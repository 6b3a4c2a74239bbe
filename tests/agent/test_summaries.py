"""Datasets and folders as the status page reads them from the ledger, and the history of the last day."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.ledger import Copies, Found, Intent, Interval, Ledger, Proof, Sealed, Summary
from agent.observe.metrics import Metrics
from agent.observe.web.headline import Headline, headline
from agent.observe.web.plot import above, plot
from rules.model import Content, FileId, Kind, Observation, OpenBatch, Version, VolumeId

ODD = os.fsdecode(b"scan \xff<i>.h5")
DAY = 1_700_000_400.0
"""An interval begins then."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    opened = Ledger(str(tmp_path / "ledger.sqlite"))
    yield opened
    opened.close()


def find(ledger: Ledger, *paths: str, dataset: str | None = None, now: float = DAY) -> None:
    """New files of 10 bytes become candidates."""
    with ledger.transaction():
        whole = ledger.datasets.number(ledger.files.rule("r"), dataset, now) if dataset else None
        for number, path in enumerate(paths):
            seen = Observation(Version(10, 1, 1, FileId(number)), VolumeId(1), Kind.FILE)
            directory = ledger.files.directory(os.path.dirname(path))
            ledger.files.found([Found(directory, path, "r", seen, 1, now, now, whole)])


def verify(ledger: Ledger, *paths: str, algorithm: str = "sha256", now: float = DAY) -> None:
    """They are sealed, and arrive at the share."""
    place = ledger.destinations.place("share", "/mnt").id
    files = [ledger.files.history(path)[-1] for path in paths]
    with ledger.transaction():
        batch = ledger.batches.opened("r", "key", now)
        ledger.files.completed([(file, batch, "quiet") for file in files], now)
        ledger.batches.joined(batch, OpenBatch("key", len(files), 10 * len(files), now, now))
        ledger.batches.sealed([Sealed(batch, "r", "full", [place])], now)
        ledger.deliveries.planned(place, [(file.id, file.path[1:]) for file in files])
        ledger.deliveries.proved(
            place,
            "share",
            [Proof(file, file.path[1:], Content(b"c", file.version.size), algorithm, "accepted") for file in files],
            now,
        )


def names(summaries: list[Summary]) -> list[str]:
    return [one.name for one in summaries]


def test_a_copy_whose_evidence_was_withdrawn_counts_once_when_it_is_proved_again(ledger: Ledger) -> None:
    """It does not count meanwhile."""
    find(ledger, "/d/a")
    verify(ledger, "/d/a")
    place = ledger.destinations.place("share", "/mnt").id
    file = ledger.files.history("/d/a")[-1]
    (one,) = ledger.summaries.current(10)
    with ledger.transaction():
        ledger.scrubs.withdrawn(place, [file.id])
    assert ledger.summaries.copies(one.id) == [Copies("share", "/mnt", here=0, weak=0, gone=0)]
    with ledger.transaction():
        ledger.deliveries.planned(place, [(file.id, "d/a~1")])
        ledger.deliveries.proved(place, "share", [Proof(file, "d/a~1", Content(b"c", 10), "sha256", "accepted")], DAY)
    assert ledger.summaries.copies(one.id) == [Copies("share", "/mnt", here=1, weak=0, gone=0)]


def test_a_holding_counts_what_became_of_its_files(ledger: Ledger) -> None:
    """On their way, verified, refused, removed: files and bytes, and copies per destination."""
    find(ledger, "/d/a", "/d/b", "/d/c", "/d/e")
    verify(ledger, "/d/a", "/d/b")
    a, _, c, _ = (ledger.files.history(f"/d/{name}")[-1] for name in "abce")
    with ledger.transaction():
        ledger.files.refused([(c.id, "r", c.path, "a link")])
        ledger.files.removed([(a.id, "r", a.path, "somebody removed it")], 9.0)
    (one,) = ledger.summaries.current(10)
    assert one == Summary(
        one.id, "r", False, "/d", waiting=1, waiting_bytes=10, verified=1, verified_bytes=10, reclaimed=0,
        reclaimed_bytes=0, removed=1, removed_bytes=10, refused=1, refused_bytes=10, vanished=0, ignored=0,
        ignored_bytes=0, place=one.place,
    )  # fmt: skip
    assert (one.here, one.files, one.bytes) == (3, 4, 40)
    assert ledger.summaries.copies(one.id) == [Copies("share", "/mnt", here=1, weak=0, gone=1)]
    assert ledger.summaries.of(c) == one
    assert ledger.summaries.get(one.id) == one
    assert ledger.summaries.get(one.id + 1) is None
    waits = ledger.summaries.waits(one)
    assert waits is not None
    assert waits.path == "/d/e"


def test_what_somebody_else_removed_is_never_counted_as_reclaimed(tmp_path: Path) -> None:
    """It has a state, an event and a count of its own; the bytes that the agent deleted are those of its own deletions."""
    metrics = Metrics()
    ledger = Ledger(str(tmp_path / "ledger.sqlite"), metrics.announce)
    find(ledger, "/d/a", "/d/b")
    verify(ledger, "/d/a", "/d/b")
    a, b = (ledger.files.history(f"/d/{name}")[-1] for name in "ab")
    with ledger.transaction():
        ledger.files.removed([(a.id, "r", a.path, "removed by somebody else")], 9.0)
    intent = Intent(b, "/d", "b", ".dropline-reclaim-2", DAY, "proved everywhere")
    with ledger.transaction():
        ledger.reclaims.intended([intent])
        ledger.reclaims.reclaimed([intent], 9.0)
    assert sorted(ledger.reports.tally()) == [("r", "reclaimed", 1, 10), ("r", "removed", 1, 10)]
    (one,) = ledger.summaries.current(10)
    assert (one.reclaimed, one.removed, one.gone, one.files, one.bytes) == (1, 1, 2, 2, 20)
    assert ledger.summaries.copies(one.id) == [Copies("share", "/mnt", here=0, weak=0, gone=2)]
    read = metrics.registry.get_sample_value
    events = {event: read("dropline_files_total", {"rule": "r", "event": event}) for event in ("reclaimed", "removed")}
    assert events == {"reclaimed": 1.0, "removed": 1.0}
    assert read("dropline_reclaimed_bytes_total", {"rule": "r"}) == 10.0
    ledger.close()


def test_what_needs_a_person_comes_first_then_what_is_under_way(ledger: Ledger) -> None:
    """Then the newest."""
    for name in ("old", "bad", "way", "new"):
        find(ledger, f"/{name}/x")
    verify(ledger, "/old/x", "/new/x")
    bad = ledger.files.history("/bad/x")[-1]
    with ledger.transaction():
        ledger.files.refused([(bad.id, "r", bad.path, "a link")])
    assert names(ledger.summaries.current(10)) == ["/bad", "/way", "/new", "/old"]
    assert names(ledger.summaries.current(3)) == ["/bad", "/way", "/new"]


def test_datasets_are_told_by_their_name_and_list_what_waits_first(ledger: Ledger) -> None:
    """Their files lie in several folders."""
    find(ledger, "/d/run_1/a", "/d/run_1/sub/b", dataset="run_1")
    verify(ledger, "/d/run_1/a")
    (one,) = ledger.summaries.current(10)
    assert (one.whole, one.name, one.waiting, one.verified) == (True, "run_1", 1, 1)
    assert [file.path for file in ledger.summaries.files(one, 10)] == ["/d/run_1/sub/b", "/d/run_1/a"]
    assert [file.path for file in ledger.summaries.files(one, 1)] == ["/d/run_1/sub/b"]


def test_a_folder_is_not_proved_while_anything_below_it_is_not(ledger: Ledger) -> None:
    """Of whichever rule; folders whose names only begin alike do not count."""
    find(ledger, "/d/a", "/d/run/x", "/d/run_2/x")
    verify(ledger, "/d/a", "/d/run/x")
    assert [ledger.summaries.unproved_below(path) for path in ("/d", "/d/run", "/d/run_2", "/")] == [
        True, False, True, False,
    ]  # fmt: skip
    verify(ledger, "/d/run_2/x")
    assert not ledger.summaries.unproved_below("/d")


def test_search_finds_folders_datasets_and_files_whatever_the_case(ledger: Ledger) -> None:
    """Names that begin so or have it within; odd bytes are only bytes, and wildcards of SQL are letters."""
    find(ledger, "/d/Lysozyme/scan_1.h5", "/d/lyso%/x_scan", f"/d/other/{ODD}")
    find(ledger, "/d/RUN_7/a", dataset="RUN_7")
    assert names(ledger.summaries.named("lyso", 10)) == ["/d/lyso%", "/d/Lysozyme"]
    assert names(ledger.summaries.named("LYSO%", 10)) == ["/d/lyso%"]
    assert names(ledger.summaries.named("run_7", 10)) == ["RUN_7"]
    assert names(ledger.summaries.named("lyso", 1)) == ["/d/lyso%"]
    paths = [file.path for file in ledger.summaries.files_named("scan", 10)]
    assert paths == [f"/d/other/{ODD}", "/d/lyso%/x_scan", "/d/Lysozyme/scan_1.h5"]
    assert [file.path for file in ledger.summaries.files_named(os.fsdecode(b"\xff"), 10)] == [f"/d/other/{ODD}"]
    assert ledger.summaries.files_named("nowhere", 10) == []


def test_history_adds_up_in_intervals_and_forgets_after_two_days(ledger: Ledger) -> None:
    """What became verified, and the most that was on its way at one time; the same after a restart."""
    find(ledger, "/d/a", "/d/b", "/d/c")
    with ledger.transaction():
        ledger.history.noted(DAY + 5)
    verify(ledger, "/d/a", now=DAY + 10)
    verify(ledger, "/d/b", now=DAY + 599)
    with ledger.transaction():
        ledger.history.noted(DAY + 599)
        ledger.history.noted(DAY + 600)
    verify(ledger, "/d/c", now=DAY + 1300)
    expected = [
        Interval(DAY, 2, 20, 3, 30), Interval(DAY + 600, 0, 0, 1, 10), Interval(DAY + 1200, 1, 10, 1, 10),
    ]  # fmt: skip
    assert ledger.history.since(0) == expected
    again = Ledger(ledger.path)
    assert again.history.since(DAY + 600) == expected[1:]
    with again.transaction():
        again.history.noted(DAY + 2 * 86400 + 600)
    assert again.history.since(0) == [*expected[1:], Interval(DAY + 2 * 86400 + 600, 0, 0, 0, 0)]
    again.close()


def test_a_destination_is_up_or_down_since_it_changed(ledger: Ledger) -> None:
    """Looking again changes nothing; a copy that is proved is noted."""
    place = ledger.destinations.place("share", "/mnt").id
    for up, reason, now in ((True, None, 5.0), (True, None, 6.0), (False, "away", 7.0), (False, "still", 8.0)):
        with ledger.transaction():
            ledger.destinations.went(place, up, reason, now)
        assert ledger.reports.since()["share", "/mnt"] == (5.0 if up else 7.0, None)
    find(ledger, "/d/a")
    verify(ledger, "/d/a", now=9.0)
    assert ledger.reports.since()["share", "/mnt"] == (7.0, 9.0)


def test_the_plot_ends_now_and_shows_when_the_agent_did_not_run() -> None:
    """144 intervals; what is older is not shown."""
    now = DAY + 30.0
    drawn = plot(
        [Interval(DAY - 86400, 9, 9, 9, 9), Interval(DAY - 600, 1, 50, 4, 80), Interval(DAY, 2, 200, 0, 0)], now
    )
    assert [(bar.x, bar.height) for bar in drawn.bars] == [(142, 25.0), (143, 100.0)]
    assert [(bar.x, bar.height) for bar in drawn.backlog] == [(142, 80.0)]
    assert (drawn.top_bytes, drawn.top_files, drawn.off) == (200.0, 5.0, [(0, 142)])
    assert (drawn.files, drawn.bytes) == (3, 250)
    assert drawn.busiest == Interval(DAY, 2, 200, 0, 0)
    assert (drawn.times[0], drawn.times[-1]) == (DAY + 600 - 86400, DAY + 600)
    empty = plot([], now)
    assert (empty.bars, empty.off, empty.busiest, empty.top_bytes) == ([], [(0, 144)], None, 1.0)
    assert [above(value) for value in (0, 1, 1.5, 3, 10, 11, 999)] == [1, 1, 2, 5, 10, 20, 1000]


PROVED = "3 files proved at every destination"
LOOKED = "the folders were last looked through at 14:05"
AT_REST: dict[str, Any] = {
    "needs": 0, "waiting": 0, "measured": 0, "waiting_bytes": 0, "safe": 3, "unclaimed": 0, "before": 0, "unseen": 0,
    "age": None, "swept": True, "swept_at": "14:05", "events": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("but", "said"),
    [
        ({}, Headline("safe", "Everything is safe", f"{PROVED}; {LOOKED}.")),
        (
            {"unclaimed": 2},
            Headline("safe", "Everything that a rule claims is safe", f"{PROVED}; 2 files not claimed; {LOOKED}."),
        ),
        (
            {"unseen": 1},
            Headline("safe", "Everything that can be seen is safe", f"{PROVED}; 1 directory cannot be listed; {LOOKED}."),
        ),
        (
            {"unclaimed": 1, "unseen": 2},
            Headline(
                "safe", "Everything that a rule claims and can be seen is safe",
                f"{PROVED}; 1 file not claimed; 2 directories cannot be listed; {LOOKED}.",
            ),
        ),
        (
            {"events": False},
            Headline(
                "safe", "Everything that was there at 14:05 is safe", f"{PROVED}; what came since is not known yet."
            ),
        ),
        (
            {"events": False, "unseen": 1},
            Headline(
                "safe", "Everything that was there at 14:05 and can be seen is safe",
                f"{PROVED}; 1 directory cannot be listed; what came since is not known yet.",
            ),
        ),
        (
            {"waiting": 12, "waiting_bytes": 120, "safe": 0, "age": 200.0},
            Headline("waiting", "12 files on their way, oldest 3 min", "120 B to go."),
        ),
        (
            {"waiting": 1, "waiting_bytes": 10, "age": 5.0},
            Headline("waiting", "1 file on its way", f"10 B to go; {PROVED}."),
        ),
        (
            {"waiting": 12, "measured": 10, "waiting_bytes": 120, "safe": 0},
            Headline(
                "waiting", "2 files on their way and 10 files of datasets that the instrument has not ended", "120 B to go."
            ),
        ),
        (
            {"waiting": 10, "measured": 10, "waiting_bytes": 120, "safe": 0, "age": 200.0},
            Headline("waiting", "10 files of datasets that the instrument has not ended, oldest 3 min", "120 B to go."),
        ),
        (
            {"needs": 2, "waiting": 1, "safe": 0, "age": 5.0},
            Headline("needs", "2 things need you", "1 file on its way."),
        ),
        ({"needs": 1, "safe": 0, "swept": False}, Headline("needs", "1 thing needs you", "")),
        ({"swept": False, "swept_at": ""}, Headline("looking", "Looking through the folders", f"{PROVED}.")),
        (
            {"before": 2},
            Headline(
                "safe", "Everything that is not from before the agent is safe",
                f"{PROVED}; 2 files from before the agent, not delivered; the folders were last looked through at 14:05.",
            ),
        ),
        (
            {"before": 2, "safe": 0},
            Headline("empty", "No files since the agent began", "2 files from before the agent, not delivered."),
        ),
        ({"safe": 0}, Headline("empty", "No files yet", "What is written into a watched folder shows up here.")),
    ],
)  # fmt: skip
def test_the_first_line(but: dict[str, Any], said: Headline) -> None:
    """It never says that all is safe before every folder was looked through, or while anything waits or needs a person."""
    assert headline(**(AT_REST | but)) == said
