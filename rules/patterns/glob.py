"""Patterns of one name, and the names in a directory, of which many are asked for many patterns."""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from pathspec import GitIgnoreSpec

from rules.patterns.expression import Limited

FIELD = re.compile(r"\{(\w+)\}")
PLACEHOLDER = re.compile(r"\{(name|stem)\}")
"""What the pattern of one file's marker may use."""
_AT_MOST, _SHOWN = 1000, 200
"""Characters of a pattern, and those that are shown."""
_STARS = re.compile(r"\*+")
_QUICK = 2


class Glob:
    """A pattern of one name with its fields filled in."""

    def __init__(self, pattern: str, fields: Mapping[str, str]) -> None:
        pattern = pattern.lstrip("/")
        self.text = fill(pattern, fields)
        self.name: str | None = None
        """The name, where it can only be one."""
        if re.search(r"[*?\[\\]|\s$", pattern) is None:
            self.name = fill(pattern, fields, literal=False)
        # What stands between the wildcards, and neither in nor between classes such as [ab].
        head = re.split(r"[\[\\]", pattern)[0]
        tail = pattern.rpartition("]")[2] if "[" in pattern and "\\" not in pattern else ""
        first, *others = re.split(r"[*?]", head.rstrip())
        others += [] if "[" in tail else re.split(r"[*?]", tail.rstrip())
        self.begin = fill(first, fields, literal=False)
        """What each name that it matches begins with."""
        self.inside = max((fill(one, fields, literal=False) for one in others), key=len, default="")
        """What each name that it matches has further on."""

    def match_file(self, name: str) -> bool:
        """Whether it matches a name."""
        return spec_of(self.text).match_file(name)


class Names:
    """The names in a directory. A pattern is tried on those alone that have its literal parts."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)
        self._text: str | None = None
        self._any: dict[str, bool] = {}
        """Pattern → whether there is one: many files may have the same."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def like(self, glob: Glob) -> Iterator[str]:
        """Those that the pattern matches, in order."""
        return filter(glob.match_file, self._likely(glob))

    def any_like(self, glob: Glob) -> bool:
        """Whether there is one. Asked once for each pattern."""
        if glob.text not in self._any:
            self._any[glob.text] = any(True for _ in self.like(glob))
        return self._any[glob.text]

    def _likely(self, glob: Glob) -> Iterable[str]:
        if glob.begin:
            begin = bisect_left(self._names, glob.begin)
            for index in range(begin, len(self._names)):
                if not self._names[index].startswith(glob.begin):
                    return
                if glob.inside in self._names[index]:
                    yield self._names[index]
        elif glob.inside:
            yield from self._with(glob.inside)
        else:
            yield from self._names

    def _with(self, piece: str) -> Iterator[str]:
        """Names that have a piece: found in one text of all of them, at the speed of the memory."""
        if self._text is None:
            self._text = "\0".join(["", *self._names, ""])
        at = self._text.find(piece)
        while at >= 0:
            end = self._text.index("\0", at)
            yield self._text[self._text.rindex("\0", 0, at + 1) + 1 : end]
            at = self._text.find(piece, end)


def fill(pattern: str, fields: Mapping[str, str], *, literal: bool = True) -> str:
    """The pattern with its fields filled in; `literal`: so that they match themselves, else as people read it."""
    return FIELD.sub(lambda found: _literal(fields[found[1]]) if literal else fields[found[1]], pattern)


def _literal(name: str) -> str:
    """The name with glob metacharacters escaped: tilt images carry "[30.0]" in their names.

    Spaces become classes: at the end of a pattern they would not count, escaped or not.
    """
    return re.sub(r"(\s)", r"[\1]", re.sub(r"([*?\[\]\\!#])", r"\\\1", name))


def takes(patterns: tuple[str, ...], relpath: str) -> bool:
    """Whether the gitignore patterns take a relative path."""
    return _spec(patterns).match_file(relpath)


@lru_cache(maxsize=1024)  # those of datasets have their fields filled in
def _spec(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    return limited(patterns)


@lru_cache(maxsize=1024)
def spec_of(pattern: str) -> GitIgnoreSpec:
    """A pattern of one name, compiled."""
    return limited(("/" + pattern.lstrip("/"),))


class _Spec(GitIgnoreSpec):
    def match_file(self, file: str, separators: Collection[str] | None = ()) -> bool:  # type: ignore[override]
        """The parts of a path are separated by "/" on every platform: a backslash belongs to a name, also on Windows."""
        return super().match_file(file.replace("\n", "\0"), separators)


def limited(patterns: Sequence[str]) -> GitIgnoreSpec:
    """The patterns, with a limit of time where a hostile name could take long: with three stars or more.

    The others are left as they are: they take microseconds for each name, and a limit takes twice as many.
    """
    # Wildcards stop at a newline, and the end of a pattern comes before one, which a name may have; no name has a NUL.
    spec = _Spec.from_lines([pattern.replace("\n", "\0") for pattern in patterns], backend="simple")
    for one in spec.patterns:
        if one.regex is not None and len(_STARS.findall(str(one.pattern))) > _QUICK:
            one.regex = Limited(one.regex)  # type: ignore[assignment]  # its `search` is all that is used
    return spec


def check_glob(pattern: str, shown: str | None = None) -> str:
    """The pattern. Raises ValueError where it can match nothing; `shown`: the pattern as it is written."""
    if len(pattern) > _AT_MOST:
        raise _wrong(shown or pattern, f"is longer than {_AT_MOST} characters")
    try:
        spec = GitIgnoreSpec.from_lines((pattern,))
    except (ValueError, re.error) as error:
        raise _wrong(shown or pattern, f"is not a gitignore pattern: {error}") from None
    if all(one.include is None for one in spec.patterns):
        raise _wrong(shown or pattern, "matches nothing")
    return pattern


def check_marker(marker: str) -> str:
    """The pattern of one file's marker. Raises ValueError where it can match no name."""
    pattern = PLACEHOLDER.sub("x", marker).lstrip("/")
    if "/" in pattern:
        raise _wrong(marker, "has a slash; a marker lies in the same directory as its file")
    if "{" in pattern:
        raise _wrong(marker, "has an unknown field; known are {name} and {stem}")
    check_glob("/" + pattern, marker)
    return marker


def _wrong(pattern: str, why: str) -> ValueError:
    return ValueError(f"{pattern[:_SHOWN]!r} {why}")
