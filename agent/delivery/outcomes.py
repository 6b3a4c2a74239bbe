"""What became of files, written down: evidence, another try, another name, or a case for a person."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from agent.delivery.travel import Traveller, UnderWay
from agent.ledger import File, Ledger, Proof
from agent.transport import Arrived, Changed, Gone, Occupied, Outcome, Transport, Unfit
from rules import destination
from rules.destination import Claim
from rules.model import SENT, STAT

RETRY = "`dropline retry`"

log = logging.getLogger(__name__)


class Outcomes:
    """Writes down what transports tell of files."""

    def __init__(self, ledger: Ledger, transport: Transport, place: int) -> None:
        """See `agent.delivery.Courier`."""
        self._ledger = ledger
        self._transport = transport
        self._place = place

    def settle(self, under_way: UnderWay, outcomes: Sequence[Outcome], now: float) -> bool:
        """Write down what became of files. Returns whether some became candidates again. Inside a transaction."""
        outcomes = (
            [self._doubted(under_way, outcome) for outcome in outcomes] if self._transport.elsewhere else outcomes
        )
        under_way.left.difference_update(outcome.file for outcome in outcomes)
        self._proved(under_way, outcomes, now)
        return self._others(under_way, outcomes, now)

    def _doubted(self, under_way: UnderWay, outcome: Outcome) -> Outcome:
        """Equal size and mtime adopt what a lost ledger may have brought, but no other version that this one did bring."""
        if not isinstance(outcome, Arrived) or not outcome.adopted or outcome.algorithm != STAT:
            return outcome
        one = under_way.travellers[outcome.file]
        owners = self._ledger.deliveries.owners(self._place, one.item.path, one.file)
        return Occupied(outcome.file, outcome.checksum) if owners else outcome

    def _proved(self, under_way: UnderWay, outcomes: Sequence[Outcome], now: float) -> None:
        proofs = []
        for outcome in outcomes:
            if isinstance(outcome, Arrived):
                one = under_way.travellers[outcome.file]
                how = "adopted" if outcome.adopted else "accepted"
                proofs.append(Proof(one.file, one.item.path, outcome.checksum, outcome.algorithm, how))
        if proofs:
            self._ledger.deliveries.proved(self._place, self._transport.name, proofs, now)

    def _others(self, under_way: UnderWay, outcomes: Sequence[Outcome], now: float) -> bool:
        """What did not arrive. Returns whether files became candidates again."""
        others = [outcome for outcome in outcomes if not isinstance(outcome, Arrived)]
        if not others:
            return False
        still = self._ledger.files.batched([outcome.file for outcome in others])
        back: list[tuple[File, str]] = []
        for outcome in others:
            if outcome.file not in still:
                continue  # superseded meanwhile: its newer version has a way of its own
            one = under_way.travellers[outcome.file]
            match outcome:
                case Changed() | Gone() if one.file.rule == SENT:
                    self._over(one.file, outcome)
                case Changed(reason=reason):
                    back.append((one.file, reason))
                case Gone():
                    back.append((one.file, "it was not there when it was to be delivered"))
                case Unfit(reason=reason, hint=hint):
                    self.refuse(one.file, f"{reason}; {hint}")
                case Occupied(content=content):
                    self._occupied(under_way, one, content)
        self._ledger.files.put_back(back, now)
        return bool(back)

    def _over(self, file: File, outcome: Changed | Gone) -> None:
        """A person sent it as it was then; what it is now waits for another errand. Inside a transaction."""
        if isinstance(outcome, Gone):
            reason = "it was not there when it was to be delivered"
            self._ledger.files.vanished([(file.id, file.rule, file.path, reason)])
        else:
            self._ledger.files.superseded([(file.id, file.rule, file.path, f"{outcome.reason}; send it again")])

    def _intended(self, under_way: UnderWay, one: Traveller) -> str | None:
        """Where an earlier attempt may have left a part of the file."""
        return self._ledger.deliveries.intents(under_way.delivery, self._place).get(one.file.id)

    def refuse(self, file: File, reason: str) -> None:
        """A person must act on this file. Inside a transaction."""
        self._ledger.files.refused([(file.id, file.rule, file.path, reason)])

    def _occupied(self, under_way: UnderWay, one: Traveller, occupant: bytes) -> None:
        """Other content has the name: replace it, take a name of its own, or refuse."""
        owners = self._ledger.deliveries.owners(self._place, one.item.path, one.file)
        what, reason = destination.claim(one.item.path, occupant, owners)
        if what is Claim.REFUSE:
            change = "" if one.file.rule == SENT else ", or change the rule's `path`"
            hint = f"rename one of the two{change}, then {RETRY}"
            self.refuse(one.file, f"at {self._transport.name}, {reason}; {hint}")
            return
        if what is Claim.REPLACE:
            item = one.item._replace(replaces=occupant)
        else:
            former = self._ledger.deliveries.former_copy(self._place, one.file)
            if former is not None and former[0] == one.item.path:
                contents = {owner.content for owner in owners}
                if None not in contents and occupant not in contents:
                    reason = f"{one.item.path!r} changed by itself; look at it"
                    self.refuse(one.file, f"at {self._transport.name}, {reason}, then {RETRY}")
                    return
                # What stands there is of a file that is gone, or an interrupted attempt may have put it there.
                former = None
            path, replaces = former or (self._own_name(one), None)
            begun = self._transport.elsewhere and path == self._intended(under_way, one)
            item = one.item._replace(path=path, replaces=replaces, begun=begun)
            log.warning("%s goes to %s as %r: %s", one.file.path, self._transport.name, path, reason)
        under_way.again[one.file.id] = replace(one, item=item)

    def _own_name(self, one: Traveller) -> str:
        """A name beside the one that is taken; first those of its own that may have the same content already."""
        own = destination.own_name(one.named, one.file.generation)
        names = [*self._ledger.deliveries.likenesses(self._place, one.file), own]
        names = [name for name in names if name != one.named]
        if one.item.path in names:
            names = names[names.index(one.item.path) + 1 :]
        return names[0] if names else destination.own_name(one.item.path, one.file.generation)
