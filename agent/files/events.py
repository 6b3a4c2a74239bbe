"""What events say: that it may be worth looking at a path."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Hint(NamedTuple):
    """A path may have changed, or a name went away (`gone`); `below`: it is a directory, with all that is below it.

    `names`: so many names of this directory changed that it is to be listed.
    """

    path: str
    below: bool = False
    gone: bool = False
    names: bool = False


Put = Callable[[Sequence[Hint]], None]
"""Takes hints, from the thread that reads the events."""


class Events(Protocol):
    """A running source of hints about one directory tree."""

    @property
    def alive(self) -> bool:
        """Whether its threads run."""

    def close(self) -> None:
        """End its threads."""
