"""The `[[rules]]` tables of the configuration, as rules; every mistake is one line naming file, table and key."""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, Literal, get_args, get_origin

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, Field, Tag, ValidationError

from rules import actions, destination
from rules.dataset import captured, known_fields
from rules.match import glob_mistake, looked_for, marker_mistake, relative
from rules.model import SENT, Conditions, Reclaim, Rule, Sealing, Target, Together
from rules.pattern import compiled
from rules.require import ConditionTable, DatasetTable, condition, together
from rules.tables import Duration, Fraction, LocalPath, Size, Table

_SHOWN = 2000
"""Characters of a key, or of what is wrong with it, that are shown."""
_EPOCH = datetime.fromtimestamp(0, UTC)
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


class CompleteTable(Table):
    """`complete = { ... }`"""

    quiet: Duration | None = None
    marker: str | None = Field(default=None, min_length=1)
    patience: Duration | None = None
    min_size: Size = 0
    require: tuple[ConditionTable, ...] = ()


class BatchTable(Table):
    """`batch = { ... }`"""

    by: str | None = None
    max_files: int = Field(default=500, ge=1, le=100_000)
    max_bytes: Size = 50_000_000_000
    linger: Duration = 1.0
    max_age: Duration | None = None
    schedule: str | None = None


class DeliverTable(Table):
    """One entry of `deliver = [ ... ]`"""

    to: str
    path: str = "{relpath}"


class ReclaimTable(Table):
    """`reclaim = { ... }`"""

    after: Duration | None = None
    when_free_below: Fraction | None = None
    trash: Duration | None = None
    empty_dirs: bool = False
    evidence: Literal["checksum", "stat"] = "checksum"


class ThenTable(Table):
    """One entry of `then = [ ... ]`"""

    webhook: str | None = None
    secret_file: LocalPath | None = None
    header: str | None = None
    command: tuple[str, ...] | None = None
    flow: str | None = None
    body: dict[str, Any] | None = None
    timeout: Duration | None = None


class RuleTable(Table):
    """One `[[rules]]` table."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    watch: LocalPath
    preset: str | None = None
    dataset: DatasetTable | None = None
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    capture: str | None = None
    complete: CompleteTable = CompleteTable()
    batch: BatchTable = BatchTable()
    deliver: tuple[DeliverTable, ...] = Field(min_length=1)
    reclaim: ReclaimTable | None = None
    then: tuple[ThenTable, ...] = ()
    share_with: tuple[str, ...] = ()


def build(
    tables: Sequence[RuleTable], destinations: Collection[str], file: str, absolute: Callable[[str], str]
) -> tuple[Rule, ...]:
    """The rules of the tables, in their order.

    Args:
        tables: the `[[rules]]` tables.
        destinations: names of the configured destinations.
        file: name of the configuration file, for messages.
        absolute: makes a `watch` absolute and "/"-separated (it knows the file's folder and `~`).

    Raises RuleError.
    """
    rules = tuple(_rule(table, destinations, file, absolute) for table in tables)
    for one, other in combinations(rules, 2):
        if one.name == other.name:
            raise RuleError(file, f"[[rules]] {one.name!r}", "name", "two rules have this name; give each its own")
        nested = one.watch == other.watch or relative(one.watch, other.watch) or relative(other.watch, one.watch)
        if nested and one.reclaim != other.reclaim:
            message = (
                f"its directory {other.watch} overlaps that of rule {one.name!r} ({one.watch}), but they reclaim differently;"
                " give both the same reclaim, or watch separate directories"
            )
            raise RuleError(file, f"[[rules]] {other.name!r}", "reclaim", message)
    return rules


def _rule(table: RuleTable, destinations: Collection[str], file: str, absolute: Callable[[str], str]) -> Rule:
    def wrong(key: str, message: object) -> RuleError:
        return RuleError(file, f"[[rules]] {table.name!r}", key, str(message))

    if table.name == SENT:
        raise wrong("name", "is kept for what `dropline send` delivers; choose another")
    capture = None
    if table.capture is not None:
        try:
            capture = compiled(table.capture)
        except ValueError as error:
            raise wrong("capture", error) from None
    dataset = together(table.dataset, wrong)
    groups = tuple(capture.groupindex) if capture else ()
    shared = captured(dataset) - {"dir"}
    for key, found in (("capture", groups), ("dataset", sorted(shared))):
        for name in found:
            if name in (*destination.FIELDS, "mtime"):
                raise wrong(key, f"the group name {name!r} is taken by a template field; give it another")
    fields = (*groups, *sorted(shared))
    for key, patterns in (("include", table.include), ("exclude", table.exclude)):
        for pattern in patterns:
            mistake = glob_mistake(pattern)
            if mistake is not None:
                raise wrong(key, f"{pattern[: _SHOWN // 10]!r} {mistake}")
    complete = _conditions(table, dataset, wrong)
    whole = dataset is not None or bool(complete.require)
    marker = table.complete.marker
    mistake = None if marker is None else marker_mistake(marker)
    if mistake is not None:
        raise wrong("complete.marker", f"{marker!r} {mistake}")
    by = table.batch.by or ("dataset" if whole else "dir")
    if by == "dataset" and not whole:
        raise wrong("batch.by", "'dataset' wants a `dataset`, or `complete.require`")
    if by == "capture" and not groups:
        raise wrong("batch.by", "'capture' wants a `capture` regular expression with named groups, (?P<run>...)")
    if by not in ("dir", "dataset", "capture"):
        if "{" not in by:
            raise wrong("batch.by", f"{by!r} is none of 'dir', 'dataset', 'capture' or a template such as '{{run}}'")
        try:
            destination.check(by, fields)
        except destination.PathRefused as error:
            raise wrong("batch.by", error) from None
    if table.batch.schedule is not None:
        try:
            next(CronSim(table.batch.schedule, _EPOCH))
        except (CronSimError, StopIteration) as error:
            raise wrong("batch.schedule", f"{table.batch.schedule!r} is not a cron expression: {error}") from None
    for target in table.deliver:
        if target.to not in destinations:
            raise wrong("deliver", f"there is no [destinations.{target.to}]{nearest(target.to, destinations)}")
        try:
            destination.check(target.path, fields)
        except destination.PathRefused as error:
            raise wrong("deliver", error) from None
    if len({target.to for target in table.deliver}) != len(table.deliver):
        raise wrong("deliver", "the same destination twice")
    reclaim = table.reclaim
    if reclaim is not None and reclaim.after is None and reclaim.when_free_below is None:
        raise wrong("reclaim", "says neither `after` nor `when_free_below`, so it would never reclaim; add one")
    to = [target.to for target in table.deliver]
    try:
        then = tuple(actions.action(one.model_dump(exclude_none=True), absolute, to) for one in table.then)
    except RuleError:
        raise  # of a path in it
    except ValueError as error:
        raise wrong("then", error) from None
    try:
        share_with = tuple(dict.fromkeys(actions.share(one) for one in table.share_with))
    except ValueError as error:
        raise wrong("share_with", error) from None
    return Rule(
        name=table.name,
        watch=absolute(table.watch),
        include=table.include,
        exclude=table.exclude,
        capture=capture,
        complete=complete,
        batch=Sealing(**(dict(table.batch) | {"by": by})),
        deliver=tuple(Target(target.to, target.path) for target in table.deliver),
        reclaim=Reclaim(**dict(reclaim)) if reclaim else None,
        dataset=dataset,
        then=then,
        share_with=share_with,
    )


def _conditions(table: RuleTable, dataset: Together | None, wrong: Callable[[str, object], RuleError]) -> Conditions:
    written = table.complete
    if written.marker is not None and (dataset is not None or written.require):
        raise wrong("complete.marker", "is for files by themselves; for datasets write require = [{ marker = ... }]")
    require = tuple(condition(one, known_fields(dataset), "complete.require", wrong) for one in written.require)
    return Conditions(**(dict(written) | {"require": require, "looks_for": looked_for(require)}))


def first_mistake(error: ValidationError, model: type[BaseModel], data: dict[str, Any]) -> Mistake:
    """The first error of pydantic as table, key and sentence; unknown keys come with the nearest known one."""
    detail = error.errors(include_url=False)[0]
    kind, loc = detail["type"], location(detail)
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


def location(detail: Any) -> list[int | str]:
    """Where the error is, without the names by which pydantic tells the tables of destinations apart."""
    loc: list[int | str] = list(detail["loc"])
    if loc[:1] == ["destinations"] and len(loc) > 2 and loc[2] in ("directory", "globus"):
        del loc[2]
    return loc


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


def _keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys known at this place: follow the annotations of the models down."""
    found: list[Any] = [model]
    for part in loc:
        found = [inner for one in found for inner in _inside(one, part)] or found
    fields = [field for one in found for inner in _models(one) for field in inner.model_fields.items()]
    return sorted({field.alias or key for key, field in fields})


def _inside(annotation: Any, part: int | str) -> list[Any]:
    """The annotations of what stands there under this key or number."""
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return [field.annotation] if field is not None else []
    if any(isinstance(mark, Tag) and mark.tag == part for mark in get_args(annotation)):
        return [get_args(annotation)[0]]
    if get_origin(annotation) in (dict, tuple):
        return [get_args(annotation)[1 if get_origin(annotation) is dict else 0]]
    return [found for inner in get_args(annotation) for found in _inside(inner, part)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if _is_model(annotation):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
