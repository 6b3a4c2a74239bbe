"""When a dataset is complete: small conditions over facts, each with its reason.

`decide` asks for the facts it needs, cheapest first: it answers with a Question until it can answer with a Verdict. So
the shell never reads what does not matter, and nothing here touches a disk.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from rules import manifest
from rules.formats import Finding, State, format_of
from rules.match import fill, takes
from rules.model import Condition, Conditions, Verdict
from rules.pattern import each, search
from rules.units import in_words


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
    text: str | None = None
    """Its content, where that was asked for and is not too large to read."""


class Ask(Enum):
    """What a question wants to know."""

    CHANGED = "when any of its files changed last"
    MEMBERS = "all its files"
    FOUND = "what is on the disk under these patterns"
    TEXTS = "that, with content"
    FORMATS = "what the content of these files says about their writers"
    SUMS = "the checksums of these files"


class Question(NamedTuple):
    """A fact that is missing for a verdict."""

    ask: Ask
    about: tuple[str, ...] = ()
    """Patterns, names of members, or algorithm:name."""


class Mismatch(NamedTuple):
    """The data is not what came with it says: a person must act."""

    reason: str
    files: Mapping[str, str]
    """Name of each wrong file → why."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a dataset whose present files all have settled: no writer, unchanged for the quiet period."""

    fields: Mapping[str, str]
    """What patterns may use, see `rules.dataset`."""
    generation: int = 1
    """1, or more for files that came or changed after it was complete."""
    changed_at: float | None = None
    members: tuple[Member, ...] | None = None
    found: Mapping[str, tuple[Found, ...]] = field(default_factory=dict)
    texts: Mapping[str, tuple[Found, ...]] = field(default_factory=dict)
    formats: Mapping[str, Finding] = field(default_factory=dict)
    sums: Mapping[str, str] = field(default_factory=dict)
    """algorithm:name → hexadecimal checksum, or "" while it is being made, or "?" where the file cannot be read."""


class _Missing(Exception):
    """Not an error: it carries the question up."""

    def __init__(self, ask: Ask, about: Sequence[str] = ()) -> None:
        self.question = Question(ask, tuple(about))


class _Wrong(Exception):
    """Not an error either: it carries the answer up."""

    def __init__(self, mismatch: Mismatch) -> None:
        self.mismatch = mismatch


def decide(conditions: Conditions, facts: Facts, now: float) -> Verdict | Question | Mismatch:
    """Whether the dataset is complete at `now`.

    `again_at` of a verdict is when time alone may change it; without it something else has to happen.
    """
    try:
        verdict = _all(conditions.require, facts, now)
        if verdict.ok or conditions.patience is None:
            return verdict
        until = _changed(facts) + conditions.patience
    except _Missing as missing:
        return missing.question
    except _Wrong as wrong:
        return wrong.mismatch
    if now < until:
        again = until if verdict.again_at is None else min(until, verdict.again_at)
        return verdict._replace(again_at=again)
    return Verdict(True, f"incomplete: {verdict.reason}; but unchanged for {in_words(conditions.patience)} (patience)")


def released(conditions: Conditions, facts: Facts, now: float) -> str:
    """The reason of a dataset that a person said is complete: with what it still waited for."""
    verdict = decide(replace(conditions, patience=None), facts, now)
    waited = f"; it waited for this: {verdict.reason}" if isinstance(verdict, Verdict) and not verdict.ok else ""
    return f"incomplete: a person said it is complete{waited}"


# Each kind of condition


def _one(condition: Condition, facts: Facts, now: float) -> Verdict:
    if facts.generation > 1 and condition.kind not in _OF_LATE_FILES:
        return Verdict(True, "")
    if condition.when is not None and not _members(facts, condition.when):
        return Verdict(True, "")
    verdict = _KINDS[condition.kind](condition, facts, now)
    if verdict.ok and condition.flag is not None:
        return Verdict(True, f"incomplete: {condition.flag}")
    return verdict


def _all(conditions: Sequence[Condition], facts: Facts, now: float) -> Verdict:
    reasons = []
    for condition in conditions:
        verdict = _one(condition, facts, now)
        if not verdict.ok:
            return verdict
        if verdict.reason and verdict.reason not in reasons:
            reasons.append(verdict.reason)
    incomplete = [reason for reason in reasons if reason.startswith("incomplete")]
    return Verdict(True, "; ".join(incomplete + [reason for reason in reasons if reason not in incomplete]))


def _every_part(condition: Condition, facts: Facts, now: float) -> Verdict:
    return _all(condition.parts, facts, now)


def _any_part(condition: Condition, facts: Facts, now: float) -> Verdict:
    waiting = []
    for part in condition.parts:
        verdict = _one(part, facts, now)
        if verdict.ok:
            return verdict
        waiting.append(verdict)
    times = [verdict.again_at for verdict in waiting if verdict.again_at is not None]
    reasons = dict.fromkeys(verdict.reason for verdict in waiting)
    return Verdict(False, ", and ".join(reasons), min(times, default=None))


def _marker(condition: Condition, facts: Facts, now: float) -> Verdict:
    found = _on_disk(condition, facts)
    if not found:
        return Verdict(False, f"{_named(condition, facts)} is not there")
    good = [one for one in found if _fits(condition, one)]
    if not good:
        return Verdict(False, f"{found[0].name} {_misfit(condition, found[0])}")
    return Verdict(True, f"{good[0].name} is there")


def _gone(condition: Condition, facts: Facts, now: float) -> Verdict:
    bad = next((one for one in _on_disk(condition, facts) if _fits(condition, one)), None)
    if bad is None:
        return Verdict(True, "")
    says = f", and says {condition.contains!r}" if condition.contains is not None else ""
    return Verdict(False, f"{bad.name} is there{says}")


def _on_disk(condition: Condition, facts: Facts) -> tuple[Found, ...]:
    ask = Ask.FOUND if condition.contains is None else Ask.TEXTS
    return _look(ask, condition.pattern, facts)


def _look(ask: Ask, pattern: str, facts: Facts) -> tuple[Found, ...]:
    known = facts.found if ask is Ask.FOUND else facts.texts
    if pattern not in known:
        raise _Missing(ask, [pattern])
    return known[pattern]


def _fits(condition: Condition, one: Found | Member) -> bool:
    if one.size < condition.min_size or (condition.max_size is not None and one.size > condition.max_size):
        return False
    if condition.contains is None or isinstance(one, Member):
        return True
    return one.text is not None and search(condition.contains, one.text) is not None


def _misfit(condition: Condition, one: Found) -> str:
    if condition.contains is not None and one.size >= condition.min_size:
        return f"does not say {condition.contains!r}"
    return f"has {one.size} bytes"


def _has(condition: Condition, facts: Facts, now: float) -> Verdict:
    fitting = [one for one in _members(facts, condition.pattern) if _fits(condition, one)]
    if len(fitting) < condition.at_least:
        if condition.at_least == 1:
            return Verdict(False, f"no {_named(condition, facts)} has come")
        return Verdict(False, f"{len(fitting)} of {condition.at_least} {_named(condition, facts)} have come")
    return Verdict(True, "")


def _without(condition: Condition, facts: Facts, now: float) -> Verdict:
    bad = next((one for one in _members(facts, condition.pattern) if _fits(condition, one)), None)
    return Verdict(True, "") if bad is None else Verdict(False, f"{bad.name} has {bad.size} bytes")


def _count(condition: Condition, facts: Facts, now: float) -> Verdict:
    assert condition.file is not None, "rules.load checks it"
    sources = _look(Ask.FOUND if condition.in_name else Ask.TEXTS, condition.file, facts)
    if not sources:
        told = fill(condition.file, facts.fields, literal=False)
        return Verdict(False, f"{told}, which says how many files there are, is not there")
    expected = 0
    for source in sources:
        number = _number(condition, source)
        if number is None:
            return Verdict(False, f"{source.name} does not say how many {_named(condition, facts)} there are")
        expected += number
    here = len(_members(facts, condition.pattern))
    if here < expected:
        return Verdict(False, f"{here} of {expected} {_named(condition, facts)} have come")
    return Verdict(True, f"{here} of {expected} {_named(condition, facts)}")


def _number(condition: Condition, source: Found) -> int | None:
    assert condition.find is not None, "rules.load checks it"
    where = source.name if condition.in_name else source.text
    if where is None:
        return None
    pattern = re.compile(condition.find)
    if not pattern.groups:
        return len({found[0] for found in each(pattern, where)}) if condition.distinct else len(each(pattern, where))
    found = search(pattern, where)
    return int(found[1]) if found is not None and found[1] is not None and found[1].strip().isdecimal() else None


def _listed(condition: Condition, facts: Facts, now: float) -> Verdict:
    assert condition.find is not None, "rules.load checks it"
    sources = _look(Ask.TEXTS, condition.pattern, facts)
    if not sources:
        return Verdict(False, f"{_named(condition, facts)}, which lists the files, is not there")
    expected: dict[str, None] = {}
    for source in sources:
        if source.text is None:
            return Verdict(False, f"{source.name} is too large to be read as a list")
        for found in each(condition.find, source.text):
            expected[(found[1] if found.re.groups else found[0]).strip().replace("\\", "/")] = None
    if not expected:
        return Verdict(False, f"{sources[0].name} lists no files")
    depths = {name.count("/") + 1 for name in expected}
    ends = {"/".join(one.name.split("/")[-depth:]) for one in _members(facts, None) for depth in depths}
    missing = [name for name in expected if name not in ends]
    if missing:
        return Verdict(False, f"{missing[0]} has not come ({len(missing)} of {len(expected)} listed files are missing)")
    return Verdict(True, f"all {len(expected)} files that {sources[0].name} lists are there")


def _manifest(condition: Condition, facts: Facts, now: float) -> Verdict:
    sources = _look(Ask.TEXTS, condition.pattern, facts)
    if not sources:
        return Verdict(False, f"{_named(condition, facts)} is not there")
    here = {one.name for one in _members(facts, None)}
    sums: list[tuple[str, manifest.Sum]] = []
    for source in sources:
        if source.text is None:
            return Verdict(False, f"{source.name} is too large to be read as a list")
        base = source.name.rpartition("/")[0]
        bag = re.fullmatch(r"(tag)?manifest-\w+\.txt", source.name.rpartition("/")[2]) is not None
        listed = manifest.parse(source.text, condition.columns, bag=bag)
        if isinstance(listed, str):
            return Verdict(False, f"{source.name} {listed}")
        sums += [(source.name, one._replace(path=f"{base}/{one.path}".lstrip("/"))) for one in listed]
    missing = dict.fromkeys(one.path for _, one in sums if one.path not in here)
    if missing:
        reason = (
            f"{next(iter(missing))} has not come ({len(missing)} of {len(sums)} files of {sources[0].name} are missing)"
        )
        return Verdict(False, reason)
    if condition.payload is not None:
        listed_paths = {one.path for _, one in sums}
        extra = [one.name for one in _members(facts, condition.payload) if one.name not in listed_paths]
        if extra:
            return Verdict(False, f"{extra[0]} is in no list ({len(extra)} such files)")
    return _compare(sums, facts)


def _compare(sums: Sequence[tuple[str, manifest.Sum]], facts: Facts) -> Verdict:
    keys = [f"{one.algorithm}:{one.path}" for _, one in sums]
    unasked = [key for key in keys if key not in facts.sums]
    if unasked:
        raise _Missing(Ask.SUMS, unasked)
    made = sum(facts.sums[key] != "" for key in keys)
    wrong = {
        one.path: f"{source} says {one.algorithm} {one.checksum}, the file has {facts.sums[key]}"
        for (source, one), key in zip(sums, keys, strict=True)
        if facts.sums[key] not in ("", "?", one.checksum)
    }
    if wrong:
        name, why = next(iter(wrong.items()))
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise _Wrong(Mismatch(f"{name}: {why}{more}", wrong))
    unreadable = next((one.path for (_, one), key in zip(sums, keys, strict=True) if facts.sums[key] == "?"), None)
    if unreadable is not None:
        return Verdict(False, f"{unreadable} is refused or cannot be read; `dropline retry` looks at it again")
    if made < len(keys):
        return Verdict(False, f"its checksums are being compared: {made} of {len(keys)}")
    return Verdict(True, f"all {len(keys)} checksums of {sums[0][0]} are right")


def _format(condition: Condition, facts: Facts, now: float) -> Verdict:
    names = [
        one.name
        for one in _members(facts, condition.pattern)
        if one.fresh and (condition.format or format_of(one.name)) is not None
    ]
    unasked = [name for name in names if f"{condition.format or ''}:{name}" not in facts.formats]
    if unasked:
        raise _Missing(Ask.FORMATS, [f"{condition.format or ''}:{name}" for name in unasked])
    for name in names:
        finding = facts.formats[f"{condition.format or ''}:{name}"]
        if finding.state in (State.OPEN, State.TRUNCATED):
            return Verdict(False, f"{name} {finding.detail}")
    return Verdict(True, "")


def _quiet(condition: Condition, facts: Facts, now: float) -> Verdict:
    assert condition.seconds is not None, "rules.load checks it"
    until = _changed(facts) + condition.seconds
    if now < until:
        return Verdict(False, f"a file of it changed less than {in_words(condition.seconds)} ago", until)
    return Verdict(True, f"unchanged for {in_words(condition.seconds)}")


_KINDS: Mapping[str, Callable[[Condition, Facts, float], Verdict]] = {
    "all": _every_part,
    "any": _any_part,
    "count": _count,
    "format": _format,
    "gone": _gone,
    "has": _has,
    "listed": _listed,
    "manifest": _manifest,
    "marker": _marker,
    "quiet": _quiet,
    "without": _without,
}
KINDS = tuple(_KINDS)
_OF_LATE_FILES = ("all", "format", "gone")
"""What counts for files that come after the dataset was complete: the rest has been true once, and may be reclaimed."""


def _changed(facts: Facts) -> float:
    if facts.changed_at is None:
        raise _Missing(Ask.CHANGED)
    return facts.changed_at


def _members(facts: Facts, pattern: str | None) -> list[Member]:
    if facts.members is None:
        raise _Missing(Ask.MEMBERS)
    if pattern is None:
        return list(facts.members)
    filled = fill(pattern, facts.fields)
    return [one for one in facts.members if takes((filled,), one.name)]


def _named(condition: Condition, facts: Facts) -> str:
    return fill(condition.pattern, facts.fields, literal=False)
