"""A walk of a watched tree: the truth, where events are hints."""

import os
from collections.abc import Container, Generator, Iterator
from dataclasses import dataclass

from agent.files import Files, Trouble, What
from agent.intake.zones import NONE, Zones
from rules.model import OWN_PREFIX, Entry, Kind, Observation, Version, VolumeId

CHUNK = 5000
"""Directory entries that a sweep holds in memory at a time."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Some entries of one directory, as the sweep saw them."""

    directory: str
    volume: VolumeId | None
    """The file system of the directory; None where it could not be listed."""
    entries: dict[Entry, Kind]
    whole: bool
    """These are all entries: what is known and not among them is gone."""
    last: bool
    """The last listing of this directory."""
    error: str | None = None

    def seen(self, but: Container[Entry] = ()) -> Iterator[tuple[str, Observation]]:
        """Each name, and what stands there; without the entries `but`."""
        for entry, kind in self.entries.items():
            if entry not in but:
                name, size, mtime_ns, ctime_ns, file_id, volume = entry
                yield os.fsdecode(name), Observation(Version(size, mtime_ns, ctime_ns, file_id), volume, kind)


def sweep(files: Files, top: str, begin: str = "", zones: Zones = NONE) -> Generator[Listing]:
    """Walk the tree, a directory (or a part of a huge one) at a time. Symbolic links are not followed, but at `top`.

    A directory that cannot be listed comes as a listing with its error; one that went away meanwhile does not come.
    `begin`: the directory to begin with, relative to `top`; nothing comes where a part of it is a link.
    `zones`: what is left out, with all that is below.
    """
    waiting = [begin]
    while waiting:
        part = waiting.pop()
        directory = os.path.join(top, part) if part else top
        below: list[str] = []
        whole = True
        try:
            with files.tree(top) as tree:
                if part and (zones.hold(tree, part) if part == begin else zones.at(tree, part)):
                    continue
                for listed in tree.scan(part, CHUNK):
                    for name in listed.directories:
                        if not name.startswith(OWN_PREFIX):
                            below.append(f"{part}/{name}" if part else name)
                    if not listed.last:
                        whole = False
                        yield Listing(directory, listed.volume, listed.entries, whole=False, last=False)
        except Trouble as trouble:
            if trouble.what is What.ABSENT:
                continue
            if part and trouble.what in (What.NOT_A_DIRECTORY, What.LINK):
                continue  # something else stands in its place now
            yield Listing(directory, None, {}, whole=False, last=True, error=trouble.reason)
            continue
        waiting.extend(reversed(below))
        yield Listing(directory, listed.volume, listed.entries, whole=whole, last=True)
