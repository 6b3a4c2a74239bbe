"""Checksum lists that are found with the data: md5sum and its like, BagIt, CSV."""

import csv
import re
from typing import NamedTuple

_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_COREUTILS = re.compile(r"(\\?)([0-9A-Fa-f]{32,128})(?: [ *]|\t+| +)(.+)")
_BSD = re.compile(r"(MD5|SHA1|SHA224|SHA256|SHA384|SHA512) ?\((.+)\) ?= ?([0-9A-Fa-f]+)")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_BAG = {"%0a": "\n", "%0d": "\r", "%25": "%"}


class Sum(NamedTuple):
    """What a list says of one file."""

    path: str
    """Relative to the directory of the list."""
    algorithm: str
    """A name that hashlib knows."""
    checksum: str
    """Lower-case hexadecimal."""


def parse(text: str, columns: tuple[str, str] | None = None, *, bag: bool = False) -> list[Sum] | str:
    """The lines of a list, or what is wrong with it as a sentence.

    Args:
        text: the whole list.
        columns: for CSV, the names of the columns with the path and with the checksum.
        bag: it is a BagIt manifest, where line ends and percent signs in names are percent-encoded (RFC 8493, 2.1.3).
    """
    if not text:
        return "is empty"
    if not text.endswith("\n"):
        return "ends in the middle of a line"
    if columns is not None:
        return _csv(text, columns)
    found = []
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        one = _line(line, bag)
        if one is None:
            return f"has a line {number} that is no checksum"
        found.append(one)
    return found or "lists nothing"


def _line(line: str, bag: bool) -> Sum | None:
    bsd = _BSD.fullmatch(line)
    if bsd is not None:
        return Sum(_clean(bsd[2]), bsd[1].lower(), bsd[3].lower())
    plain = _COREUTILS.fullmatch(line)
    if plain is None or len(plain[2]) not in _BY_LENGTH:
        return None
    path = plain[3]
    if plain[1]:
        path = re.sub(r"\\[\\nr]", lambda escape: _ESCAPES[escape[0]], path)
    if bag:
        path = re.sub(r"%0[aA]|%0[dD]|%25", lambda escape: _BAG[escape[0].lower()], path)
    return Sum(_clean(path), _BY_LENGTH[len(plain[2])], plain[2].lower())


def _csv(text: str, columns: tuple[str, str]) -> list[Sum] | str:
    rows = csv.DictReader(text.removeprefix("\ufeff").splitlines())
    if not set(columns) <= set(rows.fieldnames or ()):
        return f"has no columns {columns[0]!r} and {columns[1]!r}"
    found = []
    for number, row in enumerate(rows, 2):
        path, checksum = row[columns[0]], row[columns[1]]
        if not path or not checksum or len(checksum) not in _BY_LENGTH or not re.fullmatch("[0-9A-Fa-f]+", checksum):
            return f"has a line {number} that is no checksum"
        found.append(Sum(_clean(path), _BY_LENGTH[len(checksum)], checksum.lower()))
    return found or "lists nothing"


def _clean(path: str) -> str:
    return path.removeprefix("./")
