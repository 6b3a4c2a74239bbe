"""Verified → still there? Copies are read again after their delivery, and compared with the evidence.

What is wrong becomes a finding, loudly. Where the local copy still exists, the evidence is withdrawn and the file is a
batch once more, in one transaction; nothing at the destination is touched.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.destinations import Transport
from agent.errors import Transient
from agent.files import CannotTell, Files
from agent.files.absence import look_on
from agent.host.bulkhead import Bulkhead, Failure
from agent.ledger import Copy, File, Finding, Ledger, State
from rules.model import Kind, Observation
from rules.scrub import DAY, IS_BACK, MOST_OPEN, CopyStatus, Scrub, consequence, due, paid, resolved
from rules.versions.volumes import unchanged

PASS_COPIES, PASS_BYTES = 500, 2**30
"""What is read between two writes into the ledger, at the most."""
_LATER = 60.0
"""Seconds until a destination that was away is asked again."""
_GATHER = 30.0
"""Seconds in which what the rate allows is gathered, so that one transaction is for many small files."""
_TRAVELS = (State.CANDIDATE, State.COMPLETE, State.REFUSED, State.RECLAIMING)
"""States in which a file without evidence will travel again without a person, or when a person acts, or when it is put back."""

Count = Callable[[str, int], object]
"""(how a copy was found, its bytes): counts."""

log = logging.getLogger(__name__)


class Seen(NamedTuple):
    """One copy, read again."""

    copy: Copy
    copy_status: CopyStatus
    reason: str


@dataclass(slots=True)
class Round:
    """What was read in one go."""

    seen: list[Seen] = field(default_factory=list)
    cost: int = 0
    retired: list[Copy] = field(default_factory=list)
    """Copies that are not read any more: a newer version may have replaced them, or they were taken away."""
    away: str | None = None
    """Why the destination could not be asked any further."""


class Scrubber:
    """Reads copies at one destination again."""

    def __init__(
        self, ledger: Ledger, files: Files, transport: Transport, place: int, scrub: Scrub, count: Count,
        tell: Callable[[int], object], *, consumed: bool = False,
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            files: where the local copies are.
            transport: the way there.
            place: the destination's number in the ledger.
            scrub: how much is read.
            count: counts what was read.
            tell: called with the bytes that were read; it may raise Transient to end that.
            consumed: files are taken away there after their arrival: a copy that is gone is not missed.
        """
        self._ledger = ledger
        self._files = files
        self._transport = transport
        self._place = place
        self._scrub = scrub
        self._count = count
        self._tell = tell
        self._consumed = consumed
        self._not_before = 0.0
        self._said: str | None = None
        self._readings = Bulkhead[Copy]("reading again of the copy of", _path, through=(Transient,))
        self._looks = Bulkhead[Seen]("look at", lambda one: _path(one.copy))
        self._notes = Bulkhead[Seen]("finding about the copy of", lambda one: _path(one.copy), ledger.savepoint)
        self._back = Bulkhead[Copy]("finding about the copy of", _path, ledger.savepoint)
        self._again = Bulkhead[File]("delivery again of", lambda file: file.path, ledger.savepoint)

    def step(self, now: float) -> float | None:
        """One whole pass, as far as the rate allows. Returns when the next is due."""
        if now < self._not_before:
            return self._not_before
        self._catch_up(now)
        free_at = self._ledger.scrubs.free_at(self._place)
        if now >= free_at:
            again = self._ledger.scrubs.open(self._place, now - DAY, PASS_COPIES)
            free_at = self._work([one.copy for one in again], free_at, now)
            if self._not_before > now:
                return self._not_before
        findings = sum(self._ledger.scrubs.findings(self._place).values())
        verdict = due(self._scrub, self._ledger.scrubs.oldest_at(self._place), free_at, findings, now)
        if verdict.ok:
            oldest = self._ledger.scrubs.oldest(
                self._place, now - self._scrub.every, min(PASS_COPIES, MOST_OPEN - findings)
            )
            free_at = self._work(oldest, free_at, now)
            self._not_before = max(self._not_before, min(free_at, now + _GATHER))
            return self._not_before
        if findings >= MOST_OPEN:
            self._say(f"{self._transport.name}: {verdict.reason}")
        return verdict.again_at

    def longest_ago(self, before: float, limit: int) -> list[Copy]:
        """Copies to read by hand: neither proved nor read again since `before`, longest ago first."""
        return self._ledger.scrubs.oldest(self._place, before, limit)

    def by_hand(self, copies: Sequence[Copy], now: float) -> Round:
        """Read these copies, as a person wants it: whatever the rate allows."""
        return self._read(copies, None, now)[0]

    def _work(self, copies: Sequence[Copy], free_at: float, now: float) -> float:
        """Read copies while the rate allows it. Returns when it allows the next."""
        done, free_at = self._read(copies, free_at, now)
        if done.away is not None:
            self._say(f"{self._transport.name} cannot be read again now: {done.away}")
            self._not_before = now + _LATER
        elif done.seen:
            self._said = None
        return free_at

    def _say(self, what: str) -> None:
        """Once, and not at each pass."""
        if self._said != what:
            log.warning("%s", what)
        self._said = what

    def _read(self, copies: Sequence[Copy], free_at: float | None, now: float) -> tuple[Round, float]:
        """Read copies, write down what was found. `free_at`: when the rate allows the first; None: there is no rate."""
        done, paid_until = Round(), free_at or 0.0
        identity = self._ledger.destinations.identity(self._transport.name, self._transport.address)
        if identity is None:
            done.away = "it was never set up"
            return done, paid_until

        def unreadable(copy: Copy, failure: Failure) -> None:
            done.seen.append(Seen(copy, CopyStatus.UNREADABLE, failure.reason))

        try:
            for one in self._readings.each(copies, now, unreadable):
                if (free_at is not None and now < paid_until) or done.cost >= PASS_BYTES:
                    break
                with one as copy:
                    if copy.file.state is State.SUPERSEDED and copy.proved_at is not None:
                        done.retired.append(copy)
                        continue
                    found = self._transport.reread(
                        copy.path, copy.file.version, copy.checksum, copy.algorithm, identity, self._tell
                    )
                    if self._consumed and found.copy_status is CopyStatus.MISSING and copy.proved_at is not None:
                        done.retired.append(copy)
                    else:
                        done.seen.append(Seen(copy, found.copy_status, found.reason))
                    done.cost += found.cost
                    if free_at is not None:
                        paid_until = paid(self._scrub, paid_until, found.cost, now)
        except Transient as error:
            done.away = str(error)
        if done.seen or done.retired:
            self._write_down(done, paid_until if free_at is not None else None, now)
        return done, paid_until

    # What was found

    def _write_down(self, done: Round, free_at: float | None, now: float) -> None:
        """One transaction for all that was read, so that no evidence is withdrawn without its file being on its way."""
        scrubs = self._ledger.scrubs
        # The local files are looked at before: a file system that hangs must not hold the ledger.
        here: dict[int, bool | None] = {}
        for each in self._looks.each([one for one in done.seen if not one.copy_status.well], now):
            with each as one:
                here[one.copy.file.id] = self._stands(one.copy.file)
        loud: list[str] = []
        with self._ledger.transaction():
            kept = scrubs.free_at(self._place) if free_at is None else free_at
            scrubs.looked(self._place, kept, now)
            self._back.together(done.retired, lambda some: scrubs.retired(self._place, some), now)
            states: dict[int, State] = {}
            for each in self._notes.each(done.seen, now):
                with each as one:
                    states |= scrubs.states(self._place, [one.copy])
            # What has other evidence by now, or was superseded, was read in vain.
            done.seen = [
                one for one in done.seen
                if one.copy.file.id in states
                and (one.copy.proved_at is None or states[one.copy.file.id] is not State.SUPERSEDED)
            ]  # fmt: skip
            self._back.together(
                [one.copy for one in done.seen], lambda some: scrubs.reread(self._place, some, now), now
            )
            read, done.seen = done.seen, []
            for each in self._notes.each(read, now):
                with each as one:
                    if one.copy_status.well:
                        self._close(one.copy, IS_BACK, now)
                        done.seen.append(one)
                    elif not self._mended(one, now):
                        local = here.get(one.copy.file.id)
                        reason, news = self._found_wrong(one, states[one.copy.file.id], here=local, now=now)
                        done.seen.append(one._replace(reason=reason))
                        loud += [f"{one.copy.file.path}: {reason}"] if news else []
            self._deliver_again(now)
        for one in done.seen:
            self._count(one.copy_status.value, one.copy.file.version.size)
        for line in loud:
            log.error("%s", line)

    def _stands(self, file: File) -> bool | None:
        """Whether the local copy is what was delivered, as far as a look tells; the delivery looks closer. None: cannot tell."""
        seen = look_on(self._files, file.path, file.volume)
        if isinstance(seen, CannotTell):
            return None
        return isinstance(seen, Observation) and seen.kind is Kind.FILE and unchanged(file.version, file.volume, seen)

    def _close(self, copy: Copy, why: str, now: float) -> None:
        if self._ledger.scrubs.closed(self._place, copy, why, now):
            log.info("%s: at %s, %r: %s", copy.file.path, self._transport.name, copy.path, why)

    def _mended(self, one: Seen, now: float) -> bool:
        """Whether it is a finding that needs nobody any more: what stood there was moved away. Inside a transaction."""
        former = self._ledger.scrubs.known(self._place, one.copy)
        proved = self._ledger.scrubs.now_proved(self._place, one.copy.file.id)
        if former is None or proved == one.copy.path:
            return False
        why = resolved(former[0], one.copy_status, proved_at_another=proved is not None)
        if why is not None:
            self._close(one.copy, why, now)
        return why is not None

    def _found_wrong(self, one: Seen, state: State, *, here: bool | None, now: float) -> tuple[str, bool]:
        """A copy is not well. Returns the reason with its hint, and whether that is news. Inside a transaction."""
        scrubs, copy = self._ledger.scrubs, one.copy
        former = scrubs.known(self._place, copy)
        if former is not None and scrubs.now_proved(self._place, copy.file.id) != copy.path:
            # The evidence was withdrawn before; the finding waits for a person.
            scrubs.looked_again(self._place, copy, now)
            return former[1], False
        local = True if state in (*_TRAVELS, State.BATCHED) else here if state is State.VERIFIED else False
        others = scrubs.others(self._place, copy.file.id)
        then = consequence(one.copy_status, self._transport.name, here=local, others=others)
        reason = f"{one.reason}; {then.hint}"
        news = scrubs.found(self._place, self._transport.name, copy, one.copy_status, reason, now)
        # A batch that is still under way there does not know of it: it is looked at again when that has ended.
        if then.withdrawn and (state is not State.BATCHED or scrubs.reopened(self._place, copy.file, now)):
            scrubs.withdrawn(self._place, [copy.file.id])
        return reason, news

    def _catch_up(self, now: float) -> None:
        """Files that were just being removed when their copy was found wrong travel when they were put back."""
        scrubs = self._ledger.scrubs
        if not (scrubs.unproved(self._place) or scrubs.arrived_again(self._place)):
            return
        with self._ledger.transaction():
            self._deliver_again(now)
            for one in self._back.each(scrubs.arrived_again(self._place), now):
                with one as copy:
                    self._close(copy, "it was delivered again", now)

    def _deliver_again(self, now: float) -> None:
        """Files whose evidence was withdrawn are batches once more. Inside a transaction."""
        scrubs = self._ledger.scrubs
        self._again.together(
            scrubs.unproved(self._place), lambda some: scrubs.delivered_again(self._place, some, now), now
        )


def _path(copy: Copy) -> str:
    return copy.file.path


def accept(ledger: Ledger, place: int, copy_status: CopyStatus, now: float) -> list[Finding]:
    """A person knows of these findings. Returns them."""
    with ledger.transaction():
        found = [one for one in ledger.scrubs.open(place) if one.copy_status is copy_status]
        for one in found:
            ledger.scrubs.accepted(place, one, now)
    return found
