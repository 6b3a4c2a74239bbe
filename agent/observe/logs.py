"""Log lines for services, as text or JSON: few by default, one for each transition where it is asked for.

The last of them are kept in the state directory.
"""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from agent.host import own_files, supervisor
from agent.host.zone import shown
from agent.ledger import Transition
from agent.observe.summary import Summarizer, text
from rules.text import printable, quoted

log = logging.getLogger("agent.transitions")

FILE = PurePath("log", "dropline.log")
"""Where the last lines are kept, below the state directory; older ones have .1, .2, .3 after the name."""
KEPT = 4_000_000
"""Bytes after which a file is full; there are four."""


_FOR_PEOPLE = frozenset({"refused", "changed", "missing", "unreadable", "doubtful"})
"""Events for which a person must act."""


def tell(transitions: Sequence[Transition]) -> None:
    """Log transitions: one record for a whole transaction, which the formatters write as one line each.

    What a person must act on is a warning; the others are for who follows single files, and are summed up for the rest.
    """
    warnings = [one for one in transitions if one.event in _FOR_PEOPLE]
    if warnings:
        log.warning("%d transitions", len(warnings), extra={"transitions": warnings})
    others = transitions if not warnings else [one for one in transitions if one.event not in _FOR_PEOPLE]
    if others and log.isEnabledFor(logging.DEBUG):
        log.debug("%d transitions", len(others), extra={"transitions": others})


class TextFormatter(logging.Formatter):
    """`2026-01-31T13:00:00.000+01:00 INFO verified rule=tomo file="/data/x.h5" ...`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or several for a transaction of many transitions."""
        lines: str | None = getattr(record, "lines", None)
        if lines is None:  # else the other of two handlers has made them
            record.lines = lines = self._lines(record)
        return lines

    def _lines(self, record: logging.LogRecord) -> str:
        head = f"{shown(record.created).isoformat(timespec='milliseconds')} {record.levelname}"
        transitions: Sequence[Transition] | None = getattr(record, "transitions", None)
        if transitions is not None:
            return "\n".join(f"{head} {_text(one)}" for one in transitions)
        fields: dict[str, Any] | None = getattr(record, "summary", None)
        if fields is not None:
            return f"{head} {text(fields)}"
        message = printable(record.getMessage())
        more = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        return "\n".join(
            [f"{head} {message}", *(f"  {printable(line)}" for line in more)]
        )  # no line of it looks like a line of the log


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or several for a transaction of many transitions."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head: dict[str, Any] = {"time": at, "level": record.levelname}
        transitions: Sequence[Transition] | None = getattr(record, "transitions", None)
        if transitions is not None:
            return "\n".join(json.dumps(head | _fields(one)) for one in transitions)
        summary: dict[str, Any] | None = getattr(record, "summary", None)
        if summary is not None:
            return json.dumps(head | summary)
        more = {"exception": self.formatException(record.exc_info)} if record.exc_info else {}
        return json.dumps(head | {"message": record.getMessage()} | more)


class ForJournal(logging.Formatter):
    """Lines of another formatter, each with its priority as journald reads it: so `journalctl -p warning` shows warnings."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        """See sd-daemon(3)."""
        level = record.levelno
        priority = 3 if level >= logging.ERROR else 4 if level >= logging.WARNING else 6 if level >= logging.INFO else 7
        return "\n".join(f"<{priority}>{line}" for line in self._formatter.format(record).split("\n"))


def _text(one: Transition) -> str:
    where = f" at={one.destination}" if one.destination else ""
    why = f" reason={quoted(one.reason)}" if one.reason else ""
    return f"{one.event} rule={one.rule}{where} file={quoted(one.path)} size={one.size}{why}"


def _fields(one: Transition) -> dict[str, Any]:
    fields: dict[str, Any] = {"event": one.event, "rule": one.rule, "file": one.path, "size": one.size}
    if one.destination:
        fields |= {"destination": one.destination, "seconds": one.seconds, "how": one.how}
    return fields | ({"reason": one.reason} if one.reason else {})


def configure(style: str, level: int) -> None:
    """Send the agent's log to standard error, and to the logs of the system. `style`: "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    formatter = JsonFormatter() if style == "json" else TextFormatter()
    handler.setFormatter(ForJournal(formatter) if supervisor.is_journal(sys.stderr) else formatter)
    root = logging.getLogger()
    others = supervisor.handlers()
    for one in others:
        one.setFormatter(TextFormatter())
    root.handlers[:] = [handler, *others]
    root.setLevel(logging.WARNING)
    logging.getLogger("agent").setLevel(level)
    log.setLevel(logging.DEBUG)
    log.handlers[:] = [Summarizer()]
    logging.getLogger("waitress").setLevel(logging.ERROR)


@contextmanager
def kept(state_dir: PurePath) -> Iterator[None]:
    """Keep the last lines in the state directory, to be read afterwards. Needs the state's lock."""
    path = state_dir / FILE
    try:
        keeper = own_files.BoundedLog(path, KEPT)
    except OSError as error:
        log.warning("no log is kept in %s: %s", path.parent, error.strerror or error)
        yield
        return
    keeper.setFormatter(TextFormatter())
    keeper.setLevel(min(logging.INFO, logging.getLogger("agent").level or logging.INFO))
    root, own = logging.getLogger(), logging.getLogger("agent")
    level = own.level
    root.addHandler(keeper)
    own.setLevel(min(logging.INFO, level or logging.INFO))
    try:
        yield
    finally:
        for summarizer in log.handlers:
            summarizer.flush()
        own.setLevel(level)
        root.removeHandler(keeper)
        keeper.close()


def last_lines(state_dir: PurePath, count: int) -> list[str]:
    """The last lines that were kept, oldest first."""
    found: list[str] = []
    newest = state_dir / FILE
    for path in (newest, *(newest.with_name(f"{newest.name}.{number}") for number in (1, 2, 3))):
        try:
            # A line is seldom longer than a path; more than this would be left out anyway.
            lines = own_files.last_bytes(path, 1000 * count).decode("utf-8", "backslashreplace").splitlines()
        except FileNotFoundError:
            break
        found = lines[-(count - len(found)) :] + found
        if len(found) >= count:
            break
    return found
