"""Local files that are not what was sealed, and what becomes of them. Asked while files travel, and by services after it."""

from collections.abc import Iterable
from typing import NamedTuple

from agent.destinations import Busy, Changed, Gone, Item, Outcome, Undeliverable
from agent.errors import Refused, Transient
from agent.files import LOCAL, Trouble, What
from agent.files.reader import NotTheVersion, Sources, Unreadable
from agent.host.bulkhead import Bulkhead, Failure
from agent.host.heartbeat import Heartbeat
from rules.model import Writer

_PASSING = frozenset({What.STALE, What.NO_ANSWER, What.EXHAUSTED})
"""Troubles of a whole file system, or of the agent, that say nothing of a file."""


class SourceAway(Busy):
    """A watched directory does not answer, or the agent cannot ask it. It says nothing of the destination."""

    def __init__(self, reason: str, trouble: Trouble) -> None:
        super().__init__(reason)
        self.trouble = trouble


def outcome_of(item: Item, error: NotTheVersion | Unreadable) -> Outcome:
    """What becomes of a file that could not be read as it was sealed. Raises SourceAway where that says nothing of the file."""
    if isinstance(error, NotTheVersion):
        return Gone(item.file) if error.seen is None else Changed(item.file, error.seen, error.reason)
    if error.trouble.what in _PASSING:
        raise SourceAway(f"{item.root}/{item.relpath} cannot be read: {error.trouble.reason}", error.trouble)
    return Undeliverable(item.file, f"cannot be read: {error.trouble.reason}", error.hint)


class ChangedSources(NamedTuple):
    """Items whose local file is not known to be what was sealed."""

    outcomes: dict[int, Outcome]
    """File → what became of it."""
    away: dict[int, SourceAway]
    """File → why nothing can be said of it now."""


def item_bulkhead() -> Bulkhead[Item]:
    """Handles the files of a request one by one. Trouble of the destination goes on to the caller."""
    return Bulkhead[Item]("file", lambda item: f"{item.root}/{item.relpath}", through=(Transient, Refused))


def unforeseen(item: Item, failure: Failure) -> Undeliverable:
    """What becomes of a file whose handling failed: the others of its request go on."""
    return Undeliverable(item.file, failure.reason, "`dropline retry`")


def changed_sources(items: Iterable[Item]) -> ChangedSources:
    """Those items whose local file is not what was sealed, has a writer, or cannot be read now."""
    found = ChangedSources({}, {})

    def failed(item: Item, failure: Failure) -> None:
        found.outcomes[item.file] = unforeseen(item, failure)

    with Sources(LOCAL, "sha256", Heartbeat()) as sources:
        for each in item_bulkhead().each(items, failed=failed):
            with each as item:
                _compare(sources, item, found)
    return found


def _compare(sources: Sources, item: Item, found: ChangedSources) -> None:
    try:
        with sources.opened(item.root, item.relpath, item.version) as reading:
            if reading.handle.writer() is Writer.OPEN:
                found.outcomes[item.file] = Changed(item.file, reading.handle.opened, Writer.OPEN.value)
    except (NotTheVersion, Unreadable) as error:
        try:
            found.outcomes[item.file] = outcome_of(item, error)
        except SourceAway as away:
            found.away[item.file] = away
