"""Does what tasks say, with real files."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import posixpath
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.globus.auth import Auth
from tests.globus.clock import Clock
from tests.globus.collections import Collection, FileFault, fault
from tests.globus.faults import Faults
from tests.globus.submissions import Limits
from tests.globus.tasks import DAY, Item, Moved, Skipped, Task, Tasks

_SKIPPABLE = ("FILE_NOT_FOUND", "PERMISSION_DENIED", "AMBIGUOUS_PATH")
_BLOCK = 1 << 20


class _Held(Exception):
    """A file stays half done for now."""


class _Fatal(Exception):
    """The task is over."""


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
            task.deadline = (
                max(task.deadline, now + (90 if paused else 1) * DAY) if task.order.deadline is None else task.deadline
            )
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
                task.todo = self._expanded(task, todo)
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
            done = self._remove(task, item) if task.order.type == "DELETE" else self._move(task, item)
        except _Held:
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
            if options.get("skip_source_errors") and error.code in _SKIPPABLE and not isinstance(error, _Destination):
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

    # Transfers

    def _move(self, task: Task, item: Item) -> Moved | str:
        order = task.order
        assert order.destination is not None
        act = self._faults.take(item.source, item.destination)
        if isinstance(act, FileFault):
            raise act
        if act == "omit":
            return "omitted"
        source = self._allowed(task, order.source, item.source, write=False)
        target = self._allowed(task, order.destination, item.destination, write=True)
        before = os.stat(source)
        if not stat.S_ISREG(before.st_mode):
            raise FileFault("NOT_A_FILE", "not a file")
        if _same(order.options.get("sync_level"), source, before, target, item.algorithm):
            return "skipped"
        wanted = item.external_checksum is not None or bool(order.options.get("verify_checksum"))
        if wanted and item.algorithm not in (set(order.source.algorithms) & set(order.destination.algorithms)):
            raise FileFault("ENDPOINT_ERROR", f"the checksum algorithm {item.algorithm} is not supported")
        room = order.destination.room()
        if room is not None and before.st_size > room:
            raise _Destination("QUOTA_EXCEEDED", "Disk quota exceeded")
        try:
            size, digest = _copy(source, target, item.algorithm, act)
            if size != before.st_size or os.stat(source).st_mtime_ns != before.st_mtime_ns:
                raise FileFault("FILE_SIZE_CHANGED", "the file changed while it was being transferred")
            if order.options.get("preserve_timestamp"):
                whole = before.st_mtime_ns // 1_000_000_000
                os.utime(target, (whole, whole))
            arrived = _checksum(target, item.algorithm) if wanted else None
        except OSError as error:
            found = fault(error)
            raise _Destination(found.code, found.message) from error
        if order.options.get("verify_checksum") and arrived != digest:
            raise FileFault("VERIFY_CHECKSUM", f"source {digest}, destination {arrived}")
        if item.external_checksum is not None and not digest == arrived == item.external_checksum.lower():
            raise FileFault("EXTERNAL_CHECKSUM_MISMATCH", f"{digest}, {arrived}: not {item.external_checksum}")
        if act == "misreport":
            digest = digest[::-1]
        return Moved(
            item.source, item.destination, size, digest if wanted else None, item.algorithm if wanted else None
        )

    def _allowed(self, task: Task, collection: Collection, path: str, *, write: bool) -> Path:
        groups = self._auth.directory.groups_of(task.owner.id)
        if not collection.permits(task.owner.id, groups, path, write=write):
            raise (_Destination if write else FileFault)("PERMISSION_DENIED", "Permission denied")
        return collection.place(path)

    def _expanded(self, task: Task, items: Iterable[Item]) -> Iterator[Item]:
        """The files of these items; a directory is read when its turn comes."""
        for item in items:
            if task.order.type == "DELETE" or item.recursive is False:
                yield item
                continue
            try:
                source = self._allowed(task, task.order.source, item.source, write=False)
                if _is_directory(item, source):
                    yield from self._inside(task, item, source)
                else:
                    yield item._replace(recursive=False)
            except (FileFault, OSError) as error:
                self._stumble(task, item, fault(error) if isinstance(error, OSError) else error)

    def _inside(self, task: Task, item: Item, top: Path) -> Iterator[Item]:
        """Every file below a directory; its directories are made. Symbolic links are left out."""
        assert task.order.destination is not None
        rules = task.order.options.get("filter_rules") or []
        for folder, folders, names in os.walk(top):
            below = posixpath.join("", *Path(folder).relative_to(top).parts)
            task.directories += 1
            self._allowed(task, task.order.destination, posixpath.join(item.destination, below), write=True).mkdir(
                parents=True, exist_ok=True
            )
            folders[:] = sorted(
                one for one in folders if not os.path.islink(os.path.join(folder, one)) and _kept(rules, one, "dir")
            )
            for name in sorted(names):
                if not os.path.islink(os.path.join(folder, name)) and _kept(rules, name, "file"):
                    inside = posixpath.join(below, name)
                    yield item._replace(
                        source=posixpath.join(item.source, inside),
                        destination=posixpath.join(item.destination, inside),
                        recursive=False,
                    )

    # Deletions

    def _remove(self, task: Task, item: Item) -> str:
        options = task.order.options
        act = self._faults.take(item.source)
        if isinstance(act, FileFault):
            raise act
        place = self._allowed(task, task.order.source, item.source, write=True)
        found = [Path(one) for one in glob.glob(str(place))] if options.get("interpret_globs") else [place]
        for one in found:
            try:
                if one.is_dir() and not one.is_symlink():
                    if not options.get("recursive"):
                        raise FileFault("IS_A_DIRECTORY", "Is a directory")
                    shutil.rmtree(one)
                else:
                    one.unlink()
            except FileNotFoundError:
                if not options.get("ignore_missing"):
                    raise
        return "deleted"


class _Destination(FileFault):
    """Trouble at the destination, which skip_source_errors does not skip."""


def _is_directory(item: Item, place: Path) -> bool:
    found = stat.S_ISDIR(os.stat(place).st_mode)
    if item.recursive and not found:
        raise FileFault("NOT_A_DIRECTORY", "Not a directory")
    return found


def _kept(rules: Iterable[dict[str, str]], name: str, kind: str) -> bool:
    for rule in rules:
        if rule.get("type", kind) == kind and fnmatch.fnmatchcase(name, rule["name"]):
            return rule.get("method") == "include"
    return True


def _same(level: int | None, source: Path, found: os.stat_result, target: Path, algorithm: str) -> bool:
    """Whether a sync of this level leaves the target as it is."""
    if level is None:
        return False
    try:
        there = target.stat()
    except FileNotFoundError:
        return False
    if level == 0:
        return True
    if there.st_size != found.st_size:
        return False
    if level == 2:
        return int(found.st_mtime) <= int(there.st_mtime)
    return level == 1 or _checksum(source, algorithm) == _checksum(target, algorithm)


def _copy(source: Path, target: Path, algorithm: str, act: str | None) -> tuple[int, str]:
    """Write over the target, under its final name. (bytes, checksum of what was read)."""
    digest, size = _hash(algorithm), 0
    with open(source, "rb") as file:
        try:
            out = open(target, "wb")  # noqa: SIM115  (closed just below)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            out = open(target, "wb")  # noqa: SIM115
        with out:
            while block := file.read(_BLOCK):
                if act == "hold":
                    out.write(block[: len(block) // 2])
                    raise _Held
                digest.update(block)
                if act == "corrupt" and not size:
                    block = bytes([block[0] ^ 1]) + block[1:]
                size += out.write(block)
    return size, digest.hexdigest()


def _checksum(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: _hash(algorithm)).hexdigest()


def _hash(algorithm: str) -> hashlib._Hash:
    try:
        return hashlib.new(algorithm.lower(), usedforsecurity=False)
    except ValueError as error:
        raise FileFault("ENDPOINT_ERROR", f"the checksum algorithm {algorithm} is not supported") from error
