"""The simulated instrument: it writes files as chance has it, and keeps a journal of what was whole and what never was.

Every content is unlike every other, so that a checksum says which version of which file it is. The journal imports nothing
of the product: what it says is what the oracle believes.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from random import Random

KIB = 2**10
AN_HOUR_NS = 3600 * 10**9


def digest(content: bytes, algorithm: str = "sha256") -> str:
    """A checksum, as the record of deletions writes it."""
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


@dataclass
class Written:
    """One version of one file: what it held when its writer was done."""

    path: str
    """Relative to the watched folder."""
    digest: str
    md5: str
    """What Globus tells of it."""
    size: int
    over: bool = False
    """The instrument itself wrote over it or removed it: nobody owes it to anybody any more."""
    taken: bool = False
    """A person removed it here when it was at every destination: there it is owed, and no record tells of it."""


@dataclass
class Journal:
    """All that the instrument and the faults did to files."""

    versions: dict[str, list[Written]] = field(default_factory=dict)
    """Path → its whole versions, oldest first. What is in none of them was never whole."""
    foreign: dict[tuple[str, str], str] = field(default_factory=dict)
    """(destination, path there) → digest of what somebody else put there: it must stay as it is."""
    spoiled: set[tuple[str, str, str]] = field(default_factory=set)
    """(destination, path there, digest): what a fault made of a copy. It proves nothing, and nobody is to blame for it."""
    harmed: set[str] = field(default_factory=set)
    """Paths whose copies a fault harmed, or removed."""

    def wrote(self, path: str, content: bytes) -> None:
        """The writer is done: this is a whole version."""
        self.versions.setdefault(path, []).append(Written(path, digest(content), digest(content, "md5"), len(content)))

    def over(self, path: str, digest: str | None = None) -> None:
        """The instrument is about to write over what stands at the path (or over this content), or to remove it."""
        for one in self.versions.get(path, []) if digest else self.versions[path][-1:]:
            one.over = one.over or digest in (None, one.digest)

    def all(self) -> Iterator[Written]:
        """Every version there ever was."""
        return (one for versions in list(self.versions.values()) for one in list(versions))

    def required(self) -> Iterator[Written]:
        """Every version that must be whole somewhere."""
        return (one for one in self.all() if not one.over)

    @property
    def files(self) -> int:
        """How many whole versions there were."""
        return sum(map(len, self.versions.values()))

    @property
    def bytes(self) -> int:
        """And their bytes."""
        return sum(one.size for one in self.all())


@dataclass
class _Open:
    """A file that the instrument has open: it is not whole until it is closed."""

    file: FileIO
    content: bytearray
    set_back: bool
    """A copy: its mtime is put back to an hour ago after each write."""


class Instrument:
    """Writes into the watched folder. Files that it has open are really open."""

    def __init__(self, root: Path, chance: Random, pace: float = 0.02) -> None:
        """`pace`: mean seconds between two acts. The instrument has its own rhythm; nothing relies on how long it is."""
        self.root = root
        self.journal = Journal()
        self._chance = chance
        self._pace = pace
        self._open: dict[str, _Open] = {}
        self._held: set[str] = set()
        """Files that stay open until the end."""
        self._count = 0

    @property
    def open(self) -> list[str]:
        """Files that it has open."""
        return sorted(self._open)

    # What instruments do

    def work(self, acts: int) -> None:
        """So many acts, as chance has it."""
        does = (
            self.write,
            self.begin,
            self.go_on,
            self.finish,
            self.rewrite,
            self.append,
            self.deliver_aside,
            self.remove,
        )
        for _ in range(acts):
            (act,) = self._chance.choices(does, weights=(10, 3, 4, 3, 4, 2, 3, 1))
            act()
            if self._pace:
                time.sleep(self._chance.expovariate(1 / self._pace))

    def write(self, name: str | None = None, size: int | None = None) -> str:
        """A new file, written at once; or the same name again, where an earlier file went away."""
        path = name or self._some_gone() or self.next_name()
        self._create(path, set_back=False)
        self._add(path, size)
        self._close(path)
        return path

    def begin(self, name: str | None = None, *, set_back: bool | None = None, hold: bool = False) -> str:
        """A new file that stays open; `set_back`: a copy with an old mtime; `hold`: until the end."""
        path = name or self.next_name()
        self._create(path, set_back=self._chance.random() < 0.5 if set_back is None else set_back)
        if hold:
            self._held.add(path)
        self._add(path)
        return path

    def go_on(self, name: str | None = None) -> None:
        """More for a file that is open."""
        if self._open:
            self._add(name or self._chance.choice(sorted(self._open)))

    def finish(self, name: str | None = None) -> None:
        """Close a file that was open."""
        if name is not None:
            self._close(name)
        elif ready := sorted(self._open.keys() - self._held):
            self._close(self._chance.choice(ready))

    def finish_all(self) -> None:
        """The instrument is done for today."""
        for path in sorted(self._open):
            self._close(path)

    def rewrite(self, name: str | None = None, *, in_disguise: bool = False) -> None:
        """Change a file in place; where it is gone by then, it is written anew. `in_disguise`: with size and date as before."""
        path = name or self._some_closed()
        if path is None or path in self._open:
            return
        try:
            before = (self.root / path).stat()
        except FileNotFoundError:
            in_disguise = False
        self._reopen(path, keep=False)
        if in_disguise:
            self._fill(path, self._chance.randbytes(before.st_size))
            os.utime(self._open[path].file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
        else:
            self._add(path)
        self._close(path)

    def append(self, name: str | None = None) -> None:
        """Add to a file that was whole, in place."""
        path = name or self._some_closed()
        if path is not None and path not in self._open:
            self._reopen(path, keep=True)
            self._add(path)
            self._close(path)

    def deliver_aside(self) -> None:
        """Write under a temporary name that the rule excludes, then rename."""
        path = self.next_name()
        content = self._content(None)
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(place.name + ".tmp")
        aside.write_bytes(content)
        self.journal.wrote(path, content)
        aside.rename(place)

    def remove(self, name: str | None = None) -> None:
        """A person tidies up: what was whole and is still here goes."""
        path = name or self._some_closed()
        if path is None:
            return
        former = self.journal.versions[path][-1]
        former.over = True  # said first: from now on the agent may find it gone
        try:
            (self.root / path).unlink()
        except FileNotFoundError:
            former.over = False  # the agent was first, so it is owed

    def take(self, path: str) -> None:
        """A person who saw it at every destination removes it here."""
        self.journal.versions[path][-1].taken = True
        (self.root / path).unlink(missing_ok=True)

    # How

    def next_name(self) -> str:
        """A name that no file has had."""
        self._count += 1
        folder = f"run{self._chance.randrange(4)}"
        if self._chance.random() < 0.3:
            folder += f"/scan{self._chance.randrange(6)}"
        return f"{folder}/f{self._count}.dat"

    def _some_gone(self) -> str | None:
        """A name that was written and reclaimed, to be used again; usually none."""
        if self._chance.random() < 0.8:
            return None
        gone = [path for path in self.journal.versions if path not in self._open and not (self.root / path).exists()]
        return self._chance.choice(sorted(gone)) if gone else None

    def _some_closed(self) -> str | None:
        here = [path for path in self.journal.versions if path not in self._open and (self.root / path).is_file()]
        return self._chance.choice(sorted(here)) if here else None

    def _content(self, size: int | None) -> bytes:
        if size is None:
            kind = self._chance.random()
            largest = 0 if kind < 0.05 else 5000 * KIB if kind > 0.97 else 200 * KIB if kind > 0.8 else 20 * KIB
            size = self._chance.randrange(largest + 1)
        self._count += 1
        return f"{self._count}:".encode() + self._chance.randbytes(size)

    def _create(self, path: str, *, set_back: bool) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        # Exclusive: a file that somebody else put there meanwhile would not be ours to write over.
        self._open[path] = _Open(place.open("xb", buffering=0), bytearray(), set_back)

    def _reopen(self, path: str, *, keep: bool) -> None:
        try:
            fd = os.open(self.root / path, os.O_WRONLY)  # a writer from here on: the agent must not take it any more
        except FileNotFoundError:
            self._create(path, set_back=False)  # gone meanwhile: what was there is owed, and this is another file
            return
        self.journal.over(path)
        content = bytearray()
        if keep:
            content += (self.root / path).read_bytes()
            os.lseek(fd, 0, os.SEEK_END)
        else:
            os.ftruncate(fd, 0)
        self._open[path] = _Open(os.fdopen(fd, "wb", buffering=0), content, set_back=False)

    def _add(self, path: str, size: int | None = None) -> None:
        self._fill(path, self._content(size))

    def _fill(self, path: str, content: bytes) -> None:
        one = self._open[path]
        one.file.write(content)
        one.content += content
        if one.set_back:
            then = time.time_ns() - AN_HOUR_NS
            os.utime(one.file.fileno(), ns=(then, then))

    def _close(self, path: str) -> None:
        one = self._open.pop(path)
        self.journal.wrote(
            path, bytes(one.content)
        )  # said first: it is whole, and may be taken as soon as it is closed
        one.file.close()
