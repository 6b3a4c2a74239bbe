"""Is it the same file system as before? A device number does not tell: it changes at a remount, and is used again."""

from enum import Enum

from rules.complete import COARSE, granule
from rules.model import STABLE_VOLUME, Observation, Version, VolumeId


class SameVolume(Enum):
    """Whether two looks, one of them perhaps before a remount, were at one file system."""

    YES = "it is the same file system"
    NO = "another file system is mounted there"
    CANNOT_TELL = "whether the same file system is mounted there cannot be told yet"


def same_volume(before: VolumeId, now: VolumeId | None) -> SameVolume:
    """Compare the identities of two looks. `now`: None where there was no look."""
    if before == now:
        return SameVolume.YES
    if now is not None and before & now & STABLE_VOLUME:
        return SameVolume.NO
    return SameVolume.CANNOT_TELL


def unchanged(known: Version, volume: VolumeId, seen: Observation) -> bool:
    """Whether a look shows the very version that is known, on the file system where it was.

    Where that file system has a new identity since, a ctime finer than a second tells: no other file system has the same
    file id with the same ctime by chance. A camera without a clock gives all its files the same coarse one.

    Args:
        known: the version.
        volume: its file system, when it was last seen.
        seen: the look.
    """
    if known != seen.version:
        return False
    same = same_volume(volume, seen.volume)
    return same is SameVolume.YES or (same is SameVolume.CANNOT_TELL and granule(known.ctime_ns) < COARSE)
