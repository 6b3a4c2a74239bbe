"""Are the copies still there? Asked again later, and before local files are deleted, with few requests for many files."""

from typing import Any

from agent.destinations import Reread
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.identity_marker import IdentityMarker
from agent.destinations.globus.listing import Ask, Entry, Listing
from agent.destinations.globus.session import NotADirectory, NotThere
from agent.errors import Refused, Transient
from rules.model import Version
from rules.naming import stat_content
from rules.scrub import CopyStatus
from rules.versions.copies import Confirmed

_COST = 10_000_000
"""Bytes that a look counts for where copies are read again: at 50GB a day, 5,000 requests at the most."""
_CONFIRM_WITHIN = 30.0
"""Seconds for which a listing, or the sight of the mark, is good enough while many copies are asked for."""


class Copies:
    """Answers for copies at one destination, to one thread."""

    def __init__(self, name: str, ask: Ask[Any], collection_path: CollectionPath) -> None:
        """`name`: of the destination; `ask`: sends requests; `collection_path`: knows where it is."""
        self._name = name
        self._identity_marker = IdentityMarker(ask, collection_path)
        self._listing = Listing(ask, collection_path.collection, collection_path.path)
        self._seen_mark_at = self._listed_at = self._asked_at = 0.0
        self._asked = self._listed = ""
        self._there: dict[str, Entry] = {}
        self._whole = True

    def confirm(self, path: str, version: Version, identity: str, now: float) -> Confirmed:
        """Is a file of that size and mtime still there? Raises Transient."""
        found = self.reread(path, version, identity, now)
        return Confirmed(found.copy_status.well, found.reason, absent=found.copy_status is CopyStatus.MISSING)

    def reread(self, path: str, version: Version, identity: str, now: float) -> Reread:
        """The same, distinguished. The service computes no checksum but in a task that may write. Raises Transient."""
        try:
            if now - self._seen_mark_at > _CONFIRM_WITHIN:
                self._identity_marker.require(identity)
                self._seen_mark_at = now
            found = self._still(path, now)
        except Refused as error:
            raise Transient(str(error)) from None  # the deliverer's thread tells the person
        if found is None or found.kind != "file":
            copy_status = CopyStatus.MISSING if found is None else CopyStatus.CHANGED
            return Reread(copy_status, f"at {self._name}, {path!r} is gone", _COST)
        if found.size != version.size:
            reason = f"at {self._name}, {path!r} has {found.size} bytes instead of {version.size}"
            return Reread(CopyStatus.CHANGED, reason, _COST)
        if found.content.checksum != stat_content(version.size, version.mtime_ns):
            # Some collections keep no mtime at all: that alone is no proof that the content is another.
            return Reread(CopyStatus.DOUBTFUL, f"at {self._name}, {path!r} was modified since it was delivered", _COST)
        return Reread(CopyStatus.STAT, f"at {self._name} as {path!r}", _COST)

    def _still(self, path: str, now: float) -> Entry | None:
        """One copy is asked for alone; from the second of a directory on, all of it is listed."""
        directory, _, name = path.rpartition("/")
        known = directory == self._listed and now - self._listed_at <= _CONFIRM_WITHIN
        if not known and (directory != self._asked or now - self._asked_at > _CONFIRM_WITHIN):
            self._asked, self._asked_at = directory, now
            return self._alone(path)
        if not known:
            try:
                self._there, self._whole = self._listing.known(directory)
            except (NotThere, NotADirectory):
                self._there, self._whole = {}, True
            self._listed, self._listed_at = directory, now
        found = self._there.get(name)
        return found if found is not None or self._whole else self._alone(path)

    def _alone(self, path: str) -> Entry | None:
        try:
            return self._listing.stat(path)
        except NotADirectory:
            return None
