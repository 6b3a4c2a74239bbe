"""Dropline as a service of the operating system: what is to run, and who sees to it.

`systemd` installs it where systemd is; `scm` for a Windows computer and `tasks` for one person there; `plist` prints what a
person installs on macOS; `job` makes what is to run from the configuration, `programs` runs the system's own commands.
"""

import http.client
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from agent.errors import Refused, cause
from agent.host import network, own_files

MARK = "Made by `dropline service install`"
"""In every file that we install; others are left alone."""
_AT_MOST = 2**20
"""Bytes of a unit."""
_ANSWERS_WITHIN = 5.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to run. Paths are absolute."""

    name: str
    program: str
    """The `dropline` command."""
    config: str
    state_dir: str
    user: str | None
    """The user that a service of the whole computer runs as; None: a service of the person who installs it."""
    writes: tuple[str, ...] = ()
    """Directories that it writes to, beside the state directory. They may be absent now."""
    reads: tuple[str, ...] = ()
    """What else it must be able to see."""
    secret: str | None = None
    """The service account's secret."""
    commands: bool = False
    """Whether it starts programs of others: the `command` actions of its rules."""
    lowers_priority: bool = False
    """Whether it asks for a lower priority."""
    sets_modes: bool = False
    """Whether it says the permissions of directories itself, below some that have the setgid bit."""

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
    """What the operating system has for services. Each method raises Refused."""

    def text(self, job: Job) -> str:
        """What would be installed."""

    def install(self, job: Job) -> list[str]:
        """Install it and start it, again where it is installed. Returns what was done, in sentences."""

    def uninstall(self, name: str) -> list[str]:
        """Stop it and remove it. Returns what was done, in sentences."""

    def condition(self, name: str) -> Condition:
        """How it is."""


def put(path: PurePath, text: str) -> None:
    """Write one of our files. Raises Refused where another file is in the way, or it cannot be written."""
    try:
        if own_files.exists(path) and not ours(path):
            raise Refused(f"{path} is there and was not made by Dropline", "move it away, or give --name another name")
        own_files.make_directory(path.parent)
        own_files.write_whole(path, text.encode(), 0o644)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {cause(error)}", "mend that and try again") from None


def taken(path: PurePath) -> None:
    """Remove one of our files. Raises Refused where it is none, or cannot be removed."""
    try:
        if not own_files.exists(path):
            raise Refused(f"{path} is not there", "`dropline service status` says what is installed")
        if not ours(path):
            raise Refused(f"{path} was not made by Dropline", "remove it yourself, as it was installed")
        own_files.remove(path)
    except OSError as error:
        raise Refused(f"{path} cannot be removed: {cause(error)}", "mend that and try again") from None


def ours(path: PurePath) -> bool:
    """Whether we made this file. Raises Refused where it cannot be read."""
    try:
        return MARK.encode() in own_files.read_bounded(path, _AT_MOST)[0]
    except OSError as error:
        raise Refused(f"{path} cannot be read: {cause(error)}", "mend that and try again") from None


def healthz(listen: str, token: str | None = None) -> str | None:
    """What /healthz says at this address: "ok", its problems, or why it does not answer; None: it cannot be known.

    `token`: the page's, where it wants one; without it /healthz says only whether all is well.
    """
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or int(port) == 0:
        return None
    connection = network.Connection(host.strip("[]"), int(port))
    try:
        with network.call(_ANSWERS_WITHIN):
            connection.request("GET", "/healthz", headers={} if token is None else {"Authorization": f"Bearer {token}"})
            return connection.getresponse().read().decode("utf-8", "replace").strip().replace("\n", "; ")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer at {listen}: {cause(error) if isinstance(error, OSError) else error}"
    finally:
        connection.close()
