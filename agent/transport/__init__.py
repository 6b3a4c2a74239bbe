"""How batches get to a destination: the protocol that every transport keeps (tests/contract runs over all of them)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from rules.model import Observation, Verdict, Version


class Item(NamedTuple):
    """One file to deliver."""

    file: int
    """Number of the version in the ledger."""
    root: str
    """Watched directory."""
    relpath: str
    version: Version
    path: str
    """Where it goes, relative to the destination."""
    replaces: bytes | None = None
    """Checksum of the content at `path` that may be replaced; None: nothing may."""


class Arrived(NamedTuple):
    """The version is at the destination, proved."""

    file: int
    checksum: bytes
    algorithm: str
    adopted: bool
    """The same content was there already; nothing was written."""


class Changed(NamedTuple):
    """What stands at the source is not the version any more, or has a writer. Nothing was delivered."""

    file: int
    seen: Observation
    reason: str


class Gone(NamedTuple):
    """Nothing stands at the source."""

    file: int


class Occupied(NamedTuple):
    """Other content is at the path. Nothing was touched."""

    file: int
    checksum: bytes


class Unfit(NamedTuple):
    """This file cannot be delivered as things are; a person must act."""

    file: int
    reason: str
    hint: str


Outcome = Arrived | Changed | Gone | Occupied | Unfit


class Report(NamedTuple):
    """News of one task. `failure`: the rest of the task could not be done and may be tried again."""

    task: str
    outcomes: Sequence[Outcome]
    ended: bool
    failure: str | None = None


class Transport(Protocol):
    """A way to one destination. Its methods are called from one thread, `confirm` from another."""

    name: str
    address: str
    """Where it delivers: together with the name, what the ledger knows the destination by."""
    outstanding: int
    """Tasks that may be under way at a time."""

    def set_up(self) -> str:
        """Take the destination into use. Returns its identity. Raises Transient where it is not there."""

    def check(self, identity: str) -> None:
        """Raise Transient unless the destination is there and is the one with this identity."""

    def prepare(self, delivery: int, items: Sequence[Item]) -> bytes:
        """What `submit` is to send, frozen: stored before it is sent, so that the very same can be sent again."""

    def submit(self, request: bytes, items: Sequence[Item], identity: str) -> str:
        """Hand over; returns the task. Sending the same request again is safe. Raises Transient."""

    def reports(self) -> list[Report]:
        """News since the last call. `wake`, given at construction, is called when there are some."""

    def discard(self, files: Sequence[tuple[int, str]]) -> None:
        """Remove what unfinished deliveries of these (file, path) may have left; never what arrived."""

    def confirm(self, path: str, size: int, checksum: bytes, algorithm: str, identity: str) -> Verdict:
        """Is this content still there, asked now? Raises Transient where the destination cannot be asked."""

    def close(self) -> None:
        """End the work under way as soon as it is safe."""


Wake = Callable[[], None]
