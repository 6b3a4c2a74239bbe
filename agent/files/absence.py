"""Is it gone? Only the file system that a file was on can say that."""

from agent.files.tree import Files, Tree
from agent.files.trouble import ABSENT, CannotTell, Look, Trouble, What
from rules.model import Kind, Observation, VolumeId
from rules.versions.volumes import SameVolume, same_volume


def look_on(place: Tree | Files, path: str, volume: VolumeId) -> Look:
    """What has a name that a file of this file system had.

    ABSENT only where the directory above is on that file system: else the file system is not mounted, or another one is, and
    what is absent says nothing of the file.

    Args:
        place: a tree, with a path below its root, or the files of a computer, with an absolute path.
        path: the name.
        volume: the file system that the file was on when it was last seen.
    """
    seen = place.look(path)
    if seen is not ABSENT:
        return seen
    top = path[:1] if path.startswith("/") else ""
    above = path
    while above != top:
        above = above.rpartition("/")[0] or top
        found = place.look(above)
        if isinstance(found, CannotTell):
            return found
        if isinstance(found, Observation) and found.kind is Kind.DIRECTORY:
            same = same_volume(volume, found.volume)
            return ABSENT if same is SameVolume.YES else CannotTell(Trouble(What.STALE, same.value))
    return CannotTell(Trouble(What.STALE, SameVolume.CANNOT_TELL.value))
