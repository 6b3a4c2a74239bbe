"""The command line: `dropline COMMAND`. Each command is in the module of its noun."""

import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer

from agent.cli import (  # fmt: skip
    demo,
    globus,
    instruments,
    notifying,
    reports,
    running,
    sending,
    service,
    steering,
    support,
    verifying,
)
from agent.errors import LedgerError, Refused, Transient
from rules.config.mistake import RuleError

app = typer.Typer(
    name="dropline",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dropline {version('dropline')}")
        raise typer.Exit


@app.callback()
def common(
    wanted: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Watches instrument folders, delivers finished files, proves that they arrived."""


running.register(app)
reports.register(app)
steering.register(app)
sending.register(app)
verifying.register(app)
notifying.register(app)
globus.register(app)
instruments.register(app)
demo.register(app)
service.register(app)
support.register(app)


def main() -> None:
    """Entry point. Exit codes: 0 fine, 1 something is failed or refused, 2 usage or configuration."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names have letters that not every terminal can show
    try:
        app()
    except RuleError as error:
        print(f"dropline: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Refused as error:
        print(f"dropline: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (LedgerError, Transient) as error:
        print(f"dropline: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        sys.stderr.close()
        raise SystemExit(1) from None


__all__ = ["app", "main"]
