"""The log in few lines: what was proved in a second, and what was done in an hour."""

import io
import logging
import os

import pytest

from agent.host.posix.supervisor import is_journal
from agent.ledger import Transition
from agent.observe.logs import ForJournal, JsonFormatter, TextFormatter, tell
from agent.observe.summary import LogSummary


def proved(path: str, size: int, rule: str = "r", destination: str = "share") -> Transition:
    """One more copy is proved."""
    return Transition(rule, "proved", path, size=size, destination=destination)


def test_a_line_a_second_for_each_rule_and_destination() -> None:
    """The first at once, and what comes within a second of it in the next one, with the folder that holds all of it."""
    summary = LogSummary(0.0)
    summary.add([proved("/data/run/a/1.h5", 1000)], 10.0)
    first = {"event": "proved", "rule": "r", "destination": "share"}
    assert summary.due(10.0) == [first | {"files": 1, "bytes": 1000, "rate": 1000, "in": "/data/run/a"}]
    summary.add(
        [proved("/data/run/a/2.h5", 500), proved("/data/run/b/3.h5", 500), proved("/x", 7, "other", "tape")], 10.5
    )
    assert summary.due(10.5) == [
        {"event": "proved", "rule": "other", "destination": "tape", "files": 1, "bytes": 7, "rate": 7, "in": "/"}
    ]
    assert summary.next_at() == 11.0
    assert summary.due(10.9) == []
    assert summary.due(12.0) == [first | {"files": 2, "bytes": 1000, "rate": 500, "in": "/data/run"}]
    assert summary.next_at() == 3600.0


def test_a_line_an_hour_for_each_rule() -> None:
    """What became of files, as counts; nothing where nothing happened."""
    summary = LogSummary(0.0)
    events = ["candidate", "complete", "complete", "verified", "refused"]
    summary.add([Transition("r", event, "/x", size=5) for event in events], 5.0)
    assert summary.due(3599.0) == []
    assert summary.due(3600.0) == [
        {"event": "hour", "rule": "r", "complete": 2, "verified": 1, "bytes": 5, "refused": 1}
    ]
    assert (summary.due(7200.0), summary.next_at()) == ([], 10800.0)
    summary.add([proved("/x", 1), Transition("r", "verified", "/x", size=1)], 7201.0)
    assert [one["event"] for one in summary.due(7201.0, ending=True)] == ["proved", "hour"]


def test_what_needs_a_person_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A refused file, or a copy that is not what was proved; the others are for who follows single files."""
    with caplog.at_level(logging.DEBUG, "agent.transitions"):
        tell([Transition("r", event, "/x") for event in ("candidate", "refused", "verified", "missing")])
    levels = [(one.levelname, [each.event for each in getattr(one, "transitions", ())]) for one in caplog.records]
    assert levels == [("WARNING", ["refused", "missing"]), ("DEBUG", ["candidate", "verified"])]


def test_the_lines() -> None:
    """As text, as JSON, and with a priority for the journal, whatever the folder's name is."""
    fields = {
        "event": "proved", "rule": "r", "destination": "share", "files": 2, "bytes": 4_100_000, "rate": 1_000, "in": "/d/a\nb",
    }  # fmt: skip
    one = logging.makeLogRecord(
        {"msg": "proved", "levelname": "INFO", "levelno": 20, "created": 0.0, "summary": fields}
    )
    line = '1970-01-01T00:00:00.000+00:00 INFO proved rule=r at=share files=2 size=4.1MB rate=1kB/s in="/d/a\\nb"'
    assert ForJournal(TextFormatter()).format(one) == f"<6>{line}"
    assert JsonFormatter().format(one) == (
        '{"time": "1970-01-01T00:00:00.000Z", "level": "INFO", "event": "proved", "rule": "r", "destination": "share",'
        ' "files": 2, "bytes": 4100000, "rate": 1000, "in": "/d/a\\nb"}'
    )


def test_the_journal_is_known_by_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where JOURNAL_STREAM names this very stream: a program that was started by a service may write elsewhere."""
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert is_journal(stream)
        monkeypatch.setenv("JOURNAL_STREAM", "1:2")
        assert not is_journal(stream)
        assert not is_journal(io.StringIO())
