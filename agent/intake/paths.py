"""Renders the paths of sealed batches, and stores them with their deliveries."""

from collections.abc import Mapping, Sequence

from agent.host.bulkhead import Bulkhead
from agent.ledger import Ledger
from rules.naming import PathRefused
from rules.paths import Member, Paths, path_of, template_of
from rules.rule import Rule, Target


class PathRenderer:
    """Stores the path of each file of a batch at each destination that the batch waits for."""

    def __init__(self, ledger: Ledger, rules: Sequence[Rule], destinations: Mapping[str, int], host: str) -> None:
        """
        Args:
            ledger: the connection of the thread that seals.
            rules: in the order of the configuration.
            destinations: numbers of the destinations in the ledger.
            host: this computer's name, for templates.
        """
        self._ledger = ledger
        self._rules = {rule.name: rule for rule in rules}
        self._targets = {
            (rule.name, destinations[target.to]): target for rule in rules for target in reversed(rule.deliver)
        }
        self._host = host
        self._rendering = Bulkhead[Member]("path of", lambda member: member.path)

    def render(self, batch: int, rule: str) -> None:
        """Store the paths of a sealed batch where there are none, or of another template. Inside a transaction.

        Paths of the same template stay, whatever else is configured since.
        """
        members: list[Member] | None = None
        for destination, template in self._ledger.deliveries.templates(batch).items():
            target = self._targets.get((rule, destination))
            if target is None or template == template_of(target):
                continue
            if members is None:
                members = self._ledger.batches.members(batch)
            paths = self._paths(self._rules[rule], target, members)
            self._ledger.deliveries.rendered(batch, destination, template_of(target), paths)

    def _paths(self, rule: Rule, target: Target, members: Sequence[Member]) -> Paths:
        others: dict[int, str | None] = {}
        for one in self._rendering.each(members, failed=lambda member, _: others.update({member.id: None})):
            with one as member:
                try:
                    path: str | None = path_of(rule, target, member, self._host)
                except PathRefused:
                    path = None  # the deliverer, which tries once more, refuses the file with the reason
                if path != rule.relpath(member.path):
                    others[member.id] = path
        return Paths(rule.watch, others)
