"""What people were notified, and when."""

from agent.ledger.store import Store
from agent.ledger.versions import File, read
from rules.notice import NotificationState

_NEWS = (
    "f.state = 'refused' AND NOT EXISTS (SELECT 1 FROM told t"
    " WHERE t.dir = f.dir AND t.name = f.name AND t.reason = coalesce(f.reason, ''))"
)
"""Refused, and in no message for this reason."""
_FORGET_AFTER = 86400.0
"""Seconds for which a file that comes and goes among the refused is in one message."""


class Notices:
    """Rows of `remarks` and `told`. Past-tense methods are transitions, for use in a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def notification_states(self) -> dict[str, NotificationState]:
        """Thing → what is remembered of it."""
        rows = self._store.execute("SELECT thing, since, told_at, standing, acute FROM remarks")
        return {
            thing: NotificationState(since, told_at, bool(standing), bool(acute))
            for thing, since, told_at, standing, acute in rows
        }

    def news(self, limit: int) -> tuple[int, list[File]]:
        """(how many refused files were in no message, some of them)."""
        count = self._store.execute(f"SELECT count(*) FROM files f WHERE {_NEWS}").fetchone()[0]
        return count, read(self._store, f"{_NEWS} ORDER BY f.id LIMIT ?", (limit,)) if count else []

    def verified_since(self, at: float) -> dict[str, tuple[int, int]]:
        """Rule → (files, bytes) that were verified at every destination since then."""
        sql = (
            "SELECT r.name, count(*), sum(f.counted) FROM batches b CROSS JOIN files f ON f.batch = b.id"
            " JOIN rules r ON r.id = f.rule WHERE b.verified_at >= ? AND (f.state = 'verified' OR f.gone) GROUP BY r.name"
        )
        return {rule: (files, size) for rule, files, size in self._store.execute(sql, (at,))}

    # Transitions

    def noted_state(self, thing: str, notification_state: NotificationState | None) -> None:
        """This is to be remembered of it; None: nothing any more."""
        self._store.execute("DELETE FROM remarks WHERE thing = ?", (thing,))
        if notification_state is not None:
            self._store.execute("INSERT INTO remarks VALUES (?, ?, ?, ?, ?)", (thing, *notification_state))

    def refusals_told(self, now: float) -> None:
        """Every file that is refused now was in a message."""
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
