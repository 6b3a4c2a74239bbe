"""Delivers through Globus: a batch is a transfer task, watched to its end and proved file by file.

The only package that imports globus_sdk; it is imported only where a destination, or a command, needs it. Facts about the
service come from https://docs.globus.org/api/transfer/ and from the SDK's own sources and test data.
"""

import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from globus_sdk import TransferClient

from agent.destinations import (
    Accepted,
    Arrived,
    Busy,
    Item,
    LinkItem,
    NameTaken,
    Outcome,
    Prepared,
    Report,
    Reread,
    Undeliverable,
)
from agent.destinations.globus import tasks
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.copies import Copies
from agent.destinations.globus.identity_marker import MARK, IdentityMarker
from agent.destinations.globus.listing import Entry, Listing
from agent.destinations.globus.proof import Evidence, conclude, evidence
from agent.destinations.globus.request import (
    TASK_BYTES,
    TASK_FILES,
    checksum_in,
    deserialize,
    full_label,
    limit_task_size,
    serialize,
    transfer_item,
)
from agent.destinations.globus.session import Forbidden, NotThere, Rejected, Session, Unanswered, document, text
from agent.destinations.globus.tasks import Watched
from agent.destinations.sources import SourceAway, changed_sources, item_bulkhead, outcome_of, unforeseen
from agent.errors import Refused, Transient
from agent.files import LOCAL
from agent.files.reader import NotTheVersion, Sources, Unreadable
from agent.host.bulkhead import Bulkhead
from agent.host.heartbeat import Heartbeat
from rules.globus.collection import location, uncarriable
from rules.globus.credentials import warning
from rules.globus.task import Stage
from rules.model import STAT, Content, Version
from rules.naming import name_key, stat_content
from rules.versions.copies import Confirmed, LocalFile

T = TypeVar("T")
_DAY = 86400.0
_WORTH_A_NOTE = 3
"""Failed questions about one task in a row, from which on people read of it."""
_RETRY = "then `dropline retry`"

Count = Callable[[str, str], object]
"""(operation, outcome): counts requests."""

log = logging.getLogger(__name__)


class GlobusTransport:
    """Delivers to a collection. See `agent.destinations.Transport` for the promises."""

    task_files = TASK_FILES
    task_bytes = TASK_BYTES
    is_service = True
    check_every = 300.0
    retry_at_most = 900.0

    def __init__(
        self, name: str, collection_path: CollectionPath, session: Session, agent: str, outstanding: int, count: Count,
        chance: Callable[[], float] = random.random, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """
        Args:
            name: of the destination.
            collection_path: between which collections, and how.
            session: speaks to the service; destinations share it.
            agent: id of this agent.
            outstanding: tasks under way at a time; the service works on three of a user at once.
            count: counts requests.
            chance: a number from 0 to 1.
            clock: seconds since the epoch.
        """
        self.name = name
        self.address = collection_path.address
        self.outstanding = outstanding
        self._collection_path = collection_path
        self._session = session
        self._agent = agent[:12]
        self._count = count
        self._chance = chance
        self._clock = clock
        self._listing = Listing(self._ask, collection_path.collection, collection_path.path)
        self._identity_marker = IdentityMarker(self._ask, collection_path)
        self._copies = Copies(name, self._ask, collection_path)
        self._rereading = Copies(name, self._ask, collection_path)
        self._items = item_bulkhead()
        self._tasks = Bulkhead[Watched]("Globus task", lambda watched: watched.task, through=(Transient, Refused))
        self._watched: dict[str, Watched] = {}
        self._news: deque[Report] = deque()
        self._folds_known = False
        self.location: str | None = None
        self._warned_at = -_DAY

    def _ask(self, operation: str, call: Callable[[TransferClient], T]) -> T:
        outcome = "ok"
        try:
            return self._session.ask(call)
        except NotThere:
            raise
        except Refused:
            outcome = "refused"
            raise
        except Transient:
            outcome = "failed"
            raise
        finally:
            self._count(operation, outcome)

    # Is it there?

    def set_up(self) -> str:
        """Find the mark, or make one. Raises Transient, Refused."""
        return self._identity_marker.set_up(self.name)

    def check(self, identity: str) -> None:
        """Raise Transient or Refused unless the collection shows the destination with this identity."""
        self._identity_marker.require(identity)
        if not self._folds_known:
            self._listing.folds = self._listing.stat(f"{MARK}{identity}".upper()) is not None
            self._folds_known = True
        if self.location is None:
            self.location = self._located()
        self._warn()

    def _located(self) -> str | None:
        """Where the destination is, as far as the service tells; None: that cannot be told now."""
        collection, path = self._collection_path.collection, self._collection_path.path

        def host(client: TransferClient) -> tuple[str | None, str | None]:
            found = document(client.get_endpoint(collection))
            above = found.get("mapped_collection_id") or found.get("host_endpoint_id")
            return (None, None) if above is None else (text(above), text(found.get("host_path")))

        try:
            return location(collection, path, *self._ask("collection", host))
        except Transient:
            return None  # asked again with the next look; until then nothing is deleted on two such proofs
        except Refused:
            return location(collection, path, None, None)  # it may be written to, and keeps the rest for itself

    def make_link(self, link: LinkItem, identity: str) -> str | None:
        """The service makes none."""
        return f"at {self.name}, no links can be made: it is a Globus destination"

    def expires_at(self) -> float | None:
        """When the login dies unless it is used; None: never."""
        return self._session.expires_at()

    def _warn(self) -> None:
        now, expires_at = self._clock(), self.expires_at()
        said = None if expires_at is None else warning(expires_at, now, self._session.account.hint)
        if said is not None and now - self._warned_at >= _DAY:
            log.warning("destination %s: %s", self.name, said)
            self._warned_at = now

    # Sending

    def prepare(self, delivery: int, label: str, items: Sequence[Item], identity: str) -> Prepared:
        """Look at both ends, and serialize a request for what may go. Raises Transient, Refused, Busy."""
        self._identity_marker.require(identity)
        changed, away = changed_sources(items)
        if away and len(away) == len(items):
            raise next(iter(away.values()))
        outcomes = list(changed.values())
        free: dict[int, Item] = {}
        for each in self._each(
            [item for item in items if item.file not in changed and item.file not in away], outcomes
        ):
            with each as item:
                refusal = self._undeliverable(item)
                if refusal is None:  # a task that writes one file twice spoils it: the second waits for the first
                    free.setdefault(name_key(item.path), item)
                else:
                    outcomes.append(refusal)
        there = self._listing.look([item.path for item in free.values() if not item.begun])
        chosen: list[Item] = []
        for each in self._each(free.values(), outcomes):
            with each as item:
                outcome = self._taken(item, there.entries.get(item.path), there.barred.get(item.path))
                if outcome is not None:
                    outcomes.append(outcome)
                elif item.path not in there.unreadable:
                    chosen.append(item)
        data = self._data(limit_task_size(chosen), outcomes)
        done = {outcome.file for outcome in outcomes} | data.keys()
        later = [item.file for item in items if item.file not in done]
        if not data and not outcomes and there.unreadable:
            raise Busy(str(next(iter(there.unreadable.values()))))
        if not data:
            return Prepared(b"", outcomes, later)
        paused = tasks.paused_by(self._ask, self._collection_path)
        if paused is not None:
            raise Busy(f"{paused}; it goes when that has ended")
        submission = str(self._ask("submission_id", lambda tc: document(tc.get_submission_id(), "value"))["value"])
        now = datetime.fromtimestamp(self._clock(), UTC)
        name = full_label(self._agent, label, delivery)
        request = serialize(self._collection_path, list(data.values()), submission, name, now)
        return Prepared(request, outcomes, later)

    def _each(self, items: Iterable[Item], outcomes: list[Outcome]) -> Iterator[AbstractContextManager[Item]]:
        """Each file, to be handled alone: whatever the handling raises becomes its outcome."""
        return self._items.each(items, failed=lambda item, failure: outcomes.append(unforeseen(item, failure)))

    def _undeliverable(self, item: Item) -> Undeliverable | None:
        """What Globus cannot carry, or the source collection does not show."""
        local = self._collection_path.local(item)
        if local is None:
            reason = f"{item.root} is not below {self._collection_path.source_root}, which the source collection shows"
            return Undeliverable(item.file, reason, f"mend source_root and source_path, {_RETRY}")
        said = uncarriable(local) or uncarriable(item.path)
        return Undeliverable(item.file, f"to {self.name}, {said}", f"rename it, {_RETRY}") if said else None

    def _taken(self, item: Item, found: Entry | None, barred: str | None) -> Outcome | None:
        """What to do about what stands at the path; None: it may be written."""
        if barred is not None:
            hint = f"mend that there, or change the rule's `path`, {_RETRY}"
            return Undeliverable(item.file, f"cannot be written as {item.path!r}: {barred}", hint)
        if found is None or item.begun:
            return None
        if found.kind != "file":
            return Undeliverable(
                item.file, f"at {self.name}, {item.path!r} is not a file", f"move it away there, {_RETRY}"
            )
        if found.content == item.replaces:
            return None
        content = Content(stat_content(item.version.size, item.version.mtime_ns), item.version.size)
        # A name in another form would be the other file's, however equal they are.
        if found.content == content and found.name == item.path.rpartition("/")[2]:
            return Arrived(item.file, content, STAT, adopted=True)
        return NameTaken(item.file, found.size, found.content.checksum)

    def _data(self, items: Sequence[Item], outcomes: list[Outcome]) -> dict[int, dict[str, Any]]:
        """The files as a request has them, with the agent's own checksums where they are wanted.

        Files that changed are added to the outcomes; those that cannot be read now are left out.
        """
        data: dict[int, dict[str, Any]] = {}
        algorithm = self._collection_path.checksum
        with Sources(LOCAL, algorithm or "sha256", Heartbeat()) as sources:
            for each in self._each(items, outcomes):
                with each as item:
                    checksum = None
                    try:
                        if algorithm is not None:
                            checksum = sources.content(item.root, item.relpath, item.version).checksum
                    except (NotTheVersion, Unreadable) as error:
                        with suppress(SourceAway):
                            outcomes.append(outcome_of(item, error))
                        continue
                    data[item.file] = transfer_item(self._collection_path, item, checksum)
        return data

    def submit(self, request: bytes, items: Sequence[Item], identity: str, task: str | None = None) -> Accepted:
        """Send it, or take up watching the task that came of it. Raises Transient, Refused, Busy."""
        if not request:
            return self._never_sent(str(uuid.uuid4()), None)
        if task is not None:
            return self._watch(Accepted(task, "adopted"), request, items)
        odd: list[Outcome] = []
        for each in self._each(items, odd):
            with each as item:
                taken = None if item.aside is None else self._set_aside(item, item.aside)
                if taken is not None:
                    odd.append(taken)
        if odd:  # the task would write over the former copies
            failure = f"{len(odd)} former copies could not be renamed; the other files go again"
            return self._never_sent(str(deserialize(request)["submission_id"]), failure, odd)
        try:
            accepted = tasks.hand_in(self._ask, request)
        except Rejected as error:
            return self._never_sent(str(deserialize(request)["submission_id"]), str(error))
        except Forbidden as error:
            raise Refused(f"transfers to {self.address} are not permitted: {error.reason}", error.hint) from None
        return self._watch(accepted, request, items)

    def _set_aside(self, item: Item, aside: str) -> Undeliverable | None:
        """Have the service rename the former copy, before another measurement gets its name. Raises Transient, Refused, Busy."""
        there, barred, unreadable = self._listing.look([item.path, aside])
        for path, why in (*barred.items(), *unreadable.items()):
            raise Busy(f"at {self.name}, {path!r} cannot be looked at: {why}")
        former = there.get(item.path)
        if former is None or former.content != item.replaces:
            return None  # an attempt that was interrupted renamed it
        if aside in there:
            reason = f"at {self.name}, {item.path!r} is another measurement, and {aside!r}, where it is to be kept,"
            return Undeliverable(item.file, f"{reason} is there already", f"rename that there, {_RETRY}")
        old, new = self._collection_path.there(item.path), self._collection_path.there(aside)
        self._ask("rename", lambda tc: tc.operation_rename(self._collection_path.collection, old, new))
        return None

    def _stands_aside(self, item: Item) -> bool:
        """Whether the former copy has its name aside. Raises Transient, Refused."""
        found = None if item.aside is None else self._listing.look([item.aside]).entries.get(item.aside)
        return found is not None and found.content == item.replaces

    def _never_sent(self, task: str, failure: str | None, outcomes: Sequence[Outcome] = ()) -> Accepted:
        """The service will never have this one: the next attempt has another."""
        self._news.append(Report(task, outcomes, ended=True, failure=failure, alone=True))
        return Accepted(task, refused=True)

    def _watch(self, taken: Accepted, request: bytes, items: Sequence[Item]) -> Accepted:
        now = self._clock()
        sent = {one["destination_path"]: checksum_in(one) for one in deserialize(request)["DATA"]}
        checksums = {path: checksum for path, checksum in sent.items() if checksum is not None}
        chosen: dict[int, Item] = {}
        odd: list[Outcome] = []
        for each in self._each(items, odd):
            with each as item:
                if self._collection_path.there(item.path) in sent:
                    chosen[item.file] = item
        if odd:
            self._news.append(Report(taken.task, odd, ended=False))
        self._watched[taken.task] = Watched(taken.task, chosen, now, now, checksums=checksums)
        return taken

    # Watching

    def due(self) -> float | None:
        """When the next task is to be looked at."""
        if self._news:
            return 0.0
        return min((one.next_check_at for one in self._watched.values()), default=None)

    def reports(self, now: float) -> list[Report]:
        """Ask after all tasks together, when one of them is due. Raises Transient, Refused."""
        due = self.due()
        if not self._news and due is not None and due <= now:
            chosen = [one for one in self._watched.values() if one.failures == 0 or one.next_check_at <= now]
            for watched in chosen:  # before the question: a question that fails is not repeated at once
                watched.next_check_at = tasks.later(watched, now, self._chance())
            try:
                self._look(chosen, now)
            except (Transient, Refused):
                if not self._news:
                    raise
                # What was learnt before it failed counts; the failure will show again.
        found, self._news = list(self._news), deque()
        return found

    def _look(self, chosen: Sequence[Watched], now: float) -> None:
        documents = tasks.documents(self._ask, [watched.task for watched in chosen])
        for each in self._tasks.each(
            chosen, failed=lambda watched, failure: self._failed(watched, failure.reason, now)
        ):
            with each as watched:
                try:
                    self._follow(watched, documents.get(watched.task), now)
                except Unanswered:
                    raise  # nothing else can be asked either
                except (Transient, Forbidden) as error:
                    self._failed(watched, str(error), now)

    def _follow(self, watched: Watched, found: tasks.Document | Transient | Refused | None, now: float) -> None:
        """What one task is doing, and what follows. Raises Transient, Refused."""
        if isinstance(found, Exception):
            raise found
        if found is None:
            reason = f"Globus does not know task {watched.task} any more"
            self._end(watched, Report(watched.task, (), True, reason, True))
            return
        reading = tasks.reading(found)
        match reading.stage:
            case Stage.SUCCEEDED | Stage.FAILED:
                self._conclude(watched, found, reading.stage is Stage.SUCCEEDED, reading.reason)
                return
            case Stage.SUSPENDED:
                self._cancel(watched, reading.reason)
            case Stage.STUCK:
                self._look_closer(watched, found, now)
        stuck = reading.stage is Stage.STUCK
        watched.stuck_since = (watched.stuck_since or now) if stuck else None
        # What is stuck may be past it in a moment, and what we cancelled ends soon: both need nobody yet.
        waits = now - (watched.stuck_since or now) >= tasks.LOOK_CLOSER if stuck else reading.stage is not Stage.MOVING
        self._note(watched, found.paused, reading.reason if waits and watched.cancelled is None else None)
        watched.failures = 0

    def _failed(self, watched: Watched, reason: str, now: float) -> None:
        """Something about this task alone could not be asked: it is looked at again later, and others go on."""
        watched.failed(now)
        if watched.failures >= _WORTH_A_NOTE:
            self._note(watched, False, f"{reason}; it is asked again")

    def _note(self, watched: Watched, paused: bool, reason: str | None) -> None:
        """Report what holds a task up, when that is new."""
        note = None if reason is None else f"Globus task {watched.task}: {reason}"
        if note == watched.note:
            return
        said = tasks.pause_reason(self._ask, watched.task) if paused and note is not None else ""
        watched.note = note
        self._news.append(Report(watched.task, (), ended=False, note=f"{note} ({said})" if said else note))

    def _look_closer(self, watched: Watched, found: tasks.Document, now: float) -> None:
        """A task that meets errors of single files: which ones? It would retry them for a day."""
        state = found.nice_status, found.faults
        if watched.cancelled or (watched.looked[0] == state and now - watched.looked[1] < tasks.LOOK_CLOSER):
            return
        watched.looked = state, now
        watched.failed_files = tasks.failed_files(
            self._ask, self._collection_path, watched.items.values(), watched.task
        )
        if watched.failed_files:
            self._cancel(watched, tasks.shown(watched.failed_files, watched.items))

    def _cancel(self, watched: Watched, why: str) -> None:
        if watched.cancelled is None:
            log.warning("destination %s: cancelling Globus task %s: %s", self.name, watched.task, why)
            tasks.cancel(self._ask, watched.task)
            watched.cancelled = why

    def _evidence(self, watched: Watched, *, skipped: bool) -> Evidence:
        """What the lists of a task that has ended say, asked for so many times. Raises Transient, Refused."""
        try:
            return evidence(self._ask, self._collection_path, watched.task, watched.items.values(), skipped=skipped)
        except Unanswered:
            raise
        except (Transient, Forbidden) as error:
            watched.lists_failed += 1
            if watched.lists_failed < tasks.MOST_FAILURES:
                raise
            log.warning("destination %s: what task %s moved cannot be read: %s", self.name, watched.task, error)
            return Evidence({}, {})

    def _conclude(self, watched: Watched, found: tasks.Document, succeeded: bool, reason: str) -> None:
        """A task has ended: evidence for what arrived, and why the rest goes again."""
        if watched.evidence is None:
            watched.evidence = self._evidence(watched, skipped=found.skipped)
        outcomes: list[Outcome] = []
        kept: dict[int, bool] = {}
        for each in self._each(watched.items.values(), outcomes):
            with each as item:
                kept[item.file] = self._stands_aside(item)
        ended = conclude(
            self._listing, self._collection_path, watched.evidence, [watched.items[number] for number in kept],
            watched.checksums, succeeded=succeeded,
        )  # fmt: skip
        outcomes += [
            outcome._replace(aside=kept[outcome.file]) if isinstance(outcome, Arrived) else outcome
            for outcome in ended.outcomes
        ]
        done = {outcome.file for outcome in outcomes}
        outcomes += [one for file, one in watched.failed_files.items() if file not in done]
        left = [item for item in ended.left if item.file not in watched.failed_files]
        failure = None
        if ended.barred is not None:
            failure = (
                f"{ended.barred}; share the folder in Globus Connect Personal, or compare source_root and source_path"
            )
        elif left and watched.cancelled is None:
            why = reason or "it succeeded, but told nothing of them"
            if ended.mismatched:
                why = f"its list has another checksum than the local file, of {ended.mismatched}"
            failure = f"Globus task {watched.task}: {why}; {len(left)} files go again"
        elif left and not watched.failed_files:
            failure = f"Globus task {watched.task}: {watched.cancelled}; {len(left)} files go again"
        self._end(watched, Report(watched.task, outcomes, True, failure, alone=ended.barred is None))

    def _end(self, watched: Watched, report: Report) -> None:
        del self._watched[watched.task]
        self._news.append(report)

    # Asked again

    def discard(self, files: Sequence[tuple[int, str]]) -> None:
        """Nothing to do: nothing is written under other names than the final ones, and those may have become others'."""

    def confirm(
        self, path: str, version: Version, checksum: bytes, algorithm: str, identity: str,
        local: LocalFile | None = None, mount: str | None = None,
    ) -> Confirmed:  # fmt: skip
        """Is a file of that size and mtime still there? From the thread that reclaims. Raises Transient."""
        return self._copies.confirm(path, version, identity, self._clock())

    def reread(
        self, path: str, version: Version, checksum: bytes, algorithm: str, identity: str, tell: Callable[[int], object]
    ) -> Reread:
        """Compare size and mtime, which is all that a collection tells of a file. Raises Transient."""
        found = self._rereading.reread(path, version, identity, self._clock())
        tell(0)
        return found

    def pause(self) -> None:
        """Tasks under way go on: only the administrators of a collection can pause them."""

    def resume(self) -> None:
        """Nothing was paused."""

    def close(self) -> None:
        """Tasks go on at the service; the next run takes them up."""
        self._session.close()
