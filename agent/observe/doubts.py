"""Whether local files may be deleted on the proof of a destination, as it is configured and mounted now."""

from collections.abc import Iterable

from agent.files import LOCAL
from agent.host import acceptance
from rules.config.settings import Configuration, DirectoryTable
from rules.retention import mount_doubt
from rules.rule import Rule


def doubt(config: Configuration, name: str) -> str | None:
    """Why not; None: they may."""
    table = config.settings.destinations[name]
    if not isinstance(table, DirectoryTable):
        return None
    return mount_doubt(name, table.path, table.mounted, LOCAL.volume(table.path).may_hang)


def doubts(config: Configuration) -> dict[str, str]:
    """Destinations of rules that reclaim on whose proof nothing is deleted, with the reason."""
    names = dict.fromkeys(target.to for rule in config.rules if rule.reclaim is not None for target in rule.deliver)
    found = {name: doubt(config, name) for name in names}
    return {name: reason for name, reason in found.items() if reason is not None}


def deletion_unseen(rules: Iterable[Rule]) -> str | None:
    """What is to be said of deletion on this computer, where a rule deletes local files; None: nothing."""
    return acceptance.unseen() if any(rule.reclaim is not None for rule in rules) else None
