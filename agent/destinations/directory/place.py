"""One destination directory: taking it into use, and what is asked of it. (`directory.writer` writes files.)

Like `write`, all of this touches the destination: it runs in the agent, or in a helper process where it may hang.
"""

import json
import os
import uuid
from collections.abc import Sequence

from agent.destinations.directory.writer import IDENTITY, NOT_THERE, Place, identity, remove_temporary, require
from agent.errors import Transient, cause
from agent.files.posix import durable as disk
from agent.files.posix import volumes as mounts
from agent.files.posix.tree import Tree
from agent.files.reader import checksum_of
from agent.host.steps import Steps
from rules.model import Verdict


def set_up(place: Place, steps: Steps) -> tuple[str, bool]:
    """Read the identity file, or make one where the directory has none. Returns whether it was made, too. Raises Transient."""
    steps.at(place.path)
    missing = mounts.unmounted(place.path)
    if missing is not None:
        raise Transient(f"{place.path} is below {missing}, where fstab wants a file system, but none is mounted")
    try:
        with Tree(place.path) as tree:
            try:
                return identity(tree), False
            except FileNotFoundError:
                pass
            temporary = f"{IDENTITY}-{place.agent}.part"
            try:
                return _make_identity(tree, temporary), True
            except FileExistsError:  # another agent was faster
                return identity(tree), False
            finally:
                _remove(tree, temporary)
    except OSError as error:
        raise Transient(f"{place.path}: {cause(error)}") from error


def _make_identity(tree: Tree, temporary: str) -> str:
    """Make the identity file. Raises FileExistsError where there is one by now, and other OSError."""
    made = str(uuid.uuid4())
    text = {"dropline_destination": made, "note": "Dropline writes here only while this file is here."}
    fd = disk.fresh(temporary, 0o644, tree.fd)
    try:
        os.write(fd, json.dumps(text).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    disk.rename_new(temporary, IDENTITY, tree.fd, tree.fd)
    disk.sync_directory(tree.fd)
    return made


def _remove(tree: Tree, temporary: str) -> None:
    try:
        os.unlink(temporary, dir_fd=tree.fd)
    except OSError:
        pass  # it became the identity file; or nothing can be changed there now, and the next attempt writes over it


def check(place: Place, steps: Steps) -> None:
    """Raise Transient unless the directory is there and carries the place's identity."""
    steps.at(place.path)
    try:
        with Tree(place.path) as tree:
            require(tree, place.identity or "")
    except OSError as error:
        raise Transient(f"{place.path}: {cause(error)}") from error


def discard(place: Place, files: Sequence[tuple[int, str]], steps: Steps) -> None:
    """Remove temporary files of intents (file, path) that nobody carries out. Raises Transient."""
    try:
        with Tree(place.path) as tree:
            for file, path in files:
                steps.at(place.path)
                remove_temporary(tree, place.agent, file, path)
    except OSError as error:
        raise Transient(f"{place.path}: {cause(error)}") from error


def confirm(place: Place, path: str, size: int, checksum: bytes, algorithm: str, steps: Steps) -> Verdict:
    """Read the copy again and compare (with verify = "size": compare the size). Raises Transient."""
    steps.at(place.path)
    try:
        with Tree(place.path) as tree:
            require(tree, place.identity or "")
            try:
                directory, name = tree.place(path)
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
            except OSError as error:
                if error.errno not in NOT_THERE:
                    raise
                return Verdict(False, f"at {place.name}, {path!r} is gone")
            try:
                found = os.fstat(fd).st_size
                if found != size:
                    return Verdict(False, f"at {place.name}, {path!r} has {found} bytes instead of {size}")
                if place.verify != "size":
                    disk.drop_cache([fd])
                    if checksum_of(fd, algorithm, size, steps.ask) != checksum:
                        return Verdict(False, f"at {place.name}, {path!r} has other content than was delivered")
            finally:
                os.close(fd)
    except OSError as error:
        raise Transient(f"{place.path}: {cause(error)}") from error
    return Verdict(True, f"at {place.name} as {path!r}")


def there(path: str, steps: Steps) -> bool:
    """Whether a directory can be reached under this path."""
    steps.at(path)
    return os.path.isdir(path)
