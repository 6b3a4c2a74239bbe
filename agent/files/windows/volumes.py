"""Which file system a path lies on."""

import hashlib
import ntpath
import os
from typing import Final

from agent.files.trouble import Trouble
from agent.files.volumes import Location, Volume
from agent.files.windows import nt
from agent.files.windows.facts import native
from agent.files.windows.handle import Where
from rules.model import STABLE_VOLUME, VolumeId

_KINDS: Final = {
    "NTFS": "ntfs",
    "ReFS": "refs",
    "FAT": "vfat",
    "FAT32": "vfat",
    "exFAT": "exfat",
    "CDFS": "iso9660",
    "UDF": "udf",
}
"""As `agent.files.volumes` calls them. Any other is of a driver that may hide anything."""


def where(handle: int) -> Where:
    """The file system of an open file. Raises Trouble."""
    found = nt.volume(handle)
    digest = hashlib.blake2b(f"{found.kind} {found.serial:x}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big") % STABLE_VOLUME
    local = not found.remote and found.kind in _KINDS
    return Where(VolumeId(number if found.remote else number | STABLE_VOLUME), local)


def volume(path: str) -> Volume:
    """The file system that holds a path, or its nearest existing parent; one that cannot be told counts as remote."""
    plain = windows(path)
    try:
        mounted, remote = nt.drive(plain)
        if remote:
            share = nt.share_of(mounted[:2]) if mounted[1:2] == ":" else None
            return Volume("smb3", slashes(mounted), mounted.rstrip("\\").lower(), source=slashes(share or mounted))
        kind, serial = nt.closing(nt.opened(native(mounted), None, nt.READ_ATTRIBUTES), nt.volume)[:2]
    except Trouble:
        drive = ntpath.splitdrive(plain)[0]
        return Volume("fuse.unknown", slashes(drive) + "/", drive.lower())
    return Volume(_KINDS.get(kind, f"fuse.{kind.lower()}"), slashes(mounted), f"{serial:x}", source=slashes(mounted))


def root(path: str) -> int:
    """A handle of a directory that may be looked at and listed. Raises Trouble, which says so where its drive is not there."""
    try:
        return nt.opened(native(path), None, nt.LIST | nt.TRAVERSE | nt.READ_ATTRIBUTES, options=nt.DIRECTORY_FILE)
    except Trouble as trouble:
        raise Trouble(trouble.what, no_drive(path) or trouble.reason) from None


def no_drive(path: str) -> str | None:
    """What to do where a path begins with a drive that is not there; None: it is there."""
    plain = windows(path)
    if nt.has_drive(plain):
        return None
    return (
        f"there is no drive {plain[:2]} here; a service, and another login, has no mapped drives:"
        r" write the path of the share in its place, as in '\\server\share'"
    )


def location(path: str) -> Location:
    """The path within its file system. Names that differ in case are one."""
    found = volume(path)
    real = path if found.remote else resolve(path)
    below = slashes(real)[len(found.mounted_at.rstrip("/")) :]
    return Location(found.device, ("/" + below.strip("/")).casefold())


def resolve(path: str) -> str:
    """The path without links, of a file system of this computer; another one may hang."""
    if volume(path).remote:
        return slashes(path)
    return slashes(os.path.realpath(windows(path)).removeprefix("\\\\?\\"))


def top(path: str) -> str:
    """The drive or the share of a path."""
    return ntpath.splitdrive(windows(path))[0] + "\\"


def windows(path: str) -> str:
    """The path as Windows writes it."""
    return path.replace("/", "\\")


def slashes(path: str) -> str:
    """The path as the agent writes it."""
    return path.replace("\\", "/")
