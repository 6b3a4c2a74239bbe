"""Rows that people see: one that cannot be shown says why, and the others are shown."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from markupsafe import Markup

from agent.host.bulkhead import Bulkhead, Failure

T = TypeVar("T")
R = TypeVar("R")
_SHOWN = 200
"""Characters of what cannot be shown, in the log."""


class Unshown(NamedTuple):
    """A row that cannot be shown."""

    what: str
    """Kind of row, for people."""
    reason: str


class Rows:
    """Makes rows one by one."""

    def __init__(self) -> None:
        self._alone = Bulkhead[tuple[str, Any]]("row", lambda one: f"{one[0]}: {one[1]!r}"[:_SHOWN])

    def of(
        self, what: str, items: Iterable[T], make: Callable[[T], R], failed: Callable[[T, Unshown], object]
    ) -> list[R]:
        """What `make` makes of each item. `failed`: called instead where it raises."""
        made: list[R] = []
        pairs = ((what, item) for item in items)
        for each in self._alone.each(pairs, failed=lambda one, failure: failed(one[1], Unshown(what, failure.reason))):
            with each as (_, item):
                made.append(make(item))
        return made

    def rendered(self, items: Iterable[object], tag: str, caller: Callable[[object], Markup]) -> Markup:
        """For templates: what the block of a `call` makes of each item.

        `tag`: `tr` or `li`, for a row that cannot be shown.
        """
        shapes = {
            "tr": Markup('<tr class="bad"><td colspan="9">cannot be shown: {}</td></tr>'),
            "li": Markup('<li class="bad">cannot be shown: {}</li>'),
        }
        made: list[Markup] = []

        def failed(_: object, failure: Failure) -> None:
            made.append(shapes[tag].format(failure.reason))

        for each in self._alone.each(((tag, item) for item in items), failed=failed):
            with each as (_, item):
                made.append(caller(item))
        return Markup("").join(made)
