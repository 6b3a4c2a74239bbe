"""Tasks: what was submitted, how far it is, and the documents that show it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.globus import clock
from tests.globus.clock import Clock
from tests.globus.collections import Collection
from tests.globus.identities import Identity
from tests.globus.wire import Document

DAY = 86400.0
UNFINISHED = ("ACTIVE", "INACTIVE")


class Item(NamedTuple):
    """One thing to move or (source alone) to delete. `recursive` None: see what is there."""

    source: str
    destination: str
    recursive: bool | None = None
    external_checksum: str | None = None
    algorithm: str = "MD5"


class Moved(NamedTuple):
    """A file that arrived."""

    source: str
    destination: str
    size: int
    checksum: str | None
    algorithm: str | None

    def document(self) -> Document:
        """As successful_transfers shows it."""
        return {
            "DATA_TYPE": "successful_transfer", "source_path": self.source, "destination_path": self.destination,
            "size": self.size, "checksum": self.checksum, "checksum_algorithm": self.algorithm, "dynamic": False,
        }  # fmt: skip


class Skipped(NamedTuple):
    """A path that was given up, as skip_source_errors asks for."""

    item: Item
    code: str
    message: str
    when: float

    def document(self) -> Document:
        """As skipped_errors shows it."""
        item = self.item
        return {
            "DATA_TYPE": "skipped_error", "checksum_algorithm": item.algorithm if item.external_checksum else None,
            "destination_path": item.destination, "error_code": self.code, "error_details": self.message,
            "error_time": clock.text(self.when), "external_checksum": item.external_checksum,
            "is_delete_destination_extra": False, "is_directory": False, "is_symlink": False, "source_path": item.source,
        }  # fmt: skip


class Event(NamedTuple):
    """Something that happened to a task."""

    code: str
    details: str
    is_error: bool
    when: float

    def document(self) -> Document:
        """As event_list shows it."""
        words = self.code.lower().replace("_", " ")
        return {
            "DATA_TYPE": "event", "code": self.code, "description": words, "details": self.details,
            "is_error": self.is_error, "time": clock.text(self.when),
        }  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What was submitted, checked and with its defaults."""

    type: str
    submission_id: str
    source: Collection
    destination: Collection | None
    items: tuple[Item, ...]
    label: str | None
    deadline: float | None
    options: Document
    """The other fields as sent: sync_level, verify_checksum, preserve_timestamp, skip_source_errors, ..."""


@dataclass
class Task:
    """One task. The mover changes it; so may a test, through `Tasks`."""

    order: Order
    owner: Identity
    requested: float
    deadline: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    label: str | None = None
    status: str = "ACTIVE"
    started: bool = False
    paused: bool = False
    completed: float | None = None
    fatal: tuple[str, str] | None = None
    trouble: str | None = None
    """The code of the last error, while something is being tried again."""
    canceled_by_admin: str | None = None
    canceled_by_admin_message: str | None = None
    faults: int = 0
    directories: int = 0
    files_skipped: int = 0
    bytes_moved: int = 0
    bytes_checksummed: int = 0
    moved: list[Moved] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    deleted: int = 0
    events: list[Event] = field(default_factory=list)
    """Oldest first."""
    todo: Iterator[Item] | None = None
    """The mover's place in the work of this round, and what is left for the next."""
    again: list[Item] = field(default_factory=list)

    @property
    def unfinished(self) -> bool:
        """Whether it may yet change by itself or be resumed."""
        return self.status in UNFINISHED

    @property
    def done(self) -> int:
        """Files dealt with."""
        return len(self.moved) + self.files_skipped + len(self.skipped) + self.deleted

    @property
    def files(self) -> int:
        """Files known of so far."""
        return self.done + len(self.again)

    def tell(self, code: str, details: str, when: float, *, is_error: bool = False) -> None:
        """Add an event."""
        self.events.append(Event(code, details, is_error, when))

    def stumble(self, code: str, details: str, when: float) -> None:
        """Add an error that is tried again."""
        self.faults += 1
        self.trouble = code
        self.tell(code, details, when, is_error=True)

    def succeed(self, when: float) -> None:
        """All is done."""
        if self.skipped:
            self.tell("SKIPPED_ERRORS", f"{len(self.skipped)} paths were skipped", when)
        self.tell("SUCCEEDED", json.dumps({"files_succeeded": len(self.moved)}), when)
        self.status, self.completed, self.trouble, self.paused, self.todo, self.again = (
            "SUCCEEDED",
            when,
            None,
            False,
            None,
            [],
        )

    def fail(self, code: str, details: str, when: float) -> None:
        """It is over, and not well. The event's code: CANCELED, EXPIRED, EXTERNAL_CHECKSUM_MISMATCH, ..."""
        self.tell(code, details, when, is_error=True)
        self.fatal = (code, code.lower().replace("_", " "))
        self.faults += code not in ("CANCELED", "EXPIRED")
        self.status, self.completed, self.trouble, self.paused, self.todo, self.again = (
            "FAILED",
            when,
            None,
            False,
            None,
            [],
        )

    def nice_status(self) -> str | None:
        """OK, Queued, PAUSED or what is wrong; null when it is over."""
        if not self.unfinished:
            return None
        if self.status == "INACTIVE":
            return "CREDENTIALS_EXPIRED"
        return "PAUSED" if self.paused else self.trouble or ("OK" if self.started else "Queued")

    def document(self, now: float) -> Document:
        """As GET /task/<id> shows it [globus_sdk.testing.data.transfer.task_list]."""
        order, nice, over = self.order, self.nice_status(), not self.unfinished
        total = max(self.files, len(order.items)) + 1
        open_ones = 0 if over else total - self.done - 1 + (not self.started)
        took = max((self.completed or now) - self.requested, 1.0)
        to = order.destination
        found: Document = {
            "DATA_TYPE": "task", "bytes_checksummed": self.bytes_checksummed, "bytes_transferred": self.bytes_moved,
            "canceled_by_admin": self.canceled_by_admin, "canceled_by_admin_message": self.canceled_by_admin_message,
            "command": "API 0.10", "completion_time": clock.text(self.completed), "deadline": clock.text(self.deadline),
            "delete_destination_extra": False,
            "destination_endpoint": to and to.legacy_name, "destination_endpoint_display_name": to and to.display_name,
            "destination_endpoint_id": to and to.id, "directories": self.directories,
            "effective_bytes_per_second": int(self.bytes_moved / took),
            "encrypt_data": bool(order.options.get("encrypt_data")),
            "fail_on_quota_errors": bool(order.options.get("fail_on_quota_errors")),
            "fatal_error": self.fatal and {"code": self.fatal[0], "description": self.fatal[1]},
            "faults": self.faults, "files": self.files, "files_skipped": self.files_skipped,
            "files_transferred": len(self.moved), "filter_rules": order.options.get("filter_rules"),
            "history_deleted": self.forgotten(now), "is_ok": None if over else nice in ("OK", "Queued"),
            "is_paused": self.paused, "label": self.label, "nice_status": nice, "nice_status_details": None,
            "nice_status_expires_in": None if over else -1, "nice_status_short_description": nice,
            "owner_id": self.owner.id, "preserve_timestamp": bool(order.options.get("preserve_timestamp")),
            "recursive_symlinks": "ignore", "request_time": clock.text(self.requested),
            "skip_source_errors": bool(order.options.get("skip_source_errors")),
            "source_endpoint": order.source.legacy_name, "source_endpoint_display_name": order.source.display_name,
            "source_endpoint_id": order.source.id, "status": self.status,
            "subtasks_canceled": self._left("CANCELED", total), "subtasks_expired": self._left("EXPIRED", total),
            "subtasks_failed": 0 if self.fatal is None or self.fatal[0] in ("CANCELED", "EXPIRED") else 1,
            "subtasks_pending": 0 if self.trouble else open_ones, "subtasks_retrying": open_ones if self.trouble else 0,
            "subtasks_skipped_errors": len(self.skipped), "subtasks_succeeded": self.done - len(self.skipped) + self.started,
            "subtasks_total": total, "symlinks": 0, "sync_level": order.options.get("sync_level"), "task_id": self.id,
            "type": order.type, "username": self.owner.legacy_name,
            "verify_checksum": bool(order.options.get("verify_checksum")),
        }  # fmt: skip
        return found

    def forgotten(self, now: float) -> bool:
        """Whether its files and events are no longer kept: 30 days."""
        return self.completed is not None and now > self.completed + 30 * DAY

    def _left(self, code: str, total: int) -> int:
        return max(total - self.done - 1, 0) if self.fatal is not None and self.fatal[0] == code else 0


class Tasks:
    """All tasks, and what tests may do to them."""

    def __init__(self, time: Clock) -> None:
        self._clock = time
        self.all: dict[str, Task] = {}
        """In the order of their acceptance."""
        self._submissions: dict[tuple[str, str], Task] = {}

    def submitted(self, owner: str, submission: str) -> Task | None:
        """The task that this submission id of this identity made."""
        return self._submissions.get((owner, submission))

    def accept(self, order: Order, owner: Identity) -> Task:
        """A new task, queued."""
        now = self._clock.now()
        task = Task(order, owner, now, order.deadline or now + DAY, label=order.label)
        self.all[task.id] = task
        self._submissions[owner.id, order.submission_id] = task
        return task

    def unfinished(self, owner: str | None = None) -> list[Task]:
        """Those of this identity (default: of all) that are not over; oldest first."""
        return [task for task in self.all.values() if task.unfinished and owner in (None, task.owner.id)]

    def expire(self) -> None:
        """End those whose deadline has passed."""
        now = self._clock.now()
        for task in self.unfinished():
            if now > task.deadline:
                task.fail("EXPIRED", "The task was not done by its deadline", now)

    def fail(self, task: str, code: str = "ENDPOINT_ERROR", details: str = "the endpoint is out of order") -> None:
        """End it as failed."""
        self.all[task].fail(code, details, self._clock.now())

    def cancel_as_admin(self, task: str, message: str = "please use the other collection") -> None:
        """Somebody who manages the source ends it."""
        one = self.all[task]
        one.canceled_by_admin, one.canceled_by_admin_message = "SOURCE", message
        one.fail("CANCELED", f"Canceled by an administrator: {message}", self._clock.now())

    def suspend(self, task: str) -> None:
        """INACTIVE, as expired credentials do."""
        self.all[task].status = "INACTIVE"

    def resume(self, task: str) -> None:
        """ACTIVE again."""
        self.all[task].status = "ACTIVE"
