"""A walk of a watched tree: the truth, where events are hints."""

import errno
import os
from collections.abc import Container, Generator, Iterator
from dataclasses import dataclass

from agent.errors import cause
from agent.files.posix import writer_probe as probe
from agent.files.posix.tree import Tree
from rules.model import OWN_PREFIX, Entry, Observation

CHUNK = 5000
"""Directory entries that a sweep holds in memory at a time."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Some entries of one directory, as the sweep saw them."""

    directory: str
    device: int
    entries: dict[Entry, int]
    """Each with its st_mode."""
    whole: bool
    """These are all entries: what is known and not among them is gone."""
    last: bool
    """The last listing of this directory."""
    error: str | None = None

    def seen(self, but: Container[Entry] = ()) -> Iterator[tuple[str, Observation]]:
        """Each name, and what stands there; without the entries `but`."""
        for entry, mode in self.entries.items():
            if entry not in but:
                yield os.fsdecode(entry[0]), probe.observed(entry, mode)


def sweep(top: str, begin: str = "") -> Generator[Listing]:
    """Walk the tree, a directory (or a part of a huge one) at a time. Symbolic links are not followed, but at `top`.

    A directory that cannot be listed comes as a listing with its error; one that went away meanwhile does not come.
    `begin`: the directory to begin with, relative to `top`; nothing comes where a part of it is a link.
    """
    waiting = [begin]
    while waiting:
        part = waiting.pop()
        directory = os.path.join(top, part) if part else top
        entries: dict[Entry, int] = {}
        below: list[str] = []
        whole = True
        try:
            with Tree(top) as tree, os.scandir(tree.directory(part)) as scan:
                device = os.fstat(tree.directory(part)).st_dev
                for entry in scan:
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith(OWN_PREFIX):
                            below.append(f"{part}/{entry.name}" if part else entry.name)
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone since the listing: not there
                    name = entry.name.encode("utf-8", "surrogateescape")  # os.fsencode, on POSIX, without its checks
                    read = name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev
                    entries[read] = status.st_mode
                    if len(entries) >= CHUNK:
                        whole = False
                        yield Listing(directory, device, entries, whole=False, last=False)
                        entries = {}
        except FileNotFoundError:
            continue
        except OSError as error:
            if part and error.errno in (errno.ENOTDIR, errno.ELOOP):
                continue  # something else stands in its place now
            yield Listing(directory, 0, entries, whole=False, last=True, error=cause(error))
            continue
        waiting.extend(reversed(below))
        yield Listing(directory, device, entries, whole=whole, last=True)
