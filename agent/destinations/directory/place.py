"""One destination directory: taking it into use, and what is asked of it. (`directory.writer` writes files.)

Like `write`, all of this touches the destination: it runs in the agent, or in a helper process where it may hang.
"""

import json
import uuid
from collections.abc import Sequence

from agent.destinations.directory.writer import (
    IDENTITY,
    NO_SUCH_PATH,
    Place,
    identity,
    remove_temporary,
    require,
)
from agent.errors import Transient
from agent.files import LOCAL, Absent, CannotTell, Tree, Trouble, What
from agent.files.reader import checksum_of
from agent.host.steps import Steps
from rules.model import Content, Kind, Verdict


def set_up(place: Place, steps: Steps) -> tuple[str, bool]:
    """Read the identity file, or make one where the directory has none. Returns whether it was made, too. Raises Transient."""
    steps.at(place.path)
    missing = LOCAL.unmounted(place.path)
    if missing is not None:
        raise Transient(f"{place.path} is below {missing}, where fstab wants a file system, but none is mounted")
    try:
        with LOCAL.tree(place.path) as tree:
            found = identity(tree)
            if not isinstance(found, Absent):
                return found, False
            temporary = f"{IDENTITY}-{place.agent}.part"
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
        raise Transient(f"{place.path}: {trouble.reason}") from trouble


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


def check(place: Place, steps: Steps) -> None:
    """Raise Transient unless the directory is there and carries the place's identity."""
    steps.at(place.path)
    try:
        with LOCAL.tree(place.path) as tree:
            require(tree, place.identity or "")
    except Trouble as trouble:
        raise Transient(f"{place.path}: {trouble.reason}") from trouble


def discard(place: Place, files: Sequence[tuple[int, str]], steps: Steps) -> None:
    """Remove temporary files of intents (file, path) that nobody carries out. Raises Transient."""
    try:
        with LOCAL.tree(place.path) as tree:
            for file, path in files:
                steps.at(place.path)
                remove_temporary(tree, place.agent, file, path)
    except Trouble as trouble:
        raise Transient(f"{place.path}: {trouble.reason}") from trouble


def confirm(place: Place, path: str, size: int, checksum: bytes, algorithm: str, steps: Steps) -> Verdict:
    """Read the copy again and compare (with verify = "size": compare the size). Raises Transient."""
    steps.at(place.path)
    try:
        with LOCAL.tree(place.path) as tree:
            require(tree, place.identity or "")
            amiss = _compared(place, tree, path, size, checksum, algorithm, steps)
    except Trouble as trouble:
        raise Transient(f"{place.path}: {trouble.reason}") from trouble
    if amiss is not None:
        return Verdict(False, f"at {place.name}, {path!r} {amiss}")
    return Verdict(True, f"at {place.name} as {path!r}")


def _compared(
    place: Place, tree: Tree, path: str, size: int, checksum: bytes, algorithm: str, steps: Steps
) -> str | None:
    """What is amiss with a copy; None: nothing. Raises Trouble."""
    seen = tree.look(path)
    if isinstance(seen, Absent):
        return "is gone"
    if isinstance(seen, CannotTell):
        if seen.trouble.what not in NO_SUCH_PATH:
            raise seen.trouble
        return f"cannot be there: {seen.reason}"
    if seen.kind is not Kind.FILE:
        return "is not a file any more"
    with tree.open(path, seen) as handle:
        found = handle.opened.version.size
        if found != size:
            return f"has {found} bytes instead of {size}"
        if place.verify != "size":
            LOCAL.drop_cache([handle])
            if checksum_of(handle, algorithm, size, steps.ask) != Content(checksum, size):
                return "has other content than was delivered"
    return None


def there(path: str, steps: Steps) -> bool:
    """Whether a directory can be reached under this path."""
    steps.at(path)
    try:
        LOCAL.tree(path).close()
    except Trouble as trouble:
        return trouble.what is What.DENIED  # something is there, and the agent's user may not read it
    return True
