"""The work of one task, file by file."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.globus.collections import Collection, FileFault, fault
from tests.globus.identities import Group
from tests.globus.tasks import Item, Moved, Task

_BLOCK = 1 << 20


class DestinationFault(FileFault):
    """Trouble at the destination, which skip_source_errors does not skip."""


class Held(Exception):
    """A file stays half done for now."""


@dataclass(frozen=True)
class Job:
    """A task, in the hands of its owner who is in these groups."""

    task: Task
    groups: list[Group]

    def do(self, item: Item, act: FileFault | str | None) -> Moved | str:
        """Move or delete; `act` is what shall go wrong. What moved, or "skipped", "deleted", "omitted".

        Raises FileFault, OSError: it cannot be done now. Raises Held.
        """
        if isinstance(act, FileFault):
            raise act
        if act == "omit":
            return "omitted"
        return self._remove(item) if self.task.order.type == "DELETE" else self._move(item, act)

    def files(self, items: Iterable[Item], stumble: Callable[[Item, FileFault], None]) -> Iterator[Item]:
        """The files of these items; a directory is read when its turn comes. Tells `stumble` of what cannot be read."""
        for item in items:
            if self.task.order.type == "DELETE" or item.recursive is False:
                yield item
                continue
            try:
                source = self._source(item.source)
                if _is_directory(item, source):
                    yield from self._inside(item, source)
                else:
                    yield item._replace(recursive=False)
            except (FileFault, OSError) as error:
                stumble(item, fault(error) if isinstance(error, OSError) else error)

    def _source(self, path: str) -> Path:
        return self.task.order.source.open(self.task.owner.id, self.groups, path, write=False)

    def _target(self, path: str) -> Path:
        try:
            return self._destination().open(self.task.owner.id, self.groups, path, write=True)
        except FileFault as error:
            raise DestinationFault(error.code, error.message) from error

    def _destination(self) -> Collection:
        destination = self.task.order.destination
        assert destination is not None, "a deletion has no destination"
        return destination

    def _move(self, item: Item, act: str | None) -> Moved | str:
        options = self.task.order.options
        source, target = self._source(item.source), self._target(item.destination)
        before = os.stat(source)
        if not stat.S_ISREG(before.st_mode):
            raise FileFault("NOT_A_FILE", "not a file")
        if _same(options.get("sync_level"), source, before, target, item.algorithm):
            return "skipped"
        wanted = item.external_checksum is not None or bool(options.get("verify_checksum"))
        known = set(self.task.order.source.algorithms) & set(self._destination().algorithms)
        if wanted and item.algorithm not in known:
            raise FileFault("ENDPOINT_ERROR", f"the checksum algorithm {item.algorithm} is not supported")
        room = self._destination().room()
        if room is not None and before.st_size > room:
            raise DestinationFault("QUOTA_EXCEEDED", "Disk quota exceeded")
        try:
            size, digest = _copy(source, target, item.algorithm, act)
            if size != before.st_size or os.stat(source).st_mtime_ns != before.st_mtime_ns:
                raise FileFault("FILE_SIZE_CHANGED", "the file changed while it was being transferred")
            if options.get("preserve_timestamp"):
                whole = before.st_mtime_ns // 1_000_000_000
                os.utime(target, (whole, whole))
            arrived = _checksum(target, item.algorithm) if wanted else None
        except OSError as error:
            found = fault(error)
            raise DestinationFault(found.code, found.message) from error
        if options.get("verify_checksum") and arrived != digest:
            raise FileFault("VERIFY_CHECKSUM", f"source {digest}, destination {arrived}")
        if item.external_checksum is not None and not digest == arrived == item.external_checksum.lower():
            raise FileFault("EXTERNAL_CHECKSUM_MISMATCH", f"{digest}, {arrived}: not {item.external_checksum}")
        told = digest[::-1] if act == "misreport" else digest
        return Moved(item.source, item.destination, size, told if wanted else None, item.algorithm if wanted else None)

    def _inside(self, item: Item, top: Path) -> Iterator[Item]:
        """Every file below a directory; its directories are made. Symbolic links are left out."""
        rules = self.task.order.options.get("filter_rules") or []
        for folder, folders, names in os.walk(top):
            below = posixpath.join("", *Path(folder).relative_to(top).parts)
            self.task.directories += 1
            self._target(posixpath.join(item.destination, below)).mkdir(parents=True, exist_ok=True)
            folders[:] = sorted(one for one in folders if _kept(rules, folder, one, "dir"))
            for name in sorted(names):
                if _kept(rules, folder, name, "file"):
                    inside = posixpath.join(below, name)
                    yield item._replace(
                        source=posixpath.join(item.source, inside),
                        destination=posixpath.join(item.destination, inside),
                        recursive=False,
                    )

    def _remove(self, item: Item) -> str:
        options = self.task.order.options
        place = self.task.order.source.open(self.task.owner.id, self.groups, item.source, write=True)
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


def _is_directory(item: Item, place: Path) -> bool:
    found = stat.S_ISDIR(os.stat(place).st_mode)
    if item.recursive and not found:
        raise FileFault("NOT_A_DIRECTORY", "Not a directory")
    return found


def _kept(rules: Iterable[dict[str, str]], folder: str, name: str, kind: str) -> bool:
    """Whether a recursive transfer takes this along: the first rule that fits decides."""
    if os.path.islink(os.path.join(folder, name)):
        return False
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
                    raise Held
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
