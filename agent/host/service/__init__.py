"""Dropline as a service of the operating system: what is to run, and who sees to it.

One module per manager of services (`systemd`, `launchd`, `tasks`); `job` makes what is to run from the configuration,
`programs` runs the system's own commands.
"""

import http.client
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.errors import Refused, cause

MARK = "Made by `dropline service install`"
"""In every file that we install; others are left alone."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to run. Paths are absolute."""

    name: str
    program: str
    """The `dropline` command."""
    config: str
    state_dir: str
    user: str | None
    """Whom a service of the whole computer runs as; None: a service of the person who installs it."""
    writes: tuple[str, ...] = ()
    """Directories that it writes to, beside the state directory. They may be absent now."""
    reads: tuple[str, ...] = ()
    """What else it must be able to see."""
    secret: str | None = None
    """The service account's secret."""
    commands: bool = False
    """Whether it starts programs of others: the `command` actions of its rules."""
    steps_back: bool = False
    """Whether it asks for a lower priority."""

    @property
    def words(self) -> tuple[str, ...]:
        """The command line."""
        return (self.program, "run", "--config", self.config)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a service is."""

    installed: str | None
    """The file that it was installed with; None: it is not."""
    running: bool = False
    since: float | None = None
    """When it was started, where that is known."""
    detail: str = ""
    """The manager's own words."""


class Manager(Protocol):
    """Who sees to it that a service runs."""

    def text(self, job: Job) -> str:
        """What `install` would write."""
        ...

    def install(self, job: Job) -> list[str]:
        """Write it down, start it now and with the computer (or the login). Returns what to tell. Raises Refused."""
        ...

    def uninstall(self, name: str) -> list[str]:
        """Stop it and forget it; state and configuration stay. Returns what to tell. Raises Refused."""
        ...

    def condition(self, name: str) -> Condition:
        """How it is now. Raises Refused where the manager cannot be asked."""
        ...


def put(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Write a file of ours. Raises Refused where another file is in the way, or it cannot be written."""
    try:
        if path.exists() and not ours(path, encoding):
            raise Refused(f"{path} is there and was not made by Dropline", "move it away, or give --name another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, encoding)
        fresh.replace(path)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {cause(error)}", "mend that and try again") from None


def taken(path: Path, encoding: str = "utf-8") -> None:
    """Remove a file of ours. Raises Refused where it is none, or cannot be removed."""
    if not path.exists():
        raise Refused(f"{path} is not there", "`dropline service status` says what is installed")
    if not ours(path, encoding):
        raise Refused(f"{path} was not made by Dropline", "remove it yourself, as it was installed")
    try:
        path.unlink()
    except OSError as error:
        raise Refused(f"{path} cannot be removed: {cause(error)}", "mend that and try again") from None


def ours(path: Path, encoding: str = "utf-8") -> bool:
    """Whether we made this file. Raises Refused where it cannot be read."""
    try:
        return MARK in path.read_text(encoding, "replace")
    except OSError as error:
        raise Refused(f"{path} cannot be read: {cause(error)}", "mend that and try again") from None


def healthz(listen: str, token: str | None = None) -> str | None:
    """What /healthz says at this address: "ok", its problems, or why it does not answer; None: it cannot be known.

    `token`: the page's, where it wants one; without it /healthz says only whether all is well.
    """
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or int(port) == 0:
        return None
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=5)
    try:
        connection.request("GET", "/healthz", headers={} if token is None else {"Authorization": f"Bearer {token}"})
        return connection.getresponse().read().decode("utf-8", "replace").strip().replace("\n", "; ")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer at {listen}: {cause(error) if isinstance(error, OSError) else error}"
    finally:
        connection.close()
