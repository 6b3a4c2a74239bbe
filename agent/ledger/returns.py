"""Writers that came back to a file which they had closed: what was learned of folders and suffixes."""

import os
from typing import NamedTuple

from agent.ledger.files import Files
from agent.ledger.store import Store

MOST = 10_000
"""Folders and suffixes that are remembered, the newest, about."""


class Return(NamedTuple):
    """Files that wait longer for their writer."""

    directory: str
    suffix: str
    """With its dot; empty: names without one."""
    name: str | None
    """The one file whose writer came back; None: several, so it holds for all files of the folder with this suffix."""
    quiet: float
    """Seconds that they wait unchanged."""


class Returns:
    """Rows of `returns`: one for each suffix in a folder."""

    def __init__(self, store: Store, files: Files) -> None:
        self._store = store
        self._files = files
        self._known: dict[tuple[str, str], Return] | None = None
        store.on_rollback(self._forget)

    def _forget(self) -> None:
        self._known = None

    def quiet(self, path: str) -> float:
        """Seconds that a file waits unchanged, by what was learned; 0: nothing was."""
        directory, name, suffix = _parts(path)
        if self._known is None:
            self._known = {(one.directory, one.suffix): one for one in self.all(MOST)}
        found = self._known.get((directory, suffix))
        return found.quiet if found is not None and found.name in (None, name) else 0.0

    def all(self, limit: int) -> list[Return]:
        """What was learned, newest first."""
        sql = (
            "SELECT d.path, r.suffix, r.name, r.quiet FROM returns r JOIN dirs d ON d.id = r.dir"
            " ORDER BY r.learned_at DESC LIMIT ?"
        )
        rows = self._store.execute(sql, (limit,)).fetchall()
        return [
            Return(os.fsdecode(path), os.fsdecode(suffix), None if name is None else os.fsdecode(name), quiet)
            for path, suffix, name, quiet in rows
        ]

    def came_back(self, path: str, quiet: float, now: float) -> Return:
        """A writer came back. Returns what holds from now on. Inside a transaction."""
        directory, name, suffix = _parts(path)
        (kept, longest) = self._store.execute(
            "INSERT INTO returns (dir, suffix, name, quiet, learned_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (dir, suffix) DO UPDATE"
            " SET name = CASE WHEN name = excluded.name THEN name END, quiet = max(quiet, excluded.quiet),"
            " learned_at = excluded.learned_at RETURNING name, quiet",
            (self._files.directory(directory), os.fsencode(suffix), os.fsencode(name), quiet, now),
        ).fetchone()
        found = Return(directory, suffix, None if kept is None else name, longest)
        if self._known is not None:
            self._known[directory, suffix] = found
            if len(self._known) > MOST + MOST // 10:
                newest = "SELECT learned_at FROM returns ORDER BY learned_at DESC LIMIT 1 OFFSET ?"
                self._store.execute(f"DELETE FROM returns WHERE learned_at <= ({newest})", (MOST,))
                self._forget()
        return found


def _parts(path: str) -> tuple[str, str, str]:
    """The folder, the name, and the name's suffix with its dot."""
    directory, name = os.path.split(path)
    return directory, name, os.path.splitext(name)[1]
