"""Symbolic links that are skipped: what they lead to travels by itself, or by nobody."""

import os
from collections.abc import Collection, Sequence
from typing import NamedTuple

from agent.ledger.store import Store, among


class Link(NamedTuple):
    """A link that a rule skips."""

    name: str
    rule: int
    """Its number."""
    dataset: int | None
    outside: str | None
    """Where it leads, if no rule delivers that; None: what it leads to is delivered itself."""


class Outside(NamedTuple):
    """Links of one dataset that lead to what no rule delivers."""

    rule: str
    dataset: str
    links: int
    example: str
    """One of them, with where it leads."""


class Links:
    """Rows of `links`. Methods in the past tense are transitions, for use in a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def any(self) -> bool:
        """Whether any are known."""
        return bool(self._store.execute("SELECT EXISTS (SELECT 1 FROM links)").fetchone()[0])

    def of_dataset(self, dataset: int) -> int:
        """How many links of a dataset are skipped."""
        return int(self._store.execute("SELECT count(*) FROM links WHERE dataset = ?", (dataset,)).fetchone()[0])

    def outside_of(self, dataset: int) -> bool:
        """Whether a link of a dataset leads to what no rule delivers."""
        sql = "SELECT EXISTS (SELECT 1 FROM links WHERE dataset = ? AND outside IS NOT NULL)"
        return bool(self._store.execute(sql, (dataset,)).fetchone()[0])

    def outside(self, rules: Collection[str], limit: int) -> list[Outside]:
        """Links of these rules that lead to what no rule delivers, together for each dataset."""
        marks, values = among(list(rules))
        sql = (
            "SELECT r.name, s.key, count(*), min(l.dir || '/' || l.name), min(l.outside) FROM links l"
            " JOIN rules r ON r.id = l.rule JOIN datasets s ON s.id = l.dataset WHERE l.outside IS NOT NULL"
            f" AND r.name IN ({marks}) GROUP BY l.rule, l.dataset ORDER BY r.name, s.key LIMIT ?"
        )
        return [
            Outside(rule, os.fsdecode(key), count, f"{os.fsdecode(path)} -> {os.fsdecode(target)}")
            for rule, key, count, path, target in self._store.execute(sql, (*values, limit))
        ]

    def found(self, directory: str, links: Sequence[Link], *, whole: bool) -> None:
        """These links are in a directory; `whole`: and no others."""
        raw = os.fsencode(directory)
        if whole:
            self._store.execute("DELETE FROM links WHERE dir = ?", (raw,))
        self._store.executemany(
            "INSERT OR REPLACE INTO links VALUES (?, ?, ?, ?, ?)",
            (
                (
                    raw,
                    os.fsencode(one.name),
                    one.rule,
                    one.dataset,
                    None if one.outside is None else os.fsencode(one.outside),
                )
                for one in links
            ),
        )
