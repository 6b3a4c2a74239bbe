"""What a rule does once a batch is verified: `then` and `share_with`."""

import math
import re
import string
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from rules.actions.event import FIELDS, PLACED

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = ("content-type", "content-length", "host", "transfer-encoding", "connection")
_USER = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, slots=True)
class Webhook:
    """POST the event somewhere."""

    kind: ClassVar[str] = "webhook"
    url: str
    secret_file: str | None = None
    """Holds the value of `header`."""
    header: str = "Authorization"
    timeout: float = 30.0
    """Seconds for the whole of a call."""

    @property
    def shown(self) -> str:
        """For people and logs: paths and queries of webhooks often are secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program with the event on its standard input."""

    kind: ClassVar[str] = "command"
    argv: tuple[str, ...]
    timeout: float = 300.0
    """Seconds after which it is killed."""

    @property
    def shown(self) -> str:
        """For people and logs."""
        return self.argv[0]


@dataclass(frozen=True, slots=True)
class Flow:
    """Start a Globus Flow."""

    kind: ClassVar[str] = "flow"
    flow: str
    body: Mapping[str, Any] | None = None
    """Template of its input; None: the event."""

    @property
    def shown(self) -> str:
        """For people and logs."""
        return self.flow


@dataclass(frozen=True, slots=True)
class Share:
    """Let somebody read the batch's folders at its Globus destinations."""

    kind: ClassVar[str] = "share"
    whose: str
    """`identity` or `group`."""
    principal: str
    """An id, or the user name of an identity."""

    @property
    def by_name(self) -> bool:
        """Whether its id is to be looked up."""
        return UUID.fullmatch(self.principal) is None

    @property
    def shown(self) -> str:
        """For people and logs."""
        return f"group {self.principal}" if self.whose == "group" else self.principal


Action = Webhook | Command | Flow | Share


def named(then: Collection[Action], share_with: Collection[Action]) -> dict[str, Action]:
    """A rule's actions by the names that the ledger knows them by: `webhook`, `webhook-2`, `share-ada@example.org`.

    They say which it is, not what it does: what waits for a webhook goes to its mended address.
    """
    found: dict[str, Action] = {}
    for action in (*then, *share_with):
        name = f"share-{action.principal}" if isinstance(action, Share) else action.kind
        number = 1 + sum(one == name or one.startswith(f"{name}-") for one in found)
        found[name if number == 1 or isinstance(action, Share) else f"{name}-{number}"] = action
    return found


_BELONG = {
    "webhook": {"secret_file", "header", "timeout"},
    "command": {"timeout"},
    "flow": {"body"},
}


def action(keys: Mapping[str, Any], absolute: Callable[[str], str], destinations: Collection[str]) -> Action:
    """One entry of `then`, from the keys that are written. Raises ValueError.

    Args:
        keys: name → value, of the right types.
        absolute: makes a local path absolute.
        destinations: names that the rule delivers to.
    """
    kinds = [key for key in keys if key in _BELONG]
    if len(kinds) != 1:
        raise ValueError("each entry has exactly one of `webhook`, `command` and `flow`")
    kind = kinds[0]
    for key in keys.keys() - {kind} - _BELONG[kind]:
        raise ValueError(f"`{key}` has no meaning for a {kind}; remove it")
    if kind == "webhook":
        return _webhook(keys, absolute)
    if kind == "command":
        return _command(keys, absolute)
    flow, body = keys["flow"], keys.get("body")
    if not UUID.fullmatch(flow):
        raise ValueError(f"the flow {flow!r} is no UUID; the web application shows it on the flow's page")
    for text in texts(body or {}):
        _check_template(text, destinations)
    return Flow(flow.lower(), body)


def web_address(url: str) -> None:
    """Raises ValueError where nothing can be sent there by POST."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("the webhook is no address such as 'https://example.org/hook'")
    if "@" in parts.netloc:
        raise ValueError("the webhook's address has a password in it; keep that in a `secret_file` or `url_file`")
    if parts.fragment:
        raise ValueError("the webhook's address has a '#', which is never sent; remove that part")


def _webhook(keys: Mapping[str, Any], absolute: Callable[[str], str]) -> Webhook:
    url, header, secret = keys["webhook"], keys.get("header"), keys.get("secret_file")
    web_address(url)
    if header is not None and secret is None:
        raise ValueError("`header` names the header whose value is in `secret_file`; add that")
    if header is not None and (not _HEADER.fullmatch(header) or header.lower() in _OWN_HEADERS):
        raise ValueError(f"{header!r} is no header that can be set; write for example 'Authorization' or 'X-Api-Key'")
    timeout = _timeout(keys, Webhook("").timeout)
    return Webhook(url, None if secret is None else absolute(secret), header or "Authorization", timeout)


def _command(keys: Mapping[str, Any], absolute: Callable[[str], str]) -> Command:
    argv = keys["command"]
    if not argv or not argv[0] or any("\0" in word for word in argv):
        raise ValueError("the command is a list: the program, then its arguments, for example ['/opt/after', '--fast']")
    program = absolute(argv[0]) if "/" in argv[0] else argv[0]
    return Command((program, *argv[1:]), _timeout(keys, Command(()).timeout))


def _timeout(keys: Mapping[str, Any], default: float) -> float:
    timeout = keys.get("timeout", default)
    if not 0 < timeout <= 86400:
        raise ValueError("`timeout` is more than nothing, and a day at the most")
    return float(timeout)


def share(text: str) -> Share:
    """One entry of `share_with`. Raises ValueError."""
    whose, colon, rest = text.rpartition(":")
    if not colon and _USER.fullmatch(text):
        return Share("identity", text.lower())
    if (not colon or whose == "group") and UUID.fullmatch(rest):
        return Share("group" if colon else "identity", rest.lower())
    raise ValueError(f"{text!r} is no user name ('ada@example.org'), no identity's UUID, and no group ('group:UUID')")


def texts(value: Any) -> Iterator[str]:
    """Every text in the body of a flow. Raises ValueError where it has what JSON cannot carry."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)
    elif not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise ValueError(f"`body` has {value!r}, which JSON cannot carry; write it as text in quotes")


def _check_template(text: str, destinations: Collection[str]) -> None:
    try:
        fields = [(field, spec) for _, field, spec, _ in string.Formatter().parse(text) if field is not None]
    except ValueError as error:
        raise ValueError(f"`body` has {text!r}: {error}; braces that mean themselves are doubled") from None
    for field, spec in fields:
        if field not in (*FIELDS, *PLACED):
            raise ValueError(f"`body` has the unknown field {{{field}}}; known are {', '.join((*FIELDS, *PLACED))}")
        if spec and (field not in PLACED or spec not in destinations):
            raise ValueError(f"`body` has {{{field}:{spec}}}, but the rule has no destination {spec!r} for that")
