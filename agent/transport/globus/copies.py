"""Are the copies still there? Asked again before local files are deleted, with few requests for many files."""

from typing import Any

from agent.errors import Refused, Transient
from agent.transport.globus.course import Course
from agent.transport.globus.listing import Ask, Entry, Listing
from agent.transport.globus.mark import Mark
from agent.transport.globus.session import NotADirectory, NotThere
from rules.destination import stat_content
from rules.model import Verdict, Version

_CONFIRM_WITHIN = 30.0
"""Seconds for which a listing, or the sight of the mark, is good enough while many copies are asked for."""


class Copies:
    """Answers for copies at one destination, from the thread that reclaims."""

    def __init__(self, name: str, ask: Ask[Any], course: Course) -> None:
        """`name`: of the destination; `ask`: sends requests; `course`: knows where it is."""
        self._name = name
        self._mark = Mark(ask, course)
        self._listing = Listing(ask, course.collection, course.path)
        self._seen_mark_at = self._listed_at = self._asked_at = 0.0
        self._asked = self._listed = ""
        self._there: dict[str, Entry] = {}

    def confirm(self, path: str, version: Version, identity: str, now: float) -> Verdict:
        """Is a file of that size and mtime still there? From the thread that reclaims. Raises Transient."""
        try:
            if now - self._seen_mark_at > _CONFIRM_WITHIN:
                self._mark.require(identity)
                self._seen_mark_at = now
            found = self._still(path, now)
        except Refused as error:
            raise Transient(str(error)) from None  # the courier's thread tells the person
        if found is None or found.kind != "file":
            return Verdict(False, f"at {self._name}, {path!r} is gone")
        if found.size != version.size:
            return Verdict(False, f"at {self._name}, {path!r} has {found.size} bytes instead of {version.size}")
        if found.content != stat_content(version.size, version.mtime_ns):
            return Verdict(False, f"at {self._name}, {path!r} was modified since it was delivered")
        return Verdict(True, f"at {self._name} as {path!r}")

    def _still(self, path: str, now: float) -> Entry | None:
        """One copy is asked for alone; from the second of a directory on, all of it is listed."""
        directory, _, name = path.rpartition("/")
        if directory == self._listed and now - self._listed_at <= _CONFIRM_WITHIN:
            return self._there.get(name)
        if directory != self._asked or now - self._asked_at > _CONFIRM_WITHIN:
            self._asked, self._asked_at = directory, now
            try:
                return self._listing.stat(path)
            except NotADirectory:
                return None
        try:
            self._there = {one.name: one for one in self._listing.names(directory)}
        except (NotThere, NotADirectory):
            self._there = {}
        self._listed, self._listed_at = directory, now
        return self._there.get(name)
