"""A directory and what lies below it, opened part by part and never through a symbolic link.

Every operation starts from a descriptor of the directory that holds the name, so that a directory which somebody swaps for
a link between check and use never leads outside.
"""

import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from agent.errors import Whose
from agent.files.held import HeldByName, kept
from agent.files.posix import durable, rights
from agent.files.posix.errors import REFUSALS, says_nothing_there, trouble
from agent.files.posix.handle import PosixHandle, give_back
from agent.files.posix.making import (
    DIRECTORY,
    PRIVATE,
    allow,
    downwards,
    enter,
    has_default_acl,
    make,
    require_own,
    widest,
)
from agent.files.posix.observing import KINDS, LEAST, MOST, born, numbers, observation
from agent.files.posix.volume_ids import TreeVolumes
from agent.files.tree import Handle, Listed, Tree, sync_grown
from agent.files.trouble import ABSENT, CannotTell, Look, NotAFile, Trouble, What, is_known
from rules.model import OWN_PREFIX, Entry, Kind, Observation, Version

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Never through a link, never hanging on a FIFO."""
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MARK = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_AT_MOST = 64
_ENCODING = sys.getfilesystemencoding()


class PosixTree:
    """Descriptors of the root and of the directories used last. See `agent.files.tree.Tree`."""

    def __init__(self, root: str) -> None:
        """Open the root, which may be a link. Raises Trouble."""
        self.root = root
        try:
            self.fd = os.open(root, DIRECTORY)
        except REFUSALS as error:
            raise trouble(error) from error
        try:
            status = os.fstat(self.fd)
        except OSError as error:
            give_back(self.fd)
            raise trouble(error) from error
        self._volumes = TreeVolumes()
        self.opened = observation(status, self._volumes.volume(status.st_dev, self.fd))
        self._identity = status.st_dev, status.st_ino
        self._open: OrderedDict[str, int] = OrderedDict()
        self._grown: set[str] = set()
        """Directories in which directories were made, whose names are not durable yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptors back."""
        for fd in self._open.values():
            give_back(fd)
        self._open.clear()
        give_back(self.fd)

    # Directories

    def directory(self, path: str) -> int:
        """A descriptor of a directory, valid until the next call. Raises OSError.

        ELOOP or ENOTDIR where a part is a link.
        """
        if not path:
            return self.fd
        known = self._open.get(path)
        if known is not None:
            self._open.move_to_end(path)
            return known
        above, missing = path, []
        while above and above not in self._open:
            above, _, name = above.rpartition("/")
            missing.append(name)
        fd = self._open[above] if above else self.fd
        for name in reversed(missing):
            above = f"{above}/{name}" if above else name
            fd = self._open[above] = enter(name, fd)
            if len(self._open) > _OPEN_AT_MOST:
                give_back(self._open.popitem(last=False)[1])
        return fd

    def _grown_to(
        self, path: str, like: tuple["PosixTree", str] | None, mode: int | None = None, group: int | None = None
    ) -> int:
        """The same, making what is missing: no wider than the umask, and the directories of `like`, let it be. Raises OSError."""
        private = f"/{OWN_PREFIX}" in f"/{path}"
        if not private:
            try:
                return self.directory(path)
            except FileNotFoundError:
                pass  # a part of it at the least
        above, inside = "", False
        wide = [0o777] * (path.count("/") + 1) if like is None else widest(path, like[1], like[0]._permissions)
        for name, most in zip(path.split("/"), wide, strict=True):
            parent, above = above, f"{above}/{name}" if above else name
            own = name.startswith(OWN_PREFIX)
            try:
                self.directory(above)
            except FileNotFoundError:
                make(name, self.directory(parent), most, PRIVATE if own else mode, None if inside or own else group)
                self._grown.add(parent)
            inside = inside or own
            if inside:
                holder = self.directory(parent)
                require_own(f"{self.root}/{above}", self.directory(above), holder, 0o077 if own else 0)
        return self.directory(path)

    def _permissions(self, path: str) -> int:
        """The permissions of a directory; where it is gone: those of its owner alone. Raises OSError."""
        try:
            return os.fstat(self.directory(path)).st_mode & 0o777
        except REFUSALS as error:
            if not says_nothing_there(error):
                raise
            return PRIVATE

    def _parent(self, path: str) -> tuple[int, str]:
        """The descriptor of the directory that holds a path, and the path's last part. Raises OSError."""
        parent, _, name = path.rpartition("/")
        return self.directory(parent), downwards(name)

    # Looking

    def look(self, path: str) -> Look:
        """See `Tree`."""
        try:
            if not path:
                return self._seen(os.fstat(self.fd))
            directory, name = self._parent(path)
            return self._seen(os.stat(name, dir_fd=directory, follow_symlinks=False), name, directory)
        except REFUSALS as error:
            return self._unseen(error)

    def _seen(self, status: os.stat_result, name: str = ".", directory: int | None = None) -> Observation:
        """`name`: in `directory`; the root itself without."""
        at = self.fd if directory is None else directory
        return observation(status, self._volumes.named(status.st_dev, name, at))

    def _unseen(self, why: OSError | ValueError) -> Look:
        """Nothing was seen at a name: does that say that nothing is there? Only if the root still is what it was."""
        if not says_nothing_there(why):
            return CannotTell(trouble(why))
        try:
            now = os.stat(self.root)
        except REFUSALS as error:
            return CannotTell(trouble(error))
        if (now.st_dev, now.st_ino) == self._identity:
            return ABSENT
        return CannotTell(Trouble(What.STALE, "another directory stands at the root"))

    def target(self, path: str) -> str:
        """See `Tree`."""
        try:
            directory, name = self._parent(path)
            return os.readlink(name, dir_fd=directory)
        except REFUSALS as error:
            raise trouble(error) from error

    def born(self, path: str) -> int | None:
        """See `Tree`."""
        try:
            directory, name = self._parent(path)
            return born(name, directory)
        except REFUSALS:
            return None

    def names(self, path: str) -> list[str]:
        """See `Tree`."""
        try:
            return os.listdir(self.directory(path))
        except REFUSALS as error:
            raise trouble(error) from error

    def scan(self, path: str, most: int) -> Iterator[Listed]:
        """See `Tree`. The directories' names come with the entries before which they were read."""
        try:
            fd = os.dup(self.directory(path))  # whoever takes an entry may open directories that take its place
        except REFUSALS as error:
            raise trouble(error) from error
        try:
            yield from self._scanned(fd, most)
        finally:
            give_back(fd)

    def _scanned(self, fd: int, most: int) -> Iterator[Listed]:
        """As `scan`, of an open directory."""
        why: Trouble | None = None
        try:
            device, others = os.fstat(fd).st_dev, self._volumes.named
            volume = self._volumes.volume(device, fd)
            scan = os.scandir(fd)
        except REFUSALS as error:
            raise trouble(error) from error
        entries: dict[Entry, Kind] = {}
        directories: list[str] = []
        regular, kinds = Kind.FILE, KINDS
        bad: list[tuple[str, Trouble]] = []
        with scan:
            try:
                for entry in scan:
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            directories.append(entry.name)
                            continue
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone since the listing: not there
                    except OSError as error:
                        one = trouble(error)
                        if one.whose is Whose.AGENT:
                            raise
                        bad.append((entry.name, one))
                        continue
                    size, mtime, ctime, inode = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
                    if not (LEAST <= mtime <= MOST and LEAST <= ctime <= MOST and inode <= MOST):
                        _, mtime, ctime, inode = numbers(size, mtime, ctime, inode)
                    mode = status.st_mode
                    kind = regular if mode & 0o170000 == stat.S_IFREG else kinds.get(stat.S_IFMT(mode), Kind.DEVICE)
                    # os.fsencode without its checks, and the types of the last two without calls: there are millions.
                    name = entry.name.encode(_ENCODING, "surrogateescape")
                    on = volume if status.st_dev == device else others(status.st_dev, entry.name, fd)
                    read: Any = name, size, mtime, ctime, inode, on
                    entries[read] = kind
                    if len(entries) >= most:
                        yield Listed(entries, directories, volume, last=False)
                        entries, directories = {}, []
            except REFUSALS as error:
                why = trouble(error)
        unseen: Trouble | None = None
        if bad:
            first, one = bad[0]
            reason = f"{len(bad)} of its entries cannot be looked at, such as {first}: {one.reason}"
            unseen = Trouble(one.what, reason)
        yield Listed(entries, directories, volume, why is None, unseen)
        if why is not None:
            raise why

    # Opening

    def open(self, path: str, seen: Observation | None = None) -> PosixHandle:
        """See `Tree`."""
        try:
            directory, name = self._parent(path)
            if seen is not None:
                if seen.kind is not Kind.FILE:
                    raise NotAFile(seen)
            elif not stat.S_ISREG((status := os.stat(name, dir_fd=directory, follow_symlinks=False)).st_mode):
                raise NotAFile(self._seen(status, name, directory))
            handle = self._handle(os.open(name, _READ, dir_fd=directory))
        except REFUSALS as error:
            self._not_a_file(path)
            raise trouble(error) from error
        if not stat.S_ISREG(handle.status.st_mode):  # it took the name since the look
            handle.close()
            raise NotAFile(handle.opened)
        return handle

    def _handle(self, fd: int) -> PosixHandle:
        """Raises OSError."""
        try:
            status = os.fstat(fd)
        except OSError:
            give_back(fd)
            raise
        return PosixHandle(fd, self._volumes, status)

    def _not_a_file(self, path: str) -> None:
        """A file could not be opened. Raises NotAFile where something else has taken its name: a link, a socket."""
        seen = self.look(path)
        if isinstance(seen, Observation) and seen.kind is not Kind.FILE:
            raise NotAFile(seen)

    def create(
        self, path: str, like: Handle | None = None, mode: int | None = None, group: int | None = None
    ) -> PosixHandle:
        """See `Tree`."""
        assert like is None or isinstance(like, PosixHandle), "handles of two platforms do not meet"
        try:
            directory, name = self._parent(path)
            if mode is not None:
                most = mode
            elif like is not None and has_default_acl(directory):
                most = 0o666  # the ACL says who is let in
            else:
                most = 0o644 if like is None else like.permissions | 0o200  # by us: it may have to be replaced
            try:
                fd = os.open(name, _NEW, most, dir_fd=directory)
            except FileExistsError:
                try:
                    os.unlink(name, dir_fd=directory)
                except FileNotFoundError:
                    pass  # it is gone
                fd = os.open(name, _NEW, most, dir_fd=directory)
            try:
                allow(fd, mode, group)
            except OSError:
                give_back(fd)
                raise
            return PosixHandle(fd, self._volumes)
        except REFUSALS as error:
            raise trouble(error) from error

    def mark(self, path: str, content: bytes) -> Observation | None:
        """See `Tree`."""
        try:
            directory, name = self._parent(path)
            try:
                if not _alone(os.stat(name, dir_fd=directory, follow_symlinks=False)):
                    return None
            except FileNotFoundError:
                pass  # it is made
            fd = os.open(name, _MARK, 0o644, dir_fd=directory)
            try:
                if not _alone(os.fstat(fd)):  # it took the name since
                    return None
                os.ftruncate(fd, 0)
                os.write(fd, content)
                return self._seen(os.fstat(fd), name, directory)
            finally:
                give_back(fd)
        except REFUSALS as error:
            raise trouble(error) from error

    # Names

    def make_directory(
        self, path: str, like: tuple[Tree, str] | None = None, mode: int | None = None, group: int | None = None
    ) -> None:
        """See `Tree`."""
        tree, source = like or (None, "")
        assert tree is None or isinstance(tree, PosixTree), "trees of two platforms do not meet"
        try:
            self._grown_to(path, None if tree is None else (tree, source), mode, group)
        except REFUSALS as error:
            raise trouble(error) from error

    def rename_new(self, source: str, target: str) -> None:
        """See `Tree`."""
        self._rename(source, target, durable.rename_new)

    def make_link(self, path: str, target: str) -> None:
        """See `Tree`."""
        try:
            directory, name = self._parent(path)
            os.symlink(target, name, dir_fd=directory)
        except REFUSALS as error:
            raise trouble(error) from error

    def replace(self, source: str, target: str) -> None:
        """See `Tree`."""
        self._rename(source, target, durable.replace)

    def replace_known(self, source: str, target: str, known: Observation) -> None:
        """See `Tree`."""
        if is_known(self.look(target), known) is ABSENT:
            self.rename_new(source, target)
            return
        try:
            self._rename(source, target, durable.exchange)
        except Trouble as error:
            if error.what is not What.UNSUPPORTED:
                raise
            self.replace(source, target)  # the gap since the look is as small as it can be made, not closed
            return
        taken = self.look(source)
        version = known.version
        if isinstance(taken, Observation):  # being renamed moves its ctime
            version = version._replace(ctime_ns=taken.version.ctime_ns)
        try:
            is_known(taken, known._replace(version=version))
        except Trouble:
            self._rename(source, target, durable.exchange)
            raise
        self.unlink(source)

    def _rename(self, source: str, target: str, rename: durable.Rename) -> None:
        try:
            (above, _, name), (other, _, new) = source.rpartition("/"), target.rpartition("/")
            name, new = downwards(name), downwards(new)
            if above == other:
                directory = self.directory(above)
                rename(name, new, directory, directory)
                return
            held = os.dup(self.directory(above))  # the other directory's parts may take its place
            try:
                rename(name, new, held, self._grown_to(other, (self, above)))
            finally:
                give_back(held)
        except REFUSALS as error:
            raise trouble(error) from error

    def unlink(self, path: str) -> None:
        """See `Tree`."""
        try:
            directory, name = self._parent(path)
            os.unlink(name, dir_fd=directory)
        except REFUSALS as error:
            raise trouble(error) from error

    def move_aside(self, path: str, aside: str, proved: Version) -> HeldByName:
        """See `Tree`."""
        return kept(HeldByName(self, self.open(path), aside, proved), lambda held: held.move(path))

    def hold(self, aside: str, proved: Version, ctime_ns: int | None) -> HeldByName:
        """See `Tree`."""
        return kept(HeldByName(self, self.open(aside), aside, proved), lambda held: held.stands_aside(ctime_ns))

    def remove_directory(self, path: str) -> None:
        """See `Tree`."""
        try:
            directory, name = self._parent(path)
            os.rmdir(name, dir_fd=directory)
        except REFUSALS as error:
            raise trouble(error) from error

    # Durability

    def sync(self, path: str) -> None:
        """See `Tree`."""
        try:
            sync_grown(self._grown, path, lambda one: durable.sync_directory(self.directory(one)))
        except REFUSALS as error:
            raise trouble(error) from error

    def sync_volumes(self, paths: Iterable[str]) -> None:
        """See `Tree`."""
        try:
            # In their order: a deep directory is opened from its neighbour, not from the root.
            some = (self.directory(path) for path in sorted({*paths, *self._grown}))
            durable.sync_file_systems(some, durable.sync_directory)
            self._grown.clear()
        except REFUSALS as error:
            raise trouble(error) from error

    def writable(self) -> bool:
        """See `Tree`."""
        return os.access(self.root, os.W_OK)

    def cannot_move_aside(self, path: str, aside: str) -> str | None:
        """See `Tree`."""
        try:
            directory, name = self._parent(path)
            why = rights.cannot_go(directory, name, self._whole(path.rpartition("/")[0]))
            own = rights.own_part(aside)
            if why is not None or own is None:
                return why
            owner = os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
            return rights.no_own_directory(self.directory(own[0]), own[1], self._whole(own[0]), owner)
        except REFUSALS as error:
            return trouble(error).reason

    def _whole(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root


def _alone(status: os.stat_result) -> bool:
    """Whether it is a regular file with one name."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1
