"""A walk of a watched tree: the truth, where events are hints."""

import os
import posixpath
from collections.abc import Callable, Container, Generator, Iterator
from dataclasses import dataclass

from agent.files import CannotTell, Files, Tree, Trouble, What, Whose
from agent.host.bulkhead import Bulkhead, Failure
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
    """Why the directory, or a part of it, was not seen."""

    def seen(self, but: Container[Entry] = ()) -> Iterator[tuple[str, Observation]]:
        """Each name, and what has it; without the entries `but`."""
        for entry, kind in self.entries.items():
            if entry not in but:
                name, size, mtime_ns, ctime_ns, file_id, volume = entry
                yield os.fsdecode(name), Observation(Version(size, mtime_ns, ctime_ns, file_id), volume, kind)


class Walk:
    """A walk of a tree, a directory (or a part of a huge one) at a time. Symbolic links are not followed, but at the top.

    A directory that cannot be listed comes as a listing with its error; one that went away does not come. Where
    the top cannot be opened, or the agent has no descriptors, the walk breaks off: what follows was not looked at.
    """

    def __init__(
        self, files: Files, top: str, begin: str = "", zones: Zones = NONE, *, below: bool = True,
        pruned: Callable[[str], bool] = lambda directory: False,
    ) -> None:  # fmt: skip
        """
        Args:
            files: where the tree is.
            top: the root of the tree.
            begin: the directory to begin with, relative to `top`; nothing comes where a part of it is a link.
            zones: what is left out, with all that is below.
            below: the directories below `begin` are walked, too.
            pruned: directories that are not walked, nor what is below them.
        """
        self.ended = False
        """Whether it came to its end: all was looked at."""
        self.left_out = 0
        """Landing zones."""
        self.example = ""
        """One of them."""
        self._files = files
        self._top = top
        self._begin = begin
        self._zones = zones
        self._below = below
        self._pruned = pruned
        self._waiting = [begin]
        """Directories to walk, the next one last."""
        self._tree: Tree | None = None
        self._inside = False
        """In the middle of a huge directory, which is open."""
        self._listings = self._walk()

    def next(self) -> Listing | None:
        """The next listing; None at the end. Raises Trouble where the walk breaks off; it is of no use then."""
        return next(self._listings, None)

    def pause(self) -> None:
        """Close what is open, except in the middle of a huge directory. Between two slices."""
        if not self._inside:
            self._close()

    def close(self) -> None:
        """Leave off."""
        self._listings.close()
        self._close()

    def _close(self) -> None:
        tree, self._tree = self._tree, None
        if tree is not None:
            tree.close()

    def _walk(self) -> Generator[Listing]:
        alone, failed = Bulkhead[str]("directory", lambda part: f"{self._top}/{part}"), list[Failure]()
        while self._waiting:
            part = self._waiting.pop()
            if self._tree is None:
                self._tree = self._files.tree(self._top)
            for one in alone.each([part], failed=lambda _, failure: failed.append(failure)):
                with one:
                    yield from self._directory(self._tree, part)
            while failed:
                self._inside = False
                directory = posixpath.join(self._top, part) if part else self._top
                yield Listing(directory, None, {}, whole=False, last=True, error=failed.pop().reason)
        self.ended = True

    def _directory(self, tree: Tree, part: str) -> Generator[Listing]:
        """The listings of one directory; those in it are walked next."""
        directory = posixpath.join(self._top, part) if part else self._top
        if part != self._begin and self._pruned(directory):
            return
        below: list[str] = []
        whole = True
        zone = bool(part) and (self._zones.hold if part == self._begin else self._zones.at)(tree, part)
        if isinstance(zone, CannotTell):
            yield Listing(directory, None, {}, whole=False, last=True, error=zone.reason)
            return
        if zone:
            self.left_out, self.example = self.left_out + 1, directory
            return
        try:
            for listed in tree.scan(part, CHUNK):
                for name in listed.directories:
                    if not name.startswith(OWN_PREFIX):
                        below.append(f"{part}/{name}" if part else name)
                if not listed.last:
                    whole, self._inside = False, True
                    yield Listing(directory, listed.volume, listed.entries, whole=False, last=False)
                    self._inside = False
        except Trouble as trouble:
            if trouble.whose is Whose.AGENT:
                raise
            self._waiting.extend(reversed(below))
            if trouble.what is What.ABSENT or (part and trouble.what in (What.NOT_A_DIRECTORY, What.LINK)):
                return  # it went away, or something else stands in its place now
            yield Listing(directory, None, {}, whole=False, last=True, error=trouble.reason)
            return
        if self._below:
            self._waiting.extend(reversed(below))
        unseen = None if listed.unseen is None else listed.unseen.reason
        whole = whole and unseen is None
        yield Listing(directory, listed.volume, listed.entries, whole, last=True, error=unseen)


def sweep(
    files: Files,
    top: str,
    begin: str = "",
    zones: Zones = NONE,
    pruned: Callable[[str], bool] = lambda directory: False,
) -> Generator[Listing]:
    """All listings of a walk; where it breaks off, the last one says why. Nothing stays open between two of them."""
    walk = Walk(files, top, begin, zones, pruned=pruned)
    try:
        while (listing := walk.next()) is not None:
            walk.pause()
            yield listing
    except Trouble as trouble:
        if trouble.what is not What.ABSENT:
            yield Listing(top, None, {}, whole=False, last=True, error=trouble.reason)
    finally:
        walk.close()
