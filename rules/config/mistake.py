"""Mistakes in the configuration: each is one line that names file, table and key, and says what to do."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

if TYPE_CHECKING:  # commands that read no configuration do not wait for pydantic
    from pydantic import BaseModel, ValidationError

_SHOWN = 2000
"""Characters of a key, or of what is wrong with it, that are shown."""
_TYPES = {
    "tuple_type": "write a list, [ ... ], or for tables [[ ... ]]",
    "dict_type": "write a table, { ... }",
    "model_type": "write a table, { ... }",
    "string_type": "write text in quotes",
}
"""What pydantic calls by Python's names."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """Where the configuration is wrong, and how."""

    table: str
    key: str
    message: str


class RuleError(ValueError):
    """A mistake in the configuration, as one line: file, table, key, what is wrong and what to do."""

    def __init__(self, file: str, table: str, key: str, message: str) -> None:
        line = ": ".join(
            part if len(part) < _SHOWN else part[:_SHOWN] + "..."
            for part in (file, table, key, " ".join(message.split()))
            if part
        )
        super().__init__("".join(char if char.isprintable() else repr(char)[1:-1] for char in line))


def first_mistake(error: "ValidationError", model: "type[BaseModel]", data: dict[str, Any]) -> Mistake:
    """The first error of pydantic as table, key and sentence; unknown keys come with the nearest known one."""
    detail = error.errors(include_url=False)[0]
    kind, loc = detail["type"], location(detail, model)
    if loc[-1:] == ["[key]"] and kind != "extra_forbidden":  # it is about the name of a table, not about what is in it
        loc.pop()
    table, keys = _table(loc, data)
    key = ".".join(str(part) for part in keys)
    if kind == "extra_forbidden":
        return Mistake(table, key, f"unknown key{nearest(str(loc[-1]), _keys(model, list(detail['loc'][:-1])))}")
    if kind == "union_tag_invalid":
        named = detail["ctx"]["expected_tags"].replace("'", '"').replace(", ", " or ")
        return Mistake(f"[{'.'.join(map(str, loc))}]", "transport", f"is {named}, not {detail['ctx']['tag']!r}")
    if kind == "missing":
        return Mistake(table, key, "missing; this key is required")
    message = _TYPES.get(kind) or detail["msg"].removeprefix("Value error, ")
    shown = "" if "secret" in key or key == "globus" else _shown(detail["input"])
    return Mistake(table, key, message if shown in message else f"{message} (got {shown})")


def location(detail: Any, model: "type[BaseModel]") -> list[int | str]:
    """Where the error is, without the tags by which pydantic tells tables of several kinds apart."""
    found: list[Any] = [model]
    parts: list[int | str] = []
    for part in detail["loc"]:
        tagged = [inner for one in found for inner in _tagged(one, part)]
        parts += [] if tagged else [part]
        found = tagged or [inner for one in found for inner in _inside(one, part)]
    return parts


def _shown(value: object) -> str:
    """What was written, if that is short."""
    if isinstance(value, dict | list) or (isinstance(value, int) and value.bit_length() > 64):
        return ""
    shown = repr(value)
    return shown if len(shown) <= 100 else ""


def nearest(word: str, known: Collection[str]) -> str:
    """A hint such as "; did you mean 'include'?", or the list of what is known."""
    close = difflib.get_close_matches(word[:_SHOWN], known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def _table(loc: list[int | str], data: dict[str, Any]) -> tuple[str, list[int | str]]:
    if loc[:1] == ["rules"] and len(loc) > 1 and isinstance(loc[1], int):
        tables = data.get("rules")
        table = tables[loc[1]] if isinstance(tables, list) and loc[1] < len(tables) else None
        name = table.get("name") if isinstance(table, dict) else None
        named = isinstance(name, str) and name != ""
        return f"[[rules]] {name!r}" if named else f"[[rules]] number {loc[1] + 1}", loc[2:]
    if loc[:1] == ["destinations"] and len(loc) > 2:
        return f"[destinations.{loc[1]}]", loc[2:]
    if len(loc) > 1:
        return f"[{loc[0]}]", loc[1:]
    return "", loc


def _keys(model: "type[BaseModel]", loc: Sequence[int | str]) -> list[str]:
    """The keys known at this place: follow the annotations of the models down."""
    found: list[Any] = [model]
    for part in loc:
        found = [inner for one in found for inner in (_tagged(one, part) or _inside(one, part))] or found
    fields = [field for one in found for inner in _models(one) for field in inner.model_fields.items()]
    return sorted({field.alias or key for key, field in fields})


def _inside(annotation: Any, part: int | str) -> list[Any]:
    """The annotations of what stands there under this key or number."""
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return [field.annotation] if field is not None else []
    if get_origin(annotation) in (dict, tuple):
        return [get_args(annotation)[1 if get_origin(annotation) is dict else 0]]
    return [found for inner in get_args(annotation) for found in _inside(inner, part)]


def _tagged(annotation: Any, part: int | str) -> list[Any]:
    """The annotations of the tables with this tag."""
    if any(getattr(mark, "tag", None) == part for mark in get_args(annotation)):
        return [get_args(annotation)[0]]
    if _is_model(annotation) or get_origin(annotation) in (dict, tuple):
        return []
    return [found for inner in get_args(annotation) for found in _tagged(inner, part)]


def _models(annotation: Any) -> "list[type[BaseModel]]":
    if _is_model(annotation):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "model_fields")
