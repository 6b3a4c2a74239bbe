"""What the pages show, as values: gathered from the ledger and from the parts that run."""

import posixpath
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agent.files import CannotTell
from agent.intake import Root
from agent.ledger import GONE, File, Ledger, State, Summary
from agent.observe.explain import explain
from agent.observe.file_inspector import FileInspector
from agent.observe.folder import compare
from agent.observe.rows import Rows, Unshown
from agent.observe.status import Health, no_answer
from agent.observe.waiting import Reasons, waits_for
from agent.observe.web.headline import Headline, headline, stopped
from agent.observe.web.marks import At, Marks
from agent.observe.web.plot import Plot, plot
from agent.observe.web.words import clock
from rules.links import links_in_words, some
from rules.match import pruned
from rules.model import SENT, Kind, Observation, Verdict
from rules.removal import EXCLUDED, folder_removal
from rules.rule import Rule
from rules.text import alike

_ROWS = 30
_FOUND = 50
_FILES = 100
_REFUSED = 500
"""Refused files, newest first, with their reasons."""
_REASONS = 10
_DAY = 86400.0
TEXT_AT_MOST = 200
"""Characters of what is searched for."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a person must do."""

    what: str
    why: str
    command: str = ""
    files: tuple[str, ...] = ()
    """Examples."""
    more: int = 0
    """Files that are like those."""


@dataclass(frozen=True, slots=True)
class Row:
    """A dataset or folder."""

    summary: Summary
    name: str
    """Relative to the rule's directory."""
    state: str
    """In a word."""
    kind: str
    """`needs`, `waiting`, `safe` or `gone`."""
    reason: str
    """Why it waits; empty where it does not."""
    mark: Verdict
    """May the local copies be removed?"""
    copies: tuple[At, ...]
    links: int
    """Symbolic links beside the files."""

    @property
    def safe(self) -> int:
        """Files at every destination."""
        return self.summary.verified + self.summary.gone


@dataclass(frozen=True, slots=True)
class Line:
    """A file."""

    file: File
    name: str
    mark: Verdict
    reason: str
    """Why it is in its state, and what it waits for."""


class Views:
    """Answers the pages' questions. For one thread, which owns the ledger's connection."""

    def __init__(
        self, ledger: Ledger, rules: Sequence[Rule], destinations: Sequence[tuple[str, str]], roots: Sequence[Root],
        status: Callable[[], dict[str, Any]], health: Callable[[], Health], clock: Callable[[], float], config: str,
        inspector: FileInspector,
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: a connection.
            rules: in the order of the configuration.
            destinations: (name, address), as configured.
            roots: the watched trees.
            status, health: what else is said of the agent.
            clock: seconds since the epoch.
            config: path of the configuration file, for commands; empty where there is none.
            inspector: looks at the disk.
        """
        self._ledger = ledger
        self._rules = {rule.name: rule for rule in rules}
        self._marks = Marks(ledger, rules, dict(destinations))
        self._roots = roots
        self._status = status
        self._health = health
        self._clock = clock
        self._inspector = inspector
        self._each = Rows()
        self._with = f" --config {shlex.quote(config)}" if config else ""

    def front(self, text: str) -> dict[str, Any]:
        """The first page; `text`: what is searched for, empty for nothing."""
        now, said = self._clock(), self._status()
        up = {place["name"]: place["up"] for place in said["destinations"]}
        unshown: list[Unshown] = []
        needs = [
            *self._troubles(said),
            *self._doubts(said),
            *self._behind(said),
            *self._kept(said),
            *self._links(said),
            *self._findings(said),
            *self._refusals(said["files"].get("refused", 0), unshown),
        ]
        oldest = min(self._ledger.reports.oldest_unverified().values(), default=None)
        swept = all(root.swept_at is not None or not root.watch.present for root in self._roots)
        return {
            "now": now,
            "text": text,
            "status": said,
            "headline": self._headline(said, len(needs), oldest, swept, now),
            "needs": needs,
            "rows": self._rows(self._ledger.summaries.current(_ROWS), up, now, unshown) if not text else [],
            "found": self._find(text, up, now, unshown) if text else None,
            "unshown": [Unshown(**one) for one in said["not_shown"]] + unshown,
            "each": self._each.rendered,
            "plot": self._plot(now),
            "roots": self._roots,
            "command": self.command,
        }

    def summary(self, number: int) -> dict[str, Any] | None:
        """The page of a dataset or folder; None where there is no such."""
        summary = self._ledger.summaries.get(number)
        if summary is None:
            return None
        now, said = self._clock(), self._status()
        up = {place["name"]: place["up"] for place in said["destinations"]}
        row = self._row(summary, up, now)
        files = self._ledger.summaries.files(summary, _FILES)
        waits = summary.whole and self._ledger.datasets.get(summary.place).waits
        base = self._base(summary)
        unshown: list[Unshown] = []
        lines = self._lines(files, lambda file: self._within(file, base), unshown)
        odd = next((one for one in lines if one.file.state is State.VERIFIED and not one.mark.ok), None)
        if row.mark.ok and odd is not None:
            row = replace(row, mark=Verdict(False, f"{odd.mark.reason} ({odd.name})"))
        elif row.mark.ok and unshown:
            row = replace(row, mark=Verdict(False, f"not now: a file cannot be looked at: {unshown[0].reason}"))
        # A dataset need not be a directory: then its files are all that the mark speaks of.
        is_folder = not summary.whole or self._may_be_directory(base)
        rules = list(self._rules.values())
        excluded = partial(pruned, rules)
        if is_folder and excluded(base) and (summary.verified or summary.waiting or summary.refused):
            row = replace(row, mark=Verdict(False, EXCLUDED))
        elif row.mark.ok and is_folder:
            found = compare(self._ledger, rules, base, self._inspector.contents(base, excluded))
            row = replace(row, mark=folder_removal(row.mark, found))
        return {
            "now": now,
            "row": row,
            "lines": lines,
            "base": base if is_folder else posixpath.dirname(base),
            "complete": self.command("complete", summary.name) if waits else "",
            "unshown": unshown,
            "each": self._each.rendered,
        }

    def file(self, path: str) -> dict[str, Any] | None:
        """The page of a file: all that is known of it; None where nothing is."""
        versions = self._ledger.files.history(path)
        if not versions:
            return None  # nothing else is looked at: anybody may ask for any path
        told = explain(self._ledger, list(self._rules.values()), path, lambda *one: self._inspector.at([one])[0])
        own = [file for file in versions if file.rule != SENT] or versions
        (seen,) = self._inspector.at([(path, own[-1].volume)])
        return {
            "now": self._clock(),
            "told": told,
            "name": posixpath.basename(path),
            "mark": self._marks.of_file(own[-1], seen),
            "file": own[-1],
            "summary": self._ledger.summaries.of(own[-1]),
            "command": self.command("explain", path),
        }

    def command(self, *words: str) -> str:
        """A command line to copy."""
        return f"dropline {words[0]}{self._with}{''.join(f' {shlex.quote(word)}' for word in words[1:])}"

    # The first line, and what a person must do

    def _headline(self, said: Mapping[str, Any], needs: int, oldest: float | None, swept: bool, now: float) -> Headline:
        stopped_at = self._health().stopped_at
        if stopped_at is not None:
            return stopped(clock(stopped_at, now))
        files, size = said["files"], said["bytes"]
        waiting = ("candidate", "complete", "batched")
        return headline(
            needs=needs,
            waiting=sum(files.get(state, 0) for state in waiting),
            measured=self._ledger.summaries.of_waiting_datasets(),
            waiting_bytes=sum(size.get(state, 0) for state in waiting),
            safe=max(
                sum(files.get(state, 0) for state in (State.VERIFIED.value, *(one.value for one in GONE)))
                - _behind(said),
                0,
            ),
            unclaimed=sum(root["files"] for root in said["unclaimed"]),
            before=files.get(State.IGNORED.value, 0),
            unseen=sum(root["directories"] for root in said["unseen"]),
            age=None if oldest is None else now - oldest,
            swept=swept and not said["replanning"],
            swept_at=self._seen_at(now),
            events=all(root.watch.up for root in self._roots),
        )

    def _seen_at(self, now: float) -> str:
        """When the watched folders were last looked through, each of them."""
        at = min((root.swept_at for root in self._roots if root.swept_at is not None), default=None)
        return "" if at is None else clock(at, now)

    def _troubles(self, said: Mapping[str, Any]) -> Iterable[Need]:
        health = self._health()
        if health.refused is not None:
            yield Need(
                "The configuration is not in effect", f"{health.refused}; the old rules go on, and delete what they may"
            )
        for problem in health.problems if health.stopped_at is None else ():
            yield Need("The agent is not well", problem)
        self._inspector.at([(root.watch.root, None) for root in self._roots])  # those that hang are known then
        for path, since in self._inspector.silent().items():
            yield Need(
                f"{path} does not answer", f"{no_answer(since)}; what is said of its files is what was last seen"
            )
        for place in said["destinations"]:
            if place["up"] is False and not place["refused"]:  # a refused one is among the agent's problems
                yield Need(
                    f"Destination {place['name']} is down",
                    f"{place['reason']}; it is asked again, and nothing is lost",
                )

    def _doubts(self, said: Mapping[str, Any]) -> Iterable[Need]:
        if said["deletion"]:
            yield Need("Deletion has not been seen on this computer", said["deletion"])
        for place in said["destinations"]:
            if "keeps" in place:
                yield Need(f"Nothing is deleted here on the proof of {place['name']}", place["keeps"])

    def _kept(self, said: Mapping[str, Any]) -> Iterable[Need]:
        for one in said["kept"]:
            what = (
                "1 local file stays that should go"
                if one["files"] == 1
                else f"{one['files']:,} local files stay that should go"
            )
            yield Need(what, one["reason"], files=(one["example"],), more=one["files"] - 1)

    def _links(self, said: Mapping[str, Any]) -> Iterable[Need]:
        for one in said["links"]:
            where = f"Folder {one['directory']}" if one["dataset"] is None else f"Dataset {one['dataset']}"
            what = f"{where} has {links_in_words(one['links'])} to what no rule delivers"
            yield Need(what, f"{one['reason']}: {some(one['examples'], one['links'])}")
        for one in said["refused_links"]:
            what = f"{links_in_words(one['links'])} in {one['directory']} not copied to {one['destination']}"
            yield Need(what, one["reason"], self.command("retry"))

    def _behind(self, said: Mapping[str, Any]) -> Iterable[Need]:
        for one in said["behind"]:
            yield Need(f"Files of rule {one['rule']} are not at {one['destination']}", one["hint"])

    def _findings(self, said: Mapping[str, Any]) -> Iterable[Need]:
        alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for one in said["findings"]:
            alike.setdefault((one["destination"], one["kind"]), []).append(one)
        for (destination, kind), found in alike.items():
            what = f"1 copy at {destination} is" if len(found) == 1 else f"{len(found):,} copies at {destination} are"
            paths = tuple(sorted(one["path"] for one in found)[:3])
            command = self.command("verify", destination)
            yield Need(f"{what} {kind}", found[0]["reason"], command, paths, len(found) - len(paths))

    def _refusals(self, count: int, unshown: list[Unshown]) -> Iterable[Need]:
        if not count:
            return
        causes: dict[str, list[File]] = {}
        self._each.of(
            "refused file", self._ledger.reports.files([State.REFUSED], _REFUSED),
            lambda file: causes.setdefault(alike(file.reason or "", file.path), []).append(file), _into(unshown),
        )  # fmt: skip
        for files in list(causes.values())[:_REASONS]:
            paths = sorted(file.path for file in files)
            what = "1 file is not delivered" if len(paths) == 1 else f"{len(paths):,} files are not delivered"
            why_not = files[0].reason or "no reason is known"
            if any(file.reason != files[0].reason for file in files):
                why_not += " (and the others for the same cause)"
            yield Need(what, why_not, self.command("retry"), tuple(paths[:3]), max(len(paths) - 3, 0))
        left = count - sum(map(len, list(causes.values())[:_REASONS]))
        if left > 0:
            yield Need(
                f"{left:,} more are not delivered", "too many to show here", self.command("files", "--state", "refused")
            )

    def _plot(self, now: float) -> Plot:
        return plot(self._ledger.history.since(now - _DAY), now)

    # Datasets and folders

    def _find(self, text: str, up: Mapping[str, bool | None], now: float, unshown: list[Unshown]) -> dict[str, Any]:
        summaries = self._ledger.summaries.named(text, _FOUND)
        folder, _, name = text.rpartition("/")
        files = self._ledger.files.history(text)[-1:]
        if not files and name:
            files = [
                file for file in self._ledger.summaries.files_named(name, _FOUND) if folder.lower() in file.path.lower()
            ]
        return {
            "rows": self._rows(summaries, up, now, unshown),
            "lines": self._lines(files, self._shown, unshown),
            "at_most": _FOUND,
        }

    def _lines(self, files: Sequence[File], name: Callable[[File], str], unshown: list[Unshown]) -> list[Line]:
        """Each file with its mark; all are looked at now. Files of one batch wait for the same deliveries."""
        reasons = Reasons(self._ledger)
        seen = {
            file.id: at
            for file, at in zip(files, self._inspector.at([(file.path, file.volume) for file in files]), strict=True)
        }

        def line(file: File) -> Line:
            return Line(file, name(file), self._marks.of_file(file, seen[file.id]), reasons.of(file) or "")

        return self._each.of("file", files, line, _into(unshown))

    def _may_be_directory(self, path: str) -> bool:
        """Whether a directory has the name, as far as that can be told now."""
        (seen,) = self._inspector.at([(path, None)])
        return isinstance(seen, CannotTell) or (isinstance(seen, Observation) and seen.kind is Kind.DIRECTORY)

    def _rows(
        self, summaries: Iterable[Summary], up: Mapping[str, bool | None], now: float, unshown: list[Unshown]
    ) -> list[Row]:
        def row(summary: Summary) -> Row | None:
            return self._row(summary, up, now) if summary.files or summary.vanished else None

        made = self._each.of("dataset or folder", summaries, row, _into(unshown))
        return [one for one in made if one is not None]

    def _row(self, summary: Summary, up: Mapping[str, bool | None], now: float) -> Row:
        below = summary.waiting == 0 and self._ledger.summaries.unproved_below(self._base(summary))
        mark, copies = self._marks.of_summary(summary, below=below, up=up)
        reason = self._why(summary) if summary.waiting else ""
        waits = summary.whole and self._ledger.datasets.get(summary.place).waits
        known = self._ledger.links
        links = known.of_dataset(summary.place) if summary.whole else known.of_directory(summary.name)
        return Row(summary, self._name(summary), *_state(summary, waits=waits), reason, mark, copies, links)

    def _base(self, summary: Summary) -> str:
        """The directory that the paths of its files are relative to."""
        if not summary.whole:
            return summary.name
        rule = self._rules.get(summary.rule)
        return posixpath.join(rule.watch, summary.name) if rule is not None else summary.name

    def _name(self, summary: Summary) -> str:
        rule = self._rules.get(summary.rule)
        if summary.whole or rule is None:
            return summary.name
        inside = posixpath.relpath(summary.name, rule.watch)
        return summary.name if inside.startswith("..") else posixpath.basename(rule.watch) if inside == "." else inside

    def _within(self, file: File, base: str) -> str:
        inside = posixpath.relpath(file.path, base)
        return self._shown(file) if inside.startswith("..") else inside  # a dataset need not be a directory

    def _shown(self, file: File) -> str:
        rule = self._rules.get(file.rule)
        inside = posixpath.relpath(file.path, rule.watch) if rule is not None else file.path
        return file.path if inside.startswith("..") else inside

    def _why(self, summary: Summary) -> str:
        """Why it waits: its dataset's reason, or that of one of its files."""
        if summary.whole:
            dataset = self._ledger.datasets.get(summary.place)
            if dataset.waits:
                return waits_for(dataset) or ""
        file = self._ledger.summaries.waits(summary)
        said = self._each.of("reason", [file] if file is not None else [], Reasons(self._ledger).of, lambda *_: None)
        return next(iter(said), None) or ""


def _into(unshown: list[Unshown]) -> Callable[[object, Unshown], object]:
    """Puts what cannot be shown on a list."""
    return lambda _, one: unshown.append(one)


def _behind(said: Mapping[str, Any]) -> int:
    """Delivered files that are not at some destination which came later."""
    most: dict[str, int] = {}
    for one in said["behind"]:
        most[one["rule"]] = max(most.get(one["rule"], 0), one["undecided"] + one["gone"])
    return sum(most.values())


def _state(summary: Summary, *, waits: bool) -> tuple[str, str]:
    """(word, kind); `waits`: as a dataset, for what the instrument has not written yet."""
    if summary.refused:
        return "needs you", "needs"
    if waits:
        return "waits for its instrument", "waiting"
    if summary.waiting:
        return "on its way", "waiting"
    if summary.ignored:
        return "before the agent" if summary.ignored == summary.here else "partly from before the agent", "gone"
    if summary.files:
        gone = "safe, reclaimed" if summary.reclaimed else "safe, removed by somebody else"
        return ("safe" if summary.verified else gone), "safe"
    return "gone before it was delivered", "gone"
