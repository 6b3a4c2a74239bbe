"""FCS (flow cytometry): the header says where each segment ends."""

import re

from rules.formats.content import Content, Finding, State, foreign


def fcs(content: Content) -> Finding:
    """FCS 3.1: places as ASCII numbers of 8 digits; where they do not fit, 0, and `$ENDDATA` in the TEXT segment.

    The stated end is the last byte; some writers state the one after it, so that one missing byte proves nothing.
    """
    if not content.begins(b"FCS"):
        return foreign(content, "FCS")
    header = content.at(0, 58)
    fields = [header[at : at + 8].strip() for at in range(10, 58, 8)]
    if not all(field.isdigit() for field in fields[:4]) or not all(
        not field or field.isdigit() for field in fields[4:]
    ):
        return Finding(State.CANNOT_TELL, "has an FCS header without numbers")
    text, text_end, _, data_end, _, analysis_end = (int(field or b"0") for field in fields)
    if data_end == 0:
        content.require(text_end)
        data_end = _stated(content.some(text, min(text_end - text + 1, 4096)))
    if data_end == 0:
        return Finding(State.CANNOT_TELL, "does not say where its data end, or not near its beginning")
    end = max(text_end, data_end, analysis_end)
    content.require(end)
    if content.size == end:
        return Finding(State.CANNOT_TELL, "ends at the very byte that its header names as the last: one may be missing")
    return Finding(State.FINISHED, "has all the data that its header announces")


def _stated(text: bytes) -> int:
    """The value of `$ENDDATA`, 0 without one. The first byte of TEXT is what stands between keys and values."""
    mark = re.escape(text[:1])
    found = re.search(mark + rb"\$ENDDATA" + mark + rb" *(\d{1,20}) *" + mark, text, re.IGNORECASE) if mark else None
    return int(found[1]) if found else 0
