"""Where a file goes: a template and facts make the path at the destination."""

import re
import string
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from enum import Enum
from hashlib import blake2b
from typing import NamedTuple

from rules.datasets.membership import Dataset, dataset_of
from rules.model import OWN_PREFIX, Content
from rules.patterns.expression import search
from rules.rule import Rule

FIELDS = ("rule", "relpath", "dir", "name", "stem", "suffix", "host", "inside", "rest")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_IN_PLACE = "an earlier version of this file, which changed in place"
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class PathRefused(ValueError):
    """The template and this file's facts make no path that may be written. The message says why."""


class _Template(string.Formatter):
    """`str.format` without attribute look-ups, indexing and conversions, which have no business in a configuration."""

    def get_field(self, field_name: str, args: object, kwargs: Mapping[str, object]) -> tuple[object, str]:
        return kwargs[field_name], field_name


def facts(rule: Rule, relpath: str, mtime_ns: int, host: str) -> dict[str, str]:
    """The values that templates may use for this file; mtime is added by `render`."""
    directory, _, name = relpath.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    found = search(rule.capture, relpath) if rule.capture is not None else None
    captured = (
        found.groupdict(default="") if found else dict.fromkeys(rule.capture.groupindex if rule.capture else (), "")
    )
    dataset = dataset_of(rule, relpath) if rule.dataset is not None else None
    if dataset is not None:
        captured = dataset.fields | captured
    base = dataset.base if dataset is not None else directory
    inside = relpath[len(base) + 1 :] if base else relpath
    return captured | {
        "rule": rule.name,
        "relpath": relpath,
        "dir": directory,
        "name": name,
        "stem": stem,
        "suffix": dot + suffix,
        "host": host,
        "inside": inside,
        "rest": _rest(relpath, found) if rule.capture is not None or dataset is None else inside,
        "mtime": str(mtime_ns),
    }


def _rest(relpath: str, found: "re.Match[str] | None") -> str:
    """The path below the last part in which a named group matched; at least the file's own name."""
    end = 0 if found is None else max((found.end(name) for name in found.re.groupindex), default=0)
    if end <= 0:
        return relpath
    slash = relpath.find("/", end)
    return relpath[slash + 1 :] if slash >= 0 else relpath.rpartition("/")[2]


def may_meet(rule: Rule, template: str) -> str | None:
    """Why two files of one tree may want the same path, as far as the template alone shows; None: it shows nothing."""
    fields = {name for _, name, _, _ in string.Formatter().parse(template) if name}
    whole = "relpath" in fields or ("dir" in fields and ("name" in fields or {"stem", "suffix"} <= fields))
    flat = all(pattern.startswith("/") and pattern.count("/") == 1 and "**" not in pattern for pattern in rule.include)
    if whole or (rule.dataset is not None and rule.dataset.dir is None):
        return None
    if rule.dataset is not None:
        below = "inside" in fields or "rest" in fields
        return None if below else "of different folders of one dataset; write {inside} for their path in it"
    if "rest" in fields:
        left_out = [f"{{{name}}}" for name in (rule.capture.groupindex if rule.capture else ()) if name not in fields]
        return f"that differ in {', '.join(left_out)}, which it leaves out" if left_out else None
    if not fields & {"name", "stem", "inside"}:
        return "of all names: it has none of {relpath}, {rest} and {name}"
    if "stem" in fields and "suffix" not in fields and not fields & {"name", "inside"}:
        return "that differ in their suffix; write {name}"
    return (
        None if flat else "of different sub-folders; write {rest} for the path below what `capture` found, or {relpath}"
    )


def check(template: str, groups: Iterable[str]) -> None:
    """Raise PathRefused where the template can never make a good path.

    Args:
        template: what the configuration says.
        groups: names of the groups in the rule's regular expression.
    """
    known = {*FIELDS, *groups}
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise PathRefused(f"template {template!r}: {error}") from None
    if _CONTROL.search(template):
        raise PathRefused(f"template {template!r} has control characters")
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if conversion or (name != "mtime" and (spec or name not in known)):
            close = [one for one in get_close_matches(name, (*known, "mtime"), n=1) if one != name]
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise PathRefused(
                f"template {template!r}: unknown field {{{name}}}{hint}; known are {', '.join(sorted(known))}, mtime"
            )
        if name == "mtime" and (not spec or "{" in spec):
            raise PathRefused(f"template {template!r}: {{mtime}} wants a format, for example {{mtime:%Y-%m-%d}}")
    try:
        sample = render(template, dict.fromkeys(known, "sample") | {"mtime": "0"})
    except PathRefused:
        raise
    except ValueError as error:  # a time format that this platform does not know
        raise PathRefused(f"template {template!r}: {error}") from None
    if _CONTROL.search(sample):
        raise PathRefused(f"template {template!r} makes control characters")


def expand(template: str, values: Mapping[str, str], zone: tzinfo = UTC) -> str:
    """The template with its fields filled in; `{mtime:%Y-%m}` is read by the clock of `zone`.

    A file may carry any time: one that the calendar has not is taken for the calendar's first or last.
    """
    mtime_ns = int(values["mtime"])
    try:
        mtime = _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        mtime = _FIRST if mtime_ns < 0 else _LAST
    try:
        mtime = mtime.astimezone(zone)
    except (OverflowError, OSError, ValueError):
        pass  # there, the clock of the zone is beyond the calendar
    return _Template().vformat(template, (), {**values, "mtime": mtime})


def render(template: str, values: Mapping[str, str], zone: tzinfo = UTC) -> str:
    """The path relative to the destination's root, "/"-separated, without empty parts (a field may be empty).

    Raises PathRefused where it would leave the destination, be empty, or be one of the agent's own names.
    """
    path = expand(template, values, zone)
    if template.startswith("/") or re.match(r"[A-Za-z]:[\\/]", path):
        raise PathRefused(f"template {template!r} makes an absolute path: {path!r}")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PathRefused(f"template {template!r} leaves the destination: {path!r}")
    if not parts:
        raise PathRefused(f"template {template!r} makes an empty path")
    if any(part.startswith(OWN_PREFIX) for part in parts):
        raise PathRefused(f"template {template!r} makes a name that the agent keeps for itself: {path!r}")
    return "/".join(parts)


def place(template: str, rule: Rule, relpath: str, mtime_ns: int, host: str) -> str:
    """The path at the destination of a file of a rule. Raises PathRefused, see `render`."""
    if template == "{relpath}":
        return relpath  # it comes from a directory listing: no part of it can lead elsewhere
    return render(template, facts(rule, relpath, mtime_ns, host), rule.zone)


def own_folder(path: str, dataset: Dataset, relpath: str, ordinal: int) -> str:
    """The path of a file of a dataset whose name was used before: in a folder with a number, where its files keep their names.

    `run_1/f1.tif` → `run_1~2/f1.tif`; `p1/s_1_master.h5` → `p1/s_1~2/s_1_master.h5`.

    Args:
        path: where the file would go.
        dataset: of the file.
        relpath: of the file, in the watched directory.
        ordinal: how often the name has been used.
    """
    inside = relpath[len(dataset.base) + 1 :] if dataset.base else relpath
    if not dataset.whole and not f"/{path}".endswith(f"/{inside}"):
        inside = relpath.rpartition("/")[2]  # its files lie in several directories, and come into one
    if dataset.key == relpath or not f"/{path}".endswith(f"/{inside}"):
        return own_name(path, ordinal)
    folder = path[: -len(inside)].rstrip("/")
    if not dataset.whole or not folder:
        folder = f"{folder}/{re.split(r'[/|]', dataset.key)[-1]}".lstrip("/")
    return f"{folder}~{ordinal}/{inside}"


def numbered(path: str, rule: Rule, relpath: str, number: int) -> str:
    """`own_folder` of a file of a rule; the path itself where the file is in no dataset."""
    dataset = dataset_of(rule, relpath)
    return path if dataset is None else own_folder(path, dataset, relpath, number)


def own_name(path: str, generation: int) -> str:
    """A name beside `path` for a file that may not replace the existing one: `a/scan.h5` → `a/scan~2.h5`."""
    directory, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    return f"{directory}{slash}{stem}~{generation}{dot}{suffix}"


def free_number(first: int, taken: Callable[[int], bool]) -> int:
    """A number from `first` on that is not taken: the lowest where those that are taken follow one another.

    However many are taken, few are asked for.
    """
    known, found, step = first - 1, first, 1
    while taken(found):
        known, found, step = found, found + step, 2 * step
    while found - known > 1:
        middle = (known + found) // 2
        if taken(middle):
            known = middle
        else:
            found = middle
    return found


def undamaged_name(path: str, generation: int, damaged: Collection[str]) -> str:
    """`own_name`, or where the copy under that name was damaged, too, one beside it: `a/scan~1~2.h5`."""
    name, number = own_name(path, generation), 1
    while name in damaged:
        number += 1
        name = own_name(own_name(path, generation), number)
    return name


def name_key(path: str) -> int:
    """A signed 64-bit key that is equal for paths which a destination that folds case or Unicode may take for one.

    Different paths may share a key; who asks compares the paths.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
    digest = blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def stat_content(size: int, mtime_ns: int) -> bytes:
    """What stands for content where a destination tells only size and mtime (to the second) of it."""
    return b"stat:%d:%d" % (size, mtime_ns // 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Owner:
    """One of our files that has, or had, a name at a destination."""

    source: str
    """Its local path."""
    same_source: bool
    """It is an earlier generation of the file that now wants the name."""
    gone: bool
    """Its local copy is gone, or was gone at some time since: the destination may hold the only one."""
    content: Content | None
    """What was proved to be there; None: the intent to write there is all that is known."""
    path: str
    in_place: bool = False
    """It was written under its final name: where nothing was proved, any part of it may be there."""
    damaged: bool = False
    """Its copy was read again, and was not what had been delivered."""
    generation: int = 0
    """Of the file."""


class Claim(Enum):
    """What a file may do about a name that is taken by other content."""

    REPLACE = "replace"
    OWN_NAME = "own name"
    REFUSE = "refuse"


class Occupant(NamedTuple):
    """Other content that stands at a path which a file wants."""

    size: int
    checksum: bytes | None
    """None: it was not read."""

    def may_be(self, content: Content | None) -> bool:
        """Whether it may be this content: it is, where it was read."""
        return content is not None and content.size == self.size and self.checksum in (None, content.checksum)


class Claimed(NamedTuple):
    """What to do about a taken name, and why."""

    what: Claim
    reason: str
    replaces: Content | None = None
    """What may be replaced, if it is there: whoever replaces compares."""


def claim(path: str, occupant: Occupant, owners: Sequence[Owner]) -> Claimed:
    """What to do where other content stands at the path that a file wants, and why.

    A file that changed in place while it is still here replaces its own copy. One whose former content may be nowhere
    else, or whose name another of our files has, gets its own name. What is not ours is never touched.
    """
    others = [owner for owner in owners if not owner.same_source]
    if others:
        other = others[0]
        alike = "" if other.path == path else f", which differs from {other.path!r} only in case or Unicode form,"
        return Claimed(Claim.OWN_NAME, f"the name {path!r}{alike} belongs to {other.source!r}")
    if not owners:
        return Claimed(Claim.REFUSE, f"{path!r} is there already, with other content, and this agent did not write it")
    if occupant.checksum is None:
        gone = {owner.content for owner in owners if owner.gone}  # that content may be all that is left of these
        here = [owner.content for owner in owners if occupant.may_be(owner.content) and owner.content not in gone]
        if here:  # of the same size: where it is other content all the same, it comes back with its checksum
            return Claimed(Claim.REPLACE, _IN_PLACE, here[0])
    else:
        former = [
            owner for owner in owners if occupant.may_be(owner.content) or (owner.in_place and owner.content is None)
        ]
        if former and not any(owner.gone for owner in former):
            return Claimed(Claim.REPLACE, _IN_PLACE, Content(occupant.checksum, occupant.size))
    if any(owner.damaged for owner in owners):
        reason = f"what is at {path!r} is not what was delivered there, and is left for a person to look at"
        return Claimed(Claim.OWN_NAME, reason)
    return Claimed(Claim.OWN_NAME, f"what is at {path!r} may be the only copy of an earlier file of this name")
