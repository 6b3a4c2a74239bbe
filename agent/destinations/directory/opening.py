"""Opening a destination directory: it is entered only while it is the one that is meant, and no watched directory is in it.

Names do not tell what a directory is: the same one may be reached by a bind mount, a link, or this computer's own share.
Its identity file, its place within its file system, and its volume and file id do.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from agent.errors import Exhausted, Refused, Transient
from agent.files import LOCAL, Absent, CannotTell, NotAFile, Tree, Trouble, Whose
from agent.files.reader import ChecksumName, whole
from agent.host.bulkhead import Bulkhead
from agent.host.steps import Steps
from rules.model import OWN_PREFIX, Kind, Observation

IDENTITY = OWN_PREFIX + "-destination"
"""Name of the file that says which destination a directory is."""
_IDENTITY_SIZE = 4096


class Place(NamedTuple):
    """A destination directory, and how files are proved there."""

    name: str
    path: str
    identity: str | None
    """What its identity file says; None: a directory of a person, which has none."""
    verify: str
    checksum: ChecksumName
    key: str
    """Of the agent, for temporary names; many may write to one destination."""
    mounted: bool | None = None
    """True: only while a file system is mounted on the way to it."""
    watched: tuple[str, ...] = ()
    """The watched directories, none of which may be this directory, or lie in it."""
    dir_mode: int | None = None
    """Permissions of directories that are made; None: those of the directories that they stand for."""


@contextmanager
def opened(place: Place, steps: Steps, watched: Iterable[str] = ()) -> Iterator[Tree]:
    """The destination directory, checked. Raises Transient and Refused where it is not the one that is meant, and Trouble.

    `watched`: directories to deliver from, none of which may be the destination, or lie in it.
    """
    steps.at(place.path)
    _require_mount(place)
    with LOCAL.tree(place.path) as tree:
        _require_mount(place)  # again: what was opened may be a directory that was hidden by a mount since
        if place.identity is not None:
            require(tree, place.identity)
        require_apart(place, tree, watched, steps)
        yield tree


def away(place: Place, trouble: Trouble) -> Transient:
    """What a trouble at a destination says of it: nothing, where the agent has no descriptors left."""
    return (Exhausted if trouble.whose is Whose.AGENT else Transient)(f"{place.path}: {trouble.reason}")


def _require_mount(place: Place) -> None:
    """Raise Transient where the configuration wants a mount on the way to the directory, and there is none."""
    if not place.mounted:
        return
    volume = LOCAL.volume(place.path)
    if volume.mounted_at == "/":
        raise Transient(
            f"{place.path}: nothing is mounted there or above, and the configuration says `mounted = true`; mount the share"
        )


def identity(tree: Tree, directory: str = "") -> str | Absent:
    """What the identity file says. Raises Trouble where that cannot be told, and Transient where it is damaged."""
    path = f"{directory}/{IDENTITY}" if directory else IDENTITY
    seen = tree.look(path)
    if isinstance(seen, Absent):
        return seen
    if isinstance(seen, CannotTell):
        raise seen.trouble
    try:
        with tree.open(path, seen) as handle:
            found = json.loads(whole(handle, 0, _IDENTITY_SIZE))["dropline_destination"]
    except (NotAFile, ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or not found.isprintable():
        raise Transient(f"{tree.root}/{path} is not an identity file of Dropline; restore it")
    return found


def require(tree: Tree, expected: str) -> None:
    """Raise Transient unless the open directory is the destination with this identity. Raises Trouble."""
    found = identity(tree)
    if isinstance(found, Absent):
        raise Transient(
            f"{tree.root} has no {IDENTITY}: the share is not mounted, or the file was removed;"
            f" mount the share, or restore the file with identity {expected}"
        )
    if found != expected:
        raise Transient(
            f"{tree.root} is another destination (identity {found}, expected {expected}); mount the right one"
        )


def require_apart(place: Place, tree: Tree, watched: Iterable[str], steps: Steps) -> None:
    """Raise Refused where a watched directory is the destination, or lies in it. What cannot be told refuses nothing:
    each file is compared with its copy, too.
    """
    for one in Bulkhead[str]("watched directory", str, through=(Refused, Transient)).each(watched):
        with one as root:
            if holds(tree, place, root, steps):
                raise Refused(
                    f"{place.path} is the watched directory {root}, or contains it: its files would be copies of themselves",
                    f"give [destinations.{place.name}] another path",
                )
    steps.at(place.path)


def holds(tree: Tree, place: Place, root: str, steps: Steps) -> bool:
    """Whether a directory is the open destination, or lies below it, by whatever mount."""
    if LOCAL.location(place.path).holds(LOCAL.location(root)):
        return True
    own = tree.opened.file
    steps.at(root)
    above = LOCAL.resolve(root)
    while above:
        seen = LOCAL.look(above)
        here = isinstance(seen, Observation) and seen.kind is Kind.DIRECTORY and seen.file == own
        if here or _shows(above, place.identity):
            return True
        above = above.rpartition("/")[0]
    return False


def _shows(directory: str, expected: str | None) -> bool:
    """Whether the directory has the identity file of the destination: another server's way to it has other numbers."""
    if expected is None or not isinstance(LOCAL.look(f"{directory}/{IDENTITY}"), Observation):
        return False
    try:
        with LOCAL.tree(directory) as tree:
            return identity(tree) == expected
    except (Trouble, Transient):
        return False


def mount_on_the_way(tree: Tree, directory: str) -> str | None:
    """The last directory on the way from the root to this one where another file system begins; None: there is none.

    Raises Trouble where that cannot be told.
    """
    found, above, path = None, tree.opened.volume, ""
    for name in filter(None, directory.split("/")):
        path = f"{path}/{name}" if path else name
        seen = tree.look(path)
        if isinstance(seen, CannotTell):
            raise seen.trouble
        if isinstance(seen, Absent):
            break
        if seen.volume != above:
            found, above = path, seen.volume
    return found


def lies_in(tree: Tree, place: Place, sources: Tree, directory: str) -> bool:
    """Whether a directory below a watched one is the open destination, or lies in it."""
    own, path = tree.opened.file, ""
    for name in filter(None, directory.split("/")):
        path = f"{path}/{name}" if path else name
        seen = sources.look(path)
        if not isinstance(seen, Observation):
            return False
        if seen.file == own:
            return True
        try:
            if identity(sources, path) == place.identity:
                return True
        except (Trouble, Transient):
            pass  # somebody else's, or it cannot be read
    return False
