"""The status page, /metrics and /healthz: on loopback, or with a token."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from agent.errors import LedgerError, Transient
from agent.host import own_files
from agent.observe.status import Health
from agent.observe.web.authenticator import Authenticator
from agent.observe.web.views import TEXT_AT_MOST, Views
from agent.observe.web.words import FILTERS
from rules.text import printable
from rules.units import bytes_in_words, in_words

HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
"""Of every answer: a page of another site can neither read it, nor frame it, nor hold on to its window."""
_FIELDS, _DIGITS = 10, 19
_CONNECTIONS = 3
"""Requests that read the ledger at a time; the other threads are for those that do not, such as /healthz."""
_QUEUE = 2
"""Requests that wait for their turn to read the ledger. With those that read, fewer than there are threads."""
_BUSY = 2.0
"""Seconds that they wait."""
_LIVE = 5.0
"""Seconds after which a page that did not ask again is no longer open."""
_NOTED_FOR = 3600.0
"""Seconds for which further failures of a page are not logged."""
_INTERNAL_ERROR = (
    b"This page cannot be shown: an error of Dropline. Its log says more; please report it (`dropline report`).\n"
)

log = logging.getLogger(__name__)


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


@contextmanager
def _held(semaphore: threading.Semaphore, seconds: float) -> Iterator[None]:
    """Raises Transient where it cannot be had in so many seconds."""
    if not (semaphore.acquire(timeout=seconds) if seconds else semaphore.acquire(blocking=False)):
        raise Transient("other requests are being answered; ask again in a moment")
    try:
        yield
    finally:
        semaphore.release()


class Pool:
    """Gives each request that reads the ledger its own sources, made when they are first needed."""

    def __init__(self, make: Callable[[], Sources]) -> None:
        self._make = make
        self._turns = threading.BoundedSemaphore(_CONNECTIONS)
        self._places = threading.BoundedSemaphore(_CONNECTIONS + _QUEUE)
        self._lock = threading.Lock()
        self._idle: list[Sources] = []
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[Sources]:
        """Sources for one request. Raises Transient where others have all of them for too long."""
        with _held(self._places, 0.0), _held(self._turns, _BUSY):
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

    def __init__(self, pool: Pool, health: Callable[[], Health], authenticator: Authenticator) -> None:
        """`authenticator`: decides who may ask."""
        self._pool = pool
        self._health = health
        self._authenticator = authenticator
        self._live_at: float | None = None
        """When a page that is open asked last what is new."""
        self._stop_shown = threading.Event()
        """Such a page shows that the agent was stopped."""
        self._noted: dict[str, float] = {}
        """Page → until when none of its failures is logged."""
        self._templates = Environment(
            loader=PackageLoader("agent.observe.web"),
            autoescape=select_autoescape(),
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,  # a name that nobody gives would count as false
        )
        self._templates.filters |= {"printable": printable, "bytes": bytes_in_words, "duration": in_words, **FILTERS}
        self._pages: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "/": self._with_sources(self._front),
            "/of": self._with_sources(self._summary),
            "/file": self._with_sources(self._file),
            "/style.css": _static("style.css", "text/css; charset=utf-8"),
            "/live.js": _static("live.js", "text/javascript; charset=utf-8"),
            "/icon.svg": _static("icon.svg", "image/svg+xml"),
            "/status.json": self._with_sources(self._json),
            "/metrics": self._with_sources(self._metrics),
            "/healthz": self._healthz,
        }

    def show(self, pool: Pool, health: Callable[[], Health], authenticator: Authenticator) -> None:
        """Show something else from now on."""
        former, self._pool, self._health, self._authenticator = self._pool, pool, health, authenticator
        former.close()

    def farewell(self, seconds: float) -> None:
        """Wait until a page that is open shows that the agent was stopped; it asks every two seconds."""
        if self._live_at is not None and time.monotonic() - self._live_at < _LIVE:
            self._stop_shown.wait(seconds)

    def close(self) -> None:
        """Close what the pages read."""
        self._pool.close()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        """Answer one request."""
        path = environ["PATH_INFO"]
        page = self._pages.get(path)
        unauthenticated = self._authenticator.token(environ)
        denied = self._authenticator.origin(environ) or unauthenticated
        more: tuple[tuple[str, str], ...] = ()
        if (
            denied is unauthenticated is not None
            and path == "/healthz"
            and environ["REQUEST_METHOD"] in ("GET", "HEAD")
        ):
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
            except Exception as error:
                if self._news(path):
                    log.exception("the page %s cannot be shown", path, exc_info=error)
                status, kind, body = "500 Internal Server Error", "text/plain", _INTERNAL_ERROR
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *more, *HEADERS])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _news(self, path: str) -> bool:
        """Whether no failure of a page was logged within the hour: whoever asks again and again must not wash out the log."""
        now = time.monotonic()
        if now < self._noted.get(path, now):
            return False
        self._noted[path] = now + _NOTED_FOR
        return True

    def _with_sources(self, page: Callable[[Sources, dict[str, Any]], Answer]) -> Callable[[dict[str, Any]], Answer]:
        def answer(environ: dict[str, Any]) -> Answer:
            with self._pool.one() as sources:
                return page(sources, environ)

        return answer

    def _front(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        return self._page(environ, "front.html", sources.views.front(_asked(environ, "q").strip()[:TEXT_AT_MOST]))

    def _summary(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        number = _asked(environ, "id")
        whole = number.isascii() and number.isdigit() and len(number) < _DIGITS
        return self._page(environ, "holding.html", sources.views.summary(int(number)) if whole else None)

    def _file(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        return self._page(environ, "file.html", sources.views.file(_asked(environ, "path")))

    def _page(self, environ: dict[str, Any], template: str, values: dict[str, Any] | None) -> Answer:
        if values is None:
            return "404 Not Found", "text/plain; charset=utf-8", b"Nothing of that is known. / shows what is.\n"
        if environ.get("HTTP_SEC_FETCH_DEST") == "empty":  # the script of the page, not a person
            self._live_at = time.monotonic()
            if self._health().stopped_at is not None:
                self._stop_shown.set()
        text = self._templates.get_template(template).render({"text": ""} | values)  # what was searched for
        return "200 OK", "text/html; charset=utf-8", text.encode("utf-8", "backslashreplace")

    def _json(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        return "200 OK", "application/json", json.dumps(sources.status()).encode()

    def _metrics(self, sources: Sources, environ: dict[str, Any]) -> Answer:
        try:
            encode, kind = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        except (TypeError, ValueError):  # it asks for a version that is no version
            encode, kind = choose_encoder("")
        return "200 OK", kind, encode(sources.registry)

    def _healthz(self, environ: dict[str, Any]) -> Answer:
        health = self._health()
        lines = ["ok"] if health.good else health.problems
        body = "".join(f"{printable(line)}\n" for line in (*lines, *health.notes))
        return ("200 OK" if health.good else "503 Service Unavailable"), "text/plain; charset=utf-8", body.encode()

    def _alive(self) -> tuple[str, str, bytes]:
        """Health without a token, as container engines and load balancers ask: whether, not why not."""
        if self._health().good:
            return "200 OK", "text/plain", b"ok\n"
        return "503 Service Unavailable", "text/plain", b"not well; asked with the token, this says why\n"


def _asked(environ: dict[str, Any], key: str) -> str:
    """A value of the query; bytes that are no text come as surrogates, as in paths."""
    try:
        found = parse_qs(environ.get("QUERY_STRING", ""), errors="surrogateescape", max_num_fields=_FIELDS)
    except ValueError:  # too many fields: not one of our forms or links
        return ""
    return str(found.get(key, [""])[0])


def _static(name: str, kind: str) -> Callable[[dict[str, Any]], Answer]:
    body = own_files.resource("agent.observe.web", "static", name)
    return lambda environ: ("200 OK", kind, body)
