"""A rule of the configuration: its tables, as they are written and as the decisions know them.

Times are seconds and sizes bytes: the types of the fields say how they are written, and read them.
"""

import re
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, PlainSerializer
from pydantic.json_schema import SkipJsonSchema

from rules.actions import Action, SharedWith, Then, distinct, named
from rules.config.tables import STRICT, Cron, Day, Duration, Fraction, LocalPath, Name, Regex, Size
from rules.datasets.condition import Pattern
from rules.datasets.conditions import AnyCondition, looked_for, looks_beyond, marker_patterns
from rules.patterns.glob import check_glob, check_marker
from rules.patterns.portable import check_instead

Glob = Annotated[str, AfterValidator(check_glob)]


def _named_groups(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if not pattern.groupindex:
        raise ValueError(f"{pattern.pattern!r} has no named groups, (?P<stem>...), to tell datasets by")
    return pattern


@dataclass(frozen=True, slots=True)
class Together:
    """`dataset = { ... }`: which files of a rule are one dataset. Exactly one of the two."""

    __pydantic_config__ = STRICT
    dir: Regex | None = None
    """Matches, from the beginning of the relative path, the directory with everything below it."""
    group: Annotated[
        tuple[Annotated[Regex, AfterValidator(_named_groups)], ...],
        BeforeValidator(
            lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]
        ),
    ] = ()
    """The first that matches counts; files whose named groups are equal belong together."""

    def checked(self) -> Self:
        """Raises ValueError unless one is written."""
        if (self.dir is None) == (not self.group):
            raise ValueError("write exactly one of `dir` and `group`")
        return self


@dataclass(frozen=True, slots=True)
class Conditions:
    """`complete = { ... }`: when a file of a rule is complete."""

    __pydantic_config__ = STRICT
    quiet: Duration | None = None
    """Seconds without a change between the agent's own readings; None: short where the probe can tell, else long."""
    marker: Annotated[str, Field(min_length=1), AfterValidator(check_marker)] | None = None
    """Glob of a file in the same directory which says that the file is finished; `{name}` and `{stem}` are the file's."""
    patience: Duration | None = None
    """Seconds of quiet after which a missing marker is no longer waited for; None: wait for ever."""
    min_size: Size = 0
    require: tuple[AnyCondition, ...] = ()
    """What must be true of the whole dataset, besides that each of its files has settled."""
    looked_for_patterns: SkipJsonSchema[tuple[str, ...]] = field(init=False, default=())
    """Patterns of names on the disk that `require` looks for: when one appears, datasets are looked at."""
    looks_beyond: SkipJsonSchema[bool] = field(init=False, default=False)
    """Some of them may lie outside of the dataset's directory."""
    markers: SkipJsonSchema[tuple[str, ...]] = field(init=False, default=())
    """Patterns of the markers and checksum lists of the dataset that `require` waits for."""
    learns: SkipJsonSchema[bool] = field(init=False, default=False)
    """Files whose writers come back wait longer than `quiet`, which nobody wrote down, or a preset did."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "learns", self.quiet is None and self.marker is None)
        object.__setattr__(self, "looked_for_patterns", looked_for(self.require))
        object.__setattr__(self, "looks_beyond", looks_beyond(self.require))
        object.__setattr__(self, "markers", marker_patterns(self.require))


@dataclass(frozen=True, slots=True)
class Sealing:
    """`batch = { ... }`: how complete files are grouped, and when a group is sealed into a batch."""

    __pydantic_config__ = STRICT
    by: str = "dir"
    """`dir`, `dataset`, `capture` (all named groups of the rule's regular expression), or a template such as `{run}`."""
    max_files: Annotated[int, Field(ge=1, le=100_000)] = 500
    max_bytes: Size = 50_000_000_000
    linger: Duration | None = None
    """Seconds after the last file joined during which more are waited for; None: 0, or what `rules.config.settings` says."""
    max_age: Duration | None = None
    """Seconds after the first file joined at which the group is sealed, though more files keep joining; None: 5 lingers."""
    schedule: Cron | None = None
    """Cron expression; groups are then sealed at these times only, full or not."""


@dataclass(frozen=True, slots=True)
class Target:
    """One entry of `deliver = [ ... ]`: a destination of a rule and the template of the path there."""

    __pydantic_config__ = STRICT
    to: str
    path: str = "{relpath}"
    backfill: bool | None = None
    """Whether files that were delivered before the destination came go there, too; None: nobody said."""
    rename_invalid: Annotated[str, AfterValidator(check_instead)] | None = None
    """The character in place of those that file systems of Windows refuse; None: names travel as they are."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """`reclaim = { ... }`: when local copies may go. A rule without it keeps them for ever."""

    __pydantic_config__ = STRICT
    after: Duration | None = None
    """Seconds after the proof at the last required destination; None: only when space is short."""
    when_free_below: Fraction | None = None
    """Fraction (0..1) of free space below which the oldest verified batches go first, before `after` has passed."""
    trash: Duration | None = None
    """Seconds that a reclaimed file stays in the trash folder of its watched directory; None: no trash."""
    empty_dirs: bool = False
    """Remove sub-directories that reclaiming made empty, once they are not used any more."""
    evidence: Literal["checksum", "stat"] = "checksum"
    """The weakest proof that is enough: `checksum` (content was compared) or `stat` (size and mtime)."""
    min_age: Duration = 60.0
    """Seconds that the agent must have seen size, times and identity of the local file unmoved, by its own clock."""

    def checked(self) -> Self:
        """Raises ValueError where it would never reclaim."""
        if self.after is None and self.when_free_below is None:
            raise ValueError("says neither `after` nor `when_free_below`, so it would never reclaim; add one")
        return self


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[rules]]` table."""

    __pydantic_config__ = STRICT
    name: Name
    watch: LocalPath
    """Absolute path of the watched directory."""
    include: tuple[Glob, ...] = ("**",)
    exclude: tuple[Glob, ...] = ()
    capture: Regex | None = None
    complete: Conditions = field(default_factory=Conditions)
    batch: Sealing = field(default_factory=Sealing)
    deliver: Annotated[tuple[Target, ...], Field(min_length=1)] = ()
    reclaim: Annotated[Reclaim, AfterValidator(Reclaim.checked)] | None = None
    dataset: Annotated[Together, AfterValidator(Together.checked)] | None = None
    skip_partial: bool = True
    """Leave out partial and temporary files of other programs, see `rules.patterns.partial`."""
    links: Literal["skip", "copy", "refuse"] | None = None
    """What becomes of symbolic links; None: skipped, and a dataset stays here if no rule delivers what they lead to."""
    last: tuple[Pattern, ...] | None = None
    """Files of a dataset that go to a destination when all others are there; None: the markers and lists of `require`."""
    then: Annotated[tuple[Then, ...], AfterValidator(distinct)] = ()
    """What is done once a batch is verified."""
    share_with: Annotated[tuple[SharedWith, ...], AfterValidator(lambda people: tuple(dict.fromkeys(people)))] = ()
    """Who may read a verified batch at the rule's Globus destinations."""
    updates_in_place: bool = False
    """Its programs change what they wrote before (a header, an index) when they go on with a file."""
    newer_than: Day | None = None
    """What the first sweep finds, and is older by all its times, is not delivered; None: all of it is."""
    preset: str | None = None
    """What filled up the table."""
    zone: SkipJsonSchema[Annotated[InstanceOf[tzinfo], PlainSerializer(str)]] = field(
        init=False, default=UTC, compare=False, repr=False
    )
    """By whose clock its schedule and its templates are read."""

    def in_zone(self, zone: tzinfo) -> "Rule":
        """The same, by the clock of another zone."""
        made = copy(self)
        object.__setattr__(made, "zone", zone)
        return made

    def relpath(self, path: str) -> str:
        """The part of an absolute path at or below `watch` that templates, datasets and destinations go by."""
        return path[len(self.watch.rstrip("/")) + 1 :]

    @property
    def whole(self) -> bool:
        """Whether its files wait for each other, as datasets."""
        return self.dataset is not None or bool(self.complete.require)

    @property
    def actions(self) -> dict[str, Action]:
        """Both, by the names that the ledger knows them by."""
        return named(self.then, self.share_with)
