"""The interface to files that are not the agent's own: `posix/` implements it, and the in-memory files of the simulation.

Paths below a root are relative, with "/" between their parts, and never lead through a symbolic link. Every operation
raises `Trouble`, and nothing else, where the operating system refuses it. Nothing here is safe between threads but `Files`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from agent.files.events import Events, Put
from agent.files.trouble import Look, Trouble
from agent.files.volumes import Location, Space, Volume
from rules.model import Entry, Kind, Observation, Version, VolumeId, Writer


class Listed(NamedTuple):
    """Some of what is in a directory."""

    entries: dict[Entry, Kind]
    """What is no directory."""
    directories: list[str]
    """Names of directories."""
    volume: VolumeId
    """The file system of the directory itself, asked of what was listed."""
    last: bool
    """Nothing of the directory follows."""
    unseen: Trouble | None = None
    """With the last: how many entries of the directory could not be looked at, and why one of them could not."""


class Handle(Protocol):
    """An open file. It stays the same file whatever happens to its name."""

    @property
    def opened(self) -> Observation:
        """What the file was when it was opened, asked through the handle."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def close(self) -> None:
        """Give it back."""

    def look(self) -> Observation:
        """What the file is now."""

    def writer(self) -> Writer:
        """Whether somebody has it open for writing. Only of a handle that was opened for reading."""

    def named(self) -> bool:
        """Whether it still has a name. Without one, nobody else can open it; what has it open can read it to its end."""

    def allocated(self) -> int:
        """Bytes that the storage holds of it: fewer than its size where it has holes."""

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from there on: fewer where one call of the system brings fewer, none at the end."""

    def read_into(self, block: memoryview, offset: int) -> int:
        """Fill the block from there on. Returns how many bytes one call of the system brought; 0 at the end."""

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of it there. A gap before it reads as zeros."""

    def set_size(self, size: int) -> None:
        """Cut it off, or lengthen it by a hole."""

    def set_times(self, like: "Handle", mtime_ns: int) -> None:
        """Give it the time of the last read of another file, and this mtime. Shares that map users may not let us."""

    def sync(self) -> None:
        """Bring its content to stable storage."""

    def begin_write_back(self, offset: int, length: int) -> None:
        """Let the storage begin to take these bytes, and do not wait. A hint."""

    def end_write_back(self, offset: int, length: int) -> None:
        """Wait until the storage has taken these bytes, and forget their cached pages. It says nothing of durability."""

    def forget(self) -> None:
        """Forget its cached pages: nobody here reads it again soon. A hint."""


class Held(Protocol):
    """A file that was renamed aside, and is to be removed or put back. Given back undecided, it stays aside."""

    @property
    def ctime_ns(self) -> int:
        """Its ctime since the rename: to be remembered where it stays aside."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def close(self) -> None:
        """Give it back."""

    def whole(self) -> bool:
        """Whether it is what it was when it was renamed, size, mtime, ctime and identity, and has no writer as far as is known."""

    def unlink(self, same: Callable[[Handle], bool]) -> bool:
        """Remove it, if it is whole. Returns whether it is gone.

        `same`: whether its content is what was proved. It is asked where stamps do not prove that: the platform cannot
        keep writers away, or its ctime since the rename is not known. It may take long.
        """

    def put_back(self, path: str) -> int | None:
        """Rename it, but never onto something that exists: EXISTS. Missing directories are made.

        Returns its ctime since then; None where it may have been written to since it was proved.
        """


class Tree(Protocol):
    """A directory and what lies below it, opened part by part. Short-lived: it follows its directories when they are renamed."""

    root: str
    opened: Observation
    """The root directory itself."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def close(self) -> None:
        """Give back what it holds open."""

    def look(self, path: str) -> Look:
        """What has a name; "" is the root. The only operation that raises nothing."""

    def target(self, path: str) -> str:
        """What a symbolic link says, as it is written."""

    def born(self, path: str) -> int | None:
        """When what has the name was made, in nanoseconds by its file system's clock; None where that cannot be told."""

    def names(self, path: str) -> list[str]:
        """All names in a directory."""

    def scan(self, path: str, most: int) -> Iterator[Listed]:
        """What is in a directory, `most` entries at a time, each as `look` shows it. What was read before a Trouble comes, too."""

    def open(self, path: str, seen: Observation | None = None) -> Handle:
        """Open a regular file for reading. Raises NotAFile where it is something else, which is not opened.

        `seen`: what a look has just shown there; what was opened may be another file all the same, `opened` says.
        """

    def create(
        self, path: str, like: Handle | None = None, mode: int | None = None, group: int | None = None
    ) -> Handle:
        """A new file for reading and writing, instead of a file that has the name.

        What had the name is removed, and not written to: it may be a link to somebody else's file.

        Args:
            path: of the file.
            like: whose permissions it gets, as far as the owner may still write to it, unless a default ACL says who may.
            mode: its permissions, whatever else says.
            group: number of its group; None: the one that the file system gives.
        """

    def mark(self, path: str, content: bytes) -> Observation | None:
        """Write a small file of the agent's own. Returns what it is then, by its file system's clock.

        None where something else has the name, such as a link, a FIFO or a file with several names: it is left alone.
        """

    def make_directory(
        self, path: str, like: tuple["Tree", str] | None = None, mode: int | None = None, group: int | None = None
    ) -> None:
        """Make a directory, and those above it, where they are absent. One of the agent's own names is its owner's alone.

        Args:
            path: of the directory.
            like: a tree, and the directory in it that this one stands for, as those above do with the same names. Nobody is
                let into what is made who was kept out there, unless a default ACL says who is.
            mode: permissions of what is made, whatever else says.
            group: number of the group of what is made; None: the one that the file system gives.
        """

    def rename_new(self, source: str, target: str) -> None:
        """Rename, but never onto something that exists: EXISTS.

        Missing directories of the target are made as those of the source are: see `make_directory`. So do other renames.
        """

    def make_link(self, path: str, target: str) -> None:
        """Make a symbolic link, never onto something that exists: EXISTS. The directories above it are there."""

    def replace(self, source: str, target: str) -> None:
        """Rename, onto a file that has the name or onto none."""

    def replace_known(self, source: str, target: str, known: Observation) -> None:
        """Rename, onto this very file or onto none: OTHER_VERSION where another one, or other content, has the name by now.

        What comes in the last moment is put back where the platform can exchange names.
        """

    def unlink(self, path: str) -> None:
        """Remove a name that is no directory's."""

    def move_aside(self, path: str, aside: str, proved: Version) -> Held:
        """Rename a file to a name that only the agent gives away, if it is what was proved, and has no writer.

        Raises Trouble where it was not renamed: OTHER_VERSION, BUSY where it has a writer. What is returned may be not
        whole: a program opened it.
        """

    def hold(self, aside: str, proved: Version, ctime_ns: int | None) -> Held:
        """Take up a file that was moved aside before. `ctime_ns`: since then; None: not known.

        It is held whatever it is and whoever writes to it, and is not whole then.
        """

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""

    def sync(self, path: str) -> None:
        """Make the names in a directory durable, where directories can be synced; and those of directories above that were made."""

    def sync_volumes(self, paths: Iterable[str]) -> None:
        """Bring all that was written to the file systems of these directories to stable storage."""

    def writable(self) -> bool:
        """Whether the agent's user may make names in the root."""

    def cannot_move_aside(self, path: str, aside: str) -> str | None:
        """Why `move_aside` would not get that far: a right that the agent's user has not. None: it may, as far as can be told."""


class Files(Protocol):
    """The files of a computer."""

    def prepare(self) -> None:
        """Make it harmless to ask for writers. Once, from the main thread, before the first such question."""

    def tree(self, root: str) -> Tree:
        """A directory, which may be named by way of links."""

    def look(self, path: str) -> Look:
        """What has an absolute path, without following a link at its end."""

    def volume(self, path: str) -> Volume:
        """The file system that holds a path, or its nearest existing parent."""

    def location(self, path: str) -> Location:
        """The path within its file system, the same by whatever mount. It asks the mount table alone, which does not hang."""

    def resolve(self, path: str) -> str:
        """The path without symbolic links, as far as that can be told without asking a file system that may hang."""

    def unmounted(self, path: str) -> str | None:
        """The mount point that should hold the path by the computer's own table, where nothing is mounted there now."""

    def open_at_most(self) -> int:
        """How many files this process may have open at a time."""

    def space(self, path: str) -> Space | None:
        """How much may still be written there; None where that cannot be told."""

    def make_durable(self, handles: Sequence[Handle]) -> None:
        """Bring the contents of several files to stable storage."""

    def drop_cache(self, handles: Sequence[Handle]) -> None:
        """Forget cached pages of synced files, so that the next reads come from the storage, and begin to fetch them."""

    def watch(self, root: str, put: Put, lost: Callable[[str], None]) -> Events:
        """Events of a tree. `put` takes hints; `lost` is called with the reason where events were lost."""


def sync_grown(grown: set[str], path: str, sync: Callable[[str], object]) -> None:
    """Make the names in a directory durable, and those in the directories above it that were made.

    `grown`: directories in which directories were made; those that are synced leave it. `sync`: makes one durable.
    """
    sync(path)
    grown.discard(path)
    while path and grown:  # a name in a directory that has no name itself is not durable
        path = path.rpartition("/")[0]
        if path in grown:
            sync(path)
            grown.discard(path)
