"""CZI (Zeiss), ND2 (Nikon) and NDTiff (Micro-Manager): a directory that is written at close."""

from rules.formats.content import Content, Finding, State, foreign

_ND2 = b"\xda\xce\xbe\x0a"
_ND2_LEGACY = b"\x00\x00\x00\x0cjP  "
_ND2_NAMED = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_ND2_MAP = b"ND2 CHUNK MAP SIGNATURE 0000001!"


def czi(content: Content) -> Finding:
    """The file header names the places of directory and metadata, which are 0 until close (measured with libCZI).

    A segment begins with its id (16 bytes), the allocated and the used size (8 bytes each); the file header is one.
    """
    if not content.begins(b"ZISRAWFILE\0"):
        return foreign(content, "CZI")
    part, directory, metadata, pending = (content.number(*at) for at in ((80, 4), (84, 8), (92, 8), (100, 4)))
    if pending:
        return Finding(State.OPEN, "is marked as being updated")
    if part and not (directory and metadata):
        return Finding(State.CANNOT_TELL, f"is part {part} of several CZI files, which may have no directory")
    for place, name, segment in (
        (directory, "directory", b"ZISRAWDIRECTORY"),
        (metadata, "metadata", b"ZISRAWMETADATA"),
    ):
        if not place:
            return Finding(State.OPEN, f"has no {name} yet: still being written, or left by a writer that was killed")
        head = content.at(place, 32)
        if not head.startswith(segment):
            return Finding(State.CANNOT_TELL, f"has something else where its header says that the {name} is")
        content.require(place + 32 + int.from_bytes(head[24:], "little"))
        if place + 32 + int.from_bytes(head[16:24], "little") > content.size:
            return Finding(
                State.CANNOT_TELL, f"ends in the room that its {name} does not use: some of it may be missing"
            )
    return Finding(State.FINISHED, "has its directory and metadata")


def nd2(content: Content) -> Finding:
    """The last 40 bytes name the place of the chunk map (nd2, `_chunk_decode.py`); it is written at close."""
    if content.begins(_ND2_LEGACY):
        return Finding(State.CANNOT_TELL, "is an ND2 file of the old kind, which has no chunk map")
    if not content.begins(_ND2):
        return foreign(content, "ND2")
    end = content.tail(40)
    chunk = content.some(int.from_bytes(end[32:], "little"), 48)
    if not (end.startswith(_ND2_MAP) and chunk.startswith(_ND2) and chunk.endswith(_ND2_NAMED)):
        return Finding(State.OPEN, "has no chunk map at its end: still being written, left by a crash, or cut short")
    return Finding(State.FINISHED, "has its chunk map")


def ndtiff(content: Content) -> Finding:
    """`NDTiff.index`: each entry ends with the stack's file name and eight numbers of 4 bytes.

    Micro-Manager reserves 25 MiB of zeros and cuts the rest off at close; ndstorage appends entry by entry, so whole
    entries prove nothing.
    """
    end = content.tail(36)
    if not any(end):
        return Finding(State.OPEN, "still has the space that its writer reserved")
    if not end.startswith(b".tif"):
        return Finding(State.TRUNCATED, "ends inside an entry")
    return Finding(State.CANNOT_TELL, "has whole entries, after which more may come")
