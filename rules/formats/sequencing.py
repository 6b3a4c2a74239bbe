"""POD5 (Oxford Nanopore) and BAM: an end mark that is written at close."""

from rules.formats.content import Content, Finding, State, foreign

_POD5 = b"\x8bPOD\r\n\x1a\n"
_FOOTER = b"FOOTER\0\0"

_BGZF = b"\x1f\x8b\x08\x04"
_BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")

_NO_END = "has no end mark: still being written, left by a writer that was killed, or cut short"


def pod5(content: Content) -> Finding:
    """POD5 SPECIFICATION.md: signature, section marker, tables, footer, its length, the same marker, the signature."""
    if not content.begins(_POD5):
        return foreign(content, "POD5")
    end = content.tail(32)
    if content.size < 64 or not end.endswith(_POD5):
        return Finding(State.OPEN, _NO_END)
    footer = content.size - 32 - int.from_bytes(end[:8], "little")
    if end[8:24] != content.at(8, 16) or content.some(footer - 8, 8) != _FOOTER:
        return Finding(State.CANNOT_TELL, "has an end mark that does not belong to its beginning")
    return Finding(State.FINISHED, "has its footer and end mark")


def bam(content: Content) -> Finding:
    """SAM specification 4.1.2: an empty BGZF block of 28 bytes ends the file. Very old writers left it out."""
    if not content.begins(_BGZF):
        return foreign(content, "BAM")
    if content.tail(len(_BGZF_EOF)) != _BGZF_EOF:
        return Finding(State.OPEN, _NO_END)
    return Finding(State.FINISHED, "has its end-of-file block")
