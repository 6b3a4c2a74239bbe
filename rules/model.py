"""The frozen values that the decisions speak of.

Paths are `str` with undecodable bytes as surrogate escapes (PEP 383), and "/" between parts; times are seconds since
the epoch; durations are seconds; sizes are bytes.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType

from rules.actions import Action, named

if TYPE_CHECKING:  # worker processes need none of it
    from rules.datasets.condition import Condition

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


@dataclass(frozen=True, slots=True)
class Together:
    """Which files of a rule are one dataset: exactly one of the two."""

    dir: re.Pattern[str] | None = None
    """Matches, from the beginning of the relative path, the directory with everything below it."""
    group: tuple[re.Pattern[str], ...] = ()
    """The first that matches counts; files whose named groups are equal belong together."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a file of a rule is complete."""

    quiet: float | None = None
    """Seconds without a change between the agent's own readings; None: short where the probe can tell, else long."""
    marker: str | None = None
    """Glob of a file in the same directory which says that the file is finished; `{name}` and `{stem}` are the file's."""
    patience: float | None = None
    """Seconds of quiet after which a missing marker is no longer waited for; None: wait for ever."""
    min_size: int = 0
    require: "tuple[Condition, ...]" = ()
    """What must be true of the whole dataset, besides that each of its files has settled."""
    looks_for: tuple[str, ...] = ()
    """Patterns of names on the disk that `require` looks for: when one appears, datasets are looked at."""
    looks_beyond: bool = False
    """Some of them may lie outside of the dataset's directory."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """How complete files are grouped, and when a group is sealed into a batch."""

    by: str = "dir"
    """`dir`, `dataset`, `capture` (all named groups of the rule's regular expression), or a template such as `{run}`."""
    max_files: int = 500
    max_bytes: int = 50_000_000_000
    linger: float = 1.0
    """Seconds after the last file joined during which company is waited for."""
    max_age: float | None = None
    """Seconds after the first file joined at which the group is sealed, though more files keep joining; None: 5 lingers."""
    schedule: str | None = None
    """Cron expression; groups are then sealed at these times only (or when they are full)."""


@dataclass(frozen=True, slots=True)
class Target:
    """One destination of a rule and the template of the path there."""

    to: str
    path: str = "{relpath}"
    backfill: bool | None = None
    """Whether files that were delivered before the destination came go there, too; None: nobody said."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """When local copies may go. A rule without it keeps them for ever."""

    after: float | None = None
    """Seconds after the proof at the last required destination; None: only when space is short."""
    when_free_below: float | None = None
    """Fraction (0..1) of free space below which the oldest verified batches go first, before `after` has passed."""
    trash: float | None = None
    """Seconds that a reclaimed file stays in the trash folder of its watched directory; None: no trash."""
    empty_dirs: bool = False
    """Remove sub-directories that reclaiming made empty."""
    evidence: str = "checksum"
    """The weakest proof that is enough: `checksum` (content was compared) or `stat` (size and mtime)."""
    min_age: float = 60.0
    """Seconds that the agent must have seen size, times and identity of the local file unmoved, by its own clock."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[rules]]` table."""

    name: str
    watch: str
    """Absolute path of the watched directory."""
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    capture: re.Pattern[str] | None = None
    complete: Conditions = field(default_factory=Conditions)
    batch: Sealing = field(default_factory=Sealing)
    deliver: tuple[Target, ...] = ()
    reclaim: Reclaim | None = None
    dataset: Together | None = None
    then: tuple[Action, ...] = ()
    """What is done once a batch is verified."""
    share_with: tuple[Action, ...] = ()
    """Who may read a verified batch at the rule's Globus destinations."""

    def relpath(self, path: str) -> str:
        """The part of an absolute path at or below `watch` that templates, datasets and destinations go by."""
        return path[len(self.watch.rstrip("/")) + 1 :]

    @property
    def whole(self) -> bool:
        """Whether its files wait for each other, as datasets."""
        return self.dataset is not None or bool(self.complete.require)

    @property
    def actions(self) -> dict[str, Action]:
        """Both, by the names that the ledger knows them by."""
        return named(self.then, self.share_with)


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
