"""What became of files, written down: evidence, another try, another name, or a case for a person."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.delivery.in_flight import InFlightFile, Submission
from agent.destinations import Arrived, Changed, Gone, Occupied, Outcome, Transport, Unfit
from agent.ledger import File, Ledger, Proof
from rules import naming as destination
from rules.model import SENT, STAT
from rules.naming import Claim, Occupant, Owner

RETRY = "`dropline retry`"
_TOGETHER = 1024
"""Files in one statement: with more it takes as long for each."""

log = logging.getLogger(__name__)


class Outcomes:
    """Writes down what transports tell of files."""

    def __init__(self, ledger: Ledger, transport: Transport, place: int) -> None:
        """See `agent.delivery.deliverer.Deliverer`."""
        self._ledger = ledger
        self._transport = transport
        self._place = place

    def settle(self, told: Iterable[tuple[Submission, Sequence[Outcome]]], now: float) -> bool:
        """Write down what became of files. Returns whether some became candidates again. Inside a transaction.

        All that arrived is written down together: a batch of one file costs as many statements as one of hundreds.
        """
        proofs: list[Proof] = []
        others: list[tuple[Submission, list[Outcome]]] = []
        for submission, reported in told:
            outcomes = [self._doubted(submission, one) for one in reported]
            submission.open.difference_update(outcome.file for outcome in outcomes)
            proofs += [
                _proof(submission.files[outcome.file], outcome) for outcome in outcomes if isinstance(outcome, Arrived)
            ]
            others.append((submission, [outcome for outcome in outcomes if not isinstance(outcome, Arrived)]))
        for start in range(0, len(proofs), _TOGETHER):
            self._ledger.deliveries.proved(self._place, self._transport.name, proofs[start : start + _TOGETHER], now)
        returned = [self._others(submission, outcomes, now) for submission, outcomes in others if outcomes]
        return any(returned)

    def _doubted(self, submission: Submission, outcome: Outcome) -> Outcome:
        """Equal size and mtime adopt what a lost ledger may have brought, but no other version that this one did bring.

        Other bytes than the version has are no proof, whoever says that it arrived.
        """
        if not isinstance(outcome, Arrived):
            return outcome
        one = submission.files[outcome.file]
        if outcome.content.size != one.file.version.size:
            reason = f"at {self._transport.name}, {one.item.path!r} has {outcome.content.size} bytes"
            reason = f"{reason}, and the file has {one.file.version.size}"
            return Unfit(outcome.file, reason, f"look at what is there, then {RETRY}")
        if not self._transport.elsewhere or not outcome.adopted or outcome.algorithm != STAT:
            return outcome
        return Occupied(outcome.file, outcome.content.size, outcome.content.checksum) if self._owners(one) else outcome

    def _owners(self, one: InFlightFile) -> list[Owner]:
        """Who else has, or had, the name that a file wants; the file itself, where its copy there was spoiled."""
        known = self._ledger.deliveries.owners(self._place, one.item.path, one.file)
        return known + self._ledger.scrubs.owners(self._place, one.item.path, one.file)

    def _others(self, submission: Submission, others: Sequence[Outcome], now: float) -> bool:
        """What did not arrive. Returns whether files became candidates again."""
        still = self._ledger.files.batched([outcome.file for outcome in others])
        back: list[tuple[File, str]] = []
        for outcome in others:
            if outcome.file not in still:
                continue  # superseded meanwhile: its newer version has a way of its own
            one = submission.files[outcome.file]
            match outcome:
                case Changed() | Gone() if one.file.rule == SENT:
                    self._over(one.file, outcome, now)
                case Changed(reason=reason):
                    back.append((one.file, reason))
                case Gone():
                    back.append((one.file, "it was not there when it was to be delivered"))
                case Unfit(reason=reason, hint=hint):
                    self.refuse(one.file, f"{reason}; {hint}")
                case Occupied(size=size, checksum=checksum):
                    self._occupied(submission, one, Occupant(size, checksum))
        self._ledger.files.put_back(back, now)
        return bool(back)

    def _over(self, file: File, outcome: Changed | Gone, now: float) -> None:
        """A person sent it as it was then; what it is now is for another `send`. Inside a transaction."""
        if isinstance(outcome, Gone):
            reason = "it was not there when it was to be delivered"
            self._ledger.files.vanished([(file.id, file.rule, file.path, reason)], now)
        else:
            self._ledger.files.superseded([(file.id, file.rule, file.path, f"{outcome.reason}; send it again")], now)

    def _intended(self, one: InFlightFile) -> str | None:
        """Where an earlier attempt may have left a part of the file."""
        return self._ledger.deliveries.intent(one.file.id, self._place)

    def refuse(self, file: File, reason: str) -> None:
        """A person must act on this file. Inside a transaction."""
        self._ledger.files.refused([(file.id, file.rule, file.path, reason)])

    def _occupied(self, submission: Submission, one: InFlightFile, occupant: Occupant) -> None:
        """Other content has the name: replace it, take a name of its own, or refuse."""
        owners = self._owners(one)
        what, reason, may_go = destination.claim(one.item.path, occupant, owners)
        if what is Claim.REFUSE:
            change = "" if one.file.rule == SENT else ", or change the rule's `path`"
            hint = f"rename one of the two{change}, then {RETRY}"
            self.refuse(one.file, f"at {self._transport.name}, {reason}; {hint}")
            return
        if what is Claim.REPLACE:
            item = one.item._replace(replaces=may_go)
        else:
            former = self._ledger.deliveries.former_copy(self._place, one.file)
            if former is not None and former[0] == one.item.path:
                if not any(owner.content is None or occupant.may_be(owner.content) for owner in owners):
                    reason = f"{one.item.path!r} changed by itself; look at it"
                    self.refuse(one.file, f"at {self._transport.name}, {reason}, then {RETRY}")
                    return
                # What stands there is of a file that is gone, or an interrupted attempt may have put it there.
                former = None
            path, replaces = former or (self._own_name(one), None)
            begun = self._transport.elsewhere and path == self._intended(one)
            item = one.item._replace(path=path, replaces=replaces, begun=begun)
            log.warning("%s goes to %s as %r: %s", one.file.path, self._transport.name, path, reason)
        submission.follow_up[one.file.id] = replace(one, item=item)

    def _own_name(self, one: InFlightFile) -> str:
        """A name beside the one that is taken; first those of its own that may have the same content already."""
        spoiled = self._ledger.scrubs.spoiled(self._place, one.file)
        own = destination.unspoiled_name(one.named, one.file.generation, spoiled)
        names = [*self._ledger.deliveries.likenesses(self._place, one.file), own]
        names = [name for name in names if name != one.named and name not in spoiled]
        if one.item.path in names:
            names = names[names.index(one.item.path) + 1 :]
        return names[0] if names else destination.unspoiled_name(one.item.path, one.file.generation, spoiled)


def _proof(one: InFlightFile, outcome: Arrived) -> Proof:
    how = "adopted" if outcome.adopted else "accepted"
    return Proof(one.file, one.item.path, outcome.content, outcome.algorithm, how, outcome.mount)
