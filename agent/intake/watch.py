"""Hints about one watched directory, and whether they still come.

Events are hints: the kernel's queue overflows, network file systems have none, a watcher dies in silence. Sweeps are the
truth. A canary file shows whether events still come, and each new directory is swept, since events of files that are
written while its watch is made are lost.
"""

import logging
import posixpath
import threading
from collections.abc import Callable, Sequence

from agent.files import Files, Trouble, What, Whose
from agent.files.events import Events, Hint, Put
from agent.intake.hints import Hints
from rules.model import OWN_PREFIX, CopyId

CANARY = OWN_PREFIX + "-canary"
_CANARY_TEXT = b"Dropline writes this file to see that events come through.\n"

_ASK_AGAIN = 600.0
"""Seconds after which events that were refused are asked for once more: a person may have raised the limit."""

log = logging.getLogger(__name__)


Listen = Callable[[str, Put, Callable[[str], None]], Events]
"""(root, takes hints, is called with the reason where events were lost) → a running source. Raises Trouble."""


class Watch:
    """Hints about one directory tree, kept alive.

    `check` looks whether they still come, and says why a sweep is needed; `drain` gives the hints.
    """

    def __init__(self, files: Files, root: str, wake: Callable[[], None], listen: Listen | None = None) -> None:
        """
        Args:
            files: where the directory is.
            root: the directory.
            wake: called when there are hints.
            listen: where hints come from; None: what `files` has.
        """
        self.root = root
        self.up = False
        """Whether events come: False on file systems without them, and while the directory is absent."""
        self.present: bool | None = None
        """Whether the directory is there; None: nobody has looked yet."""
        self.reason = "not yet looked at"
        self.refused: str | None = None
        """Why there are no events, where the computer refuses them and could be told to give them."""
        self.lost = 0
        """How often events were lost, or may have been."""
        self.canary_at: float | None = None
        """When the canary was last seen to come through."""
        self.skew: float | None = None
        """Seconds that the file system's clock is ahead of the agent's."""
        self._files = files
        self._wake = wake
        self._listen = listen or files.watch
        self._hints = Hints()
        self._events: Events | None = None
        self._identity: CopyId | None = None
        self._loss: str | None = None
        """The first reason since the last `check` why events were lost."""
        self._canary_sent: float | None = None
        self._canary_back = threading.Event()
        self._unanswered = 0
        self._ask_again = 0.0
        """When to ask once more for events that were refused."""
        self._canary_path = posixpath.join(root, CANARY)

    def _lose(self, what: str) -> None:
        self._loss = self._loss or what
        self._wake()

    def _put(self, hints: Sequence[Hint]) -> None:
        if any(hint.path == self._canary_path for hint in hints):
            self._canary_back.set()
            hints = [hint for hint in hints if hint.path != self._canary_path]
        self.give_back(hints)
        if self._hints:
            self._wake()

    @property
    def losing(self) -> bool:
        """Whether events were lost since the last `check`."""
        return self._loss is not None

    def drain(self, limit: int) -> list[Hint]:
        """At most so many of the hints that came since. A caller that cannot look at them gives them back."""
        return self._hints.take(limit)

    def give_back(self, hints: Sequence[Hint]) -> None:
        """Keep hints that were not looked at."""
        if not self._hints.put(hints):
            self._lose("more changed than the agent remembers")

    def check(self, now: float) -> str | None:
        """Look after the watch. Returns why the tree must be swept, or None."""
        try:
            with self._files.tree(self.root) as tree:
                identity = tree.opened.file
        except Trouble as trouble:
            if self.present and trouble.whose is Whose.AGENT:
                return None  # it says nothing of the directory
            missing = trouble.what in (What.ABSENT, What.NOT_A_DIRECTORY)
            reason = f"the directory {'is not there' if missing else 'cannot be opened'}: {trouble.reason}"
            if self.reason != reason:
                log.warning("%s: %s; waiting for it", self.root, reason)
            self.lost += bool(self.present)
            self.present, self._identity, self.reason = False, None, reason
            self._stop()
            return None
        self.present = True
        if identity != self._identity:
            replaced, self._identity = self._identity is not None, identity
            self.lost += replaced
            self._start(now)
            return "another directory stands in its place" if replaced else "start"
        if self._loss is not None:
            why = self._loss
            self.lost += 1
            self._start(now)  # directories that appeared since are not watched
            return why
        if self._events is not None and not self._events.alive:
            self.lost += 1
            self._start(now)
            return "the event thread had died"
        if self.refused is not None and now >= self._ask_again:
            self._start(now)
            return "events can be had again" if self.up else None
        return None

    def canary(self, now: float, every: float, wall: float) -> str | None:
        """Write a small file, and look whether the event of the last one came. Returns why the tree must be swept.

        Args:
            now: the agent's clock.
            every: seconds between two canaries; two without an event mean that events no longer come.
            wall: the computer's clock, to compare the file system's with.
        """
        if self._canary_back.is_set():
            self._canary_back.clear()
            self.canary_at, self._unanswered = self._canary_sent, 0
        if not self.present or (self._canary_sent is not None and now < self._canary_sent + every):
            return None
        try:
            with self._files.tree(self.root) as tree:
                seen = tree.mark(CANARY, _CANARY_TEXT)
        except Trouble:
            seen = None
        if seen is None:
            # A directory that the agent may only read has no canary, nor one where something else has its name; its age
            # is then not exported.
            self.canary_at = self._canary_sent = None
            return None
        self.skew = seen.version.mtime_ns / 1e9 - wall
        if self.canary_at is None:
            self.canary_at = now  # the count begins: no event is due before this one
        self._canary_sent = now
        self._unanswered += 1
        if self.up and self._unanswered > 2:
            self._unanswered = 0
            self.lost += 1
            self._start(now)
            return "events stopped coming"
        return None

    def _start(self, now: float) -> None:
        self._stop()
        before, self.refused = self.refused, None
        self._loss = None  # what was said until here is one loss, and the sweep to come finds it
        volume = self._files.volume(self.root)
        if volume.remote:
            self.up, self.reason = False, f"{volume.kind} gives no events of what other machines write: sweeps only"
            log.warning("%s: %s", self.root, self.reason)
            return
        try:
            self._events = self._listen(self.root, self._put, self._lose)
        except Trouble as trouble:
            self.up, self.reason, self.refused = False, f"no events: {trouble.reason}; sweeps only", trouble.reason
            self._ask_again = now + _ASK_AGAIN
            if self.refused != before:
                log.warning("%s: %s", self.root, self.reason)
            return
        self.up, self.reason = True, "events come"

    def _stop(self) -> None:
        self.up = False
        events, self._events = self._events, None
        if events is not None:
            events.close()

    def close(self) -> None:
        """Stop the threads, and take the canary away."""
        self._stop()
        if self._canary_sent is not None:
            try:
                with self._files.tree(self.root) as tree:
                    tree.unlink(CANARY)
            except Trouble:
                pass  # the directory is away; the next run writes over it
