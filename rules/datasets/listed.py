"""Conditions that compare the files with what another file says of them: how many, which, and with which checksums."""

from collections.abc import Mapping

from rules.datasets.question import Ask, Facts, Mismatch, Missing, Undecided, Wrong, look, members, named, read
from rules.datasets.reading import number
from rules.model import Condition, Verdict
from rules.patterns.glob import fill


def count(condition: Condition, facts: Facts, now: float) -> Verdict:
    """As many files have come as a file says that there are."""
    assert condition.file is not None, "rules.config.load checks it"
    if condition.in_name:
        told = [(one.name, number(condition, one.name)) for one in look(condition.file, facts)]
    else:
        told = [(one.name, one.value) for one in read(condition, facts)]
    if not told:
        name = fill(condition.file, facts.fields, literal=False)
        return Verdict(False, f"{name}, which says how many files there are, is not there")
    expected = 0
    for name, one in told:
        if one is None:
            return Verdict(False, f"{name} does not say how many {named(condition, facts)} there are")
        expected += one
    here = len(members(facts, condition.pattern))
    if here < expected:
        return Verdict(False, f"{here} of {expected} {named(condition, facts)} have come")
    return Verdict(True, f"{here} of {expected} {named(condition, facts)}")


def listed(condition: Condition, facts: Facts, now: float) -> Verdict:
    """All files have come that a file names."""
    lists = read(condition, facts)
    if not lists:
        return Verdict(False, f"{named(condition, facts)}, which lists the files, is not there")
    total = sum(one.value.total for one in lists)
    missing = sum(one.value.missing for one in lists)
    if missing:
        first = next(one.value.first for one in lists if one.value.missing)
        return Verdict(False, f"{first} has not come ({missing} of {total} listed files are missing)")
    return Verdict(True, f"all {total} files that {lists[0].name} lists are there")


def manifest(condition: Condition, facts: Facts, now: float) -> Verdict:
    """All files have come that a list of checksums names, and have these checksums. Raises Wrong where one has another."""
    lists = read(condition, facts)
    if not lists:
        return Verdict(False, f"{named(condition, facts)} is not there")
    missing = sum(one.value.missing for one in lists)
    if missing:
        first = next(one.value.first for one in lists if one.value.missing)
        total = sum(one.value.total for one in lists)
        return Verdict(False, f"{first} has not come ({missing} of {total} files of {lists[0].name} are missing)")
    if condition.payload is not None:
        named_there = {path for one in lists for _, path in one.value.sums}
        extra = [one.name for one in members(facts, condition.payload) if one.name not in named_there]
        if extra:
            return Verdict(False, f"{extra[0]} is in no list ({len(extra)} such files)")
    return _compare({one.name: one.value.sums for one in lists}, facts)


def _compare(lists: Mapping[str, Mapping[tuple[str, str], str]], facts: Facts) -> Verdict:
    """`lists`: name of a list → (algorithm, name of a file) → checksum."""
    wanted = [
        (source, path, algorithm, checksum, f"{algorithm}:{path}")
        for source, sums in lists.items()
        for (algorithm, path), checksum in sums.items()
    ]
    unasked = [key for *_, key in wanted if key not in facts.sums]
    if unasked:
        raise Missing(Ask.SUMS, unasked)
    wrong = {
        path: f"{source} says {algorithm} {checksum}, the file has {facts.sums[key]}"
        for source, path, algorithm, checksum, key in wanted
        if facts.sums[key] not in ("", "?", checksum)
    }
    if wrong:
        name, why = next(iter(wrong.items()))
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise Wrong(Mismatch(f"{name}: {why}{more}", wrong))
    unreadable = next((path for _, path, _, _, key in wanted if facts.sums[key] == "?"), None)
    if unreadable is not None:
        return Verdict(False, f"{unreadable} is refused or cannot be read; `dropline retry` looks at it again")
    made = sum(facts.sums[key] != "" for *_, key in wanted)
    if made < len(wanted):
        raise Undecided(f"its checksums are being compared: {made} of {len(wanted)}", soon=True)
    return Verdict(True, f"all {len(wanted)} checksums of {next(iter(lists))} are right")
