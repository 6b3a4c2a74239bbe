"""What stands at the destination collection, asked with few requests."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from globus_sdk import TransferClient

from agent.errors import Transient
from agent.transport.globus.session import Forbidden, NotADirectory, NotThere, Rejected
from rules.collection import common_prefix, joined
from rules.destination import stat_content

T = TypeVar("T")
FEW = 3
"""So many names of a directory are asked for one by one."""
PAGE = 100_000
"""Entries a request, the most that the service gives."""

Ask = Callable[[str, Callable[[TransferClient], T]], T]
"""(operation, request) → answer. Raises Transient and Refused."""


class Entry(NamedTuple):
    """One name in a directory of a collection."""

    name: str
    kind: str
    """`file`, `dir`, or another of the service's words."""
    size: int
    mtime: int
    """Seconds since the epoch."""

    @property
    def content(self) -> bytes:
        """What tells it from other content, as far as a collection tells."""
        return stat_content(self.size, self.mtime * 1_000_000_000)


class Found(NamedTuple):
    """What the listings say of some paths."""

    entries: Mapping[str, Entry]
    """Path → what stands there; paths where nothing does are absent."""
    barred: Mapping[str, str]
    """Path → why nothing can be there, or be seen there."""


def entry(document: Mapping[str, Any]) -> Entry:
    """An entry of the service's document. Raises Transient where it is none."""
    try:
        modified = document.get("last_modified")
        mtime = int(datetime.fromisoformat(modified).timestamp()) if modified else 0
        return Entry(str(document["name"]), str(document["type"]), int(document.get("size") or 0), mtime)
    except (KeyError, TypeError, ValueError) as error:
        raise Transient(f"Globus gave a listing that cannot be read: {error!r}") from None


class Listing:
    """Looks at one collection below one path."""

    def __init__(self, ask: Ask[Any], collection: str, base: str) -> None:
        self._ask = ask
        self._collection = collection
        self._base = base
        self.folds = False
        """Whether the collection takes names that differ only in case for one."""

    def stat(self, path: str) -> Entry | None:
        """What stands at a path; None where nothing does. Raises Transient, Refused."""
        whole = joined(self._base, path)
        try:
            return entry(self._ask("stat", lambda tc: tc.operation_stat(self._collection, whole).data))
        except (NotThere, NotADirectory):
            return None

    def names(self, directory: str, pattern: str = "") -> Iterator[Entry]:
        """Entries of a directory, of those that match a pattern where one is given. Raises Transient, Refused."""
        whole, offset = joined(self._base, directory), 0
        chosen: dict[str, Any] = {"filter": f"name:~{pattern}"} if pattern else {}

        def ls(tc: TransferClient) -> Any:
            return tc.operation_ls(self._collection, whole, limit=PAGE, offset=offset, show_hidden=True, **chosen).data

        while True:
            page = self._ask("ls", ls)
            entries = page.get("DATA", [])
            yield from map(entry, entries)
            offset += len(entries)
            if len(entries) < PAGE:
                return

    def look(self, paths: Iterable[str]) -> Found:
        """What stands at these paths. Raises Transient, Refused."""
        below: dict[str, list[str]] = {}
        for path in paths:
            directory, _, name = path.rpartition("/")
            below.setdefault(directory, []).append(name)
        entries: dict[str, Entry] = {}
        barred: dict[str, str] = {}
        absent: set[str] = set()
        for directory in sorted(below):
            if any(part in absent for part in _upwards(directory)):
                continue
            prefix = f"{directory}/" if directory else ""
            try:
                for name, found in self._in(directory, below[directory]):
                    entries[prefix + name] = found
            except NotThere:
                absent.add(self._highest_absent(directory) if len(below) > FEW else directory)
            except NotADirectory:
                barred |= {prefix + name: "a part of the path is not a directory there" for name in below[directory]}
            except Rejected as error:
                barred |= {prefix + name: str(error) for name in below[directory]}
            except Forbidden as error:
                if not directory:
                    raise  # not this directory, but all of the destination
                barred |= {prefix + name: error.reason for name in below[directory]}
        return Found(entries, barred)

    def _in(self, directory: str, names: list[str]) -> Iterator[tuple[str, Entry]]:
        """(name as asked for, entry) of those names that are taken in a directory."""
        if len(names) <= FEW:
            for name in names:
                found = self.stat(f"{directory}/{name}" if directory else name)
                if found is not None:
                    yield name, found
            return
        asked = {_folded(name) if self.folds else name: name for name in names}
        # Where names fold, a filter might miss the other form; letters beyond ASCII have forms of their own.
        filtered = not self.folds and all(name.isascii() for name in names)
        prefix = common_prefix(names) if filtered else ""
        for found in self.names(directory, f"{prefix}*" if prefix else ""):
            wanted = asked.get(_folded(found.name) if self.folds else found.name)
            if wanted is not None:
                yield wanted, found

    def _highest_absent(self, directory: str) -> str:
        """The topmost directory on the way that is not there: what is below it need not be asked for."""
        absent = directory
        for part in _upwards(directory)[1:]:
            if self.stat(part) is not None:
                break
            absent = part
        return absent


def _upwards(directory: str) -> list[str]:
    """A path, its parent, and so on; the destination itself is not among them."""
    found = []
    while directory:
        found.append(directory)
        directory = directory.rpartition("/")[0]
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
