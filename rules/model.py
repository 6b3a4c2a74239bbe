"""The frozen values that the decisions speak of.

Paths are `str` with undecodable bytes as surrogate escapes (PEP 383), and "/" between parts; times are seconds since
the epoch; durations are seconds; sizes are bytes.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple, NewType

OWN_PREFIX = ".dropline"
"""Names that start so are the agent's own (temporary files, files moved aside, the canary) and are never claimed."""


SENT = "send"
"""The rule of files that a person sends by hand: no rule of a configuration may have this name."""


FileId = NewType("FileId", int)
"""What tells a file from others of its file system, and from none that was there before: an inode number is used again."""
VolumeId = NewType("VolumeId", int)
"""What tells a file system from others: for ever where it has STABLE_VOLUME, else as long as it stays mounted."""
STABLE_VOLUME = 2**62
"""The bit of an identity that is written on the disk. Two different ones with it are two file systems; without it, one that was
mounted again may have another. `rules.versions.volumes` compares them."""


class CopyId(NamedTuple):
    """Which file it is, by whatever name or mount. Holds as long as its file system stays mounted."""

    volume: VolumeId
    file_id: FileId


class Kind(StrEnum):
    """What stands at a name."""

    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"
    FIFO = "FIFO"
    SOCKET = "socket"
    DEVICE = "device"
    PLACEHOLDER = "placeholder of a file that a cloud service keeps"
    """Reading it would fetch the content, and removing it would remove what the service keeps."""


class Version(NamedTuple):
    """What identifies the content of a path. Evidence for one version never permits touching another.

    ctime is part of it because mtime can be set back and ctime cannot (inode(7)); the file system is not, because some have
    another identity after each mount.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    file_id: FileId


Entry = tuple[bytes, int, int, int, FileId, VolumeId]
"""An entry of a directory, as a sweep reads it and as the ledger has it: name, size, mtime_ns, ctime_ns, file id, volume.

Plain, for there are millions: where all is as it was, one set of them is compared with another.
"""


class Observation(NamedTuple):
    """One look at one name, at one time."""

    version: Version
    volume: VolumeId
    kind: Kind

    @property
    def file(self) -> CopyId:
        """Which file it is, whatever its name."""
        return CopyId(self.volume, self.version.file_id)


class Content(NamedTuple):
    """What tells the content of a file from other content. A checksum alone does not say of how many bytes it is."""

    checksum: bytes
    """Of all its bytes; what `rules.naming.stat_content` makes where a destination tells only size and mtime."""
    size: int


class Verdict(NamedTuple):
    """What a decision says, why, and when it is worth asking again (None: only after something changes)."""

    ok: bool
    reason: str
    again_at: float | None = None


class Writer(Enum):
    """The answer of the open-writer probe."""

    NONE = "no process has it open for writing"
    OPEN = "a process has it open for writing"
    CANNOT_TELL = "this file system cannot tell whether a process has it open for writing"


MOST_COUNTED = 2**44
"""Bytes of a file that enter a sum at the most: 16 TiB, so that half a million sparse files of any size make one that 64 bits
hold."""


def counted(size: int) -> int:
    """What a file of this size adds to a sum."""
    return min(size, MOST_COUNTED)


class Candidate(NamedTuple):
    """A version that a rule claims and whose writer may not be done."""

    name: str
    """Last part of its path."""
    size: int
    since: float
    """When the agent first read exactly this version."""
    granule: float
    """Seconds within which two writes may leave the same stamps, see `rules.complete.granule`."""
    learned: float = 0.0
    """Seconds that it waits unchanged because writers came back to such files, see `rules.complete.learned`."""


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A group that still takes files."""

    key: str
    files: int
    bytes: int
    first_at: float
    last_at: float


STAT = "stat"
"""Instead of an algorithm: only size and mtime (to the second) were compared."""


def proof_in_words(algorithm: str, checksum: bytes) -> str:
    """`sha256:8742…`, or `stat:SIZE:MTIME`."""
    return checksum.decode("ascii", "replace") if algorithm == STAT else f"{algorithm}:{checksum.hex()}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """How we know that a version is at a destination."""

    destination: str
    checksum: bytes
    algorithm: str
    proved_at: float
    size: int
    """Bytes that were compared, or that the destination says it has."""
    mount: str | None = None
    """The last directory on the way to the copy where another file system began; None: there was none."""

    @property
    def strong(self) -> bool:
        """Whether content was compared, not only size and mtime."""
        return self.algorithm != STAT
