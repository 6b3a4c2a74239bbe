"""Tasks under way at Globus: asked after together, and read one by one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from globus_sdk import TransferClient

from agent.destinations import Changed, Gone, Item, NotNow, Outcome, Taken, Unfit
from agent.destinations.globus.course import Course
from agent.destinations.globus.listing import Ask
from agent.destinations.globus.request import thaw
from agent.destinations.globus.session import Clash, NotThere, Rejected, document, rows
from agent.destinations.sources import spoiled
from rules.globus.task import BLAMED, Reading, next_look, read

AT_ONCE = 50
"""Task ids in one question: they are part of a URL."""
LOOK_CLOSER = 60.0
"""Seconds between two looks at the files of a task that is stuck for the same reason."""
_FIELDS = (
    "task_id,status,nice_status,nice_status_short_description,is_paused,fatal_error,faults,subtasks_skipped_errors,"
    "canceled_by_admin,canceled_by_admin_message"
)
_FILE = re.compile(r"^\s*File: (.+?)\s*$", re.M)
"""In the details of an event (globus_cli's fixtures); the form may change, so nothing relies on finding it."""


@dataclass(slots=True)
class Watched:
    """A task of ours that has not ended."""

    task: str
    items: dict[int, Item]
    begun_at: float
    look_at: float
    note: str | None = None
    stuck_since: float | None = None
    looked: tuple[object, float] = (None, 0.0)
    """What it was stuck on when its files were last looked at, and when that was."""
    blamed: dict[int, Outcome] = field(default_factory=dict)
    """Files that keep it from ending; it was cancelled because of them."""
    cancelled: str | None = None
    """Why we cancelled it."""


def hand_in(ask: Ask[Any], request: bytes) -> Taken:
    """Send a frozen request: again, where it was sent before. Raises Transient (Rejected, NotNow among it), Refused."""
    body = thaw(request)
    try:
        result = ask("submit", lambda tc: document(tc.submit_transfer(body), "task_id"))
    except Clash as error:
        running = find(ask, body["label"])
        if running is None:
            raise NotNow(f"{error}; it goes when that has ended") from None
        return Taken(running, "adopted")
    return Taken(str(result["task_id"]), "duplicate" if result.get("code") == "Duplicate" else "accepted")


def documents(ask: Ask[Any], tasks: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The documents of these tasks; those that the service does not know are absent. Raises Transient, Refused."""
    found: dict[str, Mapping[str, Any]] = {}

    def listed(tc: TransferClient, some: list[str]) -> list[dict[str, Any]]:
        page = tc.task_list(limit=len(some), filter={"task_id": some}, query_params={"fields": _FIELDS})
        return rows(page, "task_id", "status")

    for start in range(0, len(tasks), AT_ONCE):
        asked = ask("task_list", partial(listed, some=list(tasks[start : start + AT_ONCE])))
        found |= {str(one["task_id"]): one for one in asked}
    for task in set(tasks) - set(found):
        # A list may lag behind, or be cut; that a task is not known at all is believed only when it is said.
        try:
            found[task] = ask("task", lambda tc: document(tc.get_task(task), "status"))  # noqa: B023  (called at once)
        except NotThere:
            pass  # absent from the answer is how that is told
    return found


def reading(task: Mapping[str, Any]) -> Reading:
    """What a task is doing."""
    fatal = (task.get("fatal_error") or {}).get("code")
    nice = task.get("nice_status")
    found = read(str(task.get("status")), nice, fatal, paused=bool(task.get("is_paused")))
    admin = task.get("canceled_by_admin_message")
    if task.get("canceled_by_admin"):
        found = found._replace(
            reason=f"{found.reason} by the administrator of a collection: {admin or 'no reason was given'}"
        )
    return found


def later(watched: Watched, now: float, chance: float) -> float:
    """When to look again; `chance` from 0 to 1 spreads many agents' questions."""
    at = next_look(watched.begun_at, now)
    return at + (at - now) * chance / 5


def pause_reason(ask: Ask[Any], task: str) -> str:
    """What the administrator who paused it says. Raises Transient, Refused."""
    info = ask("pause_info", lambda tc: document(tc.task_pause_info(task)))
    said = [info.get(f"{side}_pause_message{kind}") for side in ("source", "destination") for kind in ("", "_share")]
    said += [rule.get("message") for rule in info.get("pause_rules", [])]
    return "; ".join(" ".join(str(text).split()) for text in said if text)


def culprits(ask: Ask[Any], course: Course, items: Iterable[Item], task: str) -> dict[int, Outcome]:
    """Files that keep a task from ending: changed or gone here, or named by its errors. Raises Transient, Refused."""
    items = list(items)
    found, away = spoiled(items)
    by_path = {course.there(item.path): item for item in items} | {course.local(item) or "": item for item in items}
    only = {"filter": "is_error:1"}
    for event in ask("event_list", lambda tc: rows(tc.task_event_list(task, limit=50, query_params=only))):
        said = BLAMED.get(str(event.get("code")))
        for path in _FILE.findall(str(event.get("details"))) if said else []:
            item = by_path.get(path)
            if item is not None and item.file not in found and item.file not in away:
                hint = "mend that, rename it, or change the rule's `path`, then `dropline retry`"
                found[item.file] = Unfit(item.file, f"Globus says of {path!r}: {said}", hint)
    return found


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
        pass  # it ended meanwhile: the next look tells how


def find(ask: Ask[Any], label: str) -> str | None:
    """An unfinished task by its label. Raises Transient, Refused."""
    chosen: dict[str, str | list[str]] = {"status": ["ACTIVE", "INACTIVE"], "type": "TRANSFER", "label": f"={label}"}
    found = ask("task_list", lambda tc: rows(tc.task_list(limit=10, filter=chosen), "task_id"))
    return next((str(one["task_id"]) for one in found if one.get("label") == label), None)
