"""How commands print."""

import json
from typing import Any

import typer

from rules.text import printable


def say(*lines: str, err: bool = False) -> None:
    """Print lines. Odd characters and bytes in them are escaped: a file's name gives no orders to a terminal."""
    for line in lines:
        typer.echo(printable(line), err=err)


_WHY = 200
"""Characters of what is wrong with an expression: the package shows all of the value."""


class _Query:
    """What `--jmespath` asks for: one expression for each call of the program."""

    expression: str | None = None


def select(expression: str | None) -> bool:
    """Print only what a JMESPath expression finds in JSON from now on; None: everything. Returns whether there is one.

    Raises BadParameter where it is none.
    """
    _Query.expression = expression
    if expression is not None:
        _found(expression, None)
    return expression is not None


def _found(expression: str, value: Any) -> Any:
    # Imported here: it is asked for seldom.
    import jmespath

    try:
        compiled = jmespath.compile(expression)
        return None if value is None else compiled.search(value)
    except (ValueError, jmespath.exceptions.JMESPathError) as error:
        why = str(error).partition("\n")[0].rstrip(":")[:_WHY]
        raise typer.BadParameter(f"the JMESPath expression {printable(expression)!r} finds nothing: {why}.") from None


def print_json(value: Any) -> None:
    """JSON on standard output; file names that are not UTF-8 keep their bytes as \\udcXX escapes."""
    plain = value if _Query.expression is None else _found(_Query.expression, json.loads(json.dumps(value)))
    typer.echo(json.dumps(plain, indent=2))
