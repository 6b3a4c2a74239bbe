"""Candidates, looked at again until their writers are done."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import cause
from agent.files.looks import Looks
from agent.intake.departures import device_at
from agent.intake.groups import Groups
from agent.intake.wholes import Wholes
from agent.ledger import File, Ledger
from rules.complete import ASK_AGAIN, complete, first_look
from rules.match import is_marker, marker_for
from rules.model import Candidate, Observation, Rule, Writer

LOOKS_A_PASS = 2_000
_MOUNT_AGAIN = 5.0
_RETRY = "`dropline retry`"


@dataclass(frozen=True, slots=True)
class Complete:
    """The writer is done."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """The writer is done; the file waits for the rest of its dataset."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again then; the reason is None where only time is missing."""

    again: float
    reason: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """It has a new reading."""

    seen: Observation


@dataclass(frozen=True, slots=True)
class Refuse:
    """A person must act."""

    reason: str


@dataclass(frozen=True, slots=True)
class Vanish:
    """It is not there any more, or no rule wants it."""

    reason: str


Look = Complete | Settled | Wait | Changed | Refuse | Vanish


class Candidates:
    """Decides about the candidates that are due, and writes the decisions down."""

    def __init__(self, ledger: Ledger, rules: Sequence[Rule], groups: Groups, wholes: Wholes) -> None:
        self._ledger = ledger
        self._rules = {rule.name: rule for rule in rules}
        self._groups = groups
        self._wholes = wholes

    def read(self, now: float) -> list[tuple[File, Look]]:
        """Look at what is due, and decide. Reads the disk, writes nothing."""
        due = self._ledger.files.due(now, LOOKS_A_PASS)
        if not due:
            return []
        with Looks() as looks:
            markers = _Markers(looks)
            return [(file, self._look(looks, markers, file, now)) for file in due]

    def settle(self, looks: Sequence[tuple[File, Look]], now: float) -> bool:
        """Write the decisions down, inside a transaction. Returns whether more may be due at once."""
        files = self._ledger.files
        completed: list[tuple[File, int, str]] = []
        settled: list[tuple[File, Rule]] = []
        waits: list[tuple[float, str | None, int]] = []
        more = len(looks) == LOOKS_A_PASS
        for file, look in looks:
            match look:
                case Complete(rule, reason):
                    completed.append((file, self._groups.join(file, rule, now), reason))
                case Settled(rule):
                    settled.append((file, rule))
                case Wait(again, reason):
                    waits.append((again, reason, file.id))
                case Changed(seen):
                    again = first_look(self._rules[file.rule].complete, now)
                    files.changed(file.id, seen, now, again)
                    more = more or again <= now
                case Refuse(reason):
                    files.refused([(file.id, file.rule, file.path, reason)])
                case Vanish(reason):
                    files.vanished([(file.id, file.rule, file.path, reason)])
        files.completed(completed, now)
        files.waits(waits)
        self._groups.joined(now)
        if settled:
            self._wholes.settled(settled, now)
        return more or bool(settled)

    def _look(self, looks: Looks, markers: "_Markers", file: File, now: float) -> Look:
        """Read one candidate again, and decide about it."""
        rule = self._rules.get(file.rule)
        if rule is None or not file.path.startswith(rule.watch.rstrip("/") + "/"):
            return Vanish("no rule claims it any more")
        try:
            seen, writer = looks.read(rule.watch, file.path, file.version)
        except FileNotFoundError:
            if device_at(file.path) == file.device:
                return Vanish("it went away before it was delivered")
            return Wait(now + _MOUNT_AGAIN, "its file system is not mounted")
        except BlockingIOError:
            return Wait(now + ASK_AGAIN, Writer.OPEN.value)  # a file server holds a write lease for a client
        except PermissionError as error:
            return Refuse(f"cannot be read: {cause(error)}; make it readable for the agent's user, then {_RETRY}")
        except OSError as error:
            return Refuse(f"cannot be opened: {cause(error)}; mend that, then {_RETRY}")
        if seen.kind != "file":
            return Refuse(f"a {seen.kind} stands in its place; remove it, then {_RETRY}")
        if seen.version != file.version:
            return Changed(seen)
        directory, _, name = file.path.rpartition("/")
        marker = marker_for(rule, name)
        has_marker = (
            marker is None or is_marker(rule, name) or any(map(marker.match_file, markers.names(rule.watch, directory)))
        )
        verdict = complete(rule.complete, Candidate(name, file.version.size, file.since), has_marker, writer, now)
        if verdict.ok:
            return Settled(rule) if rule.whole else Complete(rule, verdict.reason)
        if verdict.again_at is not None:
            return Wait(verdict.again_at, None)
        return Wait(now + ASK_AGAIN, verdict.reason)


class _Markers:
    """The names in directories, read once a pass."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._names: dict[str, list[str]] = {}

    def names(self, root: str, directory: str) -> list[str]:
        """The names in a directory below a root."""
        if directory not in self._names:
            try:
                self._names[directory] = self._looks.names(root, directory)
            except OSError:
                self._names[directory] = []  # no names, no marker: the file waits
        return self._names[directory]
