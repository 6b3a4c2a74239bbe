"""What the tables of a rule mean together, and with the rule's preset."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import combinations
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

from rules.actions import Flow, check_body
from rules.config.config_error import close_to, no_destination
from rules.config.tables import Wrong, all_wrong
from rules.datasets.membership import captured, known_fields
from rules.match import overlap
from rules.model import SENT
from rules.naming import FIELDS, PathRefused, check
from rules.rule import Rule

_OF_PRESETS = ("complete", "batch", "reclaim")
"""Tables of a rule that a preset fills key by key; every other key of the rule replaces the preset's."""
_KEYS = [one.name for one in fields(Rule)]


def _filled_up(value: Any, info: ValidationInfo) -> Any:
    """The table filled up by its preset, which the context's `preset` gives by its name. Raises ValueError."""
    if not isinstance(value, dict):
        return value
    if info.context is not None and isinstance(value.get("preset"), str):
        value = _with_preset(value, info.context["preset"](value["preset"]))
    complete, batch = value.get("complete"), value.get("batch", {})
    whole = value.get("dataset") is not None or (isinstance(complete, Mapping) and complete.get("require"))
    return {**value, "batch": {"by": "dataset", **batch}} if whole and isinstance(batch, Mapping) else value


def _with_preset(rule: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """The table with what a preset says, both as TOML gives them: what the rule says itself counts."""
    filled = {key: preset[key] for key in _KEYS if key in preset} | dict(rule)
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


def _quiet_by_preset(value: Any, handler: ValidatorFunctionWrapHandler) -> Rule:
    """Writers that come back are learned of where the rule itself says nothing of quiet periods, though its preset does."""
    rule: Rule = handler(value)
    own = value.get("complete") if isinstance(value, dict) and rule.preset is not None else {"quiet": None}
    if (own is None or "quiet" not in own) and rule.complete.marker is None:
        object.__setattr__(rule.complete, "learns", True)
    return rule


def _fits(rule: Rule) -> Rule:
    """Raises ValidationError where the tables of the rule do not go together."""
    found = list(_misfits(rule))
    if found:
        raise all_wrong(found)
    return rule


def _misfits(rule: Rule) -> Iterator[Wrong]:
    """What does not go together in a rule."""
    if rule.name == SENT:
        yield "is kept for what `dropline send` delivers; choose another", ("name",)
    if not rule.deliver:
        yield "missing; this key is required", ("deliver",)
    groups = list(rule.capture.groupindex) if rule.capture else []
    shared = sorted(captured(rule.dataset) - {"dir"})
    for key, found in (("capture", groups), ("dataset", shared)):
        for name in found:
            if name in (*FIELDS, "mtime"):
                yield f"the group name {name!r} is taken by a template field; give it another", (key,)
    if rule.complete.marker is not None and rule.whole:
        message = "is for files by themselves; for datasets write require = [{ marker = ... }]"
        yield message, ("complete", "marker")
    for number, condition in enumerate(rule.complete.require):
        for key, pattern in condition.patterns(f"complete.require.{number}"):
            try:
                pattern.check_fields(known_fields(rule.dataset))
            except ValueError as error:
                yield error, [int(part) if part.isdecimal() else part for part in key.split(".")]
    if rule.last and rule.dataset is None:
        yield "goes last of a dataset, and the rule has none; add `dataset`", ("last",)
    for number, one in enumerate(rule.last or ()):
        try:
            one.check_fields(known_fields(rule.dataset))
        except ValueError as error:
            yield error, ("last", number)
    yield from _batch_misfits(rule, groups, shared)
    for number, target in enumerate(rule.deliver):
        if target.to in [one.to for one in rule.deliver[:number]]:
            yield "the same destination twice", ("deliver", number, "to")
        yield from _template_misfits(target.path, groups, shared, ("deliver", number, "path"))
    for number, action in enumerate(rule.then):
        try:
            check_body((action.body if isinstance(action, Flow) else None) or {}, [one.to for one in rule.deliver])
        except ValueError as error:
            yield error, ("then", number, "body")


def _batch_misfits(rule: Rule, groups: Collection[str], shared: Collection[str]) -> Iterator[Wrong]:
    by, key = rule.batch.by, ("batch", "by")
    if by == "dataset" and not rule.whole:
        yield "'dataset' wants a `dataset`, or `complete.require`", key
    elif by == "capture" and not groups:
        yield "'capture' wants a `capture` regular expression with named groups, (?P<run>...)", key
    elif by not in ("dir", "dataset", "capture"):
        if "{" in by:
            yield from _template_misfits(by, groups, shared, key)
        else:
            close = close_to(by, ("dir", "dataset", "capture"))
            yield f"{by!r} is none of 'dir', 'dataset', 'capture' or a template such as '{{run}}'{close}", key


def _template_misfits(
    template: str, groups: Collection[str], shared: Collection[str], key: Sequence[str | int]
) -> Iterator[Wrong]:
    try:
        check(template, (*groups, *shared))
    except PathRefused as error:
        yield error, key


RuleTable = Annotated[Rule, BeforeValidator(_filled_up), WrapValidator(_quiet_by_preset), AfterValidator(_fits)]
"""One `[[rules]]` table."""


def check_together(rules: Sequence[Rule], destinations: Collection[str]) -> None:
    """Raises ValidationError where rules do not go together, or with the destinations of these names."""
    found: list[Wrong] = []
    for (_, one), (number, other) in combinations(enumerate(rules), 2):
        if one.name == other.name:
            found.append(("two rules have this name; give each its own", ("rules", number, "name")))
        if overlap(one.watch, other.watch) and one.reclaim != other.reclaim:
            found.append((reclaim_differs(one, other), ("rules", number, "reclaim")))
    for number, rule in enumerate(rules):
        found += [
            (
                no_destination(target.to, destinations),
                ("rules", number, "deliver", at, "to"),
            )
            for at, target in enumerate(rule.deliver)
            if target.to not in destinations
        ]
    if found:
        raise all_wrong(found)


def reclaim_differs(one: Rule, other: Rule) -> str:
    """What is wrong with two rules that reclaim differently in one tree."""
    return (
        f"its directory {other.watch} overlaps that of rule {one.name!r} ({one.watch}), but they reclaim differently;"
        " give both the same reclaim, or watch separate directories"
    )
