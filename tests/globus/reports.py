"""The pages about tasks: one, many, their events and files; and changing or cancelling one."""

from __future__ import annotations

from collections.abc import Sequence

from tests.globus import clock, filters
from tests.globus.auth import Auth
from tests.globus.clock import Clock
from tests.globus.collections import pause_rule
from tests.globus.scopes import TRANSFER
from tests.globus.submissions import Limits
from tests.globus.tasks import Moved, Skipped, Task, Tasks
from tests.globus.wire import Answer, Document, Request, Route, document, transfer_problem

_KEYS = ("task_id", "status", "type", "label", "request_time", "completion_time", "username")


class Reports:
    """Read by the owner of a task alone."""

    def __init__(self, auth: Auth, tasks: Tasks, limits: Limits, time: Clock) -> None:
        self._auth = auth
        self._tasks = tasks
        self._limits = limits
        self._clock = time

    def routes(self) -> list[Route]:
        """The pages of this part."""
        return [
            ("GET", "/v0.10/task_list", self._list),
            ("GET", "/v0.10/task/{}", self._show),
            ("PUT", "/v0.10/task/{}", self._update),
            ("POST", "/v0.10/task/{}/cancel", self._cancel),
            ("GET", "/v0.10/task/{}/event_list", self._events),
            ("GET", "/v0.10/task/{}/pause_info", self._pause),
            ("GET", "/v0.10/task/{}/successful_transfers", self._successful),
            ("GET", "/v0.10/task/{}/skipped_errors", self._skipped),
        ]

    def _task(self, request: Request, name: str) -> Task:
        owner = self._auth.caller(request, TRANSFER).identity
        self._tasks.expire()
        found = self._tasks.all.get(name)
        if found is None or found.owner.id != owner:
            raise transfer_problem(request, 404, "ClientError.NotFound", f"No task with id {name}")
        return found

    def _list(self, request: Request) -> Answer:
        """Transfers alone, unless the filter names types: what the globus command assumes."""
        owner = self._auth.caller(request, TRANSFER).identity
        self._tasks.expire()
        limit, offset = request.number("limit", 10), request.number("offset", 0)
        if not 0 < limit <= 1000 or offset + limit > 1000:
            raise transfer_problem(request, 400, "ClientError.BadRequest", "limit is 1 to 1000, and offset + limit too")
        asked = "/" + "/".join(request.queries.get("filter", ()))
        types = ("TRANSFER", "DELETE") if "/type:" in asked else ("TRANSFER",)
        now, mine = self._clock.now(), [one for one in self._tasks.all.values() if one.owner.id == owner]
        shown = [one.document(now) for one in reversed(mine) if one.order.type in types]
        found = filters.ordered(request, filters.matching(request, shown, _KEYS))
        rows = [filters.thinned(request, one) for one in found[offset : offset + limit]]
        for row in rows:
            row.pop("DATA_TYPE", None)
        return document(_page("task_list", rows, limit, offset, len(found)))

    def _show(self, request: Request, name: str) -> Answer:
        return document(filters.thinned(request, self._task(request, name).document(self._clock.now())))

    def _update(self, request: Request, name: str) -> Answer:
        task, sent = self._task(request, name), request.json()
        if not task.unfinished or sent.keys() - {"DATA_TYPE", "label", "deadline"}:
            raise transfer_problem(
                request, 400, "ClientError.BadRequest", "only label and deadline of a running task can be changed"
            )
        try:
            task.label = sent.get("label", task.label)
            task.deadline = clock.parse(sent["deadline"]) if "deadline" in sent else task.deadline
        except ValueError as error:
            raise transfer_problem(request, 400, "ClientError.BadRequest", str(error)) from error
        return _result(request, "Updated", "Updated task deadline and/or label successfully")

    def _cancel(self, request: Request, name: str) -> Answer:
        task = self._task(request, name)
        if not task.unfinished:
            return _result(request, "TaskComplete", "The task completed before the cancel request was processed.")
        task.fail("CANCELED", "Canceled by the task owner", self._clock.now())
        return _result(request, "Canceled", "The task has been cancelled successfully.")

    def _events(self, request: Request, name: str) -> Answer:
        task = self._task(request, name)
        limit, offset = request.number("limit", 10), request.number("offset", 0)
        events = [] if task.forgotten(self._clock.now()) else [one.document() for one in reversed(task.events)]
        if (wanted := request.query.get("filter", "")) in ("is_error:1", "is_error:0"):
            events = [one for one in events if one["is_error"] == (wanted == "is_error:1")]
        rows = [filters.thinned(request, one) for one in events[offset : offset + limit]]
        return document(_page("event_list", rows, limit, offset, len(events)))

    def _pause(self, request: Request, name: str) -> Answer:
        order = self._task(request, name).order
        ends = [one for one in (order.source, order.destination) if one is not None and one.paused is not None]
        return document({
            "DATA_TYPE": "pause_info_limited", "pause_rules": [pause_rule(one) for one in ends],
            "source_pause_message": None, "source_pause_message_share": None,
            "destination_pause_message": None, "destination_pause_message_share": None,
        })  # fmt: skip

    def _successful(self, request: Request, name: str) -> Answer:
        task = self._task(request, name)
        return self._marked(request, "successful_transfers", task, task.moved if not task.unfinished else [])

    def _skipped(self, request: Request, name: str) -> Answer:
        task = self._task(request, name)
        return self._marked(request, "skipped_errors", task, task.skipped if not task.unfinished else [])

    def _marked(self, request: Request, kind: str, task: Task, found: Sequence[Moved | Skipped]) -> Answer:
        if task.forgotten(self._clock.now()):
            found = []
        marker, size = request.number("marker", 0), self._limits.page
        rows = [one.document() for one in found[marker : marker + size]]
        end = marker + size
        return document(
            {"DATA_TYPE": kind, "marker": marker, "next_marker": end if end < len(found) else None, "DATA": rows}
        )


def _page(kind: str, rows: list[Document], limit: int, offset: int, total: int) -> Document:
    return {"DATA": rows, "DATA_TYPE": kind, "length": len(rows), "limit": limit, "offset": offset, "total": total}


def _result(request: Request, code: str, message: str) -> Answer:
    resource = request.path.removeprefix("/v0.10")
    return document(
        {"DATA_TYPE": "result", "code": code, "message": message, "resource": resource, "request_id": "ABCdef789"}
    )
