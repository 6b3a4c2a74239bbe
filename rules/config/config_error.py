"""Errors of the configuration: each names file, line, table and key, and says what to do."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from rules.config.lines import Key, Lines

if TYPE_CHECKING:  # commands that read no configuration do not wait for pydantic
    from pydantic import BaseModel, ValidationError

_AT_ONCE = 50
"""Errors that are shown."""
_LINE = 300
"""Characters of a line of the file that are shown."""
_PRIVATE_TABLES = frozenset({"globus", "notify", "then"})
_PRIVATE = re.compile(r"secret|passw|token|url|webhook|command|globus|notify|://", re.IGNORECASE)
"""Of lines that are not shown: errors go to logs and pages, and what is written there may be private."""
_QUOTED = "'([^']*)'"
_BACKSLASH = re.compile(r'"[^"]*\\[^"]*"?')
BACKSLASH_HINT = "in double quotes a backslash begins an escape: write it in single quotes, as in 'C:\\data'"
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
class ConfigError:
    """Where the configuration is wrong, and how."""

    table: str
    key: str
    message: str
    path: Key = ()
    """The full key, by which its line is found."""


class RuleError(ValueError):
    """Errors of the configuration, each as one line: file, table, key, what is wrong and what to do."""

    def __init__(self, file: str, table: str, key: str, message: str) -> None:
        self.messages: tuple[str, ...] = (_on_one_line(file, table, key, message),)
        super().__init__(self.messages[0])

    @classmethod
    def of(cls, source: str, config_errors: Sequence[ConfigError], lines: Lines | None) -> "RuleError":
        """One error with all of these, each with its line of the file where `lines` knows it."""
        made = cls(source, "", "", "")
        found = []
        config_errors = sorted(config_errors, key=lambda one: (lines and lines.line(one.path)) or 0)
        for one in config_errors[:_AT_ONCE]:
            line = None if lines is None else lines.line(one.path)
            where = source if line is None else f"{source}:{line}"
            public = _PRIVATE_TABLES.isdisjoint(one.path)
            shown = _shown_line(lines.text(line)) if lines is not None and line is not None and public else ""
            found.append(_on_one_line(where, one.table, one.key, one.message) + shown)
        if len(config_errors) > _AT_ONCE:
            found.append(f"{source}: and {len(config_errors) - _AT_ONCE} more")
        made.messages = tuple(found)
        made.args = ("\n".join(found),)
        return made

    @property
    def short(self) -> str:
        """The first error on one line, for logs and pages."""
        more = len(self.messages) - 1
        return self.messages[0].partition("\n")[0] + (
            f" (and {more} more: `dropline check` lists them)" if more else ""
        )


def _on_one_line(*parts: str) -> str:
    *places, message = parts
    line = ": ".join(
        part if len(part) < _SHOWN else part[:_SHOWN] + "..." for part in (*places, " ".join(message.split())) if part
    )
    return _fit(line)


def _fit(line: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


def all_errors(error: "ValidationError", model: "type[BaseModel]", data: dict[str, Any]) -> list[ConfigError]:
    """The errors of pydantic as tables, keys and sentences, one for each key, in the order of the keys."""
    details = error.errors(include_url=False)
    unknown_in = {one["loc"][:-1] for one in details if one["type"] in _UNKNOWN}
    found: dict[Key, ConfigError] = {}
    for detail in details:
        # Where a key in the same table is unknown, that is the one which is missing.
        if detail["type"] != "missing" or detail["loc"][:-1] not in unknown_in:
            path = tuple(location(detail, model))
            if path not in found:
                found[path] = _config_error(detail, model, data)
    # A list or table is not wrong by itself for what is wrong in it.
    return [
        one for path, one in found.items() if not any(path == other[: len(path)] for other in found if other != path)
    ]


def unknown_destinations(data: Mapping[str, Any]) -> list[ConfigError]:
    """Destinations that rules name and the file has not, read beside errors that keep its tables from being compared."""
    known, rules = data.get("destinations"), data.get("rules")
    if not isinstance(known, dict) or not isinstance(rules, list):
        return []
    found = []
    for number, rule in enumerate(rules):
        targets = rule.get("deliver") if isinstance(rule, dict) else None
        for at, target in enumerate(targets if isinstance(targets, list) else ()):
            to = target.get("to") if isinstance(target, dict) else None
            if isinstance(to, str) and to not in known:
                path: list[int | str] = ["rules", number, "deliver", at, "to"]
                table, keys = _table(list(path), dict(data))
                found.append(ConfigError(table, ".".join(map(str, keys)), no_destination(to, known), tuple(path)))
    return found


def no_destination(name: str, known: Collection[str]) -> str:
    """What is wrong where a rule names a destination that there is not."""
    return f"there is no [destinations.{name}]{nearest(name, known)}"


def _config_error(detail: Any, model: "type[BaseModel]", data: dict[str, Any]) -> ConfigError:
    kind, loc = detail["type"], location(detail, model)
    unknown = kind in _UNKNOWN
    if loc[-1:] == ["[key]"] and not unknown:  # it is about the name of a table, not about what is in it
        loc.pop()
    path = tuple(loc)
    table, keys = _table(loc, data)
    key = ".".join(str(part) for part in keys)
    if unknown:
        message = f"unknown key{nearest(str(loc[-1]), _keys(model, list(detail['loc'][:-1])))}"
        return ConfigError(table, key, message, path)
    if kind == "union_tag_invalid":
        known = re.findall("'([^']+)'", detail["ctx"]["expected_tags"])
        named, tag = " or ".join(f'"{one}"' for one in known), str(detail["ctx"]["tag"])
        message = f"is {named}, not {tag!r}{close_to(tag, known)}"
        return ConfigError(f"[{'.'.join(map(str, loc))}]", "transport", message, (*path, "transport"))
    if kind == "missing":
        return ConfigError(table, key, "missing; this key is required", path)
    message = _TYPES.get(kind) or detail["msg"].removeprefix("Value error, ")
    if kind == "wrong":
        return ConfigError(table, key, message, path)
    shown = "" if "secret" in key or key == "globus" else _shown(detail["input"])
    if kind in ("literal_error", "enum") and isinstance(detail["input"], str):
        message = f"{message} (got {shown}){close_to(detail['input'], re.findall(_QUOTED, detail['ctx']['expected']))}"
    return ConfigError(table, key, message if shown in message else f"{message} (got {shown})", path)


def in_text(source: str, text: str, problem: str, line: int | None) -> RuleError:
    """The error of a text that is no TOML, at a line where that is known."""
    shown = text.split("\n")[line - 1].strip() if line is not None and 0 < line <= text.count("\n") + 1 else ""
    message = f"is not TOML: {problem}"
    if _BACKSLASH.search(shown):
        message += f"; {BACKSLASH_HINT}"
    made = RuleError(source if line is None else f"{source}:{line}", "", "", message)
    if shown.startswith("[") or "=" in shown:  # else it may be a part of a text whose key stands above
        made.messages = (made.messages[0] + _shown_line(shown),)
        made.args = made.messages
    return made


def _shown_line(text: str) -> str:
    """A line of the file below an error; nothing where it may have a secret, or the address of a chat or webhook."""
    return "" if _PRIVATE.search(text) else f"\n    {_fit(text[:_LINE])}"


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
    return close_to(word, known) or (f"; known are {', '.join(sorted(known))}" if known else "")


def close_to(word: str, known: Collection[str]) -> str:
    """A hint such as "; did you mean 'include'?"; empty where nothing is near."""
    close = difflib.get_close_matches(word[:_SHOWN], known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


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
    """The annotations of this key or number."""
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
