"""The `[[rules]]` tables of the configuration, as rules."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from rules import actions
from rules import naming as destination
from rules.config.mistake import RuleError, nearest
from rules.config.tables import Duration, Fraction, LocalPath, Size, Table
from rules.datasets.conditions import AnyCondition, looked_for, looks_beyond
from rules.datasets.membership import captured, known_fields
from rules.match import relative
from rules.model import SENT, Conditions, Reclaim, Rule, Sealing, Target, Together
from rules.patterns.expression import compiled
from rules.patterns.glob import check_glob, check_marker

_OF_PRESETS = ("complete", "batch", "reclaim")
"""Tables of a rule that a preset fills key by key; every other key of the rule replaces the preset's."""
Glob = Annotated[str, AfterValidator(check_glob)]
_EPOCH = datetime.fromtimestamp(0, UTC)


class DatasetTable(Table):
    """`dataset = { ... }`"""

    dir: str | None = Field(default=None, min_length=1)
    group: tuple[str, ...] | str | None = Field(default=None, min_length=1)


class CompleteTable(Table):
    """`complete = { ... }`"""

    quiet: Duration | None = None
    marker: Annotated[str, Field(min_length=1), AfterValidator(check_marker)] | None = None
    patience: Duration | None = None
    min_size: Size = 0
    require: tuple[AnyCondition, ...] = ()


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
    backfill: bool | None = None


class ReclaimTable(Table):
    """`reclaim = { ... }`"""

    after: Duration | None = None
    when_free_below: Fraction | None = None
    trash: Duration | None = None
    min_age: Duration = 60.0
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
    include: tuple[Glob, ...] = ("**",)
    exclude: tuple[Glob, ...] = ()
    capture: str | None = None
    complete: CompleteTable = Field(default_factory=CompleteTable)
    batch: BatchTable = Field(default_factory=BatchTable)
    deliver: tuple[DeliverTable, ...] = Field(min_length=1)
    reclaim: ReclaimTable | None = None
    then: tuple[ThenTable, ...] = ()
    share_with: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, value: Any, info: ValidationInfo) -> Any:
        """Filled up by its preset: the context's `preset` gives that by its name, or raises ValueError."""
        if info.context is not None and isinstance(value, dict) and isinstance(value.get("preset"), str):
            return _filled_up(value, info.context["preset"](value["preset"]))
        return value


def _filled_up(rule: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """The `[[rules]]` table filled up from a preset's file, both as TOML gives them: what the rule says itself counts."""
    filled = {key: preset[key] for key in RuleTable.model_fields if key in preset} | dict(rule)
    for key in _OF_PRESETS:
        mine, given = rule.get(key), preset.get(key)
        if isinstance(mine, Mapping) and isinstance(given, Mapping):
            filled[key] = {**given, **mine}
    deliver = rule.get("deliver")
    if isinstance(deliver, list):
        filled["deliver"] = [
            {"path": preset["path"], **one} if isinstance(one, Mapping) and "path" in preset else one for one in deliver
        ]
    return filled


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
    dataset = _together(table.dataset, wrong)
    groups = tuple(capture.groupindex) if capture else ()
    shared = captured(dataset) - {"dir"}
    for key, found in (("capture", groups), ("dataset", sorted(shared))):
        for name in found:
            if name in (*destination.FIELDS, "mtime"):
                raise wrong(key, f"the group name {name!r} is taken by a template field; give it another")
    fields = (*groups, *sorted(shared))
    complete = _conditions(table, dataset, wrong)
    whole = dataset is not None or bool(complete.require)
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
        deliver=tuple(Target(target.to, target.path, target.backfill) for target in table.deliver),
        reclaim=Reclaim(**dict(reclaim)) if reclaim else None,
        dataset=dataset,
        then=then,
        share_with=share_with,
    )


def _together(table: DatasetTable | None, wrong: Callable[[str, object], Exception]) -> Together | None:
    """The rule's datasets. Raises what `wrong(key, message)` makes."""
    if table is None:
        return None
    if (table.dir is None) == (table.group is None):
        raise wrong("dataset", "write exactly one of `dir` and `group`")
    if table.dir is not None:
        return Together(dir=_regex(table.dir, "dataset.dir", wrong))
    written = (table.group,) if isinstance(table.group, str) else table.group or ()
    group = tuple(_regex(one, "dataset.group", wrong) for one in written)
    for pattern in group:
        if not pattern.groupindex:
            raise wrong("dataset.group", f"{pattern.pattern!r} has no named groups, (?P<stem>...), to tell datasets by")
    return Together(group=group)


def _regex(text: str, key: str, wrong: Callable[[str, object], Exception]) -> re.Pattern[str]:
    try:
        return compiled(text)
    except ValueError as error:
        raise wrong(key, error) from None


def _conditions(table: RuleTable, dataset: Together | None, wrong: Callable[[str, object], RuleError]) -> Conditions:
    written = table.complete
    if written.marker is not None and (dataset is not None or written.require):
        raise wrong("complete.marker", "is for files by themselves; for datasets write require = [{ marker = ... }]")
    known = known_fields(dataset)
    for number, condition in enumerate(written.require):
        for key, pattern in condition.patterns(f"complete.require.{number}"):
            try:
                pattern.check_fields(known)
            except ValueError as error:
                raise wrong(key, error) from None
    looks = {"looks_for": looked_for(written.require), "looks_beyond": looks_beyond(written.require)}
    return Conditions(**(dict(written) | looks))
