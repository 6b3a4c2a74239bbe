"""What a rule would do with a folder as it is now; nothing is written."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.files.posix import writer_probe as probe
from agent.files.posix.tree import Tree
from agent.files.posix.volumes import file_system
from agent.intake.content import Content, Sums
from agent.intake.scan import sweep
from rules.batch import key
from rules.complete import complete, granule
from rules.datasets.facts import judge
from rules.datasets.membership import Dataset, dataset_of
from rules.datasets.question import Facts, Mismatch
from rules.match import is_marker, marker_for, match
from rules.model import Candidate, Observation, Rule, Verdict, Version, Writer
from rules.naming import PathRefused, place


class Trial(NamedTuple):
    """A dataset, or a file by itself, and what would become of it."""

    dataset: str
    complete: bool
    reason: str
    files: int
    bytes: int
    batch: str
    path: str
    """Where its first file would go."""


@dataclass(slots=True)
class _Group:
    dataset: Dataset
    files: dict[str, Observation] = field(default_factory=dict)


def trial(rule: Rule, host: str, now: float) -> Iterator[Trial]:
    """Each dataset below the rule's `watch`.

    The agent counts quiet periods by its own looks; here there is only one, so a file counts as unchanged since its
    mtime or ctime, whichever is later. Raises OSError where the folder cannot be read.
    """
    groups: dict[str, _Group] = {}
    for listing in sweep(rule.watch):
        for name, seen in listing.seen():
            path = f"{listing.directory}/{name}"
            relpath = rule.relpath(path)
            dataset = dataset_of(rule, relpath)
            if seen.kind == "file" and dataset is not None and match([rule], path).rule is not None:
                groups.setdefault(dataset.key, _Group(dataset)).files[relpath] = seen
    probe.prepare()
    with Tree(rule.watch) as tree:
        for name, group in sorted(groups.items()):
            verdict = _verdict(rule, group, tree, now)
            relpath, seen = min(group.files.items())
            yield Trial(
                name, verdict.ok, verdict.reason, len(group.files), sum(one.version.size for one in group.files.values()),
                key(rule, relpath, seen.version.mtime_ns, host), _path(rule, relpath, seen.version, host),
            )  # fmt: skip


def _path(rule: Rule, relpath: str, version: Version, host: str) -> str:
    try:
        return place(rule.deliver[0].path, rule, relpath, version.mtime_ns, host)
    except PathRefused as error:
        return f"refused: {error}"


def _since(seen: Observation) -> float:
    return max(seen.version.mtime_ns, seen.version.ctime_ns) / 1e9


def _verdict(rule: Rule, group: _Group, tree: Tree, now: float) -> Verdict:
    content, sums = Content(tree), Sums()
    for relpath, seen in sorted(group.files.items()):
        name = relpath.rpartition("/")[2]
        marker = None if rule.whole else marker_for(rule, name)
        beside = content.names(relpath.rpartition("/")[0])
        there = marker is None or is_marker(rule, name) or any(map(marker.match_file, beside))
        candidate = Candidate(name, seen.version.size, _since(seen), granule(seen.version.ctime_ns))
        verdict = complete(rule.complete, candidate, there, _writer(tree, relpath), now)
        if not verdict.ok:
            return verdict._replace(reason=f"{relpath}: {verdict.reason}")
    if not rule.whole:
        return verdict
    versions = {path: seen.version for path, seen in group.files.items()}

    def make(wanted: Sequence[tuple[str, str]]) -> list[str]:
        made: list[str] = [""]
        while "" in made:
            sums.begin()
            made = sums.make(tree, wanted, versions)
        return made

    def members() -> list[tuple[str, int, bool]]:
        return [(path, seen.version.size, True) for path, seen in group.files.items()]

    answer, _ = judge(
        rule.complete, group.dataset, Facts(group.dataset.fields), content, make, members,
        lambda: max(map(_since, group.files.values())), now,
    )  # fmt: skip
    return Verdict(False, f"refused: {answer.reason}") if isinstance(answer, Mismatch) else answer


def _writer(tree: Tree, relpath: str) -> Writer:
    try:
        directory, name = tree.place(relpath)
        fd = os.open(name, probe.OPEN_FLAGS, dir_fd=directory)
    except OSError:
        return Writer.CANNOT_TELL
    try:
        return probe.writer(fd, f"{tree.root}/{relpath}", remote=file_system(tree.root).remote)
    finally:
        os.close(fd)
