"""What can go wrong. One class a fault, beside what it is like; `FAULTS` has them all by name.

A new fault: a class derived from `Fault` in a module of this package, in that module's `FAULTS`, and the module in the
list below. Nothing else needs to know it.
"""

from dataclasses import dataclass
from random import Random

from tests.campaign.instrument import Instrument
from tests.campaign.oracle import Oracle
from tests.campaign.station import Station


@dataclass
class Scene:
    """Where a fault strikes."""

    station: Station
    instrument: Instrument
    oracle: Oracle
    chance: Random
    effort: float = 1.0
    """1: as in the short form. Faults that can do more of the same do so many times as much."""


class Fault:
    """One kind of thing that goes wrong; this one does nothing. A new one is made for each round, so it may remember."""

    name = "none"
    says = "nothing goes wrong"
    """In the table."""
    needs: tuple[str, ...] = ()
    """Programs that must be installed. With `unshare`, the campaign must have mounts of its own (see `__main__`)."""
    alone = False
    """It cannot be combined with others."""

    def prepare(self, scene: Scene) -> None:
        """Before the first agent starts: the configuration, and what must be there."""

    def strike(self, scene: Scene) -> None:
        """Between what the instrument does; several times a round."""

    def mend(self, scene: Scene) -> None:
        """At the end: whatever an operator would do, so that everything can arrive. An agent runs afterwards."""


from tests.campaign.faults import process  # noqa: E402  (they derive from what is above)

MODULES = (process,)
FAULTS: dict[str, type[Fault]] = {"none": Fault} | {one.name: one for module in MODULES for one in module.FAULTS}
"""By name."""
