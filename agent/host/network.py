"""Connections to other computers. A whole call has an end: in time, and in the bytes that come back.

The time-out of a socket is that of each read: a server that sends a byte a second is waited for without end, and libraries keep
what comes. So every connection is made here, of sockets that know the call that their thread is in.
"""

import http.client
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.request import BaseHandler, HTTPHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from agent.host.asking import Asker, Silence

AT_MOST = 2**20
"""Bytes of an answer that is hardly read: a status, some headers, the lines of a mail server."""


class _Call:
    """What is left of a call."""

    def __init__(self, seconds: float, at_most: int, silence: float | None) -> None:
        self._until = time.monotonic() + seconds
        self._silence = seconds if silence is None else silence
        self._at_most = self._bytes = at_most

    def patience(self) -> float:
        """Seconds to wait for the other side. Raises TimeoutError where there are none left."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, self._silence)

    def received(self, count: int) -> None:
        """So many bytes came. Raises OSError where they are too many."""
        self._bytes -= count
        if self._bytes < 0:
            raise OSError(f"the answer is larger than {self._at_most // 1024} KiB")


_under_way: ContextVar[_Call] = ContextVar("call under way")


@contextmanager
def call(seconds: float, at_most: int = AT_MOST, *, silence: float | None = None) -> Iterator[None]:
    """A call, in this thread. What goes beyond its bounds raises OSError inside.

    Args:
        seconds: for all of it.
        at_most: bytes that may come back.
        silence: seconds without a byte, where that is less.
    """
    token = _under_way.set(_Call(seconds, at_most, silence))
    try:
        yield
    finally:
        _under_way.reset(token)


class _Socket(socket.socket):
    """Waits no longer than the call has left, and takes no more than it may."""

    def recv_into(self, *args: Any, **options: Any) -> int:
        self.settimeout(_under_way.get().patience())
        count = super().recv_into(*args, **options)
        _under_way.get().received(count)
        return count

    def recv(self, *args: Any, **options: Any) -> bytes:
        self.settimeout(_under_way.get().patience())
        data = super().recv(*args, **options)
        _under_way.get().received(len(data))
        return data

    def send(self, *args: Any, **options: Any) -> int:
        self.settimeout(_under_way.get().patience())
        return super().send(*args, **options)

    def sendall(self, *args: Any, **options: Any) -> None:
        self.settimeout(_under_way.get().patience())
        super().sendall(*args, **options)


class _SecureSocket(_Socket, ssl.SSLSocket):
    """The same with TLS."""

    def do_handshake(self, *args: Any, **options: Any) -> None:
        self.settimeout(_under_way.get().patience())
        super().do_handshake(*args, **options)


def connect(address: tuple[str, int], *_: object) -> socket.socket:
    """A connection to a host and port, for the call under way. Further arguments are those of `socket.create_connection`.

    Raises OSError.
    """
    patience = _under_way.get().patience()
    found = Asker(time.monotonic, patience).ask(
        address[0], lambda: socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    )
    if isinstance(found, Silence):
        raise TimeoutError(f"the address of {address[0]} was not found in time")
    failure = OSError(f"{address[0]} has no address")
    for index, (family, kind, protocol, _name, where) in enumerate(found):
        made = _Socket(family, kind, protocol)
        try:
            made.settimeout(_under_way.get().patience() / (len(found) - index))  # the others are tried, too
            made.connect(where)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure


def secured(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context. Its connections end with their call, too."""
    context.sslsocket_class = _SecureSocket
    return context


class Connection(http.client.HTTPConnection):
    """HTTP."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = connect


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, context=secured(ssl.create_default_context()), **options)
        self._create_connection = connect


class _Plain(HTTPHandler):
    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(Connection, req)


class _Secure(HTTPSHandler):
    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


def opener(*handlers: BaseHandler | type[BaseHandler]) -> OpenerDirector:
    """As urllib's `build_opener`."""
    return build_opener(_Plain, _Secure, *handlers)


class _Mail(smtplib.SMTP):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return connect((host, port))


class _SecureMail(smtplib.SMTP_SSL, _Mail):
    pass


def mail_server(host: str, port: int, *, tls: bool) -> smtplib.SMTP:
    """A connection to a mail server; `tls`: from the first byte on. Raises OSError, smtplib.SMTPException."""
    return _SecureMail(host, port, context=secured(ssl.create_default_context())) if tls else _Mail(host, port)
