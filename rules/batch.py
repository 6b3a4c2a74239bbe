"""Group complete files, and seal a group into a batch."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Protocol, TypeVar

from cronsim import CronSim

from rules.datasets.membership import dataset_of
from rules.model import OpenBatch, Verdict
from rules.naming import expand, facts
from rules.rule import Rule, Sealing
from rules.units import bytes_in_words, in_words


def key(rule: Rule, relpath: str, mtime_ns: int, host: str) -> str:
    """The group that a file belongs to. Files of one key travel together.

    A regular expression that does not match leaves its groups empty, so such files share a group of their own.
    """
    if rule.batch.by == "dataset":
        dataset = dataset_of(rule, relpath)
        return "" if dataset is None else dataset.key
    if rule.batch.by == "dir":
        return relpath.rpartition("/")[0]
    values = facts(rule, relpath, mtime_ns, host)
    if rule.batch.by == "capture":
        assert rule.capture is not None, "rules.config.load checks it"
        return "/".join(values[name] for name in rule.capture.groupindex)
    return expand(rule.batch.by, values, rule.zone)


def full(sealing: Sealing, group: OpenBatch) -> bool:
    """Whether no more files join the group."""
    return group.files >= sealing.max_files or group.bytes >= sealing.max_bytes


def seal(sealing: Sealing, group: OpenBatch, now: float, zone: tzinfo = UTC) -> Verdict:
    """Whether the group is sealed at `now`; `again_at` is when time alone will seal it.

    A schedule says when files go: one that is full waits for it, too. `zone`: whose clock it means.
    """
    if sealing.schedule is not None:
        due = next_time(sealing.schedule, group.first_at, zone)
        if now >= due:
            return Verdict(True, f"schedule {sealing.schedule!r}")
        return Verdict(False, f"waits for its schedule {sealing.schedule!r}", due)
    if group.files >= sealing.max_files:
        return Verdict(True, f"{group.files} files (max_files)")
    if group.bytes >= sealing.max_bytes:
        return Verdict(True, f"{bytes_in_words(group.bytes)} (max_bytes)")
    linger = sealing.linger or 0.0
    if now >= group.last_at + linger:
        return Verdict(True, f"no more files for {in_words(linger)} (linger)")
    oldest = max_age(sealing)
    if now >= group.first_at + oldest:
        return Verdict(True, f"open for {in_words(oldest)} (max_age)")
    again_at = min(group.last_at + linger, group.first_at + oldest)
    return Verdict(False, "waits for more files (linger)", again_at)


def max_age(sealing: Sealing) -> float:
    """Seconds at which a group is sealed though more files keep joining: a steady stream must not hold it open."""
    return 5 * (sealing.linger or 0.0) if sealing.max_age is None else sealing.max_age


def next_time(schedule: str, after: float, zone: tzinfo = UTC) -> float:
    """The first time of the cron expression after `after`; its fields are read by the clock of `zone`.

    As cron has it: a time that the clock skips comes when the skipped hour ends; of one that the clock shows twice, the first
    counts, where the expression names the hour. Raises `cronsim.CronSimError` where the expression is not one.
    """
    times = (at.timestamp() for at in CronSim(schedule, datetime.fromtimestamp(after, zone)))
    return next(at for at in times if at > after)


def next_times(schedule: str, after: float, zone: tzinfo, count: int) -> list[datetime]:
    """The next times of a cron expression, by the clock of `zone`."""
    found: list[datetime] = []
    for _ in range(count):
        after = next_time(schedule, after, zone)
        found.append(datetime.fromtimestamp(after, zone))
    return found


class Due(Protocol):
    """A delivery that is due: one batch, to one destination."""

    @property
    def rule(self) -> str: ...
    @property
    def submission(self) -> int | None:
        """The request that it was in."""

    @property
    def resumed(self) -> bool:
        """Whether that request may have been sent, and has no answer."""

    @property
    def failures(self) -> int:
        """How often it failed in a row."""

    @property
    def files(self) -> int: ...
    @property
    def size(self) -> int:
        """Bytes."""


D = TypeVar("D", bound=Due)
_SHARED_BY = {0: math.inf, 1: 32, 2: 4}
"""After so many failures: how many deliveries share a request. After more, each goes alone."""


def together(due: Sequence[D], most_files: int, most_bytes: int) -> list[list[D]]:
    """The deliveries of each request: those of one rule, in their order, up to so many files and bytes.

    What was in one request that may have been sent stays together. A batch that is larger goes alone. What failed shares a
    request with fewer each time, and goes alone at last: the one that all of them failed for must not hold the others.
    """
    found: list[list[D]] = []
    joining: dict[object, tuple[list[D], int, int]] = {}
    for one in due:
        key = one.submission if one.resumed else (one.rule, one.failures)
        group, files, size = joining.get(key, ([], 0, 0))
        files, size = files + one.files, size + one.size
        fits = files <= most_files and size <= most_bytes and len(group) < _SHARED_BY.get(one.failures, 1)
        if not group or not (one.resumed or fits):
            group, files, size = [], one.files, one.size
            found.append(group)
        group.append(one)
        joining[key] = group, files, size
    return found
