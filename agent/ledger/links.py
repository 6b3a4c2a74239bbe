"""Symbolic links that are skipped: what they lead to travels by itself, or by nobody."""

import os
from collections.abc import Collection, Iterable, Sequence
from posixpath import dirname
from typing import NamedTuple

from agent.ledger.store import Store, among
from agent.ledger.versions import at_or_below
from rules.model import SENT

_EXAMPLES = 3
"""Links of one group that are named."""
_GROUP = "l.rule, l.dataset, CASE WHEN l.dataset IS NULL THEN l.dir END"
_DELIVERED = f"f.state NOT IN ('vanished', 'ignored') AND f.rule IS NOT (SELECT id FROM rules WHERE name = '{SENT}')"


class Link(NamedTuple):
    """A link that a rule skips."""

    name: str
    rule: int
    """Its number."""
    dataset: int | None
    outside: str | None
    """Where it leads, if no rule delivers that; None: what it leads to is delivered itself."""
    target: str | None = None
    """What it says, where the rule copies links; None: it is skipped."""
    mtime_ns: int = 0


class ToCopy(NamedTuple):
    """A link that is to be made at a destination."""

    path: str
    """Its local path."""
    rule: str
    dataset: int | None
    target: str
    former: str | None
    """What the link says that was made there; None: none was."""
    mtime_ns: int


class NotCopied(NamedTuple):
    """Links of one directory that could not be made at a destination."""

    rule: str
    destination: str
    directory: str
    links: int
    reason: str
    """Of one of them."""


class Outside(NamedTuple):
    """Links of one dataset, or else of one directory, that lead to what no rule delivers."""

    rule: str
    dataset: str | None
    directory: str | None
    links: int
    examples: tuple[str, ...]
    """Some of them, with where they lead."""


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

    def of_directory(self, directory: str) -> int:
        """How many links of a directory are skipped that belong to no dataset."""
        sql = "SELECT count(*) FROM links WHERE dir = ? AND dataset IS NULL"
        return int(self._store.execute(sql, (os.fsencode(directory),)).fetchone()[0])

    def of_rules(self) -> dict[str, int]:
        """How many links each rule skips, of rules that skip any."""
        sql = (
            "SELECT r.name, count(*) FROM links l JOIN rules r ON r.id = l.rule WHERE l.target IS NULL GROUP BY r.name"
        )
        return dict(self._store.execute(sql).fetchall())

    def copied(self) -> list[tuple[str, str, int]]:
        """(rule, destination, how many links of the rule are there), where any are."""
        sql = (
            "SELECT r.name, n.name, count(*) FROM link_copies k JOIN links l ON l.dir = k.dir AND l.name = k.name"
            " JOIN rules r ON r.id = l.rule JOIN destinations n ON n.id = k.destination"
            " WHERE k.made = l.target GROUP BY r.name, n.name ORDER BY r.name, n.name"
        )
        return self._store.execute(sql).fetchall()

    def refused(self, rules: Collection[str], limit: int) -> list[NotCopied]:
        """Links of these rules that could not be made, together for each directory and destination."""
        marks, values = among(list(rules))
        sql = (
            "SELECT r.name, n.name, k.dir, count(*), min(k.reason) FROM link_copies k"
            " JOIN links l ON l.dir = k.dir AND l.name = k.name JOIN rules r ON r.id = l.rule"
            " JOIN destinations n ON n.id = k.destination WHERE k.reason IS NOT NULL"
            f" AND r.name IN ({marks}) GROUP BY l.rule, k.destination, k.dir ORDER BY r.name, n.name, k.dir LIMIT ?"
        )
        rows = self._store.execute(sql, (*values, limit))
        return [NotCopied(rule, to, os.fsdecode(directory), *rest) for rule, to, directory, *rest in rows]

    def not_copied(self, dataset: int, destination: str, address: str) -> int:
        """How many links of a dataset are to be copied to a destination and are not there."""
        sql = (
            "SELECT count(*) FROM links l WHERE l.dataset = ? AND l.target IS NOT NULL AND NOT EXISTS (SELECT 1"
            " FROM link_copies c JOIN destinations n ON n.id = c.destination WHERE c.dir = l.dir AND c.name = l.name"
            " AND n.name = ? AND n.address = ? AND c.made = l.target)"
        )
        return int(self._store.execute(sql, (dataset, destination, address)).fetchone()[0])

    def to_copy(self, destination: int, rules: Collection[str], limit: int) -> list[ToCopy]:
        """Links of these rules that are to be made at a destination now: those of a dataset once a file of it is there."""
        marks, values = among(list(rules))
        sql = (
            "SELECT l.dir, l.name, r.name, l.dataset, l.target, c.made, l.mtime_ns FROM links l JOIN rules r ON r.id = l.rule"
            " LEFT JOIN link_copies c ON c.dir = l.dir AND c.name = l.name AND c.destination = ?1"
            f" WHERE l.target IS NOT NULL AND l.target IS NOT c.target AND r.name IN ({marks})"
            " AND (l.dataset IS NULL OR EXISTS (SELECT 1 FROM files f JOIN copies p ON p.file = f.id"
            "  WHERE f.dataset = l.dataset AND p.destination = ?1 AND p.proved_at IS NOT NULL)) ORDER BY l.dir, l.name LIMIT ?"
        )
        return [
            ToCopy(
                f"{os.fsdecode(directory)}/{os.fsdecode(name)}", rule, dataset, os.fsdecode(target),
                None if made is None else os.fsdecode(made), mtime_ns,
            )
            for directory, name, rule, dataset, target, made, mtime_ns in self._store.execute(
                sql, (destination, *values, limit)
            )
        ]  # fmt: skip

    def at(self, path: str) -> tuple[str, str | None] | None:
        """(rule, where it leads, if no rule delivers that) of the skipped link at a path; None: none is known there."""
        directory, name = os.path.split(path)
        sql = "SELECT r.name, l.outside FROM links l JOIN rules r ON r.id = l.rule WHERE l.dir = ? AND l.name = ?"
        row = self._store.execute(sql, (os.fsencode(directory), os.fsencode(name))).fetchone()
        return None if row is None else (row[0], None if row[1] is None else os.fsdecode(row[1]))

    def copies_at(self, path: str) -> list[tuple[str, str | None]]:
        """(destination, why not) of the link at a path: where it was copied to, or could not be."""
        directory, name = os.path.split(path)
        sql = (
            "SELECT n.name, c.reason FROM link_copies c JOIN destinations n ON n.id = c.destination"
            " WHERE c.dir = ? AND c.name = ? ORDER BY n.name"
        )
        return self._store.execute(sql, (os.fsencode(directory), os.fsencode(name))).fetchall()

    def outside_of(self, dataset: int) -> bool:
        """Whether a link of a dataset leads to what no rule delivers."""
        sql = "SELECT EXISTS (SELECT 1 FROM links WHERE dataset = ? AND outside IS NOT NULL)"
        return bool(self._store.execute(sql, (dataset,)).fetchone()[0])

    def outside(self, rules: Collection[str], limit: int) -> list[Outside]:
        """Links of these rules that lead to what no rule delivers, together for each dataset or directory."""
        return self._outside(rules, "", limit)

    def news(self, rules: Collection[str], limit: int) -> tuple[int, list[Outside]]:
        """(how many such groups have no link that was in a message, some of them)."""
        marks, values = among(list(rules))
        grouped = (
            f"SELECT 1 FROM links l JOIN rules r ON r.id = l.rule WHERE l.outside IS NOT NULL AND r.name IN ({marks})"
        )
        sql = f"SELECT count(*) FROM ({grouped} GROUP BY {_GROUP} HAVING NOT max(l.told))"
        count = self._store.execute(sql, values).fetchone()[0] if rules else 0
        return count, self._outside(rules, "HAVING NOT max(l.told)", limit) if count else []

    def _outside(self, rules: Collection[str], having: str, limit: int) -> list[Outside]:
        marks, values = among(list(rules))
        sql = (
            "SELECT r.name, s.key, CASE WHEN l.dataset IS NULL THEN l.dir END, count(*), l.rule, l.dataset FROM links l"
            " JOIN rules r ON r.id = l.rule LEFT JOIN datasets s ON s.id = l.dataset WHERE l.outside IS NOT NULL"
            f" AND r.name IN ({marks}) GROUP BY {_GROUP} {having} ORDER BY r.name, s.key, l.dir LIMIT ?"
        )
        found = []
        for rule, key, directory, count, number, dataset in self._store.execute(sql, (*values, limit)).fetchall():
            some = self._store.execute(
                "SELECT dir, name, outside FROM links WHERE outside IS NOT NULL AND rule = ?1 AND dataset IS ?2"
                f" AND (?3 IS NULL OR dir = ?3) ORDER BY dir, name LIMIT {_EXAMPLES}",
                (number, dataset, directory),
            )
            examples = tuple(f"{os.fsdecode(d)}/{os.fsdecode(n)} -> {os.fsdecode(target)}" for d, n, target in some)
            found.append(
                Outside(
                    rule,
                    None if key is None else os.fsdecode(key),
                    None if directory is None else os.fsdecode(directory),
                    count,
                    examples,
                )
            )
        return found

    def delivered(self, path: str) -> bool:
        """Whether a file of a path, or one below it, was delivered or will be, though nothing may stand there now."""
        directory, name = os.path.split(path)
        of_name = (
            "SELECT EXISTS (SELECT 1 FROM files f JOIN dirs d ON d.id = f.dir WHERE d.path = ? AND f.name = ?"
            f" AND {_DELIVERED})"
        )
        below = (
            "SELECT EXISTS (SELECT 1 FROM dirs d JOIN files f ON f.dir = d.id"
            f" WHERE (d.path = ?1 OR (d.path >= ?2 AND d.path < ?3)) AND {_DELIVERED})"
        )
        asked = ((of_name, (os.fsencode(directory), os.fsencode(name))), (below, at_or_below(path)))
        return any(self._store.execute(sql, values).fetchone()[0] for sql, values in asked)

    def directories_below(self, directory: str) -> list[str]:
        """Directories at or below a path in which links are known."""
        sql = "SELECT DISTINCT dir FROM links WHERE dir = ?1 OR (dir >= ?2 AND dir < ?3)"
        return [os.fsdecode(path) for (path,) in self._store.execute(sql, at_or_below(directory))]

    # Transitions

    def found(self, directory: str, links: Sequence[Link], *, whole: bool) -> None:
        """These links are in a directory; `whole`: and no others."""
        raw = os.fsencode(directory)
        if whole:
            known = {name for (name,) in self._store.execute("SELECT name FROM links WHERE dir = ?", (raw,))}
            gone = known - {os.fsencode(one.name) for one in links}
            self._store.executemany("DELETE FROM links WHERE dir = ? AND name = ?", ((raw, name) for name in gone))
        self._store.executemany(
            "INSERT INTO links VALUES (?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (dir, name) DO UPDATE SET rule = excluded.rule,"
            " dataset = excluded.dataset, outside = excluded.outside, target = excluded.target, mtime_ns = excluded.mtime_ns",
            (
                (
                    raw,
                    os.fsencode(one.name),
                    one.rule,
                    one.dataset,
                    None if one.outside is None else os.fsencode(one.outside),
                    None if one.target is None else os.fsencode(one.target),
                    one.mtime_ns,
                )
                for one in links
            ),
        )

    def targets_found(self, root: str, paths: Iterable[str]) -> None:
        """These files at or below a directory are known from now on: links to them, and to directories between, lead to what is."""
        if not self._store.execute("SELECT EXISTS (SELECT 1 FROM links WHERE outside IS NOT NULL)").fetchone()[0]:
            return
        above: set[str] = set()
        for path in paths:
            at = path
            while at not in above and len(at) >= len(root):
                above.add(at)
                at = dirname(at)
        sql = "UPDATE links SET outside = NULL WHERE outside = ?"
        self._store.executemany(sql, ((os.fsencode(path),) for path in above))

    def was_copied(self, destination: int, links: Sequence[tuple[ToCopy, str | None]]) -> None:
        """Each is at the destination, or could not be made there, with the reason."""
        self._store.executemany(
            "INSERT INTO link_copies SELECT dir, name, ?1, ?2, ?3, ?4 FROM links WHERE dir = ?5 AND name = ?6"
            " ON CONFLICT (dir, name, destination) DO UPDATE SET target = ?2, made = ?3, reason = ?4",
            (
                (
                    destination,
                    os.fsencode(one.target),
                    os.fsencode(one.target) if reason is None else one.former and os.fsencode(one.former),
                    reason,
                    *map(os.fsencode, os.path.split(one.path)),
                )
                for one, reason in links
            ),
        )

    def retried(self) -> None:
        """A person wants to have those tried again that could not be made."""
        self._store.execute("UPDATE link_copies SET target = x'', reason = NULL WHERE reason IS NOT NULL")

    def outside_told(self, rules: Collection[str]) -> None:
        """Every link of these rules that leads to what no rule delivers was in a message, or its dataset or directory was."""
        marks, values = among(list(rules))
        sql = f"UPDATE links SET told = 1 WHERE outside IS NOT NULL AND rule IN (SELECT id FROM rules WHERE name IN ({marks}))"
        self._store.execute(sql, values)
