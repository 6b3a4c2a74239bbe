"""May a person remove the local copies of these versions? What stands at the destinations is not asked again here."""

from collections.abc import Mapping
from typing import NamedTuple

from rules.model import Verdict


class Standing(NamedTuple):
    """Versions that are here, by what is known of them."""

    here: int
    waiting: int
    """On their way."""
    refused: int
    reclaimed: int
    """Deleted by the agent before; not counted in `here`."""
    removed: int
    """Deleted by somebody else after the proof; not counted in `here`."""
    below: bool
    """Something in folders below is not proved."""


def removal(standing: Standing, proved: Mapping[str, int], weak: Mapping[str, int], *, claimed: bool) -> Verdict:
    """Whether every required destination has proof for each version that is here.

    Args:
        standing: the versions, as the ledger has them.
        proved: required destination → for how many of the versions here there is proof of the kind that the rule wants.
        weak: destination → for how many more of them only size and mtime were compared, and the rule wants a checksum.
        claimed: a rule of the configuration delivers them; else nobody says which destinations are required.
    """
    if not standing.here:
        return Verdict(False, _gone(standing))
    if standing.refused:
        return Verdict(False, f"no: {_files(standing.refused)} not delivered, a person must act")
    if standing.waiting:
        return Verdict(False, f"not yet: {_files(standing.waiting)} on the way")
    if not claimed or not proved:
        return Verdict(False, "no rule says where copies must be")
    for destination, count in sorted(proved.items()):
        if count + weak.get(destination, 0) >= standing.here > count:
            return Verdict(False, f"not yet: at {destination}, only size and mtime were compared")
        if count < standing.here:
            return Verdict(False, f"not yet: at {destination}, {count} of {standing.here} are proved")
    if standing.below:
        return Verdict(False, "these files, yes; something in the folders below is not safe yet")
    return Verdict(True, f"proved at {' and '.join(sorted(proved))}")


def _gone(standing: Standing) -> str:
    """Why nothing is here."""
    if standing.reclaimed and standing.removed:
        return f"gone already: {standing.reclaimed:,} reclaimed, {standing.removed:,} removed by somebody else"
    if standing.removed:
        return "removed already, by somebody else"
    return "reclaimed already" if standing.reclaimed else "nothing is here"


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count:,} files are"
