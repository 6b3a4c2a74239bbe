"""Tasks under way at Globus: asked after together, and read one by one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from globus_sdk import TransferClient

from agent.destinations import Accepted, Busy, Changed, Gone, Item, Outcome, Undeliverable
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.listing import Ask
from agent.destinations.globus.proof import Checksum, Evidence
from agent.destinations.globus.request import deserialize
from agent.destinations.globus.session import (
    Clash,
    Forbidden,
    NotThere,
    Rejected,
    Unanswered,
    document,
    rows,
    text,
)
from agent.destinations.sources import changed_sources, item_bulkhead, unforeseen
from agent.errors import Refused, Transient
from agent.host.bulkhead import Bulkhead, Failure
from rules.globus.task import FILE_ERRORS, Reading, next_look, read
from rules.retry import backoff

AT_ONCE = 50
"""Task ids in one question: they are part of a URL."""
LOOK_CLOSER = 60.0
"""Seconds between two looks at the files of a task that is stuck for the same reason."""
_FIELDS = (
    "task_id,status,nice_status,is_paused,fatal_error,faults,subtasks_skipped_errors,"
    "canceled_by_admin,canceled_by_admin_message"
)
_LONGEST_WORD = 500


MOST_FAILURES = 12
"""Times that the lists of a task which has ended are asked for: an hour. Then it counts as one that tells nothing of its files."""
_AGAIN_AT_MOST = 900.0
"""Seconds between two of these questions."""


class Document(NamedTuple):
    """What the service says of a task, as far as it is used."""

    task: str
    status: str
    nice_status: str | None
    fatal: str | None
    faults: int | None
    paused: bool
    skipped: bool
    """It may have skipped files."""
    cancelled_by_admin: str | None
    """What the administrator says; empty: nothing. None: no administrator cancelled it."""


@dataclass(slots=True)
class Watched:
    """A task of this agent that has not ended."""

    task: str
    items: dict[int, Item]
    begun_at: float
    next_check_at: float
    note: str | None = None
    stuck_since: float | None = None
    looked: tuple[object, float] = (None, 0.0)
    """What it was stuck on when its files were last looked at, and when that was."""
    failed_files: dict[int, Outcome] = field(default_factory=dict)
    """Files that keep it from ending; it was cancelled because of them."""
    cancelled: str | None = None
    """Why we cancelled it."""
    failures: int = 0
    """How often in a row something about this task alone could not be asked."""
    lists_failed: int = 0
    """How often its lists could not be read, once it had ended."""
    checksums: Mapping[str, Checksum] = field(default_factory=dict)
    """Destination path → checksum that the agent read itself."""
    evidence: Evidence | None = None
    """What its lists say, once it has ended."""

    def failed(self, now: float) -> None:
        """It could not be asked for something: it is tried again later."""
        self.failures += 1
        self.next_check_at = now + backoff(self.failures, _AGAIN_AT_MOST)


def hand_in(ask: Ask[Any], request: bytes) -> Accepted:
    """Send a frozen request: again, where it was sent before. Raises Transient (Rejected, Busy among it), Refused."""
    body = deserialize(request)
    try:
        result = ask("submit", lambda tc: document(tc.submit_transfer(body), "task_id"))
    except Clash as error:
        running = find(ask, body["label"])
        if running is None:
            raise Busy(f"{error}; it goes when that has ended") from None
        return Accepted(running, "adopted")
    return Accepted(result["task_id"], "duplicate" if result.get("code") == "Duplicate" else "accepted")


def documents(ask: Ask[Any], tasks: Sequence[str]) -> dict[str, Document | Transient | Refused]:
    """The documents of these tasks, or why one cannot be read; those that the service does not know are absent.

    Raises Transient, Refused where none can be asked for.
    """
    found: dict[str, Document | Transient | Refused] = {}

    def listed(tc: TransferClient, some: list[str]) -> list[Document]:
        page = tc.task_list(limit=len(some), filter={"task_id": some}, query_params={"fields": _FIELDS})
        return [one for row in rows(page) if (one := _document(row)) is not None]

    for start in range(0, len(tasks), AT_ONCE):
        asked = ask("task_list", partial(listed, some=list(tasks[start : start + AT_ONCE])))
        found |= {one.task: one for one in asked}
    for task in set(tasks) - set(found):
        # A list may lag behind, or be cut; that a task is not known at all is believed only when it is said.
        try:
            found[task] = ask("task", partial(_one, task=task))
        except NotThere:
            pass  # what is absent from the answer is not there
        except Unanswered:
            raise
        except (Transient, Forbidden) as error:
            found[task] = error
    return found


def _one(tc: TransferClient, task: str) -> Document:
    found = _document({"task_id": task, **document(tc.get_task(task), "status")})
    if found is None or found.task != task:
        raise ValueError("no such task")
    return found


def _document(row: Mapping[str, Any]) -> Document | None:
    """The document of a task; None where it is none. Fields of another type count as absent."""
    try:
        task, status = text(row.get("task_id")), text(row.get("status"))
    except ValueError:
        return None
    fatal, faults, admin = row.get("fatal_error"), row.get("faults"), row.get("canceled_by_admin_message")
    return Document(
        task, status, _word(row.get("nice_status")),
        _word(fatal.get("code")) if isinstance(fatal, dict) else None,
        faults if type(faults) is int else None, row.get("is_paused") is True, row.get("subtasks_skipped_errors") != 0,
        (_word(admin) or "") if row.get("canceled_by_admin") else None,
    )  # fmt: skip


def _word(value: object) -> str | None:
    """A text for people, on one line; None where it is none."""
    return " ".join(value.split())[:_LONGEST_WORD] if isinstance(value, str) else None


def reading(task: Document) -> Reading:
    """What a task is doing."""
    found = read(task.status, task.nice_status, task.fatal, paused=task.paused)
    if task.cancelled_by_admin is None:
        return found
    said = task.cancelled_by_admin or "no reason was given"
    return found._replace(reason=f"{found.reason} by the administrator of a collection: {said}")


def paused_by(ask: Ask[Any], collection_path: CollectionPath) -> str | None:
    """Why an administrator's rule would hold up a transfer now; None: none would, as far as the collections tell.

    Raises Transient, Refused where nothing can be asked.
    """

    def rules(tc: TransferClient, collection: str, what: str) -> list[str]:
        found = rows(tc.my_effective_pause_rule_list(collection))
        return [_word(one.get("message")) or "no reason was given" for one in found if one.get(what) is True]

    for collection, what in (
        (collection_path.source, "pause_task_transfer_read"),
        (collection_path.collection, "pause_task_transfer_write"),
    ):
        try:
            messages = ask("pause_rules", partial(rules, collection=collection, what=what))
        except Unanswered:
            raise
        except (Transient, Forbidden):
            continue  # it is asked for people alone: a task that is paused waits as well, and shows why
        if messages:
            return f"the administrator of collection {collection} has paused transfers: {'; '.join(messages)}"
    return None


def later(watched: Watched, now: float, chance: float) -> float:
    """When to look again; `chance` from 0 to 1 spreads many agents' questions."""
    at = next_look(watched.begun_at, now)
    return at + (at - now) * chance / 5


def pause_reason(ask: Ask[Any], task: str) -> str:
    """What the administrator who paused it says. Raises Transient, Refused."""

    def messages(tc: TransferClient) -> list[object]:
        info = document(tc.task_pause_info(task))
        given = [
            info.get(f"{side}_pause_message{kind}") for side in ("source", "destination") for kind in ("", "_share")
        ]
        return given + [rule.get("message") for rule in info.get("pause_rules") or [] if isinstance(rule, dict)]

    return "; ".join(word for one in ask("pause_info", messages) if (word := _word(one)))


def failed_files(
    ask: Ask[Any], collection_path: CollectionPath, items: Iterable[Item], task: str
) -> dict[int, Outcome]:
    """Files that keep a task from ending: changed or gone here, or named by its errors. Raises Transient, Refused."""
    items = list(items)
    found, away = changed_sources(items)
    by_path: dict[str, Item] = {}

    def failed(item: Item, failure: Failure) -> None:
        found[item.file] = unforeseen(item, failure)

    for each in item_bulkhead().each(items, failed=failed):
        with each as item:
            by_path[collection_path.there(item.path)] = item
            by_path[collection_path.local(item) or ""] = item
    only = {"filter": "is_error:1"}
    events = ask("event_list", lambda tc: rows(tc.task_event_list(task, limit=50, query_params=only)))
    for one in Bulkhead[Mapping[str, Any]]("event of Globus task", lambda _: task).each(events):
        with one as event:
            said = FILE_ERRORS.get(str(event.get("code")))
            for path in _paths(str(event.get("details"))) if said else ():
                named = by_path.get(path)
                if named is not None and named.file not in found and named.file not in away:
                    hint = "mend that, rename it, or change the rule's `path`, then `dropline retry`"
                    found[named.file] = Undeliverable(named.file, f"Globus says of {path!r}: {said}", hint)
    return found


def _paths(details: str) -> Iterator[str]:
    """Paths in the details of an event (globus_cli's fixtures); the form may change, so nothing relies on finding them."""
    for line in details.splitlines():
        key, _, path = line.strip().partition(": ")
        if key == "File":
            yield path.strip()


def shown(outcomes: Mapping[int, Outcome], items: Mapping[int, Item]) -> str:
    """Why a task was cancelled, for a person."""
    file, outcome = next(iter(outcomes.items()))
    match outcome:
        case Gone():
            why = "is gone"
        case Changed():
            why = "changed"
        case _:
            why = "cannot be delivered"
    more = f" and {len(outcomes) - 1} more" if len(outcomes) > 1 else ""
    return f"{items[file].relpath!r}{more} {why}, so the others go again without it"


def cancel(ask: Ask[Any], task: str) -> None:
    """Ask the service to end a task; one that has ended is as good. Raises Transient, Refused."""
    try:
        ask("cancel", lambda tc: tc.cancel_task(task))
    except (Clash, Rejected, NotThere):
        pass  # it has ended: the next question says how


def find(ask: Ask[Any], label: str) -> str | None:
    """An unfinished task by its label. Raises Transient, Refused."""
    chosen: dict[str, str | list[str]] = {"status": ["ACTIVE", "INACTIVE"], "type": "TRANSFER", "label": f"={label}"}
    found = ask("task_list", lambda tc: rows(tc.task_list(limit=10, filter=chosen), "task_id"))
    return next((str(one["task_id"]) for one in found if one.get("label") == label), None)
