"""The local copy, as it is now."""

import os

from agent.files.posix import writer_probe as probe
from agent.files.posix.tree import Tree
from agent.files.posix.volumes import remote
from rules.model import Version, Writer


def reading(tree: Tree, relpath: str, path: str) -> tuple[Version, Writer] | None:
    """What stands there, and whether it has a writer; None where nothing does. Raises OSError."""
    try:
        directory, name = tree.place(relpath)
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if probe.observation(status).kind != "file":
            return None
        fd = os.open(name, probe.OPEN_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        is_remote = remote(tree.root, os.fstat(tree.fd).st_dev)
        return probe.version(os.fstat(fd)), probe.writer(fd, path, remote=is_remote)
    finally:
        os.close(fd)


def same(seen: Version, proved: Version) -> bool:
    """Whether a file that we renamed is the one that was proved: the rename itself moved its ctime."""
    return (seen.size, seen.mtime_ns, seen.inode) == (proved.size, proved.mtime_ns, proved.inode)
