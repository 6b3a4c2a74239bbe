"""The whole service: Globus Auth, Transfer, Flows and Groups on one port of 127.0.0.1."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.request import urlopen

from tests.globus.auth import Auth
from tests.globus.clock import Clock
from tests.globus.collections import Collection, Kind, Rule
from tests.globus.endpoints import Endpoints
from tests.globus.faults import Faults
from tests.globus.files import Files
from tests.globus.flows import Flows
from tests.globus.identities import Identity
from tests.globus.mover import Mover
from tests.globus.oauth import OAuth
from tests.globus.reports import Reports
from tests.globus.scopes import data_access, resource_server
from tests.globus.submissions import Limits, Submissions
from tests.globus.tasks import Tasks
from tests.globus.wire import Answer, Request, Routes, Server, document, error_document

_SERVICES = ("AUTH", "TRANSFER", "FLOWS", "GROUPS", "SEARCH", "TIMER")
_BREATH = 0.1  # seconds between two attempts at what cannot be done, when tasks run by themselves


class Seen(NamedTuple):
    """A request that came in."""

    method: str
    path: str
    query: dict[str, str]
    size: int
    """Bytes of the body."""
    at: float
    """Monotonic seconds."""
    status: int | None
    """What was answered; None: the connection was closed instead."""


class Globus:
    """The service. A context manager that is up inside; leaving it tells of errors that the stand-in made.

    `by_itself`: tasks run as they come, in a thread. Otherwise nothing moves until `work`.
    """

    def __init__(self, *, by_itself: bool = False, port: int = 0) -> None:
        self.clock = Clock()
        self.limits = Limits()
        self.faults = Faults()
        self.auth = Auth(self.clock)
        self.auth.knows = self._knows
        self.person: Identity = self.auth.browser
        self.app = self.auth.directory.application()
        """A native app that is registered."""
        self.account = self.auth.directory.account()
        """A service account."""
        self.collections: dict[str, Collection] = {}
        self.tasks = Tasks(self.clock)
        self.flows = Flows(self.auth, self.clock)
        self.requests: list[Seen] = []
        self._lock = threading.RLock()
        self._metered: dict[str, deque[float]] = {}
        self._mover = Mover(self.auth, self.tasks, self.faults, self.limits, self.clock, self._lock)
        self._routes = Routes(
            [
                *self.auth.routes(),
                *OAuth(self.auth).routes(),
                *Submissions(self.auth, self.collections, self.tasks, self.limits, self.clock).routes(),
                *Reports(self.auth, self.tasks, self.limits, self.clock).routes(),
                *Files(self.auth, self.collections).routes(),
                *Endpoints(self.auth, self.collections, self.clock).routes(),
                *self.flows.routes(),
            ]
        )
        self._server = Server(self._answer, port)
        self._runner = threading.Thread(target=self._run, name="globus-mover", daemon=True) if by_itself else None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._server.up()
        if self._runner is not None:
            self._runner.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._runner is not None:
            self._runner.join()
        self._server.down()
        if self._server.broken and error is None:
            raise AssertionError("the stand-in itself is broken:\n" + "\n".join(self._server.broken))

    # Where it is

    @property
    def url(self) -> str:
        """The base of every service's URL."""
        return f"http://127.0.0.1:{self._server.port}/"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that send globus-sdk, and the globus command, here."""
        return {f"GLOBUS_SDK_SERVICE_URL_{name}": self.url for name in _SERVICES}

    def down(self) -> None:
        """Refuse connections."""
        self._server.down()

    def up(self) -> None:
        """Take connections again, on the same port."""
        self._server.up()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Down, for this long."""
        self.down()
        try:
            yield
        finally:
            self.up()

    # What is there

    def collection(
        self,
        name: str,
        base: Path,
        *,
        kind: Kind = "GCP_mapped_collection",
        owner: Identity | None = None,
        high_assurance: bool = False,
    ) -> Collection:
        """A new collection that shows this directory."""
        base.mkdir(parents=True, exist_ok=True)
        made = Collection(name, base, owner or self.person, kind, high_assurance)
        self.collections[made.id] = made
        return made

    def guest(self, name: str, host: Collection, path: str, kind: Kind = "GCSv5_guest_collection") -> Collection:
        """A new guest collection that shows everybody a directory of another collection, as the service tells."""
        made = self.collection(name, host.base / path.strip("/"), kind=kind)
        made.host = host.id, path
        made.rules["everybody"] = Rule("everybody", "/", "rw", "all_authenticated_users", "", None, None)
        return made

    def work(self, files: int | None = None) -> int:
        """Run tasks until all are over or wait for something; or until this many files are dealt with. How many were."""
        return self._mover.work(files)

    def code(self, authorize_url: str) -> str:
        """Log in at the browser as `auth.browser`, at an authorize URL that shows the code: the code."""
        with urlopen(authorize_url) as page:  # noqa: S310  (our own URL)
            text: str = page.read().decode()
        return text.partition("readonly>")[2].partition("<")[0]

    # What was asked

    def count(self, method: str = "*", path: str = "*") -> int:
        """How many requests of this method and path came; * for anything."""
        return len(self.asked(method, path))

    def asked(self, method: str = "*", path: str = "*") -> list[Seen]:
        """The requests of this method and path; * for anything."""
        return [
            one for one in self.requests
            if fnmatch.fnmatchcase(one.method, method) and fnmatch.fnmatchcase(one.path, path)
        ]  # fmt: skip

    def rate(self, seconds: float = 1.0) -> int:
        """The most requests that came within so many seconds."""
        times = [one.at for one in self.requests]
        most = first = 0
        for last, at in enumerate(times):
            while times[first] <= at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def _answer(self, request: Request) -> Answer:
        at = time.monotonic()
        answer: Answer | None = None
        try:
            answer = self._metered_out(request, at) or self.faults.handle(request, self._handle)
            return answer
        finally:
            with self._lock:
                self.requests.append(
                    Seen(request.method, request.path, request.query, len(request.body), at, answer and answer.status)
                )

    def _handle(self, request: Request) -> Answer:
        with self._lock:
            return self._routes.answer(request)

    def _metered_out(self, request: Request, at: float) -> Answer | None:
        """429 for who asks Transfer too often: the rate, metered over ten seconds."""
        if self.limits.requests_per_second is None or not request.path.startswith("/v0.10/"):
            return None
        with self._lock:
            times = self._metered.setdefault(request.headers.get("Authorization") or "", deque())
            while times and times[0] <= at - 10.0:
                times.popleft()
            if len(times) >= 10 * self.limits.requests_per_second:
                wait = {"Retry-After": str(int(times[0] + 10.0 - at) + 1)}
                return document(error_document("RateLimitExceeded", "Too many requests", request.path), 429, wait)
            times.append(at)
        return None

    def _knows(self, scope: str) -> bool:
        """Whether Auth has this scope: data_access exists for mapped collections without high assurance alone."""
        mine = {data_access(one.id) for one in self.collections.values() if one.needs_data_access}
        return scope in mine if scope.endswith("/data_access") else resource_server(scope) is not None

    def _run(self) -> None:
        while not self._over.wait(_BREATH):
            if self.tasks.unfinished():
                try:
                    self.work()
                except Exception as error:
                    self._server.broken.append(repr(error))  # told when the service stops
                    raise
