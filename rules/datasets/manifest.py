"""Checksum lists that are found with the data: md5sum and its like, BagIt, CSV."""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_BY_LENGTH = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_COREUTILS = re.compile(r"(\\?)([0-9A-Fa-f]{32,128})(?: [ *]|\t+| +)(.+)")
_BSD = re.compile(r"(MD5|SHA1|SHA224|SHA256|SHA384|SHA512) ?\((.+)\) ?= ?([0-9A-Fa-f]+)")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_BAG = {"%0a": "\n", "%0d": "\r", "%25": "%"}
_LONGEST = 2**16
"""Characters of a line: paths have 4,096 bytes at the most, which may be escaped."""


class Sum(NamedTuple):
    """What a list says of one file."""

    path: str
    """Relative to the directory of the list."""
    algorithm: str
    """A name that hashlib knows."""
    checksum: str
    """Lower-case hexadecimal."""


class NoList(Exception):
    """What is wrong with a list, as what follows its name in a sentence."""


def entries(
    blocks: Iterable[str], columns: tuple[str, str] | None = None, *, bag: bool = False
) -> Iterator[Sum | None]:
    """The lines of a list, one after the other; None for one that says nothing. Raises NoList.

    Args:
        blocks: the list.
        columns: for CSV, the names of the columns with the path and with the checksum.
        bag: it is a BagIt manifest, where line ends and percent signs in names are percent-encoded (RFC 8493, 2.1.3).
    """
    if columns is not None:
        yield from _csv(_lines(blocks), columns)
        return
    for number, line in enumerate(_lines(blocks), 1):
        one = None
        if line.strip() and not line.startswith("#"):
            one = _line(line.removesuffix("\r"), bag)
            if one is None:
                raise NoList(f"has a line {number} that is no checksum")
        yield one


def _lines(blocks: Iterable[str]) -> Iterator[str]:
    """Lines without their ends."""
    begun, rest = False, ""
    for block in blocks:
        text = rest + block if begun else block.removeprefix("\ufeff")
        begun = begun or bool(block)
        *whole, rest = text.split("\n")
        if max(map(len, [*whole, rest])) > _LONGEST:
            raise NoList(f"has a line of more than {_LONGEST} characters")
        yield from whole
    if not begun:
        raise NoList("is empty")
    if rest:
        raise NoList("ends in the middle of a line")


def _line(line: str, bag: bool) -> Sum | None:
    plain = _COREUTILS.fullmatch(line)
    if plain is None:
        bsd = _BSD.fullmatch(line)
        return None if bsd is None else Sum(_clean(bsd[2]), bsd[1].lower(), bsd[3].lower())
    if len(plain[2]) not in _BY_LENGTH:
        return None
    path = plain[3]
    if plain[1]:
        path = re.sub(r"\\[\\nr]", lambda escape: _ESCAPES[escape[0]], path)
    if bag:
        path = re.sub(r"%0[aA]|%0[dD]|%25", lambda escape: _BAG[escape[0].lower()], path)
    return Sum(_clean(path), _BY_LENGTH[len(plain[2])], plain[2].lower())


def _csv(lines: Iterator[str], columns: tuple[str, str]) -> Iterator[Sum | None]:
    try:
        rows = csv.reader(f"{line}\n" for line in lines)
        heads = next(rows, [])
        if not set(columns) <= set(heads):
            raise NoList(f"has no columns {columns[0]!r} and {columns[1]!r}")
        at = [heads.index(column) for column in columns]
        for number, row in enumerate(rows, 2):
            path, checksum = (row[index] if index < len(row) else "" for index in at)
            if row and (not path or len(checksum) not in _BY_LENGTH or not re.fullmatch("[0-9A-Fa-f]+", checksum)):
                raise NoList(f"has a line {number} that is no checksum")
            yield Sum(_clean(path), _BY_LENGTH[len(checksum)], checksum.lower()) if row else None
    except csv.Error as error:
        raise NoList(f"is no CSV: {error}") from None


def _clean(path: str) -> str:
    return path.removeprefix("./")
