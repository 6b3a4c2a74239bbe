"""What commands share: their options, the configuration, the ledger, and how results are printed."""

import os
import pathlib
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from agent.app.configuration import check, find, here, parse, require_not_of_another
from agent.app.kept import last_good, why_refused
from agent.cli.printing import say
from agent.errors import Refused, cause
from agent.host import own_files
from agent.host.zone import show_in
from agent.ledger import Ledger
from agent.observe.status import old_rules
from rules.config.config_error import RuleError
from rules.config.settings import Configuration
from rules.units import duration

if TYPE_CHECKING:
    PathOfUser = pathlib.PurePath
else:
    # At run time the class that typer shows and checks as a path. No command does I/O with it: mypy sees to that.
    PathOfUser = pathlib.Path

ConfigOption = Annotated[
    PathOfUser | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file; else ./dropline.toml, the user's, the system's.",
    ),
]


STATE_HERE = ".dropline"
"""Where `run --watch DIR --to DIR` keeps its state: in the current directory."""


def whole(path: str | pathlib.PurePath) -> str:
    """A path that a person named, from the root on and with "/" between its parts, as the ledger has it."""
    made = os.path.abspath(path).replace(os.sep, "/")
    return made if made.startswith("/") else made[0].upper() + made[1:]  # a drive, as the configuration has it


class Format(StrEnum):
    """How reports are printed."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="text for people, json for programs.")]


def configuration(path: PathOfUser | None) -> Configuration:
    """The configuration file of this call. Raises RuleError and, where there is none, Refused."""
    found = find(path)
    if found is None:
        hint = "write one with `dropline init`, name one with --config, or use `dropline run --watch DIR --to DIR`"
        raise Refused("no configuration file (dropline.toml) here, in the user's or in the system's folder", hint)
    return _in_its_zone(parse(found))


def _in_its_zone(config: Configuration) -> Configuration:
    """The same; times are shown by its clock from now on."""
    show_in(config.zone)
    return config


def as_written(path: PathOfUser | None) -> Configuration:
    """The configuration file; without one, that of the state which `run --watch` left here. Raises RuleError, Refused."""
    found = find(path)
    if found is not None:
        return _in_its_zone(parse(found))
    data = {"agent": {"state_dir": STATE_HERE}} if own_files.is_directory(STATE_HERE) else {}
    if data:
        require_not_of_another(here() / STATE_HERE)
    return check(data, "no configuration file", here())


class InEffect(NamedTuple):
    """The configuration that commands go by, which need no more than the ledger."""

    config: Configuration
    refused: str | None
    """Why the configuration file, as it is now, is not in effect."""


def state(path: PathOfUser | None) -> Configuration:
    """As `in_effect`; standard error says where that is not what the file says."""
    found, refused = in_effect(path)
    if refused is not None:
        say(f"warning: {old_rules(refused)}", err=True)
    return found


def in_effect(path: PathOfUser | None) -> InEffect:
    """As `as_written`; while the file has an error, what the agent took last from it: no account, no actions.

    Raises RuleError, Refused.
    """
    try:
        config = as_written(path)
    except RuleError as error:
        found = find(path)
        last = last_good(found) if found is not None else None
        if last is None:
            raise
        return InEffect(_in_its_zone(last), error.short)
    return InEffect(config, why_refused(config))


def ledger(config: Configuration, *, read_only: bool = False) -> Ledger:
    """The ledger of a configuration. Raises Refused where there is none yet."""
    if not has_ledger(config):
        hint = "start the agent with `dropline run`, or name its configuration with --config"
        raise Refused(f"there is no ledger at {config.ledger}", hint)
    return Ledger(str(config.ledger), read_only=read_only)


def has_ledger(config: Configuration) -> bool:
    """Whether there is a ledger. Raises Refused where that cannot be told."""
    try:
        return own_files.exists(config.ledger)
    except OSError as error:
        hint = "give the command as the user that the agent runs as"
        raise Refused(f"the ledger {config.ledger} cannot be looked at: {cause(error)}", hint) from error


def seconds(text: str | None) -> float | None:
    """A duration of the command line. Raises Refused."""
    try:
        return duration(text) if text is not None else None
    except ValueError as error:
        raise Refused(str(error), "see --help") from None
