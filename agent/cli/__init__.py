"""The command line: `dropline COMMAND`. Each command is in the module of its noun, which is imported when it is called."""

import sys
from collections import UserDict
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agent.cli.printing import say, select
from agent.errors import LedgerDamaged, LedgerError, Refused, Transient
from rules.config.config_error import RuleError

_MODULES = {
    "run": "running", "check": "running", "init": "running", "takeover": "running",
    "status": "reports", "explain": "reports", "files": "reports", "batches": "reports",
    "retry": "steering", "reclaim": "steering", "pause": "steering", "resume": "steering", "complete": "steering",
    "wait": "steering",
    "send": "sending", "fetch": "sending",
    "verify": "verifying",
    "notify": "notifying",
    "login": "globus", "logout": "globus", "whoami": "globus", "collections": "globus", "ls": "globus",
    "presets": "instruments", "try": "instruments", "simulate": "instruments",
    "demo": "demo",
    "service": "service",
    "schema": "support", "report": "support",
}  # fmt: skip
"""Command -> the module that has it, in the order of `--help`."""


class _Commands(UserDict[str, Any]):
    """The command of each name, imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        module = import_module(f"agent.cli.{self.data[name]}")
        return _with_query(typer.main.get_group(module.commands).commands[name])


def _with_query(command: Any) -> Any:
    """The command, or each of a group, with `--jmespath` where it has `--format`."""
    for one in getattr(command, "commands", {"": command}).values():
        form = next((param for param in one.params if param.name == "form"), None)
        if form is not None:
            one.params.append(_query())
            form.callback = lambda context, option, value: type(value)("json") if context.meta.get(_QUERY) else value
    return command


_QUERY = "dropline.jmespath"


def _query() -> Any:
    """`--jmespath`, of every command that has `--format`: as `globus` has it."""

    def chosen(context: typer.Context, value: str | None) -> None:
        context.meta[_QUERY] = select(value)

    made = typer.Typer()

    @made.command()
    def _(
        query: Annotated[
            str | None,
            typer.Option(
                "--jmespath", metavar="EXPR", is_eager=True, expose_value=False, callback=chosen,
                help="A JMESPath expression: print only what it finds, as JSON.",
            ),
        ] = None,
    ) -> None: ...  # fmt: skip

    return next(one for one in typer.main.get_command(made).params if one.name == "query")


class _Group(TyperGroup):
    """Imports no command but the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes | {"commands": _Commands(_MODULES)})


_USAGE: Any = typer.BadParameter.__bases__[0]
"""UsageError: click's, or typer's own."""
app = typer.Typer(
    name="dropline",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"dropline {version('dropline')}")
        raise typer.Exit


@app.callback()
def common(
    wanted: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Watches instrument folders, delivers finished files, proves that they arrived."""


def main() -> None:
    """Entry point. Exit codes: 0 fine, 1 something is failed or refused, 2 usage or configuration."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # File names have letters that not every terminal can show, and that no code page of Windows has.
            stream.reconfigure(encoding="utf-8" if sys.platform == "win32" else None, errors="backslashreplace")
    try:
        raise SystemExit(app(standalone_mode=False) or 0)
    except _USAGE as error:
        command = error.ctx.command_path if error.ctx else "dropline"
        say(f"dropline: {error.format_message() or 'Name a command.'} `{command} --help` says how", err=True)
        raise SystemExit(2) from None
    except typer.Abort:
        raise SystemExit(1) from None
    except RuleError as error:
        for message in error.messages:
            say(f"dropline: {message}", err=True)
        raise SystemExit(2) from None
    except (Refused, LedgerDamaged) as error:
        say(f"dropline: {error}", err=True)
        raise SystemExit(2) from None
    except (LedgerError, Transient) as error:
        say(f"dropline: {error}", err=True)
        raise SystemExit(1) from None
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        sys.stderr.close()
        raise SystemExit(1) from None


__all__ = ["app", "main"]
