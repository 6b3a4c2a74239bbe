"""Conditions that compare the files with what another file says of them: how many, which, and with which checksums."""

import re
from collections.abc import Sequence

from rules.datasets import manifest as lists
from rules.datasets.question import Ask, Facts, Found, Mismatch, Missing, Wrong, look, members, named
from rules.model import Condition, Verdict
from rules.patterns.expression import each, search
from rules.patterns.glob import fill


def count(condition: Condition, facts: Facts, now: float) -> Verdict:
    """As many files have come as a file says that there are."""
    assert condition.file is not None, "rules.config.load checks it"
    sources = look(Ask.FOUND if condition.in_name else Ask.TEXTS, condition.file, facts)
    if not sources:
        told = fill(condition.file, facts.fields, literal=False)
        return Verdict(False, f"{told}, which says how many files there are, is not there")
    expected = 0
    for source in sources:
        number = _number(condition, source)
        if number is None:
            return Verdict(False, f"{source.name} does not say how many {named(condition, facts)} there are")
        expected += number
    here = len(members(facts, condition.pattern))
    if here < expected:
        return Verdict(False, f"{here} of {expected} {named(condition, facts)} have come")
    return Verdict(True, f"{here} of {expected} {named(condition, facts)}")


def _number(condition: Condition, source: Found) -> int | None:
    assert condition.find is not None, "rules.config.load checks it"
    where = source.name if condition.in_name else source.text
    if where is None:
        return None
    pattern = re.compile(condition.find)
    if not pattern.groups:
        return len({found[0] for found in each(pattern, where)}) if condition.distinct else len(each(pattern, where))
    found = search(pattern, where)
    return int(found[1]) if found is not None and found[1] is not None and found[1].strip().isdecimal() else None


def listed(condition: Condition, facts: Facts, now: float) -> Verdict:
    """All files have come that a file names."""
    assert condition.find is not None, "rules.config.load checks it"
    sources = look(Ask.TEXTS, condition.pattern, facts)
    if not sources:
        return Verdict(False, f"{named(condition, facts)}, which lists the files, is not there")
    expected: dict[str, None] = {}
    for source in sources:
        if source.text is None:
            return Verdict(False, f"{source.name} is too large to be read as a list")
        for found in each(condition.find, source.text):
            expected[(found[1] if found.re.groups else found[0]).strip().replace("\\", "/")] = None
    if not expected:
        return Verdict(False, f"{sources[0].name} lists no files")
    depths = {name.count("/") + 1 for name in expected}
    ends = {"/".join(one.name.split("/")[-depth:]) for one in members(facts, None) for depth in depths}
    missing = [name for name in expected if name not in ends]
    if missing:
        return Verdict(False, f"{missing[0]} has not come ({len(missing)} of {len(expected)} listed files are missing)")
    return Verdict(True, f"all {len(expected)} files that {sources[0].name} lists are there")


def manifest(condition: Condition, facts: Facts, now: float) -> Verdict:
    """All files have come that a list of checksums names, and have these checksums. Raises Wrong where one has another."""
    sources = look(Ask.TEXTS, condition.pattern, facts)
    if not sources:
        return Verdict(False, f"{named(condition, facts)} is not there")
    here = {one.name for one in members(facts, None)}
    sums: list[tuple[str, lists.Sum]] = []
    for source in sources:
        if source.text is None:
            return Verdict(False, f"{source.name} is too large to be read as a list")
        base = source.name.rpartition("/")[0]
        bag = re.fullmatch(r"(tag)?manifest-\w+\.txt", source.name.rpartition("/")[2]) is not None
        entries = lists.parse(source.text, condition.columns, bag=bag)
        if isinstance(entries, str):
            return Verdict(False, f"{source.name} {entries}")
        sums += [(source.name, one._replace(path=f"{base}/{one.path}".lstrip("/"))) for one in entries]
    missing = dict.fromkeys(one.path for _, one in sums if one.path not in here)
    if missing:
        reason = (
            f"{next(iter(missing))} has not come ({len(missing)} of {len(sums)} files of {sources[0].name} are missing)"
        )
        return Verdict(False, reason)
    if condition.payload is not None:
        listed_paths = {one.path for _, one in sums}
        extra = [one.name for one in members(facts, condition.payload) if one.name not in listed_paths]
        if extra:
            return Verdict(False, f"{extra[0]} is in no list ({len(extra)} such files)")
    return _compare(sums, facts)


def _compare(sums: Sequence[tuple[str, lists.Sum]], facts: Facts) -> Verdict:
    keys = [f"{one.algorithm}:{one.path}" for _, one in sums]
    unasked = [key for key in keys if key not in facts.sums]
    if unasked:
        raise Missing(Ask.SUMS, unasked)
    made = sum(facts.sums[key] != "" for key in keys)
    wrong = {
        one.path: f"{source} says {one.algorithm} {one.checksum}, the file has {facts.sums[key]}"
        for (source, one), key in zip(sums, keys, strict=True)
        if facts.sums[key] not in ("", "?", one.checksum)
    }
    if wrong:
        name, why = next(iter(wrong.items()))
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise Wrong(Mismatch(f"{name}: {why}{more}", wrong))
    unreadable = next((one.path for (_, one), key in zip(sums, keys, strict=True) if facts.sums[key] == "?"), None)
    if unreadable is not None:
        return Verdict(False, f"{unreadable} is refused or cannot be read; `dropline retry` looks at it again")
    if made < len(keys):
        return Verdict(False, f"its checksums are being compared: {made} of {len(keys)}")
    return Verdict(True, f"all {len(keys)} checksums of {sums[0][0]} are right")
