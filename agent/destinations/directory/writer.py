"""Writing one group of files into a directory: stage, make durable, prove, show.

This is all that happens to a file at the destination, in its order. It runs in a thread of the agent, or in a helper
process (`agent.destinations.directory.worker`), so it imports little and holds no state beyond one group.
"""

import json
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from agent.destinations import Arrived, Item, Occupied, Outcome, Unfit
from agent.destinations.sources import outcome_of
from agent.errors import Transient
from agent.files import LOCAL, Absent, CannotTell, Handle, NotAFile, Tree, Trouble, What
from agent.files.reader import ChecksumName, NotTheVersion, Sources, Unreadable, checksum_of, whole
from agent.host.steps import Steps
from rules.model import OWN_PREFIX, Content, Kind, Observation

IDENTITY = OWN_PREFIX + "-destination"
"""Name of the file that says which destination a directory is."""
NO_SUCH_PATH = frozenset({What.LINK, What.NAME_TOO_LONG, What.NAME_CHARACTERS, What.NAME_REFUSED})
"""Troubles which say that nothing of ours can be at a path: a part of it is a link, or it is no name there."""
_NOTHING_STAGED = NO_SUCH_PATH | {What.ABSENT, What.NOT_A_DIRECTORY}
_IDENTITY_SIZE = 4096
_UNFIT = {
    What.NAME_TOO_LONG: "the name is too long there",
    What.NAME_CHARACTERS: "the name has characters that the destination does not take",
    What.NAME_REFUSED: "the destination does not take the name",
    What.NOT_A_DIRECTORY: "a part of the path is not a directory there",
    What.DIRECTORY: "a directory has this name there",
    What.LINK: "a part of the path is a symbolic link there",
    What.TOO_LARGE: "it is larger than files may be there",
    What.DENIED: "the agent's user may not read or write that there",
}
"""Troubles that concern one name only; others concern the destination."""


class Place(NamedTuple):
    """A destination directory, and how files are proved there."""

    name: str
    path: str
    identity: str | None
    """What its identity file says; None: a directory of a person, which has none."""
    verify: str
    checksum: ChecksumName
    agent: str
    """Id of the agent; many may write to one destination."""


class Written(NamedTuple):
    """What became of a group. `failure`: why the files without an outcome could not be done."""

    outcomes: list[Outcome]
    failure: str | None


class _Staged(NamedTuple):
    """A file under its temporary name, not yet visible."""

    item: Item
    temporary: str
    """Its path."""
    handle: Handle
    content: Content


def identity(tree: Tree) -> str | Absent:
    """What the identity file says. Raises Trouble where that cannot be told, and Transient where it is damaged."""
    seen = tree.look(IDENTITY)
    if isinstance(seen, Absent):
        return seen
    if isinstance(seen, CannotTell):
        raise seen.trouble
    try:
        with tree.open(IDENTITY, seen) as handle:
            return str(json.loads(whole(handle, 0, _IDENTITY_SIZE))["dropline_destination"])
    except (NotAFile, ValueError, KeyError, TypeError):
        raise Transient(f"{tree.root}/{IDENTITY} is not an identity file of Dropline; restore it") from None


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


def temporary_name(agent: str, file: int) -> str:
    """The name under which a file is staged: the same at each attempt, so that nothing is left behind."""
    return f"{OWN_PREFIX}-{agent}-{file}.part"


def temporary_path(agent: str, file: int, path: str) -> str:
    """Where a file is staged that goes to `path`: in the directory where it will be."""
    directory, slash, _ = path.rpartition("/")
    return f"{directory}{slash}{temporary_name(agent, file)}"


def remove_temporary(tree: Tree, agent: str, file: int, path: str) -> None:
    """Remove what an attempt to deliver the file to `path` may have left. Raises Trouble."""
    try:
        tree.unlink(temporary_path(agent, file, path))
    except Trouble as trouble:
        if trouble.what not in _NOTHING_STAGED:
            raise


def write(place: Place, group: Sequence[Item], steps: Steps) -> Written:
    """Deliver a group of files. Raises nothing that is expected: what failed is in the answer."""
    outcomes: list[Outcome] = []
    steps.at(place.path)
    try:
        with LOCAL.tree(place.path) as tree:
            if place.identity is not None:
                require(tree, place.identity)
            _Group(place, tree, steps).deliver(group, outcomes)
    except Transient as error:
        return Written(outcomes, str(error))
    except Trouble as trouble:
        return Written(outcomes, f"{place.path}: {trouble.reason}")
    return Written(outcomes, None)


class _Group:
    """The files that are staged, proved and shown together."""

    def __init__(self, place: Place, tree: Tree, steps: Steps) -> None:
        self._place = place
        self._tree = tree
        self._steps = steps
        self._step = partial(steps.at, place.path)
        """Before whatever asks the destination."""
        self._may_hang = LOCAL.volume(place.path).may_hang
        self._sources = Sources(LOCAL, place.checksum, steps)

    def deliver(self, group: Sequence[Item], outcomes: list[Outcome]) -> None:
        """Fill `outcomes`; files without one were not done. Raises Transient and Trouble."""
        staged: list[_Staged] = []
        hidden: list[_Staged] = []
        arrived: list[Outcome] = []
        try:
            with self._sources:
                for item in group:
                    done = self._one(item)
                    if isinstance(done, _Staged):
                        staged.append(done)
                        hidden.append(done)
                    else:
                        (arrived if isinstance(done, Arrived) else outcomes).append(done)
                self._step()
                handles = [one.handle for one in staged]
                self._make_durable(handles)
                if self._place.verify != "size":
                    LOCAL.drop_cache(handles)
                for one in staged:
                    self._step()
                    self._prove(one)
                while hidden:
                    self._step()
                    arrived.append(self._show(hidden[0]))
                    hidden.pop(0)
                self._step()
                self._make_names_durable(group, arrived)
                outcomes.extend(arrived)
        finally:
            for one in staged:
                _close(one.handle)
            for one in hidden:
                self._remove(one.item)

    def _make_durable(self, handles: Sequence[Handle]) -> None:
        if not self._may_hang:
            LOCAL.make_durable(handles)
            return
        # To FUSE and SMB, syncfs(2) does not say that anything is to be made durable there; fsync(2) does.
        for handle in handles:
            self._step()
            handle.sync()

    def _make_names_durable(self, group: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        there = {outcome.file: outcome.adopted for outcome in outcomes if isinstance(outcome, Arrived)}
        parents = {item.path.rpartition("/")[0] for item in group if item.file in there}
        # What was adopted was not written by us: its content, too, may be in the page cache only.
        if self._may_hang:
            for item in group:
                if there.get(item.file):
                    with self._tree.open(item.path) as handle:
                        self._make_durable([handle])
        elif len(parents) > 2 or any(there.values()):
            self._tree.sync_volumes(parents)
            return
        for parent in parents:
            self._step()
            self._tree.sync(parent)

    def _one(self, item: Item) -> _Staged | Outcome:
        self._step()
        try:
            return self._present(item) or self._stage(item)
        except (NotTheVersion, Unreadable) as error:
            self._remove(item)
            return outcome_of(item, error)
        except Trouble as trouble:
            if trouble.what is What.DENIED and not self._tree.writable():
                raise  # not this path, but all of the destination
            if trouble.what not in _UNFIT:
                raise
            hint = "mend that, rename it, or change the rule's `path`, then `dropline retry`"
            return Unfit(item.file, f"cannot be written as {item.path!r}: {_UNFIT[trouble.what]}", hint)

    def _remove(self, item: Item) -> None:
        remove_temporary(self._tree, self._place.agent, item.file, item.path)

    def _look(self, item: Item) -> Observation | Absent:
        """What is at the path. Raises Trouble where that cannot be told: it may be anything."""
        seen = self._tree.look(item.path)
        if isinstance(seen, CannotTell):
            raise seen.trouble
        return seen

    def _present(self, item: Item) -> Outcome | None:
        """What to do about content that is at the path already; None where there is none, or where it may be replaced."""
        seen = self._look(item)
        if isinstance(seen, Absent):
            return None
        if seen.kind is not Kind.FILE:
            return self._not_a_file(item)
        size = seen.version.size
        if size != item.version.size and (item.replaces is None or size != item.replaces.size):
            self._remove(item)
            return Occupied(item.file, size, None)  # other content, and not read: it may be of any size
        try:
            occupant = self._content(item, seen)
        except NotAFile:
            return self._not_a_file(item)
        if occupant.size == item.version.size:
            ours = self._sources.content(item.root, item.relpath, item.version)
            if ours == occupant:
                self._remove(item)
                return Arrived(item.file, occupant, self._place.checksum, adopted=True)
        if occupant == item.replaces:
            return None
        self._remove(item)  # what a killed attempt staged: the file gets another name, or none
        return Occupied(item.file, occupant.size, occupant.checksum if occupant.size == size else None)

    def _not_a_file(self, item: Item) -> Unfit:
        reason = f"at {self._place.name}, {item.path!r} is not a file"
        return Unfit(item.file, reason, "move it away there, then `dropline retry`")

    def _content(self, item: Item, seen: Observation) -> Content:
        """What is at the destination. Raises Trouble."""
        with self._tree.open(item.path, seen) as handle:
            return checksum_of(handle, self._place.checksum, seen.version.size, self._steps.read)

    def _stage(self, item: Item) -> _Staged:
        """Copy to the temporary name, hashing on the way. Raises NotTheVersion, Unreadable and Trouble."""
        with self._sources.opened(item.root, item.relpath, item.version) as reading:
            self._step()
            temporary = temporary_path(self._place.agent, item.file, item.path)
            handle = self._tree.create(temporary, like=reading.handle)
            try:
                content = reading.copy_to(handle, self._place.path)
                self._step()
                try:
                    handle.set_times(reading.handle, item.version.mtime_ns)
                except Trouble as trouble:
                    # Shares that map users may not let us; the content is what is promised.
                    if trouble.what not in (What.DENIED, What.NOT_PERMITTED):
                        raise
            except BaseException:
                _close(handle)
                self._remove(item)
                raise
        return _Staged(item, temporary, handle, content)

    def _prove(self, one: _Staged) -> None:
        """Read back what the storage has. Raises Transient where it is not what was written, and Trouble."""
        size = one.item.version.size
        if self._place.verify == "size":
            good = one.handle.look().version.size == size
        else:
            good = checksum_of(one.handle, self._place.checksum, size, self._steps.read) == one.content
        if not good:
            raise Transient(f"{self._place.path}: what was read back of {one.item.path!r} is not what was written")

    def _replaceable(self, item: Item) -> bool:
        """Whether something may be replaced, and is there still: staging a large file takes long. Raises Trouble."""
        if item.replaces is None:
            return False
        seen = self._look(item)
        if isinstance(seen, Absent) or seen.kind is not Kind.FILE or seen.version.size != item.replaces.size:
            return False
        try:
            return self._content(item, seen) == item.replaces
        except Trouble as trouble:
            if trouble.what in (What.ABSENT, What.NOT_A_FILE):  # since the look
                return False
            raise

    def _show(self, one: _Staged) -> Outcome:
        """Give the staged file its name."""
        item = one.item
        try:
            if self._replaceable(item):
                self._tree.replace(one.temporary, item.path)
            else:
                self._tree.rename_new(one.temporary, item.path)
        except Trouble as trouble:
            if trouble.what is not What.EXISTS:
                raise
            # It appeared after we looked. Look again: the same content is ours to adopt, other content is not touched.
            try:
                found = self._present(item)
            except (NotTheVersion, Unreadable) as error:
                found = outcome_of(item, error)
            self._remove(item)
            return found or Unfit(item.file, f"{item.path!r} comes and goes at {self._place.name}", "`dropline retry`")
        return Arrived(item.file, one.content, self._place.checksum, adopted=False)


def _close(handle: Handle) -> None:
    """Give back a file that was synced, which said what there was to say, or that is removed now."""
    try:
        handle.close()
    except Trouble:
        pass
