"""What happened, in few lines: a second's proofs of each rule and destination in one, and an hour's work of each rule in one."""

import logging
import posixpath
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.ledger import Transition
from rules.text import quoted
from rules.units import bytes_in_words

_EVERY = 1.0
"""Seconds between two lines of one rule and destination."""
_HOUR = 3600.0
_COUNTED = ("complete", "verified", "reclaimed", "removed", "vanished", "refused")
"""Events that the line of an hour counts."""

log = logging.getLogger("agent.summary")


@dataclass(slots=True)
class Proved:
    """What was proved of a rule at a destination since the last line."""

    rule: str
    destination: str
    since: float
    files: int = 0
    bytes: int = 0
    directory: str = ""
    """Holds all of them."""

    def add(self, one: Transition) -> None:
        """One more."""
        directory = posixpath.dirname(one.path)
        self.directory = directory if not self.files else _above(self.directory, directory)
        self.files += 1
        self.bytes += one.size

    def fields(self, now: float) -> dict[str, Any]:
        """As a line of the log has it."""
        rate = self.bytes / max(now - self.since, _EVERY)
        return {
            "event": "proved", "rule": self.rule, "destination": self.destination, "files": self.files, "bytes": self.bytes,
            "rate": round(rate), "in": self.directory,
        }  # fmt: skip


@dataclass(slots=True)
class LogSummary:
    """Counts transitions, and says which lines are due."""

    begun: float
    """Of the hour."""
    proved: dict[tuple[str, str], Proved] = field(default_factory=dict)
    written: dict[tuple[str, str], float] = field(default_factory=dict)
    """(rule, destination) → when its last line was."""
    hour: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rule → event → how many, and `bytes`, that were verified."""

    def add(self, transitions: Sequence[Transition], now: float) -> None:
        """These became true."""
        for one in transitions:
            if one.event == "proved":
                key = one.rule, one.destination
                since = self.written.get(key, now - _EVERY)
                self.proved.setdefault(key, Proved(*key, max(since, now - _HOUR))).add(one)
            elif one.event in _COUNTED:
                counts = self.hour.setdefault(one.rule, {})
                counts[one.event] = counts.get(one.event, 0) + 1
                if one.event == "verified":
                    counts["bytes"] = counts.get("bytes", 0) + one.size

    def due(self, now: float, *, ending: bool = False) -> list[dict[str, Any]]:
        """The lines whose time has come; `ending`: all."""
        lines: list[dict[str, Any]] = []
        for key, one in list(self.proved.items()):
            if ending or now >= self.written.get(key, 0.0) + _EVERY:
                lines.append(one.fields(now))
                self.written[key] = now
                del self.proved[key]
        if ending or now >= self.begun + _HOUR:
            lines += [{"event": "hour", "rule": rule, **counts} for rule, counts in sorted(self.hour.items())]
            self.begun, self.hour = now, {}
        return lines

    def next_at(self) -> float:
        """When a line is due."""
        return min((self.written.get(key, 0.0) + _EVERY for key in self.proved), default=self.begun + _HOUR)


def text(fields: dict[str, Any]) -> str:
    """A line, for people."""
    return " ".join([str(fields["event"]), *(_word(key, value) for key, value in fields.items() if key != "event")])


def _word(key: str, value: Any) -> str:
    match key:
        case "destination":
            return f"at={value}"
        case "bytes":
            return f"size={bytes_in_words(value)}".replace(" ", "")
        case "rate":
            return f"rate={bytes_in_words(value)}/s".replace(" ", "")
        case "in":
            return f"in={quoted(value)}"
        case _:
            return f"{key}={value}"


class Summarizer(logging.Handler):
    """Takes the transitions of the log, and logs lines about them: in a thread, for the last line waits for no other."""

    def __init__(self) -> None:
        super().__init__()
        self._summary = LogSummary(time.monotonic())
        self._guard = threading.Lock()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Count what became true."""
        with self._guard:
            self._summary.add(getattr(record, "transitions", ()), time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
        self._woken.set()

    def flush(self) -> None:
        """Log what is left."""
        self._write(ending=True)

    def _run(self) -> None:
        while True:
            with self._guard:
                at = self._summary.next_at()
            self._woken.wait(max(at - time.monotonic(), 0.0))
            self._write(ending=False)
            time.sleep(_EVERY / 2)  # what comes meanwhile shares a line
            self._woken.clear()

    def _write(self, *, ending: bool) -> None:
        with self._guard:
            lines = self._summary.due(time.monotonic(), ending=ending)
        for fields in lines:
            log.info("%s", fields["event"], extra={"summary": fields})


def _above(one: str, other: str) -> str:
    """The directory that holds both."""
    while one and not (other + "/").startswith(one + "/"):
        one = one.rpartition("/")[0]
    return one
