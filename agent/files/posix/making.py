"""Directories that are made, and who may use them."""

import errno
import os
import stat
from collections.abc import Callable, Iterator

from agent.files.posix.handle import give_back

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


def make(name: str, directory: int, most: int, mode: int | None) -> None:
    """Make a directory in another, where it is absent: with this mode, else as a default ACL says, else no wider than `most`.

    Raises OSError.
    """
    try:
        acl = mode is None and _has_default_acl(directory)
        os.mkdir(downwards(name), 0o777 if acl else most | PRIVATE if mode is None else mode, dir_fd=directory)
    except FileExistsError:
        return  # another thread was faster
    if mode is None:
        return
    fd = enter(name, directory)
    try:
        made = stat.S_IMODE(os.fstat(fd).st_mode)
        if made & 0o777 != mode:  # the umask took something away
            os.fchmod(fd, mode | made & stat.S_ISGID)  # its group is that of the one above
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):  # SMB and FAT have no permissions of their own
            raise
    finally:
        give_back(fd)


def _has_default_acl(directory: int) -> bool:
    """Whether it says who may use what is made there, and the umask does not (acl(5))."""
    try:
        return hasattr(os, "getxattr") and bool(os.getxattr(directory, "system.posix_acl_default"))
    except OSError:
        return False  # it has none, or the file system knows none


def close_to_others(directory: int) -> None:
    """Take away what others than the owner may do in a directory of the agent's own, as an earlier version made it."""
    try:
        if os.fstat(directory).st_mode & 0o077:
            os.fchmod(directory, PRIVATE)
    except OSError:
        pass  # somebody else made it, who can see into it anyway
