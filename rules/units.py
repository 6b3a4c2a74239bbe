"""Durations and sizes as people write them in the configuration."""

import re
from decimal import Decimal
from functools import lru_cache

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 365 * 86400.0}
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_CENTURY = 36525 * _SECONDS["d"]
_NUMBER_UNIT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")
DURATION = rf"^\s*(\d+(\.\d+)?\s*({'|'.join(_SECONDS)})\s*)+$"
SIZE = rf"^\s*\d+(\.\d+)?\s*({'|'.join(_BYTES)})\s*$"
"""What is read, as regular expressions that editors know, too."""


def duration(text: str) -> float:
    """Seconds of a duration such as "500ms", "30s", "5m", "7d", "1y" (365 days) or "1h30m".

    Raises ValueError where the text is not one.
    """
    parts = _NUMBER_UNIT.findall(text)
    if not parts or _NUMBER_UNIT.sub("", text).strip() or any(unit not in _SECONDS for _, unit in parts):
        raise ValueError(f'{text!r} is not a duration; write for example "500ms", "30s", "5m", "12h" or "7d"')
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _CENTURY:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return seconds


def size(text: str) -> int:
    """Bytes of a size such as "500kB", "50GB" (powers of 1000) or "4GiB" (powers of 1024).

    Raises ValueError where the text is not one.
    """
    match = _NUMBER_UNIT.fullmatch(text.strip())
    if match is None or match[2] not in _BYTES:
        raise ValueError(f'{text!r} is not a size; write for example "500kB", "50GB" or "4GiB"')
    return round(Decimal(match[1]) * _BYTES[match[2]])


def fraction(text: str) -> float:
    """The fraction 0..1 of a percentage such as "15%". Raises ValueError where the text is not one."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if match is None or float(match[1]) > 100:
        raise ValueError(f'{text!r} is not a percentage; write for example "15%"')
    return float(match[1]) / 100


@lru_cache(maxsize=256)
def in_words(seconds: float) -> str:
    """A duration for people: "500 ms", "30 s", "5 min", "12 h", "7 d"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{_figures(seconds / length)} {unit}"
    return f"{_figures(seconds)} s"


def bytes_in_words(count: float) -> str:
    """A size for people, in powers of 1000: "0 B", "16.4 kB", "2.15 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{_figures(count)} {unit}"
        count /= 1000
    return f"{_figures(count)} TB"


def _figures(number: float) -> str:
    """Three figures, or as many as stand before the point."""
    return f"{number:.3g}" if number < 999.5 else f"{number:.0f}"
