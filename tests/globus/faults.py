"""What goes wrong on demand: with requests, and with files.

Requests are named `METHOD path`, with * for anything: "POST /v0.10/transfer", "GET */task_list". Files are named by
their path at the source or the destination, with * for anything: "/data/*.h5", "*/frame_0001.h5".
"""

from __future__ import annotations

import fnmatch
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.globus.collections import FileFault
from tests.globus.wire import Answer, Dropped, Request, document, error_document

Reply = Callable[[Request], Answer]

_MESSAGES = {
    "FILE_NOT_FOUND": "No such file or directory", "PERMISSION_DENIED": "Permission denied",
    "QUOTA_EXCEEDED": "Disk quota exceeded", "NO_SPACE_LEFT": "No space left on device",
}  # fmt: skip


def error(status: int, code: str, message: str = "", headers: dict[str, str] | None = None, **more: Any) -> Reply:
    """Any error of Transfer."""
    return lambda request: document(error_document(code, message or code, request.path, **more), status, headers)


def unauthorized() -> Reply:
    """401."""
    return error(401, "AuthenticationFailed", "Token is not active")


def consent_required(*scopes: str) -> Reply:
    """403 with the scopes that are missing."""
    return error(403, "ConsentRequired", "Missing required data_access consent", required_scopes=list(scopes))


def conflict() -> Reply:
    """409 as for a transfer whose paths another one has."""
    return error(409, "Conflict", "A transfer with identical paths has not yet completed")


def rate_limited(retry_after: int | None = None) -> Reply:
    """429; `retry_after` in seconds."""
    return error(429, "RateLimitExceeded", "Too many requests", _retry_after(retry_after))


def internal_error() -> Reply:
    """500."""
    return error(500, "InternalError", "Error communicating with globus nexus service")


def endpoint_error(code: str = "EndpointError") -> Reply:
    """502."""
    return error(502, code, "the endpoint does not answer as it should")


def unavailable(retry_after: int | None = None) -> Reply:
    """503; `retry_after` in seconds."""
    return error(503, "ServiceUnavailable", "The service is down for maintenance", _retry_after(retry_after))


def malformed() -> Reply:
    """200 with half a document."""
    return lambda _: Answer(200, b'{"DATA_TYPE": "task_list", "DATA": [{"task', {"Content-Type": "application/json"})


def page(status: int = 200) -> Reply:
    """HTML, as a proxy or a captive portal says it."""
    return lambda _: Answer(status, b"<html><body>Please log in</body></html>", {"Content-Type": "text/html"})


def huge(size: int = 50_000_000) -> Reply:
    """200 with a document of this many bytes."""
    return lambda _: document({"DATA_TYPE": "result", "code": "x" * size})


def content(anything: Any, status: int = 200) -> Reply:
    """This JSON, whatever it is."""
    return lambda _: document(anything, status)


@dataclass
class _Fault:
    pattern: str
    times: int | None
    act: Any

    def meets(self, *names: str) -> bool:
        return self.times != 0 and any(fnmatch.fnmatchcase(name, self.pattern) for name in names)

    def spend(self) -> None:
        if self.times is not None:
            self.times -= 1


class Faults:
    """What shall go wrong. `times` is how often; None is until `clear`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[_Fault] = []
        self._files: list[_Fault] = []

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._requests, self._files = [], []

    # Requests

    def answer(self, route: str, reply: Reply, times: int | None = 1) -> None:
        """Answer this without doing it."""
        self._request(route, times, lambda request, handle: reply(request))

    def lose_request(self, route: str, times: int | None = 1) -> None:
        """Close the connection without doing anything."""

        def lose(request: Request, handle: Reply) -> Answer:
            raise Dropped

        self._request(route, times, lose)

    def lose_reply(self, route: str, times: int | None = 1) -> None:
        """Do it, then close the connection without an answer."""

        def lose(request: Request, handle: Reply) -> Answer:
            handle(request)
            raise Dropped

        self._request(route, times, lose)

    def twist(self, route: str, change: Callable[[Any], Any], times: int | None = 1) -> None:
        """Do it, and send what `change` makes of the document."""
        self._request(route, times, lambda request, handle: _changed(handle(request), change))

    def before(self, route: str, act: Callable[[], object], times: int | None = 1) -> None:
        """Call `act` in the moment before this is done: waiting in it lets the client wait."""

        def first(request: Request, handle: Reply) -> Answer:
            act()
            return handle(request)

        self._request(route, times, first)

    def after(self, route: str, act: Callable[[], object], times: int | None = 1) -> None:
        """Call `act` in the moment between doing this and answering."""

        def then(request: Request, handle: Reply) -> Answer:
            answer = handle(request)
            act()
            return answer

        self._request(route, times, then)

    def handle(self, request: Request, handle: Reply) -> Answer:
        """Do it, or what shall go wrong instead. The fault that was asked for first comes first."""
        route = f"{request.method} {request.path}"
        names = (route, *(f"{route}?path={path}" for path in request.queries.get("path", ())))
        with self._lock:
            found = next((one for one in self._requests if one.meets(*names)), None)
            if found is not None:
                found.spend()
        return handle(request) if found is None else found.act(request, handle)

    # Files

    def file(self, path: str, code: str, times: int | None = None, message: str = "") -> None:
        """Each attempt at such a file ends with this event: FILE_NOT_FOUND, PERMISSION_DENIED, QUOTA_EXCEEDED, ..."""
        self._file(path, times, FileFault(code, message or _MESSAGES.get(code, code.lower().replace("_", " "))))

    def omit(self, path: str, times: int | None = None) -> None:
        """Such a file is not moved, and nothing tells of it: the task succeeds without it."""
        self._file(path, times, "omit")

    def corrupt(self, path: str, times: int | None = 1) -> None:
        """Such a file arrives with a byte changed: verify_checksum finds it and tries again, else it stays."""
        self._file(path, times, "corrupt")

    def misreport(self, path: str, times: int | None = None) -> None:
        """Such a file arrives whole, and the evidence has another checksum."""
        self._file(path, times, "misreport")

    def hold(self, path: str) -> None:
        """Half of such a file arrives, under its final name, and no more until `clear`."""
        self._file(path, None, "hold")

    def take(self, *paths: str) -> FileFault | str | None:
        """What shall go wrong with this file now."""
        if not self._files:
            return None
        with self._lock:
            found = next((one for one in self._files if one.meets(*paths)), None)
            if found is None:
                return None
            found.spend()
            act: FileFault | str = found.act
            return act

    def _request(self, route: str, times: int | None, act: Callable[[Request, Reply], Answer]) -> None:
        with self._lock:
            self._requests.append(_Fault(route, times, act))

    def _file(self, path: str, times: int | None, act: FileFault | str) -> None:
        with self._lock:
            self._files.append(_Fault(path, times, act))


def _retry_after(seconds: int | None) -> dict[str, str] | None:
    return None if seconds is None else {"Retry-After": str(seconds)}


def _changed(answer: Answer, change: Callable[[Any], Any]) -> Answer:
    return document(change(json.loads(answer.body)), answer.status)
