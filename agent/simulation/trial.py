"""What a rule would do with a folder as it is now; nothing is written."""

from collections.abc import Iterator
from typing import NamedTuple

from agent.files import Files, Tree, Trouble
from agent.files.reader import Examined, examine, whole
from agent.intake.scan import sweep
from agent.ledger import File, State
from agent.simulation.memory.content import Read
from agent.simulation.play import Play
from rules.batch import key
from rules.complete import complete, granule
from rules.datasets.membership import dataset_of
from rules.match import match
from rules.model import Candidate, Kind, Observation, Writer
from rules.naming import PathRefused, place
from rules.rule import Rule


class Trial(NamedTuple):
    """A dataset, or a single file, and what would become of it."""

    dataset: str
    complete: bool
    reason: str
    files: int
    bytes: int
    batch: str
    path: str
    """Where its first file would go."""


class Folder:
    """The files of a folder of this computer, for a play: names, times, and content that is read when it is asked for."""

    def __init__(self, files: Files, path: str) -> None:
        """Raises Trouble where the folder cannot be opened."""
        self.path = path
        self._files = files
        files.tree(path).close()

    def seen(self) -> Iterator[tuple[str, Observation]]:
        """(absolute path, observation) of each regular file."""
        for listing in sweep(self._files, self.path):
            for name, seen in listing.seen():
                if seen.kind is Kind.FILE:
                    yield f"{listing.directory}/{name}", seen

    def reader(self, path: str) -> Read:
        """Bytes of a file; none where they cannot be read now."""

        def content(offset: int, length: int) -> bytes:
            try:
                with self._files.tree(self.path) as tree, tree.open(self._inside(path)) as handle:
                    return whole(handle, offset, length)
            except Trouble:
                return b""  # gone since, or not readable: no condition takes it for good

        return content

    def writer(self, tree: Tree, path: str) -> Writer:
        """Whether somebody has a file open for writing now."""
        found = examine(tree, self._inside(path))
        return found.writer if isinstance(found, Examined) else Writer.CANNOT_TELL

    def _inside(self, path: str) -> str:
        return path[len(self.path.rstrip("/")) + 1 :]


def trial(rule: Rule, files: Files, host: str, now: float) -> Iterator[Trial]:
    """Each dataset below the rule's `watch`, as the real intake judges it.

    The agent counts quiet periods by its own looks; here there is only one, so a file counts as unchanged since its
    mtime or ctime, whichever is later. Raises Trouble where the folder cannot be read.
    """
    folder = Folder(files, rule.watch)
    files.prepare()
    found = sorted(((_since(seen), path, seen) for path, seen in folder.seen()), key=lambda one: one[:2])
    start = min([since for since, _, _ in found if since <= now], default=now)
    with Play([rule], host, start - 1.0, lambda rule, happening: None) as play, files.tree(rule.watch) as tree:
        if folder_is_remote(files, rule.watch):
            play.storage.mount(rule.watch, files.volume(rule.watch).kind)
            play.settle()
        for since, path, seen in found:
            play.until(max(min(since, now), play.now))
            enter(play, folder, path, seen)
            if folder.writer(tree, path) is Writer.OPEN:
                play.storage.open(path)
        play.until(now)
        yield from _told(rule, play, host, now)


def enter(play: Play, folder: Folder, path: str, seen: Observation) -> None:
    """The instrument writes a file of the folder, now, and its content is that of the real one."""
    play.storage.write(path, folder.reader(path), seen.version.size)
    play.storage.set_mtime(path, seen.version.mtime_ns)


def folder_is_remote(files: Files, path: str) -> bool:
    """Whether other machines may write there unseen: then writers cannot be asked for in memory either."""
    return files.volume(path).remote


def _since(seen: Observation) -> float:
    return max(seen.version.mtime_ns, seen.version.ctime_ns) / 1e9


def _told(rule: Rule, play: Play, host: str, now: float) -> Iterator[Trial]:
    groups: dict[str, list[File]] = {}
    for file in play.ledger.reports.files(
        [state for state in State if state not in (State.VANISHED, State.SUPERSEDED)], -1
    ):
        relpath = rule.relpath(file.path)
        dataset = dataset_of(rule, relpath)
        if dataset is not None and match([rule], file.path).rule is not None:
            groups.setdefault(dataset.key, []).append(file)
    for name, group in sorted(groups.items()):
        first = min(group, key=lambda file: rule.relpath(file.path))
        relpath, version = rule.relpath(first.path), first.version
        ok, reason = _verdict(rule, play, group, now)
        yield Trial(
            name, ok, reason, len(group), sum(file.version.size for file in group),
            key(rule, relpath, version.mtime_ns, host), _path(rule, relpath, version.mtime_ns, host),
        )  # fmt: skip


def _verdict(rule: Rule, play: Play, group: list[File], now: float) -> tuple[bool, str]:
    refused = next((file for file in group if file.state is State.REFUSED), None)
    if refused is not None:
        return False, f"refused: {refused.reason}"
    waits = sorted((file for file in group if file.state is State.CANDIDATE), key=lambda file: file.path)
    known = play.ledger.datasets.get(group[0].dataset) if group[0].dataset is not None else None
    if not waits:
        return True, (known.reason if known is not None else group[0].reason) or ""
    unfinished = play.ledger.datasets.unfinished(known.id) if known is not None else None
    for file in waits:
        # A file that only time is missing for has no reason in the ledger; the decision has the words.
        candidate = Candidate(
            file.path.rpartition("/")[2], file.version.size, file.since, granule(file.version.ctime_ns)
        )
        verdict = complete(rule.complete, candidate, True, Writer.NONE, now)
        if not verdict.ok and verdict.again_at is not None and file.reason is None:
            return False, f"{rule.relpath(file.path)}: {verdict.reason}"
        if unfinished is None or file.path == unfinished[1]:
            return False, f"{rule.relpath(file.path)}: {file.reason or verdict.reason}"
    return False, (known.reason if known is not None else "") or ""


def _path(rule: Rule, relpath: str, mtime_ns: int, host: str) -> str:
    try:
        return place(rule.deliver[0].path, rule, relpath, mtime_ns, host)
    except PathRefused as error:
        return f"refused: {error}"
