"""May a person remove the local copies of these versions? What stands at the destinations is not asked again here."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rules.model import Verdict

EXCLUDED = "excluded folder, not looked into"
_NAMES = 3
"""Names that a reason tells."""


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
    ignored: int = 0
    """There before the agent, and not delivered."""


class InFolder(NamedTuple):
    """What was found in a folder and below it, beside files that stand there as they were proved. By name."""

    changed: Sequence[str]
    """Known files that are another version than the one that is known."""
    new: Sequence[str]
    """Files that a rule delivers, and that are not known yet."""
    others: Sequence[str]
    """What no rule delivers: excluded and unclaimed files, links, special files; folders that hold nothing, with a "/"."""
    unseen: str
    """Why not all of it was looked at; empty: all was."""
    excluded: Sequence[str] = ()
    """Folders that a rule excludes, which were not looked into, with a "/": one entry each, whatever is in them."""


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
    if standing.ignored:
        return Verdict(False, f"no: {_files(standing.ignored)} from before the agent, and not delivered")
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


def folder_removal(verdict: Verdict, found: InFolder) -> Verdict:
    """Whether a person may remove the folder, where its files that are delivered may go by this verdict."""
    if not verdict.ok:
        return verdict
    if found.changed:
        return Verdict(False, f"not yet: changed since it was proved: {_named(found.changed)}")
    if found.new:
        return Verdict(False, f"not yet: the agent has not taken it up yet: {_named(found.new)}")
    if found.unseen:
        return Verdict(False, f"cannot tell: {found.unseen}")
    others = [*found.others, *(f"{name} ({EXCLUDED})" for name in found.excluded)]
    if others:
        folders = sum(name.endswith("/") for name in found.others) + len(found.excluded)
        what = "files and folders" if 0 < folders < len(others) else "folders" if folders else "files"
        count = f"{len(others):,} {what if len(others) > 1 else what[:-1]}"
        return Verdict(False, f"safe, but for {count} that no rule delivers: {_named(others)}")
    return verdict


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _gone(standing: Standing) -> str:
    """Why nothing is here."""
    if standing.reclaimed and standing.removed:
        return f"gone already: {standing.reclaimed:,} reclaimed, {standing.removed:,} removed by somebody else"
    if standing.removed:
        return "removed already, by somebody else"
    return "reclaimed already" if standing.reclaimed else "nothing is here"


def _files(count: int) -> str:
    return "1 file is" if count == 1 else f"{count:,} files are"
