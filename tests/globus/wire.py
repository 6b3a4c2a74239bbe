"""HTTP: requests and answers as values, the routes, and a server that can go away and come back on the same port."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

Document = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a client asked for. `query` has the last value of each parameter, `queries` all of them."""

    method: str
    path: str
    queries: Mapping[str, Sequence[str]]
    headers: Message
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The parameters, each once."""
        return {name: values[-1] for name, values in self.queries.items()}

    @property
    def form(self) -> dict[str, str]:
        """The body of a form, each field once."""
        return {name: values[-1] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    def json(self) -> Any:
        """The body as JSON. Raises Problem (400)."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise transfer_problem(self, 400, "ClientError.BadRequest", f"the body is no JSON: {error}") from error

    def number(self, name: str, default: int) -> int:
        """A parameter that is a whole number. Raises Problem (400)."""
        text = self.query.get(name, "")
        if text and not text.isdecimal():
            raise transfer_problem(self, 400, "ClientError.BadRequest", f"{name} is no number: {text!r}")
        return int(text or default)


class Answer(NamedTuple):
    """What goes back."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    """Beside Content-Length."""


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body.decode(errors='replace')}")
        self.answer = answer


class Dropped(Exception):
    """The connection is to be closed without an answer."""


def document(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """JSON."""
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})


def error_document(code: str, message: str, path: str, **more: Any) -> Document:
    """An error as Transfer writes it [globus_sdk.testing.data.transfer.submit_transfer, failure]."""
    return {"code": code, "message": message, "request_id": "oUAA6Sq2P", "resource": path, **more}


def transfer_problem(request: Request, status: int, code: str, message: str, **more: Any) -> Problem:
    """An error of Transfer about this request."""
    return Problem(document(error_document(code, message, request.path, **more), status))


Handler = Callable[..., Answer]
"""(request, one str for each {} of the path) → answer, or Problem is raised."""
Route = tuple[str, str, Handler]
"""(method, path with {} for what varies, handler)."""


class Routes:
    """Which handler answers which path."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [
            (method, re.compile(path.replace(".", r"\.").replace("{}", "([^/]+)")), handler)
            for method, path, handler in routes
        ]

    def answer(self, request: Request) -> Answer:
        """Find the handler, and ask it."""
        for method, pattern, handler in self._routes:
            if method == request.method and (found := pattern.fullmatch(request.path)):
                try:
                    return handler(request, *found.groups())
                except Problem as problem:
                    return problem.answer
        return document(error_document("ClientError.NotFound", "no such resource", request.path), 404)


@dataclass
class Server:
    """Serves on a port of 127.0.0.1 that stays the same while it is down."""

    answer: Callable[[Request], Answer]
    port: int = 0
    broken: list[str] = field(default_factory=list)
    """Tracebacks of requests that met an error of the stand-in itself."""
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None
    _connections: set[socket.socket] = field(default_factory=set)

    def up(self) -> None:
        """Take connections."""
        if self._server is None:
            self._server = _Listener(("127.0.0.1", self.port), self._handler())
            self.port = self._server.server_address[1]
            self._thread = threading.Thread(
                target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="globus", daemon=True
            )
            self._thread.start()

    def down(self) -> None:
        """Refuse connections, and break those that are open."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None
            for connection in list(self._connections):
                with contextlib.suppress(OSError):  # it is closed already, which is all that we want
                    connection.shutdown(socket.SHUT_RDWR)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class OneConnection(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                server._connections.add(self.connection)

            def finish(self) -> None:
                server._connections.discard(self.connection)
                super().finish()

            def _respond(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(
                    self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), self.headers, body
                )
                try:
                    answer = server.answer(request)
                except Dropped:
                    self.close_connection = True
                    return
                except Exception:  # noqa: BLE001  (told to the client, and again when the service stops)
                    server.broken.append(f"{self.command} {self.path}\n{traceback.format_exc()}")
                    answer = Answer(500, server.broken[-1].encode(), {"Content-Type": "text/plain"})
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_DELETE = _respond

            def log_message(self, *_: object) -> None:
                """Say nothing: the service keeps a record of its own."""

        return OneConnection


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error here; all else is."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)
