"""Writing one group of files into a directory: stage, make durable, prove, show.

This is all that happens to a file at the destination, in its order. It runs in a thread of the agent, or in a helper
process (`agent.destinations.directory.worker`), so it imports little and holds no state beyond one group.
"""

import hashlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from agent.destinations import Arrived, Item, NameTaken, Outcome, Undeliverable
from agent.destinations.directory.opening import (
    IDENTITY,
    Place,
    holds,
    lies_in,
    mount_on_the_way,
    opened,
    require,
)
from agent.destinations.sources import SourceAway, outcome_of
from agent.errors import Exhausted, Transient
from agent.files import LOCAL, Absent, CannotTell, Handle, NotAFile, Tree, Trouble, What, Whose
from agent.files.reader import NotTheVersion, Sources, Unreadable, checksum_of, whole
from agent.host.bulkhead import Bulkhead, Failure
from agent.host.heartbeat import Heartbeat
from rules.model import OWN_PREFIX, Content, CopyId, Kind, Observation
from rules.patterns.portable import refused
from rules.units import bytes_in_words

NO_SUCH_PATH = frozenset({What.LINK, What.NAME_TOO_LONG, What.NAME_CHARACTERS, What.NAME_REFUSED})
"""Troubles which say that no file of the agent can be at a path: a part of it is a link, or it is no name there."""
_NOTHING_STAGED = NO_SUCH_PATH | {What.ABSENT, What.NOT_A_DIRECTORY}
_UNDELIVERABLE = {
    What.NAME_TOO_LONG: "the name is too long there",
    What.NAME_CHARACTERS: "the name has characters that the destination does not take",
    What.NAME_REFUSED: "the destination does not take the name",
    What.NOT_A_DIRECTORY: "a part of the path is not a directory there",
    What.DIRECTORY: "a directory has this name there",
    What.LINK: "a part of the path is a symbolic link there",
    What.TOO_LARGE: "it is larger than files may be there",
    What.DENIED: "the agent's user may not read or write that there",
    What.NOT_PERMITTED: "nobody may write that there: it is immutable, or the file system does not take it",
    What.READ_ONLY: "the file system that is mounted there may only be read",
    What.TOO_MANY_LINKS: "the directory has as many entries as it can hold",
    What.OTHER_VOLUME: "another file system begins there",
}
"""Troubles of one name that a person must mend; with others the file is tried again."""
_NAMES = frozenset({What.NAME_CHARACTERS, What.NAME_REFUSED, What.NOT_PERMITTED, What.DENIED})
"""Troubles by which file systems refuse a name, where it has something that they do not take."""
_OF_NAMES = NO_SUCH_PATH | {What.NOT_A_DIRECTORY, What.DIRECTORY, What.TOO_LARGE}
"""Troubles that say nothing of the destination, whatever it is."""
_LARGEST = 2**50
"""Bytes. To read as many takes weeks."""
_PROBE = b"Dropline asks whether files can be written here.\n"
_SHARE_OF_OPEN = 8
"""Of the files that a process may have open at a time, a group has this part: there are others, and the agent's own."""

log = logging.getLogger(__name__)


class _Later(Exception):
    """The file failed, and is tried again."""


class Written(NamedTuple):
    """What became of a group."""

    outcomes: list[Outcome]
    failure: str | None
    """Why the files without an outcome could not be done; None: each for a separate reason."""
    failed: dict[int, str]
    """Files that could not be done now for reasons of their own, which are tried again."""


class _Staged(NamedTuple):
    """A file under its temporary name, not yet visible."""

    item: Item
    source: CopyId
    """The file that it is a copy of."""
    temporary: str
    """Its path."""
    handle: Handle
    content: Content
    goes_on: bool = True
    """Its first bytes are what may be replaced, or nobody asks for that."""


def temporary_name(key: str, what: int | str) -> str:
    """The name under which something is staged: the same at each attempt, so that nothing is left behind.

    Who may write there, too, cannot take it beforehand: it says which agent's it is, and only that agent can make it.

    Args:
        key: of the agent.
        what: the file's number, or another word for what else is staged.
    """
    digest = hashlib.blake2b(str(what).encode(), key=key.encode(), digest_size=12).hexdigest()
    return f"{OWN_PREFIX}-{key[:12]}-{digest}.part"


def temporary_path(key: str, file: int, path: str) -> str:
    """Where a file is staged that goes to `path`: in the directory where it will be."""
    directory, slash, _ = path.rpartition("/")
    return f"{directory}{slash}{temporary_name(key, file)}"


def probe_name(key: str) -> str:
    """Of the file by which the agent asks whether files can be written."""
    return temporary_name(key, "probe")


def remove_probe(tree: Tree, key: str) -> None:
    """Remove that file. Where that cannot be done now, the next question does it, or the next check of the destination."""
    try:
        tree.unlink(probe_name(key))
    except Trouble:
        pass  # it was not made, another worker process removed it, or the destination went away, which is found soon


def remove_temporary(tree: Tree, key: str, file: int, path: str) -> None:
    """Remove what an attempt to deliver the file to `path` may have left. Raises Trouble."""
    try:
        tree.unlink(temporary_path(key, file, path))
    except Trouble as trouble:
        if trouble.what not in _NOTHING_STAGED:
            raise


def write(place: Place, group: Sequence[Item], heartbeat: Heartbeat) -> Written:
    """Deliver a group of files. Raises nothing that is expected: what failed is in the answer."""
    outcomes: list[Outcome] = []
    failed: dict[int, str] = {}
    failure: str | None = None
    try:
        with opened(place, heartbeat) as tree:
            _Group(place, tree, heartbeat, outcomes, failed).deliver(group)
    except Transient as error:
        failure = str(error)
    except Trouble as trouble:
        failure = f"{place.path}: {trouble.reason}"
        if trouble.whose is Whose.AGENT:  # nobody's fault: all that is left is tried again, and nothing is down
            done = {outcome.file for outcome in outcomes}
            failed.update((item.file, failure) for item in group if item.file not in done)
            failure = None
    return Written(outcomes, failure, failed)


class _Group:
    """The files that are staged, proved and shown together."""

    def __init__(
        self, place: Place, tree: Tree, heartbeat: Heartbeat, outcomes: list[Outcome], failed: dict[int, str]
    ) -> None:
        """`outcomes` and `failed` are filled as it goes on."""
        self._place = place
        self._tree = tree
        self._heartbeat = heartbeat
        self._outcomes = outcomes
        self._failed = failed
        self._step = partial(heartbeat.at, place.path)
        """Before whatever asks the destination."""
        self._may_hang = LOCAL.volume(place.path).may_hang
        self._sources = Sources(LOCAL, place.checksum, heartbeat)
        # What a trouble says of the destination is asked at each step; whatever else comes is of one file.
        known = Transient, Trouble
        self._items = Bulkhead[Item]("file", lambda item: f"{item.root}/{item.relpath}", through=known)
        self._staged = Bulkhead[_Staged]("staged file", lambda one: one.temporary, through=known)
        self._named = Bulkhead[Arrived]("file at the destination, number", lambda one: str(one.file), through=known)
        self._inside: dict[tuple[str, str], bool | Transient] = {}
        """(Watched directory, directory in it) → whether that lies in the destination, or why that cannot be told."""
        self._mounts: dict[str, str | None] = {}
        """Directory → the last file system that begins on the way to it."""
        self._silent: dict[str, str] = {}
        """Watched directory → why it does not answer."""

    def deliver(self, group: Sequence[Item]) -> None:
        """Files without an outcome, and that did not fail, were not done. Raises Transient, and Trouble of the destination."""
        most = max(LOCAL.open_at_most() // _SHARE_OF_OPEN, 1)
        left = list(group)
        with self._sources:
            while left:
                some, left = left[:most], left[most:]
                left = self._together(some) + left

    def _together(self, items: Sequence[Item]) -> list[Item]:
        """Deliver them together. Returns those for which there were no descriptors: they go once these are given back."""
        staged: list[_Staged] = []
        hidden: list[_Staged] = []
        arrived: list[Arrived] = []
        left: list[Item] = []
        try:
            for number, each in enumerate(self._items.each(items, failed=self._unforeseen)):
                with each as item:
                    try:
                        done = self._one(item)
                    except Trouble as trouble:
                        if trouble.whose is not Whose.AGENT or not staged:
                            raise
                        left = list(items[number:])
                        break
                    if isinstance(done, _Staged):
                        staged.append(done)
                        hidden.append(done)
                    elif isinstance(done, Arrived):
                        arrived.append(done)
                    elif done is not None:
                        self._outcomes.append(done)
            self._step()
            durable = self._durable(staged)
            if self._place.verify != "size":
                LOCAL.drop_cache([one.handle for one in durable])
            good: list[_Staged] = []
            for made in self._staged.each(durable, failed=self._unforeseen_of_staged):
                with made as one:
                    if self._proved(one):
                        good.append(one)
            for proved in self._staged.each(good, failed=self._unforeseen_of_staged):
                with proved as one:
                    self._step()
                    shown = self._shown(one)
                    if isinstance(shown, Arrived):
                        arrived.append(shown)
                    elif shown is not None:
                        self._outcomes.append(shown)
                    hidden.remove(one)
            self._step()
            self._outcomes.extend(self._with_durable_names(items, arrived))
        finally:
            for one in staged:
                _close(one.handle)
            for kept in self._staged.each(hidden):
                with kept as one:
                    self._tidy(one.item)
        return left

    # What fails

    def _unforeseen(self, item: Item, failure: Failure) -> None:
        """Nobody knows what helps: a person must look, and what goes with the file goes on."""
        self._outcomes.append(Undeliverable(item.file, failure.reason, "look at it, then `dropline retry`"))
        self._tidy(item)

    def _unforeseen_of_staged(self, one: _Staged, failure: Failure) -> None:
        self._unforeseen(one.item, failure)

    def _alone(self, item: Item, trouble: Trouble) -> Undeliverable | None:
        """A file has a trouble at the destination: a person must act, or it is tried again (None). The others go on.

        Raises Trouble and Transient where it is not the file's: the destination is asked a question about itself.
        """
        if trouble.whose is Whose.AGENT:
            raise trouble
        self._step()
        self._ask(trouble)
        refuses = trouble.what not in _UNDELIVERABLE and self._refuses_name(item, trouble)
        if refuses or trouble.what in _UNDELIVERABLE:
            why = _UNDELIVERABLE[What.NAME_REFUSED if refuses else trouble.what]
            hint = "mend that, rename it, or change the rule's `path`, then `dropline retry`"
            invalid = refused(item.path) if refuses or trouble.what in _NAMES else None
            if invalid is not None:
                why = f"{why}: {invalid}"
                hint = "rename it, or set `rename_invalid` in `deliver`, then `dropline retry`"
            return Undeliverable(item.file, f"cannot be written as {item.path!r}: {why}", hint)
        self._later(item, f"{self._place.path}: {item.path!r}: {trouble.reason}")
        return None

    def _later(self, item: Item, reason: str) -> None:
        """The file is tried again without a person."""
        self._failed[item.file] = reason
        log.warning("%s/%s cannot be delivered to %s now: %s", item.root, item.relpath, self._place.name, reason)

    def _refuses_name(self, item: Item, trouble: Trouble) -> bool:
        """Whether a new name with a character of this path has the same trouble there: FUSE says ENOENT for exFAT, EIO for FAT."""
        bad = next((one for one in item.path if refused(f"x{one}x") is not None), None)
        if bad is None:
            return False
        probe = probe_name(self._place.key) + bad
        try:
            self._tree.create(probe).close()
        except Trouble as answer:
            return answer.what is trouble.what  # EXISTS: a former one could not be removed
        self._tree.unlink(probe)
        return False

    def _ask(self, trouble: Trouble) -> None:
        """Ask whether the destination takes files at all, by writing one. Raises Trouble and Transient where it does not."""
        if self._place.identity is not None:
            require(self._tree, self._place.identity)
        if trouble.what in _OF_NAMES:
            return
        probe = probe_name(self._place.key)
        remove_probe(self._tree, self._place.key)
        try:
            with self._tree.create(probe) as handle:
                handle.write(_PROBE, 0)
                handle.sync()
                if whole(handle, 0, len(_PROBE)) != _PROBE:
                    raise Transient(f"{self._place.path}: what was read back is not what was written")
        except Trouble as answer:
            # Where names may be made below the root only, this says nothing of those below.
            # EXISTS: another worker process has just made one.
            if answer.what is trouble.what or answer.what not in (What.DENIED, What.NOT_PERMITTED, What.EXISTS):
                raise
        finally:
            remove_probe(self._tree, self._place.key)

    # Durability

    def _durable(self, staged: Sequence[_Staged]) -> Sequence[_Staged]:
        """Bring the contents to stable storage. Returns those that are there. Raises Trouble."""
        good: list[_Staged] = []

        def sync(some: Sequence[_Staged]) -> None:
            try:
                self._make_durable([one.handle for one in some])
            except Trouble:
                some = [one for one in some if self._synced(one)]  # whose is it?
            good.extend(some)

        self._staged.together(staged, sync, failed=self._unforeseen_of_staged)
        return good

    def _synced(self, one: _Staged) -> bool:
        self._step()
        try:
            one.handle.sync()
        except Trouble as trouble:
            return self._refuse(self._alone(one.item, trouble))
        return True

    def _refuse(self, outcome: Undeliverable | None) -> bool:
        """A file has its outcome, or failed. Returns that it is over."""
        if outcome is not None:
            self._outcomes.append(outcome)
        return False

    def _with_durable_names(self, items: Sequence[Item], arrived: Sequence[Arrived]) -> Sequence[Arrived]:
        """Make the names durable. Returns the files whose names are. Raises Trouble."""
        by_file = {item.file: item for item in items}
        good: list[Arrived] = []

        def sync(some: Sequence[Arrived]) -> None:
            try:
                self._make_names_durable([by_file[one.file] for one in some], some)
            except Trouble:
                some = [one for one in some if self._name_synced(by_file[one.file], one)]  # whose is it?
            good.extend(some)

        self._named.together(arrived, sync, failed=lambda one, failure: self._unforeseen(by_file[one.file], failure))
        return good

    def _name_synced(self, item: Item, one: Arrived) -> bool:
        try:
            self._make_names_durable([item], [one])
        except Trouble as trouble:
            return self._refuse(self._alone(item, trouble))
        return True

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

    # One file

    def _one(self, item: Item) -> _Staged | Outcome | None:
        """Stage a file, or say what became of it; None: it failed. Raises Trouble and Transient of the destination."""
        self._step()
        if item.root in self._silent:
            self._later(item, self._silent[item.root])
            return None
        try:
            self._require_mount(item)
            return self._never(item) or self._present(item) or self._stage(item)
        except _Later:
            return None
        except (NotTheVersion, Unreadable) as error:
            self._tidy(item)
            return self._unreadable(item, error)
        except Trouble as trouble:
            if trouble.what is What.DENIED and not self._tree.writable():
                raise  # not this path, but all of the destination
            return self._alone(item, trouble)

    def _unreadable(self, item: Item, error: NotTheVersion | Unreadable) -> Outcome | None:
        """The source could not be read as it was sealed. Raises Trouble of the agent."""
        try:
            return outcome_of(item, error)
        except SourceAway as away:
            if away.trouble.whose is Whose.AGENT:
                raise away.trouble from error
            self._silent[item.root] = str(away)
            self._later(item, str(away))
            return None

    def _remove(self, item: Item) -> None:
        remove_temporary(self._tree, self._place.key, item.file, item.path)

    def _tidy(self, item: Item) -> None:
        """Remove what was staged; what cannot be removed now, the next attempt writes over."""
        try:
            self._remove(item)
        except Trouble:
            pass

    def _source(self, item: Item) -> Tree | None:
        """The watched directory; None where it cannot be opened: reading the file says why."""
        self._heartbeat.at(item.root)
        try:
            return self._sources.at(item.root)
        except Trouble:
            return None
        finally:
            self._step()

    def _require_mount(self, item: Item) -> None:
        """Raise _Later where a file system was mounted on the way when files were proved there, and is not now."""
        if item.mount is None:
            return
        self._tree.look(f"{item.mount}/{IDENTITY}")  # mounts it, where that is done when somebody comes by
        if mount_on_the_way(self._tree, item.mount) != item.mount:
            reason = f"{self._place.path}/{item.mount} was another file system, and nothing is mounted there now"
            self._later(item, f"{reason}; mount it")
            raise _Later

    def _never(self, item: Item) -> Undeliverable | None:
        """Why this file is not to be delivered whatever is there: larger than can be read, or in the destination itself,
        where its copies would be delivered again, deeper and deeper.
        """
        if item.version.size > _LARGEST:
            reason = f"it says that it has {bytes_in_words(item.version.size)}, which no storage holds: a sparse file"
            return Undeliverable(item.file, reason, "remove it, or exclude it")
        if self._place.identity is None:
            return None
        for directory in dict.fromkeys(("", item.relpath.rpartition("/")[0])):
            inside = self._lies_inside(item, directory)
            if isinstance(inside, Transient):
                self._later(item, str(inside))
                raise _Later
            if inside:
                reason = f"it lies in the destination {self._place.name} itself: it would be a copy of itself"
                hint = f"exclude that directory, or give [destinations.{self._place.name}] another path"
                return Undeliverable(item.file, reason, f"{hint}, then `dropline retry`")
        return None

    def _lies_inside(self, item: Item, directory: str) -> bool | Transient:
        """Whether the watched directory (""), or one in it, lies in the destination. Raises Trouble of the agent."""
        key = item.root, directory
        if key not in self._inside:
            try:
                if directory:
                    source = self._source(item)
                    self._inside[key] = source is not None and lies_in(self._tree, self._place, source, directory)
                else:
                    self._inside[key] = holds(self._tree, self._place, item.root, self._heartbeat)
                    self._step()
            except Exhausted as error:
                raise Trouble(What.EXHAUSTED, str(error)) from error
            except Transient as error:
                self._inside[key] = error
        return self._inside[key]

    def _mount(self, path: str) -> str | None:
        """Where the last file system begins on the way to a path. Raises Trouble."""
        directory = path.rpartition("/")[0]
        if directory not in self._mounts:
            self._mounts[directory] = mount_on_the_way(self._tree, directory)
        return self._mounts[directory]

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
            return NameTaken(item.file, size, None)  # other content, and not read: it may be of any size
        tree = self._source(item)
        source = None if tree is None else tree.look(item.relpath)
        if isinstance(source, Observation) and source.file == seen.file:
            return self._no_copy(item)
        try:
            with self._tree.open(item.path, seen) as handle:
                occupant = checksum_of(handle, self._place.checksum, seen.version.size, self._heartbeat.read)
                if seen.version.size == item.version.size:
                    with self._sources.opened(item.root, item.relpath, item.version) as reading:
                        if reading.handle.opened.file == handle.opened.file:
                            return self._no_copy(item)
                        ours = reading.copy_to(None)
                    if ours == occupant:
                        self._remove(item)
                        mount, aside = self._mount(item.path), self._stands_aside(item)
                        return Arrived(
                            item.file, occupant, self._place.checksum, adopted=True, mount=mount, aside=aside
                        )
        except NotAFile:
            return self._not_a_file(item)
        if occupant == item.replaces:
            return None
        self._remove(item)  # what a killed attempt staged: the file gets another name, or none
        return NameTaken(item.file, occupant.size, occupant.checksum if occupant.size == size else None)

    def _no_copy(self, item: Item) -> Undeliverable:
        """What is at the path is the source itself: it would be deleted as a copy of itself."""
        reason = f"at {self._place.name}, {item.path!r} is the very file that is to be delivered, not a copy of it"
        hint = "remove that name there (a link, or the destination is the watched directory by another mount)"
        return Undeliverable(item.file, reason, f"{hint}, then `dropline retry`")

    def _not_a_file(self, item: Item) -> Undeliverable:
        reason = f"at {self._place.name}, {item.path!r} is not a file"
        return Undeliverable(item.file, reason, "move it away there, then `dropline retry`")

    def _stage(self, item: Item) -> _Staged:
        """Copy to the temporary name, hashing on the way. Raises NotTheVersion, Unreadable and Trouble."""
        with self._sources.opened(item.root, item.relpath, item.version) as reading:
            self._step()
            temporary = temporary_path(self._place.key, item.file, item.path)
            stands_for = self._sources.at(item.root), item.relpath.rpartition("/")[0]
            self._tree.make_directory(item.path.rpartition("/")[0], stands_for, self._place.dir_mode, self._place.group)
            handle = self._new(item, temporary, reading.handle)
            try:
                content = reading.copy_to(handle, self._place.path, _begins_with(item))
                self._step()
                try:
                    handle.set_times(reading.handle, item.version.mtime_ns)
                except Trouble as trouble:
                    # Shares that map users may not let us; the content is what is promised.
                    if trouble.what not in (What.DENIED, What.NOT_PERMITTED):
                        raise
            except BaseException:
                _close(handle)
                self._tidy(item)
                raise
        goes_on = item.aside is None or item.replaces is None or reading.begin == item.replaces.checksum
        return _Staged(item, reading.handle.opened.file, temporary, handle, content, goes_on)

    def _new(self, item: Item, temporary: str, like: Handle) -> Handle:
        """A new file of that name. Raises _Later where somebody else has taken it, and Trouble."""
        try:
            return self._tree.create(temporary, like, self._place.mode, self._place.group)
        except Trouble as trouble:
            taken = isinstance(self._tree.look(temporary), Observation)
            if not taken or trouble.what not in (What.DIRECTORY, What.DENIED, What.NOT_PERMITTED):
                raise
            reason = f"{temporary!r} is somebody else's, and stands where the file is to be staged; remove it"
            self._later(item, f"{self._place.path}: {reason}")
            raise _Later from trouble

    def _proved(self, one: _Staged) -> bool:
        """Read back what the storage has. Raises Trouble and Transient of the destination."""
        item, size = one.item, one.item.version.size
        self._step()
        try:
            if self._place.verify == "size":
                good = one.handle.look().version.size == size
            else:
                good = checksum_of(one.handle, self._place.checksum, size, self._heartbeat.read) == one.content
        except Trouble as trouble:
            return self._refuse(self._alone(item, trouble))
        if not good:
            self._later(item, f"{self._place.path}: what was read back of {item.path!r} is not what was written")
        return good

    def _replaceable(self, one: _Staged) -> Observation | None:
        """What may be replaced, and is there still: staging a large file takes long. Raises Trouble."""
        item = one.item
        if item.replaces is None:
            return None
        seen = self._look(item)
        if isinstance(seen, Absent) or seen.kind is not Kind.FILE or seen.file == one.source:
            return None
        if seen.version.size != item.replaces.size:
            return None
        try:
            with self._tree.open(item.path, seen) as handle:
                content = checksum_of(handle, self._place.checksum, seen.version.size, self._heartbeat.read)
                return handle.opened if content == item.replaces else None
        except Trouble as trouble:
            if trouble.what in (What.ABSENT, What.NOT_A_FILE):  # since the look
                return None
            raise

    def _shown(self, one: _Staged) -> Outcome | None:
        """Give the staged file its name; None: it failed. Raises Trouble and Transient of the destination."""
        try:
            return self._show(one)
        except Trouble as trouble:
            self._tidy(one.item)
            return self._alone(one.item, trouble)

    def _show(self, one: _Staged) -> Outcome | None:
        """Raises Trouble."""
        item = one.item
        try:
            former = self._replaceable(one)
            if former is not None and not one.goes_on and not self._stands_aside(item):
                refused = self._set_aside(item)
                if refused is not None:
                    return refused
                former = None
            if former is None:
                self._tree.rename_new(one.temporary, item.path)
            else:
                self._tree.replace_known(one.temporary, item.path, former)
        except Trouble as trouble:
            if trouble.what not in (What.EXISTS, What.OTHER_VERSION):
                raise
            # It appeared after we looked. Look again: the same content is ours to adopt, other content is not touched.
            try:
                found = self._present(item)
            except (NotTheVersion, Unreadable) as error:
                self._tidy(item)
                return self._unreadable(item, error)
            self._remove(item)
            return found or Undeliverable(
                item.file, f"{item.path!r} comes and goes at {self._place.name}", "`dropline retry`"
            )
        mount, aside = self._mount(item.path), self._stands_aside(item)
        return Arrived(item.file, one.content, self._place.checksum, adopted=False, mount=mount, aside=aside)

    def _set_aside(self, item: Item) -> Undeliverable | None:
        """Rename the former copy, so that both are kept: the file is another measurement. Raises Trouble."""
        assert item.aside is not None, "it was asked for"
        try:
            self._tree.rename_new(item.path, item.aside)
        except Trouble as trouble:
            if trouble.what is not What.EXISTS:
                raise
            self._remove(item)
            reason = f"at {self._place.name}, {item.path!r} is another measurement, and {item.aside!r}, where it is to be kept,"
            return Undeliverable(item.file, f"{reason} is there already", "rename that there, then `dropline retry`")
        log.info("%s: what was at %r is kept as %r", self._place.path, item.path, item.aside)
        return None

    def _stands_aside(self, item: Item) -> bool:
        """Whether the former copy has its name aside: this attempt renamed it, or one that was interrupted. Raises Trouble."""
        if item.aside is None or item.replaces is None:
            return False
        seen = self._tree.look(item.aside)
        if not isinstance(seen, Observation) or seen.kind is not Kind.FILE or seen.version.size != item.replaces.size:
            return False
        with self._tree.open(item.aside, seen) as handle:
            return checksum_of(handle, self._place.checksum, seen.version.size, self._heartbeat.read) == item.replaces


def _begins_with(item: Item) -> int | None:
    """Of how many of its first bytes it is to be told whether they are what may be replaced; None: of none."""
    return None if item.aside is None or item.replaces is None or item.rewritten else item.replaces.size


def _close(handle: Handle) -> None:
    """Give back a file that was synced, which said what there was to say, or that is removed now."""
    try:
        handle.close()
    except Trouble:
        pass
