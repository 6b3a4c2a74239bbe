"""Which rule claims a path, or why none."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import dirname, join, normpath

from rules.datasets.membership import dataset_of
from rules.model import OWN_PREFIX
from rules.patterns.glob import PLACEHOLDER, Glob, spec_of, takes
from rules.patterns.partial import partial
from rules.rule import Rule

_ONE_FIELD = re.compile(r"(?P<begin>[^{}*?\[\\]*)\{(?P<field>name|stem)\}(?P<end>[^{}*?\[\\]*)")
_BEYOND = "\udcff" * 300
"""Comes after every name."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which rule claims a path (None: none does, with the reason), and the path relative to the rule's directory."""

    rule: Rule | None
    relpath: str
    reason: str
    excluded: bool = False
    """A rule excludes this path explicitly: nothing to report."""
    partial: bool = False
    """It is left out because its name is that of another program's partial file."""


def relative(path: str, root: str) -> str | None:
    """The path below root, or None where it is not below it. Both absolute, "/"-separated."""
    prefix = root if root.endswith("/") else root + "/"
    return path[len(prefix) :] if path.startswith(prefix) and len(path) > len(prefix) else None


def overlap(one: str, other: str) -> bool:
    """Whether two directories are the same, or one lies in the other."""
    return one == other or relative(one, other) is not None or relative(other, one) is not None


def match(rules: Sequence[Rule], path: str) -> Match:
    """The first rule whose `watch` holds the absolute path and whose patterns take it."""
    reason, excluded, below, left_out = "no rule watches this directory", False, "", False
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
            if partial(rule, relpath):
                reason, excluded, left_out = f"rule {rule.name!r} skips partial files of other programs", True, True
                continue
            return Match(rule, relpath, f"claimed by rule {rule.name!r}")
        elif is_marker(rule, relpath.rpartition("/")[2]):
            reason, excluded = f"a marker of rule {rule.name!r}", True
        elif not excluded:
            reason = f"no include pattern of rule {rule.name!r} matches it"
    return Match(None, below, reason, excluded, left_out)


def pruned(rules: Sequence[Rule], directory: str) -> bool:
    """Whether a directory need not be walked: each rule that holds it excludes it with all that is below.

    Not where an exclusion has exceptions, or conditions look for files wherever they are.
    """
    if any((rule.watch + "/").startswith(directory + "/") for rule in rules):
        return False
    holders = [(rule, inside) for rule in rules if (inside := relative(directory, rule.watch)) is not None]
    return bool(holders) and all(
        not rule.complete.looked_for_patterns
        and not any(pattern.startswith("!") for pattern in rule.exclude)
        and takes(rule.exclude, f"{inside}/")
        for rule, inside in holders
    )


def leads_out(rules: Sequence[Rule], link: str, target: str, *, directory: bool) -> str | None:
    """Where a link leads, if that is delivered by none of the rules; None: it is delivered itself.

    Args:
        rules: in the order of the configuration.
        link: absolute path of the link.
        target: what it says.
        directory: whether it leads to a directory.
    """
    there = normpath(join(dirname(link), target))
    if directory:
        delivered = any(there == rule.watch or relative(there, rule.watch) is not None for rule in rules)
    else:
        delivered = match(rules, there).rule is not None
    return None if delivered else there


def is_marker(rule: Rule, name: str) -> bool:
    """Whether a file of this name may be a marker of the rule, for whatever data file."""
    if rule.complete.looked_for_patterns:
        return any(spec_of(one).match_file(name) for one in rule.complete.looked_for_patterns)
    if rule.complete.marker is None:
        return False
    return spec_of(PLACEHOLDER.sub("*", rule.complete.marker)).match_file(name)


def marker_for(rule: Rule, name: str) -> Glob | None:
    """The pattern which a sibling of the file must match to be its marker; None where the rule wants no marker."""
    pattern = rule.complete.marker
    return None if pattern is None else Glob(pattern, {"name": name, "stem": name.rpartition(".")[0] or name})


def marked_by(rule: Rule, name: str) -> tuple[str, str]:
    """The names of the files whose marker a name may be, as a range of bytes: the first, and the first beyond.

    It is narrow where the marker's pattern has one field and no wildcard, so that a marker wakes its own file alone.
    """
    found = _ONE_FIELD.fullmatch((rule.complete.marker or "").lstrip("/").rstrip())
    if found is None:
        return "", _BEYOND
    value = name[len(found["begin"]) : len(name) - len(found["end"])]
    # A stem is followed by a suffix, if by anything; "/" comes next after ".".
    return value, value + ("\0" if found["field"] == "name" else "/")
