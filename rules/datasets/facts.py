"""Answers to the questions of `rules.datasets.conditions`, from whatever shows the files: a disk, or a rehearsal of one."""

import posixpath
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Protocol

from rules import formats
from rules.datasets.conditions import decide
from rules.datasets.membership import Dataset
from rules.datasets.question import FOUND_AT_MOST, Answer, Ask, Facts, Found, Member, Mismatch, Question
from rules.datasets.reading import Reads
from rules.model import Verdict
from rules.patterns.glob import Glob, Names, fill, takes
from rules.rule import Conditions

Reading = Callable[[Iterator[str]], Iterator[Answer | None]]
"""The text of a file, a block at a time → what it says, last: see `rules.datasets.reading.Reads.read`."""


class Disk(Protocol):
    """The watched directory as conditions see it: paths are relative to it, "/"-separated."""

    def names(self, directory: str) -> Names:
        """Names in a directory; none where it cannot be read."""

    def size(self, path: str) -> int | None:
        """Bytes of a regular file that nobody has open for writing; None where there is no such file."""

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file; fewer where it ends sooner or cannot be read."""

    def answer(self, path: str, found: Found, key: Hashable, reading: Reading) -> Answer | Found:
        """What a file says, remembered for its version and the key; `found` while it is not read to its end."""


Sums = Callable[[Sequence[tuple[str, str]]], Sequence[str]]
"""(algorithm, path) ... → hexadecimal checksums; "" for what is not ready, "?" for what cannot be read."""

FormatLooks = Callable[[tuple[str, ...], Sequence[Callable[[], formats.Finding]]], Sequence[formats.Finding | None]]
"""format:name ..., and how to look at each → findings; None for what is not looked at now, such as all after an unfinished one."""


def judge(
    conditions: Conditions, dataset: Dataset, facts: Facts, disk: Disk, sums: Sums, looks: FormatLooks,
    members: Callable[[], Sequence[tuple[str, int, bool]]], changed: Callable[[], float], now: float,
) -> tuple[Verdict | Mismatch, Facts]:  # fmt: skip
    """Decide about a dataset, getting the facts that the decision asks for. Returns them, too.

    Args:
        conditions: of its rule.
        dataset: which one.
        facts: what is known from before.
        disk: shows the files.
        sums: makes checksums.
        looks: has some of the files looked at that say something of their writers.
        members: its files: path relative to `watch`, size, and whether it waits to be complete.
        changed: when any of its files changed last, seconds since the epoch.
        now: seconds since the epoch.
    """
    while True:
        answer = decide(conditions, facts, now)
        if not isinstance(answer, Question):
            return answer, facts
        facts = _with(answer, facts, dataset, disk, sums, looks, members, changed)


def _with(
    question: Question, facts: Facts, dataset: Dataset, disk: Disk, sums: Sums, looks: FormatLooks,
    members: Callable[[], Sequence[tuple[str, int, bool]]], changed: Callable[[], float],
) -> Facts:  # fmt: skip
    match question.ask:
        case Ask.CHANGED:
            return replace(facts, changed_at=changed())
        case Ask.MEMBERS:
            here = sorted(Member(dataset.inside(path), size, fresh) for path, size, fresh in members())
            return replace(facts, members=tuple(here))
        case Ask.FOUND:
            looked = {
                pattern: tuple(islice(_found(pattern, dataset, disk, members), FOUND_AT_MOST + 1))
                for pattern in question.about
            }
            return replace(facts, found={**facts.found, **looked})
        case Ask.ANSWERS:
            (condition,) = question.about
            answers = tuple(_answers(condition, facts, dataset, disk))
            return replace(facts, answers={**facts.answers, condition: answers})
        case Ask.FORMATS:
            findings = looks(question.about, [partial(_look, one, dataset, disk) for one in question.about])
            return replace(facts, formats={**facts.formats, **dict(zip(question.about, findings, strict=True))})
        case Ask.SUMS:
            wanted = [one.partition(":") for one in question.about]
            made = sums([(algorithm, _path(name, dataset)) for algorithm, _, name in wanted])
            return replace(facts, sums={**facts.sums, **dict(zip(question.about, made, strict=True))})


def _path(name: str, dataset: Dataset) -> str:
    """The path relative to `watch` of a name as conditions use it."""
    return posixpath.normpath(f"{dataset.base}/{name}") if dataset.whole else name


def _found(
    pattern: str, dataset: Dataset, disk: Disk, members: Callable[[], Sequence[tuple[str, int, bool]]]
) -> Iterator[Found]:
    """What the pattern matches: on the disk, from the dataset's directory on; and of a group its own files, anywhere."""
    seen = set()
    for path in _walk(dataset.base, pattern.split("/"), dataset, disk):
        size = disk.size(path)
        if size is not None:
            seen.add(path)
            yield Found(posixpath.relpath(path, dataset.base) if dataset.whole else path, size)
    if dataset.whole:
        return
    filled = fill(pattern, dataset.fields)
    for path, _, _ in members():
        size = disk.size(path) if path not in seen and takes((filled,), path) else None
        if size is not None:
            yield Found(path, size)


def _walk(directory: str, parts: Sequence[str], dataset: Dataset, disk: Disk) -> Iterator[str]:
    if parts[0] == "..":
        yield from _walk(directory.rpartition("/")[0], parts[1:], dataset, disk)
        return
    wanted = Glob(parts[0], dataset.fields)
    for name in disk.names(directory).like(wanted) if wanted.name is None else [wanted.name]:
        path = f"{directory}/{name}" if directory else name
        if len(parts) == 1:
            yield path
        else:
            yield from _walk(path, parts[1:], dataset, disk)


def _answers(condition: Reads, facts: Facts, dataset: Dataset, disk: Disk) -> Iterator[Answer | Found]:
    here = frozenset(one.name for one in facts.members or () if condition.compares_names)

    def reading(found: Found) -> Reading:
        return lambda blocks: condition.read(found, blocks, here)

    for found in facts.found[condition.source]:
        yield disk.answer(_path(found.name, dataset), found, (condition, found, hash(here)), reading(found))


def _look(question: str, dataset: Dataset, disk: Disk) -> formats.Finding:
    format_, _, name = question.partition(":")
    path = _path(name, dataset)
    size = disk.size(path)
    if size is None:
        return formats.Finding(formats.State.OPEN, "cannot be read, or somebody has it open for writing")
    chosen = format_ or formats.format_of(name) or ""
    beside = {end: found for end in formats.companions(chosen) if (found := disk.size(path + end)) is not None}
    return formats.look(chosen, lambda offset, length: disk.read(path, offset, length), size, beside)
