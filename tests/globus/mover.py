"""Whose turn it is: runs tasks, a few at once, and keeps what became of each file."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from tests.globus.auth import Auth
from tests.globus.clock import Clock
from tests.globus.collections import FileFault, fault
from tests.globus.faults import Faults
from tests.globus.job import DestinationFault, Held, Job
from tests.globus.submissions import Limits
from tests.globus.tasks import DAY, Item, Moved, Skipped, Task, Tasks

_SKIPPABLE = ("FILE_NOT_FOUND", "PERMISSION_DENIED", "AMBIGUOUS_PATH")


class Mover:
    """Works on the tasks that may run. `lock` guards all state that requests see; it is not held while bytes move."""

    def __init__(
        self, auth: Auth, tasks: Tasks, faults: Faults, limits: Limits, time: Clock, lock: threading.RLock
    ) -> None:
        self._auth = auth
        self._tasks = tasks
        self._faults = faults
        self._limits = limits
        self._clock = time
        self._lock = lock
        self._working = threading.Lock()

    def work(self, files: int | None = None) -> int:
        """Go on until every task is over or waits for something; or, after this many files, stop. Files dealt with.

        A file that cannot be dealt with is tried once in each call, and stays for the next.
        """
        left = files if files is not None else -1
        done = 0
        tried: set[str] = set()
        with self._working:
            while task := self._next(tried):
                tried.add(task.id)
                used = self._advance(task, left)
                done += used
                if left >= 0:
                    left -= used
                    if left == 0:
                        break
        return done

    def _next(self, tried: set[str]) -> Task | None:
        """A task that runs, or a queued one where there is room; oldest first."""
        with self._lock:
            self._tasks.expire()
            running: dict[tuple[str, str], int] = {}
            for task in self._tasks.unfinished():
                key = (task.owner.id, task.order.type)
                running[key] = running.get(key, 0) + 1
                if running[key] <= self._limits.running and task.id not in tried and self._ready(task):
                    return task
        return None

    def _ready(self, task: Task) -> bool:
        """Whether it may go on now; if not, it says why."""
        now = self._clock.now()
        ends = [end for end in (task.order.source, task.order.destination) if end is not None]
        if task.status != "ACTIVE":
            return False
        paused = any(end.paused is not None for end in ends)
        if paused != task.paused:
            task.paused = paused
            if task.order.deadline is None:
                task.deadline = max(task.deadline, now + (90 if paused else 1) * DAY)
            task.tell("PAUSED" if paused else "UNPAUSED", "; ".join(end.paused or "" for end in ends), now)
        if paused:
            return False
        if away := next((end for end in ends if not end.connected), None):
            if task.trouble != "GC_NOT_CONNECTED":
                task.stumble(
                    "GC_NOT_CONNECTED", f"Endpoint: {away.display_name} ({away.id})\nGlobus Connect is not running", now
                )
            return False
        return True

    def _advance(self, task: Task, most: int) -> int:
        """Deal with up to `most` files of a task (below 0: all). A round ends when each item left was tried once."""
        used = 0
        if task.todo is None:
            with self._lock:
                if not task.started:
                    task.started = True
                    task.tell("STARTED", '{\n  "type": "GridFTP Transfer",\n  "concurrency": 2\n}', self._clock.now())
                    todo: Iterable[Item] = task.order.items
                else:
                    todo, task.again = task.again, []
                task.todo = self._job(task).files(todo, lambda item, error: self._stumble(task, item, error))
        while used != most:
            item = next(task.todo or iter(()), None)
            if item is None:
                self._round_ends(task)
                break
            used += self._deal_with(task, item)
            if not task.unfinished:
                break
        return used

    def _round_ends(self, task: Task) -> None:
        with self._lock:
            task.todo = None
            if task.unfinished and not task.again:
                task.succeed(self._clock.now())

    def _deal_with(self, task: Task, item: Item) -> bool:
        """Whether it is dealt with."""
        try:
            done = self._job(task).do(item, self._faults.take(item.source, item.destination))
        except Held:
            with self._lock:
                task.again.append(item)
            return False
        except (FileFault, OSError) as error:
            self._stumble(task, item, fault(error) if isinstance(error, OSError) else error)
            return False
        with self._lock:
            if not task.unfinished:
                return False  # cancelled while the bytes moved: they stay, and nothing tells of them
            now = self._clock.now()
            if isinstance(done, Moved):
                task.moved.append(done)
                task.bytes_moved += done.size
            elif done == "skipped":
                task.files_skipped += 1
            elif done == "deleted":
                task.deleted += 1
            if not task.again:
                task.trouble = None
            if task.order.deadline is None:
                task.deadline = max(task.deadline, now + 3 * DAY)
        return True

    def _stumble(self, task: Task, item: Item, error: FileFault) -> None:
        source = task.order.source
        where = f"Endpoint: {source.display_name} ({source.id})\nFile: {item.source}"
        details = f"Error ({task.order.type.lower()})\n{where}\nMessage: {error.message}\n"
        with self._lock:
            now, options = self._clock.now(), task.order.options
            if not task.unfinished:
                return
            if (
                options.get("skip_source_errors")
                and error.code in _SKIPPABLE
                and not isinstance(error, DestinationFault)
            ):
                task.faults += 1
                task.skipped.append(Skipped(item, error.code, error.message, now))
            elif (
                error.code == "EXTERNAL_CHECKSUM_MISMATCH"
                or (error.code in ("QUOTA_EXCEEDED", "NO_SPACE_LEFT") and options.get("fail_on_quota_errors"))
                or task.order.type == "DELETE"
            ):
                task.fail(error.code, details, now)
            else:
                task.stumble(error.code, details, now)
                task.again.append(item)

    def _job(self, task: Task) -> Job:
        return Job(task, self._auth.directory.groups_of(task.owner.id))
