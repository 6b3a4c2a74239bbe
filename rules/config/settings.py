"""The tables of the configuration file, as they are read and checked one by one."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, tzinfo
from ipaddress import IPv4Address, IPv6Address
from itertools import permutations
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    model_validator,
)

from rules.config.load import RuleTable, check_together
from rules.config.notify import NotifyTable
from rules.config.tables import Duration, LocalPath, Name, Size, Table, is_host, local_path, wrong
from rules.globus.collection import source_path
from rules.match import relative
from rules.rate import Hours, Limit
from rules.rule import Rule
from rules.scrub import Scrub
from rules.versions.pruning import HISTORY

_ANYBODY = (
    "everybody in the network could ask for the page, so it wants a token; name a file with one in token_file"
    """ ((umask 077; python3 -c "import secrets; print(secrets.token_urlsafe())" > FILE)), or listen on 127.0.0.1"""
)


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if value and (ip_of(host) is None or not (port.isascii() and port.isdecimal()) or int(port) > 65535):
        raise ValueError(
            f'{value!r} is not an address and a port; write "127.0.0.1:9469", port 0 for any free one, or "" for no page'
        )
    return value


def ip_of(host: str) -> IPv4Address | IPv6Address | None:
    """The address of `listen` without its port; None where it is none. A name would be what a name server says."""
    try:
        return IPv6Address(host[1:-1]) if host[:1] == "[" and host[-1:] == "]" else IPv4Address(_NAMES.get(host, host))
    except ValueError:
        return None


_NAMES = {"localhost": "127.0.0.1"}


def _host_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", value) or not is_host(value):
        raise ValueError("write host names as in an address, without http:// and without the port")
    return value.removesuffix(".")


def _remote(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError(
            'write the path as the collection shows it, from its "/" on, for example "/ingest" or "/~/ingest"'
        )
    return "/" + "/".join(part for part in value.split("/") if part not in ("", "."))


def _for_node_exporter(value: str) -> str:
    if not value.endswith(".prom"):
        raise ValueError('node_exporter reads only names that end in ".prom"')
    return value


Id = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"), AfterValidator(str.lower)]
"""A UUID."""
RemotePath = Annotated[str, AfterValidator(_remote)]
SourceRoot = Annotated[str, AfterValidator(lambda value, info: value if value == "/" else local_path(value, info))]
"""A local path; "/" is all of this computer, also where it has drives."""


class AgentTable(Table):
    """`[agent]`"""

    state_dir: LocalPath = ""
    """Empty: where this platform keeps a user's state."""
    listen: Annotated[str, AfterValidator(_address)] = "127.0.0.1:9469"
    token_file: LocalPath | None = None
    hosts: tuple[Annotated[str, AfterValidator(_host_name)], ...] = ()
    sweep_every: Annotated[Duration, Field(gt=0)] = 300.0
    canary_every: Duration = 60.0
    keep_history: Annotated[Duration, Field(ge=86400)] = HISTORY
    textfile: Annotated[LocalPath, AfterValidator(_for_node_exporter)] | None = None
    nice: int = Field(default=0, ge=0, le=19)
    io_priority: Literal["normal", "idle"] = "normal"
    timezone: str = "local"

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> Self:
        listens = ip_of(self.listen.rpartition(":")[0])
        if self.token_file is None and listens is not None and not listens.is_loopback:
            raise wrong(f"{self.listen!r} is beyond loopback: {_ANYBODY}", "listen")
        return self


class ScrubTable(Table):
    """`scrub = { ... }` in `[destinations.NAME]`; `scrub = "50GB"` is its `per_day` alone."""

    per_day: Annotated[Size, Field(gt=0)]
    every: Annotated[Duration, Field(gt=0)] = 30 * 86400.0

    @property
    def policy(self) -> Scrub:
        """What the decisions work on."""
        return Scrub(self.per_day, self.every)


def _whole(value: object) -> object:
    return {"per_day": value} if isinstance(value, str | int) and not isinstance(value, bool) else value


Scrubbed = Annotated[ScrubTable | None, BeforeValidator(_whole)]


def _some(value: int) -> int:
    if value == 0:
        raise ValueError("nothing would ever go; `dropline pause delivery` stops it for a while")
    return value


class LimitTable(Table):
    """One of `bandwidth = [{ ... }]`"""

    limit: Annotated[Size, AfterValidator(_some)]
    hours: Annotated[
        Hours | None, BeforeValidator(lambda value: value if value is None else Hours.read(str(value)))
    ] = None


def _one_limit(value: object) -> object:
    return [{"limit": value}] if isinstance(value, str | int) else value


def _reachable(value: tuple[LimitTable, ...]) -> tuple[LimitTable, ...]:
    if any(one.hours is None for one in value[:-1]):
        raise ValueError("a limit without `hours` counts always, and so must be the last")
    return value


def _permissions(value: object) -> object:
    """As chmod(1) writes them: "0750". An owner who may not use a directory could write nothing into it."""
    if not isinstance(value, str) or not re.fullmatch("0?7[0-7]{2}", value):
        raise ValueError('write the permissions as in "0750"; the first of the three digits is 7')
    return int(value, 8)


def _file_permissions(value: object) -> object:
    """As chmod(1) writes them: "0640". Without setuid and similar; its owner may have to replace it."""
    if not isinstance(value, str) or not re.fullmatch("0?[67][0-7]{2}", value):
        raise ValueError('write the permissions as in "0640"; the first of the three digits is 6 or 7')
    return int(value, 8)


class DirectoryTable(Table):
    """`[destinations.NAME]` with `transport = "directory"`"""

    transport: Literal["directory"] = "directory"
    path: LocalPath
    mounted: bool | None = None
    verify: Literal["checksum", "size"] = "checksum"
    checksum: Literal["sha256", "blake3", "md5"] = "sha256"
    consumed: bool = False
    scrub: Scrubbed = None
    bandwidth: Annotated[tuple[LimitTable, ...], BeforeValidator(_one_limit), AfterValidator(_reachable)] = ()
    dir_mode: Annotated[int, BeforeValidator(_permissions, json_schema_input_type=str)] | None = None
    mode: Annotated[int, BeforeValidator(_file_permissions, json_schema_input_type=str)] | None = None
    group: Annotated[str, Field(min_length=1)] | None = None

    @property
    def address(self) -> str:
        """What the ledger knows it by."""
        return self.path

    def limits(self, zone: tzinfo) -> list[Limit]:
        """How much may go there in a second, and when, by the clock of a zone."""
        return [Limit(one.limit, one.hours, zone) for one in self.bandwidth]


class GlobusTable(Table):
    """`[globus]`: the application that the agent is registered as."""

    client_id: Id | None = None
    client_secret: SecretStr | None = None
    client_secret_file: LocalPath | None = None
    login_client_id: Id | None = None

    @property
    def has_secret(self) -> bool:
        """Whether the agent is a service account where no destination names a login."""
        return self.client_secret is not None or self.client_secret_file is not None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.client_secret is not None and self.client_secret_file is not None:
            raise wrong("client_secret is there, too; write one of them", "client_secret_file")
        return self


class CollectionTable(Table):
    """`[destinations.NAME]` with `transport = "globus"`"""

    transport: Literal["globus"]
    collection: Id
    path: RemotePath = "/"
    source_collection: Id | None = None
    source_root: SourceRoot = "/"
    source_path: RemotePath = "/"
    verify_checksum: bool = True
    encrypt_data: bool = False
    deadline: Annotated[Duration, Field(gt=0)] | None = None
    notify: tuple[Literal["succeeded", "failed", "inactive"], ...] = ()
    outstanding: int = Field(default=6, ge=1, le=50)
    checksum: Literal["md5", "sha256"] | None = None
    login: Name | None = None
    """Of the person whom the agent acts as there; None: the agent's own account."""
    consumed: bool = False
    scrub: Scrubbed = None

    @model_validator(mode="before")
    @classmethod
    def _not_ours_to_slow(cls, value: object) -> object:
        if isinstance(value, dict) and "bandwidth" in value:
            raise ValueError(
                "Globus has no limit for a transfer: `bandwidth` is for directories only. Let the administrator of the"
                " collection set its network use, or give the rule a `batch.schedule`"
            )
        return value

    @property
    def address(self) -> str:
        """What the ledger knows it by."""
        return f"{self.collection}:{self.path}"


def _transport(value: object) -> str:
    """Which table it is: the transport that is named, or the embedded one."""
    named = value.get("transport", "directory") if isinstance(value, dict) else getattr(value, "transport", "directory")
    return named if isinstance(named, str) else ""


DestinationTable = Annotated[
    Annotated[DirectoryTable, Tag("directory")] | Annotated[CollectionTable, Tag("globus")],
    Discriminator(_transport),
]


class Settings(Table):
    """The whole configuration file."""

    agent: AgentTable = Field(default_factory=AgentTable)
    globus: GlobusTable = Field(default_factory=GlobusTable)
    notify: NotifyTable | None = None
    destinations: dict[Name, DestinationTable] = Field(default_factory=dict)
    rules: tuple[RuleTable, ...] = ()

    @model_validator(mode="after")
    def _together(self) -> Self:
        check_together(self.rules, self.destinations)
        self._check_collections_apart()
        self._check_logins()
        for number, rule in enumerate(self.rules):
            places = {target.to: self.destinations[target.to] for target in rule.deliver}
            collections = {name: table for name, table in places.items() if isinstance(table, CollectionTable)}
            if rule.share_with and not collections:
                message = (
                    "none of the rule's destinations is Globus, and only there can access be granted; remove share_with"
                )
                raise wrong(message, "rules", number, "share_with")
            for name, table in collections.items():
                if source_path(rule.watch, table.source_root, table.source_path) is None:
                    message = f"rule {rule.name!r} watches {rule.watch}, which is not below {table.source_root}"
                    raise wrong(message, "destinations", name, "source_root")
                if rule.links == "copy":
                    message = f"Globus makes no links at {name!r}; write 'skip', or deliver there by another rule"
                    raise wrong(message, "rules", number, "links")
                if rule.share_with and table.path.startswith("/~"):
                    message = (
                        f"rule {rule.name!r} shares the directory, for which {table.path} must be written without '~'"
                    )
                    raise wrong(message, "destinations", name, "path")
        return self

    def _check_logins(self) -> None:
        """Raises ValidationError where a person could not log in."""
        for name, table in self.destinations.items():
            if (
                isinstance(table, CollectionTable)
                and table.login
                and self.globus.has_secret
                and not self.globus.login_client_id
            ):
                message = "nobody can log in by a service account's application; set login_client_id in [globus] to another one"
                raise wrong(message, "destinations", name, "login")

    def _check_collections_apart(self) -> None:
        """Raises ValidationError where one copy at a collection would count as two."""
        tables = {name: table for name, table in self.destinations.items() if isinstance(table, CollectionTable)}
        both = [{target.to for target in rule.deliver} for rule in self.rules]
        for (one, first), (other, second) in permutations(tables.items(), 2):
            if first.collection != second.collection:
                continue
            if first.path == second.path:
                message = f"destination {one!r} is the same path of the same collection; one copy would count as two"
                raise wrong(message, "destinations", other, "path")
            if relative(second.path, first.path) is not None and any({one, other} <= names for names in both):
                message = f"it lies in {one!r} ({first.path}), and a rule delivers to both: one copy could count as two"
                raise wrong(message, "destinations", other, "path")


LINGER = 1.0
"""Seconds by default where each batch costs a request to a service, or an action: many files shall share one."""


def _with_linger(rule: Rule, destinations: Mapping[str, object]) -> Rule:
    """The rule with the default of `batch.linger`. What goes into directories, with no action after it, does not wait."""
    services = any(not isinstance(destinations[target.to], DirectoryTable) for target in rule.deliver)
    if rule.batch.linger is not None or not (services or rule.actions):
        return rule
    return replace(rule, batch=replace(rule.batch, linger=LINGER))


class Configuration:
    """Settings and rules that fit together."""

    def __init__(
        self, settings: Settings, source: str, stamp: tuple[int, int, int] | None = None, zone: tzinfo = UTC
    ) -> None:
        self.settings = settings
        self.zone = zone
        """By whose clock times are written and read."""
        self.rules = tuple(_with_linger(rule, settings.destinations).in_zone(zone) for rule in settings.rules)
        self.source = source
        """The file it was read from, for messages."""
        self.stamp = stamp
        """What tells that file, as it was read, from the same edited since; None: there is none."""
        self.data: Mapping[str, Any] | None = None
        """What the file says; None: there is none."""
        self.found = False
        """The file was found, and not named: it counts only as long as it belongs to no other user."""

    def with_agent(self, **changes: object) -> "Configuration":
        """The same with other values in `[agent]`."""
        agent = self.settings.agent.model_copy(update=changes)
        other = Configuration(self.settings.model_copy(update={"agent": agent}), self.source, self.stamp, self.zone)
        other.found = self.found
        return other

    @property
    def state_dir(self) -> PurePath:
        """Where the ledger is."""
        return PurePath(self.settings.agent.state_dir)

    @property
    def scrubs(self) -> dict[str, Scrub]:
        """How much is read again, of destinations where anything is."""
        return {name: to.scrub.policy for name, to in self.settings.destinations.items() if to.scrub is not None}

    @property
    def consumed(self) -> frozenset[str]:
        """Destinations where files are taken away after their arrival."""
        return frozenset(name for name, to in self.settings.destinations.items() if to.consumed)

    @property
    def ledger(self) -> PurePath:
        """The ledger's file."""
        return self.state_dir / "ledger.sqlite"
