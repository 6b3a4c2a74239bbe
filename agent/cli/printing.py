"""How commands print."""

import json
from typing import Any

import typer

from rules.text import printable


def say(*lines: str, err: bool = False) -> None:
    """Print lines. Odd characters and bytes in them are escaped: a file's name gives no orders to a terminal."""
    for line in lines:
        typer.echo(printable(line), err=err)


def print_json(value: Any) -> None:
    """JSON on standard output; file names that are not UTF-8 keep their bytes as \\udcXX escapes."""
    typer.echo(json.dumps(value, indent=2))
