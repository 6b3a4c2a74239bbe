"""What a person paused: facts in `meta`, `paused.reclaim`, `paused.delivery`, `paused.delivery.NAME`."""

from typing import Literal

from agent.ledger.store import Store

Pausable = Literal["reclaim", "delivery"]
_KEY = "paused."


class Pauses:
    """What stands still until a person lets it go on. `of`: a destination's name; none: all of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def hold(self, what: Pausable, of: str | None = None) -> bool:
        """Whether it is paused, alone or with all the others."""
        sql = "SELECT EXISTS (SELECT 1 FROM meta WHERE key IN (?, ?))"
        keys = _KEY + what, _KEY + (what if of is None else f"{what}.{of}")
        return bool(self._store.execute(sql, keys).fetchone()[0])

    def all(self) -> list[str]:
        """What is paused, as `dropline resume` takes it: "reclaim", "delivery", "delivery share"."""
        rows = self._store.execute("SELECT key FROM meta WHERE key GLOB 'paused.*' ORDER BY key")
        return [key.removeprefix(_KEY).replace(".", " ", 1) for (key,) in rows]

    def paused(self, what: Pausable, of: str | None = None) -> None:
        """A person wants it to stand still."""
        self._store.set_meta(_KEY + (what if of is None else f"{what}.{of}"), "by a person")

    def resumed(self, what: Pausable, of: str | None = None) -> None:
        """A person lets it go on; without `of`, also each that was paused alone."""
        key = _KEY + (what if of is None else f"{what}.{of}")
        with self._store.transaction():
            self._store.execute("DELETE FROM meta WHERE key = ?", (key,))
            if of is None:
                self._store.execute("DELETE FROM meta WHERE key GLOB ?", (f"{key}.*",))
