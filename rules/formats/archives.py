"""ZIP and tar."""

from rules.formats.content import Content, Finding, State, foreign

_LOCAL, _CENTRAL, _SPLIT = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_REACHES = (1024, 22 + 0xFFFF)
"""How far from the end the end record is looked for: a comment of up to 64 KiB may follow it, and seldom does."""


def zip_archive(content: Content) -> Finding:
    """APPNOTE 4.3: the directory and its end record are written at close, and tile the end of the file exactly.

    Reads 64 KiB where there is no end record, else 1 KiB or so.
    """
    if not any(map(content.begins, (_LOCAL, _END, _SPLIT))):
        return foreign(content, "ZIP")
    where = next((found for reach in _REACHES if (found := _end_record(content, reach)) is not None), None)
    if where is None:
        return Finding(State.OPEN, "has no directory at its end: still being written, or cut short")
    length, offset = content.number(where + 12, 4), content.number(where + 16, 4)
    locator = content.some(where - 20, 20)
    if locator.startswith(_LOCATOR64) and len(locator) == 20:
        where = int.from_bytes(locator[8:16], "little")
        record = content.some(where, 56)
        if not record.startswith(_END64) or len(record) < 56:
            return Finding(State.CANNOT_TELL, "has no ZIP64 end record where its locator points")
        length, offset = int.from_bytes(record[40:48], "little"), int.from_bytes(record[48:], "little")
    if offset + length != where or (length and content.some(offset, 4) != _CENTRAL):
        # also a ZIP inside an unfinished one, which ends here by chance
        return Finding(State.CANNOT_TELL, "has an end record that does not fit what is before it")
    return Finding(State.FINISHED, "has its directory")


def _end_record(content: Content, reach: int) -> int | None:
    """The offset of the end record whose comment ends where the file ends."""
    tail = content.tail(reach)
    at = tail.rfind(_END)
    while at >= 0:
        if at + 22 <= len(tail) and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail):
            return content.size - len(tail) + at
        at = tail.rfind(_END, 0, at + len(_END) - 1)
    return None


def tar(content: Content) -> Finding:
    """POSIX ustar: whole blocks of 512 bytes, the last two of them zeros. So may be the data of a member."""
    if content.size > 262 and content.at(257, 5) != b"ustar":
        return foreign(content, "tar")
    if content.size % 512 or any(content.tail(1024)):
        return Finding(State.OPEN, "does not end with two blocks of zeros: still being written, or cut short")
    return Finding(State.CANNOT_TELL, "ends with zeros, as a finished tar does and as data may")
