"""Which destinations a changed configuration does not affect: what is on its way to them goes on."""

from collections.abc import Sequence

from rules.config.settings import Settings
from rules.match import overlap
from rules.rule import Rule


def unaffected(before: Settings, now: Settings) -> frozenset[str]:
    """Destinations that are reached in the same way, and to which the same rules deliver the same files."""
    if (before.agent.nice, before.agent.io_priority) != (now.agent.nice, now.agent.io_priority):
        return frozenset()  # a thread has the priority that it was started with
    return frozenset(
        name
        for name, table in now.destinations.items()
        if before.destinations.get(name) == table
        and (table.transport == "directory" or before.globus == now.globus)
        and (table.transport == "globus" or before.agent.timezone == now.agent.timezone or not table.bandwidth)
        and _deliveries(before.rules, name) == _deliveries(now.rules, name)
    )


def _deliveries(rules: Sequence[Rule], destination: str) -> list[object]:
    """All that decides which files go to a destination: its rules, and for each those before it that may claim its files."""
    return [
        [_plan(one) for one in rules[: number + 1] if overlap(one.watch, rule.watch)]
        for number, rule in enumerate(rules)
        if any(target.to == destination for target in rule.deliver)
    ]


def _plan(rule: Rule) -> object:
    return rule.name, rule.watch, rule.include, rule.exclude, rule.dataset, rule.deliver
