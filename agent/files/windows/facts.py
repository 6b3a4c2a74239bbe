"""What Windows says of a file, and what it means. Nothing here calls Windows."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from agent.files.trouble import Trouble, What
from rules.model import FileId, Kind, Version

DIRECTORY: Final = 0x10
REPARSE: Final = 0x400
_ELSEWHERE: Final = 0x1000 | 0x40000 | 0x400000
"""FILE_ATTRIBUTE_OFFLINE, RECALL_ON_OPEN, RECALL_ON_DATA_ACCESS: the content is not on this computer."""
_SURROGATE: Final = 0x20000000
"""The bit of a reparse tag that says that it stands for another name: symbolic links, junctions, mounted volumes."""
_SYMBOLIC_LINK, _MOUNT_POINT = 0xA000000C, 0xA0000003
_EPOCH: Final = 116444736000000000
"""1970 in Windows' time: 100 ns since 1601."""
_ALL: Final = struct.Struct("<qqqqI4xqqIBB2xQ")
"""FILE_ALL_INFORMATION up to the file's number: times, attributes, allocation, size, links, delete pending, directory."""
_ENTRY: Final = struct.Struct("<IIqqqqqqIII")
"""FILE_ID_BOTH_DIR_INFORMATION: next, index, times, size, allocation, attributes, length of the name, reparse tag."""
_ENTRY_ID, _ENTRY_NAME = 96, 104
_LONGEST: Final = 2 * 255
"""Bytes of a name in UTF-16."""
_FORBIDDEN: Final = frozenset('<>:"|?*\\') | {chr(number) for number in range(32)}
_DEVICES: Final = {"CON", "PRN", "AUX", "NUL"} | {
    f"{one}{digit}" for one in ("COM", "LPT") for digit in "0123456789¹²³"
}


class Facts(NamedTuple):
    """A file or directory, asked through a handle."""

    size: int
    allocated: int
    accessed: int
    written: int
    changed: int
    attributes: int
    tag: int
    """Of a reparse point; 0 where it is none."""
    links: int
    """How many names it has: none where it goes when the last program closes it."""
    number: int

    @property
    def version(self) -> Version:
        """See `Version`. ChangeTime, unlike the others, moves with every change, and no program sets it back by accident."""
        return Version(self.size, nanoseconds(self.written), nanoseconds(self.changed), file_id(self.number))

    @property
    def kind(self) -> Kind:
        """What it is."""
        return kind_of(self.attributes, self.tag)


class Entry(NamedTuple):
    """An entry of a directory, as it lists it. Size and times are of the last close: a growing file shows them later."""

    name: str
    size: int
    written: int
    changed: int
    attributes: int
    tag: int
    number: int


def kind_of(attributes: int, tag: int) -> Kind:
    """What stands there. A reparse point without the surrogate bit is a file: of a deduplicated or compressed volume."""
    if attributes & REPARSE and tag & _SURROGATE:
        return Kind.LINK
    if attributes & DIRECTORY:
        return Kind.DIRECTORY
    return Kind.PLACEHOLDER if attributes & _ELSEWHERE else Kind.FILE


def facts(block: bytes, tag: int) -> Facts:
    """From FILE_ALL_INFORMATION."""
    _, accessed, written, changed, attributes, allocated, size, links, removed, _, number = _ALL.unpack_from(block)
    return Facts(size, allocated, accessed, written, changed, attributes, tag, 0 if removed else links, number)


def entries(block: bytes) -> Iterator[Entry]:
    """From a block of FILE_ID_BOTH_DIR_INFORMATION, without "." and ".."."""
    at, following = 0, 1
    while following:
        following, _, _, _, written, changed, size, _, attributes, length, tag = _ENTRY.unpack_from(block, at)
        (number,) = struct.unpack_from("<Q", block, at + _ENTRY_ID)
        begin = at + _ENTRY_NAME
        name = block[begin : begin + length].decode("utf-16-le", "surrogatepass")
        if name not in (".", ".."):
            yield Entry(name, size, written, changed, attributes, tag if attributes & REPARSE else 0, number)
        at += following


def target(block: bytes) -> str:
    """Where a link leads, from REPARSE_DATA_BUFFER: as it is shown to people, else as it is. Raises Trouble."""
    (tag,) = struct.unpack_from("<I", block)
    begin = {_SYMBOLIC_LINK: 20, _MOUNT_POINT: 16}.get(tag)
    if begin is None:
        raise Trouble(What.NAME_REFUSED, "it is no symbolic link")
    real, length, shown, shown_length = struct.unpack_from("<4H", block, 8)
    at, size = (shown, shown_length) if shown_length else (real, length)
    return block[begin + at : begin + at + size].decode("utf-16-le", "surrogatepass")


def nanoseconds(time: int) -> int:
    """Since the epoch, within what the ledger can hold."""
    return max(-(2**63), min((time - _EPOCH) * 100, 2**63 - 1))


def ticks(nanoseconds: int) -> int:
    """Windows' time. 0 and -1 have meanings of their own there, and no file is that old."""
    return max(nanoseconds // 100 + _EPOCH, 1)


def file_id(number: int) -> FileId:
    """A file's number, within what the ledger can hold."""
    return FileId(number if number < 2**63 else number - 2**64)


def part(name: str) -> str:
    """A part of a path, which may not lead up, nor be read as a stream or as several parts. Raises Trouble."""
    if name in ("", ".", "..") or not {"\\", ":", "\0"}.isdisjoint(name):
        raise Trouble(What.NAME_REFUSED, "no file has such a name on Windows")
    if len(name.encode("utf-16-le", "surrogatepass")) > _LONGEST:
        raise Trouble(What.NAME_TOO_LONG, "a name on Windows has at most 255 characters")
    return name


def new_part(name: str) -> str:
    """A part of a path that is to be made. Raises Trouble where Windows would make another name of it, or take it for a device."""
    if not _FORBIDDEN.isdisjoint(name):
        raise Trouble(
            What.NAME_CHARACTERS, 'Windows allows none of < > : " | ? * \\ and no control characters in names'
        )
    if name.endswith((".", " ")):
        raise Trouble(What.NAME_REFUSED, "a name on Windows may not end with a dot or a space")
    if name.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        raise Trouble(What.NAME_REFUSED, "Windows reserves this name for a device")
    return part(name)


def native(path: str) -> str:
    """An absolute path, with "/" or backslashes between its parts, as NT names it. Raises Trouble."""
    plain = path.replace("\\", "/")
    if plain.startswith("//?/"):
        plain = plain[4:] if not plain[4:].upper().startswith("UNC/") else "//" + plain[8:]
    shared = plain.startswith("//")
    drive = plain[1:2] == ":" and plain[2:3] in ("", "/")
    if not shared and not drive:
        raise Trouble(What.NAME_REFUSED, "the path is not absolute: it begins neither with a drive nor with a share")
    parts = [part(one) for one in plain[2:].split("/") if one not in ("", ".")]
    below = "\\".join(parts)
    return rf"\??\UNC\{below}" if shared else rf"\??\{plain[0]}:" + "\\" + below
