"""The embedded transport: a mounted share or a local folder.

A file becomes visible at the destination only when it is whole: it is written under a temporary name in the directory
where it will be, made durable, read back and compared, and then renamed, never onto something that is not ours.
"""

import json
import logging
import os
import queue
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from agent import disk, mounts
from agent.errors import Transient, cause
from agent.transport import Item, Prepared, Report, Reread, Taken, Wake
from agent.transport.group import IDENTITY, NOT_THERE, Place, Written, identity, remove_temporary, require, write
from agent.transport.helpers import Helpers
from agent.transport.pace import Pace
from agent.transport.rereading import reread
from agent.transport.source import ChecksumName, checksum_of
from agent.tree import Tree
from rules.model import Verdict, Version

SMALL = 4 * 2**20
"""Bytes up to which files are staged together and made durable with one call."""
GROUP_FILES, GROUP_BYTES = 128, 32 * 2**20
BULK_FILES = 64
"""At least so many small files at once go to a helper process; fewer are not worth starting one."""
_LANES = 2
"""Helper processes, and threads for large files: neither kind of file waits for the other."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Task:
    """A submitted request: how many groups are still to come, and what went wrong."""

    name: str
    left: int
    failure: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_Part = tuple[_Task, list[Item]]
"""Files of a task that are written together."""


class DirectoryTransport:
    """Delivers into a directory. See `agent.transport.Transport` for the promises."""

    outstanding = 32
    elsewhere = False
    check_every = 30.0
    retry_at_most = 60.0

    def __init__(
        self,
        name: str,
        path: str,
        verify: str,
        checksum: ChecksumName,
        agent: str,
        wake: Wake,
        keep: Sequence[int] = (),
        pace: Pace | None = None,
    ) -> None:
        """
        Args:
            name: of the destination.
            path: absolute path of the directory.
            verify: "checksum" reads every file back before it becomes visible; "size" compares its size.
            checksum: algorithm of the evidence.
            agent: id of this agent; many may share a destination.
            wake: called when there are reports.
            keep: descriptors that helper processes inherit: the lock of the state directory.
            pace: how fast files may go; None: as fast as they will.
        """
        self.name = name
        self.address = path
        self._verify = verify
        self._checksum = checksum
        self._agent = agent[:12]
        self._wake = wake
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._waiting: deque[_Part] = deque()
        self._waiting_files = 0
        self._writing = 0
        """Threads that write small files now."""
        self._lock = threading.Lock()
        self._helpers = Helpers(_LANES, name, keep)
        self._large = ThreadPoolExecutor(_LANES, f"{name}-large")
        self._pace = pace or Pace()

    def set_up(self) -> str:
        """Read the identity file, or make one where the directory has none. Raises Transient."""
        missing = mounts.unmounted(self.address)
        if missing is not None:
            raise Transient(f"{self.address} is below {missing}, where fstab wants a file system, but none is mounted")
        try:
            with Tree(self.address) as tree:
                try:
                    return identity(tree)
                except FileNotFoundError:
                    pass
                made = str(uuid.uuid4())
                temporary = f"{IDENTITY}-{self._agent}.part"
                fd = disk.fresh(temporary, 0o644, tree.fd)
                try:
                    text = {
                        "dropline_destination": made,
                        "note": "Dropline writes here only while this file is here.",
                    }
                    os.write(fd, json.dumps(text).encode() + b"\n")
                    os.fsync(fd)
                finally:
                    os.close(fd)
                try:
                    disk.rename_new(temporary, IDENTITY, tree.fd, tree.fd)
                except FileExistsError:  # another agent was faster
                    os.unlink(temporary, dir_fd=tree.fd)
                    return identity(tree)
                disk.sync_directory(tree.fd)
        except OSError as error:
            raise Transient(f"{self.address}: {cause(error)}") from error
        log.warning("set up %s as destination %s (identity %s)", self.address, self.name, made)
        return made

    def check(self, expected: str) -> None:
        """Raise Transient unless the directory is there and carries this identity."""
        try:
            with Tree(self.address) as tree:
                require(tree, expected)
        except OSError as error:
            raise Transient(f"{self.address}: {cause(error)}") from error

    def prepare(self, delivery: int, batch: int, items: Sequence[Item], expected: str) -> Prepared:
        """Only a name: temporary names follow from the files' numbers, so sending again reuses them."""
        return Prepared(json.dumps({"delivery": delivery}).encode())

    def submit(self, request: bytes, items: Sequence[Item], expected: str, task: str | None = None) -> Taken:
        """Queue the files, small ones in groups, large ones singly."""
        name = str(json.loads(request)["delivery"])
        large = [[item] for item in items if item.version.size > SMALL]
        small = list(_groups([item for item in items if item.version.size <= SMALL], self._pace.together(GROUP_BYTES)))
        begun = _Task(name, len(large) + len(small))
        if not items:
            self._report(Report(name, (), ended=True))
        place = Place(self.name, self.address, expected, self._verify, self._checksum, self._agent)
        for group in large:
            self._large.submit(self._run, place, [(begun, group)], self._here)
        with self._lock:
            self._waiting.extend((begun, group) for group in small)
            self._waiting_files += sum(map(len, small))
            # Few files are written by one thread: each has the destination to open and its file system to sync.
            wanted = min(-(-self._waiting_files // GROUP_FILES), _LANES)
            more = max(wanted - self._writing, 0)
            self._writing += more
        for _ in range(more):
            self._helpers.threads.submit(self._write_waiting, place)
        return Taken(name)

    def reports(self, now: float) -> list[Report]:
        """What happened since the last call."""
        found: list[Report] = []
        while not self._reports.empty():
            found.append(self._reports.get())
        return found

    def due(self) -> None:
        """Never: its threads wake."""

    def _report(self, report: Report) -> None:
        self._reports.put(report)
        self._wake()

    def _here(self, place: Place, group: Sequence[Item]) -> Written:
        return write(place, group, self._pace)

    def _in_helper(self, place: Place, group: Sequence[Item]) -> Written:
        size = sum(item.version.size for item in group)
        try:
            self._pace.wrote(size)
            if self._verify != "size":
                self._pace.read(size)
        except Transient as error:
            return Written([], str(error))
        return self._helpers.write(place, group)

    def _write_waiting(self, place: Place) -> None:
        """Write small files of as many tasks as wait, together, until none wait. Runs in a pool."""
        while True:
            parts: list[_Part] = []
            count = held = 0
            most = self._pace.together(GROUP_BYTES)
            with self._lock:
                while self._waiting and count < GROUP_FILES and held < most:
                    parts.append(self._waiting.popleft())
                    count += len(parts[-1][1])
                    held += sum(item.version.size for item in parts[-1][1])
                self._waiting_files -= count
                if not parts:
                    self._writing -= 1
                    return
            self._run(place, parts, self._in_helper if count >= BULK_FILES else self._here)

    def _run(self, place: Place, parts: list[_Part], write_group: Callable[[Place, Sequence[Item]], Written]) -> None:
        """Have files of one or more tasks written, and report to each. Runs in a pool."""
        items = [item for task, group in parts if task.failure is None for item in group]
        if self._pace.stopping:
            written = Written([], "the agent stops")
        else:
            try:
                written = write_group(place, items)
            except Exception as error:
                # The boundary of the pool: a task must end, whatever happened.
                log.exception("%s: delivering failed unexpectedly", self.name)
                written = Written([], f"{type(error).__name__}: {error}")
        outcomes = {outcome.file: outcome for outcome in written.outcomes}
        for task, group in parts:
            done = [outcomes[item.file] for item in group if item.file in outcomes]
            with task.lock:
                task.left -= 1
                task.failure = task.failure or (written.failure if len(done) < len(group) else None)
                ended = task.left == 0
                self._report(Report(task.name, done, ended, task.failure if ended else None))

    def discard(self, files: Sequence[tuple[int, str]]) -> None:
        """Remove temporary files of intents that nobody carries out."""
        try:
            with Tree(self.address) as tree:
                for file, path in files:
                    remove_temporary(tree, self._agent, file, path)
        except OSError as error:
            raise Transient(f"{self.address}: {cause(error)}") from error

    def confirm(self, path: str, version: Version, checksum: bytes, algorithm: str, expected: str) -> Verdict:
        """Read the copy again and compare (with verify = "size": compare the size)."""
        size = version.size
        try:
            with Tree(self.address) as tree:
                require(tree, expected)
                try:
                    directory, name = tree.place(path)
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
                except OSError as error:
                    if error.errno not in NOT_THERE:
                        raise
                    return Verdict(False, f"at {self.name}, {path!r} is gone")
                try:
                    found = os.fstat(fd).st_size
                    if found != size:
                        return Verdict(False, f"at {self.name}, {path!r} has {found} bytes instead of {size}")
                    if self._verify != "size":
                        disk.drop_cache([fd])
                        if checksum_of(fd, algorithm, size, self._pace.ask) != checksum:
                            return Verdict(False, f"at {self.name}, {path!r} has other content than was delivered")
                finally:
                    os.close(fd)
        except OSError as error:
            raise Transient(f"{self.address}: {cause(error)}") from error
        return Verdict(True, f"at {self.name} as {path!r}")

    def reread(
        self, path: str, version: Version, checksum: bytes, algorithm: str, expected: str, tell: Callable[[int], object]
    ) -> Reread:
        """Read the copy and compare its checksum, whatever `verify` says. Raises Transient."""
        place = Place(self.name, self.address, expected, self._verify, self._checksum, self._agent)

        def passing(length: int) -> None:
            self._pace.ask(length)
            tell(length)

        return reread(place, path, version.size, checksum, algorithm, passing)

    def pause(self) -> None:
        """Files under way stand still where they are, but for small ones that a helper process has."""
        self._pace.pause()

    def resume(self) -> None:
        """They go on."""
        self._pace.resume()

    def close(self) -> None:
        """Let the files under way end; what is queued stays for the next run."""
        self._pace.stop()
        self._helpers.close()
        self._large.shutdown(cancel_futures=True)


def _groups(items: Sequence[Item], most: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    held = 0
    for item in items:
        group.append(item)
        held += item.version.size
        if len(group) >= GROUP_FILES or held >= most:
            yield group
            group, held = [], 0
    if group:
        yield group
