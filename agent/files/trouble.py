"""What can go wrong with a file, in our own words, whatever the operating system calls it."""

from enum import Enum, auto

from agent.errors import Whose
from rules.model import Observation


class What(Enum):
    """What happened. Each is one cause, with one owner."""

    ABSENT = auto(), Whose.FILE
    """No such name, or a part of the path is missing."""
    NOT_A_DIRECTORY = auto(), Whose.FILE
    """A part of the path is something else than a directory, such as a link."""
    LINK = auto(), Whose.FILE
    """A symbolic link stands there, which is not followed."""
    DIRECTORY = auto(), Whose.FILE
    """A directory stands there."""
    NOT_A_FILE = auto(), Whose.FILE
    """What stands there is no regular file."""
    EXISTS = auto(), Whose.FILE
    """The name is taken."""
    OTHER_VERSION = auto(), Whose.FILE
    """It is not the version that is meant."""
    NOT_EMPTY = auto(), Whose.FILE
    """The directory is not empty."""
    NAME_TOO_LONG = auto(), Whose.FILE
    NAME_CHARACTERS = auto(), Whose.FILE
    """The file system cannot store a character of the name."""
    NAME_REFUSED = auto(), Whose.FILE
    """The file system does not take the name."""
    DENIED = auto(), Whose.FILE
    """The agent's user may not."""
    NOT_PERMITTED = auto(), Whose.FILE
    """Nobody may, or the owner only: immutable files, file systems that know no such operation."""
    TOO_LARGE = auto(), Whose.FILE
    """Larger than files may be there."""
    TOO_MANY_LINKS = auto(), Whose.FILE
    BUSY = auto(), Whose.FILE
    """In use: a lease, a lock or a mount point."""
    OTHER_VOLUME = auto(), Whose.FILE
    """The two names are on different file systems."""
    DAMAGED = auto(), Whose.VOLUME
    """The storage reports an error."""
    FULL = auto(), Whose.VOLUME
    """No space, or the quota is used up."""
    READ_ONLY = auto(), Whose.VOLUME
    STALE = auto(), Whose.VOLUME
    """The server forgot the file, or the connection to it was lost."""
    NO_ANSWER = auto(), Whose.VOLUME
    """The server does not answer."""
    EXHAUSTED = auto(), Whose.AGENT
    """The agent or the computer has no descriptors or no memory left."""
    UNSUPPORTED = auto(), Whose.VOLUME
    """The file system has no such operation."""
    OTHER = auto(), Whose.UNKNOWN

    @property
    def whose(self) -> Whose:
        """What it says something about."""
        return self.value[1]


class Trouble(Exception):
    """An operation on a file failed.

    `reason` is the operating system's sentence, for people; nothing is decided by it.
    """

    def __init__(self, what: What, reason: str) -> None:
        super().__init__(reason)
        self.what = what
        self.reason = reason

    @property
    def whose(self) -> Whose:
        """What it says something about."""
        return self.what.whose


class NotAFile(Trouble):
    """No regular file stands there; it was not opened, for opening a FIFO or a device may have effects."""

    def __init__(self, seen: Observation) -> None:
        super().__init__(What.NOT_A_FILE, f"a {seen.kind} stands in its place")
        self.seen = seen


class OtherVersion(Trouble):
    """The file is not the version that is meant. Nothing was done with it."""

    def __init__(self, seen: Observation) -> None:
        super().__init__(What.OTHER_VERSION, "it is not the version that was proved")
        self.seen = seen


class Absent(Enum):
    """Nothing has the name, below a root that has just answered as itself."""

    ABSENT = "it is not there"


ABSENT = Absent.ABSENT


class CannotTell:
    """Whether something has the name cannot be told. It never means that nothing has."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble

    @property
    def reason(self) -> str:
        """Why, for people."""
        return self.trouble.reason

    def __repr__(self) -> str:
        return f"CannotTell({self.trouble.what.name}: {self.reason})"


Look = Observation | Absent | CannotTell
"""What a look at a name shows: a file, nothing, or cannot tell. No caller can take one for another."""


def is_known(seen: Look, known: Observation) -> Look:
    """What was seen, where that is the known file with its stamps, or nothing. Raises Trouble: OTHER_VERSION for all else."""
    if isinstance(seen, CannotTell):
        raise seen.trouble
    if isinstance(seen, Observation) and seen != known:
        raise OtherVersion(seen)
    return seen
