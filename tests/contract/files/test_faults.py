"""Every call of the system that an operation makes fails once, in every way that its manual page knows.

Each operation is done once to see which calls it makes. Then it is done again for each of these calls and each error, the
error coming before the call has done anything, or after it has done all (a reply that was lost, a storage that reports late).
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.files import ABSENT, LOCAL, CannotTell, Handle, Tree, Trouble, What, Whose, posix
from agent.files.posix import durable, handle, making, observing, tree, writer_probe
from agent.files.posix.errors import trouble
from agent.files.reader import Examined, NotTheVersion, Sources, Unreadable, examine
from agent.host.heartbeat import Heartbeat
from rules.model import Observation, Writer
from tests.contract.files.computers import Here

TELLS = {
    "ENOENT": What.ABSENT, "ENOTDIR": What.NOT_A_DIRECTORY, "ELOOP": What.LINK, "EISDIR": What.DIRECTORY,
    "EEXIST": What.EXISTS, "ENOTEMPTY": What.NOT_EMPTY, "ENAMETOOLONG": What.NAME_TOO_LONG,
    "EILSEQ": What.NAME_CHARACTERS, "EINVAL": What.NAME_REFUSED, "EACCES": What.DENIED, "EPERM": What.NOT_PERMITTED,
    "EFBIG": What.TOO_LARGE, "EOVERFLOW": What.TOO_LARGE, "EMLINK": What.TOO_MANY_LINKS, "EAGAIN": What.BUSY,
    "EBUSY": What.BUSY, "ETXTBSY": What.BUSY, "EXDEV": What.OTHER_VOLUME, "EIO": What.DAMAGED, "EUCLEAN": What.DAMAGED,
    "ENOSPC": What.FULL, "EDQUOT": What.FULL, "EROFS": What.READ_ONLY, "ESTALE": What.STALE, "ENOTCONN": What.STALE,
    "ENODEV": What.STALE, "ENXIO": What.STALE, "ETIMEDOUT": What.NO_ANSWER, "EHOSTDOWN": What.NO_ANSWER,
    "EINTR": What.NO_ANSWER, "EMFILE": What.EXHAUSTED, "ENFILE": What.EXHAUSTED, "ENOMEM": What.EXHAUSTED,
    "ENOSYS": What.UNSUPPORTED, "ENOTSUP": What.UNSUPPORTED, "ENOLCK": What.UNSUPPORTED, "EFAULT": What.OTHER,
}  # fmt: skip
"""What each error says."""
OWNERS = {
    Whose.AGENT: {What.EXHAUSTED},
    Whose.VOLUME: {
        What.DAMAGED, What.FULL, What.READ_ONLY, What.STALE, What.NO_ANSWER, What.UNSUPPORTED,
    },
    Whose.UNKNOWN: {What.OTHER},
}  # fmt: skip
"""Whose each of these is; all others are the file's."""

# Of errors that say the same, one: test_each_error_has_one_meaning has all of them.
_PATH = "EACCES ELOOP ENAMETOOLONG ENOENT ENOTDIR ENOMEM EIO ESTALE ETIMEDOUT EFAULT"
_DATA = "EIO EINTR ESTALE ENOMEM"
_NAMES = f"{_PATH} EBUSY EPERM EROFS ENOSPC EILSEQ EINVAL"
PAGES = {
    "open": f"{_NAMES} EEXIST EFBIG EISDIR EMFILE ENXIO ENOTSUP EAGAIN",
    "stat": f"{_PATH} EOVERFLOW",
    "lstat": f"{_PATH} EOVERFLOW",
    "fstat": f"{_DATA} EOVERFLOW",
    "listdir": f"{_PATH} EMFILE",
    "scandir": f"{_PATH} EMFILE",
    "next entry": f"{_DATA} ENOENT EUCLEAN",
    "entry.is_dir": f"{_PATH}",
    "entry.stat": f"{_PATH} EOVERFLOW",
    "mkdir": f"{_NAMES} EMLINK EEXIST",
    "fchmod": f"{_DATA} EPERM EROFS ENOTSUP",
    "getxattr": f"{_DATA} ENOTSUP",
    "unlink": f"{_NAMES} EISDIR",
    "rmdir": f"{_NAMES} ENOTEMPTY",
    "rename": f"{_NAMES} EEXIST EISDIR EMLINK ENOTEMPTY EXDEV",
    "renameat2": f"{_NAMES} EEXIST EISDIR EMLINK ENOTEMPTY EXDEV ENOSYS ENOTSUP",
    "link": f"{_NAMES} EEXIST EMLINK EXDEV ENOTSUP",
    "symlink": f"{_NAMES} EEXIST ENOTSUP",
    "dup": "EMFILE ENOMEM",
    "close": f"{_DATA} ENOSPC",
    "pread": _DATA,
    "preadv": _DATA,
    "pwrite": f"{_DATA} EFBIG ENOSPC EPERM EROFS",
    "write": f"{_DATA} EFBIG ENOSPC EPERM EROFS",
    "ftruncate": f"{_DATA} EFBIG EINVAL EPERM EROFS ETXTBSY ENOSPC",
    "fsync": f"{_DATA} ENOSPC EROFS EINVAL",
    "syncfs": f"{_DATA} ENOSPC ENOSYS",
    "sync_file_range": f"{_DATA} ENOSPC ENOSYS EINVAL",
    "posix_fadvise": "EINVAL",
    "utime": f"{_PATH} EPERM EROFS",
    "statvfs": f"{_PATH} ENOSYS EOVERFLOW",
    "statx": f"{_PATH} ENOSYS",
    "fcntl": "EAGAIN EACCES EINVAL ENOLCK ENOMEM",
}
"""Call → errors, of Linux's manual pages and of network file systems."""
MODULES = (posix, tree, handle, durable, making, observing)


@dataclass
class Calls:
    """Stands between our code and the system: notes the calls, and lets one of them fail."""

    fail_at: int = -1
    number: int = 0
    after: bool = False
    made: list[str] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    """Numbers of those that the system did not refuse."""
    armed: bool = False
    never: dict[str, int] = field(default_factory=dict)
    """Calls that always fail, and with what."""

    def call(self, name: str, act: Callable[[], Any], failed: Callable[[int], Any]) -> Any:
        """Do a call, and note it."""
        if not self.armed:
            return act()
        self.made.append(name)
        if len(self.made) - 1 != self.fail_at:
            if name in self.never:
                return failed(self.never[name])
            number, result = len(self.made) - 1, act()
            self.done.add(number)
            return result
        if self.after or name == "close":  # a descriptor is given back whatever close says
            result = act()
            if name in ("open", "dup"):
                os.close(result)
            elif name == "scandir":
                result.close()
        return failed(self.number)


def raises(number: int) -> Any:
    """As `os` has it."""
    raise OSError(number, os.strerror(number))


def returns(number: int) -> int:
    """As the C library has it."""
    ctypes.set_errno(number)
    return -1


class System:
    """`os`, with calls that are noted."""

    def __init__(self, calls: Calls, real: Any = os) -> None:
        self._calls = calls
        self._real = real

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if name not in PAGES or not callable(real):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            made = self._calls.call(name, lambda: real(*arguments, **named), raises)
            return Entries(self._calls, made) if name == "scandir" else made

        return call


class Library:
    """The C library, likewise."""

    def __init__(self, calls: Calls, real: Any) -> None:
        self._calls = calls
        self._real = real

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        return lambda *arguments: self._calls.call(name, lambda: real(*arguments), returns)


class Entries:
    """Entries of a directory, likewise."""

    def __init__(self, calls: Calls, real: Any) -> None:
        self._calls = calls
        self._real = real

    def __enter__(self) -> "Entries":
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def __iter__(self) -> Iterator["Entry"]:
        return self

    def __next__(self) -> "Entry":
        end = object()
        entry = self._calls.call("next entry", lambda: next(self._real, end), raises)
        if entry is end:
            raise StopIteration
        return Entry(self._calls, entry)

    def close(self) -> None:
        self._real.close()


class Entry:
    """One of them."""

    def __init__(self, calls: Calls, real: Any) -> None:
        self._calls = calls
        self._real = real
        self.name = real.name

    def is_dir(self, **named: Any) -> Any:
        return self._calls.call("entry.is_dir", lambda: self._real.is_dir(**named), raises)

    def stat(self, **named: Any) -> Any:
        return self._calls.call("entry.stat", lambda: self._real.stat(**named), raises)


class Operation(NamedTuple):
    """Something that is done."""

    act: "Callable[[Scene], Any]"
    takes: bytes = b""
    """Content that it may take away."""
    without: str = ""
    """Calls that the system does not have."""
    changes: bool = True
    """Whether it changes anything: then each time it is done on its own scene."""


class Scene(NamedTuple):
    """Where an operation is done."""

    here: Here
    tree: Tree
    opened: Handle
    """For reading."""
    new: Handle
    """For writing."""
    seen: Observation


def furnish(here: Here) -> None:
    """Files whose content is known."""
    for path in ("a/b", "c", "empty"):
        here.directory(f"{here.root}/{path}")
    for path in ("file", "a/b/file", "c/one", "c/two"):
        here.write(f"{here.root}/{path}", path.encode())
    here.directory(f"{here.root}/c/below")


def contents(root: str) -> set[bytes]:
    """Of all files."""
    return {Path(at, name).read_bytes() for at, _, names in os.walk(root) for name in names}


def _read_into(scene: Scene) -> bytes:
    block = bytearray(10)
    return bytes(block[: scene.opened.read_into(memoryview(block), 0)])


def _source(scene: Scene) -> bytes:
    with Sources(LOCAL, "sha256", Heartbeat()) as sources:
        return sources.content(scene.here.root, "file", scene.seen.version).checksum


def _shown(act: Callable[[Scene], Any]) -> Operation:
    """An operation that changes nothing."""
    return Operation(act, changes=False)


def _scan(scene: Scene) -> list[Any]:
    listed = list(scene.tree.scan("c", 1))
    if listed[-1].unseen is not None:
        raise listed[-1].unseen
    return sorted(entry for one in listed for entry in one.entries)


OPERATIONS: dict[str, Operation] = {
    "tree": _shown(lambda scene: LOCAL.tree(scene.here.root).close()),
    "look": _shown(lambda scene: scene.tree.look("a/b/file")),
    "look at what is not there": _shown(lambda scene: scene.tree.look("a/b/missing")),
    "look below what is not there": _shown(lambda scene: scene.tree.look("a/x/missing")),
    "look at the root": _shown(lambda scene: scene.tree.look("")),
    "look at a path": _shown(lambda scene: LOCAL.look(f"{scene.here.root}/file")),
    "examine": _shown(lambda scene: examine(scene.tree, "a/b/file")),
    "examine what is not there": _shown(lambda scene: examine(scene.tree, "a/b/missing")),
    "born": _shown(lambda scene: scene.tree.born("a/b/file")),
    "names": _shown(lambda scene: sorted(scene.tree.names("c"))),
    "scan": _shown(_scan),
    "open": _shown(lambda scene: scene.tree.open("a/b/file").close()),
    "open what was seen": _shown(lambda scene: scene.tree.open("file", scene.seen).close()),
    "open what is not there": _shown(lambda scene: scene.tree.open("a/b/missing").close()),
    "create": Operation(lambda scene: scene.tree.create("a/new").close()),
    "create instead": Operation(lambda scene: scene.tree.create("a/b/file").close(), b"a/b/file"),
    "mark": Operation(lambda scene: scene.tree.mark("a/mark", b"mark")),
    "mark again": Operation(lambda scene: scene.tree.mark("a/b/file", b"mark"), b"a/b/file"),
    "make_directory": Operation(lambda scene: scene.tree.make_directory("a/n/m")),
    "make_directory like": Operation(lambda scene: scene.tree.make_directory("n/b", (scene.tree, "a/b"))),
    "make_directory with a mode": Operation(lambda scene: scene.tree.make_directory("a/n", None, 0o750)),
    "make_link": Operation(lambda scene: scene.tree.make_link("a/new", "b/file")),
    "rename_new": Operation(lambda scene: scene.tree.rename_new("file", "new")),
    "rename_new elsewhere": Operation(lambda scene: scene.tree.rename_new("a/b/file", "n/m/new")),
    "rename_new onto": Operation(lambda scene: scene.tree.rename_new("a/b/file", "file")),
    "rename_new by links": Operation(lambda scene: scene.tree.rename_new("file", "new"), b"", "renameat2"),
    "rename_new by links onto": Operation(lambda scene: scene.tree.rename_new("file", "c/one"), b"", "renameat2"),
    "rename_new looking first": Operation(lambda scene: scene.tree.rename_new("file", "new"), b"", "renameat2 link"),
    "rename_new looking first onto": Operation(
        lambda scene: scene.tree.rename_new("file", "c/one"), b"", "renameat2 link"
    ),
    "replace": Operation(lambda scene: scene.tree.replace("a/b/file", "file"), b"file"),
    "unlink": Operation(lambda scene: scene.tree.unlink("a/b/file"), b"a/b/file"),
    "remove_directory": Operation(lambda scene: scene.tree.remove_directory("empty")),
    "sync": _shown(lambda scene: scene.tree.sync("a/b")),
    "sync_volumes": _shown(lambda scene: scene.tree.sync_volumes(["a", "a/b", ""])),
    "sync_volumes one by one": Operation(lambda scene: scene.tree.sync_volumes(["a", "a/b", ""]), b"", "syncfs"),
    "handle.look": _shown(lambda scene: scene.opened.look()),
    "handle.writer": _shown(lambda scene: scene.opened.writer()),
    "handle.read": _shown(lambda scene: scene.opened.read(0, 10)),
    "handle.read_into": _shown(_read_into),
    "handle.write": _shown(lambda scene: scene.new.write(b"x" * 100, 0)),
    "handle.set_size": _shown(lambda scene: scene.new.set_size(100)),
    "handle.set_times": _shown(lambda scene: scene.new.set_times(scene.opened, 10**18)),
    "handle.sync": _shown(lambda scene: scene.new.sync()),
    "handle.begin_write_back": _shown(lambda scene: scene.new.begin_write_back(0, 10)),
    "handle.end_write_back": _shown(lambda scene: scene.new.end_write_back(0, 10)),
    "handle.forget": _shown(lambda scene: scene.new.forget()),
    "handle.close": Operation(lambda scene: scene.new.close()),
    "make_durable one": _shown(lambda scene: LOCAL.make_durable([scene.new])),
    "make_durable many": _shown(lambda scene: LOCAL.make_durable([scene.new] * 3)),
    "make_durable one by one": Operation(lambda scene: LOCAL.make_durable([scene.new] * 3), b"", "syncfs"),
    "drop_cache": _shown(lambda scene: LOCAL.drop_cache([scene.new])),
    "space": _shown(lambda scene: LOCAL.space(scene.here.root)),
    "read a source": _shown(_source),
}
"""What is done with the files of `furnish`."""

NO_SUCH_CALL = "ENOSYS EINVAL ENOTSUP"
QUIET = {
    ("*", "renameat2"): NO_SUCH_CALL, ("*", "link"): "EINVAL ENOTSUP EPERM EMLINK", ("*", "syncfs"): NO_SUCH_CALL,
    ("*", "sync_file_range"): NO_SUCH_CALL, ("handle.begin_write_back", "sync_file_range"): "*",
    ("*", "posix_fadvise"): "*", ("*", "close"): "*", ("handle.close", "close"): "", ("create", "close"): "",
    ("sync", "fsync"): "EINVAL", ("sync_volumes one by one", "fsync"): "EINVAL",
    ("scan", "entry.stat"): "ENOENT", ("scan", "entry.is_dir"): "ENOENT", ("born", "*"): "*", ("space", "*"): "*",
    # What is not there is made.
    ("mark", "stat"): "ENOENT", ("mark again", "stat"): "ENOENT", ("create", "open"): "ENOENT EEXIST",
    ("create instead", "open"): "ENOENT EEXIST", ("make_directory", "open"): "ENOENT",
    ("make_directory like", "open"): "ENOENT ENOTDIR ELOOP", ("make_directory with a mode", "open"): "ENOENT",
    ("rename_new elsewhere", "open"): "ENOENT", ("rename_new by links onto", "open"): "ENOENT",
    ("rename_new looking first onto", "open"): "ENOENT", ("rename_new looking first", "lstat"): "ENOENT",
    ("rename_new looking first onto", "lstat"): "ENOENT",
    # Not every file system has permissions, or ACLs. A source that is gone is private.
    ("*", "getxattr"): "*", ("*", "fchmod"): "EPERM ENOTSUP",
    # A reader who cannot ask for writers goes by the version.
    ("read a source", "fcntl"): "EACCES EINVAL ENOLCK ENOMEM",
    # The first error counts, not that of the look which follows it.
    ("open what is not there", "stat 3"): "*", ("open what is not there", "stat 4"): "*",
}  # fmt: skip
"""(operation, call) → errors that are no trouble: there is another way, or nothing depends on it."""
ABSURD = {("mkdir", "EEXIST"), ("unlink", "ENOENT")}
"""The next call would say the opposite."""
STALE = {"ENOENT": What.STALE, "ENOTDIR": What.STALE}
"""Of the root of a source: that it is not there says nothing of the file."""
TAKES = {("rename_new looking first onto", "lstat", "ENOENT"): b"c/one"}
"""Where a file system that knows neither exclusive renames nor links says that nothing has a name, that must be believed."""


def outcome(scene: Scene, operation: str, calls: Calls) -> Any:
    """What an operation returns, or the Trouble that it raises: nothing else may come."""
    calls.armed = True
    try:
        return OPERATIONS[operation].act(scene)
    except Trouble as trouble:
        return trouble
    except Unreadable as error:
        return error.trouble
    except NotTheVersion as error:
        return error
    finally:
        calls.armed = False


class Stage:
    """A computer whose system is watched."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch, operation: str) -> None:
        self._path = path
        self._patch = patch
        self._operation = operation
        self._here: Here | None = None
        self._scenes = count()

    def play(self, calls: Calls) -> tuple[Any, set[bytes]]:
        """Do the operation. Returns what came of it, and which contents are not there any more."""
        calls.never = {name: errno.EPERM if name == "link" else errno.ENOSYS for name in self._without}
        here = self._scene()
        before = contents(here.root)
        open_before = here.is_open()
        with self._watched(calls), LOCAL.tree(here.root) as opened, LOCAL.tree(here.outside) as outside:
            seen = opened.look("file")
            assert isinstance(seen, Observation)
            with opened.open("file") as file, outside.create("new") as new:
                found = outcome(Scene(here, opened, file, new, seen), self._operation, calls)
        assert here.is_open() == open_before, f"{self._operation}: no descriptor is left behind"
        return found, before - contents(here.root)

    @property
    def _without(self) -> list[str]:
        return OPERATIONS[self._operation].without.split()

    def _scene(self) -> Here:
        if self._here is None or OPERATIONS[self._operation].changes:
            place = self._path / str(next(self._scenes))
            place.mkdir()
            self._here = Here(place)
            furnish(self._here)
        return self._here

    @contextmanager
    def _watched(self, calls: Calls) -> Iterator[None]:
        with self._patch.context() as patch:
            for module in MODULES:
                patch.setattr(module, "os", System(calls))
            patch.setattr(writer_probe, "fcntl", System(calls, fcntl))
            for module in (durable, observing):
                if module._libc is not None:
                    patch.setattr(module, "_libc", Library(calls, module._libc))
            yield


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_error_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, after: bool
) -> None:
    """What and whose it is, nothing but Trouble, nothing lost that was not to be taken away, no descriptor left open."""
    stage = Stage(tmp_path, monkeypatch, operation)
    calls = Calls()
    usual, _ = stage.play(calls)
    wrong = []
    for number, name in enumerate(calls.made):
        if after and number not in calls.done:
            continue  # it does nothing
        for error in PAGES[name].split():
            no_trouble = quiet(operation, name, number)
            if (name, error) in ABSURD or (after and error in no_trouble and name in ("renameat2", "link")):
                continue  # a call that is not there, or that refuses, does nothing
            found, lost = stage.play(Calls(number, getattr(errno, error), after))
            last = number == len(calls.made) - 1 and "not there" in operation
            meant = STALE if operation == "read a source" and number == 0 else {}
            right = told(meant.get(error, TELLS[error]), error, found, last) or (
                error in no_trouble and same(found, usual)
            )
            if not right or not lost <= {OPERATIONS[operation].takes, TAKES.get((operation, name, error))}:
                wrong.append(f"{name}, the call number {number}, says {error}: {found!r}, lost {lost}")
    assert not wrong, "\n".join(wrong)


def quiet(operation: str, name: str, number: int) -> list[str]:
    """Errors of a call that are no trouble."""
    keys = (operation, f"{name} {number}"), (operation, name), ("*", name), (operation, "*")
    return next((QUIET[key] for key in keys if key in QUIET), "").replace("*", PAGES[name]).split()


def same(found: Any, usual: Any) -> bool:
    """Whether it is what comes of the operation without any fault, or nothing where that cannot be told."""
    return found is None or (
        type(found) is type(usual) and (not isinstance(found, Trouble) or found.what is usual.what)
    )


def told(meant: What, error: str, found: Any, last: bool) -> bool:
    """Whether what was returned or raised says what the error means. `last`: of the calls that were made."""
    why = found.trouble if isinstance(found, CannotTell) else found
    if isinstance(why, Trouble):
        owner = next((whose for whose, whats in OWNERS.items() if why.what in whats), Whose.FILE)
        return bool(why.reason) and why.whose is owner and why.what is meant
    if found is ABSENT:  # the system said so, and then the root answered as itself
        return error in ("ENOENT", "ENOTDIR", "ELOOP") and not last
    if isinstance(found, NotTheVersion):  # the source is there, whatever one call said
        return found.seen is not None and error in ("ENOENT", "EAGAIN", "EBUSY")
    answer = found.writer if isinstance(found, Examined) else found
    if error in ("EAGAIN", "EBUSY"):
        return answer is Writer.OPEN
    return answer is Writer.CANNOT_TELL


def test_each_error_has_one_meaning() -> None:
    """What it says, and whose it is; what nobody thought of is unknown, and a name that cannot be is the name's."""
    for name, what in TELLS.items():
        number = getattr(errno, name)
        found = trouble(OSError(number, os.strerror(number)))
        assert (found.what, found.reason) == (what, os.strerror(number))
        assert found.whose is next((whose for whose, whats in OWNERS.items() if what in whats), Whose.FILE)
    assert trouble(OSError()).what is What.OTHER
    assert trouble(ValueError("embedded null byte")).what is What.NAME_REFUSED
