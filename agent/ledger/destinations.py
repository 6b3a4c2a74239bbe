"""Destinations: where they are, what they are, and whether they answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.ledger.store import Store


@dataclass(frozen=True, slots=True)
class Place:
    """A destination as the ledger knows it."""

    id: int
    identity: str | None
    up: bool | None
    reason: str | None


class Destinations:
    """Rows of `destinations`. Past-tense methods are transitions, for use in a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def renamed(self, configured: Mapping[str, str]) -> list[tuple[str, str]]:
        """Destinations that are known by another name keep their number: (former name, name). Inside a transaction.

        `configured`: name -> address. A name is a label; where copies are, the address says.
        """
        known = {(name, address): number for number, name, address in self._store.execute(
            "SELECT id, name, address FROM destinations ORDER BY id"
        )}  # fmt: skip
        found = []
        for name, address in configured.items():
            former = next(
                (one for one in known if one[1] == address and configured.get(one[0]) != address), None
            )  # fmt: skip
            if (name, address) not in known and former is not None:
                self._store.execute("UPDATE destinations SET name = ? WHERE id = ?", (name, known.pop(former)))
                found.append((former[0], name))
        return found

    def place(self, name: str, address: str, *, in_place: bool = False) -> Place:
        """The destination of this name at this address; a new one is entered.

        `in_place`: its copies are written under their final names, and tell only size and mtime.
        """
        with self._store.transaction():
            self._store.execute(
                "INSERT OR IGNORE INTO destinations (name, address, in_place) VALUES (?, ?, ?)",
                (name, address, int(in_place)),
            )
        sql = "SELECT id, identity, up, reason FROM destinations WHERE name = ? AND address = ?"
        row = self._store.execute(sql, (name, address)).fetchone()
        return Place(row[0], row[1], None if row[2] is None else bool(row[2]), row[3])

    def identity(self, name: str, address: str) -> str | None:
        """What the destination's identity file said when it was set up; None before that."""
        sql = "SELECT identity FROM destinations WHERE name = ? AND address = ?"
        row = self._store.execute(sql, (name, address)).fetchone()
        return row[0] if row else None

    def same(self, identity: str) -> list[int]:
        """Destinations whose identity file says this: they are one directory."""
        return [
            number for (number,) in self._store.execute("SELECT id FROM destinations WHERE identity = ?", (identity,))
        ]

    def identities(self) -> set[str]:
        """What the identity files of all destinations say, of former configurations, too."""
        sql = "SELECT identity FROM destinations WHERE identity IS NOT NULL"
        return {identity for (identity,) in self._store.execute(sql)}

    def named(self, identity: str) -> list[tuple[str, str]]:
        """(name, address) of the destinations whose identity file says this."""
        return self._store.execute("SELECT name, address FROM destinations WHERE identity = ?", (identity,)).fetchall()

    def location(self, name: str, address: str) -> str | None:
        """Where the destination is, whichever collection shows it; None: not known, or a local directory."""
        sql = "SELECT location FROM destinations WHERE name = ? AND address = ?"
        row = self._store.execute(sql, (name, address)).fetchone()
        return row[0] if row else None

    def located(self) -> list[tuple[int, str]]:
        """(destination, where it is) of those that a service shows."""
        sql = "SELECT id, location FROM destinations WHERE location IS NOT NULL"
        return self._store.execute(sql).fetchall()

    def found_at(self, destination: int, location: str | None) -> None:
        """The service said where the destination is."""
        sql = "UPDATE destinations SET location = ?1 WHERE id = ?2 AND location IS NOT ?1"
        self._store.execute(sql, (location, destination))

    def set_up(self, destination: int, identity: str) -> None:
        """The destination's identity is known from now on."""
        self._store.execute("UPDATE destinations SET identity = ? WHERE id = ?", (identity, destination))

    def went(self, destination: int, up: bool, reason: str | None, now: float, *, refused: bool = False) -> None:
        """The destination went up or down, or was refused: down until a person acts. Or it still is so."""
        self._store.execute(
            "UPDATE destinations SET up = ?1, reason = ?2, refused = ?3,"
            " changed_at = CASE WHEN up IS ?1 AND refused = ?3 THEN coalesce(changed_at, ?4) ELSE ?4 END WHERE id = ?5",
            (int(up), reason, int(refused), now, destination),
        )

    def proved(self, destination: int, now: float) -> None:
        """Copies there were just proved."""
        self._store.execute("UPDATE destinations SET proved_at = ? WHERE id = ?", (now, destination))
