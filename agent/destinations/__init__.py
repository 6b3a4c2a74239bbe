"""How batches get to a destination: the protocol that every transport keeps (tests/contract runs over all of them)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from agent.errors import Transient
from rules.model import Content, Observation, Version
from rules.scrub import CopyStatus
from rules.versions.copies import Confirmed, LocalFile


class Busy(Transient):
    """This request must wait for something; others may go."""


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
    replaces: Content | None = None
    """The content at `path` that may be replaced, as `NameTaken` tells of it; None: nothing may."""
    aside: str | None = None
    """Where what may be replaced is renamed to, if the file does not go on from it; None: it is replaced in any case."""
    rewritten: bool = False
    """It does not go on from what may be replaced, whatever its first bytes are."""
    mount: str | None = None
    """The last directory on the way to `path` where another file system began, when files were proved there before."""
    begun: bool = False
    """An earlier attempt at this file may have left any part of it at `path`: where the transport is a service (`is_service`)."""


class LinkItem(NamedTuple):
    """A symbolic link to be made."""

    root: str
    """Watched directory."""
    relpath: str
    path: str
    """Where it goes, relative to the destination."""
    target: str
    """What it says."""
    former: str | None
    """What the agent's own link there says, if it made one."""


class Arrived(NamedTuple):
    """The version is at the destination, proved.

    Where only size and mtime could be compared, `algorithm` is `rules.model.STAT` and the checksum what
    `rules.naming.stat_content` makes of them.
    """

    file: int
    content: Content
    """What is there, as it was read back or as the destination tells of it: not what was asked for."""
    algorithm: str
    adopted: bool
    """The same content was there already; nothing was written."""
    mount: str | None = None
    """The last directory on the way to it where another file system begins; None: there is none, or it cannot be told."""
    aside: bool = False
    """What may have been replaced stands at the item's `aside`."""


class Changed(NamedTuple):
    """What stands at the source is not the version any more, or has a writer. Nothing was delivered."""

    file: int
    seen: Observation
    reason: str


class Gone(NamedTuple):
    """Nothing stands at the source."""

    file: int


class NameTaken(NamedTuple):
    """Other content is at the path. Nothing was touched."""

    file: int
    size: int
    """Its bytes."""
    checksum: bytes | None
    """Of its content or, at destinations that tell no more, `stat_content`; None: it was not read, for its size alone
    tells it from the version and from what may be replaced."""


class Undeliverable(NamedTuple):
    """This file cannot be delivered as things are; a person must act."""

    file: int
    reason: str
    hint: str


Outcome = Arrived | Changed | Gone | NameTaken | Undeliverable


class Prepared(NamedTuple):
    """A request, and what need not be asked for any more."""

    request: bytes
    outcomes: Sequence[Outcome] = ()
    """Files that are not in the request: they are there already, or cannot go as things are."""
    later: Sequence[int] = ()
    """Files for a request of their own, when this one has ended."""


class Accepted(NamedTuple):
    """A request that the destination has."""

    task: str
    how: str = "accepted"
    """`accepted`, or `duplicate`, `adopted`: it had the request already."""
    refused: bool = False
    """The destination does not take the request, and never did: nothing of it can be there. A report gives the reason."""


class Report(NamedTuple):
    """News of one task."""

    task: str
    outcomes: Sequence[Outcome]
    ended: bool
    failure: str | None = None
    """Why the rest of the task could not be done; it may be tried again."""
    alone: bool = False
    """The failure says nothing about the destination: other tasks go on."""
    note: str | None = None
    """What holds a task up that has not ended, for a person to read; None: nothing."""


class Reread(NamedTuple):
    """What was found where a copy should be."""

    copy_status: CopyStatus
    reason: str
    cost: int
    """Bytes that asking cost the destination, or what asking costs it otherwise, as bytes."""


class Transport(Protocol):
    """A way to one destination. Its methods are called from one thread, `confirm` from another, `reread` from a third.

    Where they say so they raise Transient (it is away) or Refused (a person must act before anything goes there).
    """

    name: str
    address: str
    """Where it delivers: together with the name, what the ledger knows the destination by."""
    outstanding: int
    """Tasks that may be under way at a time."""
    task_files: int
    task_bytes: int
    """Files, and bytes, up to which deliveries of one rule share a task; 0: each has its own."""
    is_service: bool
    """Others carry its tasks out: they go on without us, are known by their names, and write under the final names."""
    check_every: float
    """Seconds between two looks whether an idle destination is still there."""
    retry_at_most: float
    """Seconds until a delivery that failed again and again is tried once more."""
    location: str | None
    """Where that is, whichever collection shows it, as far as the service tells; None: not known, or a local directory."""

    def set_up(self) -> str:
        """Take the destination into use. Returns its identity. Raises Transient, Refused."""

    def check(self, identity: str) -> None:
        """Raise Transient or Refused unless the destination is there and is the one with this identity."""

    def prepare(self, delivery: int, label: str, items: Sequence[Item], identity: str) -> Prepared:
        """What `submit` is to send, frozen: stored before it is sent, so that the very same can be sent again.

        `delivery`: the first of those that it is for; `label`: what people see. Each request settles some items.
        Outside of transactions: it may ask the destination. Raises Transient, Refused.
        """

    def submit(self, request: bytes, items: Sequence[Item], identity: str, task: str | None = None) -> Accepted:
        """Hand over. Sending the same request again is safe. Raises Transient, Refused.

        `items`: what still needs a report. `task`: what a former run got for this request; None: not known.
        """

    def reports(self, now: float) -> list[Report]:
        """News since the last call. `wake`, given at construction, is called when there are some. Raises Transient, Refused."""

    def due(self) -> float | None:
        """When `reports` is to be called though nobody wakes; None: never."""

    def discard(self, files: Sequence[tuple[int, str]]) -> None:
        """Remove what unfinished deliveries of these (file, path) may have left; never what arrived."""

    def make_link(self, link: LinkItem, identity: str) -> str | None:
        """Make a symbolic link, never onto what the agent did not make. Raises Transient, Refused.

        Returns why it cannot be made; None: it is there.
        """

    def confirm(
        self, path: str, version: Version, checksum: bytes, algorithm: str, identity: str,
        local: LocalFile | None = None, mount: str | None = None,
    ) -> Confirmed:  # fmt: skip
        """Is this content still there, asked now? Raises Transient where the destination cannot be asked.

        `local`: the file itself, which is no copy of itself. `mount`: as `Arrived` had it.
        """

    def reread(
        self, path: str, version: Version, checksum: bytes, algorithm: str, identity: str, tell: Callable[[int], object]
    ) -> Reread:
        """Look at a copy as thoroughly as can be, and tell what is wrong. Nothing there is changed.

        `tell`: called with the bytes that were read; what it raises ends the reading. Raises Transient where the
        destination is away: then nothing is known of the copy.
        """

    def pause(self) -> None:
        """Copying stops within seconds, until `resume`. What others carry out goes on."""

    def resume(self) -> None:
        """Undo `pause`."""

    def close(self) -> None:
        """End the work under way as soon as it is safe."""


Wake = Callable[[], None]
