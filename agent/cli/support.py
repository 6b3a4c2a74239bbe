"""`schema` and `report`: the configuration for editors, and a bundle for support."""

import time
import tomllib
from pathlib import PurePath
from typing import Annotated

import typer

from agent.app.configuration import absolute, check, find
from agent.app.schema import schema
from agent.cli.options import ConfigOption, PathOfUser, as_written
from agent.cli.printing import print_json, say
from agent.errors import Refused, cause
from agent.host import own_files
from agent.observe import report as bundle
from rules.config.config_error import RuleError
from rules.config.settings import Configuration
from rules.units import bytes_in_words

commands = typer.Typer()

OutputOption = Annotated[
    PathOfUser | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
]


@commands.command("schema")
def show_schema(output: OutputOption = None) -> None:
    """The JSON Schema of the configuration: editors check and complete `dropline.toml` with it."""
    if output is None:
        print_json(schema())
        return
    from json import dumps

    try:
        own_files.write(output, f"{dumps(schema(), indent=2)}\n".encode())
    except OSError as error:
        raise Refused(f"{output} cannot be written: {cause(error)}", "name another file") from error
    say(f'wrote {output}; begin dropline.toml with the line "#:schema {output}"')


@commands.command()
def report(config: ConfigOption = None, output: OutputOption = None) -> None:
    """A support bundle: configuration without secrets, status, last log lines, versions. Says what is in it."""
    found, config_error = _as_far_as_it_can_be_read(config)
    target = output or PurePath(time.strftime("dropline-report-%Y%m%d-%H%M%S.zip"))
    entries = bundle.write(target, found, config_error)
    say(f"wrote {target}:")
    for one in entries:
        say(f"  {one.name:<19} {bytes_in_words(one.size):>8}  {one.what}")
    if config_error is not None:
        say(f"the configuration is not good, and is not in it: {config_error}")
    say("Secrets are masked. Names of files, folders, users and computers are in it: look it over before you send it.")


def _as_far_as_it_can_be_read(config: PathOfUser | None) -> tuple[Configuration, str | None]:
    """The configuration, or where that is not good, what leads to the state directory, with the error."""
    try:
        return as_written(config), None
    except RuleError as error:
        config_error = str(error)
    try:
        source = find(config)
        assert source is not None, "it was read"
    except RuleError:
        if config is None:
            raise  # another user's, which may lead anywhere
        return check({}, str(config), absolute(config).parent), config_error
    try:
        table = tomllib.loads(source.text.decode("utf-8-sig")).get("agent")
        place = {"state_dir": table["state_dir"]} if isinstance(table, dict) and "state_dir" in table else {}
        return check({"agent": place}, str(source.path), absolute(source.path).parent), config_error
    except ValueError:  # RuleError is one
        return check({}, str(source.path), absolute(source.path).parent), config_error
