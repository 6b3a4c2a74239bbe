"""Copies at destinations, asked again: whether each is there, and is its own copy."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import NamedTuple

from rules.model import CopyId, Verdict


class LocalFile(NamedTuple):
    """A file that is to be deleted on the proof of its copies."""

    path: str
    file: CopyId


class Confirmed(NamedTuple):
    """Whether a copy is there still, as it was proved."""

    ok: bool
    reason: str
    copy: CopyId | None = None
    """Which file it is: one file is one copy, by however many names; None: that cannot be told."""
    absent: bool = False
    """Nothing is at its path, at a destination that answers."""


def distinct(
    copies: Mapping[str, CopyId | None],
    identities: Mapping[str, str],
    paths: Mapping[str, str | None] = MappingProxyType({}),
) -> Verdict:
    """Whether no copy counts twice: two names for one directory, one destination in another, or hard links.

    Args:
        copies: which file the copy is, by the name of its destination; None: that cannot be told.
        identities: what the identity file of each destination says.
        paths: where a service has the copy, whichever collection shows it; None: that cannot be told.
    """
    for (one, copy), (other, another) in combinations(copies.items(), 2):
        if identities[one] == identities[other]:
            return Verdict(False, f"{one} and {other} are one directory, so there is one copy and not two")
        if one in paths and other in paths and None in (paths[one], paths[other]):
            return Verdict(
                False, f"the service does not say yet where {one} and {other} are: they may be one directory"
            )
        if (copy is not None and copy == another) or (one in paths and paths[one] == paths.get(other)):
            return Verdict(False, f"at {one} and {other} is one file under two names, so there is one copy and not two")
    return Verdict(True, "each destination has its own copy")


def left_in_words(proved: Sequence[str], missing: Sequence[str]) -> str:
    """Where the copies are of a file that somebody removed while it was on its way, and what to do.

    Args:
        proved: destinations that have a copy, at least one.
        missing: destinations that should have one.
    """
    if not missing:
        return "its copy is whole"
    return (
        f"its copy at {' and '.join(proved)} is whole, and it is not proved at {' and '.join(missing)}: `dropline fetch`"
        f" brings it back from {proved[0]}, then `dropline send --to {missing[0]}`"
    )
