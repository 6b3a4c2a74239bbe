"""Which rule claims a path, or why none."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from pathspec import GitIgnoreSpec

from rules.datasets.membership import dataset_of
from rules.model import OWN_PREFIX, Condition, Rule
from rules.pattern import Limited

_PLACEHOLDER = re.compile(r"\{(name|stem)\}")
_AT_MOST = 1000
"""Characters of a pattern."""
_STARS = re.compile(r"\*+")
_QUICK = 2
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Match:
    """Which rule claims a path (None: none does, with the reason), and the path relative to the rule's directory."""

    rule: Rule | None
    relpath: str
    reason: str
    excluded: bool = False
    """A rule says in so many words that it does not want this path: nothing to report."""


def takes(patterns: tuple[str, ...], relpath: str) -> bool:
    """Whether the gitignore patterns take a relative path."""
    # Wildcards stop at a newline, which a name may have; no name has a NUL.
    return _spec(patterns).match_file(relpath.replace("\n", "\0"))


@cache
def _spec(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    return _limited([pattern.replace("\n", "\0") for pattern in patterns])


def _limited(patterns: Sequence[str]) -> GitIgnoreSpec:
    """The patterns, with a limit of time where a hostile name could take long: with three stars or more.

    The others are left as they are: they take microseconds for each name, and a limit takes twice as many.
    """
    spec = GitIgnoreSpec.from_lines(patterns, backend="simple")
    for one in spec.patterns:
        if one.regex is not None and len(_STARS.findall(str(one.pattern))) > _QUICK:
            one.regex = Limited(one.regex)  # type: ignore[assignment]  # its `search` is all that is used
    return spec


def relative(path: str, root: str) -> str | None:
    """The path below root, or None where it is not below it. Both absolute, "/"-separated."""
    prefix = root if root.endswith("/") else root + "/"
    return path[len(prefix) :] if path.startswith(prefix) and len(path) > len(prefix) else None


def match(rules: Sequence[Rule], path: str) -> Match:
    """The first rule whose `watch` holds the absolute path and whose patterns take it."""
    reason, excluded, below = "no rule watches this directory", False, ""
    for rule in rules:
        relpath = relative(path, rule.watch)
        if relpath is None:
            continue
        below = relpath
        if any(part.startswith(OWN_PREFIX) for part in relpath.split("/")):
            return Match(None, relpath, "the agent's own file", excluded=True)
        if takes(rule.exclude, relpath):
            reason, excluded = f"rule {rule.name!r} excludes it", True
        elif takes(rule.include, relpath):
            if rule.dataset is not None and dataset_of(rule, relpath) is None:
                reason = reason if excluded else f"it belongs to no dataset of rule {rule.name!r}"
                continue
            return Match(rule, relpath, f"claimed by rule {rule.name!r}")
        elif is_marker(rule, relpath.rpartition("/")[2]):
            reason, excluded = f"a marker of rule {rule.name!r}", True
        elif not excluded:
            reason = f"no include pattern of rule {rule.name!r} matches it"
    return Match(None, below, reason, excluded)


def is_marker(rule: Rule, name: str) -> bool:
    """Whether a file of this name may be a marker of the rule, for whatever data file."""
    if rule.complete.looks_for:
        return any(_glob(one).match_file(name) for one in rule.complete.looks_for)
    if rule.complete.marker is None:
        return False
    return _glob(_PLACEHOLDER.sub("*", rule.complete.marker)).match_file(name)


def marker_for(rule: Rule, name: str) -> GitIgnoreSpec | None:
    """The pattern which a sibling of the file must match to be its marker; None where the rule wants no marker."""
    pattern = rule.complete.marker
    if pattern is None:
        return None
    literal = {"name": _literal(name), "stem": _literal(name.rpartition(".")[0] or name)}
    return _glob(_PLACEHOLDER.sub(lambda found: literal[found[1]], pattern))


def looked_for(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Patterns of the names of all files on the disk that conditions look for."""
    found: list[str] = []
    for one in conditions:
        told = [one.pattern] if one.kind in ("marker", "gone", "manifest", "listed") else []
        told += [one.file] if one.file is not None else []
        found += [_FIELD.sub("*", pattern.rpartition("/")[2]) for pattern in told]
        found += looked_for(one.parts)
    return tuple(dict.fromkeys(found))


def fill(pattern: str, fields: Mapping[str, str], *, literal: bool = True) -> str:
    """The pattern with its fields filled in; `literal`: so that they match themselves, else as people read it."""
    return _FIELD.sub(lambda found: _literal(fields[found[1]]) if literal else fields[found[1]], pattern)


def names(pattern: str, fields: Mapping[str, str]) -> str | GitIgnoreSpec:
    """One part of a pattern of files on the disk: the name, where it can only be one, else what names must match."""
    if re.search(r"[*?\[\\]", pattern) is None:
        return fill(pattern, fields, literal=False)
    return _glob(fill(pattern, fields))


def pattern_mistake(pattern: str, known: Collection[str], *, disk: bool) -> str | None:
    """What is wrong with a pattern of a condition; None where it can match. `disk`: it is looked for on the disk."""
    unknown = sorted(set(_FIELD.findall(pattern)) - set(known))
    if unknown:
        return f"has an unknown field {{{unknown[0]}}}; known are {', '.join(f'{{{one}}}' for one in sorted(known))}"
    parts = pattern.split("/")
    if disk and ("**" in parts or ".." in parts[1:] or "" in parts or parts[-1] in ("..", ".")):
        return "is to be relative to the dataset's directory, without **; only its first part may be .."
    return next(
        filter(None, (glob_mistake(_FIELD.sub("x", one)) for one in parts if one not in ("..", "**", ""))), None
    )


def glob_mistake(pattern: str) -> str | None:
    """What is wrong with a pattern; None where it can match something."""
    if len(pattern) > _AT_MOST:
        return f"is longer than {_AT_MOST} characters"
    try:
        spec = GitIgnoreSpec.from_lines((pattern,))
    except (ValueError, re.error) as error:
        return f"is not a gitignore pattern: {error}"
    return None if any(one.include is not None for one in spec.patterns) else "matches nothing"


def marker_mistake(marker: str) -> str | None:
    """What is wrong with the pattern of a marker; None where it can match a name."""
    pattern = _PLACEHOLDER.sub("x", marker).lstrip("/")
    if "/" in pattern:
        return "has a slash; a marker lies in the same directory as its file"
    if "{" in pattern:
        return "has an unknown field; known are {name} and {stem}"
    return glob_mistake("/" + pattern)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> GitIgnoreSpec:
    return _limited(("/" + pattern.lstrip("/"),))


def _literal(name: str) -> str:
    """The name with glob metacharacters escaped: tilt images carry "[30.0]" in their names.

    Spaces become classes: at the end of a pattern they would not count, escaped or not.
    """
    return re.sub(r"(\s)", r"[\1]", re.sub(r"([*?\[\]\\!#])", r"\\\1", name))
