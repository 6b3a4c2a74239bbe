"""What can go wrong. One class a fault, beside what it is like; `FAULTS` has them all by name.

A new fault: a class derived from `Fault` in a module of this package, in that module's `FAULTS`, and the module in the
list below. Nothing else needs to know it.
"""

from tests.campaign.scene import Scene


class Fault:
    """One kind of thing that goes wrong; this one does nothing. A new one is made for each round, so it may remember."""

    name = "none"
    says = "nothing goes wrong"
    """In the table."""
    needs: tuple[str, ...] = ()
    """Programs that must be installed. With `unshare`, the campaign must have mounts of its own (see `__main__`)."""
    alone = False
    """It cannot be combined with others."""
    mends_first = False
    """What it mends must be right before an operator looks at what waits: else that shows only after the operator has gone."""
    may_keep = False
    """What the agent refuses with a reason may stay here: a person would have to look at each."""

    def prepare(self, scene: Scene) -> None:
        """Before the first agent starts: the configuration, and what must be there."""

    def strike(self, scene: Scene) -> None:
        """Between what the instrument does; several times a round."""

    def mend(self, scene: Scene) -> None:
        """At the end: whatever an operator would do, so that everything can arrive. An agent runs afterwards."""

    def end(self, scene: Scene) -> None:
        """When the round is over, whatever came of it: leave nothing behind outside its folder."""


from tests.campaign.faults import (  # noqa: E402  (they derive from it)
    clock,
    configuration,
    copies,
    everywhere,
    globus,
    ledger,
    process,
    storage,
    tree,
    writers,
)

MODULES = (process, everywhere, tree, writers, copies, ledger, clock, configuration, globus, storage)
"""Of each module one fault at the most is in a combination."""
FAULTS: dict[str, type[Fault]] = {"none": Fault} | {one.name: one for module in MODULES for one in module.FAULTS}
"""By name."""

__all__ = ["FAULTS", "MODULES", "Fault", "Scene"]
