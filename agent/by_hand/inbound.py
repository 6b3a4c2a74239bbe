"""From a directory destination to a local directory: as files go there, with the same proof."""

import os
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

from agent.destinations import Arrived, Gone, Item, NameTaken, Undeliverable
from agent.destinations.directory.opening import Place, require
from agent.destinations.directory.writer import write
from agent.errors import Refused, Transient
from agent.files import LOCAL, CannotTell, Trouble
from agent.host.bulkhead import Bulkhead, Failure
from agent.host.heartbeat import Heartbeat
from agent.host.rate_limiter import RateLimiter
from agent.intake.scan import sweep
from rules.model import OWN_PREFIX, Kind, Observation

_GROUP = 128
"""Files that are made durable together."""


class Fetched(NamedTuple):
    """What came of a fetch. Paths are relative to the local directory."""

    arrived: dict[str, int]
    """Path → bytes."""
    present: set[str]
    """What was here already."""
    refused: dict[str, str]
    """What is not here, and why."""


def fetch(share: str, identity: str | None, source: str, target: str, key: str, rate_limiter: RateLimiter) -> Fetched:
    """Copy what is at and below a path.

    Args:
        share: the destination.
        identity: what its identity file must say; None: it was never used from here.
        source: path there; empty: all of it.
        target: an existing local directory.
        key: of the agent and the fetch, for temporary names: the same at each attempt.
        rate_limiter: how fast.

    Raises Transient where the share is away, Refused where nothing is there.
    """
    done = Fetched({}, set(), {})
    try:
        with LOCAL.tree(share) as tree:
            if identity is not None:
                require(tree, identity)
    except Trouble as trouble:
        raise Transient(f"{share}: {trouble.reason}") from trouble
    # The content of what is here already is compared: no file of a person is overwritten.
    place = Place(target, target, None, "checksum", "sha256", key)
    items = _items(share, source, done)
    while group := list(islice(items, _GROUP)):
        written = write(place, group, Heartbeat(rate_limiter))
        sizes = {item.file: (item.path, item.version.size) for item in group}
        for outcome in written.outcomes:
            path, size = sizes[outcome.file]
            match outcome:
                case Arrived(adopted=True):
                    done.present.add(path)
                case Arrived():
                    done.arrived[path] = size
                case NameTaken():
                    done.refused[path] = (
                        "other content has this name here; move it away, or fetch into another directory"
                    )
                case Undeliverable(reason=reason):
                    done.refused[path] = reason
                case Gone():
                    done.refused[path] = "it is gone since it was listed"
                case _:
                    done.refused[path] = "it changes; fetch it again when its writer is done"
        done.refused.update((sizes[file][0], reason) for file, reason in written.failed.items())
        if written.failure is not None:
            raise Transient(written.failure)
    return done


def _items(share: str, source: str, done: Fetched) -> Iterator[Item]:
    beside = len(source) - len(source.rpartition("/")[2])

    def refuse(found: tuple[str, Observation], failure: Failure) -> None:
        done.refused[found[0][beside:]] = failure.reason

    each = Bulkhead[tuple[str, Observation]]("fetching of", lambda found: found[0])
    for one in each.each(_below(share, source, done), failed=refuse):
        item = None
        with one as (path, seen):
            relpath = path[beside:]
            if seen.kind is Kind.FILE:
                item = Item(_number(relpath), share, path, seen.version, relpath)
            else:
                done.refused[relpath] = f"a {seen.kind}, not a file"
        if item is not None:
            yield item


def _number(relpath: str) -> int:
    """A number for temporary names, the same at each attempt: of these very bytes, for case may tell two files apart."""
    return int.from_bytes(blake2b(os.fsencode(relpath), digest_size=16).digest(), "big")


def _below(share: str, source: str, done: Fetched) -> Iterator[tuple[str, Observation]]:
    """(path relative to the share, what has the name); never by way of a link."""
    try:
        with LOCAL.tree(share) as tree:
            found = tree.look(source)
    except Trouble as trouble:
        found = CannotTell(trouble)
    if not isinstance(found, Observation):
        reason = found.reason if isinstance(found, CannotTell) else "No such file or directory"
        raise Refused(f"{share}/{source}: {reason}", "look at the path; links are not followed")
    if found.kind is not Kind.DIRECTORY:
        yield source, found
        return
    for listing in sweep(LOCAL, share, source):
        if listing.error is not None:
            done.refused[listing.directory] = f"cannot be listed: {listing.error}"
        for name, seen in listing.seen():
            if not name.startswith(OWN_PREFIX):
                yield f"{listing.directory}/{name}"[len(share.rstrip("/")) + 1 :], seen
