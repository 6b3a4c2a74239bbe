"""What the record of deletions has of each."""

from collections.abc import Sequence

from agent.host.record import iso
from agent.ledger import Intent
from rules.model import Evidence, proof_in_words


def line(intent: Intent, evidence: Sequence[tuple[Evidence, str]], now: float) -> dict[str, object]:
    """The line of one deletion. `evidence`: with the path at each destination."""
    return {
        "at": iso(now),
        "rule": intent.file.rule,
        "file": intent.file.path,
        "size": intent.file.version.size,
        "reason": intent.reason,
        "copies": [
            {
                "destination": item.destination,
                "path": path,
                "checksum": proof_in_words(item.algorithm, item.checksum),
                "proved_at": iso(item.proved_at),
            }
            for item, path in evidence
        ],
    }
