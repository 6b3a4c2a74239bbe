"""Mistakes in the configuration: each is one line that names file, table and key, and says what to do."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

if TYPE_CHECKING:  # commands that read no configuration do not wait for pydantic
    from pydantic import BaseModel, ValidationError

_SHOWN = 2000
"""Characters of a key, or of what is wrong with it, that are shown."""
_TYPES = {
    "tuple_type": "write a list, [ ... ], or for tables [[ ... ]]",
    "dict_type": "write a table, { ... }",
    "dataclass_type": "write a table, { ... }",
    "model_type": "write a table, { ... }",
    "string_type": "write text in quotes",
}
"""What pydantic calls by Python's names."""
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


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
    details = error.errors(include_url=False)
    detail = details[0]
    if detail["type"] == "missing":  # where a key in the same table is unknown, that is the one
        beside = (one for one in details if one["type"] in _UNKNOWN and one["loc"][:-1] == detail["loc"][:-1])
        detail = next(beside, detail)
    kind, loc = detail["type"], location(detail, model)
    unknown = kind in _UNKNOWN
    if loc[-1:] == ["[key]"] and not unknown:  # it is about the name of a table, not about what is in it
        loc.pop()
    table, keys = _table(loc, data)
    key = ".".join(str(part) for part in keys)
    if unknown:
        return Mistake(table, key, f"unknown key{nearest(str(loc[-1]), _keys(model, list(detail['loc'][:-1])))}")
    if kind == "union_tag_invalid":
        named = detail["ctx"]["expected_tags"].replace("'", '"').replace(", ", " or ")
        return Mistake(f"[{'.'.join(map(str, loc))}]", "transport", f"is {named}, not {detail['ctx']['tag']!r}")
    if kind == "missing":
        return Mistake(table, key, "missing; this key is required")
    message = _TYPES.get(kind) or detail["msg"].removeprefix("Value error, ")
    if kind == "wrong":
        return Mistake(table, key, message)
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
    """The keys known at this place: follow the annotations of the tables down."""
    found: list[Any] = [model]
    for part in loc:
        found = [inner for one in found for inner in (_tagged(one, part) or _inside(one, part))] or found
    return sorted({key for one in found for key in _known(one)})


def _inside(annotation: Any, part: int | str) -> list[Any]:
    """The annotations of what stands there under this key or number."""
    fields = _fields(annotation)
    if fields is not None:
        return [fields[str(part)]] if part in fields else []
    if get_origin(annotation) in (dict, tuple):
        return [get_args(annotation)[1 if get_origin(annotation) is dict else 0]]
    return [found for inner in get_args(annotation) for found in _inside(inner, part)]


def _tagged(annotation: Any, part: int | str) -> list[Any]:
    """The annotations of the tables with this tag."""
    if any(getattr(mark, "tag", None) == part for mark in get_args(annotation)):
        return [get_args(annotation)[0]]
    if _fields(annotation) is not None or get_origin(annotation) in (dict, tuple):
        return []
    return [found for inner in get_args(annotation) for found in _tagged(inner, part)]


def _known(annotation: Any) -> Collection[str]:
    """The keys of a table, or of the tables in an annotation."""
    fields = _fields(annotation)
    if fields is not None:
        return fields
    return [key for inner in get_args(annotation) for key in _known(inner)]


def _fields(annotation: Any) -> dict[str, Any] | None:
    """Key -> annotation of what may be there, of a table; None: it is none."""
    if not isinstance(annotation, type):
        return None
    if hasattr(annotation, "model_fields"):
        return {field.alias or key: field.annotation for key, field in annotation.model_fields.items()}
    if not is_dataclass(annotation):
        return None
    hints = get_type_hints(annotation, include_extras=True)
    alias = {
        key: [one for mark in get_args(hint)[1:] if (one := getattr(mark, "alias", None))]
        for key, hint in hints.items()
    }
    return {(alias[one.name] or [one.name])[0]: hints[one.name] for one in fields(annotation) if one.init}
