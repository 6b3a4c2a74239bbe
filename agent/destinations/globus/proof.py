"""What a task that ended proves, file by file. Its success alone proves nothing."""

import hashlib
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from types import NoneType
from typing import Any, NamedTuple

from globus_sdk import GlobusHTTPResponse, TransferClient

from agent.destinations import Arrived, Gone, Item, Outcome, Undeliverable
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.listing import Ask, Entry, Listing
from agent.destinations.globus.session import NotThere, Rejected, document, rows
from agent.destinations.sources import changed_sources, item_bulkhead, unforeseen
from agent.errors import Transient
from agent.host.bulkhead import Failure
from rules.globus.task import in_words
from rules.model import STAT, Content
from rules.naming import stat_content

_RETRY = "then `dropline retry`"
_PAGES = 200
"""Pages of a list: more than a task of the agent has, with as few as ten lines on each. A list that goes on is not believed."""
_ALGORITHM = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_LENGTHS = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
"""Bytes that algorithms make."""


class Checksum(NamedTuple):
    """Of a file's content."""

    algorithm: str
    checksum: bytes


class Moved(NamedTuple):
    """A line of the service's list of successful transfers."""

    size: int | None
    """None: it does not say. Then nothing is proved by this line alone."""
    checksum: bytes | None
    algorithm: str

    def agrees(self, read: Checksum | None) -> bool:
        """Whether nothing contradicts what the agent read of the local file; other algorithms cannot be compared."""
        if read is None or self.checksum is None or read.algorithm != self.algorithm:
            return True
        return read.checksum == self.checksum


class Evidence(NamedTuple):
    """What the lists of a task that has ended say of its files."""

    moved: Mapping[str, Moved]
    """Destination path → what arrived."""
    skipped: Mapping[str, str]
    """Source path → code of the error."""


class Ended(NamedTuple):
    """What is known of a task's files. `left`: without evidence, to go again; `barred`: why none of them could be read."""

    outcomes: list[Outcome]
    left: list[Item]
    barred: str | None = None
    mismatched: int = 0
    """Those among `left` whose checksum in the service's list differs from the agent's."""


def evidence(
    ask: Ask[Any], collection_path: CollectionPath, task: str, items: Iterable[Item], *, skipped: bool
) -> Evidence:
    """Fetch the lists of a task that has ended. `skipped`: it may have skipped files. Raises Transient, Refused."""
    wanted: set[str] = set()
    for each in item_bulkhead().each(items):  # one that fails is handled, and refused, once more
        with each as item:
            wanted.add(collection_path.there(item.path))
    moved = moved_files(ask, task, wanted)
    return Evidence(moved, skipped_files(ask, task) if skipped else {})


def conclude(
    listing: Listing, collection_path: CollectionPath, lists: Evidence, items: Iterable[Item], read: Mapping[str, Checksum],
    *, succeeded: bool,
) -> Ended:  # fmt: skip
    """Compare the evidence of a task that has ended with the local files as they are now.

    Args:
        listing: looks at the destination.
        collection_path: maps paths.
        lists: what the service says of its files.
        items: the files that need a report.
        read: destination path → what the agent read of the local file, where it did.
        succeeded: it did; then what it skipped without saying so is looked for at the destination.

    Raises Transient, Refused.
    """
    items = list(items)
    bad = changed_sources(items)
    ended = Ended([], [])
    unproved: list[Item] = []
    mismatched = 0
    for each in item_bulkhead().each(
        items, failed=lambda item, failure: ended.outcomes.append(unforeseen(item, failure))
    ):
        with each as item:
            path = collection_path.there(item.path)
            line, outcome = lists.moved.get(path), bad.outcomes.get(item.file)
            if line is not None and not line.agrees(read.get(path)):
                ended.left.append(item)
                mismatched += 1
                continue
            away = item.file in bad.away
            proved = _proved(item, line)
            travelled = line is not None and line.size in (None, item.version.size)
            if travelled and (away or isinstance(outcome, Gone)):
                outcome = _though_unseen(listing, item, proved) or outcome
            if away and outcome is None:
                ended.left.append(item)
            elif outcome is not None:
                ended.outcomes.append(outcome)
            elif proved is not None:
                ended.outcomes.append(proved)
            elif travelled or succeeded:
                unproved.append(item)
            else:
                ended.left.append(item)
    ended = ended._replace(mismatched=mismatched)
    return _completed(listing, collection_path, ended, unproved, lists.skipped, whole=len(items))


def _completed(
    listing: Listing,
    collection_path: CollectionPath,
    ended: Ended,
    unproved: list[Item],
    passed: Mapping[str, str],
    whole: int,
) -> Ended:
    """What the service gave no checksum for is looked for at the destination: weaker evidence."""
    skipped: dict[int, tuple[str, str]] = {}
    looked_for: list[Item] = []
    alone = item_bulkhead()

    def failed(item: Item, failure: Failure) -> None:
        ended.outcomes.append(unforeseen(item, failure))

    for each in alone.each(unproved, failed=failed):
        with each as item:
            path = collection_path.local(item) or ""
            if path in passed:
                skipped[item.file] = path, passed[path]
            else:
                looked_for.append(item)
    codes = {code for _, code in skipped.values()}
    if len(skipped) == whole > 1 and len(codes) == 1:
        barred = f"the source collection says of every file: {in_words(codes.pop())}"
        return ended._replace(left=unproved, barred=barred)
    there = listing.look([item.path for item in looked_for]).entries
    for each in alone.each([item for item in unproved if item.file in skipped], failed=failed):
        with each as item:
            ended.outcomes.append(_skipped_alone(item, *skipped[item.file]))
    for each in alone.each(looked_for, failed=failed):
        with each as item:
            found = _listed(item, there.get(item.path))
            if found is None:
                ended.left.append(item)
            else:
                ended.outcomes.append(found)
    return ended


def _proved(item: Item, line: Moved | None) -> Arrived | None:
    """What the service says of a file that travelled: proof where it tells of as many bytes as the version has, and a checksum."""
    if line is None or line.checksum is None or line.size is None or line.size != item.version.size:
        return None
    return Arrived(item.file, Content(line.checksum, line.size), line.algorithm, adopted=False)


def _listed(item: Item, found: Entry | None) -> Arrived | None:
    """A copy of the version's size and mtime: weaker proof, and none where the copy that was to be replaced has both, too."""
    expected = Content(stat_content(item.version.size, item.version.mtime_ns), item.version.size)
    if found is None or found.kind != "file" or found.content != expected or expected == item.replaces:
        return None
    return Arrived(item.file, found.content, STAT, adopted=False)


def _though_unseen(listing: Listing, item: Item, proved: Arrived | None) -> Arrived | None:
    """The local file went away since, or cannot be read: the copy counts where it carries the mtime of the version, too."""
    found = listing.look([item.path]).entries.get(item.path)
    if proved is None:
        return _listed(item, found)
    same = found is not None and found.content.checksum == stat_content(item.version.size, item.version.mtime_ns)
    return proved if same else None


def _skipped_alone(item: Item, path: str, code: str) -> Outcome:
    if code == "PERMISSION_DENIED":
        hint = f"make it readable for the user that the source collection runs as, {_RETRY}"
        return Undeliverable(item.file, "the source collection may not read it", hint)
    hint = f"compare source_root and source_path with what the collection shows, {_RETRY}"
    return Undeliverable(
        item.file, f"the source collection says of {path!r}: {in_words(code)}, though it is here", hint
    )


def _pages(
    ask: Ask[Any], operation: str, call: Callable[[TransferClient, dict[str, Any]], GlobusHTTPResponse]
) -> Iterator[Mapping[str, Any]]:
    """All entries of a list that is paged by markers. A list that the service no longer has is empty. Raises Transient, Refused."""
    more: dict[str, Any] = {}
    seen: set[str] = set()

    def page(tc: TransferClient) -> tuple[list[dict[str, Any]], str | None]:
        answer = call(tc, more)
        marker = document(answer).get("next_marker")
        if isinstance(marker, dict | list | bool):
            raise ValueError("no such marker")
        return rows(answer), None if marker is None else str(marker)

    for _ in range(_PAGES):
        try:
            entries, marker = ask(operation, page)
        except (NotThere, Rejected):
            return
        yield from entries
        if marker is None:
            return
        if marker in seen:
            break
        seen.add(marker)
        more = {"marker": marker}
    raise Transient(f"Globus gives a list without an end ({operation})")


def moved_files(ask: Ask[Any], task: str, wanted: Container[str]) -> dict[str, Moved]:
    """Destination path → what the service says of it, of those that are wanted. Raises Transient, Refused.

    A line with a field of another type proves nothing.
    """
    found: dict[str, Moved] = {}
    for line in _pages(ask, "successful_transfers", lambda tc, more: tc.task_successful_transfers(task, **more)):
        path, size, named = line.get("destination_path"), line.get("size"), line.get("checksum_algorithm")
        if not isinstance(path, str) or path not in wanted or type(size) not in (int, NoneType):
            continue
        algorithm = (named if isinstance(named, str) else "").lower() or "md5"
        checksum = _checksum(line.get("checksum"), algorithm)
        if checksum is None and size == 0:
            checksum, algorithm = hashlib.md5(usedforsecurity=False).digest(), "md5"  # there is only one empty file
        found[path] = Moved(size, checksum, algorithm)
    return found


def _checksum(text: object, algorithm: str) -> bytes | None:
    """None where there is none: nothing, blanks, no notation that we know, or a part of what the algorithm makes."""
    try:
        found = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    known = _ALGORITHM.fullmatch(algorithm) is not None and algorithm != STAT
    return found if known and found and len(found) == _LENGTHS.get(algorithm, len(found)) else None


def skipped_files(ask: Ask[Any], task: str) -> dict[str, str]:
    """Source path → code of what was skipped because of an error. Raises Transient, Refused."""
    lines = _pages(ask, "skipped_errors", lambda tc, more: tc.task_skipped_errors(task, **more))
    return {str(line["source_path"]): str(line.get("error_code")) for line in lines if line.get("source_path")}
