"""Who may ask: which host names the pages answer to, and whether the request carries the token.

A page that listens on loopback is for whoever is on this computer, so only the name it is asked by is looked at: a
foreign page whose host name was made to resolve to loopback (DNS rebinding) still asks by its own name. Beyond loopback
the token is wanted, too, as `Authorization: Bearer TOKEN` (Prometheus) or as the password of HTTP Basic, under any user
name, which browsers know how to ask for. There is no cookie, and nothing that a foreign page could make a browser do.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from agent.errors import Refused
from agent.host import secrets as secret

TOKEN_AT_LEAST = 16
"""Characters."""
TRIES = 10
"""Wrong tokens from one address, after which it is not listened to."""
SHUT = 60.0
"""Seconds for which it is not listened to; its count begins anew after as long without a wrong token."""
_ADDRESSES = 1000
"""Addresses that are remembered; the oldest make room."""


class Denied(NamedTuple):
    """Why a request is not answered. `headers`: what the answer has besides."""

    status: str
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def token(file: str) -> str:
    """The token in a file. Raises Refused where it is too weak, cannot be sent, or can be read by others."""
    found = secret.read(file)
    if len(found) < TOKEN_AT_LEAST or not found.isascii() or not found.isprintable() or " " in found:
        raise Refused(
            f"the token in {file} is not at least {TOKEN_AT_LEAST} letters, digits and signs of ASCII without spaces",
            f"""(umask 077; python3 -c "import secrets; print(secrets.token_urlsafe())" > {file})""",
        )
    return found


def names(written: Iterable[str], *, beyond: bool) -> frozenset[str]:
    """The host names that the pages answer to, in lower case.

    Args:
        written: those of the configuration; none: this computer's.
        beyond: the page listens beyond loopback.
    """
    own = platform.node().lower()
    computer = (own, own.partition(".")[0]) if beyond and own else ()
    return frozenset(("localhost", *(map(str.lower, written) if written else computer)))


class Gate:
    """Lets requests through, or says why not. Safe between threads."""

    def __init__(self, hosts: Iterable[str], token: str | None, clock: Callable[[], float], *, beyond: bool) -> None:
        """
        Args:
            hosts: see `names`.
            token: what is wanted of every request; None: nothing.
            clock: seconds, never going back.
            beyond: the page listens beyond loopback.
        """
        self._names = names(hosts, beyond=beyond)
        self._token = None if token is None else _digest(token)
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Address → wrong tokens, and when the last one came."""
        self._lock = threading.Lock()

    def host(self, environ: dict[str, Any]) -> Denied | None:
        """Whether the pages answer to the host name of the request."""
        name = _host(str(environ.get("HTTP_HOST", "")))
        if name in self._names or _is_address(name):  # only names can be rebound
            return None
        return Denied("421 Misdirected Request", "This page does not answer to that host name ([agent] hosts).\n")

    def token(self, environ: dict[str, Any]) -> Denied | None:
        """Whether the request has the token, where one is wanted."""
        if self._token is None:
            return None
        with self._lock:
            return self._judged(environ, self._token)

    def _judged(self, environ: dict[str, Any], token: bytes) -> Denied | None:
        peer, now = str(environ.get("REMOTE_ADDR", "")), self._clock()
        count, last = self._wrong.get(peer, (0, now))
        if now - last >= SHUT:
            count = 0
        if count >= TRIES:
            again = (("Retry-After", str(int(SHUT - (now - last)) + 1)),)
            return Denied("429 Too Many Requests", "Too many wrong tokens from this address.\n", again)
        given = _given(str(environ.get("HTTP_AUTHORIZATION", "")))
        if given is not None and hmac.compare_digest(_digest(given), token):
            self._wrong.pop(peer, None)
            return None
        if given is not None:
            self._wrong[peer] = count + 1, now
            self._wrong.move_to_end(peer)
            if len(self._wrong) > _ADDRESSES:
                self._wrong.popitem(last=False)
        ways = (
            ("WWW-Authenticate", 'Basic realm="Dropline: any name, and the token", charset="UTF-8"'),
            ("WWW-Authenticate", 'Bearer realm="Dropline"'),
        )
        return Denied("401 Unauthorized", "This page wants the token ([agent] token_file).\n", ways)


def _host(value: str) -> str:
    """The name in a Host header, without the port and the dot at the end, in lower case."""
    name, colon, port = value.rpartition(":")
    if not colon or (port and not port.isdecimal()):
        name = value
    return name.removesuffix(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def _given(header: str) -> str | None:
    """The token that an Authorization header carries; None where it carries none."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _digest(text: str) -> bytes:
    """Of one length, so that a comparison tells nothing of the token's."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
