"""The embedded transport: a mounted share or a local folder.

A file becomes visible at the destination only when it is whole: it is written under a temporary name in the directory
where it will be, made durable, read back and compared, and then renamed, never onto something that is not ours.
"""

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from agent.destinations import Accepted, Item, LinkItem, Outcome, Prepared, Report, Reread, Undeliverable, Wake
from agent.destinations.directory.opening import Place
from agent.destinations.directory.parts import GROUP_BYTES, LANES, Part, Task, Waiting, lane, split
from agent.destinations.directory.place import shows, there
from agent.destinations.directory.prove import reread
from agent.destinations.directory.worker import JOBS, main
from agent.destinations.directory.writer import Written, write
from agent.errors import Transient, is_agents
from agent.files import LOCAL
from agent.files.reader import ChecksumName
from agent.host.bulkhead import Bulkhead, Failure, reason_of
from agent.host.heartbeat import Heartbeat, Stall
from agent.host.rate_limiter import limited
from agent.host.worker_process import ENDS_WITHIN, STANDS_AFTER, WorkerProcess, WorkerProcesses, release
from rules.model import Version
from rules.rate import Limit
from rules.versions.copies import Confirmed, LocalFile

BULK_FILES = 64
"""At least so many small files at once go to a helper process; fewer are not worth starting one."""
_MODULE = main.__module__
"""Of the worker processes."""
_WITHIN = 5.0
"""Seconds in which a question that somebody waits for is to be answered."""
_THREADS = 2
"""Helper processes, and threads for each kind of large files: no kind of file waits for another."""

log = logging.getLogger(__name__)

Hold = Callable[[], int]
"""→ the descriptor of the destination's lock. Raises Transient while a process of a former run has it."""


class _Group:
    """Files that are being written: for which tasks, and do they move?"""

    def __init__(self, tasks: Sequence[Task], still: Callable[[float], Stall | None]) -> None:
        self.tasks = tasks
        self.still = still


class DirectoryTransport:
    """Delivers into a directory. See `agent.destinations.Transport` for the promises."""

    outstanding = 32
    task_files = task_bytes = 0
    is_service = False
    location: str | None = None
    check_every = 30.0
    retry_at_most = 60.0

    def __init__(
        self,
        name: str,
        path: str,
        verify: str,
        checksum: ChecksumName,
        key: str,
        wake: Wake,
        hold: Hold | None = None,
        limits: Sequence[Limit] = (),
        may_hang: Callable[[str], bool] = lambda path: LOCAL.volume(path).may_hang,
        mounted: bool | None = None,
        dir_mode: int | None = None,
        mode: int | None = None,
        group: int | None = None,
    ) -> None:
        """
        Args:
            name: of the destination.
            path: absolute path of the directory.
            verify: "checksum" reads every file back before it becomes visible; "size" compares its size.
            checksum: algorithm of the evidence.
            key: of this agent, for temporary names; many may share a destination.
            wake: called when there are reports.
            hold: takes the lock of the destination; None: there is none, for nobody else writes there.
            limits: how fast files may go.
            may_hang: whether what a path leads to may hang; helper processes then do what is to be done there.
            mounted: True: only while a file system is mounted on the way there.
            dir_mode: permissions of the directories that are made; None: those of the directories that they stand for.
            mode: permissions of files; None: those of the files that they are copies of.
            group: number of the group of both; None: the one that the file system gives.
        """
        self.name = name
        self.address = path
        self._place = Place(name, path, None, verify, checksum, key, mounted, dir_mode, mode, group)
        self._wake = wake
        self._hold = hold
        self._held: int | None = None
        self._may_hang = may_hang
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._waiting = Waiting(_THREADS)
        self._lock = threading.Lock()
        self._groups: set[_Group] = set()
        """What is written now."""
        self._notes: dict[str, str] = {}
        """Task → what holds it up."""
        self._helpers = WorkerProcesses(_MODULE, _THREADS, name, self._keep)
        self._rate_limiter = limited(limits)
        self._limits = limits
        self._hand = WorkerProcess(_MODULE, self._keep, limits)
        """Does what is not bulk."""
        self._eye = WorkerProcess(_MODULE, tuple, limits)
        """Only reads, for reclaim: it needs no lock."""
        self._large = [ThreadPoolExecutor(_THREADS, f"{name}-large-{number}") for number in range(LANES)]

    def set_up(self) -> str:
        """Read the identity file, or make one where the directory has none. Raises Transient."""
        self._keep()
        identity, made = self._ask(self._hand, "set_up", self._place)
        if made:
            log.warning("set up %s as destination %s (identity %s)", self.address, self.name, identity)
        return str(identity)

    def check(self, expected: str) -> None:
        """Raise Transient unless the directory answers, carries this identity, and nobody else writes there."""
        self._keep()
        self._ask(self._hand, "check", self._at(expected))
        for group in list(self._groups):
            found = group.still(STANDS_AFTER)
            if found is not None and found.where == self.address:
                raise Transient(str(found))

    def _at(self, identity: str) -> Place:
        return self._place._replace(identity=identity)

    def _keep(self) -> Sequence[int]:
        """Hold the lock, from the first time on that something may be written. Raises Transient."""
        if self._hold is None:
            return ()
        with self._lock:
            if self._held is None:
                self._held = self._hold()
            return (self._held,)

    def _ask(self, helper: WorkerProcess, job: str, *words: Any) -> Any:
        """Have something done, by a helper where it may hang. Raises Transient."""
        if self._may_hang(self.address):
            return helper.ask(job, *words)
        return JOBS[job](*words, Heartbeat(self._rate_limiter))

    def prepare(self, delivery: int, label: str, items: Sequence[Item], expected: str) -> Prepared:
        """Only a name: temporary names follow from the files' numbers, so sending again reuses them."""
        return Prepared(json.dumps({"delivery": delivery}).encode())

    def submit(self, request: bytes, items: Sequence[Item], expected: str, task: str | None = None) -> Accepted:
        """Queue the files, small ones in groups, large ones singly."""
        name = str(json.loads(request)["delivery"])
        large, small = split(name, items, self._rate_limiter.together(GROUP_BYTES))
        if not items:
            self._report(Report(name, (), ended=True))
        if self._rate_limiter.stopping:
            raise Transient("the agent stops")
        place = self._at(expected)
        for part in large:
            self._large[lane(part.bytes)].submit(self._run, place, [part], self._hand)
        for _ in range(self._waiting.add(small)):
            self._helpers.threads.submit(self._write_waiting, place)
        return Accepted(name)

    def reports(self, now: float) -> list[Report]:
        """What happened since the last call."""
        held_up = self._held_up()  # first: what is taken out of the queue must not be lost where this fails
        found: list[Report] = []
        while not self._reports.empty():
            found.append(self._reports.get())
        return held_up + found

    def _held_up(self) -> list[Report]:
        """Which tasks stand still, and which of them move again."""
        notes: dict[str, str] = {}
        for group in list(self._groups):
            where = group.still(STANDS_AFTER)
            if where is not None:
                notes |= {task.name: str(where) for task in group.tasks}
        news = {name: notes.get(name) for name in notes.keys() | self._notes.keys()}
        told, self._notes = self._notes, notes
        return [Report(name, (), ended=False, note=note) for name, note in news.items() if note != told.get(name)]

    def due(self) -> None:
        """Never: its threads wake."""

    def _report(self, report: Report) -> None:
        self._reports.put(report)
        self._wake()

    def _write_waiting(self, place: Place) -> None:
        """Write small files of as many tasks as wait, together, until none wait. Runs in a pool."""
        while parts := self._waiting.take(self._rate_limiter.together(GROUP_BYTES)):
            # Where a helper keeps to limits, all goes through the same one: so the sum counts.
            bulk = sum(len(part.items) for part in parts) >= BULK_FILES
            alone = bool(self._limits) and self._may_hang(self.address)
            self._run(place, parts, self._helpers.mine if bulk and not alone else self._hand)

    def _run(self, place: Place, parts: Sequence[Part], helper: WorkerProcess) -> None:
        """Have files of one or more tasks written, and report to each. Runs in a pool."""
        items = [item for task, group in parts if task.failure is None or task.alone for item in group]
        outcomes: dict[int, Outcome] = {}
        failed: dict[int, str] = {}
        failures: list[str] = []

        def write(some: Sequence[Item]) -> None:
            found = self._write(place, some, [task for task, _ in parts], helper)
            outcomes.update((one.file, one) for one in found.outcomes)
            failed.update(found.failed)
            failures.extend([found.failure] if found.failure is not None else [])

        def unforeseen(item: Item, failure: Failure) -> None:
            outcomes[item.file] = Undeliverable(item.file, failure.reason, "look at it, then `dropline retry`")

        alone = Bulkhead[Item]("file", lambda item: f"{item.root}/{item.relpath}", through=(Transient,))
        try:
            if self._rate_limiter.stopping:
                failures.append("the agent stops")
            else:
                alone.together(items, write, failed=unforeseen)
        except Exception as error:
            # The boundary of the pool: a task must end, whatever happened.
            if not is_agents(error):
                failures.append(reason_of(error))
            elif not isinstance(error, Transient):
                log.exception("%s: files cannot be delivered now", self.name)
            failed.update((item.file, reason_of(error)) for item in items)
        for task, group in parts:
            done = [outcomes[item.file] for item in group if item.file in outcomes]
            with task.lock:
                task.left -= 1
                if len(done) < len(group):
                    task.failed(next(iter(failures), None), [failed[one.file] for one in group if one.file in failed])
                ended = task.left == 0
                self._report(Report(task.name, done, ended, task.failure if ended else None, alone=task.alone))

    def _write(self, place: Place, items: Sequence[Item], tasks: Sequence[Task], helper: WorkerProcess) -> Written:
        """Have files written: by a helper where that may hang, or where there are many. Raises Transient."""
        if helper is not self._hand or self._may_hang(self.address):
            self._wait_for_turn(items, helper)
            call = helper.begin("write", place, items)
            with self._under_way(_Group(tasks, lambda after: helper.still(call, after))):
                written: Written = helper.result(call)
        else:
            heartbeat = Heartbeat(self._rate_limiter)
            with self._under_way(_Group(tasks, heartbeat.still)):
                written = write(place, items, heartbeat)
        return written

    def _wait_for_turn(self, items: Sequence[Item], helper: WorkerProcess) -> None:
        """Raises Transient once the agent stops."""
        self._rate_limiter.go_on()
        if helper is not self._hand:  # that one applies the limits
            size = sum(item.version.size for item in items)
            self._rate_limiter.wrote(size)
            if self._place.verify != "size":
                self._rate_limiter.read(size)

    @contextmanager
    def _under_way(self, group: _Group) -> Iterator[None]:
        self._groups.add(group)
        try:
            yield
        finally:
            self._groups.discard(group)

    def discard(self, files: Sequence[tuple[int, str]]) -> None:
        """Remove temporary files of intents that nobody carries out."""
        self._ask(self._hand, "discard", self._place, list(files))

    def make_link(self, link: LinkItem, expected: str) -> str | None:
        """Make it, or find it there. Raises Transient."""
        self._keep()
        found: str | None = self._ask(self._hand, "make_link", self._at(expected), link)
        return found

    def confirm(
        self, path: str, version: Version, checksum: bytes, algorithm: str, expected: str,
        local: LocalFile | None = None, mount: str | None = None,
    ) -> Confirmed:  # fmt: skip
        """Read the copy again and compare (with verify = "size": compare the size)."""
        self._rate_limiter.ask(0)  # not while it is paused
        words = self._at(expected), path, version.size, checksum, algorithm, local, mount
        found: Confirmed = self._ask(self._eye, "confirm", *words)
        return found

    def reread(
        self, path: str, version: Version, checksum: bytes, algorithm: str, expected: str, tell: Callable[[int], object]
    ) -> Reread:
        """Read the copy and compare its checksum, whatever `verify` says. Raises Transient."""
        self._rate_limiter.ask(0)
        words = self._at(expected), path, version.size, checksum, algorithm
        if not self._may_hang(self.address):
            return reread(*words, Heartbeat(self._rate_limiter), tell)
        found: Reread = self._eye.ask("reread", *words, waiting=lambda: tell(0))
        tell(version.size if found.copy_status.well else 0)
        return found

    def pause(self) -> None:
        """Files under way stand still where they are, but for small ones that a helper process has."""
        self._rate_limiter.pause()
        self._hand.pause()

    def resume(self) -> None:
        """They go on."""
        self._hand.resume()
        self._rate_limiter.resume()

    def close(self) -> None:
        """Let the files under way end; what is queued stays for the next run. What hangs is left behind."""
        self._rate_limiter.stop()
        helpers = [self._hand, self._eye, *self._helpers.all]
        for one in helpers:
            one.end()
        deadline = time.monotonic() + ENDS_WITHIN
        for one in helpers:
            one.leave(deadline)
        for pool in (self._helpers.threads, *self._large):
            pool.shutdown(cancel_futures=True)
        for one in self._helpers.all:
            one.end()  # it may have been begun just now
        if self._held is not None:
            release(self._held)
            self._held = None


def reachable(path: str) -> bool | None:
    """Whether there is a directory; None: the path leads to what does not answer within seconds."""
    if not LOCAL.volume(path).may_hang:
        return there(path, Heartbeat())
    try:
        return bool(_asked("there", path))
    except Transient:
        return None


def is_destination(place: Place, directory: str) -> bool:
    """Whether a directory is the destination, by whatever mount. Raises Transient where that cannot be told."""
    if not LOCAL.volume(place.path).may_hang:
        return shows(place, directory, Heartbeat())
    return bool(_asked("shows", place, directory))


def _asked(job: str, *words: Any) -> Any:
    """The answer of a worker process that ends after it. Raises Transient where none comes within seconds."""
    worker = WorkerProcess(_MODULE, tuple)
    try:
        return worker.ask(job, *words, within=_WITHIN)
    finally:
        worker.end()
        worker.leave(time.monotonic())
