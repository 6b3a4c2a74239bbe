"""Opening a destination directory: it is entered only while it is the one that is meant, and no watched directory is in it.

Names do not tell what a directory is: the same one may be reached by a bind mount, a link, or this computer's own share.
Its location within its file system, and its volume and file id do. Its identity file does not: anybody can copy it, so what
carries one is the destination only where a file shows that was made in the destination just now.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from agent.errors import Exhausted, Transient
from agent.files import LOCAL, Absent, CannotTell, NotAFile, Tree, Trouble, Whose
from agent.files.reader import ChecksumName, whole
from agent.host.heartbeat import Heartbeat
from rules.model import OWN_PREFIX, Observation
from rules.versions.volumes import SameVolume, same_volume

IDENTITY = OWN_PREFIX + "-destination"
"""Name of the file that says which destination a directory is."""
_IDENTITY_SIZE = 4096


class Place(NamedTuple):
    """A destination directory, and how files are proved there."""

    name: str
    path: str
    identity: str | None
    """What its identity file says; None: a person's directory, which has none."""
    verify: str
    checksum: ChecksumName
    key: str
    """Of the agent, for temporary names; many may write to one destination."""
    mounted: bool | None = None
    """True: only while a file system is mounted on the way to it."""
    dir_mode: int | None = None
    """Permissions of directories that are made; None: those of the directories that they stand for."""
    mode: int | None = None
    """Permissions of files; None: those of the files that they are copies of."""
    group: int | None = None
    """Number of the group of both; None: the one that the file system gives."""


@contextmanager
def opened(place: Place, heartbeat: Heartbeat) -> Iterator[Tree]:
    """The destination directory, checked. Raises Transient where it is not the one that is meant, and Trouble."""
    heartbeat.at(place.path)
    _require_mount(place)
    with LOCAL.tree(place.path) as tree:
        _require_mount(place)  # again: what was opened may be a directory that was hidden by a mount since
        if place.identity is not None:
            require(tree, place.identity)
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


def holds(tree: Tree, place: Place, directory: str, heartbeat: Heartbeat) -> bool:
    """Whether a directory of this computer is the open destination, or lies below it, by whatever mount.

    Raises Transient where that cannot be told.
    """
    if LOCAL.location(place.path).holds(LOCAL.location(directory)):
        return True
    heartbeat.at(directory)
    above = LOCAL.resolve(directory)
    while above:
        seen = LOCAL.look(above)
        if isinstance(seen, Observation) and seen.file == tree.opened.file:
            return True
        if isinstance(LOCAL.look(f"{above}/{IDENTITY}"), Observation):
            try:
                with LOCAL.tree(above) as other:
                    if is_destination(tree, place, other):
                        return True
            except Trouble as trouble:
                raise _cannot_tell(place, above, trouble) from trouble
        above = above.rpartition("/")[0]
    return False


def lies_in(tree: Tree, place: Place, sources: Tree, directory: str) -> bool:
    """Whether a directory below a watched one is the open destination, or lies in it. Raises Transient: see `holds`."""
    path = ""
    for name in filter(None, directory.split("/")):
        path = f"{path}/{name}" if path else name
        if is_destination(tree, place, sources, path):
            return True
    return False


def is_destination(tree: Tree, place: Place, other: Tree, directory: str = "") -> bool:
    """Whether a directory of another tree is the open destination. Raises Transient where that cannot be told.

    Another server's way to the same directory shows other numbers, but all that is made in it.
    """
    own, seen = tree.opened, other.look(directory)
    if not isinstance(seen, Observation):
        return False
    if same_volume(own.volume, seen.volume) is SameVolume.YES:
        return seen.file == own.file
    within = f"{directory}/" if directory else ""
    if place.identity is None or not isinstance(other.look(f"{within}{IDENTITY}"), Observation):
        return False
    try:
        if identity(other, directory) != place.identity:
            return False
    except (Trouble, Transient):
        pass  # it cannot be read: the probe tells
    probe = f"{OWN_PREFIX}-{uuid.uuid4()}.part"
    try:
        tree.create(probe).close()
        try:
            shown = other.look(f"{within}{probe}")
        finally:
            tree.unlink(probe)
    except Trouble as trouble:
        raise _cannot_tell(place, f"{other.root}/{directory}", trouble) from trouble
    if isinstance(shown, CannotTell):
        raise _cannot_tell(place, f"{other.root}/{directory}", shown.trouble)
    return isinstance(shown, Observation)


def _cannot_tell(place: Place, directory: str, trouble: Trouble) -> Transient:
    if trouble.whose is Whose.AGENT:
        return Exhausted(trouble.reason)
    return Transient(
        f"{directory} has an identity file, and whether it is the destination {place.path} cannot be told:"
        f" {trouble.reason}; remove {IDENTITY} there if it is a copy"
    )


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
