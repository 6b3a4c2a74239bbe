"""What a rule does once a batch is verified: `then` and `share_with`."""

import math
import re
import string
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from rules.actions.event import FIELDS, PLACED
from rules.config.tables import STRICT, Duration, LocalPath, absolute, told_by_key

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = ("content-type", "content-length", "host", "transfer-encoding", "connection")
_USER = re.compile(r"[^@\s]+@[^@\s]+")


def web_address(url: str) -> str:
    """An address. Raises ValueError where nothing can be sent there by POST."""
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
    return url


def _header(value: str) -> str:
    if not _HEADER.fullmatch(value) or value.lower() in _OWN_HEADERS:
        raise ValueError(f"{value!r} is no header that can be set; write for example 'Authorization' or 'X-Api-Key'")
    return value


def _argv(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    if not value or not value[0] or any("\0" in word for word in value):
        raise ValueError("the command is a list: the program, then its arguments, for example ['/opt/after', '--fast']")
    return (absolute(value[0], info) if "/" in value[0] else value[0], *value[1:])


def _flow(value: str) -> str:
    if not UUID.fullmatch(value):
        raise ValueError(f"the flow {value!r} is no UUID; the web application shows it on the flow's page")
    return value.lower()


Timeout = Annotated[Duration, Field(gt=0, le=86400)]


@dataclass(frozen=True, slots=True)
class Webhook:
    """POST the event somewhere."""

    __pydantic_config__ = STRICT
    kind: ClassVar[str] = "webhook"
    url: Annotated[str, Field(alias="webhook"), AfterValidator(web_address)]
    secret_file: LocalPath | None = None
    """Holds the value of `header`."""
    header: Annotated[str, AfterValidator(_header)] = "Authorization"
    timeout: Timeout = 30.0
    """Seconds for the whole of a call."""

    def __post_init__(self) -> None:
        if self.secret_file is None and self.header != "Authorization":
            raise ValueError("`header` names the header whose value is in `secret_file`; add that")

    @property
    def shown(self) -> str:
        """For people and logs: paths and queries of webhooks often are secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program with the event on its standard input."""

    __pydantic_config__ = STRICT
    kind: ClassVar[str] = "command"
    argv: Annotated[tuple[str, ...], Field(alias="command"), AfterValidator(_argv)]
    timeout: Timeout = 300.0
    """Seconds after which it is killed."""

    @property
    def shown(self) -> str:
        """For people and logs."""
        return self.argv[0]


@dataclass(frozen=True, slots=True)
class Flow:
    """Start a Globus Flow."""

    __pydantic_config__ = STRICT
    kind: ClassVar[str] = "flow"
    flow: Annotated[str, AfterValidator(_flow)]
    body: dict[str, Any] | None = None
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


def _share(text: object) -> Share:
    """One entry of `share_with`. Raises ValueError."""
    whose, colon, rest = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    if isinstance(text, str) and not colon and _USER.fullmatch(text):
        return Share("identity", text.lower())
    if (not colon or whose == "group") and UUID.fullmatch(rest):
        return Share("group" if colon else "identity", rest.lower())
    raise ValueError(f"{text!r} is no user name ('ada@example.org'), no identity's UUID, and no group ('group:UUID')")


Action = Webhook | Command | Flow | Share
SharedWith = Annotated[Share, BeforeValidator(_share), WithJsonSchema({"type": "string"})]
"""One entry of `share_with`."""
if TYPE_CHECKING:
    Then = Webhook | Command | Flow
else:
    Then = told_by_key({one.kind: one for one in (Webhook, Command, Flow)})
"""One entry of `then`."""


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


def check_body(body: Mapping[str, Any], destinations: Collection[str]) -> None:
    """Raises ValueError where a flow's input cannot be made of it. `destinations`: names that the rule delivers to."""
    for text in texts(body):
        try:
            fields = [(field, spec) for _, field, spec, _ in string.Formatter().parse(text) if field is not None]
        except ValueError as error:
            raise ValueError(f"has {text!r}: {error}; braces that mean themselves are doubled") from None
        for field, spec in fields:
            if field not in (*FIELDS, *PLACED):
                raise ValueError(f"has the unknown field {{{field}}}; known are {', '.join((*FIELDS, *PLACED))}")
            if spec and (field not in PLACED or spec not in destinations):
                raise ValueError(f"has {{{field}:{spec}}}, but the rule has no destination {spec!r} for that")


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
        raise ValueError(f"has {value!r}, which JSON cannot carry; write it as text in quotes")
