"""Hints that nobody has looked at yet: a bounded number, whatever a program does."""

import threading
from collections.abc import Sequence

from agent.files.events import Hint

MOST_NAMES = 20_000
"""Names of files that are kept. Beyond, the directory with the most names is listed instead."""
MOST_DIRECTORIES = 5_000
"""Directories with hints that are kept, and directories that appeared or went away. Beyond, the whole tree is swept."""


class Hints:
    """Hints by directory: one per name, however often it comes and goes. For two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, dict[str, bool] | None] = {}
        """Directory → name → whether it went away at some time; None: so many that the directory is to be listed."""
        self._directories: dict[Hint, None] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._names or self._directories)

    def put(self, hints: Sequence[Hint]) -> bool:
        """Keep them. Returns False where they were too many, and all that was kept is forgotten: only a sweep finds it."""
        with self._lock:
            for hint in hints:
                if hint.below:
                    self._directories[hint] = None
                else:
                    self._add(hint)
            if max(len(self._names), len(self._directories)) <= MOST_DIRECTORIES:
                return True
            self._forget()
            return False

    def _add(self, hint: Hint) -> None:
        if hint.names:
            self._list(hint.path)
            return
        directory, _, name = hint.path.rpartition("/")
        names = self._names.setdefault(directory, {})
        if names is None:
            return
        self._count += name not in names
        names[name] = names.get(name, False) or hint.gone
        if self._count > MOST_NAMES:
            self._list(max(self._names, key=lambda one: len(self._names[one] or ())))

    def _list(self, directory: str) -> None:
        self._count -= len(self._names.get(directory) or ())
        self._names[directory] = None

    def take(self, limit: int) -> list[Hint]:
        """At most so many, of each directory in its turn."""
        taken: list[Hint] = []
        with self._lock:
            while self._directories and len(taken) < limit:
                taken.append(hint := next(iter(self._directories)))
                del self._directories[hint]
            while self._names and len(taken) < limit:
                directory = next(iter(self._names))
                names = self._names.pop(directory)
                if names is None:
                    taken.append(Hint(directory or "/", names=True))
                    continue
                some = list(names)[: limit - len(taken)]
                taken += [Hint(f"{directory}/{name}", gone=names.pop(name)) for name in some]
                self._count -= len(some)
                if names:
                    self._names[directory] = names  # at the end: the other directories come first next time
        return taken

    def _forget(self) -> None:
        self._names.clear()
        self._directories.clear()
        self._count = 0
