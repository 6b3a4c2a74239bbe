"""What is to run as a service, from the configuration."""

import os
import re
import sys
import sysconfig
from pathlib import PurePath

from platformdirs import user_state_dir

from agent.errors import Refused
from agent.host import own_files
from agent.host.service import Job
from rules.actions import Command, Webhook
from rules.config.settings import CollectionTable, Configuration, DirectoryTable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def of_windows(interpreter: str, name: str, config: str) -> tuple[str, ...]:
    """The command line of a service or task of Windows. It connects first, since the manager waits 30 s for that."""
    connect = f"from agent.host.windows.supervisor import connect; connect({name!r})"
    code = f"{connect}; from agent.cli import main; main()"
    return (interpreter, "-P", "-c", code, "service", "run", "--name", name, "--config", config)


def program() -> str:
    """The `dropline` command of this installation; Windows' services start the interpreter. Raises Refused."""
    if sys.platform == "win32":
        return sys.executable
    found = PurePath(sysconfig.get_path("scripts"), "dropline")
    if not own_files.is_file(found):
        raise Refused(f"{found} is not there", "install Dropline with `python3 bootstrap.py`")
    return str(found)


def checked(name: str) -> str:
    """A name of a service. Raises Refused."""
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} is no name for a service", "use letters, digits, `_`, `.` and `-`")
    return name


def job(config: Configuration, name: str, user: str | None) -> Job:
    """The service that runs this configuration.

    Args:
        config: read from a file.
        name: of the service.
        user: whom it runs as; None: the person who installs it.

    Raises Refused where the configuration cannot be run as a service.
    """
    settings = config.settings
    if not config.rules:
        raise Refused(f"{config.source} has no [[rules]]", "add one; `dropline init` writes an example")
    if user is not None and config.state_dir == PurePath(user_state_dir("dropline")):
        example = f"'C:/ProgramData/{name}'" if sys.platform == "win32" else f'"/var/lib/{name}"'
        hint = f"write state_dir = {example} there: the default is in your home, not in that user's"
        raise Refused(f"[agent] in {config.source} names no state_dir for a service", hint)
    directories = [table.path for table in settings.destinations.values() if isinstance(table, DirectoryTable)]
    collections = [table for table in settings.destinations.values() if isinstance(table, CollectionTable)]
    canary = settings.agent.canary_every > 0
    written = [rule.watch for rule in config.rules if canary or rule.reclaim is not None]
    read = [rule.watch for rule in config.rules if rule.watch not in written]
    actions = [action for rule in config.rules for action in rule.actions.values()]
    read += [one.argv[0] for one in actions if isinstance(one, Command) and os.path.isabs(one.argv[0])]
    read += [one.secret_file for one in actions if isinstance(one, Webhook) and one.secret_file is not None]
    if any(table.source_collection is None for table in collections):
        read.append(os.path.expanduser(f"~{user or ''}"))  # Globus Connect Personal tells there who it is
    agent, notify = settings.agent, settings.notify
    email, webhook = (notify.email, notify.webhook) if notify is not None else (None, None)
    secrets = [agent.token_file, email.password_file if email else None, webhook.url_file if webhook else None]
    read += [path for path in secrets if path is not None]
    if agent.textfile is not None:
        directories.append(os.path.dirname(agent.textfile))
    secret = settings.globus.client_secret_file if collections else None
    found = Job(
        name=checked(name),
        program=program(),
        config=os.path.abspath(config.source),
        state_dir=str(config.state_dir),
        user=user,
        writes=tuple(dict.fromkeys((*written, *directories))),
        reads=tuple(dict.fromkeys((*read, sys.prefix, sys.base_prefix))),
        secret=secret,
        commands=any(isinstance(one, Command) for one in actions),
        lowers_priority=agent.nice > 0 or agent.io_priority != "normal",
        sets_modes=any(
            isinstance(one, DirectoryTable) and (one.dir_mode, one.mode, one.group) != (None, None, None)
            for one in settings.destinations.values()
        ),
    )
    for path in (found.program, found.config, found.state_dir, *found.writes, *found.reads, found.secret or "/"):
        if not path.isprintable():
            raise Refused(f"{path!r} has characters that no service can be given", "rename it")
    return found
