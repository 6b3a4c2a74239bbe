"""A folder as it is now, compared with what the ledger knows of it."""

import os
import posixpath
from collections.abc import Iterator, Sequence
from typing import TypeVar

from agent.files import CannotTell
from agent.host.bulkhead import Bulkhead
from agent.intake.scan import Listing
from agent.intake.zones import IDENTITY
from agent.ledger import NAMED, Known, Ledger
from agent.observe.file_inspector import Contents
from rules.match import match
from rules.model import OWN_PREFIX, Entry, Kind
from rules.removal import InFolder
from rules.rule import Rule
from rules.versions.volumes import unchanged

T = TypeVar("T")
_AT_ONCE = 1000
"""Names that the ledger is asked for in one statement."""


def compare(ledger: Ledger, rules: Sequence[Rule], directory: str, contents: Contents | CannotTell) -> InFolder:
    """What stands in a folder and below it beside files that stand there as they are known.

    Files that are being written there are new or changed.
    """
    if isinstance(contents, CannotTell):
        return InFolder((), (), (), f"the folder cannot be looked at: {contents.reason}")
    changed: list[str] = []
    new: list[str] = []
    others: list[str] = []
    unseen = "" if contents.whole else "there are more entries than a page looks at"
    if not contents.listings and contents.whole:
        unseen = "the folder is not there"
    zones = _zones(contents.listings)
    excluded = [posixpath.relpath(one, directory) + "/" for one in contents.excluded]
    filled = {
        posixpath.dirname(one) for one in (*(one.directory for one in contents.listings), *contents.excluded)
    } | set(zones)
    odd: list[str] = []
    alone = Bulkhead[Listing]("listing of", lambda listing: listing.directory)
    for each in alone.each(
        contents.listings,
        failed=lambda one, failure: odd.append(f"{one.directory} cannot be compared: {failure.reason}"),
    ):
        with each as listing:
            inside = posixpath.relpath(listing.directory, directory)
            shown = "" if inside == "." else f"{inside}/"
            if listing.error is not None:
                odd.append(f"{listing.directory} cannot be listed: {listing.error}")
            elif listing.directory in zones:
                others.append(f"{shown or './'}")
            elif not any((listing.directory + "/").startswith(f"{zone}/") for zone in zones):
                if not listing.entries and listing.whole and listing.directory not in filled and shown:
                    others.append(shown)
                for name, kind, is_changed in _odd(ledger, listing):
                    rule = match(rules, f"{listing.directory}/{name}").rule
                    left = rule is None or (kind is Kind.LINK and rule.links != "refuse")
                    (changed if is_changed else others if left else new).append(f"{shown}{name}")
    unseen = unseen or next(iter(odd), "")
    return InFolder(sorted(changed), sorted(new), sorted(others), unseen, sorted(excluded))


def _zones(listings: Sequence[Listing]) -> list[str]:
    """Directories that are destinations of copies: whoever removes one removes copies."""
    identity = os.fsencode(IDENTITY)
    return [one.directory for one in listings if any(entry[0] == identity for entry in one.entries)]


def _odd(ledger: Ledger, listing: Listing) -> list[tuple[str, Kind, bool]]:
    """Names of a listing that are not as the ledger has them, each with whether a version is known to be here.

    The ledger is asked by name: of the directory it may know a million more that are gone.
    """
    names = [entry[0] for entry in listing.entries]
    expected: set[Entry] = set()
    for some in _parts(names):
        expected |= ledger.files.entries(listing.directory, some)
    rest = dict(listing.seen(but=expected))
    known: dict[str, Known] = {}
    for part in _parts(list(rest)):
        known |= ledger.files.known(listing.directory, part)
    found = []
    for name, seen in rest.items():
        item = known.get(name)
        is_here = item is not None and item.state in NAMED
        if name.startswith(OWN_PREFIX) or (item and is_here and unchanged(item.version, item.volume, seen)):
            continue  # the agent's own, or known on a file system that was mounted again
        found.append((name, seen.kind, is_here))
    return found


def _parts(names: Sequence[T]) -> Iterator[Sequence[T]]:
    for begin in range(0, len(names), _AT_ONCE):
        yield names[begin : begin + _AT_ONCE]
