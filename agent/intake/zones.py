"""Landing zones: destinations of this agent that lie below a watched directory. What is in them is not data to deliver."""

from collections.abc import Callable, Collection

from agent.destinations.directory.opening import IDENTITY, identity
from agent.errors import Transient
from agent.files import Tree, Trouble
from rules.model import Observation

__all__ = ["IDENTITY", "NONE", "Zones"]

_REMEMBERED = 20_000
"""Directories of which it is known whether they lie in a landing zone."""


class Zones:
    """Knows directories that are destinations of this agent, by their identity files. Those of other agents are data."""

    def __init__(self, identities: Callable[[], Collection[str]], paths: Collection[str] = ()) -> None:
        """
        Args:
            identities: what the identity files of this agent's destinations say.
            paths: destinations of the configuration that may have no identity file yet, as they are reached below
                watched directories.
        """
        self._identities = identities
        self._paths = frozenset(paths)
        self._known: dict[tuple[str, str], bool] = {}

    def forget(self) -> None:
        """What was remembered may not be true any more."""
        self._known.clear()

    def at(self, tree: Tree, directory: str) -> bool:
        """Whether a directory below a watched one is a landing zone."""
        if f"{tree.root.rstrip('/')}/{directory}" in self._paths:
            return True
        if not isinstance(tree.look(f"{directory}/{IDENTITY}"), Observation):
            return False
        try:
            return identity(tree, directory) in self._identities()
        except (Trouble, Transient):
            return False

    def hold(self, tree: Tree, directory: str) -> bool:
        """Whether a directory is a landing zone, or lies in one. The watched directory itself is none: it is refused as one."""
        missing: list[str] = []
        found, above = False, directory
        while above:
            known = self._known.get((tree.root, above))
            if known is not None:
                found = known
                break
            missing.append(above)
            above = above.rpartition("/")[0]
        if len(self._known) > _REMEMBERED:
            self.forget()
        for one in reversed(missing):
            found = self._known[tree.root, one] = found or self.at(tree, one)
        return found


NONE = Zones(tuple)
"""There are none."""
