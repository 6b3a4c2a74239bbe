"""What became of every byte: the instrument's journal against what is here, what is there, and the record of deletions.

Knows the product's promises and its documented names, and imports none of its code.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.campaign.instrument import Journal, Written

OWN = ".dropline"
"""How the agent's own names begin."""
_OWN_NAME = re.compile(r"~\d+(?=(\.[^./]*)?$)")
"""What the agent puts into the name of a file whose name was taken: scan.h5 → scan~2.h5."""


@dataclass
class Findings:
    """What is wrong; each line names the file and says what is the matter."""

    lost: list[str] = field(default_factory=list)
    """Whole once, owed, and neither here nor at every destination."""
    torn: list[str] = field(default_factory=list)
    """At a destination under its name, and never whole here."""
    twice: list[str] = field(default_factory=list)
    """One version under two names at a destination."""
    overwritten: list[str] = field(default_factory=list)
    """The only copy of something, or what others put there, has other content now."""
    unproved: list[str] = field(default_factory=list)
    """Deleted here without a record whose copies are there."""
    litter: list[str] = field(default_factory=list)
    """Temporary files that nobody uses any more."""
    broken: list[str] = field(default_factory=list)
    """The agent did not do what it must whatever happens: start, stop in time, end without a traceback."""
    kept: list[str] = field(default_factory=list)
    """Not delivered, and still here. No harm; but when everything is mended, and a person has acted, there are none."""

    @property
    def harm(self) -> list[str]:
        """Everything but what is still here."""
        return [f"{one.name}: {line}" for one in fields(self) if one.name != "kept" for line in getattr(self, one.name)]

    def add(self, other: "Findings") -> None:
        """And those."""
        for one in fields(self):
            mine = getattr(self, one.name)
            mine += [line for line in getattr(other, one.name) if line not in mine]


def tree(root: Path) -> dict[str, str]:
    """Relative path → SHA-256 of every regular file below; what goes away while we look is not there."""
    found: dict[str, str] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            try:
                if path.is_file() and not path.is_symlink():
                    with path.open("rb") as file:
                        found[os.path.relpath(path, root)] = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                continue
    return found


def record(path: Path) -> list[dict[str, Any]]:
    """The record of deletions. A line that a crash or a full disk cut short is no line."""
    lines = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def _own(path: str) -> bool:
    return any(part.startswith(OWN) for part in path.split("/"))


_ASKED = hashlib.sha256(b"Dropline asks whether files can be written here.\n").hexdigest()
"""What is in the file by which a destination is asked whether it takes files."""


def source_of(path: str, journal: Journal) -> str | None:
    """Which file of the instrument a path at a destination belongs to."""
    if path in journal.versions:
        return path
    plain, last = path, ""
    while plain != last:  # a former copy is renamed beside the name that it had: scan~2.h5 → scan~2~2.h5
        plain, last = _OWN_NAME.sub("", plain), plain
        if plain in journal.versions:
            return plain
    return None


class Oracle:
    """Judges one site. Destinations by name; the source may be several folders, one of which was moved aside."""

    def __init__(self, journal: Journal, inbox: Path, shares: Mapping[str, Path], deletions: Path) -> None:
        self.journal = journal
        self.inbox = inbox
        self.shares = dict(shares)
        self.records = [deletions]
        """More of them where there is more than one agent."""
        self.in_place: set[str] = set()
        """Destinations that show files before they are whole, as their transport promises no better. What reads a file
        by its name while another one comes to it may bring that one, too."""
        self.strangers = False
        """More than one agent delivers the same files, and they do not know of each other: names of their own may differ."""
        self.trash_is_nobodys = False
        """The agent forgot what is in the trash, or saw the trash go: what is there then, a person looks after."""
        self.forgets = False
        """The ledger was taken away or set back. A name that it gave beside a damaged copy is not known any more, so that
        the version may come under a second one: a lost ledger costs time and room, no data."""

    def glance(self) -> Findings:
        """While the agent runs: is anything visible at a destination that was never whole?"""
        found = Findings()
        for share, root in self.shares.items():
            if share not in self.in_place:
                self._copies(share, tree(root), found)
        return found

    def judge(self) -> Findings:
        """Everything, now that the agent is at rest."""
        found = Findings()
        here = tree(self.inbox)
        there = {share: tree(root) for share, root in self.shares.items()}
        copies = {share: self._copies(share, files, found) for share, files in there.items()}
        for share, files in there.items():
            asked = [path for path, digest in files.items() if _own(path) and digest == _ASKED]
            found.litter += asked[1:]  # one may be there until the destination is checked again
            found.litter += [
                f"{share}: {path}"
                for path in files
                if _own(path) and path.endswith(".part") and path not in asked and not self.forgets
            ]  # whose they were only the lost ledger knew
        found.litter += [f"here: {path}" for path in here if _own(path) and ".dropline-trash/" not in path
                         and not path.endswith(".dropline-canary")]  # fmt: skip
        self._foreign(there, found)
        self._twice(copies, set(here).union(self._deleted()), found)
        recorded = self._recorded(there, found)
        for one in self.journal.required():
            missing = [share for share in self.shares if (one.path, one.digest) not in copies[share]]
            is_here = one.digest in here.values()
            if missing and is_here:
                found.kept.append(f"{one.path} is not at {', '.join(missing)}")
            elif missing:
                found.lost.append(
                    f"{one.path} ({one.size} bytes, {one.digest[:8]}) is not at {', '.join(missing)}, nor here"
                )
            # Killed between the deletion and its line, an agent writes the line when it starts: what to write is in the ledger.
            untold = self.forgets and not missing
            if not (is_here or one.taken or untold) and (one.path, one.digest) not in recorded:
                found.unproved.append(
                    f"{one.path} ({one.digest[:8]}) is not here, and the record of deletions does not tell"
                )
        return found

    def missing(self, paths: Iterable[str]) -> set[str]:
        """Those files whose latest version is not at every destination: an older one may have the plain name there."""
        copies = [self._copies(share, tree(root), Findings()) for share, root in self.shares.items()]
        latest = {path: self.journal.versions[path][-1].digest for path in paths}
        return {path for path in latest if not all((path, latest[path]) in found for found in copies)}

    def left(self) -> list[Written]:
        """What is owed and still here, under whatever name."""
        orphaned = ".dropline-trash/" if self.trash_is_nobodys else None
        here = {digest for path, digest in tree(self.inbox).items() if orphaned is None or orphaned not in path}
        return [one for one in self.journal.required() if one.digest in here]

    def _copies(self, share: str, files: Mapping[str, str], found: Findings) -> dict[tuple[str, str], list[str]]:
        """(path here, digest) → paths there, of what was whole. Says what was not."""
        copies: dict[tuple[str, str], list[str]] = {}
        for path, digest in files.items():
            if _own(path) or (share, path) in self.journal.foreign or (share, path, digest) in self.journal.spoiled:
                continue
            source = source_of(path, self.journal)
            if source is None:
                found.torn.append(f"{share}: nobody wrote {path}")
            elif any(one.digest == digest for one in list(self.journal.versions[source])):
                copies.setdefault((source, digest), []).append(path)
            elif share not in self.in_place:  # there, a task that was given up leaves what it had written
                found.torn.append(f"{share}: {path} ({digest[:8]}) has what was never whole")
        return copies

    def _foreign(self, there: Mapping[str, Mapping[str, str]], found: Findings) -> None:
        for (share, path), digest in self.journal.foreign.items():
            if there[share].get(path) != digest:
                found.overwritten.append(f"{share}: {path}, which was not ours")

    def _deleted(self) -> Iterator[str]:
        for path in self.records:
            for line in record(path):
                yield os.path.relpath(line["file"], self.inbox)

    def _twice(
        self, copies: Mapping[str, Mapping[tuple[str, str], list[str]]], known: Collection[str], found: Findings
    ) -> None:
        """`known`: paths that are, or were, here. A file that was put back beside a newer one travels by that name, too."""
        for share, files in copies.items():
            for (path, _), copied in files.items():
                names = [name for name in copied if name == path or name not in known]
                again = self.strangers or (share in self.in_place and len(self.journal.versions[path]) > 1)
                again = again or (
                    self.forgets and any(source_of(copy, self.journal) == path for _, copy, _ in self.journal.spoiled)
                )
                if len(names) > 1 and not again:
                    found.twice.append(f"{share}: {', '.join(sorted(names))} are one version")

    def _recorded(self, there: Mapping[str, Mapping[str, str]], found: Findings) -> set[tuple[str, str]]:
        """(path, digest) of every deletion that the record tells of, with all of its copies there as they should be."""
        recorded: set[tuple[str, str]] = set()
        for line in [line for path in self.records for line in record(path)]:
            named = os.path.relpath(line["file"], self.inbox)
            path = source_of(named, self.journal) or named  # it was put back beside a newer file
            proofs = {one["destination"]: (one["path"], one["checksum"].partition(":")[2]) for one in line["copies"]}
            said = {checksum for _, checksum in proofs.values()}
            versions = [one for one in self.journal.versions.get(path, []) if said <= {one.digest, one.md5}]
            if set(proofs) != set(self.shares) or not versions:
                found.unproved.append(f"{path}: deleted on the strength of {proofs}")
                continue
            digest = versions[0].digest
            recorded.add((path, digest))
            for share, (copy, _) in proofs.items():
                renamed = self.forgets and any(
                    one == digest and source_of(name, self.journal) == path for name, one in there[share].items()
                )  # a ledger that does not know of the deletion takes the next file for one that was written over
                if there[share].get(copy) != digest and not renamed:
                    found.overwritten.append(f"{share}: {copy}, the proof of {path} ({digest[:8]})")
        return recorded


def summary(findings: Iterable[str], most: int = 12) -> str:
    """Some lines for people."""
    lines = list(findings)
    more = [f"... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join(lines[:most] + more)
