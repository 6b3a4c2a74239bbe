"""Calls over the network end, whatever the other side does: real servers that never come to an end."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from agent.actions.notify.chat import Chat
from agent.actions.notify.email import Email
from agent.actions.webhook import deliver
from agent.destinations.globus import answers
from agent.destinations.globus.login import patience
from agent.errors import Transient
from agent.host import network
from agent.host.service import healthz
from rules.notice.message import Message
from tests.mailbox import certificate

MESSAGE = Message("subject", "body")
PATIENCE = 0.3
"""Seconds that a call may take here."""
LATE = 20.0
"""Seconds after which a server gives up, and the test fails: the call should have ended long before."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the computer's proxies is between."""
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@contextmanager
def endless(first: bytes, more: bytes, pause: float, secured: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that says the one, and then the other again and again, with pauses of so many seconds."""
    over = threading.Event()
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            try:
                client, _ = listening.accept()
                with client if secured is None else secured.wrap_socket(client, server_side=True) as talking:
                    talking.settimeout(LATE)
                    talking.sendall(first)
                    for _ in range(int(LATE / pause) if pause else 10_000_000):
                        if over.wait(pause):
                            return
                        talking.sendall(more)
            except OSError:
                pass  # the other side has left: what is wanted

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            listening.close()
            thread.join(LATE)


def webhook(port: int, scheme: str = "http") -> None:
    """POST an event there."""
    deliver(f"{scheme}://127.0.0.1:{port}/", b"{}", {}, PATIENCE, "the receiver")


def mail(port: int, tls: str = "none") -> None:
    """Send a mail there."""
    Email("127.0.0.1", port, tls, "a@x.org", ("b@x.org",), timeout=PATIENCE).send(MESSAGE, "k")


def chat(port: int) -> None:
    """Write to a chat there."""
    Chat(f"http://127.0.0.1:{port}/", timeout=PATIENCE).send(MESSAGE, "k")


DRIPS = [  # in the status, in a header, in the number of headers, before them, in the body
    (b"", b"H"),
    (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
    (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    (b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
]


@pytest.mark.parametrize("send", [webhook, chat])
@pytest.mark.parametrize(("first", "more"), DRIPS[:4])
def test_a_receiver_that_drips_is_left_when_the_time_is_up(
    send: Callable[[int], None], first: bytes, more: bytes
) -> None:
    """The time is that of the call, not of each read."""
    with endless(first, more, 0.05) as port, pytest.raises(Transient, match=r"did not answer: .*timed out"):
        send(port)


@pytest.mark.parametrize(("first", "more"), DRIPS)
def test_the_globus_service_is_left_as_well(monkeypatch: pytest.MonkeyPatch, first: bytes, more: bytes) -> None:
    """Its library has another way to make connections."""
    monkeypatch.setattr(answers, "LONGEST", PATIENCE)
    with (
        endless(first, more, 0.05) as port,
        patience().session as session,
        pytest.raises(requests.RequestException, match="timed out"),
    ):
        session.get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("pause", [0.05, 0.0], ids=["drip", "flood"])
@pytest.mark.parametrize("first", [b"", b"220 x\r\n"], ids=["greeting", "reply"])
def test_a_mail_server_whose_reply_does_not_end_is_left(first: bytes, pause: float) -> None:
    """When the time is up, or when more came than a reply can be."""
    why = "timed out" if pause else "the answer is larger than 1024 KiB"
    with endless(first, b"250-" + b"x" * 900 + b"\r\n", pause) as port, pytest.raises(Transient, match=why):
        Email("127.0.0.1", port, "none", "a@x.org", ("b@x.org",), timeout=PATIENCE if pause else LATE).send(
            MESSAGE, "k"
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy_it_is_the_same(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """It is the proxy that drips, whatever is behind it."""
    monkeypatch.setattr(answers, "LONGEST", PATIENCE)
    address = f"{scheme}://the.host/"
    with endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a", 0.05) as port:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(Transient, match="timed out"):
            deliver(address, b"{}", {}, PATIENCE, "the receiver")
    with endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a", 0.05) as port:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
        with patience().session as session, pytest.raises(requests.RequestException, match="timed out"):
            session.get(address)


def test_with_tls_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake, and what comes after it."""
    crt, key = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(crt))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    with endless(b"220-", b"a", 0.05, context) as port, pytest.raises(Transient, match="timed out"):
        mail(port, "tls")
    with endless(b"HTTP/1.1 200 OK\r\nA: ", b"a", 0.05, context) as port, pytest.raises(Transient, match="timed out"):
        webhook(port, "https")
    ready = b"220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n"
    with endless(ready, b"", 0.05) as port, pytest.raises(Transient, match="timed out"):
        mail(port, "starttls")
    with endless(b"", b"", 0.05) as port, pytest.raises(Transient, match="timed out"):
        webhook(port, "https")


def test_what_listens_in_the_place_of_the_agent_does_not_fill_the_memory() -> None:
    """`dropline service status` asks /healthz of whatever has the port."""
    flood = endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, 0.0)
    with flood as port:
        assert healthz(f"127.0.0.1:{port}") == f"no answer at 127.0.0.1:{port}: the answer is larger than 1024 KiB"


def test_a_host_name_that_nobody_answers_for_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver has times of its own, which may be long."""
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(LATE))
    try:
        with pytest.raises(Transient, match=r"the address of the\.host was not found in time"):
            deliver("http://the.host/", b"", {}, PATIENCE, "the receiver")
    finally:
        asked.set()


def test_an_address_that_does_not_answer_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a host with several, as where IPv6 leads nowhere."""
    with socket.socket() as full, socket.create_server(("127.0.0.1", 0)) as good:
        full.bind(("127.0.0.1", 0))  # bound and not listening: refused; the listening one is tried afterwards
        ways = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", one.getsockname()) for one in (full, good)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ways)
        with network.call(LATE), network.connect(("the.host", 1)) as made:
            assert made.getpeername() == good.getsockname()
