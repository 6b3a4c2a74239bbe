"""When a dataset is complete: conditions over facts, each a small model with its decision and its words.

`decide` asks for the facts it needs, cheapest first: it answers with a Question until it can answer with a Verdict. So
the shell never reads what does not matter, and nothing here touches a disk.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from rules.config.tables import Duration, told_by_key
from rules.datasets.condition import Condition, DiskPattern, Expression, Incomplete, Pattern, Sized
from rules.datasets.listed import Count, Listed, Manifest
from rules.datasets.question import (
    Answer,
    Ask,
    Facts,
    Found,
    Member,
    Mismatch,
    Missing,
    Question,
    Undecided,
    Wrong,
    changed,
    look,
    members,
)
from rules.datasets.reading import Reads
from rules.formats import FORMATS, format_of
from rules.model import Verdict
from rules.patterns.expression import search
from rules.patterns.glob import FIELD, fill, takes
from rules.units import in_words

if TYPE_CHECKING:
    from rules.rule import Conditions


def decide(conditions: "Conditions", facts: Facts, now: float) -> Verdict | Question | Mismatch:
    """Whether the dataset is complete at `now`.

    `again_at` of a verdict is when time alone may change it; without it something else has to happen.
    """
    try:
        verdict = _every(conditions.require, facts, now)
        if verdict.ok or conditions.patience is None:
            return verdict
        until = changed(facts) + conditions.patience
    except Missing as missing:
        return missing.question
    except Wrong as wrong:
        return wrong.mismatch
    except Undecided as undecided:
        return Verdict(False, undecided.reason, now if undecided.soon else None)
    if now < until:
        again = until if verdict.again_at is None else min(until, verdict.again_at)
        return verdict._replace(again_at=again)
    return Incomplete(
        True, f"incomplete: {verdict.reason}; but unchanged for {in_words(conditions.patience)} (patience)"
    )


def released(conditions: "Conditions", facts: Facts, now: float) -> str:
    """The reason of a dataset that a person said is complete: with what it still waited for."""
    verdict = decide(replace(conditions, patience=None), facts, now)
    waited = f"; it waited for this: {verdict.reason}" if isinstance(verdict, Verdict) and not verdict.ok else ""
    return f"incomplete: a person said it is complete{waited}"


def _every(conditions: Sequence[Condition], facts: Facts, now: float) -> Verdict:
    verdicts = []
    for condition in conditions:
        verdicts.append(condition.verdict(facts, now))
        if not verdicts[-1].ok:
            return verdicts[-1]
    verdicts.sort(key=lambda verdict: not isinstance(verdict, Incomplete))
    kind = Incomplete if verdicts and isinstance(verdicts[0], Incomplete) else Verdict
    return kind(True, "; ".join(dict.fromkeys(verdict.reason for verdict in verdicts if verdict.reason)))


# The kinds


class _OnDisk(Sized, Reads):
    contains: Expression | None = None
    """What the content must have."""

    def found(self, facts: Facts) -> Sequence[Found | Answer]:
        """What is on the disk. Raises Missing and Undecided."""
        return look(self.source, facts) if self.contains is None else self.answers(facts)

    def read_blocks(self, found: Found, blocks: Iterator[str], here: Collection[str]) -> Iterator[Answer | None]:
        yield Answer(*found, search(self.contains or "", "".join(blocks)) is not None)

    def fits(self, one: Found | Answer | Member) -> bool:
        """Whether its size and its content are right."""
        return super().fits(one) and (not isinstance(one, Answer) or bool(one.value))

    @property
    def about(self) -> str:
        return self.sizes + (f" that says {self.contains!r}" if self.contains is not None else "")


class Marker(_OnDisk):
    """A file is there."""

    marker: DiskPattern

    def decide(self, facts: Facts, now: float) -> Verdict:
        found = self.found(facts)
        good = next(filter(self.fits, found), None)
        if good is not None:
            return Verdict(True, f"{good.name} is there")
        if not found:
            return Verdict(False, f"{self.marker.shown(facts)} is not there")
        says = self.contains is not None and found[0].size >= self.min_size
        return Verdict(
            False,
            f"{found[0].name} does not say {self.contains!r}" if says else f"{found[0].name} has {found[0].size} bytes",
        )

    @property
    def clause(self) -> str:
        return f"{self.marker}{self.about} is there"


class Gone(_OnDisk):
    """A file is not there, or no more."""

    counts_for_late_files: ClassVar[bool] = True
    gone: DiskPattern

    def decide(self, facts: Facts, now: float) -> Verdict:
        bad = next(filter(self.fits, self.found(facts)), None)
        says = f", and says {self.contains!r}" if self.contains is not None else ""
        return Verdict(True, "") if bad is None else Verdict(False, f"{bad.name} is there{says}")

    @property
    def clause(self) -> str:
        return f"no {self.gone}{self.about} is there"


class Has(Sized):
    """Files of the dataset have come."""

    has: Pattern
    at_least: int = Field(default=1, ge=1)

    def decide(self, facts: Facts, now: float) -> Verdict:
        count = sum(map(self.fits, members(facts, self.has)))
        if count >= self.at_least:
            return Verdict(True, "")
        if self.at_least == 1:
            return Verdict(False, f"no {self.has.shown(facts)} has come")
        return Verdict(False, f"{count} of {self.at_least} {self.has.shown(facts)} have come")

    @property
    def clause(self) -> str:
        many = self.at_least > 1
        return (
            f"{f'{self.at_least} files' if many else 'a file'} {self.has}{self.sizes} {'have' if many else 'has'} come"
        )


class Without(Sized):
    """No such file is in the dataset."""

    without: Pattern

    def decide(self, facts: Facts, now: float) -> Verdict:
        bad = next(filter(self.fits, members(facts, self.without)), None)
        return Verdict(True, "") if bad is None else Verdict(False, f"{bad.name} has {bad.size} bytes")

    @property
    def clause(self) -> str:
        return f"it has no file {self.without}{self.sizes}"


def _known(format_: str) -> str:
    if format_ not in (ANY_FORMAT, *FORMATS):
        raise ValueError(f"{format_!r} is none of {ANY_FORMAT}, {', '.join(FORMATS)}")
    return format_


ANY_FORMAT = "any"
"""The format that a file's name says."""


class Format(Condition):
    """Files say by their own content that their writer is done."""

    counts_for_late_files: ClassVar[bool] = True
    format: Annotated[str, AfterValidator(_known)]
    of: Pattern | None = None

    def decide(self, facts: Facts, now: float) -> Verdict:
        kind = "" if self.format == ANY_FORMAT else self.format
        names = [one.name for one in members(facts, self.of) if one.fresh and (kind or format_of(one.name)) is not None]
        unasked = [f"{kind}:{name}" for name in names if f"{kind}:{name}" not in facts.formats]
        if unasked:
            raise Missing(Ask.FORMATS, unasked)
        findings = [(name, facts.formats[f"{kind}:{name}"]) for name in names]
        for name, finding in findings:
            if finding is not None and finding.unfinished:
                return Verdict(False, f"{name} {finding.detail}")
        left = sum(finding is None for _, finding in findings)
        if left:
            raise Undecided(f"its files are being looked at: {len(names) - left} of {len(names)}", soon=True)
        return Verdict(True, "")

    @property
    def clause(self) -> str:
        kind = "" if self.format == ANY_FORMAT else f" ({self.format})"
        return f"no file {self.of or '**'} says by its own content that it is unfinished{kind}"


class Quiet(Condition):
    """No file of it changes any more."""

    quiet: Duration

    def decide(self, facts: Facts, now: float) -> Verdict:
        until = changed(facts) + self.quiet
        if now < until:
            return Verdict(False, f"a file of it changed less than {in_words(self.quiet)} ago", until)
        return Verdict(True, f"unchanged for {in_words(self.quiet)}")

    @property
    def clause(self) -> str:
        return f"nothing of it has changed for {in_words(self.quiet)}"


class AllOf(Condition):
    """Several things are true."""

    counts_for_late_files: ClassVar[bool] = True
    all: Annotated[tuple["AnyCondition", ...], Field(min_length=1)]

    def decide(self, facts: Facts, now: float) -> Verdict:
        return _every(self.all, facts, now)

    @property
    def clause(self) -> str:
        return " and ".join(part.words for part in self.all)


class AnyOf(Condition):
    """One of several things is true."""

    any: Annotated[tuple["AnyCondition", ...], Field(min_length=1)]

    def decide(self, facts: Facts, now: float) -> Verdict:
        waiting = []
        for part in self.any:
            verdict = part.verdict(facts, now)
            if verdict.ok:
                return verdict
            waiting.append(verdict)
        times = [verdict.again_at for verdict in waiting if verdict.again_at is not None]
        reasons = dict.fromkeys(verdict.reason for verdict in waiting)
        return Verdict(False, ", and ".join(reasons), min(times, default=None))

    @property
    def clause(self) -> str:
        return "one of these: (" + "), or (".join(part.words for part in self.any) + ")"


KINDS: dict[str, type[Condition]] = {
    "all": AllOf,
    "any": AnyOf,
    "count": Count,
    "format": Format,
    "gone": Gone,
    "has": Has,
    "listed": Listed,
    "manifest": Manifest,
    "marker": Marker,
    "quiet": Quiet,
    "without": Without,
}
if TYPE_CHECKING:
    AnyCondition = Condition
else:
    AnyCondition = told_by_key(KINDS)
"""One entry of `require`."""


def looked_for(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Patterns of the names of all files on the disk that conditions look for."""
    return tuple(dict.fromkeys(FIELD.sub("*", one.rpartition("/")[2]) for one in _on_disk(conditions)))


def is_marker(conditions: Sequence[Condition], fields: Mapping[str, str], name: str) -> bool:
    """Whether a file, by its name relative to the dataset's directory, is a marker that one of the conditions looks for."""
    return any(
        takes((f"/{fill(pattern, fields)}",), name)
        for condition in conditions
        for key, pattern in condition.patterns("")
        if key.endswith(".marker")
    )


def marker_patterns(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Patterns of the markers and checksum lists in the dataset's directory that conditions wait for."""
    found = (
        pattern
        for condition in conditions
        for key, pattern in condition.patterns("")
        if key.rpartition(".")[2] in ("marker", "manifest") and not pattern.startswith("../")
    )
    return tuple(dict.fromkeys(found))


def looks_beyond(conditions: Sequence[Condition]) -> bool:
    """Whether conditions look for files outside of the dataset's directory."""
    return any(one.startswith("../") for one in _on_disk(conditions))


def _on_disk(conditions: Sequence[Condition]) -> Iterator[DiskPattern]:
    for condition in conditions:
        yield from (one for _, one in condition.patterns("") if isinstance(one, DiskPattern))
