"""The paths of a batch at one destination: rendered once, when the batch is sealed, whatever is configured afterwards."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rules.match import relative
from rules.naming import numbered, place
from rules.patterns.portable import accepted
from rules.rule import Rule, Target


class Member(NamedTuple):
    """A file of a batch, as far as its path depends on it."""

    id: int
    path: str
    """Its local path."""
    dated_ns: int
    """The mtime that dates its path: its own, or that of its dataset."""
    ordinal: int = 1
    """How often the name of its dataset has been used."""


def template_of(target: Target) -> str:
    """The part of a destination's configuration that paths are rendered from: another one is another plan."""
    return json.dumps([target.path, target.rename_invalid])


def path_of(rule: Rule, target: Target, member: Member, host: str) -> str:
    """The path of a file at a destination. Raises PathRefused, see `rules.naming.render`."""
    relpath = rule.relpath(member.path)
    path = place(target.path, rule, relpath, member.dated_ns, host)
    if member.ordinal > 1:
        path = numbered(path, rule, relpath, member.ordinal)
    return path if target.rename_invalid is None else accepted(path, target.rename_invalid)


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of a batch's files at one destination."""

    root: str
    """The watched directory."""
    others: Mapping[int, str | None] = field(default_factory=dict)
    """Number of each file whose path is not the one below `root`; None: no path could be made."""

    def of(self, file: int, path: str) -> str | None:
        """The path of a file with this local path; None: it has none, and is rendered when it is to be sent."""
        return self.others[file] if file in self.others else relative(path, self.root)
