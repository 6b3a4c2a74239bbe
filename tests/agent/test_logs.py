"""Log lines, whatever names are in them."""

import logging
import re

import pytest

from agent.ledger import Transition
from agent.observe.logs import JsonFormatter, TextFormatter

FORGED = '/data/a" size=1 at=share\n2026-01-31T12:00:00.000Z INFO verified rule=r file="/data/b\\'


def record(message: str, **more: object) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelname": "INFO", "created": 0.0, **more})


@pytest.mark.parametrize("reason", ["", FORGED])
def test_no_name_makes_fields_of_the_text_log(reason: str) -> None:
    """One line a transition; each field is once what it says, whatever stands in names and reasons."""
    one = Transition("r", "refused", FORGED, reason, 7)
    (line,) = TextFormatter().format(record("", transitions=[one])).split("\n")
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "...", line)
    assert bare == f"1970-01-01T00:00:00.000+00:00 INFO refused rule=r file=... size=7{' reason=...' if reason else ''}"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_no_name_makes_a_line_of_the_log(formatter: logging.Formatter) -> None:
    """Neither in a message nor in the exception that comes with it."""
    error = ValueError(FORGED)
    made = formatter.format(record(FORGED, exc_info=(ValueError, error, None)))
    lines = made.splitlines()
    assert [line for line in lines[1:] if not line.startswith("  ")] == []
    assert all(line.isprintable() for line in lines)
