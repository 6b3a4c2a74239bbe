"""Rules as a configuration makes them."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from rules.config.load import RuleTable, Table, build
from rules.config.mistake import RuleError, first_mistake
from rules.model import Rule


class File(Table):
    """A configuration that has rules only."""

    rules: tuple[RuleTable, ...]


def rules(
    data: dict[str, Any], to: tuple[str, ...] = ("share",), absolute: Callable[[str], str] = str
) -> tuple[Rule, ...]:
    """The rules of a file f.toml, which has the destinations `to`. Raises RuleError."""
    try:
        made = File.model_validate(data).rules
    except ValidationError as error:
        mistake = first_mistake(error, File, data)
        raise RuleError("f.toml", mistake.table, mistake.key, mistake.message) from None
    return build(made, to, "f.toml", absolute)


def rule(table: dict[str, Any]) -> Rule:
    """The rule of one table."""
    return rules({"rules": [table]})[0]
