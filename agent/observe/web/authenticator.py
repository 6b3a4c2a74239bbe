"""Authentication: which host names the pages answer to, and whether the request carries the token.

A page that listens on loopback is for everybody on this computer, so only the name it is asked by is looked at: a
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
from collections.abc import Iterable
from typing import Any, NamedTuple

from agent.errors import Refused
from agent.host import secrets as secret

TOKEN_AT_LEAST = 16
"""Characters."""


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


class Authenticator:
    """Lets requests through, or says why not."""

    def __init__(self, hosts: Iterable[str], token: str | None, *, beyond: bool) -> None:
        """
        Args:
            hosts: see `names`.
            token: what is wanted of every request; None: nothing.
            beyond: the page listens beyond loopback.
        """
        self._names = names(hosts, beyond=beyond)
        self._token = None if token is None else _digest(token)

    def origin(self, environ: dict[str, Any]) -> Denied | None:
        """Whether the pages answer to the host name of the request, and to the page that made a browser ask.

        Browsers say where a request comes from (https://www.w3.org/TR/fetch-metadata/). From another site, a person may
        follow a link to here; nothing there is loaded from here, and no script there goes here.
        """
        name = _host(str(environ.get("HTTP_HOST", "")))
        if name not in self._names and not _is_address(name):  # only names can be rebound
            return Denied("421 Misdirected Request", "This page does not answer to that host name ([agent] hosts).\n")
        if environ.get("HTTP_SEC_FETCH_SITE", "none") in ("none", "same-origin"):
            return None
        asked = tuple(environ.get(f"HTTP_SEC_FETCH_{what}") for what in ("MODE", "DEST", "USER"))
        if asked == ("navigate", "document", "?1"):
            return None
        return Denied("403 Forbidden", "This page does not answer to pages of other sites.\n")

    def token(self, environ: dict[str, Any]) -> Denied | None:
        """Whether the request has the token, where one is wanted.

        Wrong ones are not counted: whoever shares an address with others could shut them out, and nobody guesses a token.
        """
        given = _given(str(environ.get("HTTP_AUTHORIZATION", "")))
        if self._token is None or (given is not None and hmac.compare_digest(_digest(given), self._token)):
            return None
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
