"""The page's server, asked all sorts of things over a real connection: it answers, and goes on answering."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from agent.errors import Transient
from agent.ledger import Found, Ledger
from agent.observe import web
from agent.observe.file_inspector import FileInspector
from agent.observe.status import Health, status
from agent.observe.web import Sources
from agent.observe.web import server as web_server
from agent.observe.web.authenticator import token
from agent.observe.web.server import Server
from agent.observe.web.views import Views
from rules.model import Observation, Version

TOKEN = "correct-horse-battery"
PATHS = (
    "/",
    "/style.css",
    "/live.js",
    "/?q=%ff%3Cscript",
    "/of?id=1",
    "/of?id=-1",
    "/file?path=/data/x%00",
    "/status.json",
    "/metrics",
    "/healthz",
    "/..%2f..%2fetc/passwd",
    "//",
    "/%00",
    "*",
    "http://x/",
)
HOSTILE = "<script>alert(1)</script>\n\udcff"


def health() -> Health:
    """All is well."""
    return Health([])


def sources(ledger: Ledger) -> Sources:
    """What the pages show: names as nobody should choose them."""
    registry = CollectorRegistry()
    Gauge("dropline_up", "x", ["rule"], registry=registry).labels(HOSTILE.encode("utf-8", "replace").decode()).set(1)

    path = f"/data/{HOSTILE}"
    seen = Observation(Version(1, 1, 1, 1), 1, "file")
    with ledger.transaction():
        ledger.files.found([Found(ledger.files.directory("/data"), path, "r", seen, 1, 0.0, 0.0, None)])
        ledger.files.refused([(1, "r", path, repr(HOSTILE))])

    def state() -> dict[str, Any]:
        return status(ledger, (), [], {}, {})

    views = Views(ledger, (), [], [], state, health, lambda: 0.0, "", FileInspector(lambda: 0.0, []))
    return Sources(views, state, registry, lambda: None)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Where a server listens that wants a token."""
    folder = tmp_path_factory.mktemp("web")
    file, ledger = folder / "token", Ledger(str(folder / "ledger.sqlite"))
    file.write_text(TOKEN)
    file.chmod(0o600)
    server = Server(lambda: sources(ledger), health, "127.0.0.1:0", token(str(file)), ("page.lab",))
    server.start()
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    assert parts.port is not None
    yield parts.hostname, parts.port
    server.close()
    ledger.close()


def ask(where: tuple[str, int], request: bytes, seconds: float = 10.0) -> bytes:
    """Send these bytes, say that no more come, and read what comes back."""
    began = time.monotonic()
    with socket.create_connection(where, timeout=seconds) as connection:
        found = b""
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                found += part
        except OSError:
            pass  # it had read enough to refuse it
    assert time.monotonic() - began < seconds, request[:200]
    return found


def good(where: tuple[str, int]) -> None:
    """Whoever has the token gets the page."""
    answer = ask(where, f"GET / HTTP/1.0\r\nHost: page.lab\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n"), answer[:200]
    assert b"<script>" not in answer
    assert b"&lt;script&gt;" in answer


NAMES = st.sampled_from(
    ["Host", "Authorization", "Accept", "Content-Length", "Transfer-Encoding", "Connection", "Range", "X"]
)
VALUES = st.one_of(
    st.sampled_from([
        "page.lab", f"Bearer {TOKEN}", "Basic Og==", "Basic !!", "Bearer", "chunked", "-1", "99999999999", "1", "close",
        "application/openmetrics-text; version=1.0.0; escaping=underscores", "text/plain;escaping=allow-utf-8", "bytes=0-",
    ]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
)  # fmt: skip
REQUESTS = st.builds(
    lambda method, path, version, headers, body: (
        f"{method} {path} {version}\r\n".encode("latin-1", "replace")
        + b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in headers)
        + b"\r\n" + body
    ),
    st.one_of(st.sampled_from(["GET", "HEAD", "POST", "PUT", "TRACE", "OPTIONS", "CONNECT"]), st.text(max_size=8)),
    st.one_of(st.sampled_from(PATHS), st.text(max_size=30)),
    st.sampled_from(["HTTP/1.0", "HTTP/1.1", "HTTP/9.9", ""]),
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    st.binary(max_size=200),
)  # fmt: skip


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request_=st.one_of(REQUESTS, st.binary(max_size=300)))
def test_whatever_is_asked_is_answered(
    served: tuple[str, int], caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    """In time, with a status below 500, with the policy, and without a traceback."""
    caplog.set_level(logging.INFO)
    answer = ask(served, request_)
    if answer:
        status = int(answer.split(b" ", 2)[1])
        # 5xx only as waitress says that it does not know a Transfer-Encoding, or a version of HTTP.
        assert status < 500 or status in (501, 505), answer[:300]
        assert b"content-security-policy: default-src 'none'" in answer.lower()
    assert [record for record in caplog.records if record.exc_info] == []
    good(served)


@pytest.mark.parametrize("version", ["bogus", "1.x", "-", "9" * 5000, "1.0.0"])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_metrics_are_given_whatever_format_is_asked_for(served: tuple[str, int], kind: str, version: str) -> None:
    """In the plain one where there is none such."""
    head = f"GET /metrics HTTP/1.0\r\nHost: page.lab\r\nAuthorization: Bearer {TOKEN}"
    answer = ask(served, f"{head}\r\nAccept: {kind};version={version}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"dropline_up" in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 100000000000\r\n\r\n" + b"x" * 1_000_000,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b"x" * 65535 + b"\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Bearer " + b"a" * 15_000 + b"\r\n\r\n",
    ],
)
def test_what_is_too_large_is_refused_early(served: tuple[str, int], request_: bytes) -> None:
    """Nothing of that size is read, kept or answered with success."""
    answer = ask(served, request_)
    assert not answer or answer.split(b" ", 2)[1] in (b"400", b"401", b"413", b"421", b"431"), answer[:100]
    good(served)


def test_who_says_nothing_does_not_keep_others_waiting(served: tuple[str, int]) -> None:
    """Open connections, and half a request on each."""
    idle = [socket.create_connection(served) for _ in range(30)]
    try:
        for connection in idle:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: page")
        began = time.monotonic()
        good(served)
        assert time.monotonic() - began < 10
    finally:
        for connection in idle:
            connection.close()


def test_a_ledger_that_cannot_be_read_now_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """503 with the reason, and no traceback: the next one who asks may be luckier."""

    def failing() -> Health:
        raise Transient("ledger /state/ledger.sqlite: disk I/O error")

    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    broken = sources(ledger)
    server = Server(lambda: broken, failing, "127.0.0.1:0", None, ())
    server.start()
    try:
        parts = urlsplit(server.url)
        answer = ask((str(parts.hostname), int(parts.port or 0)), b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
    finally:
        server.close()
        ledger.close()
    assert answer.startswith(b"HTTP/1.0 503 ")
    assert answer.endswith(b"ledger /state/ledger.sqlite: disk I/O error\n")
    assert [record for record in caplog.records if record.exc_info] == []


def test_slow_requests_hold_up_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While as many pages as there may be wait for the ledger, /healthz answers, and another page says to ask again."""
    monkeypatch.setattr(web, "_BUSY", 0.0)
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    go_on, waiting, made = threading.Event(), threading.Semaphore(0), sources(ledger)

    def slow() -> Sources:
        waiting.release()
        go_on.wait(60)
        return made

    server = Server(slow, health, "127.0.0.1:0", None, ())
    server.start()
    parts = urlsplit(server.url)
    address = str(parts.hostname), int(parts.port or 0)

    def status(path: str) -> bytes:
        answer = ask(address, f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return answer.split(b" ")[1] + b" " + answer.splitlines()[-1]

    try:
        with ThreadPoolExecutor(3) as pool:
            pages = [pool.submit(status, "/status.json") for _ in range(3)]
            for _ in pages:
                assert waiting.acquire(timeout=60)
            assert status("/healthz") == b"200 ok"
            assert status("/status.json") == b"503 other requests are being answered; ask again in a moment"
            go_on.set()
            assert [page.result()[:5] for page in pages] == [b"200 {"] * 3
    finally:
        go_on.set()
        server.close()
        ledger.close()


@contextmanager
def serving(make: Callable[[], Sources]) -> Iterator[tuple[str, int]]:
    """Where a server listens that wants no token."""
    server = Server(make, health, "127.0.0.1:0", None, ())
    server.start()
    parts = urlsplit(server.url)
    try:
        yield str(parts.hostname), int(parts.port or 0)
    finally:
        server.close()


def test_a_page_that_fails_is_a_line_of_the_log_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks for it again and again does not wash out the log."""
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    broken = replace(sources(ledger), status=lambda: {}["nothing"])
    with serving(lambda: broken) as where:
        for _ in range(20):
            assert ask(where, b"GET /status.json HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.0 500 ")
    ledger.close()
    assert [record.getMessage() for record in caplog.records] == ["the page /status.json cannot be shown"]


def test_answers_that_nobody_reads_take_no_thread(tmp_path: Path) -> None:
    """Connections with many requests at once, each for a large page: one is answered, and the page is there for others."""
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    large = replace(sources(ledger), status=lambda: {"x": "y" * 4_000_000})
    one = b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(lambda: large) as where, ExitStack() as stack:
        attackers = [stack.enter_context(socket.create_connection(where)) for _ in range(12)]
        for attacker in attackers:
            attacker.sendall(one * 100)
        for attacker in attackers:
            assert attacker.recv(9) == b"HTTP/1.1 "
        answer = ask(where, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.endswith(b"\r\n\r\nok\n")
        head, _, rest = ask(where, one * 3).partition(b"\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in head
        assert rest.count(b"HTTP/1.1") == 0
    ledger.close()


def test_a_connection_does_not_last_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends a byte now and then has its place no longer than any other."""
    monkeypatch.setattr(web_server, "_REQUEST_WITHIN", -1)
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    made = sources(ledger)
    with (
        serving(lambda: made) as where,
        socket.create_connection(where, timeout=20) as connection,
        suppress(ConnectionError),
    ):
        connection.sendall(b"GET / HTTP")
        assert connection.recv(1) == b""
    ledger.close()


def test_connections_that_never_ask_take_no_place_from_others(tmp_path: Path) -> None:
    """However many a client has open with half a request: the oldest of them give way, and whoever asks is answered."""
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    made = sources(ledger)
    with serving(lambda: made) as where, ExitStack() as stack:
        idle = []
        for _ in range(250):
            idle.append(stack.enter_context(socket.create_connection(where, timeout=10)))
            idle[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        for _ in range(3):
            answer = ask(where, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer.endswith(b"\r\n\r\nok\n")
        with suppress(ConnectionError):
            assert idle[0].recv(1) == b""
        idle[-1].sendall(b"y\r\n\r\n")
        assert idle[-1].recv(12) == b"HTTP/1.1 200"
    ledger.close()


def test_one_thread_is_left_for_what_needs_no_ledger(tmp_path: Path) -> None:
    """While slow pages are asked for again and again, /healthz is answered at once."""
    ledger = Ledger(str(tmp_path / "ledger.sqlite"))
    go_on, waiting, made = threading.Event(), threading.Semaphore(0), sources(ledger)

    def slow() -> Sources:
        waiting.release()
        go_on.wait(60)
        return made

    page, health_ = (
        f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode() for path in ("/status.json", "/healthz")
    )
    with serving(slow) as where, ThreadPoolExecutor(40) as pool:
        try:
            asked = [pool.submit(ask, where, page) for _ in range(3)]
            for _ in asked:
                assert waiting.acquire(timeout=60)
            asked += [pool.submit(ask, where, page) for _ in range(30)]
            began = time.monotonic()
            assert ask(where, health_).endswith(b"ok\n")
            assert time.monotonic() - began < 1.5
        finally:
            go_on.set()
        assert {one.result().split(b" ")[1] for one in asked} == {b"200", b"503"}
    ledger.close()
