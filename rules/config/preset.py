"""Presets: what is known of an instrument family, as defaults for a rule, with examples and timelines that prove it."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from rules.config.load import RuleTable
from rules.config.tables import Duration, Size, Table
from rules.datasets.condition import Pattern
from rules.rule import Conditions, Rule, Sealing, Together

ACTS = ("write", "open", "append", "close", "rename", "remove", "many", "kill", "release", "expect")


class StepTable(Table):
    """One step of a timeline: what the instrument or a person does at a time, or what must be so then."""

    at: Duration
    write: str | None = None
    """Create (or replace) a file, write it and close it."""
    open: str | None = None
    """Create a file, write it and keep it open."""
    append: str | None = None
    """Write more to a file: to one that is open, or opening and closing it."""
    close: str | None = None
    rename: tuple[str, str] | None = None
    remove: str | None = None
    many: str | None = None
    """Write `count` files; `{}` in the name is their number."""
    kill: bool = False
    """The writing program dies: its files are closed as they are."""
    release: str | None = None
    """A person says that this dataset is complete."""
    expect: dict[str, str] | None = None
    """Every dataset that is known → "complete", "complete N" (generation), "refused", or "waits" with a part of why."""
    text: str | None = None
    hex: str | None = None
    size: Size | None = None
    """So many bytes (of a hole), after `text` or `hex`."""
    count: int = Field(default=1, ge=1)
    old: Duration | None = None
    """Set the mtime so far back, as a copy that keeps times does."""

    @model_validator(mode="after")
    def _one_act(self) -> "StepTable":
        acts = [act for act in ACTS if act in self.model_fields_set]
        if len(acts) != 1:
            raise ValueError(f"a step does exactly one of {', '.join(ACTS)}")
        return self

    @property
    def content(self) -> bytes:
        """What is written."""
        given = bytes.fromhex(self.hex) if self.hex is not None else (self.text or "").encode()
        if self.hex is None and self.text is None and self.size is None:
            return b"data"
        return given

    @property
    def hole(self) -> int:
        """Zero bytes that follow the content up to `size`."""
        return max((self.size or 0) - len(self.content), 0)


class TimelineTable(Table):
    """What an instrument does, and what must come of it."""

    name: str
    steps: tuple[StepTable, ...] = Field(min_length=1)


class ExampleTable(Table):
    """A path, the dataset it belongs to, and what is captured of it."""

    path: str
    dataset: str
    to: str
    """Where it goes."""


class PresetTable(Table):
    """One file of rules/presets/."""

    title: str
    about: str
    """What it is for, how such an instrument writes, and what to watch out for."""
    sources: tuple[str, ...] = Field(min_length=1)
    """Where the names, marks and times are from: documents, and pipelines in public use."""
    recognized_by: tuple[str, ...] = Field(min_length=1)
    """Patterns of files by which a folder of this kind is recognised."""
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    capture: str | None = None
    dataset: Together | None = None
    links: Literal["skip", "copy", "refuse"] | None = None
    last: tuple[Pattern, ...] | None = None
    complete: Conditions
    batch: Sealing = Field(default_factory=Sealing)
    updates_in_place: bool = False
    path: str
    """Where files go, for deliveries that do not say."""
    examples: tuple[ExampleTable, ...] = Field(min_length=1)
    timelines: tuple[TimelineTable, ...] = Field(min_length=1)


def rule_of(name: str, data: Mapping[str, Any], watch: str) -> Rule:
    """The rule that a preset makes alone, for trying it out: its destination is called `share`. Raises ValueError."""
    table = {"name": name, "watch": watch, "preset": name, "deliver": [{"to": "share"}]}
    context = {"preset": lambda name: data, "absolute": lambda path: path}
    rule: Rule = TypeAdapter(RuleTable).validate_python(table, context=context)
    return rule
