"""From a collection to a local directory: a transfer task into a folder beside, then proof, then the final names."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from agent.destinations import Item
from agent.destinations.globus import tasks
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.listing import Ask, Entry, Listing
from agent.destinations.globus.proof import Moved, moved_files, skipped_files
from agent.destinations.globus.request import deserialize, limit_task_size, serialize, transfer_item
from agent.destinations.globus.session import NotThere, document
from agent.destinations.sources import item_bulkhead
from agent.errors import Refused, Transient
from agent.files import LOCAL, Absent, CannotTell, Tree, Trouble, What, Whose
from agent.files.reader import checksum_of
from agent.host.bulkhead import Bulkhead, Failure
from rules.globus.collection import joined, uncarriable
from rules.globus.task import Reading, Stage, in_words
from rules.model import OWN_PREFIX, Content, FileId, Kind, Observation, Version

log = logging.getLogger(__name__)
_CHECKSUMS = ("md5", "sha256")
"""Algorithms of the service that we can compute, too."""
_LONGEST_PATH = 4096
"""Letters of a path. A collection without an end of directories in directories is not followed further."""


class Inbound:
    """One path at a destination that is fetched into one local directory."""

    def __init__(
        self, name: str, collection_path: CollectionPath, ask: Ask[Any], source: str, target: str, label: str,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """
        Args:
            name: of the destination.
            collection_path: as files travel to it.
            ask: sends requests.
            source: path at the destination; empty: all of it.
            target: an existing local directory. What comes is in a folder of the agent's own there until it is proved.
            label: what the tasks are found by; no other fetch has it.
            clock: seconds since the epoch.

        Raises Refused where the source collection does not show the directory.
        """
        self._name = name
        self._collection_path = collection_path
        self._ask = ask
        self._source = source
        self._target = target
        self._label = label
        self._clock = clock
        self._folder = f"{OWN_PREFIX}-{label.removeprefix('Dropline ').replace(' ', '-')}"
        """Beside what has its final name: for what is not proved yet."""
        self._staging = f"{target}/{self._folder}"
        back = collection_path.back(self._staging)
        if back is None:
            raise Refused(
                f"{target} is not below {collection_path.source_root}, which the source collection of {name} shows",
                "mend source_root and source_path, or fetch into another directory",
            )
        self._back = back
        self._listing = Listing(ask, collection_path.collection, collection_path.path)
        self._entries = Bulkhead[tuple[str, Entry]]("fetching of", lambda found: found[0])
        self._placing = Bulkhead[str]("fetching of", str, through=(Trouble, Transient, Refused))
        self._clearing = Bulkhead[str]("removal of", str)
        self.arrived: dict[str, int] = {}
        """Path → bytes of what was fetched."""
        self.present: set[str] = set()
        """What is here already."""
        self.refused: dict[str, str] = {}
        """What is not fetched, and why."""

    # What to fetch

    def serialize(self) -> bytes | None:
        """A request for what is not here yet; None: nothing is left. Raises Transient, Refused."""
        parent = self._source.rpartition("/")[0]
        root = joined(self._collection_path.path, parent)
        items: list[Item] = []
        for each in self._entries.each(self._found(), failed=self._not_fetched):
            with each as (path, entry):
                relpath = self._relpath(path)
                if relpath in self.refused or relpath in self.arrived or relpath in self.present:
                    continue
                said = uncarriable(f"{self._target}/{relpath}") or self._local(relpath, entry)
                if said is not None:
                    self.refused[relpath] = said
                elif relpath not in self.present:
                    version = Version(entry.size, entry.mtime * 1_000_000_000, 0, FileId(0))
                    items.append(Item(len(items), root, relpath, version, relpath))
        data = []
        for request in item_bulkhead().each(
            limit_task_size(items), failed=lambda item, failure: self.refused.update({item.relpath: failure.reason})
        ):
            with request as item:
                data.append(transfer_item(self._back, item))
        if not data:
            return None
        submission = str(self._ask("submission_id", lambda tc: document(tc.get_submission_id(), "value"))["value"])
        now = datetime.fromtimestamp(self._clock(), UTC)
        return serialize(self._back, data, submission, self._label, now)

    def _relpath(self, path: str) -> str:
        """The path here, relative to the local directory, of one at the destination."""
        parent = self._source.rpartition("/")[0]
        return path[len(parent) + 1 :] if parent else path

    def _not_fetched(self, found: tuple[str, Entry], failure: Failure) -> None:
        self.refused[self._relpath(found[0])] = failure.reason

    def _found(self) -> Iterator[tuple[str, Entry]]:
        """(path, entry) of the files at and below the source."""
        if self._source:
            top = self._listing.stat(self._source)
            if top is None:
                raise Refused(f"nothing is at {self._name}:{self._source}", f"`dropline ls {self._name}` shows what is")
            if top.kind != "dir":
                yield self._source, top
                return
        waiting = [self._source]
        while waiting:
            directory = waiting.pop()
            try:
                entries = list(self._listing.names(directory))
            except NotThere:
                continue  # it is gone
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.name.startswith(OWN_PREFIX):
                    continue
                if "/" in entry.name or entry.name in (
                    "",
                    ".",
                    "..",
                ):  # a server may say anything: it must not lead out
                    self.refused[path] = "that is no name"
                elif entry.kind == "dir" and uncarriable(path) is None and len(path) < _LONGEST_PATH:
                    waiting.append(path)
                else:
                    yield path, entry

    def _local(self, relpath: str, entry: Entry) -> str | None:
        """Why it cannot be fetched. What is here with its size and mtime is noted."""
        if entry.kind != "file":
            return f"a {entry.kind}, not a file"
        here = LOCAL.look(f"{self._target}/{relpath}")
        if isinstance(here, CannotTell):
            return here.reason
        if isinstance(here, Absent):
            return self._in_the_way(relpath)
        if here.kind is not Kind.FILE or here.version.size != entry.size:
            return "other content has this name here; move it away, or fetch into another directory"
        if here.version.mtime_ns // 1_000_000_000 == entry.mtime:
            self.present.add(relpath)
        return None  # else its content is compared with what comes

    def _in_the_way(self, relpath: str) -> str | None:
        """Why the directory of a file cannot be made here."""
        above = relpath.rpartition("/")[0]
        while above:
            seen = LOCAL.look(f"{self._target}/{above}")
            if isinstance(seen, Observation):
                in_the_way = f"a {seen.kind} has the name of its directory {above!r} here"
                return None if seen.kind is Kind.DIRECTORY else in_the_way
            above = above.rpartition("/")[0]
        return None

    # Under way

    def submit(self, request: bytes) -> str:
        """Send it, or send it again: the name of the task. Raises Transient (Rejected among it), Refused."""
        try:
            with LOCAL.tree(self._target) as target:
                target.make_directory(self._folder)
        except Trouble as trouble:
            raise self._unusable(trouble) from None
        return tasks.hand_in(self._ask, request).task

    def reading(self, task: str) -> Reading:
        """What the task is doing. Raises Transient, Refused."""
        found = tasks.documents(self._ask, [task]).get(task)
        if isinstance(found, Exception):
            raise found
        if found is None:
            return Reading(Stage.FAILED, f"Globus does not know task {task} any more")
        reading = tasks.reading(found)
        if reading.stage is Stage.SUSPENDED:
            tasks.cancel(self._ask, task)
        return reading

    # Proof

    def take_in(self, request: bytes, task: str, ended: Reading) -> None:
        """A task has ended: what is proved gets its name; the rest is reported. Raises Transient, Refused."""
        sent = {one["destination_path"]: one["source_path"] for one in deserialize(request)["DATA"]}
        lines = moved_files(self._ask, task, sent)
        passed = skipped_files(self._ask, task) if len(lines) < len(sent) else {}
        try:
            with LOCAL.tree(self._target) as target:
                target.make_directory(self._folder)  # where somebody has tidied up: then nothing has arrived
                target.sync_volumes([self._folder])  # before the names: what has its name is whole after a power cut
                beside = len(self._back.path.rstrip("/")) + 1
                for each in self._placing.each(
                    sent, failed=lambda path, failure: self.refused.update({path[beside:]: failure.reason})
                ):
                    with each as path:
                        if path in lines:
                            try:
                                self._place(target, path[beside:], lines[path])
                            except Trouble as trouble:
                                if trouble.whose is not Whose.FILE:
                                    raise
                                self.refused[path[beside:]] = trouble.reason
                        else:
                            code = passed.get(sent[path])
                            said = in_words(code) if code else ended.reason or "the task told nothing of it"
                            self.refused[path[beside:]] = f"Globus task {task}: {said}"
                target.sync_volumes([""])
        except Trouble as trouble:
            raise self._unusable(trouble) from None

    def _unusable(self, trouble: Trouble) -> Refused:
        return Refused(f"{self._target}: {trouble.reason}", "mend that, and fetch again")

    def _size(self, relpath: str, line: Moved) -> int | None:
        """Bytes that the file has at the destination, as the service says; None: it does not. Raises Transient, Refused."""
        if line.size is not None:
            return line.size
        parent = self._source.rpartition("/")[0]
        found = self._listing.stat(f"{parent}/{relpath}" if parent else relpath)
        return found.size if found is not None and found.size >= 0 else None

    def _place(self, target: Tree, relpath: str, line: Moved) -> None:
        """Give one file its name, if it is what was sent, and nothing else has the name. Raises Trouble."""
        staged, size = f"{self._folder}/{relpath}", self._size(relpath, line)
        if size is None:
            self.refused[relpath] = "the service does not say how large it is, so nothing proves that it is whole"
            return
        proved = _is(target, staged, line, size)  # None: a former run, killed since, may have given it its name
        if proved is False:
            self.refused[relpath] = "what arrived is not what was sent; fetch it again"
            return
        if proved:
            try:
                target.rename_new(staged, relpath)
            except Trouble as trouble:
                if trouble.what is not What.EXISTS:
                    raise
            else:
                self.arrived[relpath] = size
                return
        same = _is(target, relpath, line, size)
        if same is None:
            self.refused[relpath] = "it did not arrive; fetch it again"
        elif same and (line.checksum is not None or proved is None or _alike(target, staged, relpath, size)):
            self.present.add(relpath)
        else:
            self.refused[relpath] = "other content has this name here; move it away, or fetch into another directory"

    def clear(self) -> None:
        """Remove the folder of what was not proved, as far as that can be done."""
        with suppress(Trouble), LOCAL.tree(self._target) as target:
            directories = []
            waiting = [self._folder]
            while waiting:
                directory = waiting.pop()
                directories.append(directory)
                with suppress(Trouble):
                    for each in self._clearing.each([f"{directory}/{name}" for name in target.names(directory)]):
                        with each as path, suppress(Trouble):
                            seen = target.look(path)
                            if isinstance(seen, Observation) and seen.kind is Kind.DIRECTORY:
                                waiting.append(path)
                            else:
                                target.unlink(path)
            for each in self._clearing.each(reversed(directories)):
                with each as path, suppress(Trouble):
                    target.remove_directory(path)


def _is(tree: Tree, path: str, line: Moved, size: int) -> bool | None:
    """Whether a file is what the service says it sent; None: nothing has the name. Raises Trouble."""
    seen = tree.look(path)
    if isinstance(seen, Absent):
        return None
    if isinstance(seen, CannotTell):
        raise seen.trouble
    if seen.kind is not Kind.FILE or seen.version.size != size:
        return False
    if line.checksum is None or line.algorithm not in _CHECKSUMS:
        return True  # the service compared it itself
    with tree.open(path, seen) as handle:
        return checksum_of(handle, line.algorithm, size) == Content(line.checksum, size)


def _alike(tree: Tree, one: str, other: str, size: int) -> bool:
    """Whether two files have the same content. Raises Trouble."""
    made = []
    for path in (one, other):
        with tree.open(path) as handle:
            made.append(checksum_of(handle, "sha256", size))
    return made[0] == made[1]
