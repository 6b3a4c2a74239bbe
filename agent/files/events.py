"""What events say: that it may be worth looking at a path."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Hint(NamedTuple):
    """A path may have changed, or a directory appeared (`below`: sweep it) or a name went away (`gone`).

    `created`: a file is new and, unless it came by a link, still open; another hint comes when it is closed.
    """

    path: str
    below: bool = False
    gone: bool = False
    created: bool = False


Put = Callable[[Sequence[Hint]], None]
"""Takes hints, from the thread that reads the events."""


class Events(Protocol):
    """A running source of hints about one directory tree."""

    @property
    def alive(self) -> bool:
        """Whether its threads run."""

    def close(self) -> None:
        """End its threads."""
