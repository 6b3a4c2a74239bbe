"""SQLite (Bruker's `analysis.tdf` among others): files beside it, and the length in its header.

Facts: fileformat2.html and wal.html of sqlite.org. Never opened as a database: an opened one may be checkpointed, and
that has cut instruments' files.
"""

from rules.formats.content import Content, Finding, State, foreign

COMPANIONS = ("-wal", "-journal")
"""What to look for beside the file: its name with this after it."""


def sqlite(content: Content) -> Finding:
    """Reads 100 bytes. Without knowledge of what is beside it, nothing is finished."""
    if not content.begins(b"SQLite format 3\0"):
        return foreign(content, "SQLite")
    header = content.at(0, 100)
    beside = content.beside
    if beside and (waiting := [suffix for suffix in COMPANIONS if beside.get(suffix)]):
        return Finding(State.OPEN, f"has changes that are not in it yet, in the file with {waiting[0]} after its name")
    page = int.from_bytes(header[16:18], "big")
    if header[24:28] == header[92:96]:  # else a very old SQLite wrote last, which left the length as it was
        content.require((65536 if page == 1 else page) * int.from_bytes(header[28:32], "big"))
    if beside is not None and header[18] == 2 and "-wal" not in beside:
        return Finding(State.FINISHED, "was closed by its last user, who removed the write-ahead log")
    return Finding(State.CANNOT_TELL, "has no changes waiting, which is so between two transactions, too")
