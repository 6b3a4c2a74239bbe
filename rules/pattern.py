"""Regular expressions of the configuration, on names and texts that others wrote, with an end.

A pattern such as `(a+)+b` takes longer than the universe for a name of some dozen letters (catastrophic backtracking).
Who writes the pattern is trusted, but who names a file is not. Python's own engine cannot be stopped, and stops all
threads; the package `regex` reads the same patterns and takes a limit.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import regex

AT_MOST = 1.0
"""Seconds of processor time for one text; what is sensible takes microseconds."""


def compiled(text: str) -> re.Pattern[str]:
    """A pattern. Raises ValueError with what is wrong."""
    try:
        found = re.compile(text)
        _engine(text)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the regular expression does not compile: {error}") from None
    return found


def search(pattern: str | re.Pattern[str], text: str) -> "re.Match[str] | None":
    """The first match; none where that cannot be told in time."""
    found: re.Match[str] | None = _in_time(lambda: _engine(_text(pattern)).search(text, timeout=AT_MOST), None)
    return found


def match(pattern: re.Pattern[str], text: str) -> "re.Match[str] | None":
    """The match at the beginning; none where that cannot be told in time."""
    found: re.Match[str] | None = _in_time(lambda: _engine(_text(pattern)).match(text, timeout=AT_MOST), None)
    return found


def each(pattern: str | re.Pattern[str], text: str) -> "list[re.Match[str]]":
    """All matches; none where they cannot be told in time."""
    found: list[re.Match[str]] = _in_time(lambda: list(_engine(_text(pattern)).finditer(text, timeout=AT_MOST)), [])
    return found


class Limited:
    """Stands for the regular expression of a gitignore pattern: `*_*_*_*_*.tif` takes a minute for 250 underscores."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern.pattern
        self._search = _engine(pattern.pattern).search

    def search(self, text: str) -> "re.Match[str] | None":
        """The first match; none where that cannot be told in time."""
        try:
            found: re.Match[str] | None = self._search(text, timeout=AT_MOST)
        except (TimeoutError, MemoryError):
            return None
        return found


def _in_time(look: Callable[[], Any], otherwise: Any) -> Any:
    try:
        return look()
    except (TimeoutError, MemoryError):
        return otherwise


def _text(pattern: str | re.Pattern[str]) -> str:
    return pattern if isinstance(pattern, str) else pattern.pattern


@cache
def _engine(text: str) -> Any:
    return regex.compile(text)
