"""What file system a path lies on, as the kernel's mount table tells."""

import os
import re
from collections.abc import Iterator
from functools import lru_cache

from agent.files.volumes import Location, Volume
from rules.model import VolumeId

_LINKS_AT_MOST = 40
"""As in the kernel: more of them are a loop."""
_OCTAL = re.compile(r"\\([0-7]{3})")


def _plain(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _lines(table: str) -> list[str]:
    """Lines end at a newline alone: the kernel does not escape other characters that str.splitlines ends lines at."""
    with open(table, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")


def _mounted() -> Iterator[Volume]:
    try:
        lines = _lines("/proc/self/mountinfo")
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, (kind, source, *_) = left.split(" "), right.split(" ")
        yield Volume(kind, _plain(fields[4]), fields[2], _plain(fields[3]), _plain(source))


def real(path: str) -> str:
    """The path without symbolic links, as far as that can be told without asking a file system that may hang.

    From the mount point of one that is afar on, nothing is resolved.
    """
    kinds = {one.mounted_at: one.may_hang for one in _mounted()}  # of several on one point, the last lies on top
    afar = {point for point, hangs in kinds.items() if hangs}
    if not afar:
        return os.path.realpath(path)
    at, left, links = "/", os.path.abspath(path).split("/")[::-1], 0
    while left:
        part = left.pop()
        there = os.path.normpath(os.path.join(at, part))
        if there in afar or links > _LINKS_AT_MOST:
            return os.path.normpath("/".join([there, *left[::-1]]))
        try:
            target = os.readlink(there)
        except OSError:  # no link, or nothing
            at = there
            continue
        links += 1
        at = "/" if target.startswith("/") else at
        left += target.split("/")[::-1]
    return at


def file_system(path: str) -> Volume:
    """The file system that holds the path (or its nearest existing parent).

    Where there is no /proc/self/mountinfo (not Linux) the kind is "unknown", which counts as local.
    """
    found = real(path)
    best = Volume("unknown", "/")
    for one in _mounted():
        inside = found == one.mounted_at or found.startswith(one.mounted_at.rstrip("/") + "/")
        # The last of equally long mount points lies on top.
        if inside and len(one.mounted_at) >= len(best.mounted_at):
            best = one
    return best


def location(path: str) -> Location:
    """Where a path is within its file system. Where there is no mount table, all is one file system."""
    found, volume = real(path), file_system(path)
    return Location(volume.device, volume.shows.rstrip("/") + found[len(volume.mounted_at.rstrip("/")) :] or "/")


@lru_cache(256)
def remote(path: str, device: VolumeId) -> bool:
    """Whether other machines may write at the path unseen by this kernel.

    Args:
        path: a directory.
        device: its file system. As long as that is the same, so is the file system: the mount table is read once.
    """
    return file_system(path).remote


def unmounted(path: str, fstab: str = "/etc/fstab") -> str | None:
    """The mount point that should hold the path according to fstab, where nothing is mounted there now."""
    try:
        lines = _lines(fstab)
    except OSError:
        return None  # no fstab: nothing is known of what should be mounted
    found = real(path)
    mounted = {one.mounted_at for one in _mounted()}  # os.path.ismount does not see all bind mounts
    for line in lines:
        fields = line.split()
        if line.lstrip().startswith("#") or len(fields) < 2 or not fields[1].startswith("/") or fields[1] == "/":
            continue
        point = real(_plain(fields[1]))
        below = found == point or found.startswith(point + "/")
        if below and point not in mounted and not os.path.ismount(point):
            return point
    return None
