"""Records of what was done, for people and for the day the ledger is lost."""

import json
import logging
import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePath

from agent.errors import Exhausted, Transient, cause
from agent.host import own_files

FULL = 16 * 2**20
"""Bytes after which a file of the record gets a number, and the next one begins."""
_LAST_LINE = 2**20
"""Bytes at the end of a file in which its last line is looked for."""

log = logging.getLogger(__name__)


class Record:
    """An append-only record, one JSON object a line. Full files are numbered, the highest is the newest. Safe between threads."""

    def __init__(self, path: PurePath, keep: float = math.inf) -> None:
        """`keep`: seconds. A full file is removed once its last line is older."""
        self._path = path
        self._keep = keep
        self._numbered = re.compile(rf"{re.escape(path.stem)}-([1-9]\d*){re.escape(path.suffix)}")
        self._guard = threading.Lock()
        self._unrotated = ""
        """Why the file could not be given a number, as the log has it."""

    def mend(self) -> None:
        """Before the first line: a former run may have been killed, or lost its power, within one. Raises Transient."""
        try:
            torn = own_files.mend_lines(self._path)
        except OSError as error:
            raise Transient(f"{self._path} cannot be mended: {cause(error)}") from error
        if torn:
            # What it is about is not noted in the ledger yet, and is recorded again.
            log.warning("%s: its last line was torn, and is cut off: %r", self._path, torn)

    def append(self, lines: Sequence[Mapping[str, object]], now: float) -> None:
        """Add lines and make them durable. Raises Exhausted: it says nothing of what they are about."""
        with self._guard:
            self._rotate(now)
            try:
                own_files.append_durably(self._path, "".join(json.dumps(line) + "\n" for line in lines).encode())
            except OSError as error:
                raise Exhausted(f"{self._path.stem} cannot be recorded in {self._path}: {cause(error)}") from error

    def files(self) -> Iterator[list[dict[str, object]]]:
        """The lines of each file of the record, oldest first; what is no line is left out. Raises Transient."""
        try:
            numbers = sorted(
                int(match[1])
                for name in own_files.names(self._path.parent)
                if (match := self._numbered.fullmatch(name))
            )
            paths = [self._path.parent / f"{self._path.stem}-{number}{self._path.suffix}" for number in numbers]
            for path in (*paths, self._path):
                if own_files.exists(path):
                    yield list(_lines(own_files.read_bounded(path, 2 * FULL)[0]))
        except OSError as error:
            raise Transient(f"{self._path} cannot be read: {cause(error)}") from error

    def _rotate(self, now: float) -> None:
        """Give a full file the next number, and remove full files with lines that are all too old. What fails is tried again."""
        try:
            if own_files.facts(self._path).size < FULL:
                return
            folder = self._path.parent
            found = [
                (int(match[1]), name) for name in own_files.names(folder) if (match := self._numbered.fullmatch(name))
            ]
            number = 1 + max((number for number, _ in found), default=0)
            own_files.rename_durably(self._path, folder / f"{self._path.stem}-{number}{self._path.suffix}")
            for _, name in found:
                if now - self._last_at(folder / name, now) > self._keep:
                    own_files.remove(folder / name)
        except FileNotFoundError:
            return  # the first line makes it
        except OSError as error:
            if self._unrotated != (why := cause(error)):
                log.warning("%s stays one file, longer than it should be: %s", self._path, why)
                self._unrotated = why

    @staticmethod
    def _last_at(path: PurePath, unknown: float) -> float:
        """When the last line of a file was written; `unknown` where that cannot be read."""
        try:
            last = json.loads(own_files.last_bytes(path, _LAST_LINE).splitlines()[-1])
            return datetime.fromisoformat(last["at"]).timestamp()
        except (ValueError, LookupError, TypeError):
            return unknown


def iso(at: float) -> str:
    """A time, for a line of a record."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _lines(text: bytes) -> Iterator[dict[str, object]]:
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue  # a disk may have damaged it
        if isinstance(found, dict):
            yield found
