"""What stands at the destination collection, asked with few requests."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from globus_sdk import TransferClient

from agent.destinations.globus.session import (
    LONGEST_TEXT,
    Forbidden,
    NotADirectory,
    NotThere,
    Rejected,
    Unreadable,
    document,
    rows,
)
from agent.errors import Refused, Transient
from agent.host.bulkhead import Bulkhead, Failure
from rules.globus.collection import common_prefix, joined
from rules.model import Content
from rules.naming import stat_content

T = TypeVar("T")
FEW = 3
"""So many names of a directory are asked for one by one."""
PAGE = 10_000
"""Entries a request: with the longest names, of letters that are escaped, 20 MB. The service gives 100,000 at the most."""
_PAGES = 1_000
"""Requests for one directory: more are without an end."""
_LOOKED_THROUGH = 100_000
"""Entries of a directory that are looked through for names. Names that are not among them are asked for one by one."""
_FAR = 60_000_000_000
"""Seconds, 1,900 years."""
_NO_DIRECTORY = "a part of the path is not a directory there"
_SHOWN = 200
"""Letters of a name in the log."""

Ask = Callable[[str, Callable[[TransferClient], T]], T]
"""(operation, request) → answer. Raises Transient and Refused."""


class Entry(NamedTuple):
    """One name in a directory of a collection."""

    name: str
    """Half of a surrogate pair stands for a byte that is no text. Empty: the service gives no name that can be read."""
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

    entries: dict[str, Entry]
    """Path → what has the name; free names are absent."""
    barred: dict[str, str]
    """Path → why nothing can be there, or be seen there."""
    unreadable: dict[str, Unreadable]
    """Path → why its entry cannot be read now."""

    def bar(self, path: str, failure: Failure) -> None:
        """Looking for a path failed."""
        self.barred[path] = failure.reason


_NAMELESS = Entry("", "entry that cannot be read", -1, 0)


def entry(found: Mapping[str, Any]) -> Entry:
    """An entry of the service's document. Fields of another type are not known: the entry is equal to no file then."""
    name, kind, size = found.get("name"), found.get("type"), found.get("size")
    named = kind if isinstance(kind, str) else "entry of an unknown kind"
    return Entry(
        name if isinstance(name, str) and len(name) <= LONGEST_TEXT else "", "link" if found.get("link_target") else named,
        size if type(size) is int and size >= 0 else -1, _mtime(found.get("last_modified")),
    )  # fmt: skip


def _mtime(modified: object) -> int:
    """Seconds since the epoch of the service's notation; 0 where it says none, or none that every time zone has a date for."""
    try:
        found = int(datetime.fromisoformat(modified).timestamp()) if isinstance(modified, str) and modified else 0
    except (ValueError, OverflowError):
        return 0
    return found if abs(found) < _FAR else 0


class Listing:
    """Looks at one collection below one path."""

    def __init__(self, ask: Ask[Any], collection: str, base: str) -> None:
        self._ask = ask
        self._collection = collection
        self._base = base
        self.folds = False
        """Whether the collection takes names that differ only in case for one."""
        self._rows = Bulkhead[Mapping[str, Any]]("entry of a collection", lambda row: repr(row.get("name"))[:_SHOWN])
        self._paths = Bulkhead[str]("path at a collection", str, through=(Transient, Refused))

    def stat(self, path: str) -> Entry | None:
        """What stands at a path; None where nothing does. Raises Transient (NotADirectory among it), Refused."""
        whole = joined(self._base, path)
        try:
            found: Entry = self._ask(
                "stat", lambda tc: entry(document(tc.operation_stat(self._collection, whole), "name"))
            )
        except NotThere:
            return None
        return found

    def names(self, directory: str, pattern: str = "") -> Iterator[Entry]:
        """Entries of a directory, of those that match a pattern where one is given. Raises Transient, Refused."""
        whole, offset = joined(self._base, directory), 0
        chosen: dict[str, Any] = {"filter": f"name:~{pattern}"} if pattern else {}

        def ls(tc: TransferClient) -> list[Entry]:
            page = tc.operation_ls(self._collection, whole, limit=PAGE, offset=offset, show_hidden=True, **chosen)
            return self._entries(rows(page))

        for _ in range(_PAGES):
            entries = self._ask("ls", ls)
            yield from entries
            offset += len(entries)
            if len(entries) < PAGE:
                return
        raise Transient(f"Globus lists {whole} without an end")

    def _entries(self, found: Iterable[Mapping[str, Any]]) -> list[Entry]:
        entries: list[Entry] = []
        for each in self._rows.each(found, failed=lambda *_: entries.append(_NAMELESS)):
            with each as row:
                entries.append(entry(row))
        return entries

    def known(self, directory: str, pattern: str = "") -> tuple[dict[str, Entry], bool]:
        """Name → entry of a directory, and whether a name that is not among them is free. Raises Transient, Refused."""
        listed = list(islice(self.names(directory, pattern), _LOOKED_THROUGH + 1))
        found = {one.name: one for one in listed[:_LOOKED_THROUGH]}
        return found, len(listed) <= _LOOKED_THROUGH and "" not in found

    def look(self, paths: Iterable[str]) -> Found:
        """What stands at these paths. Raises Transient, Refused."""
        below: dict[str, list[str]] = {}
        for path in paths:
            below.setdefault(path.rpartition("/")[0], []).append(path)
        found = Found({}, {}, {})
        absent: set[str] = set()
        for directory in sorted(below):
            if any(part in absent for part in _upwards(directory)):
                continue
            beside = below[directory]
            try:
                if len(beside) > FEW:
                    self._paths.together(beside, partial(self._look_through, directory, found), failed=found.bar)
                else:
                    self._look_alone(beside, found)
            except NotThere:
                absent.add(self._highest_absent(directory) if len(below) > FEW else directory)
            except NotADirectory:
                found.barred.update(dict.fromkeys(beside, _NO_DIRECTORY))
            except Rejected as error:
                found.barred.update(dict.fromkeys(beside, str(error)))
            except Forbidden as error:
                if not directory:
                    raise  # not these paths, but all of the destination
                found.barred.update(dict.fromkeys(beside, error.reason))
        return found

    def _look_through(self, directory: str, found: Found, paths: Sequence[str]) -> None:
        """Look for paths of one directory: for many in a listing. Raises Transient, Refused."""
        left = set(paths)
        if len(left) > 1:
            form = _folded if self.folds else str
            asked = {form(path.rpartition("/")[2]): path for path in paths}
            # Where names fold, a filter might miss the other form; letters beyond ASCII have forms that differ.
            filtered = not self.folds and all(name.isascii() for name in asked)
            prefix = common_prefix(list(asked)) if filtered else ""
            known, whole = self.known(directory, f"{prefix}*" if prefix else "")
            found.entries.update({asked[form(name)]: one for name, one in known.items() if form(name) in asked})
            left = set() if whole else left - found.entries.keys()
        self._look_alone(sorted(left), found)

    def _look_alone(self, paths: Sequence[str], found: Found) -> None:
        """Ask for each path. Raises Transient, Refused where nothing can be asked."""
        for each in self._paths.each(paths, failed=found.bar):
            with each as path:
                try:
                    alone = self.stat(path)
                except NotADirectory:
                    found.barred[path] = _NO_DIRECTORY
                except Rejected as error:
                    found.barred[path] = str(error)
                except Forbidden as error:
                    found.barred[path] = error.reason
                except Unreadable as error:
                    found.unreadable[path] = error
                else:
                    if alone is not None:
                        found.entries[path] = alone

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
