"""The `[notify]` tables of the configuration: whom to tell, of what, and how often."""

import re
from collections.abc import Sequence
from datetime import tzinfo
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rules.actions import web_address
from rules.config.tables import Duration, LocalPath, Table, cron, is_host
from rules.notice import Policy
from rules.units import in_words

PORTS = {"starttls": 587, "tls": 465, "none": 25}
"""RFC 8314 and RFC 5321."""
_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value) or not value.isprintable():
        raise ValueError("write the address alone, for example 'ops@example.org'")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]+", value) or not is_host(value):
        raise ValueError("write the name of the mail server alone, for example 'smtp.example.org', and `port` apart")
    return value


def _schedule(value: str) -> str:
    clock = _CLOCK.fullmatch(value.strip())
    try:
        return cron(f"{int(clock[2])} {int(clock[1])} * * *" if clock else value)
    except ValueError:
        raise ValueError("is neither a time such as '07:30' nor five fields of cron such as '30 7 * * 1-5'") from None


Address = Annotated[str, AfterValidator(_address)]
"""An e-mail address."""
Timeout = Annotated[Duration, Field(gt=0, le=300)]


class EmailTable(Table):
    """`[notify.email]`"""

    host: Annotated[str, AfterValidator(_host)]
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = Field(default=None, min_length=1)
    password_file: LocalPath | None = None
    from_: Annotated[Address, Field(alias="from")]
    to: Annotated[tuple[Address, ...], Field(min_length=1)]
    timeout: Timeout = 20.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("`user` and `password_file` belong together; write both, or none where no login is wanted")
        if self.user is not None and self.tls == "none":
            raise ValueError('with `tls = "none"` the password would travel readable; write "starttls" or "tls"')
        return self


class WebhookTable(Table):
    """`[notify.webhook]`"""

    url: str | None = None
    url_file: LocalPath | None = None
    timeout: Timeout = 20.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("write one of `url` and `url_file`; the file is for addresses that are secret themselves")
        if self.url is not None:
            web_address(self.url)
        return self


class NotifyTable(Table):
    """`[notify]`"""

    events: tuple[Literal["refused", "down", "recovered"], ...] = ("refused", "down", "recovered")
    digest: Annotated[str, AfterValidator(_schedule)] | None = None
    after: Duration = 300.0
    every: Annotated[Duration, Field(ge=60)] = 3600.0
    email: EmailTable | None = None
    webhook: WebhookTable | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.email is None and self.webhook is None:
            raise ValueError("no message can be sent: add a table [notify.email] or [notify.webhook]")
        if "recovered" in self.events and "down" not in self.events:
            raise ValueError("`events` has 'recovered' without 'down'; only of what was told as down is it told")
        return self

    def policy(self, zone: tzinfo) -> Policy:
        """What is said when, by the clock of a zone."""
        return Policy(frozenset(self.events), self.after, self.every, self.digest, zone=zone)

    def in_words(self, whom: Sequence[str]) -> str:
        """The messages to them."""
        kinds = {
            "refused": "refused files",
            "down": f"destinations that are down for {in_words(self.after)}",
            "recovered": "their recovery",
        }
        said = ", ".join(words for event, words in kinds.items() if event in self.events) or "nothing unasked"
        daily = f"; sends a digest at {self.digest!r}" if self.digest is not None else ""
        return (
            f"tells {' and '.join(whom)} of {said}; of the same thing once in {in_words(self.every)} at the most{daily}"
        )
