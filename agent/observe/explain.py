"""One file's whole way, with the reasons: what `dropline explain` and its page say."""

from collections.abc import Callable, Sequence
from posixpath import dirname
from typing import Any

from agent.files import CannotTell, Look
from agent.ledger import File, Ledger
from agent.observe.file_inspector import look
from agent.observe.waiting import Reasons, waits_for
from rules.links import skipped_in_words
from rules.match import match
from rules.model import Observation, VolumeId
from rules.rule import Rule


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
        "versions": [_version(ledger, Reasons(ledger), file) for file in versions],
    }


def line(reasons: Reasons, file: File) -> dict[str, Any]:
    """A file in one line."""
    return {
        "path": file.path,
        "rule": file.rule,
        "state": file.state.value,
        "size": file.version.size,
        "reason": reasons.of(file),
    }


def _link(ledger: Ledger, rules: Sequence[Rule], path: str) -> dict[str, Any] | None:
    """What becomes of the symbolic link at a path; None: none is known there."""
    found = ledger.links.at(path)
    if found is None:
        return None
    name, outside = found
    copies = ledger.links.copies_at(path)
    if copies or any(rule.name == name and rule.links == "copy" for rule in rules):
        said = [f"copied to {to}" if reason is None else f"not copied to {to}: {reason}" for to, reason in copies]
        return {"rule": name, "outside": outside, "reason": "; ".join(said) or "it is to be copied"}
    asks = outside is not None and any(rule.name == name and rule.links is None for rule in rules)
    return {"rule": name, "outside": outside, "reason": skipped_in_words(name, outside, asks=asks)}


def _version(ledger: Ledger, reasons: Reasons, file: File) -> dict[str, Any]:
    beside = 0 if file.dataset else ledger.links.of_directory(dirname(file.path))
    return (
        line(reasons, file)
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
    return {"name": known.name, "complete": known.generation, "waits": known.waits, "reason": waits_for(known)} | links


def _checksum(ledger: Ledger, file: int) -> str | None:
    """What a list that came with the data says, if it was compared."""
    found = ledger.datasets.checksum(file)
    return f"{found[0]}:{found[1]}" if found is not None else None
