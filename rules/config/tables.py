"""What every TOML table of the configuration is made of: how durations, sizes and paths are read."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from rules import units


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


def _path(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("is not a path")
    return value


_DURATION = {"type": "string", "pattern": units.DURATION}
_SIZE = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": units.SIZE}]}
Duration = Annotated[float, _read(units.duration), WithJsonSchema(_DURATION)]
Fraction = Annotated[
    float, _read(units.fraction), WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$"})
]
Size = Annotated[int, BeforeValidator(_read_size), Field(ge=0, le=10**18), WithJsonSchema(_SIZE)]
LocalPath = Annotated[str, AfterValidator(_path)]


class Table(BaseModel):
    """A TOML table: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
