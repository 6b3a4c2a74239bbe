"""XML (mzML among others), and two records that instruments write at the end."""

import codecs
import re

from rules.formats.content import Content, Finding, State

_REACH = 4096
_MISC = r"(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*+(?:\[.*?\]\s*)?>)*+"  # atomic: hostile input costs no more
_ROOT = re.compile(rf"\A\ufeff?{_MISC}<([^\s/>!?]+)(?=[\s/>])", re.DOTALL)
_ENTRY = re.compile(rb"^\(\s*\d+\s*,", re.MULTILINE)
_STOPPED = re.compile(rb"^acquisition_stopped=[^\S\r\n]*\S", re.MULTILINE)


def xml(content: Content) -> Finding:
    """The root element, found in the first 4 KiB, is closed at the end of the file."""
    start = content.some(0, _REACH)
    wide = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = ("utf-16-le" if start.startswith(codecs.BOM_UTF16_LE) else "utf-16-be") if wide else "utf-8"
    text = start.decode(encoding, "replace")
    if not text.lstrip("\ufeff \t\r\n").startswith("<"):
        return foreign_text(start, "XML")
    root = _ROOT.match(text)
    if root is None:
        if content.size <= _REACH:
            return Finding(State.OPEN, "has no root element yet")
        return Finding(State.CANNOT_TELL, "does not begin its root element in the first 4 KiB")
    if content.size <= _REACH and re.fullmatch(r"[^<]*/>\s*", text[root.end() :]):
        return Finding(State.FINISHED, "is one empty element")
    offset = max(0, content.size - 1024)
    end = content.some(offset - offset % 2, 1026).decode(encoding, "replace")
    if not re.search(rf"</{re.escape(root[1])}\s*>{_MISC}\Z", end, re.DOTALL):
        return Finding(State.OPEN, f"does not end with </{_shown(root[1])}>: still being written, or cut short")
    return Finding(State.FINISHED, f"ends with </{_shown(root[1])}>")


def audita(content: Content) -> Finding:
    """`audita.txt` of Bruker TopSpin: the last entry of a finished acquisition has the hash of the data.

    TopSpin 4 also makes an entry when it begins.
    """
    text = content.tail(_REACH)
    last = text[max((found.start() for found in _ENTRY.finditer(text)), default=len(text)) :]
    done, running = last.rfind(b"data hash MD5"), last.rfind(b"acquisition in progress")
    if done > running:
        return Finding(State.FINISHED, "ends with the entry of a finished acquisition")
    if running > done:
        return Finding(State.OPEN, "ends with the entry of an acquisition in progress")
    return Finding(State.CANNOT_TELL, "ends with no entry that tells of an acquisition")


def final_summary(content: Content) -> Finding:
    """`final_summary*.txt` of MinKNOW: lines `key=value`; `acquisition_stopped` has a value when the run is over."""
    if _STOPPED.search(content.some(0, _REACH)):
        return Finding(State.FINISHED, "says when the acquisition stopped")
    if content.size > _REACH:
        return Finding(State.CANNOT_TELL, "does not say in its first 4 KiB when the acquisition stopped")
    return Finding(State.OPEN, "does not say when the acquisition stopped")


def foreign_text(start: bytes, name: str) -> Finding:
    """The answer where the first character is wrong."""
    if not any(start):
        return Finding(State.OPEN, f"begins with zeros where {name} has text")
    return Finding(State.CANNOT_TELL, f"is no {name}, by its first bytes")


def _shown(name: str) -> str:
    """A name from the file, fit for one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:40])
