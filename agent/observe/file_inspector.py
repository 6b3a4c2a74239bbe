"""Looks at files for people and metrics: at file systems that may never answer, while others wait for the page."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from agent.files import LOCAL, CannotTell, Look, Space, Trouble, What
from agent.files.absence import look_on
from agent.host.asking import Asker, Silence
from agent.host.bulkhead import Bulkhead, Failure
from agent.intake.scan import Listing, sweep
from agent.observe.status import no_answer
from rules.match import relative
from rules.model import VolumeId

ENTRIES = 20_000
"""Entries that a page looks at in a folder and below it."""
_LOOKS, _LISTINGS = 0.5, 2.0
"""Seconds to wait for an answer."""

Named = tuple[str, VolumeId | None]
"""A path, and the file system that its file was on; None: that is not known."""


class Contents(NamedTuple):
    """What stands in a folder and below it."""

    listings: list[Listing]
    whole: bool
    """It is all that there is."""
    excluded: Sequence[str] = ()
    """Directories that the rules exclude: they were not looked into."""


class FileInspector:
    """Asks in other threads, one question at a time for each watched directory. Safe between threads."""

    def __init__(self, clock: Callable[[], float], roots: Sequence[str]) -> None:
        """`roots`: the watched directories."""
        self._roots = sorted(set(roots), key=len, reverse=True)
        self._files = Asker(clock, _LOOKS)
        self._listings = Asker(clock, _LISTINGS)
        self._looks = Bulkhead[Named]("look at", lambda one: one[0])  # two threads may log one failure twice

    def at(self, files: Sequence[Named]) -> list[Look]:
        """What stands at these paths now."""
        places: dict[str, list[Named]] = {}
        found: dict[str, Look] = {}
        for each in self._looks.each(files, failed=partial(_unknown, found)):
            with each as one:
                places.setdefault(self._place(one[0]), []).append(one)
        for place, here in places.items():
            found |= self._asked(place, here)
        return [found[path] for path, _ in files]

    def _asked(self, place: str, files: Sequence[Named]) -> dict[str, Look]:
        def looks() -> dict[str, Look]:
            found: dict[str, Look] = {}
            for each in self._looks.each(files, failed=partial(_unknown, found)):
                with each as (path, volume):
                    found[path] = look(path, volume)
            return found

        answer = self._files.ask(place, looks)
        if isinstance(answer, Silence):
            return {path: CannotTell(_silence(answer)) for path, _ in files}
        return answer

    def contents(self, directory: str, excluded: Callable[[str], bool]) -> Contents | CannotTell:
        """What stands in a directory and below it now, destinations of copies among it. `excluded`: not looked into."""
        place = self._place(directory)
        answer = self._listings.ask(place, lambda: contents(place, directory, ENTRIES, excluded))
        return CannotTell(_silence(answer)) if isinstance(answer, Silence) else answer

    def space(self, directory: str) -> Space | None:
        """How much may still be written there; None where that cannot be told now."""
        answer = self._files.ask(directory, lambda: LOCAL.space(directory))
        return None if isinstance(answer, Silence) else answer

    def silent(self) -> dict[str, float]:
        """Directories that do not answer, each with the time since when."""
        return self._files.silent()

    def _place(self, path: str) -> str:
        """The watched directory that holds a path, or else the mount point that does."""
        for root in self._roots:
            if path == root or path.startswith(root.rstrip("/") + "/"):
                return root
        return LOCAL.volume(path).mounted_at


def look(path: str, volume: VolumeId | None) -> Look:
    """What stands at a path now, asked at once."""
    return LOCAL.look(path) if volume is None else look_on(LOCAL, path, volume)


def contents(
    top: str, directory: str, at_most: int, excluded: Callable[[str], bool] = lambda directory: False
) -> Contents:
    """What stands in a directory at or below another one, and below it, as a sweep sees it."""
    listings: list[Listing] = []
    left_out: list[str] = []

    def pruned(path: str) -> bool:
        if excluded(path):
            left_out.append(path)
            return True
        return False

    count = 0
    for listing in sweep(LOCAL, top, relative(directory, top) or "", pruned=pruned):
        count += len(listing.entries) + 1
        if count + len(left_out) > at_most:
            return Contents(listings, False, left_out)
        listings.append(listing)
    return Contents(listings, True, left_out)


def _unknown(found: dict[str, Look], one: Named, failure: Failure) -> None:
    found[one[0]] = CannotTell(Trouble(What.OTHER, failure.reason))


def _silence(answer: Silence) -> Trouble:
    return Trouble(What.NO_ANSWER, no_answer(answer.since))
