"""What stands at the destination collection, asked with few requests."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from globus_sdk import TransferClient

from agent.destinations.globus.session import Forbidden, NotADirectory, NotThere, Rejected, document, rows, text
from agent.errors import Transient
from rules.globus.collection import common_prefix, joined
from rules.model import Content
from rules.naming import stat_content

T = TypeVar("T")
FEW = 3
"""So many names of a directory are asked for one by one."""
PAGE = 100_000
"""Entries a request, the most that the service gives."""
_PAGES = 1_000
"""Requests for one directory: more are without an end."""

Ask = Callable[[str, Callable[[TransferClient], T]], T]
"""(operation, request) → answer. Raises Transient and Refused."""


class Entry(NamedTuple):
    """One name in a directory of a collection."""

    name: str
    kind: str
    """`file`, `dir`, `link` (whatever is behind it), or another of the service's words."""
    size: int
    """-1: the service does not say, so that it is equal to no file's."""
    mtime: int
    """Seconds since the epoch."""

    @property
    def content(self) -> Content:
        """What tells it from other content, as far as a collection tells."""
        return Content(stat_content(self.size, self.mtime * 1_000_000_000), self.size)


class Found(NamedTuple):
    """What the listings say of some paths."""

    entries: Mapping[str, Entry]
    """Path → what has the name; free names are absent."""
    barred: Mapping[str, str]
    """Path → why nothing can be there, or be seen there."""


def entry(found: Mapping[str, Any]) -> Entry:
    """An entry of the service's document. Raises ValueError where it has no name.

    Other fields of another type are not known: the entry is equal to no file then.
    """
    kind, size = found.get("type"), found.get("size")
    named = kind if isinstance(kind, str) else "entry of an unknown kind"
    return Entry(
        text(found.get("name")), "link" if found.get("link_target") else named, size if type(size) is int and size >= 0 else -1,
        _mtime(found.get("last_modified")),
    )  # fmt: skip


def _mtime(modified: object) -> int:
    """Seconds since the epoch of the service's notation; 0 where it says none, or none that can be read."""
    try:
        return int(datetime.fromisoformat(modified).timestamp()) if isinstance(modified, str) and modified else 0
    except (ValueError, OverflowError):
        return 0


class Listing:
    """Looks at one collection below one path."""

    def __init__(self, ask: Ask[Any], collection: str, base: str) -> None:
        self._ask = ask
        self._collection = collection
        self._base = base
        self.folds = False
        """Whether the collection takes names that differ only in case for one."""

    def stat(self, path: str) -> Entry | None:
        """What stands at a path; None where nothing does. Raises Transient (NotADirectory among it), Refused."""
        whole = joined(self._base, path)
        try:
            found: Entry = self._ask("stat", lambda tc: entry(document(tc.operation_stat(self._collection, whole))))
        except NotThere:
            return None
        return found

    def names(self, directory: str, pattern: str = "") -> Iterator[Entry]:
        """Entries of a directory, of those that match a pattern where one is given. Raises Transient, Refused."""
        whole, offset = joined(self._base, directory), 0
        chosen: dict[str, Any] = {"filter": f"name:~{pattern}"} if pattern else {}

        def ls(tc: TransferClient) -> list[Entry]:
            page = tc.operation_ls(self._collection, whole, limit=PAGE, offset=offset, show_hidden=True, **chosen)
            return [entry(one) for one in rows(page)]

        for _ in range(_PAGES):
            entries = self._ask("ls", ls)
            yield from entries
            offset += len(entries)
            if len(entries) < PAGE:
                return
        raise Transient(f"Globus lists {whole} without an end")

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
            names, prefix = below[directory], f"{directory}/" if directory else ""
            one_by_one = [[name] for name in names] if len(names) <= FEW else [names]
            for some in one_by_one:
                try:
                    entries |= {prefix + name: found for name, found in self._in(directory, some)}
                except NotThere:
                    absent.add(self._highest_absent(directory) if len(below) > FEW else directory)
                except NotADirectory:
                    barred |= {prefix + name: "a part of the path is not a directory there" for name in some}
                except Rejected as error:
                    barred |= {prefix + name: str(error) for name in some}
                except Forbidden as error:
                    if not directory and len(some) > 1:
                        raise  # not this path, but all of the destination
                    barred |= {prefix + name: error.reason for name in some}
        return Found(entries, barred)

    def _in(self, directory: str, names: list[str]) -> Iterator[tuple[str, Entry]]:
        """(name as asked for, entry) of those names that are taken in a directory."""
        if len(names) == 1:
            alone = self.stat(f"{directory}/{names[0]}" if directory else names[0])
            if alone is not None:
                yield names[0], alone
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
