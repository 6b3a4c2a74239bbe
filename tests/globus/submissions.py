"""POST /transfer and /delete: what is accepted, what is refused, and what is the same as before."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from tests.globus import clock
from tests.globus.auth import Auth
from tests.globus.clock import Clock
from tests.globus.collections import Collection
from tests.globus.scopes import TRANSFER
from tests.globus.tasks import Item, Order, Tasks
from tests.globus.tokens import Token
from tests.globus.wire import Answer, Document, Problem, Request, Route, document, transfer_problem

_OPTIONS = {
    "sync_level", "verify_checksum", "preserve_timestamp", "encrypt_data", "skip_source_errors", "fail_on_quota_errors",
    "delete_destination_extra", "filter_rules", "notify_on_succeeded", "notify_on_failed", "notify_on_inactive",
    "source_local_user", "destination_local_user", "store_base_path_info", "recursive_symlinks", "perf_cc", "perf_p",
    "perf_pp", "perf_udt", "recursive", "ignore_missing", "interpret_globs", "local_user",
}  # fmt: skip
_FIELDS = _OPTIONS | {
    "DATA_TYPE", "DATA", "submission_id", "label", "deadline", "source_endpoint", "destination_endpoint", "endpoint",
}  # fmt: skip
_ITEM = {"DATA_TYPE", "source_path", "destination_path", "recursive", "external_checksum", "checksum_algorithm"}


@dataclass
class Limits:
    """What the service permits; tests may change it. Which of these are known, and which believed: README.md."""

    pending: int = 100
    """Tasks that a user may have unfinished."""
    running: int = 3
    """Transfers, and again deletions, that run at once for a user; the others are queued."""
    items: int = 1_000_000
    """Items of one task."""
    page: int = 1000
    """Entries of one page of successful_transfers and skipped_errors."""
    overlap: str = "list"
    """What counts as a transfer with identical paths: "list" (all of its paths) or "item" (any of them)."""
    requests_per_second: int | None = None
    """Transfer requests per user, metered over ten seconds; None is unlimited. The service says 20."""


class Submissions:
    """The pages that make tasks."""

    def __init__(
        self, auth: Auth, collections: dict[str, Collection], tasks: Tasks, limits: Limits, time: Clock
    ) -> None:
        self._auth = auth
        self._collections = collections
        self._tasks = tasks
        self._limits = limits
        self._clock = time

    def routes(self) -> list[Route]:
        """The pages of this part."""
        return [
            ("GET", "/v0.10/submission_id", self._submission_id),
            ("POST", "/v0.10/transfer", self._submit),
            ("POST", "/v0.10/delete", self._submit),
        ]

    def _submission_id(self, request: Request) -> Answer:
        self._auth.caller(request, TRANSFER)
        return document({"DATA_TYPE": "submission_id", "value": str(uuid.uuid4())})

    def _submit(self, request: Request) -> Answer:
        token = self._auth.caller(request, TRANSFER)
        sent = request.json()
        kind = request.path.rpartition("/")[2]
        if not isinstance(sent, dict) or sent.get("DATA_TYPE") != kind:
            raise _bad(request, f"DATA_TYPE must be {kind!r}")
        submission = _uuid(request, sent, "submission_id")
        if before := self._tasks.submitted(token.identity, submission):
            return self._result(request, kind, "Duplicate", before.id, submission)
        order = self._order(request, token, sent, kind, submission)
        self._admit(request, token, order)
        task = self._tasks.accept(order, self._auth.directory.identities[token.identity])
        return self._result(request, kind, "Accepted", task.id, submission)

    def _admit(self, request: Request, token: Token, order: Order) -> None:
        """The caller may use both collections, has room for another task, and none with the same paths."""
        for collection in filter(None, (order.source, order.destination)):
            if collection.needs_data_access:
                self._auth.require_consent(request, token, collection.id)
            if collection.session_policy:
                self._auth.require_session(request, token, collection.session_policy, 403, "PermissionDenied")
        unfinished = self._tasks.unfinished(token.identity)
        if len(unfinished) >= self._limits.pending:
            raise transfer_problem(
                request,
                409,
                "TooManyPendingJobs",
                f"You have {len(unfinished)} pending tasks, which is the most allowed",
            )
        same = [one.order for one in unfinished if (one.order.source, one.order.destination, one.order.type) == (
            order.source, order.destination, order.type)]  # fmt: skip
        paths = {(item.source, item.destination) for item in order.items} if same else set()
        for other in same:
            theirs = {(item.source, item.destination) for item in other.items}
            if paths & theirs if self._limits.overlap == "item" else paths == theirs:
                message = f"A {order.type.lower()} with identical paths has not yet completed"
                raise transfer_problem(request, 409, "Conflict", message)

    def _order(self, request: Request, token: Token, sent: Document, kind: str, submission: str) -> Order:
        if unknown := sent.keys() - _FIELDS:
            raise _bad(request, f"unknown fields {sorted(unknown)}")
        if sent.get("delete_destination_extra") or sent.get("recursive_symlinks", "ignore") != "ignore":
            raise transfer_problem(request, 501, "NotImplemented", "the stand-in mirrors nothing and follows no links")
        items = sent.get("DATA")
        if not isinstance(items, list) or not items:
            raise transfer_problem(
                request, 400, f"ClientError.BadRequest.No{kind.title()}Items", f"A {kind} requires at least one item"
            )
        if len(items) > self._limits.items:
            raise transfer_problem(request, 413, "ClientError.LimitExceeded", f"more than {self._limits.items} items")
        moves = kind == "transfer"
        ends = [self._collection(request, sent, name) for name in
                (("source_endpoint", "destination_endpoint") if moves else ("endpoint",))]  # fmt: skip
        sync = sent.get("sync_level")
        if sync is not None and (not isinstance(sync, int) or isinstance(sync, bool) or not 0 <= sync <= 3):
            raise _bad(request, f"sync_level must be 0, 1, 2 or 3, not {sync!r}")
        return Order(
            kind.upper(), submission, ends[0], ends[1] if moves else None,
            tuple(_item(request, one) if moves else _delete_item(request, one) for one in items),
            self._label(request, sent.get("label")), self._deadline(request, sent.get("deadline")),
            {name: sent[name] for name in _OPTIONS & sent.keys()},
        )  # fmt: skip

    def _collection(self, request: Request, sent: Document, name: str) -> Collection:
        found = self._collections.get(_uuid(request, sent, name))
        if found is None:
            raise transfer_problem(request, 404, "EndpointNotFound", f"No such endpoint '{sent[name]}'")
        return found

    def _label(self, request: Request, label: Any) -> str | None:
        wrong = label is not None and (
            not isinstance(label, str) or len(label) > 128 or label.strip() != label or "\n" in label or "\r" in label
        )
        if wrong:
            raise _bad(request, "a label has at most 128 characters, no line breaks, and no space around it")
        return label or None

    def _deadline(self, request: Request, written: Any) -> float | None:
        if written is None:
            return None
        try:
            when = clock.parse(written)
        except (ValueError, TypeError) as error:
            raise _bad(request, f"deadline is no time: {written!r}") from error
        if when <= self._clock.now():
            raise _bad(request, "deadline is in the past")
        return when

    def _result(self, request: Request, kind: str, code: str, task: str, submission: str) -> Answer:
        messages = {
            "Accepted": f"The {kind} has been accepted and a task has been created and queued for execution",
            "Duplicate": f"A {kind} with the same submission_id has already been accepted",
        }
        link = f"/v0.10/task/{task}?format=json"
        return document({
            "DATA_TYPE": f"{kind}_result", "code": code, "message": messages[code], "request_id": "7HgMVYazI",
            "resource": request.path, "submission_id": submission, "task_id": task,
            "task_link": {"DATA_TYPE": "link", "href": link, "rel": "related", "resource": "task", "title": "related task"},
        }, 202)  # fmt: skip


def _bad(request: Request, message: str) -> Problem:
    return transfer_problem(request, 400, "ClientError.BadRequest", message)


def _uuid(request: Request, sent: Document, name: str) -> str:
    try:
        return str(uuid.UUID(sent.get(name)))
    except (ValueError, TypeError, AttributeError) as error:
        raise _bad(request, f"{name} must be a UUID, not {sent.get(name)!r}") from error


def _path(request: Request, item: Document, name: str) -> str:
    path = item.get(name)
    if not isinstance(path, str) or not path.startswith("/") or "\n" in path or "\r" in path:
        raise transfer_problem(
            request,
            400,
            "ClientError.BadRequest.InvalidPath",
            f"{name} {path!r} is no absolute path without line breaks",
        )
    return path


def _item(request: Request, item: Any) -> Item:
    if not isinstance(item, dict) or item.get("DATA_TYPE") != "transfer_item" or item.keys() - _ITEM:
        raise _bad(request, f"not a transfer_item: {item!r}")
    recursive, checksum = item.get("recursive"), item.get("external_checksum")
    if recursive not in (None, True, False) or not isinstance(checksum, str | None) or (recursive and checksum):
        raise _bad(request, f"recursive must be a boolean, external_checksum a text and for files alone: {item!r}")
    algorithm = str(item.get("checksum_algorithm") or "MD5").upper().replace("-", "")
    source, destination = _path(request, item, "source_path"), _path(request, item, "destination_path")
    return Item(source, destination, recursive, checksum, algorithm)


def _delete_item(request: Request, item: Any) -> Item:
    if not isinstance(item, dict) or item.get("DATA_TYPE") != "delete_item":
        raise _bad(request, f"not a delete_item: {item!r}")
    return Item(_path(request, item, "path"), "")
