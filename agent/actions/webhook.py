"""One POST of an event, as CloudEvents' HTTP binding writes it in structured mode."""

import http.client
from collections.abc import Mapping
from email.message import Message
from importlib.metadata import version
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request

from agent.errors import Refused, Transient, cause
from agent.host import network
from agent.host import secrets as secret
from agent.ledger import Queued
from rules.actions import Webhook


class _Stay(HTTPRedirectHandler):
    """A redirect is a failure: following one would turn the POST into a GET, or carry the secret elsewhere."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        return None


def post(action: Webhook, queued: Queued) -> None:
    """Send the event; only an answer of 2xx is success. Raises Transient, Refused."""
    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    if action.secret_file is not None:
        value = secret.read(action.secret_file)
        if not value.isprintable() or not value.isascii():
            raise Refused(f"the secret in {action.secret_file} can be no header", "write one line of ASCII into it")
        headers[action.header] = value
    deliver(action.url, queued.payload, headers, action.timeout, action.shown)


def deliver(url: str, body: bytes, headers: Mapping[str, str], timeout: float, shown: str) -> None:
    """One POST; only an answer of 2xx is success. `shown`: the address for people, without secrets. Raises Transient."""
    own = {"User-Agent": f"dropline/{version('dropline')}"}
    request = Request(url, body, own | dict(headers), method="POST")  # noqa: S310  (rules.actions admits http and https)
    try:
        with network.call(timeout):
            network.opener(_Stay).open(request).close()
    except HTTPError as error:
        error.close()
        # Not its own phrase: that may be long, and quote the secret that was sent.
        phrase = http.client.responses.get(error.code, "")
        raise Transient(f"{shown} answered {error.code} {phrase}".strip(), _after(error.headers)) from None
    except URLError as error:
        why = cause(error.reason) if isinstance(error.reason, OSError) else str(error.reason)
        raise Transient(f"{shown} cannot be reached: {why}") from None
    except OSError as error:
        raise Transient(f"{shown} did not answer: {cause(error)}") from None
    except http.client.HTTPException as error:
        raise Transient(f"{shown} gave an answer that cannot be read: {type(error).__name__}") from None


def _after(headers: Message) -> float:
    """Seconds that the receiver asked to wait, an hour at the most; a date is passed over, the usual wait does as well."""
    value = str(headers.get("Retry-After", ""))
    return min(float(value), 3600.0) if value.isascii() and value.isdecimal() else 0.0
