"""Is what stands at a name the file that is known there, changed in place, or another one?"""

from typing import NamedTuple

from rules.model import CopyId, Kind, Observation, Version, VolumeId
from rules.versions.volumes import SameVolume, same_volume


class Adoption(NamedTuple):
    """A new reading of a known name, and whose it is. Nothing takes a reading for a known file's without it."""

    seen: Observation
    same_file: bool
    reason: str
    replaced: bool = False
    """Another file stands where the known one stood, and its name was not seen away: a program saved it by a rename."""


def restamped(known: Version, seen: Version) -> bool:
    """Whether nothing differs but the ctime: a mode, an owner, an ACL or the number of links was changed, most likely.

    Content that was written with its mtime set back looks the same, so what is deleted on its proof is compared first.
    """
    return known != seen and known == seen._replace(ctime_ns=known.ctime_ns)


def stamps_alone(known: Version, seen: Version) -> bool:
    """Whether nothing differs but mtime and ctime, as after a `touch`. The content may be another one."""
    return known != seen and known == seen._replace(mtime_ns=known.mtime_ns, ctime_ns=known.ctime_ns)


def made_again(known: CopyId, ctime_ns: int, seen: Observation, born_ns: int | None) -> bool:
    """Whether another directory has the name of one that is known; not where that cannot be told.

    Args:
        known: the directory.
        ctime_ns: of the directory, when it was last seen.
        seen: the file there now.
        born_ns: when that was made; None: its file system cannot tell.
    """
    if seen.kind is not Kind.DIRECTORY or same_volume(known.volume, seen.volume) is not SameVolume.YES:
        return False
    return seen.version.file_id != known.file_id or (born_ns is not None and born_ns > ctime_ns)


def adoption(known: Version, volume: VolumeId, seen: Observation, born_ns: int | None, *, left: bool) -> Adoption:
    """Whether a reading is of the file that is known.

    File ids are used again at once; a file that was made after the known one last changed is another one.

    Args:
        known: what was read before.
        volume: the file system that it was read on.
        seen: the file there now.
        born_ns: when that was made, by its file system's clock; None: it cannot tell.
        left: the name went away at some time since.
    """
    if left:
        return Adoption(seen, False, "the name was away in between")
    same = same_volume(volume, seen.volume)
    if same is not SameVolume.YES:  # a file id tells a file from others of its file system only
        return Adoption(seen, False, same.value)
    if known.file_id != seen.version.file_id:
        return Adoption(seen, False, "another file has its name", replaced=True)
    if born_ns is not None and born_ns > known.ctime_ns:
        return Adoption(seen, False, "another file has its name, and its number again", replaced=True)
    return Adoption(seen, True, "it changed in place")
