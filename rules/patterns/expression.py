"""Regular expressions of the configuration, on names and texts that others wrote, with bounds.

A pattern such as `(a+)+b` takes longer than the universe for a name of some dozen letters (catastrophic backtracking).
The author of the pattern is trusted, the author of a file name is not. Python's own engine cannot be stopped, and stops all
threads; the package `regex` reads the same patterns and takes a limit. It is imported with the first pattern: most rules
have none.
"""

import re
from functools import lru_cache
from itertools import islice
from typing import Any

AT_MOST = 1.0
"""Seconds of processor time for one text, and twice that for all texts that take long; what is sensible takes microseconds."""
MATCHES = 1_000_000
"""Matches in one text that are looked at."""
_LEAST = 0.001
_A_CHARACTER = 1e-6
"""What a text may take in any case: some texts took long, and others are not to go without an answer for that."""


def compiled(text: str) -> re.Pattern[str]:
    """A pattern. Raises ValueError with what is wrong."""
    import regex

    try:
        found = re.compile(text)
        _engine(text)
    except (re.error, regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the regular expression does not compile: {error}") from None
    return found


def search(pattern: str | re.Pattern[str], text: str) -> "re.Match[str] | None":
    """The first match; none where that cannot be told in time."""
    found: re.Match[str] | None = _engine(_text(pattern)).ask("search", text, None)
    return found


def match(pattern: re.Pattern[str], text: str) -> "re.Match[str] | None":
    """The match at the beginning; none where that cannot be told in time."""
    found: re.Match[str] | None = _engine(_text(pattern)).ask("match", text, None)
    return found


def each(pattern: str | re.Pattern[str], text: str) -> list[str]:
    """What the first group matches each time, or the whole where there is none; none where that cannot be told in time.

    No more than MATCHES.
    """
    found: list[str] = _engine(_text(pattern)).ask("finditer", text, [])
    return found


class Limited:
    """Stands for the regular expression of a gitignore pattern: `*_*_*_*_*.tif` takes a minute for 250 underscores."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern.pattern
        self._engine = _engine(pattern.pattern)

    def search(self, text: str) -> "re.Match[str] | None":
        """The first match; none where that cannot be told in time."""
        found: re.Match[str] | None = self._engine.ask("search", text, None)
        return found


class _Engine:
    """A pattern, and how long it may still take: half as long after each text that took too long."""

    def __init__(self, text: str) -> None:
        import regex

        self._pattern = regex.compile(text)
        self._limit = AT_MOST

    def ask(self, how: str, text: str, otherwise: Any) -> Any:
        """What a method of the pattern finds; `otherwise`, where that cannot be told in time."""
        limit = min(AT_MOST, max(self._limit, len(text) * _A_CHARACTER, _LEAST))
        try:
            found = getattr(self._pattern, how)(text, timeout=limit)
            if how != "finditer":
                return found
            group = min(self._pattern.groups, 1)
            return [one[group] for one in islice(found, MATCHES) if one[group] is not None]
        except (TimeoutError, MemoryError):
            self._limit /= 2
            return otherwise


def _text(pattern: str | re.Pattern[str]) -> str:
    return pattern if isinstance(pattern, str) else pattern.pattern


@lru_cache(maxsize=1024)
def _engine(text: str) -> _Engine:
    return _Engine(text)
