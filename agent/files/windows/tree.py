"""A directory and what lies below it, opened part by part and never through a link.

Each call opens the directories on its way by the handle of the one above, and gives them back before it returns: while a
handle below a directory is open, Windows does not rename that directory, as instruments do at the end of a run.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from agent.files.held import kept
from agent.files.tree import Handle, Listed, Tree, sync_grown
from agent.files.trouble import ABSENT, CannotTell, Look, NotAFile, Trouble, What, is_known
from agent.files.windows import nt, volumes
from agent.files.windows.errors import says_nothing_there
from agent.files.windows.facts import REPARSE, Facts, file_id, kind_of, nanoseconds, native, new_part, part, target
from agent.files.windows.handle import WindowsHandle, observation
from agent.files.windows.held import WindowsHeld
from agent.files.windows.yielding import YieldingHandle
from rules.model import Entry, Kind, Observation, Version

T = TypeVar("T")
_ENTER: Final = nt.LIST | nt.TRAVERSE | nt.READ_ATTRIBUTES
_PATIENCE: Final = 2.0
"""Seconds in which a program that has just opened a file, such as a virus scanner, gives it back."""
_ALONE: Final = nt.OPEN_REPARSE_POINT | nt.NON_DIRECTORY


class WindowsTree:
    """A handle of the root. See `agent.files.tree.Tree`."""

    def __init__(self, root: str) -> None:
        """Open the root, which may be a link. Raises Trouble."""
        self.root = root
        self._root = volumes.root(root)
        try:
            self._where = volumes.where(self._root)
            self.opened = observation(nt.look(self._root), self._where.id)
        except Trouble:
            nt.close(self._root)
            raise
        self._grown: set[str] = set()
        """Directories in which directories were made, whose names are not durable yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the root back."""
        root, self._root = self._root, 0
        if root:
            nt.close(root)

    # Directories

    @contextmanager
    def _directory(
        self, path: str, access: int = 0, make: Callable[[str, int, str], None] | None = None
    ) -> Iterator[int]:
        """A handle of a directory while the block runs. Raises Trouble.

        Args:
            path: of the directory.
            access: to it, beyond looking.
            make: makes one that is absent, of a path, in a directory, by its name.
        """
        at = nt.opened("", self._root, _ENTER | (0 if path else access), options=nt.DIRECTORY_FILE)
        try:
            above = ""
            for name in path.split("/") if path else []:
                parent, above = above, f"{above}/{name}" if above else name
                more = access if above == path else 0
                try:
                    below = _entered(at, name, more)
                except Trouble as trouble:
                    if make is None or trouble.what is not What.ABSENT:
                        raise
                    make(parent, at, name)
                    below = _entered(at, name, more)
                at, former = below, at
                nt.close(former)
            yield at
        finally:
            nt.close(at)

    @contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """A handle of the directory that holds a path, and the path's last part. Raises Trouble."""
        above, _, name = path.rpartition("/")
        with self._directory(above) as directory:
            yield directory, part(name)

    def _opened(self, path: str, access: int, **how: Any) -> int:
        with self._parent(path) as (directory, name):
            return nt.opened(name, directory, access | nt.READ_ATTRIBUTES, **how)

    def _grow(self, path: str) -> None:
        """Make a directory, and those above it, where they are absent. Raises Trouble."""

        def make(parent: str, directory: int, name: str) -> None:
            _make(directory, name)
            self._grown.add(parent)

        with self._directory(path, make=make):
            pass

    # Looking

    def look(self, path: str) -> Look:
        """See `Tree`."""
        try:
            return self._look(path)
        except Trouble as trouble:
            return self._unseen(trouble)

    def _look(self, path: str) -> Observation:
        if not path:
            return observation(nt.look(self._root), self._where.id)
        with self._parent(path) as (directory, name):
            handle = nt.opened(name, directory, nt.READ_ATTRIBUTES)
            try:
                seen = observation(nt.look(handle), self._where.id)
                return seen._replace(kind=Kind.LINK) if _led_away(handle, directory, name) else seen
            finally:
                nt.close(handle)

    def _unseen(self, why: Trouble) -> Look:
        """Nothing was seen at a name: does that say that nothing is there? Only if the root still is what it was."""
        if not says_nothing_there(why):
            return CannotTell(why)
        try:
            handle = nt.opened(native(self.root), None, nt.READ_ATTRIBUTES, options=nt.DIRECTORY_FILE)
            now = nt.closing(handle, lambda root: observation(nt.look(root), volumes.where(root).id))
        except Trouble as trouble:
            return CannotTell(trouble)
        if now.file == self.opened.file:
            return ABSENT
        return CannotTell(Trouble(What.STALE, "another directory stands at the root"))

    def target(self, path: str) -> str:
        """See `Tree`."""
        return target(nt.closing(self._opened(path, 0), nt.reparse_data))

    def born(self, path: str) -> int | None:
        """See `Tree`. Windows gives a new file the time of a former one of its name; its numbers are not used again on NTFS."""
        return None

    def names(self, path: str) -> list[str]:
        """See `Tree`."""
        with self._directory(path) as directory:
            return [entry.name for block in nt.listed(directory) for entry in block]

    def scan(self, path: str, most: int) -> Iterator[Listed]:
        """See `Tree`."""
        # Read as a whole before anything is given away: whoever takes an entry may take long, and the handle would stay open.
        found: list[Any] = []
        why: Trouble | None = None
        with self._directory(path) as directory:
            try:
                for block in nt.listed(directory):
                    found += block
            except Trouble as trouble:
                why = trouble
        volume = self._where.id
        entries: dict[Entry, Kind] = {}
        directories: list[str] = []
        for one in found:
            kind = kind_of(one.attributes, one.tag)
            if kind is Kind.DIRECTORY:
                directories.append(one.name)
                continue
            name = one.name.encode("utf-8", "surrogatepass")
            times = nanoseconds(one.written), nanoseconds(one.changed)
            entries[name, one.size, *times, file_id(one.number), volume] = kind
            if len(entries) >= most:
                yield Listed(entries, directories, volume, last=False)
                entries, directories = {}, []
        yield Listed(entries, directories, volume, why is None)
        if why is not None:
            raise why

    # Opening

    def open(self, path: str, seen: Observation | None = None) -> WindowsHandle:
        """See `Tree`. Everything is shared: the file may be renamed and removed while it is open, and is given up if need be."""
        if seen is not None and seen.kind is not Kind.FILE:
            raise NotAFile(seen)
        with self._parent(path) as (directory, name):
            try:
                handle = nt.opened(name, directory, nt.READ_ATTRIBUTES, options=_ALONE, waits=0)
            except Trouble:
                now = self.look(path)
                if isinstance(now, Observation) and now.kind is not Kind.FILE:
                    raise NotAFile(now) from None
                raise
            facts = self._regular(handle, directory, name)
            # A deduplicated or compressed file is read by its driver, by way of the reparse point.
            options = (_ALONE if not facts.attributes & REPARSE else nt.NON_DIRECTORY) | nt.NO_RECALL

            def read() -> int:
                return nt.opened(name, directory, nt.READ_DATA | nt.READ_ATTRIBUTES, options=options)

            if self._where.knows_writers and not facts.attributes & REPARSE:
                return YieldingHandle(handle, self._where, facts, read)
            nt.close(handle)
            handle = read()
            return WindowsHandle(handle, self._where, self._regular(handle, directory, name))

    def _regular(self, handle: int, directory: int, name: str) -> Facts:
        """What a handle is of. Raises NotAFile where it is no regular file, and Trouble: then it is given back."""
        try:
            facts = nt.look(handle)
            seen = observation(facts, self._where.id)
            if _led_away(handle, directory, name):
                seen = seen._replace(kind=Kind.LINK)
            if seen.kind is not Kind.FILE:
                raise NotAFile(seen)
        except Trouble:
            nt.close(handle)
            raise
        return facts

    def create(
        self, path: str, like: Handle | None = None, mode: int | None = None, group: int | None = None
    ) -> WindowsHandle:
        """See `Tree`. Its permissions are those that the directory gives."""
        access = nt.READ_DATA | nt.WRITE_DATA | nt.READ_ATTRIBUTES | nt.WRITE_ATTRIBUTES
        with self._parent(path) as (directory, name):
            new_part(name)

            def make() -> WindowsHandle:
                made = nt.opened(name, directory, access, disposition=nt.CREATE, options=_ALONE)
                return WindowsHandle(made, self._where)

            try:
                return make()
            except Trouble as trouble:
                if trouble.what is not What.EXISTS:
                    raise
            _patiently(lambda: _remove(directory, name, nt.NON_DIRECTORY))
            return _patiently(make)

    def mark(self, path: str, content: bytes) -> Observation | None:
        """See `Tree`."""
        access = nt.WRITE_DATA | nt.READ_ATTRIBUTES
        with self._parent(path) as (directory, name):
            try:
                handle = nt.opened(new_part(name), directory, access, disposition=nt.OPEN_IF, options=_ALONE)
            except Trouble as trouble:
                if trouble.what is What.DIRECTORY:
                    return None
                raise
            try:
                facts = nt.look(handle)
                if facts.kind is not Kind.FILE or facts.links > 1 or _led_away(handle, directory, name):
                    return None
                nt.set_size(handle, 0)
                nt.write(handle, content, 0)
                return observation(nt.look(handle), self._where.id)
            finally:
                nt.close(handle)

    # Names

    def make_directory(
        self, path: str, like: tuple[Tree, str] | None = None, mode: int | None = None, group: int | None = None
    ) -> None:
        """See `Tree`. Its permissions are inherited from the directory above."""
        self._grow(path)

    def rename_new(self, source: str, target: str) -> None:
        """See `Tree`."""
        self._rename(source, target, replace=False)

    def make_link(self, path: str, target: str) -> None:
        """See `Tree`. Windows lets few users make one."""
        raise Trouble(What.UNSUPPORTED, "no symbolic links are made on Windows")

    def replace(self, source: str, target: str) -> None:
        """See `Tree`."""
        self._rename(source, target, replace=True)

    def replace_known(self, source: str, target: str, known: Observation) -> None:
        """See `Tree`. Windows exchanges no names: the gap since the look is as small as it can be made, not closed."""
        if is_known(self.look(target), known) is ABSENT:
            self.rename_new(source, target)
        else:
            self.replace(source, target)

    def _rename(self, source: str, target: str, *, replace: bool) -> None:
        if target.startswith(f"{source}/"):
            raise Trouble(What.NAME_REFUSED, "a directory cannot be moved into itself")

        def rename() -> None:
            handle = self._opened(source, nt.DELETE, options=nt.OPEN_REPARSE_POINT | nt.WRITE_THROUGH)
            try:
                directory = nt.look(handle).kind is Kind.DIRECTORY  # which replaces nothing
                self._name(handle, target, replace=replace and not directory)
            finally:
                nt.close(handle)

        try:
            _patiently(rename)
        except Trouble as trouble:
            seen = self.look(target) if replace and trouble.what in (What.DENIED, What.EXISTS) else ABSENT
            if isinstance(seen, Observation) and (seen.kind is Kind.DIRECTORY or trouble.what is What.EXISTS):
                what = What.DIRECTORY if seen.kind is Kind.DIRECTORY else What.NOT_A_DIRECTORY
                raise Trouble(what, trouble.reason) from None
            raise

    def _name(self, handle: int, path: str, *, replace: bool = False) -> None:
        """Give what a handle is of a name. Missing directories are made. Raises Trouble."""
        self._grow(path.rpartition("/")[0])
        with self._parent(path) as (directory, name):
            nt.rename(handle, directory, new_part(name), replace=replace)

    def unlink(self, path: str) -> None:
        """See `Tree`."""
        with self._parent(path) as (directory, name):
            _patiently(lambda: _remove(directory, name, nt.NON_DIRECTORY))

    def move_aside(self, path: str, aside: str, proved: Version) -> WindowsHeld:
        """See `Tree`."""
        return kept(self._held(path, proved), lambda held: held.move(aside))

    def hold(self, aside: str, proved: Version, ctime_ns: int | None) -> WindowsHeld:
        """See `Tree`."""
        try:
            held = self._held(aside, proved)
        except Trouble as trouble:
            if trouble.what is not What.BUSY:
                raise
            held = self._held(aside, proved, guarded=False)
        return kept(held, lambda held: held.stands_aside(ctime_ns))

    def _held(self, path: str, proved: Version, *, guarded: bool = True) -> WindowsHeld:
        """A file, open for reading; `guarded`: for removing, too, and by nobody for writing. Raises Trouble."""
        share = nt.SHARE_READ | nt.SHARE_DELETE if guarded else nt.SHARE_ALL
        with self._parent(path) as (directory, name):
            # A writer may not allow that its file is removed: to it, that would be an open that fails.
            access = nt.READ_DATA | nt.READ_ATTRIBUTES | (nt.DELETE if guarded else 0)
            handle = nt.opened(name, directory, access, share=share, options=_ALONE | nt.NO_RECALL)
            facts = self._regular(handle, directory, name)
        known = guarded and self._where.knows_writers
        # What a writer has open is renamed by its name, where the writer allows that.
        rename = self._name if guarded else lambda _, target: self.rename_new(path, target)
        return WindowsHeld(WindowsHandle(handle, self._where, facts), rename, proved, guarded=guarded, known=known)

    def remove_directory(self, path: str) -> None:
        """See `Tree`."""
        with self._parent(path) as (directory, name):
            _patiently(lambda: _remove(directory, name, nt.DIRECTORY_FILE))

    # Durability

    def sync(self, path: str) -> None:
        """See `Tree`."""
        sync_grown(self._grown, path, self._sync)

    def _sync(self, path: str) -> None:
        """Windows flushes the names of a directory by a handle that may add files to it."""
        try:
            with self._directory(path, nt.ADD_FILE) as directory:
                nt.flush(directory)
        except Trouble as trouble:
            if trouble.what not in (What.DENIED, What.UNSUPPORTED):  # some servers have no such call for directories
                raise

    def sync_volumes(self, paths: Iterable[str]) -> None:
        """See `Tree`. Only an administrator may flush a volume: each directory is flushed."""
        for path in sorted({*paths, *self._grown}):
            self._sync(path)
        self._grown.clear()

    def writable(self) -> bool:
        """See `Tree`."""
        return self._may_write("")

    def cannot_move_aside(self, path: str, aside: str) -> str | None:
        """See `Tree`."""
        directory = path.rpartition("/")[0]
        if self._may_write(directory):
            return None
        return f"the agent's user may not remove files from {self.root}/{directory}; let it write there"

    def _may_write(self, path: str) -> bool:
        try:
            with self._directory(path, nt.ADD_FILE):
                return True
        except Trouble:
            return False


def _entered(directory: int, name: str, access: int) -> int:
    """A handle of a directory in another. Raises Trouble, also where a link has its name."""
    below = nt.opened(part(name), directory, _ENTER | access, options=nt.DIRECTORY_FILE | nt.OPEN_REPARSE_POINT)
    try:
        if nt.look(below).kind is Kind.LINK or _led_away(below, directory, name):
            raise Trouble(What.LINK, "a link stands in place of a directory")  # noqa: TRY301  (one way that gives it back)
    except Trouble:
        nt.close(below)
        raise
    return below


def _make(directory: int, name: str) -> None:
    """Make a directory, where it is absent. Raises Trouble."""
    options = nt.DIRECTORY_FILE | nt.OPEN_REPARSE_POINT
    try:
        nt.close(nt.opened(new_part(name), directory, _ENTER, disposition=nt.CREATE, options=options))
    except Trouble as trouble:
        if trouble.what is not What.EXISTS:  # another thread was faster
            raise


def _remove(directory: int, name: str, options: int) -> None:
    """Remove a name. Raises Trouble."""
    handle = nt.opened(name, directory, nt.DELETE | nt.READ_ATTRIBUTES, options=options | nt.OPEN_REPARSE_POINT)
    try:
        nt.closing(handle, nt.delete)
    except Trouble as trouble:
        if trouble.what is not What.NOT_PERMITTED:
            raise
        # It is read-only, of a Windows that cannot remove such files as they are.
        access = nt.DELETE | nt.READ_ATTRIBUTES | nt.WRITE_ATTRIBUTES
        nt.closing(nt.opened(name, directory, access, options=options | nt.OPEN_REPARSE_POINT), _remove_writable)


def _remove_writable(handle: int) -> None:
    nt.set_basic(handle, attributes=0x80)  # FILE_ATTRIBUTE_NORMAL
    nt.delete(handle)


def _led_away(handle: int, directory: int, name: str) -> bool:
    """Whether the handle is of something that does not stand at its name: a link that does not show itself as one."""
    there = nt.final_path(handle)
    expected = f"{nt.final_path(directory)}\\{name}".replace("\\\\", "\\")
    # Wine says such a path without the dots and spaces at its end.
    return there is not None and there.casefold().rstrip(". ") != expected.casefold().rstrip(". ")


def _patiently(act: Callable[[], T]) -> T:
    """Do it, and again while another program has the file open, as scanners have for a moment. Raises Trouble."""
    until, wait = time.monotonic() + _PATIENCE, 0.001
    while True:
        try:
            return act()
        except Trouble as trouble:
            if trouble.what is not What.BUSY or time.monotonic() + wait > until:
                raise
        time.sleep(wait)
        wait *= 2
