"""Landing zones: destinations of this agent that lie below a watched directory. What is in them is not data to deliver."""

from collections.abc import Callable, Collection

from agent.destinations.directory.opening import IDENTITY, identity
from agent.errors import Transient, is_agents
from agent.files import CannotTell, Tree, Trouble, What
from rules.model import Observation

__all__ = ["IDENTITY", "NONE", "Zones"]

_REMEMBERED = 20_000
"""Directories that were asked whether they lie in a landing zone."""
_ASKED_A_SWEEP = 20
"""Directories with an identity file that are compared with their destinations, each in a second where those may hang.
Anybody can make more of them."""

IsDestination = Callable[[str, str], bool]
"""(identity, directory) → whether the destination with this identity is that directory. Raises Transient where that cannot
be told."""


class Zones:
    """Knows directories that are destinations of this agent. Those of other agents, and copies of identity files, are data."""

    def __init__(
        self, identities: Callable[[], Collection[str]], is_destination: IsDestination, paths: Collection[str] = ()
    ) -> None:
        """
        Args:
            identities: what the identity files of this agent's destinations say.
            is_destination: proves it, for an identity file may be a copy.
            paths: destinations of the configuration that may have no identity file yet, as they are reached below
                watched directories.
        """
        self._identities = identities
        self._is_destination = is_destination
        self._paths = frozenset(paths)
        self._known: dict[tuple[str, str], bool | CannotTell] = {}
        self._left = _ASKED_A_SWEEP
        self._copies: dict[str, Observation] = {}
        """Directories that are no destinations → the copy of an identity file in each."""
        self._silent: dict[str, CannotTell] = {}
        """Identities of destinations that did not answer since the last sweep began."""

    def forget(self) -> None:
        """What was remembered may not be true any more."""
        self._known.clear()

    def ask_again(self) -> None:
        """A sweep begins: destinations that did not answer are asked again."""
        self.forget()
        self._silent.clear()
        self._left = _ASKED_A_SWEEP

    def at(self, tree: Tree, directory: str) -> bool | CannotTell:
        """Whether a directory below a watched one is a landing zone."""
        path = f"{tree.root.rstrip('/')}/{directory}"
        if path in self._paths:
            return True
        seen = tree.look(f"{directory}/{IDENTITY}")
        if not isinstance(seen, Observation) or self._copies.get(path) == seen:
            return False
        try:
            found = identity(tree, directory)
        except (Trouble, Transient):
            return False
        if found not in self._identities():
            return False  # another agent's, or one that is set up just now
        zone = self._proved(str(found), path)
        if zone is False:
            if len(self._copies) >= _REMEMBERED:
                self._copies.clear()
            self._copies[path] = seen
        return zone

    def _proved(self, identity: str, path: str) -> bool | CannotTell:
        """Whether the destination is the directory that has a file with its identity."""
        if identity in self._silent:
            return self._silent[identity]
        if not self._left:
            return _cannot_tell(path, f"there are more than {_ASKED_A_SWEEP} directories with such a file")
        self._left -= 1
        try:
            return self._is_destination(identity, path)
        except Transient as error:
            if is_agents(error):
                raise
            self._silent[identity] = found = _cannot_tell(path, str(error))
            return found

    def hold(self, tree: Tree, directory: str) -> bool | CannotTell:
        """Whether a directory is a landing zone, or lies in one. The watched directory itself is none: its files are refused."""
        missing: list[str] = []
        found: bool | CannotTell = False
        above = directory
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


def _cannot_tell(path: str, why: str) -> CannotTell:
    reason = f"it has an identity file, and whether {path} is that destination cannot be told: {why}"
    return CannotTell(Trouble(What.OTHER, f"{reason}; remove {IDENTITY} there if it is a copy"))


NONE = Zones(tuple, lambda identity, directory: False)
"""There are none."""
