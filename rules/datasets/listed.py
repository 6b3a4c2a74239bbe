"""Conditions that compare the files with what another file says of them: how many, which, and with which checksums."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

from rules.datasets import manifest as lists
from rules.datasets.condition import DiskPattern, Expression, Pattern
from rules.datasets.question import Answer, Ask, Facts, Found, Mismatch, Missing, Undecided, Wrong, look, members
from rules.datasets.reading import Reads
from rules.model import Verdict
from rules.patterns.expression import MATCHES, each, search

_TOGETHER = 1000
"""Lines of a list that are read at a time."""
_DIGITS = 18
"""Of the largest number that a file may say."""


class Count(Reads):
    """As many files have come as a file says that there are."""

    count: Pattern
    file: DiskPattern
    """Which says the number."""
    find: Expression
    """With a group: it is the number; without: it occurs so many times."""
    in_name: bool = False
    """The number is in the file's name, not in its content."""
    distinct: bool = False
    """Occurrences that are alike count once."""

    def read_blocks(self, found: Found, blocks: Iterator[str], here: Collection[str]) -> Iterator[Answer | None]:
        yield Answer(*found, self._number("".join(blocks)))

    def _number(self, text: str) -> int | None:
        if not re.compile(self.find).groups:
            matches = each(self.find, text)
            return len(set(matches)) if self.distinct else len(matches)
        told = search(self.find, text)
        digits = "" if told is None or told[1] is None else told[1].strip()
        return int(digits) if digits.isdecimal() and len(digits) <= _DIGITS else None

    def decide(self, facts: Facts, now: float) -> Verdict:
        if self.in_name:
            told = [(one.name, self._number(one.name)) for one in look(self.file, facts)]
        else:
            told = [(one.name, one.value) for one in self.answers(facts)]
        if not told:
            return Verdict(False, f"{self.file.shown(facts)}, which says how many files there are, is not there")
        expected = 0
        for name, one in told:
            if one is None:
                return Verdict(False, f"{name} does not say how many {self.count.shown(facts)} there are")
            expected += one
        here = len(members(facts, self.count))
        if here < expected:
            return Verdict(False, f"{here} of {expected} {self.count.shown(facts)} have come")
        return Verdict(True, f"{here} of {expected} {self.count.shown(facts)}")

    @property
    def clause(self) -> str:
        return f"as many {self.count} have come as {self.file} says ({self.find!r})"


class Named(NamedTuple):
    """What a list says of the files of a dataset."""

    total: int
    """How many it names."""
    missing: int
    """How many of them are not there."""
    first: str
    """One of those."""
    sums: dict[tuple[str, str], str]
    """(algorithm, name) of those that are there → checksum, where it has checksums."""


def _absent(found: Sequence[Answer], of: str) -> Verdict | None:
    """The verdict where files are missing that lists name; None: none is."""
    missing = sum(one.value.missing for one in found)
    if not missing:
        return None
    first = next(one.value.first for one in found if one.value.missing)
    return Verdict(
        False, f"{first} has not come ({missing} of {sum(one.value.total for one in found)} {of} are missing)"
    )


class Listed(Reads):
    """All files have come that a file names."""

    compares_names: ClassVar[bool] = True
    listed: DiskPattern
    find: Expression
    """What is listed: its first group, or all of it."""

    def read_blocks(self, found: Found, blocks: Iterator[str], here: Collection[str]) -> Iterator[Answer | None]:
        matches = each(self.find, "".join(blocks))
        if len(matches) == MATCHES:
            raise lists.NoList(f"lists more than {MATCHES:,} files, too many to be compared")
        expected = dict.fromkeys(one.strip().replace("\\", "/") for one in matches)
        if not expected:
            raise lists.NoList("lists no files")
        depths = {one.count("/") + 1 for one in expected}
        parts = (one.split("/") for one in here)
        ends = {"/".join(one[-depth:]) for one in parts for depth in depths if depth <= len(one)}
        missing = [one for one in expected if one not in ends]
        yield Answer(*found, Named(len(expected), len(missing), missing[0] if missing else "", {}))

    def decide(self, facts: Facts, now: float) -> Verdict:
        found = self.answers(facts)
        if not found:
            return Verdict(False, f"{self.listed.shown(facts)}, which lists the files, is not there")
        absent = _absent(found, "listed files")
        total = sum(one.value.total for one in found)
        return absent or Verdict(True, f"all {total} files that {found[0].name} lists are there")

    @property
    def clause(self) -> str:
        return f"every file that {self.listed} lists ({self.find!r}) has come"


class Manifest(Reads):
    """All files have come that a list of checksums names, and have these checksums."""

    compares_names: ClassVar[bool] = True
    manifest: DiskPattern
    columns: tuple[str, str] | None = None
    """Of a CSV list: the columns with the path and with the checksum."""
    payload: Pattern | None = None
    """Each of these files must be in the list."""

    def read_blocks(self, found: Found, blocks: Iterator[str], here: Collection[str]) -> Iterator[Answer | None]:
        directory, _, name = found.name.rpartition("/")
        bag = re.fullmatch(r"(tag)?manifest-\w+\.txt", name) is not None
        sums: dict[tuple[str, str], str] = {}
        count, missing, first = 0, 0, ""
        for index, one in enumerate(lists.entries(blocks, self.columns, bag=bag), 1):
            if index % _TOGETHER == 0:
                yield None
            if one is None:
                continue
            path = f"{directory}/{one.path}".lstrip("/")
            count += 1
            if path not in here:
                missing += 1
                first = first or path
            elif sums.setdefault((one.algorithm, path), one.checksum) != one.checksum:
                raise lists.NoList(f"says two checksums of {path}")
        if not count:
            raise lists.NoList("lists nothing")
        yield Answer(*found, Named(count, missing, first, sums))

    def decide(self, facts: Facts, now: float) -> Verdict:
        """Raises Wrong where a file has another checksum."""
        found = self.answers(facts)
        if not found:
            return Verdict(False, f"{self.manifest.shown(facts)} is not there")
        absent = _absent(found, f"files of {found[0].name}")
        if absent is not None:
            return absent
        if self.payload is not None:
            named = {path for one in found for _, path in one.value.sums}
            extra = [one.name for one in members(facts, self.payload) if one.name not in named]
            if extra:
                return Verdict(False, f"{extra[0]} is in no list ({len(extra)} such files)")
        return _compare({one.name: one.value.sums for one in found}, facts)

    @property
    def clause(self) -> str:
        return f"every file in the checksum list {self.manifest} has come and has its checksum"


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
