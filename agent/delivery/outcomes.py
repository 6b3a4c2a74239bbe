"""What became of files, written down: evidence, another try, another name, or a case for a person."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from agent.delivery.arrivals import Arrivals
from agent.delivery.in_flight import InFlightFile, Submission
from agent.destinations import Arrived, Changed, Gone, Item, NameTaken, Outcome, Transport, Undeliverable
from agent.host.bulkhead import Bulkhead, Failure
from agent.ledger import File, Ledger, Proof
from rules import naming as destination
from rules.model import SENT, STAT, Content
from rules.naming import Claim, Occupant, Owner
from rules.rule import Rule

RETRY = "`dropline retry`"
_TOGETHER = 1024
"""Files in one statement: with more it takes as long for each."""

_Told = tuple[Submission, Outcome]
_Proved = tuple[Submission, Proof]

log = logging.getLogger(__name__)


class Outcomes:
    """Writes down what transports tell of files."""

    def __init__(
        self,
        ledger: Ledger,
        transport: Transport,
        place: int,
        rules: Mapping[str, Rule],
        arrivals: Arrivals | None = None,
    ) -> None:
        """See `agent.delivery.deliverer.Deliverer`."""
        self._arrivals = arrivals
        self._ledger = ledger
        self._transport = transport
        self._place = place
        self._rules = rules
        self._told = Bulkhead[_Told]("file", _path)
        self._others = Bulkhead[_Told]("file", _path, ledger.savepoint)
        self._proofs = Bulkhead[_Proved]("file", lambda one: one[1].file.path, ledger.savepoint)

    def apply(self, told: Iterable[tuple[Submission, Sequence[Outcome]]], now: float) -> bool:
        """Write down what became of files. Returns whether some became candidates again. Inside a transaction.

        All that arrived is written down together: a batch of one file costs as many statements as one of hundreds.
        """
        proofs: list[_Proved] = []
        others: list[_Told] = []
        reported = [(submission, outcome) for submission, outcomes in told for outcome in outcomes]
        for one in self._told.each(reported, failed=self._unforeseen):
            with one as (submission, claimed):
                outcome = self._doubted(submission, claimed)
                if isinstance(outcome, Arrived):
                    proofs.append((submission, _proof(submission.files[outcome.file], outcome)))
                else:
                    others.append((submission, outcome))
        for start in range(0, len(proofs), _TOGETHER):
            self._proofs.together(
                proofs[start : start + _TOGETHER], lambda some: self._proved(some, now),
                failed=lambda one, failure: self.drop(one[0], one[1].file, failure),
            )  # fmt: skip
        still = self._ledger.files.batched([outcome.file for _, outcome in others])
        returned = False
        for one in self._others.each(others, failed=self._unforeseen):
            with one as (submission, outcome):
                if outcome.file in still:  # else superseded: its newer version travels separately
                    returned = self._other(submission, outcome, now) or returned
                submission.open.discard(outcome.file)
        return returned

    def _proved(self, some: Sequence[_Proved], now: float) -> None:
        if self._arrivals is not None:
            self._arrivals.proved([proof for _, proof in some], now)
        away = self._ledger.files.found_in_flight([proof.file.id for _, proof in some])
        self._ledger.deliveries.proved(self._place, self._transport.name, [proof for _, proof in some], now)
        if away:
            self._ledger.files.lost_in_flight(away, now)
        for file in away:
            log.warning("%s was removed while it was copied; its copy at %s is whole", file.path, self._transport.name)
        for submission, proof in some:
            submission.open.discard(proof.file.id)

    def _unforeseen(self, one: _Told, failure: Failure) -> None:
        submission, outcome = one
        self.drop(submission, submission.files[outcome.file].file, failure)

    def drop(self, submission: Submission, file: File, failure: Failure) -> None:
        """Something of a file could not be written down: a person must act, and its submission goes on. Inside a transaction."""
        submission.failed[file.id] = failure.reason
        self.refuse(file, f"{failure.reason}; {RETRY}")
        submission.open.discard(file.id)
        del submission.failed[file.id]

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
            return Undeliverable(outcome.file, reason, f"look at that path, then {RETRY}")
        if not self._transport.is_service or not outcome.adopted or outcome.algorithm != STAT:
            return outcome
        return NameTaken(outcome.file, outcome.content.size, outcome.content.checksum) if self._owners(one) else outcome

    def _owners(self, one: InFlightFile) -> list[Owner]:
        """The other files that have, or had, the name that a file wants; the file itself, where its copy there was damaged."""
        known = self._ledger.deliveries.owners(self._place, one.item.path, one.file)
        return known + self._ledger.scrubs.owners(self._place, one.item.path, one.file)

    def _other(self, submission: Submission, outcome: Outcome, now: float) -> bool:
        """What did not arrive. Returns whether the file became a candidate again."""
        one = submission.files[outcome.file]
        match outcome:
            case Changed() | Gone() if one.file.rule == SENT:
                self._over(one.file, outcome, now)
            case Changed(reason=reason):
                self._ledger.files.put_back([(one.file, reason)], now, self._place)
                return True
            case Gone():
                reason = "it was not there when it was to be delivered"
                self._ledger.files.put_back([(one.file, reason)], now, self._place)
                return True
            case Undeliverable(reason=reason, hint=hint):
                self.refuse(one.file, f"{reason}; {hint}")
            case NameTaken(size=size, checksum=checksum):
                self._name_taken(submission, one, Occupant(size, checksum))
        return False

    def _over(self, file: File, outcome: Changed | Gone, now: float) -> None:
        """A person sent it as it was then; what it is now is for another `send`. Inside a transaction."""
        if isinstance(outcome, Gone):
            reason = "it was not there when it was to be delivered"
            self._ledger.files.vanished([(file.id, file.rule, file.path, reason)], now)
        else:
            self._ledger.files.superseded([(file.id, file.rule, file.path, f"{outcome.reason}; send it again")], now)

    def refuse(self, file: File, reason: str) -> None:
        """A person must act on this file. Inside a transaction."""
        self._ledger.files.refused([(file.id, file.rule, file.path, reason)])

    def _name_taken(self, submission: Submission, one: InFlightFile, occupant: Occupant) -> None:
        """Other content has the name: replace it, take another name, or refuse."""
        owners = self._owners(one)
        what, reason, may_go = destination.claim(one.item.path, occupant, owners)
        if what is Claim.REFUSE:
            change = "" if one.file.rule == SENT else ", or change the rule's `path`"
            hint = f"rename one of the two{change}, then {RETRY}"
            self.refuse(one.file, f"at {self._transport.name}, {reason}; {hint}")
            return
        if what is Claim.REPLACE:
            item = self._may_replace(one, one.item.path, may_go, owners)
        else:
            former = self._ledger.deliveries.former_copy(self._place, one.file)
            if former is not None and former[0] == one.item.path:
                if not any(owner.content is None or occupant.may_be(owner.content) for owner in owners):
                    reason = f"{one.item.path!r} changed at the destination; look at it"
                    self.refuse(one.file, f"at {self._transport.name}, {reason}, then {RETRY}")
                    return
                # What stands there is of a file that is gone, or an interrupted attempt may have put it there.
                former = None
            elif former is not None and any(
                owner.gone and owner.content == former[1]
                for owner in self._ledger.deliveries.owners(self._place, former[0], one.file)
            ):
                former = None  # that copy may be all that is left of a former file with the same content
            others = any(not owner.same_source for owner in owners)
            path, replaces = former or (self._free_name(one) if others else self._own_name(one), None)
            begun = self._transport.is_service and self._ledger.deliveries.sent([one.file.id], self._place) == {
                one.file.id: path
            }
            item = self._may_replace(one, path, replaces)._replace(begun=begun)
            if not self._transport.is_service:  # at once: the next file that looks for a name is to see it
                self._ledger.deliveries.planned(self._place, [(one.file.id, path)])
            log.warning("%s goes to %s as %r: %s", one.file.path, self._transport.name, path, reason)
        submission.follow_up[one.file.id] = replace(one, item=item)

    def _may_replace(
        self, one: InFlightFile, path: str, replaces: Content | None, owners: Sequence[Owner] | None = None
    ) -> Item:
        """The item, which may replace its former copy at a path, or is to have it renamed first: see `Item.aside`."""
        item = one.item._replace(path=path, replaces=replaces, aside=None, rewritten=False)
        if replaces is None or not replaces.size:  # nothing is lost with an empty copy
            return item
        rule = self._rules.get(one.file.rule)  # none has what a person sends
        known = self._ledger.deliveries.owners(self._place, path, one.file) if owners is None else owners
        former = max((one.generation for one in known if one.content == replaces), default=0)
        rewritten = self._ledger.deliveries.rewritten(one.file, former)
        compares = not self._transport.is_service and not (rule is not None and rule.updates_in_place)
        if not former or not (rewritten or compares):
            return item
        return item._replace(aside=self._free_name(one, path, former), rewritten=rewritten)

    def _free_name(self, one: InFlightFile, path: str | None = None, number: int = 2) -> str:
        """A name beside a path which none of our files has, or had: with this number, or a higher one."""
        beside = path or one.named

        def taken(number: int) -> bool:
            name = destination.own_name(beside, number)
            return bool(self._ledger.deliveries.owners(self._place, name, one.file))

        return destination.own_name(beside, destination.free_number(number, taken))

    def _own_name(self, one: InFlightFile) -> str:
        """A name beside the one that is taken; first its own names that may have the same content already."""
        damaged = self._ledger.scrubs.damaged(self._place, one.file)
        own = destination.undamaged_name(one.named, one.file.generation, damaged)
        names = [*self._ledger.deliveries.same_size_copies(self._place, one.file), own]
        names = [name for name in names if name != one.named and name not in damaged]
        if one.item.path in names:
            names = names[names.index(one.item.path) + 1 :]
        return names[0] if names else destination.undamaged_name(one.item.path, one.file.generation, damaged)


def _proof(one: InFlightFile, outcome: Arrived) -> Proof:
    how = "adopted" if outcome.adopted else "accepted"
    aside = one.item.aside if outcome.aside else None
    return Proof(one.file, one.item.path, outcome.content, outcome.algorithm, how, outcome.mount, aside)


def _path(one: _Told) -> str:
    submission, outcome = one
    known = submission.files.get(outcome.file)
    return str(outcome.file) if known is None else known.file.path
