"""What a decision about a dataset goes by, and what it may ask for.

A condition that needs a fact which is not known yet raises `Missing`; so the shell never reads what does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from rules.formats import Finding
from rules.patterns.glob import fill, takes

if TYPE_CHECKING:
    from rules.datasets.condition import Condition


FOUND_AT_MOST = 1_000
"""Files on the disk that a pattern of a condition may match."""


class Member(NamedTuple):
    """A file of the dataset that is here, or was delivered before."""

    name: str
    """As conditions name it: relative to the dataset's directory, or to `watch` where it is not one."""
    size: int
    fresh: bool = True
    """It waits to be complete; False: it went with an earlier generation."""


class Found(NamedTuple):
    """A file on the disk that a pattern of a condition matches, claimed or not."""

    name: str
    """Relative to the dataset's directory."""
    size: int


class Answer(NamedTuple):
    """What the content of a file on the disk says to a condition: `rules.datasets.reading`."""

    name: str
    """As `Found.name`."""
    size: int
    value: Any = None
    problem: str | None = None
    """Why it says nothing: what follows the name in a sentence."""


class Ask(Enum):
    """What a question wants to know."""

    CHANGED = "when any of its files changed last"
    MEMBERS = "all its files"
    FOUND = "what is on the disk under these patterns"
    ANSWERS = "what these files say"
    FORMATS = "what the content of these files says about their writers"
    SUMS = "the checksums of these files"


class Question(NamedTuple):
    """A fact that is missing for a verdict."""

    ask: Ask
    about: tuple[Any, ...] = ()
    """Patterns, names of members, algorithm:name; of ANSWERS, the condition."""


class Mismatch(NamedTuple):
    """The data is not what came with it says: a person must act."""

    reason: str
    files: Mapping[str, str]
    """Name of each wrong file → why."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a dataset whose present files all have settled: no writer, unchanged for the quiet period."""

    fields: Mapping[str, str]
    """What patterns may use, see `rules.datasets.membership`."""
    generation: int = 1
    """1, or more for files that came or changed after it was complete."""
    changed_at: float | None = None
    members: tuple[Member, ...] | None = None
    found: Mapping[str, tuple[Found, ...]] = field(default_factory=dict)
    answers: "Mapping[Condition, tuple[Answer | Found, ...]]" = field(default_factory=dict)
    """Files that were not read to their end are still a `Found`."""
    formats: Mapping[str, Finding | None] = field(default_factory=dict)
    """format:name → what was found; None where it was not looked at yet."""
    sums: Mapping[str, str] = field(default_factory=dict)
    """algorithm:name → hexadecimal checksum, or "" while it is being made, or "?" where the file cannot be read."""


class Missing(Exception):
    """Not an error: it carries the question up."""

    def __init__(self, ask: Ask, about: Sequence[Any] = ()) -> None:
        self.question = Question(ask, tuple(about))


class Wrong(Exception):
    """Not an error either: it carries the answer up."""

    def __init__(self, mismatch: Mismatch) -> None:
        self.mismatch = mismatch


class Undecided(Exception):
    """Nor is this one: it carries the reason up why nothing can be decided."""

    def __init__(self, reason: str, *, soon: bool = False) -> None:
        """`soon`: what is missing is on its way."""
        self.reason = reason
        self.soon = soon


def look(pattern: str, facts: Facts) -> tuple[Found, ...]:
    """What is on the disk under a pattern. Raises Missing, and Undecided where that is too much."""
    if pattern not in facts.found:
        raise Missing(Ask.FOUND, [pattern])
    if len(facts.found[pattern]) > FOUND_AT_MOST:
        raise Undecided(f"more than {FOUND_AT_MOST:,} files are there for {pattern}")
    return facts.found[pattern]


def changed(facts: Facts) -> float:
    """When any of its files changed last. Raises Missing."""
    if facts.changed_at is None:
        raise Missing(Ask.CHANGED)
    return facts.changed_at


def members(facts: Facts, pattern: str | None) -> list[Member]:
    """Its files that the pattern takes; None: all. Raises Missing."""
    if facts.members is None:
        raise Missing(Ask.MEMBERS)
    if pattern is None:
        return list(facts.members)
    filled = fill(pattern, facts.fields)
    return [one for one in facts.members if takes((filled,), one.name)]
