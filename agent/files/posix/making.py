"""Directories that are made, and who may use them."""

import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterator

from agent.files.posix.handle import give_back
from agent.files.trouble import Trouble, What
from rules.model import OWN_PREFIX

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
PRIVATE = 0o700
"""A directory of its owner alone."""


def downwards(name: str) -> str:
    """A part of a path, which may not lead up, nor end at a NUL as the C library has it. Raises ValueError."""
    if name == ".." or "\0" in name:
        raise ValueError(name)
    return name


def enter(name: str, directory: int) -> int:
    """A descriptor of a directory in another. Raises OSError."""
    return os.open(downwards(name), DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)


def widest(path: str, source: str, permissions: Callable[[str], int]) -> Iterator[int]:
    """How wide each directory of a path may be that is made where the directories of another path stood.

    From the end on, directories with one name stand for one another. What is left of the source counts for all of them: what
    is in them lay in all of that.

    Args:
        path: what is made.
        source: what it stands for, below a root.
        permissions: of a directory there; "" is the root.
    """
    parts, theirs = path.split("/"), source.split("/") if source else []
    pairs = zip(reversed(parts), reversed(theirs), strict=False)
    same = next((number for number, (one, other) in enumerate(pairs) if one != other), min(len(parts), len(theirs)))
    apart = len(theirs) - same
    above = 0o777
    for number in range(apart + 1):
        above &= permissions("/".join(theirs[:number]))
    yield from [above] * (len(parts) - same)
    for number in range(apart + 1, len(theirs) + 1):
        mode = permissions("/".join(theirs[:number]))
        yield mode & above if apart else mode


def make(name: str, directory: int, most: int, mode: int | None, group: int | None) -> None:
    """Make a directory in another, where it is absent: with this mode, else as a default ACL says, else no wider than `most`.

    `group`: its number; None: the one that the file system gives. Raises OSError.
    """
    try:
        acl = mode is None and has_default_acl(directory)
        os.mkdir(downwards(name), 0o777 if acl else most | PRIVATE if mode is None else mode, dir_fd=directory)
    except FileExistsError:
        return  # another thread was faster
    if mode is None and group is None:
        return
    fd = enter(name, directory)
    try:
        allow(fd, mode, group)
    finally:
        give_back(fd)


def allow(fd: int, mode: int | None, group: int | None) -> None:
    """Give a file or directory that was just made this group and these permissions, whatever the umask took. Raises OSError."""
    try:
        if group is not None:
            os.fchown(fd, -1, group)
        if mode is not None:
            made = stat.S_IMODE(os.fstat(fd).st_mode)
            if made & 0o777 != mode:
                os.fchmod(fd, mode | made & stat.S_ISGID)  # the group of a directory is that of the one above
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):  # SMB and FAT have no permissions of their own
            raise


def has_default_acl(directory: int) -> bool:
    """Whether it says who may use what is made there, and the umask does not (acl(5))."""
    try:
        return hasattr(os, "getxattr") and bool(os.getxattr(directory, "system.posix_acl_default"))
    except OSError:
        return False  # it has none, or the file system knows none


def require_own(path: str, directory: int, above: int, others: int) -> None:
    """Take away what others may do in a directory of the agent, as an earlier version made it.

    Raises Trouble where another user made it, who may have it open and can let others in, and where it cannot be closed;
    and OSError.

    Args:
        path: for people.
        directory: a descriptor of it.
        above: of the directory that it lies in.
        others: bits of its mode that it may not have.
    """
    status = os.fstat(directory)
    if status.st_uid == os.geteuid() and status.st_mode & others:
        try:
            os.fchmod(directory, PRIVATE)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP):
                raise
        status = os.fstat(directory)
    if status.st_uid == os.geteuid() and not status.st_mode & others:
        return
    new = _new(above)  # SMB and FAT have no permissions of their own, and servers map users
    if status.st_uid != new.st_uid or status.st_mode & others & ~new.st_mode:
        reason = f"{path} was made by another user (uid {status.st_uid}), or for others; remove it"
        raise Trouble(What.NOT_PERMITTED, reason)


def _new(above: int) -> os.stat_result:
    """What a directory of the agent's user is like that is made for its owner alone. Raises OSError."""
    name = f"{OWN_PREFIX}-{uuid.uuid4()}"
    os.mkdir(name, PRIVATE, dir_fd=above)
    try:
        return os.stat(name, dir_fd=above, follow_symlinks=False)
    finally:
        os.rmdir(name, dir_fd=above)
