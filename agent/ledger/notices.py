"""What people are told: messages until they are sent, and what was said when."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from agent.ledger.store import Store
from agent.ledger.versions import File, read
from rules.notice import Remark
from rules.notice.message import Message

_NEWS = (
    "f.state = 'refused' AND NOT EXISTS (SELECT 1 FROM told t"
    " WHERE t.dir = f.dir AND t.name = f.name AND t.reason = coalesce(f.reason, ''))"
)
"""Refused, and nobody was told of this file for this reason."""
_FORGET_AFTER = 86400.0
"""Seconds for which a file that comes and goes among the refused is told of once."""
_AT_ONCE = 50
"""Messages that are sent as one at the most, after a channel did not work."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that waits for a channel."""

    id: int
    message: Message
    made_at: float
    attempt: int
    again: float
    reason: str | None


class Notices:
    """Rows of `notices`, `remarks` and `told`. Past-tense methods are transitions, for use in a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def remarks(self) -> dict[str, Remark]:
        """Thing → what is remembered of it."""
        rows = self._store.execute("SELECT thing, since, told_at, standing, acute FROM remarks")
        return {
            thing: Remark(since, told_at, bool(standing), bool(acute))
            for thing, since, told_at, standing, acute in rows
        }

    def news(self, limit: int) -> tuple[int, list[File]]:
        """(how many refused files nobody was told of, some of them)."""
        count = self._store.execute(f"SELECT count(*) FROM files f WHERE {_NEWS}").fetchone()[0]
        return count, read(self._store, f"{_NEWS} ORDER BY f.id LIMIT ?", (limit,)) if count else []

    def verified_since(self, at: float) -> dict[str, tuple[int, int]]:
        """Rule → (files, bytes) that were verified at every destination since then."""
        sql = (
            "SELECT r.name, count(*), sum(f.counted) FROM batches b CROSS JOIN files f ON f.batch = b.id"
            " JOIN rules r ON r.id = f.rule WHERE b.verified_at >= ? AND (f.state = 'verified' OR f.gone) GROUP BY r.name"
        )
        return {rule: (files, size) for rule, files, size in self._store.execute(sql, (at,))}

    def waiting(self, channel: str) -> list[Notice]:
        """The messages for a channel, oldest first."""
        sql = (
            "SELECT id, subject, body, made_at, attempt, again, reason FROM notices WHERE channel = ?"
            " ORDER BY id LIMIT ?"
        )
        return [
            Notice(number, Message(subject, body), made_at, attempt, again, reason)
            for number, subject, body, made_at, attempt, again, reason in self._store.execute(sql, (channel, _AT_ONCE))
        ]

    def pending(self) -> list[tuple[str, int, str | None, float]]:
        """(channel, how many messages wait, why the last attempt failed, when the oldest was made)."""
        sql = "SELECT channel, count(*), max(reason), min(made_at) FROM notices GROUP BY channel ORDER BY channel"
        return list(self._store.execute(sql))

    # Transitions

    def remarked(self, thing: str, remark: Remark | None) -> None:
        """This is to be remembered of it; None: nothing any more."""
        self._store.execute("DELETE FROM remarks WHERE thing = ?", (thing,))
        if remark is not None:
            self._store.execute("INSERT INTO remarks VALUES (?, ?, ?, ?, ?)", (thing, *remark))

    def refusals_told(self, now: float) -> None:
        """People were told of every file that is refused now."""
        self._store.execute(
            "INSERT OR REPLACE INTO told SELECT f.dir, f.name, coalesce(f.reason, ''), ? FROM files f"
            f" WHERE {_NEWS} ORDER BY f.id",
            (now,),
        )

    def refusals_forgotten(self, now: float) -> None:
        """Files that have not been refused for long are news when they are again."""
        self._store.execute(
            "DELETE FROM told WHERE told_at < ? AND NOT EXISTS (SELECT 1 FROM files f"
            " WHERE f.dir = told.dir AND f.name = told.name AND f.state = 'refused')",
            (now - _FORGET_AFTER,),
        )

    def entered(self, channels: Iterable[str], message: Message, now: float) -> None:
        """A message is to be sent by each of these."""
        self._store.executemany(
            "INSERT INTO notices (channel, subject, body, made_at, again) VALUES (?, ?, ?, ?, ?)",
            ((channel, *message, now, now) for channel in channels),
        )

    def sent(self, notices: Sequence[Notice]) -> None:
        """They were taken."""
        self._store.executemany("DELETE FROM notices WHERE id = ?", ((one.id,) for one in notices))

    def failed(self, notices: Sequence[Notice], reason: str, again: float) -> None:
        """They will be tried again."""
        self._store.executemany(
            "UPDATE notices SET attempt = attempt + 1, again = ?, reason = ? WHERE id = ?",
            ((again, reason, one.id) for one in notices),
        )

    def resumed(self, now: float) -> None:
        """A new run: what failed is due at once."""
        self._store.execute("UPDATE notices SET again = ? WHERE again > ?", (now, now))

    def given_up(self, kept: Collection[str]) -> int:
        """What waits for other channels than these is not sent any more. Returns how many."""
        gone = [channel for channel, *_ in self.pending() if channel not in kept]
        return sum(self._store.execute("DELETE FROM notices WHERE channel = ?", (one,)).rowcount for one in gone)
