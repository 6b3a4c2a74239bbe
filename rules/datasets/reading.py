"""What the content of a file says to a condition. It is read once, a block at a time, and only what it says is kept."""

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from rules.datasets import manifest
from rules.datasets.question import Answer, Found
from rules.model import Condition
from rules.patterns.expression import MATCHES, each, search

LARGEST = 64 * 2**20
"""Bytes of the largest file that is read as a marker or a list."""
_TOGETHER = 1000
"""Lines of a list that are read at a time."""
_DIGITS = 18
"""Of the largest number that a file may say."""


class Listed(NamedTuple):
    """What a list says of the files of a dataset."""

    total: int
    """How many it names."""
    missing: int
    """How many of them are not there."""
    first: str
    """One of those."""
    sums: dict[tuple[str, str], str]
    """(algorithm, name) of those that are there → checksum, where it has checksums."""


class _Unfit(Exception):
    """It says nothing; why, as what follows the name of the file in a sentence."""


def read(condition: Condition, found: Found, blocks: Iterator[str], here: Collection[str]) -> Iterator[Answer | None]:
    """Read a file: None again and again, and then, last, what it says to a condition.

    Args:
        condition: one that goes by the content of a file.
        found: the file.
        blocks: its text.
        here: the names of the files of the dataset, for lists.
    """
    if found.size > LARGEST:
        yield Answer(*found, problem=f"has more than {LARGEST // 2**20} MiB, and is not read")
        return
    try:
        if condition.kind == "manifest":
            yield from _manifest(condition, found, blocks, here)
            return
        text = "".join(blocks)
        match condition.kind:
            case "count":
                yield Answer(*found, number(condition, text))
            case "listed":
                yield Answer(*found, _listed(condition, text, here))
            case _:
                assert condition.contains is not None, "else its content says nothing"
                yield Answer(*found, search(condition.contains, text) is not None)
    except (_Unfit, manifest.NoList) as error:
        yield Answer(*found, problem=str(error))


def number(condition: Condition, text: str) -> int | None:
    """How many files there are to be, as a text or the name of a file says; None: it does not."""
    assert condition.find is not None, "rules.config.load checks it"
    pattern = re.compile(condition.find)
    if not pattern.groups:
        matches = each(pattern, text)
        return len(set(matches)) if condition.distinct else len(matches)
    told = search(pattern, text)
    digits = "" if told is None or told[1] is None else told[1].strip()
    return int(digits) if digits.isdecimal() and len(digits) <= _DIGITS else None


def _listed(condition: Condition, text: str, here: Collection[str]) -> Listed:
    assert condition.find is not None, "rules.config.load checks it"
    matches = each(condition.find, text)
    if len(matches) == MATCHES:
        raise _Unfit(f"lists more than {MATCHES:,} files, too many to be compared")
    expected = dict.fromkeys(one.strip().replace("\\", "/") for one in matches)
    if not expected:
        raise _Unfit("lists no files")
    depths = {one.count("/") + 1 for one in expected}
    parts = (one.split("/") for one in here)
    ends = {"/".join(one[-depth:]) for one in parts for depth in depths if depth <= len(one)}
    missing = [one for one in expected if one not in ends]
    return Listed(len(expected), len(missing), missing[0] if missing else "", {})


def _manifest(
    condition: Condition, found: Found, blocks: Iterator[str], here: Collection[str]
) -> Iterator[Answer | None]:
    directory, _, name = found.name.rpartition("/")
    bag = re.fullmatch(r"(tag)?manifest-\w+\.txt", name) is not None
    sums: dict[tuple[str, str], str] = {}
    count, missing, first = 0, 0, ""
    for index, one in enumerate(manifest.entries(blocks, condition.columns, bag=bag), 1):
        if index % _TOGETHER == 0:
            yield None
        if one is None:
            continue
        path = f"{directory}/{one.path}".lstrip("/")
        count += 1
        if path not in here:
            missing += 1
            first = first or path
        elif sums.setdefault((one.algorithm, path), one.checksum) != one.checksum:
            raise _Unfit(f"says two checksums of {path}")
    if not count:
        raise _Unfit("lists nothing")
    yield Answer(*found, Listed(count, missing, first, sums))
