"""Writing one group of files into a directory: stage, make durable, prove, show.

This is all that happens to a file at the destination, in its order. It runs in a thread of the agent, or in a helper
process (`agent.destinations.directory.worker`), so it imports little and holds no state beyond one group.
"""

import errno
import json
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from agent.destinations import Arrived, Item, Occupied, Outcome, Unfit
from agent.errors import Transient, cause
from agent.files.posix import durable as disk
from agent.files.posix import volumes as mounts
from agent.files.posix.tree import Tree
from agent.files.reader import ChecksumName, Source, SourceChanged, checksum_of
from agent.host.steps import Steps
from rules.model import OWN_PREFIX

IDENTITY = OWN_PREFIX + "-destination"
"""Name of the file that says which destination a directory is."""
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
"""Errors which say that nothing can be at a path: a part of it is missing, not a directory, a link, or no name there."""
_RETRY = "`dropline retry`"


class Place(NamedTuple):
    """A destination directory, and how files are proved there."""

    name: str
    path: str
    identity: str | None
    """What its identity file says; None: a directory of a person, which has none."""
    verify: str
    checksum: ChecksumName
    agent: str
    """Id of the agent; many may write to one destination."""


class Written(NamedTuple):
    """What became of a group. `failure`: why the files without an outcome could not be done."""

    outcomes: list[Outcome]
    failure: str | None


class _Staged(NamedTuple):
    """A file under its temporary name, not yet visible."""

    item: Item
    fd: int
    checksum: bytes


def identity(tree: Tree) -> str:
    """What the identity file says. Raises FileNotFoundError, other OSError, and Transient where it is damaged."""
    fd = os.open(IDENTITY, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=tree.fd)
    try:
        text = os.read(fd, 4096)
    finally:
        os.close(fd)
    try:
        return str(json.loads(text)["dropline_destination"])
    except (ValueError, KeyError, TypeError):
        raise Transient(f"{tree.root}/{IDENTITY} is not an identity file of Dropline; restore it") from None


def require(tree: Tree, expected: str) -> None:
    """Raise Transient unless the open directory is the destination with this identity."""
    try:
        found = identity(tree)
    except FileNotFoundError:
        raise Transient(
            f"{tree.root} has no {IDENTITY}: the share is not mounted, or the file was removed;"
            f" mount the share, or restore the file with identity {expected}"
        ) from None
    if found != expected:
        raise Transient(
            f"{tree.root} is another destination (identity {found}, expected {expected}); mount the right one"
        )


def temporary_name(agent: str, file: int) -> str:
    """The name under which a file is staged: the same at each attempt, so that nothing is left behind."""
    return f"{OWN_PREFIX}-{agent}-{file}.part"


def remove_temporary(tree: Tree, agent: str, file: int, path: str) -> None:
    """Remove what an attempt to deliver the file to `path` may have left."""
    try:
        directory, _ = tree.place(path)
        os.unlink(temporary_name(agent, file), dir_fd=directory)
    except OSError as error:
        if error.errno not in NOT_THERE:  # else nothing was staged
            raise


def write(place: Place, group: Sequence[Item], steps: Steps) -> Written:
    """Deliver a group of files. Raises nothing that is expected: what failed is in the answer."""
    outcomes: list[Outcome] = []
    steps.at(place.path)
    try:
        with Tree(place.path) as tree:
            if place.identity is not None:
                require(tree, place.identity)
            _Group(place, tree, steps).deliver(group, outcomes)
    except Transient as error:
        return Written(outcomes, str(error))
    except OSError as error:
        return Written(outcomes, f"{place.path}: {cause(error)}")
    return Written(outcomes, None)


class _Group:
    """The files that are staged, proved and shown together."""

    def __init__(self, place: Place, tree: Tree, steps: Steps) -> None:
        self._place = place
        self._tree = tree
        self._steps = steps
        self._afar = mounts.afar(place.path)
        self._sources = Source(place.checksum, steps)

    def deliver(self, group: Sequence[Item], outcomes: list[Outcome]) -> None:
        """Fill `outcomes`; files without one were not done. Raises Transient and OSError."""
        staged: list[_Staged] = []
        hidden: list[_Staged] = []
        arrived: list[Outcome] = []
        try:
            with self._sources:
                for item in group:
                    done = self._one(item)
                    if isinstance(done, _Staged):
                        staged.append(done)
                        hidden.append(done)
                    else:
                        (arrived if isinstance(done, Arrived) else outcomes).append(done)
                self._step()
                self._make_durable([one.fd for one in staged])
                if self._place.verify != "size":
                    disk.drop_cache([one.fd for one in staged])
                for one in staged:
                    self._step()
                    self._prove(one)
                while hidden:
                    self._step()
                    arrived.append(self._show(hidden[0]))
                    hidden.pop(0)
                self._step()
                self._make_names_durable(group, arrived)
                outcomes.extend(arrived)
        finally:
            for one in staged:
                os.close(one.fd)
            for one in hidden:
                self._remove(one.item)

    def _make_durable(self, fds: Sequence[int]) -> None:
        if not self._afar:
            disk.make_durable(fds)
            return
        # To FUSE and SMB, syncfs(2) does not say that anything is to be made durable there; fsync(2) does.
        for fd in fds:
            self._step()
            os.fsync(fd)

    def _step(self) -> None:
        self._steps.at(self._place.path)

    def _make_names_durable(self, group: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        there = {outcome.file: outcome.adopted for outcome in outcomes if isinstance(outcome, Arrived)}
        parents = {item.path.rpartition("/")[0] for item in group if item.file in there}
        # What was adopted was not written by us: its content, too, may be in the page cache only.
        if self._afar:
            for item in group:
                if there.get(item.file):
                    self._make_adopted_durable(item)
        elif len(parents) > 2 or any(there.values()):
            disk.sync_file_systems(self._tree.directory(parent) for parent in parents)
            return
        for parent in parents:
            self._step()
            disk.sync_directory(self._tree.directory(parent))

    def _make_adopted_durable(self, item: Item) -> None:
        directory, name = self._tree.place(item.path)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        try:
            self._make_durable([fd])
        finally:
            os.close(fd)

    def _one(self, item: Item) -> _Staged | Outcome:
        self._step()
        try:
            return self._present(item) or self._stage(item)
        except SourceChanged as change:
            self._remove(item)
            return change.outcome
        except OSError as error:
            if error.errno == errno.EACCES and not os.access(self._place.path, os.W_OK):
                raise  # not this path, but all of the destination
            return _unfit(item, error)

    def _remove(self, item: Item) -> None:
        remove_temporary(self._tree, self._place.agent, item.file, item.path)

    def _present(self, item: Item) -> Outcome | None:
        """What to do about content that is at the path already; None where there is none, or where it may be replaced."""
        try:
            directory, name = self._tree.place(item.path)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return Unfit(
                item.file,
                f"at {self._place.name}, {item.path!r} is not a file",
                "move it away there, then `dropline retry`",
            )
        occupant = self._content(name, directory, status.st_size)
        if status.st_size == item.version.size and self._sources.checksum(item) == occupant:
            self._remove(item)
            return Arrived(item.file, occupant, self._place.checksum, adopted=True)
        if occupant == item.replaces:
            return None
        self._remove(item)  # what a killed attempt staged: the file gets another name, or none
        return Occupied(item.file, occupant)

    def _content(self, name: str, directory: int, size: int) -> bytes:
        """The checksum of what is at the destination. Raises OSError."""
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        try:
            return checksum_of(fd, self._place.checksum, size, self._steps.read)
        finally:
            os.close(fd)

    def _stage(self, item: Item) -> _Staged:
        """Copy to the temporary name, hashing on the way. Raises SourceChanged and OSError."""
        with self._sources.opened(item) as reading:
            self._step()
            directory, _ = self._tree.place(item.path, make=True)
            temporary = temporary_name(self._place.agent, item.file)
            mode = (stat.S_IMODE(reading.status.st_mode) & 0o777) | 0o200  # writable by us: it may have to be replaced
            fd = disk.fresh(temporary, mode, directory)
            try:
                checksum = reading.copy_to(fd, self._place.path)
                self._step()
                try:
                    os.utime(fd, ns=(reading.status.st_atime_ns, item.version.mtime_ns))
                except PermissionError:
                    pass  # shares that map users may not let us; the content is what is promised
            except BaseException:
                os.close(fd)
                os.unlink(temporary, dir_fd=directory)
                raise
        return _Staged(item, fd, checksum)

    def _prove(self, one: _Staged) -> None:
        """Read back what the storage has. Raises Transient where it is not what was written."""
        if self._place.verify == "size":
            good = os.fstat(one.fd).st_size == one.item.version.size
        else:
            os.lseek(one.fd, 0, os.SEEK_SET)
            good = checksum_of(one.fd, self._place.checksum, one.item.version.size, self._steps.read) == one.checksum
        if not good:
            raise Transient(f"{self._place.path}: what was read back of {one.item.path!r} is not what was written")

    def _replaceable(self, item: Item, name: str, directory: int) -> bool:
        """Whether what may be replaced is there still: staging a large file takes long. Raises OSError."""
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            return stat.S_ISREG(status.st_mode) and self._content(name, directory, status.st_size) == item.replaces
        except FileNotFoundError:
            return False

    def _show(self, one: _Staged) -> Outcome:
        """Give the staged file its name."""
        temporary = temporary_name(self._place.agent, one.item.file)
        directory, name = self._tree.place(one.item.path)
        try:
            if one.item.replaces is not None and self._replaceable(one.item, name, directory):
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            else:
                disk.rename_new(temporary, name, directory, directory)
        except FileExistsError:
            # It appeared after we looked. Look again: the same content is ours to adopt, other content is not touched.
            try:
                found = self._present(one.item)
            except SourceChanged as change:
                found = change.outcome
            self._remove(one.item)
            return found or Unfit(
                one.item.file, f"{one.item.path!r} comes and goes at {self._place.name}", "`dropline retry`"
            )
        return Arrived(one.item.file, one.checksum, self._place.checksum, adopted=False)


def _unfit(item: Item, error: OSError) -> Outcome:
    """Errors that concern one name only; others concern the destination and are raised on."""
    reasons = {
        errno.ENAMETOOLONG: "the name is too long there",
        errno.EILSEQ: "the name has characters that the destination does not take",
        errno.EINVAL: "the destination does not take the name",
        errno.ENOTDIR: "a part of the path is not a directory there",
        errno.EISDIR: "a directory has this name there",
        errno.ELOOP: "a part of the path is a symbolic link there",
        errno.EFBIG: "it is larger than files may be there",
        errno.EACCES: "the agent's user may not read or write that there",
    }
    if error.errno not in reasons:
        raise error
    hint = "mend that, rename it, or change the rule's `path`, then `dropline retry`"
    return Unfit(item.file, f"cannot be written as {item.path!r}: {reasons[error.errno]}", hint)
