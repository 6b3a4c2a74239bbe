"""May the agent's user rename and remove a file? Asked without trying it, so that nothing is promised that cannot be done."""

import os
import stat

from agent.files.posix.errors import REFUSALS
from agent.files.posix.observing import attributes
from rules.model import OWN_PREFIX

_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
"""STATX_ATTR_IMMUTABLE and STATX_ATTR_APPEND in linux/stat.h."""


def cannot_go(directory: int, name: str, path: str) -> str | None:
    """Why a name cannot be removed from a directory; None: it can, as far as the file system tells.

    Args:
        directory: a descriptor of the directory.
        name: of a file in it.
        path: of the directory, for people.
    """
    if attributes(".", directory) & (_IMMUTABLE | _APPEND_ONLY):
        return f"{path} is immutable or append-only; `chattr -i -a {path}`"
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=directory):
        return f"the agent's user may not remove files from {path}; let it write there"
    try:
        above, file, user = os.fstat(directory), os.stat(name, dir_fd=directory, follow_symlinks=False), os.geteuid()
    except REFUSALS:
        return None  # it went away: the rename finds that
    if above.st_mode & stat.S_ISVTX and user not in (0, above.st_uid, file.st_uid):
        return (
            f"{path} lets only the owner remove a file (it is sticky), and the agent's user owns neither; run the agent as the"
            f" owner, or `chmod -t {path}`"
        )
    if attributes(name, directory) & (_IMMUTABLE | _APPEND_ONLY):
        return f"it is immutable or append-only; `chattr -i -a` lets it go, as all of its kind in {path}"
    return None


def no_own_directory(above: int, name: str, path: str, owner: int) -> str | None:
    """Why the agent cannot have a directory for its own files; None: it can, as far as the file system tells.

    Args:
        above: a descriptor of the directory that holds it.
        name: of the agent's directory, which may not be there.
        path: of the directory that holds it, for people.
        owner: of the files that are to go there. Where all files have one owner, the file system knows none.
    """
    try:
        there = os.stat(name, dir_fd=above, follow_symlinks=False)
    except FileNotFoundError:
        may = os.access(".", os.W_OK | os.X_OK, dir_fd=above)
        return None if may else f"the agent's user may not make {name} in {path}; let it write there"
    except REFUSALS:
        return None
    if not stat.S_ISDIR(there.st_mode):
        return f"{path}/{name} is no directory; remove it"
    if there.st_uid in (os.geteuid(), owner):
        return None
    return f"{path}/{name} was made by another user (uid {there.st_uid}); remove it"


def own_part(path: str) -> tuple[str, str] | None:
    """(the directory that holds it, name) of the first directory of the agent on a path; None: there is none."""
    parts = path.split("/")[:-1]
    number = next((number for number, part in enumerate(parts) if part.startswith(OWN_PREFIX)), None)
    return None if number is None else ("/".join(parts[:number]), parts[number])
