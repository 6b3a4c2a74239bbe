"""The status page, /metrics and /healthz, on loopback."""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from jinja2 import Environment, PackageLoader, select_autoescape
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from waitress.server import create_server

from agent.errors import Refused, cause
from agent.log import printable
from agent.status import Health
from rules.units import bytes_in_words, in_words

_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class StartResponse(Protocol):
    """WSGI's start_response (PEP 3333)."""

    def __call__(self, status: str, headers: list[tuple[str, str]], /) -> object: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the pages get what they show. Called from the web thread only."""

    status: Callable[[], dict[str, Any]]
    refused: Callable[[], list[dict[str, Any]]]
    recent: Callable[[], list[dict[str, Any]]]
    health: Callable[[], Health]
    registry: CollectorRegistry


class Site:
    """The WSGI application."""

    def __init__(self, sources: Sources, hosts: Iterable[str]) -> None:
        """`hosts`: names by which the page may be asked for (a defence against DNS rebinding), without the port."""
        self._sources = sources
        self._hosts = frozenset(hosts)
        self._templates = Environment(loader=PackageLoader("agent.web"), autoescape=select_autoescape())
        self._templates.filters |= {"printable": printable, "bytes": bytes_in_words, "seconds": in_words}
        self._pages: dict[str, Callable[[dict[str, Any]], tuple[str, str, bytes]]] = {
            "/": self._page,
            "/style.css": self._style,
            "/status.json": self._json,
            "/metrics": self._metrics,
            "/healthz": self._healthz,
        }

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        """Answer one request."""
        host = str(environ.get("HTTP_HOST", "")).rsplit(":", 1)
        name = host[0] if len(host) == 1 or host[1].isdigit() else ":".join(host)
        page = self._pages.get(environ["PATH_INFO"])
        if name not in self._hosts:
            status, kind, body = (
                "421 Misdirected Request",
                "text/plain",
                b"This page does not answer to that host name.\n",
            )
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", "text/plain", b"Only GET.\n"
        elif page is None:
            status, kind, body = (
                "404 Not Found",
                "text/plain",
                b"Not here. There are /, /status.json, /metrics and /healthz.\n",
            )
        else:
            status, kind, body = page(environ)
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _page(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        text = self._templates.get_template("status.html").render(
            status=self._sources.status(),
            refused=self._sources.refused(),
            recent=self._sources.recent(),
            health=self._sources.health(),
        )
        return "200 OK", "text/html; charset=utf-8", text.encode("utf-8", "backslashreplace")

    def _style(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        return "200 OK", "text/css; charset=utf-8", self._templates.get_template("style.css").render().encode()

    def _json(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        return "200 OK", "application/json", json.dumps(self._sources.status()).encode()

    def _metrics(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        encode, kind = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        return "200 OK", kind, encode(self._sources.registry)

    def _healthz(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        health = self._sources.health()
        lines = ["ok"] if health.good else health.problems
        body = "".join(f"{printable(line)}\n" for line in (*lines, *health.away))
        return ("200 OK" if health.good else "503 Service Unavailable"), "text/plain; charset=utf-8", body.encode()


class Server:
    """The site, served by one thread (which owns the ledger connection behind `Sources`)."""

    def __init__(self, sources: Sources, listen: str) -> None:
        """Bind `listen`, which settings have checked to be on loopback. Raises Refused where it is in use."""
        host, _, port = listen.rpartition(":")
        family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", int(port)))
        except OSError as error:
            bound.close()
            hint = "another agent may run; choose another port in [agent] listen, 0 for any free one"
            raise Refused(f"the status page cannot listen on {listen}: {cause(error)}", hint) from error
        self.url = f"http://{host}:{bound.getsockname()[1]}/"
        self._socket = bound
        self._server = create_server(Site(sources, _LOOPBACK), sockets=[bound], threads=1, ident=None)
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)

    def start(self) -> None:
        """Serve, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.close()
        self._thread.join(2.0)
        self._socket.close()
