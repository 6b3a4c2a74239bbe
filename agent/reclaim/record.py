"""What was deleted, for people and for the day the ledger is lost."""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePath

from agent.errors import Exhausted, Transient, cause
from agent.host import own_files
from agent.ledger import Intent
from rules.model import Evidence, proof_in_words

log = logging.getLogger(__name__)


class Record:
    """The append-only record of deletions, one JSON object a line."""

    def __init__(self, path: PurePath) -> None:
        self._path = path

    def mend(self) -> None:
        """Before the first line: a former run may have been killed, or lost its power, within one. Raises Transient."""
        try:
            torn = own_files.mend_lines(self._path)
        except OSError as error:
            raise Transient(f"{self._path} cannot be mended: {cause(error)}") from error
        if torn:
            # Its deletion is not noted in the ledger yet, and is recorded again.
            log.warning("%s: its last line was torn, and is cut off: %r", self._path, torn)

    def append(self, lines: Sequence[dict[str, object]]) -> None:
        """Add lines and make them durable. Raises Exhausted: it says nothing of what was deleted."""
        try:
            own_files.append_durably(self._path, "".join(json.dumps(line) + "\n" for line in lines).encode())
        except OSError as error:
            raise Exhausted(f"deletions cannot be recorded in {self._path}: {cause(error)}") from error


def line(intent: Intent, evidence: Sequence[tuple[Evidence, str]], now: float) -> dict[str, object]:
    """The line of one deletion. `evidence`: with the path at each destination."""
    return {
        "at": _iso(now),
        "rule": intent.file.rule,
        "file": intent.file.path,
        "size": intent.file.version.size,
        "reason": intent.reason,
        "copies": [
            {
                "destination": item.destination,
                "path": path,
                "checksum": proof_in_words(item.algorithm, item.checksum),
                "proved_at": _iso(item.proved_at),
            }
            for item, path in evidence
        ],
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
