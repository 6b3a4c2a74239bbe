"""The agent's own files: state directory, ledger, tokens, log, record of deletions, metrics, configuration, units, support bundles.

What is below a watched directory or at a destination is not among them: `agent.files`. Where the operating system refuses
something, OSError is raised, unless a function says otherwise.
"""

import errno
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files as resources
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path, PurePath
from typing import IO, BinaryIO, NamedTuple

from agent.host import protection

StrPath = str | os.PathLike[str]
OPEN_TO_OTHERS = 0o027
"""Bits of a mode: others than the owner and the group may read it, or others than the owner may write it."""
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | protection.OPEN
_FOUND = os.O_RDONLY | protection.OPEN | protection.NEVER_WAITS
_LINKS = 40
"""Links that are followed one after the other, as many as the kernel follows."""
_PART = 2**16
"""Bytes of a file's end that are read at a time."""


class Facts(NamedTuple):
    """What the file system says of a file."""

    size: int
    mtime_ns: int
    file_id: int
    mode: int
    owner: int
    group: int

    @property
    def open_to_others(self) -> bool:
        """Whether others than the owner and the group may read it, or others than the owner may write it."""
        return bool(self.mode & OPEN_TO_OTHERS)

    @property
    def anybody_may_write(self) -> bool:
        """Whether every user of the computer may write it."""
        return bool(self.mode & stat.S_IWOTH)

    @property
    def stamp(self) -> tuple[int, int, int]:
        """Another one where the file was written or replaced. Not the time alone: two writes may have the same."""
        return self.mtime_ns, self.size, self.file_id

    @property
    def modified_at(self) -> float:
        """Seconds since the epoch."""
        return self.mtime_ns / 1e9


# Looking


def facts(path: StrPath) -> Facts:
    """What the file system says of a file. A link is followed."""
    return _facts(path, os.stat(path))


def _facts(where: StrPath | int, status: os.stat_result) -> Facts:
    mode = protection.permissions(where, status)
    return Facts(status.st_size, status.st_mtime_ns, status.st_ino, mode, status.st_uid, status.st_gid)


def another_owner(path: StrPath) -> str | None:
    """The owner of a file, or of the link that leads to it, where that is neither root nor the agent's user; None: no other."""
    for of in (os.lstat, os.stat):
        try:
            owner = protection.foreign_owner(path, of(path))
        except OSError:
            return None  # nobody made it, or it is a link that leads nowhere
        if owner is not None:
            return owner
    return None


def in_the_hands_of_others(path: StrPath) -> str | None:
    """Which part of a path another user made, or may replace, in a directory that everybody may write; None: no part.

    Raises OSError. What is not there yet is nobody's.
    """
    return protection.in_the_hands_of_others(path)


def exists(path: StrPath) -> bool:
    """Whether there is such a file or directory. Raises OSError where that cannot be told."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_file(path: StrPath) -> bool:
    """Whether a file is known to be there."""
    return os.path.isfile(path)


def is_directory(path: StrPath) -> bool:
    """Whether a directory is known to be there."""
    return os.path.isdir(path)


def is_link(path: StrPath) -> bool:
    """Whether it is a symbolic link."""
    return os.path.islink(path)


def names(directory: StrPath) -> list[str]:
    """What is in a directory."""
    return os.listdir(directory)


# Reading


def read_bounded(path: StrPath, at_most: int) -> tuple[bytes, Facts]:
    """What is in a file, and what the file system says of it. One byte more than `at_most` comes where it is larger."""
    with open(path, "rb") as file:
        return file.read(at_most + 1), _facts(file.fileno(), os.fstat(file.fileno()))


def read_found(path: StrPath, at_most: int) -> tuple[bytes, Facts, str | None] | None:
    """As `read_bounded`, of a file that was found and not named; and a user who decides what it says, but root and ours.

    Links are followed, and whoever made one decides, too. All is asked of what was opened, whatever has the name since.
    None where there is no regular file; a FIFO is not waited for.
    """
    owners: list[str | None] = []
    for _ in range(_LINKS):
        try:
            fd = os.open(path, _FOUND)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            target = _link(path, owners) if error.errno in (errno.ELOOP, errno.EMLINK) else None
            if target is None:
                raise
            path = os.path.join(os.path.dirname(path), target)
            continue
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return None
            others = filter(None, (*owners, protection.foreign_owner(fd, status)))
            with open(fd, "rb", closefd=False) as file:
                return file.read(at_most + 1), _facts(fd, status), next(others, None)
        finally:
            os.close(fd)
    return None  # the links lead in a circle


def _link(path: StrPath, owners: list[str | None]) -> str | None:
    """Where a link leads, and whose it is; None: it is none any more."""
    if not hasattr(os, "O_PATH"):  # only Linux opens the link itself
        owners.append(protection.foreign_owner(path, os.lstat(path)))
        return os.readlink(path)
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISLNK(status.st_mode):
            return None
        owners.append(protection.foreign_owner(fd, status))
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)


def last_bytes(path: StrPath, count: int) -> bytes:
    """The end of a file."""
    with open(path, "rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - count, 0))
        return file.read()


def resource(package: str, *path: str) -> bytes:
    """A file that comes with the program."""
    return resources(package).joinpath(*path).read_bytes()


def resource_names(package: str, *path: str) -> list[str]:
    """What is in a directory that comes with the program."""
    return [one.name for one in resources(package).joinpath(*path).iterdir()]


# Writing


def make_directory(path: StrPath) -> None:
    """Make a directory, and those above it, where they are absent."""
    Path(path).mkdir(parents=True, exist_ok=True)


def make_private_directory(path: StrPath) -> None:
    """Make a directory that only its owner may enter, where it is absent."""
    make_directory(Path(path).parent)
    try:
        protection.make_directory(path)
    except FileExistsError:
        if not is_directory(path):
            raise


def make_inner_directory(path: StrPath) -> None:
    """Make a directory in the state directory, and that one; others than its owner lose what they may do there.

    Raises OSError, also where it is a link: somebody else may have put it there.
    """
    make_private_directory(Path(path).parent)
    make_private_directory(path)
    protection.protect_directory(path)


def make_private(path: StrPath) -> bool:
    """Take away what others than the owner may do with a file. Returns whether there was anything."""
    return protection.make_private(path)


def create(path: StrPath, mode: int = 0o600) -> BinaryIO:
    """A new file, open for writing. Raises FileExistsError where the name is taken, and OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | protection.OPEN, mode), "wb")


def write(path: StrPath, data: bytes) -> None:
    """Write a file as a person wants it, onto one that has the name: it may be a terminal or a pipe."""
    with open(path, "wb") as file:
        file.write(data)


def write_whole(path: StrPath, data: bytes, mode: int, *, durably: bool = False) -> None:
    """Write a file so that a reader meets the former one or the new one; with `durably`, also after a loss of power."""
    folder, name = os.path.split(path)
    fd, fresh = tempfile.mkstemp(prefix=f".{name}-", dir=folder or ".")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            protection.protect(fd, mode)
            file.flush()
            if durably:
                os.fsync(fd)
        os.replace(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise
    if durably:
        protection.sync_directory(folder)


def discard_unfinished(path: StrPath) -> None:
    """Remove what `write_whole` left of this file when a process was killed in it. Nobody may write it at that time."""
    folder, name = os.path.split(path)
    left = re.compile(rf"\.{re.escape(name)}-[a-z0-9_]{{8}}")
    for one in os.listdir(folder or "."):
        if left.fullmatch(one):
            remove(os.path.join(folder, one))


def append_durably(path: StrPath, data: bytes) -> None:
    """Add to a file that only its owner may read, all or nothing, and bring it to stable storage. A link is not followed."""
    fd = os.open(path, _APPEND, 0o600)
    try:
        end = os.lseek(fd, 0, os.SEEK_END)
        try:
            _write_all(fd, data)
        except BaseException:
            os.ftruncate(fd, end)  # a part of it would run into what is added next
            raise
        os.fsync(fd)
        if end == 0:
            protection.sync_directory(os.path.dirname(path))  # else the name may go with the power
    finally:
        os.close(fd)


def rename_durably(path: StrPath, to: StrPath) -> None:
    """Give a file another name in its directory, one that is free. After a crash it has one of both names."""
    os.rename(path, to)
    protection.sync_directory(os.path.dirname(os.fspath(to)))


def mend_lines(path: StrPath) -> bytes:
    """Cut off a last line that was written in part, such as where power failed. Returns it. A link is not followed."""
    try:
        fd = os.open(path, _APPEND & ~os.O_CREAT)
    except FileNotFoundError:
        return b""
    try:
        end = kept = os.lseek(fd, 0, os.SEEK_END)
        torn = b""
        while kept and not torn.startswith(b"\n"):
            start = max(kept - _PART, 0)
            os.lseek(fd, start, os.SEEK_SET)
            part = os.read(fd, kept - start)
            found = part.rfind(b"\n")
            torn, kept = part[max(found, 0) :] + torn, start + max(found, 0)
        torn = torn.removeprefix(b"\n")
        if torn:
            os.ftruncate(fd, end - len(torn))
            os.fsync(fd)
        return torn
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    """One call of the system may write less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def temporary() -> IO[bytes]:
    """A file without a name, which is gone when it is closed."""
    return tempfile.TemporaryFile()


def empty_beyond(file: IO[bytes], size: int) -> None:
    """Drop what a file holds, where that is more than `size` bytes; what is written next comes where it would have come."""
    status = os.fstat(file.fileno())
    held = status.st_size if sys.platform == "win32" else status.st_blocks * 512
    if held > size:
        os.ftruncate(file.fileno(), 0)


@contextmanager
def temporary_folder(prefix: str, *, keep: bool) -> Iterator[PurePath]:
    """A separate folder among the temporary files; removed at the end, unless it is to be kept."""
    path = tempfile.mkdtemp(prefix=prefix)
    try:
        yield PurePath(path)
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


def remove(path: StrPath) -> None:
    """Remove a file, if it is there."""
    Path(path).unlink(missing_ok=True)


class BoundedLog(RotatingFileHandler):
    """Log files that together do not grow beyond a bound, but for one record; older ones have .1, .2, .3 after the name."""

    OLDER = 3

    def __init__(self, path: StrPath, size: int) -> None:
        """`size`: bytes after which a file is full. The directory is made where it is absent. Raises OSError."""
        make_inner_directory(Path(path).parent)
        super().__init__(path, maxBytes=size, backupCount=self.OLDER, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> TextIOWrapper:
        """For its owner alone, whatever the umask and an earlier version say; a link is not followed."""
        fd = os.open(self.baseFilename, _APPEND, 0o600)
        try:
            protection.protect(fd, 0o600)
            return open(fd, "a", encoding=self.encoding, errors=self.errors)
        except BaseException:
            os.close(fd)
            raise

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Whether the file is full now. Not whether the record still fits: for that it would be formatted twice."""
        return self.stream is not None and self.stream.tell() >= self.maxBytes

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk costs the line here; standard error has it, too."""
