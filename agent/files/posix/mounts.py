"""What file system a path lies on, as the kernel's mount table tells."""

import os
import re
from collections.abc import Iterator, Sequence

from agent.files.volumes import Location, Volume

_LINKS_AT_MOST = 40
"""As in the kernel: more of them are a loop."""
_OCTAL = re.compile(rb"\\([0-7]{3})")
_MOUNT_ID = re.compile(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)


def _plain(field: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field))


def _lines(table: str) -> list[bytes]:
    """Lines end at a newline alone. They are bytes: paths are named by bytes, whatever the locale."""
    with open(table, "rb") as file:
        return file.read().removesuffix(b"\n").split(b"\n")


def _table() -> Iterator[tuple[int, Volume]]:
    """(number of the mount, its file system); nothing where there is no such table (not Linux)."""
    try:
        lines = _lines("/proc/self/mountinfo")
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(b" - ")
        fields, (kind, source, *_) = left.split(b" "), right.split(b" ")
        yield (
            int(fields[0]),
            Volume(os.fsdecode(kind), _plain(fields[4]), fields[2].decode(), _plain(fields[3]), _plain(source)),
        )


def _mounted() -> Iterator[Volume]:
    return (volume for _, volume in _table())


def of_open(fd: int) -> Volume | None:
    """The file system of an open file or directory, whatever is mounted over its path by now; None: that cannot be told."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
            found = _MOUNT_ID.search(file.read())
    except OSError:
        return None
    number = None if found is None else int(found[1])
    return next((volume for mount, volume in _table() if mount == number), None)


def real(path: str) -> str:
    """The path without symbolic links, as far as that can be told without asking a file system that may hang.

    From the mount point of one that may hang on, nothing is resolved.
    """
    return _real(path, list(_mounted()))


def _real(path: str, mounted: Sequence[Volume]) -> str:
    kinds = {one.mounted_at: one.may_hang for one in mounted}  # of several on one point, the last lies on top
    hanging = {point for point, hangs in kinds.items() if hangs}
    if not hanging:
        return os.path.realpath(path)
    at, left, links = "/", os.path.abspath(path).split("/")[::-1], 0
    while left:
        part = left.pop()
        there = os.path.normpath(os.path.join(at, part))
        if there in hanging or links > _LINKS_AT_MOST:
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

    Where there is no /proc/self/mountinfo (not Linux) the kind is "unknown": events are asked for, and no writer is known.
    """
    mounted = list(_mounted())
    return _holding(_real(path, mounted), mounted)


def _holding(found: str, mounted: Sequence[Volume]) -> Volume:
    best = Volume("unknown", "/")
    for one in mounted:
        inside = found == one.mounted_at or found.startswith(one.mounted_at.rstrip("/") + "/")
        # The last of equally long mount points lies on top.
        if inside and len(one.mounted_at) >= len(best.mounted_at):
            best = one
    return best


def location(path: str) -> Location:
    """Where a path is within its file system. Where there is no mount table, all is one file system."""
    mounted = list(_mounted())  # once for both questions: it is long, and may change between two readings
    found = _real(path, mounted)
    volume = _holding(found, mounted)
    return Location(volume.device, volume.shows.rstrip("/") + found[len(volume.mounted_at.rstrip("/")) :] or "/")


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
        if line.lstrip().startswith(b"#") or len(fields) < 2 or not fields[1].startswith(b"/") or fields[1] == b"/":
            continue
        point = real(_plain(fields[1]))
        below = found == point or found.startswith(point + "/")
        if below and point not in mounted and not os.path.ismount(point):
            return point
    return None
