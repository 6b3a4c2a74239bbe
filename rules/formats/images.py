"""TIFF, MRC and DM3/DM4: what they say is where data must be, never that no more will come."""

from typing import Literal

from rules.formats.content import Content, Finding, State, foreign

_Order = Literal["little", "big"]
_TIFF: dict[bytes, tuple[_Order, int]] = {
    b"II\x2a\0": ("little", 4),
    b"MM\0\x2a": ("big", 4),
    b"II\x2b\0": ("little", 8),
    b"MM\0\x2b": ("big", 8),
}
"""How a file begins → its byte order, and the width of an offset, which is also where the first one is."""

_NDTIFF, _NDTIFF_RESERVED = 483729, 4 * 2**30
_MRC_BITS = {0: 8, 1: 16, 2: 32, 3: 32, 4: 64, 6: 16, 12: 16, 101: 4}


def tiff(content: Content) -> Finding:
    """TIFF, BigTIFF and EER: where the first directory is. It may well be there while pages are still written.

    A stack of NDTiff (its own mark at byte 8) has 4 GiB reserved, which is cut off at close.
    """
    for mark, (order, width) in _TIFF.items():
        if content.begins(mark):
            return _first_directory(content, order, width)
    return foreign(content, "TIFF")


def _first_directory(content: Content, order: _Order, width: int) -> Finding:
    offset = content.number(width, width, order)
    if content.size == _NDTIFF_RESERVED and content.number(8, 4, order) == _NDTIFF:
        return Finding(State.OPEN, "still has the 4 GiB that its writer reserved")
    if offset == 0:
        return Finding(State.OPEN, "has no image directory yet")
    content.require(offset + 2)
    return Finding(State.CANNOT_TELL, "is a TIFF, which does not say that its writer finished")


def mrc(content: Content) -> Finding:
    """MRC2014: the header of 1024 bytes has the dimensions. Tilt series grow, header and data, so equal is not done."""
    mark = content.at(208, 6)
    if not mark.startswith(b"MAP"):
        return foreign(content, "MRC2014")
    order: _Order = "big" if mark[4] == 0x11 else "little"
    x, y, z, mode = (content.number(at, 4, order) for at in (0, 4, 8, 12))
    if mode not in _MRC_BITS or max(x, y, z) >= 2**31:
        return Finding(State.CANNOT_TELL, f"has dimensions or a mode ({mode}) that are not known here")
    row = -(-x * _MRC_BITS[mode] // 8)  # rows of 4-bit pixels are filled up to whole bytes
    content.require(1024 + content.number(92, 4, order) + row * y * z)
    return Finding(State.CANNOT_TELL, f"has all {z} sections of its header, after which more may come")


def dm(content: Content) -> Finding:
    """DM3 and DM4 (Gatan): version, then the length, which leaves out some bytes of header and end."""
    version = content.number(0, 4, "big")
    if version not in (3, 4):
        return foreign(content, "DM3 or DM4")
    content.require(content.number(4, 4 if version == 3 else 8, "big"))
    return Finding(State.CANNOT_TELL, "is not shorter than its header says, which is all that it says")
