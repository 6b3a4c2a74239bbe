"""Markdown tables and the few statistics in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right, padded so that it reads well as plain text."""
    columns = list(zip(head, *rows, strict=True))
    padded = []
    for number, cells in enumerate(columns):
        width = max(map(len, cells))
        rule = "-" * width if number == 0 else "-" * (width - 1) + ":"
        shown = [cell.ljust(width) if number == 0 else cell.rjust(width) for cell in cells]
        padded.append([shown[0], rule, *shown[1:]])
    return "\n".join("| " + " | ".join(line) + " |" for line in zip(*padded, strict=True))


def spread(values: Sequence[float], digits: int) -> str:
    """`median (min-max)`, or the only value, or a dash for none."""
    if not values:
        return "-"
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def paired(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Each value divided by the reference's of the same round: what slows the machine for a while then slows both."""
    return [own / base for own, base in zip(values, reference, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` (0 to 1) of them do not exceed; nan of none."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else math.nan
