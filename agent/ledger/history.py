"""What the last day was like, in intervals."""

from typing import NamedTuple

from agent.ledger.states import UNPROVED, listed
from agent.ledger.store import Store

INTERVAL = 600.0
"""Seconds."""
_KEPT = 2 * 86400.0
_BEGIN = f"cast(? / {INTERVAL} AS INTEGER) * {INTERVAL}"


class Interval(NamedTuple):
    """One interval in which the agent ran; `at` is its beginning."""

    at: float
    files: int
    """Verified in it."""
    bytes: int
    backlog_files: int
    """Most that were on their way at one time."""
    backlog_bytes: int


class History:
    """Rows of `history`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def since(self, at: float) -> list[Interval]:
        """The intervals that began at that time or later, in order. In others the agent did not run."""
        return [Interval(*row) for row in self._store.execute("SELECT * FROM history WHERE at >= ? ORDER BY at", (at,))]

    # Transitions: inside a transaction

    def noted(self, now: float) -> None:
        """So much is on its way now. Writes only where an interval began, or it is more than before in this one."""
        self._store.execute(
            f"INSERT INTO history SELECT {_BEGIN}, 0, 0, coalesce(sum(files), 0), coalesce(sum(bytes), 0) FROM tally"
            f" WHERE state IN ({listed(UNPROVED)})"
            " ON CONFLICT DO UPDATE SET backlog_files = max(backlog_files, excluded.backlog_files),"
            " backlog_bytes = max(backlog_bytes, excluded.backlog_bytes)"
            " WHERE excluded.backlog_files > backlog_files OR excluded.backlog_bytes > backlog_bytes",
            (now,),
        )
        self._store.execute("DELETE FROM history WHERE at < ?", (now - _KEPT,))

    def verified(self, files: int, size: int, now: float) -> None:
        """So many files, of so many bytes in all, became verified."""
        self._store.execute(
            f"INSERT INTO history VALUES ({_BEGIN}, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET files = files + excluded.files, bytes = bytes + excluded.bytes",
            (now, files, size, files, size),  # a new interval: what became verified in it was on its way in it
        )
