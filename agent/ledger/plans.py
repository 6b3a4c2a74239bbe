"""What was planned for known files, and how it follows a changed configuration."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.ledger.batches import Batches
from agent.ledger.deliveries import Deliveries
from agent.ledger.files import Files
from agent.ledger.states import CAME_LATER, UNFINISHED, DeliveryState, State, listed
from agent.ledger.store import Store, among
from agent.ledger.versions import File, read
from rules.model import SENT, OpenBatch, counted

_UNFINISHED = f"state IN ({listed(UNFINISHED)})"
_PLAN = "plan"
_REPLANNING = "replanning"


class Group(NamedTuple):
    """A sealed batch, for replanning."""

    id: int
    rule: str
    files: int = 0


class Behind(NamedTuple):
    """Delivered files of one rule that are not at one destination which came later."""

    rule: str
    destination: str
    undecided: int
    """Here; nobody said whether they go there."""
    gone: int
    """They would go there, and have no local copy any more."""


class Plans:
    """Changes of what is planned. Past-tense methods are transitions, for use in a transaction."""

    def __init__(self, store: Store, files: Files, batches: Batches, deliveries: Deliveries) -> None:
        self._store = store
        self._files = files
        self._batches = batches
        self._deliveries = deliveries

    # What is known

    def made_for(self) -> str | None:
        """What stands for the configuration that all plans follow."""
        return self._store.meta(_PLAN)

    def under_change(self) -> bool:
        """Whether some plans do not follow the configuration yet."""
        return self._store.meta(_REPLANNING) is not None

    def behind(self) -> list[Behind]:
        """Delivered files that are not at destinations which came later, as of the last replanning."""
        sql = (
            "SELECT r.name, n.name, p.undecided, p.gone FROM behind p JOIN rules r ON r.id = p.rule"
            " JOIN destinations n ON n.id = p.destination ORDER BY r.name, n.name"
        )
        return [Behind(*row) for row in self._store.execute(sql)]

    def later(self, rule: str, address: str) -> int:
        """How many files of a rule are in delivered batches that have nothing at this destination."""
        sql = (
            "SELECT coalesce(sum(b.files), 0) FROM batches b WHERE b.rule = (SELECT id FROM rules WHERE name = ?)"
            " AND b.verified_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM files f JOIN copies c ON c.file = f.id"
            " AND c.proved_at IS NOT NULL AND c.destination IN (SELECT id FROM destinations WHERE address = ?)"
            " WHERE f.batch = b.id)"
        )
        return int(self._store.execute(sql, (rule, address)).fetchone()[0])

    def waiting(self) -> list[tuple[str, str, int]]:
        """(name, address, deliveries) of destinations that deliveries wait for."""
        sql = (
            "SELECT n.name, n.address, sum(t.deliveries) FROM delivery_tally t JOIN destinations n ON n.id = t.destination"
            f" WHERE {_UNFINISHED} AND t.deliveries > 0 GROUP BY n.id ORDER BY n.id"
        )
        return list(self._store.execute(sql))

    def waits_at_others(self, destinations: Collection[int]) -> bool:
        """Whether a delivery waits for another destination than these."""
        sql = f"SELECT DISTINCT destination FROM delivery_tally WHERE {_UNFINISHED} AND deliveries > 0"
        return any(number not in destinations for (number,) in self._store.execute(sql))

    def undelivered(self, after: int, limit: int) -> list[File]:
        """Candidates, complete, refused and ignored files of rules, in order after `after`."""
        where = (
            "f.id > ? AND f.state IN ('candidate', 'complete', 'refused', 'ignored')"
            f" AND f.rule IS NOT (SELECT id FROM rules WHERE name = '{SENT}')"
            " ORDER BY f.id LIMIT ?"
        )
        return read(self._store, where, (after, limit))

    def sealed(self, after: int, files: int, *, ended: bool) -> list[Group]:
        """Sealed batches whose deliveries have all ended, or not, in order after `after`, until they have so many files."""
        which = "b.verified_at IS NOT NULL" if ended else "b.verified_at IS NULL AND b.sealed_at IS NOT NULL"
        sql = (
            "SELECT b.id, r.name, b.files FROM batches b JOIN rules r ON r.id = b.rule"
            f" WHERE b.id > ? AND {which} ORDER BY b.id LIMIT ?"
        )
        found: list[Group] = []
        for row in self._store.execute(sql, (after, files)):
            found.append(Group(*row))
            files -= max(found[-1].files, 1)
            if files <= 0:
                break
        return found

    def members(self, batch: int) -> list[File]:
        """Its files that are batched, verified or removed here."""
        return read(
            self._store,
            "f.batch = ? AND f.state IN ('batched', 'verified', 'reclaiming', 'reclaimed', 'removed') ORDER BY f.id",
            (batch,),
        )

    def deliveries(self, batch: int) -> dict[int, DeliveryState]:
        """Destination -> state."""
        rows = self._store.execute("SELECT destination, state FROM deliveries WHERE batch = ?", (batch,))
        return {destination: DeliveryState(state) for destination, state in rows}

    def proved(self, batch: int) -> dict[int, set[int]]:
        """File of the batch -> destinations that are proved to have it."""
        sql = (
            "SELECT c.file, c.destination FROM files f CROSS JOIN copies c ON c.file = f.id AND c.proved_at IS NOT NULL"
            " WHERE f.batch = ?"
        )
        found: dict[int, set[int]] = {}
        for file, destination in self._store.execute(sql, (batch,)):
            found.setdefault(file, set()).add(destination)
        return found

    def has_copy(self, file: File, destination: int) -> bool:
        """Whether any version of the path, one that was sent by hand among them, is proved to be there."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM files m JOIN files f ON f.dir = m.dir AND f.name = m.name"
            " AND f.generation >= m.generation JOIN copies c ON c.file = f.id AND c.destination = ?"
            " AND c.proved_at IS NOT NULL WHERE m.id = ?)"
        )
        return bool(self._store.execute(sql, (destination, file.id)).fetchone()[0])

    def skipped(self, batch: int | None) -> set[tuple[str, str]]:
        """(name, address) of destinations that need not have the batch."""
        sql = (
            "SELECT n.name, n.address FROM deliveries d JOIN destinations n ON n.id = d.destination"
            " WHERE d.batch = ? AND d.state = 'skipped'"
        )
        return set(self._store.execute(sql, (batch,)))

    def skipped_in(self, key: tuple[str, bool, int]) -> dict[tuple[str, str], int]:
        """(name, address) -> how many verified files of (rule, whether it is a dataset, its number) need not be there."""
        rule, whole, place = key
        which = "f.dataset = ?" if whole else "f.dir = ? AND f.dataset IS NULL"
        sql = (
            f"SELECT n.name, n.address, count(*) FROM files f CROSS JOIN deliveries d ON d.batch = f.batch AND d.state = 'skipped'"
            " CROSS JOIN destinations n ON n.id = d.destination"
            f" WHERE {which} AND f.state = 'verified' AND +f.rule = (SELECT id FROM rules WHERE name = ?) GROUP BY d.destination"
        )
        return {(name, address): count for name, address, count in self._store.execute(sql, (place, rule))}

    # Transitions

    def replanning(self) -> None:
        """Plans do not follow the configuration any more."""
        self._store.execute("INSERT OR REPLACE INTO meta VALUES (?, '1')", (_REPLANNING,))

    def followed(self, plan: str, behind: Mapping[tuple[str, int], Sequence[int]]) -> None:
        """All plans follow this configuration. `behind`: (rule, destination) -> [undecided, gone]."""
        self._store.execute("DELETE FROM behind")
        self._store.executemany(
            "INSERT INTO behind VALUES (?, ?, ?, ?)",
            ((self._files.rule(rule), place, *counts) for (rule, place), counts in behind.items()),
        )
        self._store.execute("DELETE FROM meta WHERE key = ?", (_REPLANNING,))
        self._store.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_PLAN, plan))

    def inherited(self, batch: Group, rule: str) -> None:
        """The batch belongs to another rule from now on, and with it its datasets."""
        self._store.execute("UPDATE batches SET rule = ? WHERE id = ?", (self._files.rule(rule), batch.id))
        self._store.execute(
            "UPDATE OR IGNORE datasets SET rule = ? WHERE id IN (SELECT dataset FROM files WHERE batch = ?)",
            (self._files.rule(rule), batch.id),
        )

    def reassigned(self, files: Iterable[tuple[int, str]]) -> None:
        """(file, rule): they belong to another rule from now on, wherever they are on their way."""
        self._store.executemany(
            "UPDATE files SET rule = ? WHERE id = ?", ((self._files.rule(rule), file) for file, rule in files)
        )

    def closed(self, rules: Collection[str], now: float) -> None:
        """Nothing joins the open batches of rules other than these any more."""
        for number, rule, _ in self._batches.open():
            if rule not in rules:
                self._store.execute(
                    "UPDATE batches SET sealed_at = ?1, verified_at = ?1, reason = 'its rule is gone' WHERE id = ?2",
                    (now, number),
                )

    def begun(self, batch: int, destinations: Iterable[int], now: float) -> None:
        """The batch goes to these destinations, too."""
        self._store.executemany(
            "INSERT INTO deliveries (batch, destination, state, again, changed_at) VALUES (?1, ?2, 'pending',"
            " (SELECT iif(closes IS NULL, ?3, NULL) FROM batches WHERE id = ?1), ?3)"
            " ON CONFLICT DO UPDATE SET state = 'pending', attempt = 0, submission = NULL, again = excluded.again,"
            " reason = NULL, changed_at = ?3",
            ((batch, destination, now) for destination in destinations),
        )
        self._deliveries.forget_requests([batch])

    def dropped(self, batch: int, destinations: Iterable[int], reason: str, now: float) -> list[int]:
        """The batch need not go to these destinations any more. Returns the batch where it is verified by that."""
        self._store.executemany(
            "UPDATE deliveries SET state = 'skipped', again = NULL, reason = ?, changed_at = ?"
            f" WHERE batch = ? AND destination = ? AND {_UNFINISHED}",
            ((reason, now, batch, destination) for destination in destinations),
        )
        self._deliveries.forget_requests([batch])
        self._deliveries.verified([file for file in self.members(batch) if file.state is State.BATCHED], now)
        return self._deliveries.ended([batch], now)

    def left_as_is(self, batch: int, states: Mapping[int, tuple[DeliveryState, str]], now: float) -> None:
        """Of destinations that came later: destination -> (skipped or undecided, reason)."""
        self._store.executemany(
            "INSERT INTO deliveries (batch, destination, state, reason, changed_at) VALUES (?, ?, ?, ?, ?)"
            f" ON CONFLICT DO UPDATE SET state = excluded.state, reason = excluded.reason WHERE state IN ({listed(CAME_LATER)})",
            ((batch, place, state.value, reason, now) for place, (state, reason) in states.items()),
        )

    def split(self, batch: int, rule: str, files: Sequence[File], now: float) -> int:
        """These delivered files become a batch whose deliveries have all ended. Returns it."""
        number = self._batches.opened(rule, self._batches.key(batch), now)
        self._batches.joined(number, _group(files, now))
        self._store.execute(
            "UPDATE batches SET sealed_at = ?1, verified_at = ?1, reclaim_at = ?1, reason = ?2 WHERE id = ?3",
            (now, f"delivered with batch {batch}", number),
        )
        marks, values = among([file.id for file in files])
        self._store.execute(f"UPDATE files SET batch = ? WHERE id IN ({marks})", (number, *values))
        return number

    def stranded(self, batch: int, destinations: Collection[int], reason: str, now: float) -> None:
        """What a person sent waits for a destination that is not configured any more: the person must act."""
        unfinished = {
            place for place, state in self.deliveries(batch).items()
            if place not in destinations and state in UNFINISHED
        }  # fmt: skip
        if not unfinished:
            return
        waiting = [file for file in self.members(batch) if file.state is State.BATCHED]
        self._files.refused([(file.id, file.rule, file.path, reason) for file in waiting])
        self._store.executemany(
            "UPDATE deliveries SET state = 'refused', again = NULL, reason = ?, changed_at = ?"
            " WHERE batch = ? AND destination = ?",
            ((reason, now, batch, place) for place in unfinished),
        )
        self._deliveries.forget_requests([batch])
        self._deliveries.ended([batch], now)


def _group(files: Sequence[File], now: float) -> OpenBatch:
    return OpenBatch("", len(files), sum(counted(file.version.size) for file in files), now, now)
