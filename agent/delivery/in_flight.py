"""What is in flight to a destination: requests, and the files in them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.destinations import Item
from agent.ledger import Delivery, File


@dataclass(frozen=True, slots=True)
class InFlightFile:
    """A file and where it goes."""

    file: File
    item: Item
    named: str
    """The path that its rule makes; the item may go elsewhere."""
    delivery: int
    """Number of its delivery in the ledger."""


@dataclass(slots=True)
class Submission:
    """One request to a destination: files of one or more deliveries of a rule."""

    deliveries: Sequence[Delivery]
    files: dict[int, InFlightFile]
    number: int | None = None
    """In the ledger; None before it is written down."""
    follow_up: dict[int, InFlightFile] = field(default_factory=dict)
    """Files to send once more, when this one has ended: under another name, or because they had no room in it."""
    open: set[int] = field(default_factory=set)
    """Files without an outcome."""
    deferred: set[int] = field(default_factory=set)
    """Those of them that are not in the request."""
    failed: dict[int, str] = field(default_factory=dict)
    """Those of them whose outcome could not be written down, with the reason."""
    refused: bool = False
    """The destination does not take it, and never did."""
    note: str | None = None
    """What holds it up, for a person."""
    bytes: int = 0
    """Of all its files."""

    def __post_init__(self) -> None:
        self.open.update(self.files)
        self.bytes = sum(one.file.version.size for one in self.files.values())

    def keep(self, former: "Submission") -> None:
        """Files of a former request whose outcome could not be written down: they go later, when the others have ended."""
        for number, reason in former.failed.items():
            self.files.setdefault(number, former.files[number])
            self.open.add(number)
            self.deferred.add(number)
            self.failed[number] = reason

    def unfinished(self) -> list[Delivery]:
        """Deliveries with files that have no outcome, or go once more."""
        return self._divided()[0]

    def ended(self) -> list[Delivery]:
        """The others."""
        return self._divided()[1]

    def _divided(self) -> tuple[list[Delivery], list[Delivery]]:
        left = {self.files[number].delivery for number in self.open} | {one.delivery for one in self.follow_up.values()}
        unfinished = [delivery for delivery in self.deliveries if delivery.id in left]
        return unfinished, [delivery for delivery in self.deliveries if delivery.id not in left]
