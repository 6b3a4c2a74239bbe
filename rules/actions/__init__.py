"""What a rule does once a batch is verified: `then` and `share_with`."""

import hashlib
import json
import math
import re
import string
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from rules.actions.event import FIELDS, PLACED
from rules.config.tables import STRICT, Duration, LocalPath, Name, absolute, is_host, told_by_key

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = ("content-type", "content-length", "host", "transfer-encoding", "connection")
_USER = re.compile(r"[^@\s]+@[^@\s]+")


def web_address(url: str) -> str:
    """An address. Raises ValueError where nothing can be sent there by POST."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and is_host(parts.hostname or "") and parts.port != 0
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
    name: Name | None = None

    def __post_init__(self) -> None:
        if self.secret_file is None and self.header != "Authorization":
            raise ValueError("`header` names the header whose value is in `secret_file`; add that")

    @property
    def target(self) -> object:
        """What makes it another action where it changes."""
        return self.url

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
    name: Name | None = None

    @property
    def target(self) -> object:
        """What makes it another action where it changes."""
        return self.argv

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
    name: Name | None = None

    @property
    def target(self) -> object:
        """What makes it another action where it changes."""
        return self.flow

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
_DERIVED = tuple(f"{one.kind}-" for one in (Webhook, Command, Flow, Share))
"""Beginnings of the names of actions that have none in the configuration."""
_DIGEST = re.compile(r"-[0-9a-f]{8}(-[0-9]+)?$")


def named(then: Collection[Webhook | Command | Flow], share_with: Collection[Share]) -> dict[str, Action]:
    """A rule's actions by the names that the ledger knows them by: `catalogue`, `webhook-5d41402a`, `share-ada@example.org`.

    An action without a name of the configuration is named after what it calls, so that what waits for it never goes to
    another receiver, however the configuration is edited. Two that call the same are numbered.
    """
    found: dict[str, Action] = {}
    for action in then:
        if action.name is not None:
            found[action.name] = action
            continue
        name = f"{action.kind}-{_digest(action.target)}"
        number = 1 + sum(one == name or one.startswith(f"{name}-") for one in found)
        found[name if number == 1 else f"{name}-{number}"] = action
    return found | {f"share-{one.principal}": one for one in share_with}


def label(name: str) -> str:
    """What people read of an action's name: the kind alone where it has none. What is said of it has the address."""
    return _DIGEST.sub("", name) if name.startswith(_DERIVED) else name


def _digest(target: object) -> str:
    return hashlib.sha256(json.dumps(target).encode()).hexdigest()[:8]


def distinct(then: tuple[Action, ...]) -> tuple[Action, ...]:
    """Raises ValueError where two actions have one name, or one has a name as those without have it."""
    names = [one.name for one in then if not isinstance(one, Share) and one.name is not None]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two actions have the name {name!r}; give each another one")
        if name.startswith(_DERIVED):
            raise ValueError(f"the name {name!r} begins as those of actions without a name; choose another one")
    return then


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
