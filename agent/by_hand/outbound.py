"""Files that a person names: looked at twice, and sealed as they are, or refused with the reason."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from agent.files import Absent, CannotTell, Files, Trouble
from agent.files.reader import Examined, Trees, examine
from agent.host.bulkhead import Bulkhead
from agent.intake.scan import sweep
from agent.ledger import Ledger, Sent
from rules.complete import complete, first_look, granule
from rules.model import OWN_PREFIX, Candidate, Kind, Observation, Verdict
from rules.rule import Conditions, Sealing

log = logging.getLogger(__name__)

_AS_RULES = Conditions()
_SEALING = Sealing()
_NO_LINKS = "a link, not a file; name what it points to"
_ABSENT = "No such file or directory"


class Named(NamedTuple):
    """A file that is to be sent."""

    root: str
    """Directory that its path at the destination counts from: that of the named path."""
    path: str
    seen: Observation
    seen_at: float


class Refusal(NamedTuple):
    """A path that is not sent."""

    path: str
    reason: str


class Outbound:
    """What is sent: files that nobody writes to, as they are now."""

    def __init__(self, files: Files, clock: Callable[[], float], sleep: Callable[[float], object]) -> None:
        """`files`: of the computer; `clock`: seconds since the epoch; `sleep`: waits for so many."""
        self._files = files
        self._clock = clock
        self._sleep = sleep
        self.refused: list[Refusal] = []
        """What is not sent, and why."""
        self._found = Bulkhead[tuple[str, Observation]]("sending of", lambda one: one[0])
        self._examining = Bulkhead[Named]("sending of", lambda one: one.path)

    def gather(self, paths: Iterable[str]) -> list[Named]:
        """The files at and below these absolute paths, each once. Links and what is no file are refused."""
        found: dict[str, Named] = {}
        for path in paths:
            root = os.path.dirname(path)
            for one in self._found.each(
                self._below(path), failed=lambda one, failure: self.refused.append(Refusal(one[0], failure.reason))
            ):
                with one as (at, seen):
                    if seen.kind is Kind.FILE:
                        found.setdefault(at, Named(root, at, seen, self._clock()))
                    else:
                        reason = _NO_LINKS if seen.kind is Kind.LINK else f"a {seen.kind}, not a file"
                        self.refused.append(Refusal(at, reason))
        return list(found.values())

    def _below(self, path: str) -> Iterator[tuple[str, Observation]]:
        found = self._files.look(path)
        if not isinstance(found, Observation):
            self.refused.append(Refusal(path, found.reason if isinstance(found, CannotTell) else _ABSENT))
            return
        if found.kind is not Kind.DIRECTORY:
            yield path, found
            return
        # From the directory above: the named path itself may have become a link since.
        for listing in sweep(self._files, os.path.dirname(path), os.path.basename(path)):
            if listing.error is not None:
                self.refused.append(Refusal(listing.directory, f"cannot be listed: {listing.error}"))
            for name, seen in listing.seen():
                if not name.startswith(OWN_PREFIX):
                    yield f"{listing.directory.rstrip('/')}/{name}", seen
                # else one of the agent's own, such as a canary

    def complete(self, files: Sequence[Named]) -> Iterator[tuple[Named, str]]:
        """(file, why it is complete) as the defaults of rules say; the others are refused. Waits until they are quiet."""
        waiting = list(files)
        while waiting:
            due = [first_look(_AS_RULES, one.seen.version.ctime_ns, one.seen_at) for one in waiting]
            self._sleep(max(max(due) - self._clock(), 0.0))
            longer: list[Named] = []
            again: list[float] = []
            with Trees(self._files) as trees:
                for each in self._examining.each(
                    waiting, failed=lambda one, failure: self.refused.append(Refusal(one.path, failure.reason))
                ):
                    verdict = None
                    with each as one:
                        verdict = self._verdict(trees, one)
                    if verdict is None:
                        continue
                    if verdict.ok:
                        yield one, verdict.reason
                    elif verdict.again_at is not None:
                        longer.append(one)
                        again.append(verdict.again_at)
                    else:
                        self.refused.append(Refusal(one.path, verdict.reason))
            if again:
                rest = max(max(again) - self._clock(), 0.0)
                log.warning(
                    "writers of %s cannot be seen here: it must not change for %.0f s more", longer[0].path, rest
                )
                self._sleep(rest)
            waiting = longer

    def _verdict(self, trees: Trees, one: Named) -> Verdict | None:
        """None: it is refused already."""
        found = self._examined(trees, one)
        if not isinstance(found, Examined):
            reason = _ABSENT if isinstance(found, Absent) else found.reason
            self.refused.append(Refusal(one.path, f"cannot be read: {reason}"))
            return None
        seen, writer = found
        if seen.kind is not Kind.FILE or seen.version != one.seen.version:
            self.refused.append(Refusal(one.path, "it changes; send it again when its writer is done"))
            return None
        size, wait = one.seen.version.size, granule(one.seen.version.ctime_ns)
        candidate = Candidate(one.path.rpartition("/")[2], size, one.seen_at, wait)
        return complete(_AS_RULES, candidate, True, writer, self._clock())

    def _examined(self, trees: Trees, one: Named) -> Examined | Absent | CannotTell:
        try:
            tree = trees.at(one.root)
        except Trouble as trouble:
            return CannotTell(trouble)
        return examine(tree, one.path[len(one.root.rstrip("/")) + 1 :], one.seen.version)

    def seal(self, ledger: Ledger, destination: int, files: Iterable[tuple[Named, str]], now: float) -> int | None:
        """Write the files down as batches to be delivered. Returns the command's number; None where there are none."""
        command: int | None = None
        for batch in _batches(files):
            with ledger.transaction():
                command = self._write(ledger, command, destination, batch, now)
        return command

    def _write(
        self, ledger: Ledger, command: int | None, destination: int, batch: Sequence[tuple[Named, str]], now: float
    ) -> int | None:
        """Inside a transaction. Returns the command, which `command` is unless this is its first batch."""
        root = batch[0][0].root
        commands = [] if command is None else [command]
        each = Bulkhead[Sent]("sending of", lambda one: one.path, ledger.savepoint)

        def write(some: Sequence[Sent]) -> None:
            if some:
                commands.append(ledger.sends.sent(next(iter(commands), None), root, destination, some, now))

        each.together(
            [Sent(one.path, one.seen, one.seen_at, reason) for one, reason in batch], write,
            failed=lambda one, failure: self.refused.append(Refusal(one.path, failure.reason)),
        )  # fmt: skip
        return next(iter(commands), None)


def _batches(files: Iterable[tuple[Named, str]]) -> Iterator[list[tuple[Named, str]]]:
    """As large as the batches of rules are by default, each of one root."""
    batch: list[tuple[Named, str]] = []
    held = 0
    for one in files:
        full = len(batch) >= _SEALING.max_files or held >= _SEALING.max_bytes
        if batch and (full or one[0].root != batch[0][0].root):
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += one[0].seen.version.size
    if batch:
        yield batch
