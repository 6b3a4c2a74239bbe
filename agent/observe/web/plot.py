"""The last day as two charts: shapes for the template, and the same in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent.ledger import INTERVAL, Interval

COUNT = 144
"""Intervals in a day."""
HEIGHT = 100.0
"""Of a chart, in its own units; an interval is 1 wide."""
_STEPS = (1.0, 2.0, 5.0, 10.0)
_LABELS = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """One interval of a chart."""

    x: int
    height: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Plot:
    """What the last day was like."""

    bars: list[Bar]
    """Bytes verified."""
    top_bytes: float
    """Bytes at the upper edge."""
    backlog: list[Bar]
    """The most files that were on their way."""
    top_files: float
    off: list[tuple[int, int]]
    """(x, width) of the times in which the agent did not run."""
    times: list[float]
    """Of the labels below, evenly spaced."""
    files: int
    bytes: int
    busiest: Interval | None
    fullest: Interval | None


def plot(intervals: Sequence[Interval], now: float) -> Plot:
    """The charts of the day that ends with the interval under way."""
    first = (now // INTERVAL - COUNT + 1) * INTERVAL
    shown = {round((one.at - first) / INTERVAL): one for one in intervals}
    shown = {x: one for x, one in shown.items() if 0 <= x < COUNT}
    top_bytes = above(max((one.bytes for one in shown.values()), default=0))
    top_files = above(max((one.backlog_files for one in shown.values()), default=0))
    busiest = max(shown.values(), key=lambda one: one.bytes, default=None)
    fullest = max(shown.values(), key=lambda one: one.backlog_files, default=None)
    end = first + COUNT * INTERVAL
    return Plot(
        bars=[Bar(x, HEIGHT * one.bytes / top_bytes, one) for x, one in sorted(shown.items()) if one.bytes],
        top_bytes=top_bytes,
        backlog=[
            Bar(x, HEIGHT * one.backlog_files / top_files, one) for x, one in sorted(shown.items()) if one.backlog_files
        ],
        top_files=top_files,
        off=_gaps(sorted(shown)),
        times=[end - COUNT * INTERVAL * (_LABELS - 1 - number) / (_LABELS - 1) for number in range(_LABELS)],
        files=sum(one.files for one in shown.values()),
        bytes=sum(one.bytes for one in shown.values()),
        busiest=busiest if busiest is not None and busiest.bytes else None,
        fullest=fullest if fullest is not None and fullest.backlog_files else None,
    )


def above(value: float) -> float:
    """The next round number (1, 2 or 5, and zeros) that is not smaller; 1 of nothing."""
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next(step * power for step in _STEPS if step * power >= value)


def _gaps(known: Sequence[int]) -> list[tuple[int, int]]:
    edges = [-1, *known, COUNT]
    return [(left + 1, right - left - 1) for left, right in pairwise(edges) if right - left > 1]
