"""Remembers what arrived where files are taken away: a ledger that is lost would have them sent a second time."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from agent.delivery.in_flight import InFlightFile
from agent.destinations import Arrived
from agent.files import LOCAL
from agent.files.reader import CHECKSUMS, NotTheVersion, Sources, Unreadable
from agent.host.heartbeat import Heartbeat
from agent.host.record import Record, iso
from agent.ledger import Arrival, Ledger, Proof
from rules.model import STAT, Content, proof_in_words
from rules.naming import stat_content

_RECALLED = "arrivals recalled"
"""The fact in the ledger that the record was read."""

log = logging.getLogger(__name__)


def recall(ledger: Ledger, record: Record) -> None:
    """Read the record into a ledger that is new. Raises Transient, LedgerError."""
    if ledger.meta(_RECALLED) is not None:
        return
    count = 0
    for lines in record.files():
        found = [one for line in lines if (one := _arrival(line)) is not None]
        count += len(found)
        with ledger.transaction():
            ledger.arrivals.recalled(found)
    ledger.set_meta(_RECALLED, str(count))
    if count:
        log.warning(
            "the ledger is new, and %d files arrived before where files are taken away: they are not sent again", count
        )


class Arrivals:
    """The record of one destination, whose files are taken away."""

    def __init__(self, ledger: Ledger, record: Record, name: str, address: str) -> None:
        """
        Args:
            ledger: of the deliverer's thread.
            record: of all such destinations.
            name, address: of the destination.
        """
        self._ledger = ledger
        self._record = record
        self._name = name
        self._address = address

    def proved(self, proofs: Sequence[Proof], now: float) -> None:
        """Record what arrived, before the ledger does. Raises Exhausted."""
        identity = self._ledger.destinations.identity(self._name, self._address)
        self._record.append(
            [
                {
                    "at": iso(now),
                    "destination": self._name,
                    "identity": identity,
                    "path": proof.path,
                    "file": proof.file.path,
                    "size": proof.content.size,
                    "mtime_ns": proof.file.version.mtime_ns,
                    "checksum": proof_in_words(proof.algorithm, proof.content.checksum),
                }
                for proof in proofs
            ],
            now,
        )

    def before(self, files: Iterable[InFlightFile], identity: str) -> Iterator[tuple[InFlightFile, Arrived]]:
        """Those of the files that arrived before the ledger was lost, under the names that they had."""
        for one in files if self._ledger.arrivals.any() else ():
            known = self._ledger.arrivals.of(identity, one.file.path, one.file.version)
            if known is not None and _is_that(one, known):
                content = Content(known.checksum, known.size)
                named = replace(one, item=one.item._replace(path=known.path))
                yield named, Arrived(one.file.id, content, known.algorithm, adopted=True)


def _is_that(one: InFlightFile, known: Arrival) -> bool:
    """Whether the local file has the content that arrived; where that has no checksum, size and mtime must do."""
    if known.algorithm == STAT:
        return known.checksum == stat_content(known.size, known.mtime_ns)
    if known.algorithm not in CHECKSUMS:
        return False
    try:
        with Sources(LOCAL, known.algorithm, Heartbeat()) as sources:
            content = sources.content(one.item.root, one.item.relpath, one.item.version)
    except (NotTheVersion, Unreadable):
        return False  # whoever sends it finds out what it is
    return content == Content(known.checksum, known.size)


def _arrival(line: Mapping[str, object]) -> Arrival | None:
    """What a line of the record says; None: it is damaged."""
    algorithm, _, digits = str(line.get("checksum")).partition(":")
    try:
        checksum = f"{algorithm}:{digits}".encode() if algorithm == STAT else bytes.fromhex(digits)
    except ValueError:
        return None
    match line:
        case {
            "identity": str(identity),
            "file": str(file),
            "path": str(path),
            "size": int(size),
            "mtime_ns": int(mtime_ns),
        }:
            if max(abs(size), abs(mtime_ns)) < 2**63:
                return Arrival(identity, file, size, mtime_ns, path, algorithm, checksum)
    return None
