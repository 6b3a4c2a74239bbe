"""One version of a file, as it is read from the ledger."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from agent.ledger.states import STATES, State
from agent.ledger.store import Store
from rules.model import Version, VolumeId

_COLUMNS = "f.id, d.path, f.name, f.generation, r.name, f.state, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.device"
_MORE = "f.seen_at, f.since, f.batch, f.reason, f.dataset, f.restamped"
_JOINED = f"SELECT {_COLUMNS}, {_MORE} FROM files f JOIN dirs d ON d.id = f.dir JOIN rules r ON r.id = f.rule"


LASTING = "EXISTS (SELECT 1 FROM copies WHERE file = files.id) OR EXISTS (SELECT 1 FROM findings WHERE file = files.id)"
"""Of a version that is over: whether a destination may have a copy of it."""


class File(NamedTuple):
    """One version of a file, whole."""

    id: int
    path: str
    generation: int
    rule: str
    state: State
    version: Version
    volume: VolumeId
    seen_at: float
    since: float
    batch: int | None
    reason: str | None
    dataset: int | None = None
    restamped: bool = False
    """Verified, and its ctime alone changed since: its content is to be compared before its local copy goes."""


class Known(NamedTuple):
    """What a sweep compares with: the present generation of one name in a directory."""

    id: int
    state: State
    version: Version
    volume: VolumeId
    generation: int
    rule: str


def _file(row: tuple[Any, ...]) -> File:
    (
        ident,
        directory,
        name,
        generation,
        rule,
        state,
        size,
        mtime,
        ctime,
        inode,
        device,
        seen_at,
        since,
        batch,
        why,
        whole,
        restamped,
    ) = row
    path = f"{os.fsdecode(directory)}/{os.fsdecode(name)}"
    version = Version(size, mtime, ctime, inode)
    return File(
        ident,
        path,
        generation,
        rule,
        STATES[state],
        version,
        device,
        seen_at,
        since,
        batch,
        why,
        whole,
        bool(restamped),
    )


def at_or_below(directory: str) -> tuple[bytes, bytes, bytes]:
    """For paths as the ledger has them: the directory's, the first that may lie below it, and the first beyond those."""
    raw = os.fsencode(directory)
    top = raw.rstrip(b"/")
    return raw, top + b"/", top + b"0"


def read(store: Store, where: str, values: Sequence[object] = ()) -> list[File]:
    """Files, whole, by an SQL condition on `f` (files), `d` (dirs) and `r` (rules) written in this package."""
    return [_file(row) for row in store.execute(f"{_JOINED} WHERE {where}", values)]


def without_copies(store: Store, copies: Sequence[tuple[int, int]]) -> None:
    """(file, destination): these copies are known no more. A trigger takes from the counts what is no longer proved."""
    store.executemany("UPDATE copies SET proved_at = NULL WHERE file = ? AND destination = ?", copies)
    store.executemany("DELETE FROM copies WHERE file = ? AND destination = ?", copies)
