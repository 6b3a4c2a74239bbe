"""`dataset = { ... }` and `complete.require = [ ... ]`: which files belong together, and what must be true of them."""

import re
from collections.abc import Callable, Collection
from typing import Any

from pydantic import Field, model_validator

from rules.config.tables import Duration, Size, Table
from rules.datasets.conditions import KINDS
from rules.formats import FORMATS
from rules.match import pattern_mistake
from rules.model import Condition, Together
from rules.patterns.expression import compiled

_MAY_HAVE = {
    "marker": {"contains", "min_size", "max_size"},
    "gone": {"contains", "min_size", "max_size"},
    "has": {"min_size", "max_size", "at_least"},
    "without": {"min_size", "max_size"},
    "count": {"file", "find", "in_name", "distinct"},
    "listed": {"find"},
    "manifest": {"columns", "payload"},
    "format": {"of"},
}
"""Keys that go with each kind of condition, besides `when` and `flag`."""
_MUST_HAVE = {"count": {"file", "find"}, "listed": {"find"}}
_ON_DISK = ("marker", "gone", "listed", "manifest")


class DatasetTable(Table):
    """`dataset = { ... }`"""

    dir: str | None = Field(default=None, min_length=1)
    group: tuple[str, ...] | str | None = Field(default=None, min_length=1)


class ConditionTable(Table):
    """One entry of `complete.require = [ ... ]`"""

    marker: str | None = Field(default=None, min_length=1)
    gone: str | None = Field(default=None, min_length=1)
    has: str | None = Field(default=None, min_length=1)
    without: str | None = Field(default=None, min_length=1)
    count: str | None = Field(default=None, min_length=1)
    listed: str | None = Field(default=None, min_length=1)
    manifest: str | None = Field(default=None, min_length=1)
    format: str | None = Field(default=None, min_length=1)
    quiet: Duration | None = None
    any: tuple["ConditionTable", ...] = ()
    all: tuple["ConditionTable", ...] = ()
    contains: str | None = None
    min_size: Size = 0
    max_size: Size | None = None
    at_least: int = Field(default=1, ge=1)
    file: str | None = Field(default=None, min_length=1)
    find: str | None = None
    in_name: bool = False
    distinct: bool = False
    columns: tuple[str, str] | None = None
    payload: str | None = Field(default=None, min_length=1)
    of: str | None = Field(default=None, min_length=1)
    when: str | None = Field(default=None, min_length=1)
    flag: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_kind(self) -> "ConditionTable":
        written = self.model_fields_set
        kinds = [kind for kind in KINDS if kind in written]
        if len(kinds) != 1:
            said = f"has {' and '.join(kinds)}; write" if kinds else "says nothing; write"
            raise ValueError(f"a condition {said} exactly one of {', '.join(KINDS)}")
        (kind,) = kinds
        stray = sorted(written - {kind, "when", "flag"} - _MAY_HAVE.get(kind, set()))
        if stray:
            raise ValueError(f"{stray[0]!r} does not go with {kind!r}")
        missing = sorted(_MUST_HAVE.get(kind, set()) - written)
        if missing:
            raise ValueError(f"{kind!r} wants {missing[0]!r} as well")
        if kind == "format" and self.format != "any" and self.format not in FORMATS:
            raise ValueError(f"{self.format!r} is none of any, {', '.join(FORMATS)}")
        return self


def together(table: DatasetTable | None, wrong: Callable[[str, object], Exception]) -> Together | None:
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


def condition(
    table: ConditionTable, known: Collection[str], key: str, wrong: Callable[[str, object], Exception]
) -> Condition:
    """The condition of a table.

    Args:
        table: one entry of `require`.
        known: fields that its patterns may use.
        key: where it stands, for messages.
        wrong: makes the error for a key and a message, which is raised.
    """
    kind = next(kind for kind in KINDS if kind in table.model_fields_set)
    parts = tuple(condition(one, known, f"{key}.{kind}", wrong) for one in (*table.any, *table.all))
    if kind in ("any", "all") and not parts:
        raise wrong(f"{key}.{kind}", "is empty")
    value: Any = getattr(table, kind)
    pattern = (table.of or "**") if kind == "format" else value if isinstance(value, str) else ""
    named = [(kind, pattern if kind != "format" or table.of else "", kind in _ON_DISK)]
    named += [
        ("file", table.file or "", True),
        ("payload", table.payload or "", False),
        ("when", table.when or "", False),
    ]
    for name, one, disk in named:
        mistake = pattern_mistake(one, known, disk=disk) if one else None
        if mistake is not None:
            raise wrong(f"{key}.{name}", f"{one!r} {mistake}")
    for name, regex in (("contains", table.contains), ("find", table.find)):
        if regex is not None:
            _regex(regex, f"{key}.{name}", wrong)
    return Condition(
        kind=kind,
        pattern=pattern,
        contains=table.contains,
        min_size=table.min_size,
        max_size=table.max_size,
        at_least=table.at_least,
        file=table.file,
        find=table.find,
        in_name=table.in_name,
        distinct=table.distinct,
        columns=table.columns,
        payload=table.payload,
        format=table.format if table.format != "any" else None,
        seconds=table.quiet,
        parts=parts,
        when=table.when,
        flag=table.flag,
    )


def _regex(text: str, key: str, wrong: Callable[[str, object], Exception]) -> re.Pattern[str]:
    try:
        return compiled(text)
    except ValueError as error:
        raise wrong(key, error) from None
