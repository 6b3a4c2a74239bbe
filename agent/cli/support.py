"""`schema` and `report`: the configuration for editors, and a bundle for whoever is to help."""

import time
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from agent.app.configuration import check, find
from agent.app.schema import schema
from agent.cli.options import ConfigOption, print_json, state
from agent.errors import Refused, cause
from agent.observe import report as bundle
from rules.config.mistake import RuleError
from rules.config.settings import Configuration
from rules.units import bytes_in_words

OutputOption = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")]


def show_schema(output: OutputOption = None) -> None:
    """The JSON Schema of the configuration: editors check and complete `dropline.toml` with it."""
    if output is None:
        print_json(schema())
        return
    from json import dumps

    try:
        output.write_text(dumps(schema(), indent=2) + "\n", "utf-8")
    except OSError as error:
        raise Refused(f"{output} cannot be written: {cause(error)}", "name another file") from error
    typer.echo(f'wrote {output}; begin dropline.toml with the line "#:schema {output}"')


def report(config: ConfigOption = None, output: OutputOption = None) -> None:
    """A support bundle: configuration without secrets, status, last log lines, versions. Says what is in it."""
    found, mistake = _as_far_as_it_can_be_read(config)
    target = output or Path(time.strftime("dropline-report-%Y%m%d-%H%M%S.zip"))
    entries = bundle.write(target, found, mistake)
    typer.echo(f"wrote {target}:")
    for one in entries:
        typer.echo(f"  {one.name:<19} {bytes_in_words(one.size):>8}  {one.what}")
    if mistake is not None:
        typer.echo(f"the configuration is not good, and is not in it: {mistake}")
    typer.echo(
        "Secrets are masked. Names of files, folders, users and computers are in it: look it over before you send it."
    )


def _as_far_as_it_can_be_read(config: Path | None) -> tuple[Configuration, str | None]:
    """The configuration, or where that is not good, what leads to the state directory, with the mistake."""
    try:
        return state(config), None
    except RuleError as error:
        mistake = str(error)
    source = find(config)
    assert source is not None, "it was read"
    try:
        table = tomllib.loads(source.read_text("utf-8-sig")).get("agent")
        place = {"state_dir": table["state_dir"]} if isinstance(table, dict) and "state_dir" in table else {}
        return check({"agent": place}, str(source), source.absolute().parent), mistake
    except (OSError, ValueError):  # RuleError is one
        return check({}, str(source), source.absolute().parent), mistake


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("schema")(show_schema)
    app.command("report")(report)
