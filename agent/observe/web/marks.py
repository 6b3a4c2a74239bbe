"""May it be deleted? What the ledger, the configuration and, for single files, a look at the disk say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.files import ABSENT, CannotTell, Look
from agent.ledger import UNPROVED, File, Ledger, State, Summary
from rules.model import STAT, Verdict
from rules.removal import Standing, removal
from rules.rule import Rule
from rules.versions.volumes import unchanged

_OVER = {
    State.RECLAIMING: "reclaimed already",
    State.RECLAIMED: "reclaimed already",
    State.REMOVED: "removed already, by somebody else",
    State.SUPERSEDED: "a newer version is here",
    State.VANISHED: "gone before it was delivered",
}


@dataclass(frozen=True, slots=True)
class At:
    """Copies at one destination."""

    destination: str
    proved: int
    of: int
    up: bool | None
    address: str


class Marks:
    """Marks summaries and files, for the destinations as they are configured."""

    def __init__(self, ledger: Ledger, rules: Sequence[Rule], addresses: Mapping[str, str]) -> None:
        """`addresses`: of the configured destinations."""
        self._ledger = ledger
        self._rules = {rule.name: rule for rule in rules}
        self._addresses = addresses

    def of_summary(
        self, summary: Summary, *, below: bool, up: Mapping[str, bool | None]
    ) -> tuple[Verdict, tuple[At, ...]]:
        """The mark, as the agent last saw its files; and where its copies are, the required destinations first.

        `below`: something in the folders below is not proved. `up`: destination -> whether it is there.
        """
        required, strict = self._required(summary.rule)
        proved, weak, held = dict.fromkeys(required, 0), dict.fromkeys(required, 0), dict.fromkeys(required, 0)
        others = []
        for one in self._ledger.summaries.copies(summary.id):
            if required.get(one.destination) == one.address:
                held[one.destination] = one.here + one.gone
                weak[one.destination] = one.weak if strict else 0
                proved[one.destination] = one.here - weak[one.destination]
            else:
                others.append(At(one.destination, one.here + one.gone, summary.files, None, one.address))
        for to, count in self._skipped(summary).items():
            proved[to] += count
        standing = Standing(
            summary.here, summary.waiting, summary.refused, summary.reclaimed, summary.removed, below, summary.ignored
        )
        copies = [At(name, held[name], summary.files, up.get(name), address) for name, address in required.items()]
        return removal(standing, proved, weak, claimed=summary.rule in self._rules), (*copies, *others)

    def of_file(self, file: File, seen: Look) -> Verdict:
        """The mark of this version; `seen`: what stands at its path now."""
        if file.state in _OVER:
            return Verdict(False, _OVER[file.state])
        required, strict = self._required(file.rule)
        proved, weak = dict.fromkeys(required, 0), dict.fromkeys(required, 0)
        for item, address, _ in self._ledger.deliveries.evidence(file.id):
            if required.get(item.destination) == address:
                (proved if item.strong or not strict else weak)[item.destination] = 1
        skipped = self._ledger.plans.skipped(file.batch)
        for to in self._may_lack(file.rule):
            proved[to] = max(proved[to], int((to, required[to]) in skipped))
        standing = Standing(
            1,
            int(file.state in UNPROVED),
            int(file.state is State.REFUSED),
            0,
            0,
            False,
            int(file.state is State.IGNORED),
        )
        verdict = removal(standing, proved, weak, claimed=file.rule in self._rules)
        return _as_it_is(file, seen) or verdict if verdict.ok else verdict

    def _may_lack(self, name: str) -> list[str]:
        """Destinations of a rule that need not have what was delivered before they came."""
        rule = self._rules.get(name)
        return [] if rule is None else [target.to for target in rule.deliver if target.backfill is False]

    def _skipped(self, summary: Summary) -> dict[str, int]:
        """Destination -> how many of the files here need not be there."""
        free = self._may_lack(summary.rule)
        if not free:
            return {}
        counts = self._ledger.plans.skipped_in((summary.rule, summary.whole, summary.place))
        return {to: counts.get((to, self._addresses[to]), 0) for to in free}

    def _required(self, name: str) -> tuple[dict[str, str], bool]:
        """(destination -> address that a rule requires, whether it wants checksums)."""
        rule = self._rules.get(name)
        if rule is None:
            return {}, True
        strict = rule.reclaim is None or rule.reclaim.evidence != STAT
        return {target.to: self._addresses[target.to] for target in rule.deliver}, strict


def _as_it_is(file: File, seen: Look) -> Verdict | None:
    """Why the file on the disk is not this version; None where it is."""
    if isinstance(seen, CannotTell):
        return Verdict(False, f"not now: it cannot be looked at: {seen.reason}")
    if seen is ABSENT:
        return Verdict(False, "not here any more")
    if unchanged(file.version, file.volume, seen):
        return None
    return Verdict(False, "not yet: it changed since it was proved; the agent looks at it again")
