"""Which files belong together: the dataset of a path.

A dataset is a directory with everything below it, or the files whose names agree in the named groups of a regular
expression. Without either, each file is its own dataset.
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from rules.patterns.expression import match
from rules.patterns.glob import fill, takes
from rules.rule import Rule, Together


class Dataset(NamedTuple):
    """Files that become complete, travel and are reclaimed together."""

    key: str
    """What people call it: its directory, or the directory and what its names share; relative to `watch`."""
    base: str
    """The directory, relative to `watch`, from which markers are looked for; "" is `watch` itself."""
    fields: dict[str, str]
    """What the patterns of conditions may use: `name`, and the named groups of the regular expression."""
    whole: bool
    """It is a directory: its files are named relative to `base`, and everything below belongs to it."""

    def inside(self, relpath: str) -> str:
        """The name of a file of it in conditions: relative to its directory, or to `watch` where it is not one."""
        return relpath[len(self.base) + 1 :] if self.whole else relpath


def dataset_of(rule: Rule, relpath: str) -> Dataset | None:
    """The dataset of a path relative to the rule's `watch`; None where the path belongs to none of the rule's."""
    if rule.dataset is None:
        directory, _, name = relpath.rpartition("/")
        return Dataset(relpath, directory, {"name": name, "stem": name.rpartition(".")[0] or name}, whole=False)
    if rule.dataset.dir is not None:
        found = match(rule.dataset.dir, relpath)
        end = found.end() if found is not None else 0
        if found is None or not end or (relpath[end - 1] != "/" and relpath[end : end + 1] != "/"):
            return None
        base = relpath[:end].rstrip("/")
        name = base.rpartition("/")[2]
        stem = name.rpartition(".")[0] or name
        return Dataset(base, base, {"name": name, "stem": stem, **found.groupdict(default="")}, whole=True)
    for pattern in rule.dataset.group:
        found = match(pattern, relpath)
        if found is not None:
            groups = found.groupdict(default="")
            directory = groups.get("dir", "")
            own = [name for name in groups if name != "dir" and not (directory and _within(found, name))]
            shared = "|".join(groups[name] for name in own)
            return Dataset(directory + shared, directory.rstrip("/"), {"name": shared, **groups}, whole=False)
    return None


def travels_last(rule: Rule, dataset: Dataset, relpath: str) -> bool:
    """Whether a file goes to a destination after all others of its dataset: programs there begin when they see it."""
    if rule.dataset is None:
        return False
    if rule.last is not None:
        patterns: Sequence[str] = rule.last
    else:  # on the disk, these names count from the dataset's directory
        patterns = [f"/{one}" for one in rule.complete.markers]
    if not patterns:
        return False
    inside = relpath.removeprefix(f"{dataset.base}/") if dataset.base else relpath
    return takes(tuple(fill(one, dataset.fields) for one in patterns), inside)


_MONTH_NS = 31 * 86_400 * 1_000_000_000


def date_ns(mtimes: Collection[int]) -> int:
    """The mtime that dates a dataset: of its first file.

    A method or a template that was copied into it may be years older: what is more than a month older than its last file
    does not count.
    """
    last = max(mtimes)
    return min(mtime for mtime in mtimes if mtime >= last - _MONTH_NS)


def _within(found: re.Match[str], group: str) -> bool:
    """Whether a group is a part of the group `dir`: the directory tells datasets apart already."""
    return found.start("dir") <= found.start(group) and found.end(group) <= found.end("dir")


def captured(together: Together | None) -> set[str]:
    """Named groups that every dataset of a rule has: fields of its templates."""
    if together is None:
        return set()
    patterns = (together.dir,) if together.dir is not None else together.group
    return set.intersection(*(set(pattern.groupindex) for pattern in patterns))


def known_fields(together: Together | None) -> set[str]:
    """Fields that the patterns of a rule's conditions may use."""
    return captured(together) | ({"name"} if together is not None and together.group else {"name", "stem"})
