"""When a dataset is complete: small conditions over facts, each with its reason.

`decide` asks for the facts it needs, cheapest first: it answers with a Question until it can answer with a Verdict. So
the shell never reads what does not matter, and nothing here touches a disk.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rules.datasets import listed
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
    named,
    read,
)
from rules.formats import State, format_of
from rules.model import Condition, Conditions, Verdict
from rules.units import in_words


def decide(conditions: Conditions, facts: Facts, now: float) -> Verdict | Question | Mismatch:
    """Whether the dataset is complete at `now`.

    `again_at` of a verdict is when time alone may change it; without it something else has to happen.
    """
    try:
        verdict = _all(conditions.require, facts, now)
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
    if condition.when is not None and not members(facts, condition.when):
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
        return Verdict(False, f"{named(condition, facts)} is not there")
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


def _on_disk(condition: Condition, facts: Facts) -> Sequence[Found | Answer]:
    return look(condition.pattern, facts) if condition.contains is None else read(condition, facts)


def _fits(condition: Condition, one: Found | Answer | Member) -> bool:
    if one.size < condition.min_size or (condition.max_size is not None and one.size > condition.max_size):
        return False
    return not isinstance(one, Answer) or bool(one.value)


def _misfit(condition: Condition, one: Found | Answer) -> str:
    if condition.contains is not None and one.size >= condition.min_size:
        return f"does not say {condition.contains!r}"
    return f"has {one.size} bytes"


def _has(condition: Condition, facts: Facts, now: float) -> Verdict:
    fitting = [one for one in members(facts, condition.pattern) if _fits(condition, one)]
    if len(fitting) < condition.at_least:
        if condition.at_least == 1:
            return Verdict(False, f"no {named(condition, facts)} has come")
        return Verdict(False, f"{len(fitting)} of {condition.at_least} {named(condition, facts)} have come")
    return Verdict(True, "")


def _without(condition: Condition, facts: Facts, now: float) -> Verdict:
    bad = next((one for one in members(facts, condition.pattern) if _fits(condition, one)), None)
    return Verdict(True, "") if bad is None else Verdict(False, f"{bad.name} has {bad.size} bytes")


def _format(condition: Condition, facts: Facts, now: float) -> Verdict:
    names = [
        one.name
        for one in members(facts, condition.pattern)
        if one.fresh and (condition.format or format_of(one.name)) is not None
    ]
    unasked = [name for name in names if f"{condition.format or ''}:{name}" not in facts.formats]
    if unasked:
        raise Missing(Ask.FORMATS, [f"{condition.format or ''}:{name}" for name in unasked])
    for name in names:
        finding = facts.formats[f"{condition.format or ''}:{name}"]
        if finding.state in (State.OPEN, State.TRUNCATED):
            return Verdict(False, f"{name} {finding.detail}")
    return Verdict(True, "")


def _quiet(condition: Condition, facts: Facts, now: float) -> Verdict:
    assert condition.seconds is not None, "rules.config.load checks it"
    until = changed(facts) + condition.seconds
    if now < until:
        return Verdict(False, f"a file of it changed less than {in_words(condition.seconds)} ago", until)
    return Verdict(True, f"unchanged for {in_words(condition.seconds)}")


_KINDS: Mapping[str, Callable[[Condition, Facts, float], Verdict]] = {
    "all": _every_part,
    "any": _any_part,
    "count": listed.count,
    "format": _format,
    "gone": _gone,
    "has": _has,
    "listed": listed.listed,
    "manifest": listed.manifest,
    "marker": _marker,
    "quiet": _quiet,
    "without": _without,
}
KINDS = tuple(_KINDS)
_OF_LATE_FILES = ("all", "format", "gone")
"""What counts for files that come after the dataset was complete: the rest has been true once, and may be reclaimed."""
