"""One file's whole way, with the reasons: what `dropline explain` and its page say."""

from collections.abc import Callable, Mapping, Sequence
from posixpath import dirname
from typing import Any

from agent.files import CannotTell, Look
from agent.host.zone import shown
from agent.ledger import File, Ledger, State
from agent.observe.file_inspector import look
from rules.links import skipped_in_words
from rules.match import match
from rules.model import Observation, VolumeId
from rules.rule import Rule

_LONG = 60.0
"""Seconds from the first sight of a file, after which it is said when its quiet period began."""


def explain(
    ledger: Ledger, rules: Sequence[Rule], path: str, look: Callable[[str, VolumeId | None], Look] = look
) -> dict[str, Any]:
    """Everything that is known of an absolute path, as plain values.

    `look` is asked whether it is there; None: that cannot be told.
    """
    versions = ledger.files.history(path)
    seen = look(path, versions[-1].volume if versions else None)
    return {
        "path": path,
        "exists": None if isinstance(seen, CannotTell) else isinstance(seen, Observation),
        "match": match(rules, path).reason if rules else "no configuration file: the rules are not known here",
        "link": _link(ledger, rules, path),
        "versions": [_version(ledger, file) for file in versions],
    }


def line(ledger: Ledger, file: File) -> dict[str, Any]:
    """A file in one line."""
    return {
        "path": file.path,
        "rule": file.rule,
        "state": file.state.value,
        "size": file.version.size,
        "reason": why(file, ledger.reports.deliveries_of),
    }


def why(file: File, deliveries_of: Callable[[int], Sequence[Mapping[str, Any]]]) -> str | None:
    """Why a file is in its state, and what it waits for, if it does. `deliveries_of`: those of a batch."""
    if file.state is State.CANDIDATE and file.reason is None:
        if file.since - file.seen_at < _LONG:
            return "written a moment ago; its quiet period has not passed"
        at = f"{shown(file.since):%H:%M:%S}"
        return f"its quiet period (`complete.quiet`) began again at {at}: it changed then, or the agent was started"
    if file.state is State.COMPLETE:
        return "; ".join([*([file.reason] if file.reason else []), "it waits for its batch to be full or old enough"])
    if file.state is State.BATCHED and file.batch is not None:
        return on_their_way(deliveries_of(file.batch), {}) or file.reason
    return file.reason


def on_their_way(deliveries: Sequence[Mapping[str, Any]], up: Mapping[str, bool | None]) -> str:
    """What is missing until a batch is at every destination. `up`: destination -> whether it is, where that is known."""
    found = []
    for one in deliveries:
        if one["state"] not in ("verified", "refused"):
            away = "it is down" if up.get(one["destination"]) is False else one["reason"]
            tries = f", attempt {one['attempt']}" if one["attempt"] > 1 else ""
            found.append(f"to {one['destination']}: {one['state']}{tries}{f': {away}' if away else ''}")
    return "; ".join(found)


def _link(ledger: Ledger, rules: Sequence[Rule], path: str) -> dict[str, Any] | None:
    """What becomes of the symbolic link at a path; None: none is known there."""
    found = ledger.links.at(path)
    if found is None:
        return None
    name, outside = found
    asks = outside is not None and any(rule.name == name and rule.links is None for rule in rules)
    return {"rule": name, "outside": outside, "reason": skipped_in_words(name, outside, asks=asks)}


def _version(ledger: Ledger, file: File) -> dict[str, Any]:
    beside = 0 if file.dataset else ledger.links.of_directory(dirname(file.path))
    return (
        line(ledger, file)
        | ({"links": beside} if beside else {})
        | {
            "generation": file.generation,
            "mtime_ns": file.version.mtime_ns,
            "seen_at": file.seen_at,
            "since": file.since,
            "batch": file.batch,
            "dataset": _dataset(ledger, file.dataset),
            "checksum": _checksum(ledger, file.id),
            "deliveries": ledger.reports.deliveries_of(file.batch) if file.batch is not None else [],
            "copies": ledger.reports.copies_of(file.id),
            "findings": ledger.reports.findings_of(file.id),
        }
    )


def _dataset(ledger: Ledger, number: int | None) -> dict[str, Any] | None:
    if number is None:
        return None
    known, skipped = ledger.datasets.get(number), ledger.links.of_dataset(number)
    links = {"links": skipped} if skipped else {}
    return {"name": known.name, "complete": known.generation, "waits": known.waits, "reason": known.reason} | links


def _checksum(ledger: Ledger, file: int) -> str | None:
    """What a list that came with the data says, if it was compared."""
    found = ledger.datasets.checksum(file)
    return f"{found[0]}:{found[1]}" if found is not None else None
