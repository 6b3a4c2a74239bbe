"""Files on their way, and what was asked for them."""

from dataclasses import dataclass, field

from agent.destinations import Item
from agent.ledger import Delivery, File


@dataclass(frozen=True, slots=True)
class Traveller:
    """A file and where it goes."""

    file: File
    item: Item
    named: str
    """The path that its rule makes; the item may go elsewhere."""


@dataclass(slots=True)
class UnderWay:
    """A delivery that the transport has taken, or is about to."""

    delivery: Delivery
    travellers: dict[int, Traveller]
    again: dict[int, Traveller] = field(default_factory=dict)
    """Files to send once more, under the name that was settled for them."""
    left: set[int] = field(default_factory=set)
    """Files that nothing was told of yet."""
    later: set[int] = field(default_factory=set)
    """Those of them that are not in the request."""
    note: str | None = None
    """What holds it up."""
    bytes: int = 0
    """Of all its files."""

    def __post_init__(self) -> None:
        self.left.update(self.travellers)
        self.bytes = sum(one.file.version.size for one in self.travellers.values())
