"""The status page, /metrics and /healthz: on loopback, or with a token."""

import ipaddress
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, select_autoescape
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from waitress.server import create_server

from agent.errors import LedgerError, Refused, Transient, cause
from agent.host import own_files
from agent.observe.status import Health
from agent.observe.web.gate import Gate, token
from agent.observe.web.views import TEXT_AT_MOST, Views
from agent.observe.web.words import FILTERS
from rules.text import printable
from rules.units import bytes_in_words

_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]
_HEAD_AT_MOST, _BODY_AT_MOST = 16 * 1024, 1024
"""Bytes of a request. Only GET is answered, so a body is an error, and must not fill the disk before it is one."""
_FIELDS, _DIGITS = 10, 19
_THREADS = 6
_CONNECTIONS = 3
"""Requests that read the ledger at a time; the other threads are for those that do not, such as /healthz."""
_BUSY = 2.0
"""Seconds that a request waits for its turn to read the ledger."""


Answer = tuple[str, str, bytes]
"""Status, type, body."""


class StartResponse(Protocol):
    """WSGI's start_response (PEP 3333)."""

    def __call__(self, status: str, headers: list[tuple[str, str]], /) -> object: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the pages get what they show: a connection to the ledger, and what reads it. For one request at a time."""

    views: Views
    status: Callable[[], dict[str, Any]]
    registry: CollectorRegistry
    close: Callable[[], None]


class Pool:
    """Gives each request that reads the ledger sources of its own, made when they are first needed."""

    def __init__(self, make: Callable[[], Sources]) -> None:
        self._make = make
        self._turns = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock = threading.Lock()
        self._idle: list[Sources] = []
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[Sources]:
        """Sources for one request. Raises Transient where others have all of them for too long."""
        if not self._turns.acquire(timeout=_BUSY):
            raise Transient("other requests are being answered; ask again in a moment")
        try:
            with self._lock:
                sources = self._idle.pop() if self._idle else None
            sources = sources or self._make()
            try:
                yield sources
            finally:
                with self._lock:
                    self._idle.append(sources)
                    if self._closed:
                        self._close_idle()
        finally:
            self._turns.release()

    def close(self) -> None:
        """Close what is not in use, and the rest as it is given back."""
        with self._lock:
            self._closed = True
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()


class Site:
    """The WSGI application. Several threads call it at once."""

    def __init__(self, pool: Pool, health: Callable[[], Health], gate: Gate) -> None:
        """`gate`: decides who may ask."""
        self._pool = pool
        self._health = health
        self._gate = gate
        self._templates = Environment(
            loader=PackageLoader("agent.observe.web"),
            autoescape=select_autoescape(),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"printable": printable, "bytes": bytes_in_words, **FILTERS}
        self._pages: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "/": self._with_sources(self._front),
            "/of": self._with_sources(self._holding),
            "/file": self._with_sources(self._file),
            "/style.css": _static("style.css", "text/css; charset=utf-8"),
            "/live.js": _static("live.js", "text/javascript; charset=utf-8"),
            "/icon.svg": _static("icon.svg", "image/svg+xml"),
            "/status.json": self._with_sources(self._json),
            "/metrics": self._with_sources(self._metrics),
            "/healthz": self._healthz,
        }

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        page = self._pages.get(path)
        stranger = self._gate.token(environ)
        denied = self._gate.host(environ) or stranger
        more: tuple[tuple[str, str], ...] = ()
        if denied is stranger is not None and path == "/healthz" and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            status, kind, body = self._alive()
        elif denied is not None:
            status, kind, body, more = denied.status, "text/plain", denied.text.encode(), denied.headers
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", "text/plain", b"Only GET.\n"
        elif page is None:
            status, kind, body = (
                "404 Not Found",
                "text/plain",
                b"Not here. There are /, /status.json, /metrics and /healthz.\n",
            )
        else:
            try:
                status, kind, body = page(environ)
            except (LedgerError, Transient) as error:
                status, kind, body = (
                    "503 Service Unavailable",
                    "text/plain; charset=utf-8",
                    f"{printable(str(error))}\n".encode(),
                )
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *more, *_HEADERS])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _with_sources(self, page: Callable[[Sources, dict[str, Any]], Answer]) -> Callable[[dict[str, Any]], Answer]:
        def answer(environ: dict[str, Any]) -> Answer:
            with self._pool.one() as sources:
                return page(sources, environ)

        return answer

    def _front(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        return self._page("front.html", sources.views.front(_asked(environ, "q").strip()[:TEXT_AT_MOST]))

    def _holding(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        number = _asked(environ, "id")
        whole = number.isascii() and number.isdigit() and len(number) < _DIGITS
        return self._page("holding.html", sources.views.holding(int(number)) if whole else None)

    def _file(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        return self._page("file.html", sources.views.file(_asked(environ, "path")))

    def _page(self, template: str, values: dict[str, Any] | None) -> Answer:
        if values is None:
            return "404 Not Found", "text/plain; charset=utf-8", b"Nothing of that is known. / shows what is.\n"
        text = self._templates.get_template(template).render(values)
        return "200 OK", "text/html; charset=utf-8", text.encode("utf-8", "backslashreplace")

    def _json(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        return "200 OK", "application/json", json.dumps(sources.status()).encode()

    def _metrics(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        encode, kind = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        return "200 OK", kind, encode(sources.registry)

    def _healthz(self, environ: dict[str, Any]) -> Answer:
        health = self._health()
        lines = ["ok"] if health.good else health.problems
        body = "".join(f"{printable(line)}\n" for line in (*lines, *health.away))
        return ("200 OK" if health.good else "503 Service Unavailable"), "text/plain; charset=utf-8", body.encode()

    def _alive(self) -> tuple[str, str, bytes]:
        """Health for whoever has no token (container engines and load balancers ask so): whether, not why not."""
        if self._health().good:
            return "200 OK", "text/plain", b"ok\n"
        return "503 Service Unavailable", "text/plain", b"not well; asked with the token, this says why\n"


def _asked(environ: dict[str, Any], key: str) -> str:
    """A value of the query; bytes that are no text come as surrogates, as in paths."""
    try:
        found = parse_qs(environ.get("QUERY_STRING", ""), errors="surrogateescape", max_num_fields=_FIELDS)
    except ValueError:  # too many fields: no form or link of ours
        return ""
    return str(found.get(key, [""])[0])


def _static(name: str, kind: str) -> Callable[[dict[str, Any]], Answer]:
    body = own_files.resource("agent.observe.web", "static", name)
    return lambda environ: ("200 OK", kind, body)


class Server:
    """The site, served by a few threads: a slow answer does not hold up the others."""

    def __init__(
        self, make: Callable[[], Sources], health: Callable[[], Health], listen: str, token_file: str | None,
        hosts: Sequence[str],
    ) -> None:  # fmt: skip
        """Bind `listen`, where settings have checked that beyond loopback there is a token.

        `make`: connects to the ledger, from any thread. `health` needs no ledger.

        Raises Refused where the address is in use, and where the token cannot be had.
        """
        host, _, port = listen.rpartition(":")
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
        gate = Gate(
            hosts, None if token_file is None else token(token_file), time.monotonic, beyond=not address.is_loopback
        )
        bound = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if address.version == 6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not address.is_unspecified))
            bound.bind((str(address), int(port)))
        except OSError as error:
            bound.close()
            hint = "another agent may run; choose another port in [agent] listen, 0 for any free one"
            raise Refused(f"the status page cannot listen on {listen}: {cause(error)}", hint) from error
        self.url = f"http://{host}:{bound.getsockname()[1]}/"
        self._socket = bound
        self._pool = Pool(make)
        self._server = create_server(
            Site(self._pool, health, gate), sockets=[bound], threads=_THREADS, ident=None,
            max_request_header_size=_HEAD_AT_MOST, max_request_body_size=_BODY_AT_MOST, channel_timeout=30,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)

    def start(self) -> None:
        """Serve, in a thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
        self._thread.join(2.0)
        self._server.task_dispatcher.shutdown(timeout=1)
        self._pool.close()
        self._socket.close()
