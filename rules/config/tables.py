"""What every TOML table of the configuration is made of: how durations, sizes and paths are read."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Annotated, Any, Union

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from rules import units
from rules.config.config_error import BACKSLASH_HINT
from rules.patterns.expression import compiled

_EPOCH = datetime.fromtimestamp(0, UTC)


def _read(convert: Callable[[str], float]) -> BeforeValidator:
    def validate(value: object) -> float:
        if not isinstance(value, str):
            raise ValueError(
                f"write it as text with its unit, for example {'15%' if convert is units.fraction else '30s'!r}"
            )
        return convert(value)

    return BeforeValidator(validate)


def _read_size(value: object) -> int:
    if isinstance(value, str):
        return units.size(value)
    if type(value) is int:
        return value
    raise ValueError("write it as text with its unit, for example '50GB', or as a whole number of bytes")


def local_path(value: str, info: ValidationInfo) -> str:
    """A path of this computer, made absolute. Raises ValueError."""
    if not value or "\0" in value:
        raise ValueError("is not a path")
    _without_escapes(value, "tab")
    return absolute(value, info)


def _without_escapes(value: str, example: str) -> None:
    """Raises ValueError where TOML made a control character of a backslash: nobody means one."""
    if any(char < " " for char in value):
        raise ValueError(f"has a {example} or another control character; {BACKSLASH_HINT}")


def absolute(path: str, info: ValidationInfo) -> str:
    """A local path as the configuration means it: the context's `absolute` makes it so. Raises ValueError."""
    made: str = info.context["absolute"](path) if info.context is not None else path
    return made


def _regex(value: object) -> re.Pattern[str]:
    if not isinstance(value, str) or not value:
        raise ValueError("is empty" if value == "" else "write text in quotes")
    _without_escapes(value, "backspace")
    return compiled(value)


def is_host(name: str) -> bool:
    """Whether a computer can have this name or address: between its dots are 1 to 63 characters."""
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False


def cron(value: str) -> str:
    """A cron expression. Raises ValueError."""
    try:
        next(CronSim(value, _EPOCH))
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"{value!r} is not a cron expression: {error}") from None
    return value


def _day(value: object) -> date:
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(
            "is no date such as 2026-01-31; an age would slide on, and drop what an outage had kept waiting"
        ) from None


_DURATION = {"type": "string", "pattern": units.DURATION}
_SIZE = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": units.SIZE}]}
Duration = Annotated[float, _read(units.duration), WithJsonSchema(_DURATION)]
Fraction = Annotated[
    float, _read(units.fraction), WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$"})
]
Size = Annotated[int, BeforeValidator(_read_size), Field(ge=0, le=10**18), WithJsonSchema(_SIZE)]
LocalPath = Annotated[str, AfterValidator(local_path)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""Of a rule or a destination."""
Regex = Annotated[re.Pattern[str], BeforeValidator(_regex), WithJsonSchema({"type": "string", "minLength": 1})]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Cron = Annotated[str, AfterValidator(cron)]
STRICT = ConfigDict(extra="forbid")
"""Of dataclasses that are tables: unknown keys are errors."""


class Table(BaseModel):
    """A TOML table: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def told_by_key(kinds: Mapping[str, type]) -> Any:
    """A table of one of these kinds: the key that is named as the kind says which."""

    def kind(value: object) -> str | None:
        if isinstance(value, dict):
            found = {one for key in map(str, value) for one in get_close_matches(key, kinds, n=1, cutoff=0.8)}
        else:  # it was read already, and is to be written
            found = {one for one, model in kinds.items() if isinstance(value, model)}
        return f"{found.pop()} =" if len(found) == 1 else None

    tagged: Any = Union[tuple(Annotated[model, Tag(f"{name} =")] for name, model in kinds.items())]  # noqa: UP007
    message = f"write a table with exactly one of {', '.join(kinds)}"
    return Annotated[tagged, Discriminator(kind, custom_error_type="wrong", custom_error_message=message)]


Wrong = tuple[object, Sequence[str | int]]
"""What is wrong, and with which key, from a table on."""


def wrong(message: object, *key: str | int) -> ValidationError:
    """The error of a key in a table, for validators of the whole table to raise. `key`: from the table on."""
    return all_wrong([(message, key)])


def all_wrong(found: Sequence[Wrong]) -> ValidationError:
    """The same for several keys."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError("wrong", "{message}", {"message": str(message)}), loc=tuple(key), input=None
        )
        for message, key in found
    ]
    return ValidationError.from_exception_data("", details)
