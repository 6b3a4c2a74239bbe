"""Rules as a configuration makes them."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from rules.config.config_error import RuleError, all_errors
from rules.config.settings import Configuration, Settings
from rules.rule import Rule


def rules(
    data: dict[str, Any], to: tuple[str, ...] = ("share",), absolute: Callable[[str], str] = str
) -> tuple[Rule, ...]:
    """The rules of a file f.toml, which has the destinations `to`. Raises RuleError."""
    whole = {**data, "destinations": {name: {"path": f"/{name}"} for name in to} | data.get("destinations", {})}
    try:
        settings = Settings.model_validate(whole, context={"absolute": absolute})
    except ValidationError as error:
        raise RuleError.of("f.toml", all_errors(error, Settings, whole), None) from None
    return Configuration(settings, "f.toml").rules


def rule(table: dict[str, Any]) -> Rule:
    """The rule of one table."""
    return rules({"rules": [table]})[0]
