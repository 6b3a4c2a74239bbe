"""From a collection to a local directory: a transfer task into a folder beside, then proof, then the final names."""

import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from agent.destinations import Item
from agent.destinations.globus import tasks
from agent.destinations.globus.course import Course
from agent.destinations.globus.listing import Ask, Entry, Listing
from agent.destinations.globus.proof import Moved, moved_files, skipped_files
from agent.destinations.globus.request import freeze, modest, thaw
from agent.destinations.globus.session import NotThere, document
from agent.errors import Refused, cause
from agent.files.posix import durable as disk
from agent.files.posix.tree import Tree
from agent.files.reader import checksum_of
from rules.globus.collection import joined, uncarriable
from rules.globus.task import Reading, Stage, in_words
from rules.model import OWN_PREFIX, Version

log = logging.getLogger(__name__)
_CHECKSUMS = ("md5", "sha256")
"""Algorithms of the service that we can compute, too."""


class Inbound:
    """One path at a destination that is fetched into one local directory."""

    def __init__(
        self, name: str, course: Course, ask: Ask[Any], source: str, target: str, label: str,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """
        Args:
            name: of the destination.
            course: as files travel to it.
            ask: sends requests.
            source: path at the destination; empty: all of it.
            target: an existing local directory. What comes is in a folder of the agent's own there until it is proved.
            label: what the tasks are found by; no other fetch has it.
            clock: seconds since the epoch.

        Raises Refused where the source collection does not show the directory.
        """
        self._name = name
        self._course = course
        self._ask = ask
        self._source = source
        self._target = target
        self._label = label
        self._clock = clock
        self._staging = f"{target}/{OWN_PREFIX}-{label.removeprefix('Dropline ').replace(' ', '-')}"
        back = course.back(self._staging)
        if back is None:
            raise Refused(
                f"{target} is not below {course.source_root}, which the source collection of {name} shows",
                "mend source_root and source_path, or fetch into another directory",
            )
        self._back = back
        self._listing = Listing(ask, course.collection, course.path)
        self.arrived: dict[str, int] = {}
        """Path → bytes of what was fetched."""
        self.present: set[str] = set()
        """What is here already."""
        self.refused: dict[str, str] = {}
        """What is not fetched, and why."""

    # What to fetch

    def freeze(self) -> bytes | None:
        """A request for what is not here yet; None: nothing is left. Raises Transient, Refused."""
        parent = self._source.rpartition("/")[0]
        root = joined(self._course.path, parent)
        items: list[Item] = []
        for number, (path, entry) in enumerate(self._found()):
            relpath = path[len(parent) + 1 :] if parent else path
            if relpath in self.refused or relpath in self.arrived or relpath in self.present:
                continue
            said = uncarriable(f"{self._target}/{relpath}") or self._local(relpath, entry)
            if said is not None:
                self.refused[relpath] = said
            if said is not None or relpath in self.present:
                continue
            version = Version(entry.size, entry.mtime * 1_000_000_000, 0, 0)
            items.append(Item(number, root, relpath, version, relpath))
        chosen = modest(items)
        if not chosen:
            return None
        submission = str(self._ask("submission_id", lambda tc: document(tc.get_submission_id(), "value"))["value"])
        return freeze(self._back, chosen, {}, submission, self._label, datetime.fromtimestamp(self._clock(), UTC))

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
                continue  # it went away meanwhile
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
                    continue
                if entry.kind == "dir":
                    waiting.append(path)
                else:
                    yield path, entry

    def _local(self, relpath: str, entry: Entry) -> str | None:
        """Why it cannot be fetched. What is here with its size and mtime is noted."""
        if entry.kind != "file":
            return f"a {entry.kind}, not a file"
        try:
            here = os.lstat(f"{self._target}/{relpath}")
        except FileNotFoundError:
            return None
        except OSError as error:
            return cause(error)
        if not stat.S_ISREG(here.st_mode) or here.st_size != entry.size:
            return "other content has this name here; move it away, or fetch into another directory"
        if int(here.st_mtime) == entry.mtime:
            self.present.add(relpath)
        return None  # else its content is compared with what comes

    # Under way

    def submit(self, request: bytes) -> str:
        """Send it, or send it again: the name of the task. Raises Transient (Rejected among it), Refused."""
        try:
            with Tree(self._target) as target:
                self._stage(target)
        except OSError as error:
            raise self._unusable(error) from None
        return tasks.hand_in(self._ask, request).task

    def reading(self, task: str) -> Reading:
        """What the task is doing. Raises Transient, Refused."""
        found = tasks.documents(self._ask, [task]).get(task)
        if found is None:
            return Reading(Stage.FAILED, f"Globus does not know task {task} any more")
        reading = tasks.reading(found)
        if reading.stage is Stage.SUSPENDED:
            tasks.cancel(self._ask, task)
        return reading

    # Proof

    def take_in(self, request: bytes, task: str, ended: Reading) -> None:
        """A task has ended: what is proved gets its name; the rest is told of. Raises Transient, Refused."""
        sent = {one["destination_path"]: one["source_path"] for one in thaw(request)["DATA"]}
        wanted = {path: self._staged(number, path) for number, path in enumerate(sent)}
        lines = moved_files(self._ask, task, wanted)
        passed = skipped_files(self._ask, task) if len(lines) < len(sent) else {}
        try:
            with Tree(self._target) as target:
                # Made, where somebody has tidied up: then nothing has arrived.
                disk.sync_file_systems(
                    [self._stage(target)]
                )  # before the names: what has its name is whole after a power cut
                for path, item in wanted.items():
                    if path in lines:
                        self._place(target, item.relpath, lines[path])
                    else:
                        code = passed.get(sent[path])
                        said = in_words(code) if code else ended.reason or "the task told nothing of it"
                        self.refused[item.relpath] = f"Globus task {task}: {said}"
                disk.sync_file_systems([target.fd])
        except OSError as error:
            raise self._unusable(error) from None

    def _stage(self, target: Tree) -> int:
        """The folder beside, made where it is absent. Raises OSError, also where a link has its name."""
        return target.directory(os.path.basename(self._staging), make=True)

    def _unusable(self, error: OSError) -> Refused:
        return Refused(f"{self._target}: {cause(error)}", "mend that, and fetch again")

    def _staged(self, number: int, path: str) -> Item:
        relpath = path[len(self._back.path.rstrip("/")) + 1 :]
        try:
            size = os.lstat(f"{self._staging}/{relpath}").st_size
        except OSError:
            size = 0  # it is missed when its turn comes
        return Item(number, self._staging, relpath, Version(size, 0, 0, 0), relpath)

    def _place(self, target: Tree, relpath: str, line: Moved) -> None:
        """Give one file its name, if it is what was sent, and nothing else has the name."""
        try:
            at, name = target.place(f"{os.path.basename(self._staging)}/{relpath}")
            proved = _is(at, name, line)
        except FileNotFoundError:
            proved = None  # a former run, killed since, may have given it its name
        if proved is False:
            self.refused[relpath] = "what arrived is not what was sent; fetch it again"
            return
        to, final = target.place(relpath, make=True)
        try:
            if proved:
                disk.rename_new(name, final, at, to)
                self.arrived[relpath] = line.size
                return
        except FileExistsError:
            pass  # compared below
        try:
            told = line.checksum is not None or proved is None
            same = _is(to, final, line) and (told or _alike((at, name), (to, final), line.size))
        except FileNotFoundError:
            self.refused[relpath] = "it did not arrive; fetch it again"
            return
        if same:
            self.present.add(relpath)
        else:
            self.refused[relpath] = "other content has this name here; move it away, or fetch into another directory"

    def clear(self) -> None:
        """Remove the folder of what was not proved."""
        shutil.rmtree(self._staging, ignore_errors=True)


def _is(directory: int, name: str, line: Moved) -> bool:
    """Whether a file is what the service says it sent. Raises OSError."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != line.size:
            return False
        if line.checksum is None or line.algorithm not in _CHECKSUMS:
            return True  # the service compared it itself
        return checksum_of(fd, line.algorithm, line.size) == line.checksum
    finally:
        os.close(fd)


def _alike(one: tuple[int, str], other: tuple[int, str], size: int) -> bool:
    """Whether two files have the same content. Raises OSError."""
    made = []
    for directory, name in (one, other):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        try:
            made.append(checksum_of(fd, "sha256", size))
        finally:
            os.close(fd)
    return made[0] == made[1]
