"""One destination directory: taking it into use, and what is asked of it. (`directory.writer` writes files.)

Like `write`, all of this touches the destination: it runs in the agent, or in a helper process where it may hang.
"""

import json
import uuid
from collections.abc import Sequence

from agent.destinations.directory.opening import (
    IDENTITY,
    Place,
    away,
    holds,
    identity,
    is_destination,
    mount_on_the_way,
    opened,
    require,
)
from agent.destinations.directory.writer import NO_SUCH_PATH, remove_probe, remove_temporary, temporary_name
from agent.errors import Transient
from agent.files import LOCAL, Absent, CannotTell, Tree, Trouble, What
from agent.files.reader import checksum_of
from agent.host.bulkhead import Bulkhead
from agent.host.heartbeat import Heartbeat
from rules.model import Content, CopyId, Kind
from rules.versions.copies import Confirmed, LocalFile


def set_up(place: Place, heartbeat: Heartbeat) -> tuple[str, bool]:
    """Read the identity file, or make one where the directory has none. Returns whether it was made, too.

    Raises Transient.
    """
    heartbeat.at(place.path)
    missing = LOCAL.unmounted(place.path)
    if missing is not None:
        raise Transient(f"{place.path} is below {missing}, where fstab wants a file system, but none is mounted")
    try:
        with opened(place, heartbeat) as tree:
            found = identity(tree)
            if not isinstance(found, Absent):
                return found, False
            temporary = temporary_name(place.key, "identity")
            try:
                return _make_identity(tree, temporary), True
            except Trouble as trouble:
                found = identity(tree) if trouble.what is What.EXISTS else found
                if isinstance(found, Absent):
                    raise
                return found, False  # another agent was faster
            finally:
                _remove(tree, temporary)
    except Trouble as trouble:
        raise away(place, trouble) from trouble


def _make_identity(tree: Tree, temporary: str) -> str:
    """Make the identity file. Raises Trouble: EXISTS where there is one by now."""
    made = str(uuid.uuid4())
    text = {"dropline_destination": made, "note": "Dropline writes here only while this file is here."}
    with tree.create(temporary) as handle:
        handle.write(json.dumps(text).encode() + b"\n", 0)
        handle.sync()
    tree.rename_new(temporary, IDENTITY)
    tree.sync("")
    return made


def _remove(tree: Tree, temporary: str) -> None:
    try:
        tree.unlink(temporary)
    except Trouble:
        pass  # it became the identity file; or nothing can be changed there now, and the next attempt writes over it


def check(place: Place, heartbeat: Heartbeat) -> None:
    """Raise Transient unless the directory is there and carries the place's identity."""
    try:
        with opened(place, heartbeat) as tree:
            remove_probe(tree, place.key)
    except Trouble as trouble:
        raise away(place, trouble) from trouble


def shows(place: Place, directory: str, heartbeat: Heartbeat) -> bool:
    """Whether a directory is the destination, by whatever mount. Raises Transient where that cannot be told."""
    try:
        with opened(place, heartbeat) as tree, LOCAL.tree(directory) as other:
            return is_destination(tree, place, other)
    except Trouble as trouble:
        raise away(place, trouble) from trouble


def discard(place: Place, files: Sequence[tuple[int, str]], heartbeat: Heartbeat) -> None:
    """Remove temporary files of intents (file, path) that nobody carries out, where that can be done now. Raises Transient."""
    alone = Bulkhead[tuple[int, str]]("leftover of", lambda one: f"{place.path}/{one[1]}")
    try:
        with LOCAL.tree(place.path) as tree:
            for one in alone.each(files):
                with one as (file, path):
                    heartbeat.at(place.path)
                    remove_temporary(tree, place.key, file, path)
    except Trouble as trouble:
        raise away(place, trouble) from trouble


def confirm(
    place: Place, path: str, size: int, checksum: bytes, algorithm: str, local: LocalFile | None, mount: str | None,
    heartbeat: Heartbeat,
) -> Confirmed:  # fmt: skip
    """Read the copy again and compare (with verify = "size": compare the size). Raises Transient.

    Args:
        place: the destination.
        path: of the copy.
        size: that it has to have.
        checksum: that it has to have.
        algorithm: of the checksum.
        local: the file that it is a copy of, which it may not be itself, nor lie in the destination.
        mount: where the last file system began on the way to it, when it was proved.
        heartbeat: of this work.
    """
    try:
        with opened(place, heartbeat) as tree:
            if local is not None and holds(tree, place, local.path.rpartition("/")[0], heartbeat):
                raise Transient(f"{local.path} lies in {place.path}: it would be a copy of itself")
            own = None if local is None else local.file
            found = _compared(place, tree, path, size, checksum, algorithm, own, mount, heartbeat)
            if found.absent and place.identity is not None:
                require(tree, place.identity)  # what went away since it was opened says nothing of the copy
    except Trouble as trouble:
        raise away(place, trouble) from trouble
    return found


def _compared(
    place: Place, tree: Tree, path: str, size: int, checksum: bytes, algorithm: str, local: CopyId | None,
    mount: str | None, heartbeat: Heartbeat,
) -> Confirmed:  # fmt: skip
    """Whether a copy is as it was proved. Raises Trouble, and Transient where it may be hidden."""
    where = f"at {place.name}, {path!r}"
    seen = tree.look(path)  # first: it mounts what is mounted when somebody comes by
    _same_mounts(place, tree, path, mount)
    if isinstance(seen, Absent):
        return Confirmed(False, f"{where} is gone", absent=True)
    if isinstance(seen, CannotTell):
        if seen.trouble.what not in NO_SUCH_PATH:
            raise seen.trouble
        return Confirmed(False, f"{where} cannot be there: {seen.reason}")
    if seen.kind is not Kind.FILE:
        return Confirmed(False, f"{where} is not a file any more")
    with tree.open(path, seen) as handle:
        found, copy = handle.opened.version.size, handle.opened.file
        if copy == local:
            return Confirmed(False, f"{where} is the local file itself, by another name or mount", copy)
        if found != size:
            return Confirmed(False, f"{where} has {found} bytes instead of {size}", copy)
        if place.verify != "size":
            LOCAL.drop_cache([handle])
            if checksum_of(handle, algorithm, size, heartbeat.ask) != Content(checksum, size):
                return Confirmed(False, f"{where} has other content than was delivered", copy)
    return Confirmed(True, f"at {place.name} as {path!r}", copy)


def _same_mounts(place: Place, tree: Tree, path: str, mount: str | None) -> None:
    """Raise Transient unless the same is mounted on the way to a copy as when it was proved. Raises Trouble."""
    now = mount_on_the_way(tree, path.rpartition("/")[0])
    if now == mount:
        return
    lost = (
        f"nothing is mounted at {place.path}/{mount}, where its file system was; mount it"
        if mount is not None
        else f"another file system is mounted at {place.path}/{now}, over the directory of the copy; unmount it"
    )
    raise Transient(f"at {place.name}, {path!r} cannot be seen: {lost}")


def there(path: str, heartbeat: Heartbeat) -> bool:
    """Whether a directory can be reached under this path."""
    heartbeat.at(path)
    try:
        LOCAL.tree(path).close()
    except Trouble as trouble:
        return trouble.what is What.DENIED  # something is there, and the agent's user may not read it
    return True
