"""`verify`: what was delivered is read again by hand."""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import typer

from agent.app.configuration import check, here
from agent.app.transports import Transports
from agent.cli.options import ConfigOption, Format, FormatOption, PathOfUser, as_written, ledger
from agent.cli.printing import print_json, say
from agent.errors import Refused
from agent.files import LOCAL
from agent.host.worker import Clock
from agent.ledger import Copy, Finding, Ledger
from agent.observe.logs import configure
from agent.observe.metrics import Metrics
from agent.observe.status import described
from agent.scrub import PASS_COPIES, Scrubber, Seen, accept
from rules.config.settings import CollectionTable, Configuration
from rules.scrub import MOST_OPEN, CopyStatus, Scrub
from rules.units import bytes_in_words

commands = typer.Typer()

SAMPLE_COPIES, SAMPLE_BYTES = 100, 10_000_000_000
"""A sample: so many copies, or as many as make so many bytes."""
_BY_HAND = Scrub(per_day=SAMPLE_BYTES, every=1.0)
"""What a person reads has no rate; it counts for the agent's only as copies that need not be read so soon."""


class Kind(StrEnum):
    """What can be acknowledged."""

    CHANGED = "changed"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    DOUBTFUL = "doubtful"


@dataclass(slots=True)
class _Tally:
    """What was read so far."""

    seen: list[Seen] = field(default_factory=list)
    """Copies that are not well."""
    counts: Counter[str] = field(default_factory=Counter)
    copies: int = 0
    size: int = 0
    stopped: str | None = None
    """Why not all that was to be read was."""


@commands.command()
def verify(
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="A destination of the configuration.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Read every copy, not only those that were read longest ago.")
    ] = False,
    accepted: Annotated[
        Kind | None, typer.Option("--accept", help="Read nothing: say that you know of these findings.")
    ] = None,
    config: ConfigOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Read what was delivered again, and compare. Exit code 1 where a copy is not what was delivered, or cannot be read."""
    chosen = _configuration(config)
    table = chosen.settings.destinations.get(destination)
    if table is None:
        known = ", ".join(chosen.settings.destinations) or "none"
        raise Refused(f"there is no destination {destination!r} in {chosen.source}", f"known are {known}")
    configure("text", logging.WARNING)
    logging.getLogger("agent.scrub").setLevel(logging.CRITICAL)  # what is wrong is printed below, once
    opened, now = ledger(chosen), Clock()()
    place = opened.destinations.place(destination, table.address, in_place=isinstance(table, CollectionTable)).id
    if accepted is not None:
        _accepted(accept(opened, place, CopyStatus(accepted.value), now), form)
        if table.consumed and accepted is Kind.MISSING:
            with opened.transaction():
                opened.scrubs.all_taken(place, destination)
            say(f"what was delivered to {destination} by now counts as taken away there: it is not asked for any more")
        return
    with _progress(opened, place, now, everything=everything) as tell:
        tally = _read(chosen, opened, destination, place, now, tell, everything=everything)
    left, _ = opened.scrubs.extent(place, now)
    still = opened.scrubs.open(place)
    if form is Format.JSON:
        print_json(_as_json(destination, tally, left, still))
    else:
        _print(destination, tally, left, still, everything=everything)
    raise typer.Exit(1 if tally.seen or still or tally.stopped else 0)


def _configuration(path: PathOfUser | None) -> Configuration:
    """The configuration; without a file (run --watch --to) the ledger itself knows the directories."""
    chosen = as_written(path)
    if chosen.settings.destinations:
        return chosen
    known = ledger(chosen).reports.destinations()
    places = {name: {"path": address} for name, address, _, _ in known if address.startswith("/")}
    return check({"agent": {"state_dir": str(chosen.state_dir)}, "destinations": places}, chosen.source, here())


def _read(
    config: Configuration, opened: Ledger, name: str, place: int, now: float, tell: Callable[[int], object], *,
    everything: bool,
) -> _Tally:  # fmt: skip
    """Look at the findings again, then at the sample, or at all. Raises Refused."""
    tally = _Tally()
    transport = Transports(config, opened.key, Metrics()).make(name, lambda: None)
    consumed = config.settings.destinations[name].consumed
    scrubber = Scrubber(opened, LOCAL, transport, place, _BY_HAND, lambda outcome, size: None, tell, consumed=consumed)

    def take(copies: Sequence[Copy]) -> bool:
        """Read them. Returns whether to go on."""
        done = scrubber.by_hand(copies, now)
        for one in done.seen:
            tally.counts[one.copy_status.value] += 1
            tally.copies, tally.size = tally.copies + 1, tally.size + one.copy.file.version.size
            tally.seen += [] if one.copy_status.well else [one]
        tally.stopped = done.away
        if done.away is None and sum(opened.scrubs.findings(place).values()) >= MOST_OPEN:
            tally.stopped = f"{MOST_OPEN} copies are wrong; look at the destination before more are read"
        return tally.stopped is None

    try:
        pending = [one.copy for one in opened.scrubs.open(place)]
        if pending and not take(pending):
            return tally
        while everything or (tally.copies < SAMPLE_COPIES and tally.size < SAMPLE_BYTES):
            limit = PASS_COPIES if everything else SAMPLE_COPIES - tally.copies
            copies = scrubber.longest_ago(now, limit)
            if not copies or not take(copies):
                return tally
    finally:
        transport.close()
    return tally


@contextmanager
def _progress(opened: Ledger, place: int, now: float, *, everything: bool) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, of the bytes that are to be read."""
    if not sys.stderr.isatty():
        yield lambda length: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        size = opened.scrubs.extent(place, now)[1] if everything else None
        task = bar.add_task("", total=size)
        yield lambda length: bar.advance(task, length)


def _accepted(found: Sequence[Finding], form: Format) -> None:
    if form is Format.JSON:
        print_json([described(one) for one in found])
        return
    for one in found:
        say(f"accepted: {one.copy_status.value}: {one.copy.path} (of {one.copy.file.path})")
    say(f"{len(found)} findings are settled; these copies are not read again")


def _as_json(name: str, tally: _Tally, left: int, still: Sequence[Finding]) -> dict[str, Any]:
    return {
        "destination": name,
        "copies": tally.copies,
        "bytes": tally.size,
        "outcomes": {copy_status.value: tally.counts[copy_status.value] for copy_status in CopyStatus},
        "left": left,
        "stopped": tally.stopped,
        "findings": [described(one) for one in still],
    }


def _print(name: str, tally: _Tally, left: int, still: Sequence[Finding], *, everything: bool) -> None:
    words = {"stat": "as delivered by size and mtime, which is all that can be asked there"}
    counts = ", ".join(
        f"{tally.counts[one.value]} {words.get(one.value, one.value)}" for one in CopyStatus if tally.counts[one.value]
    )
    say(f"{name}: {tally.copies} copies ({bytes_in_words(tally.size)}) were read again{': ' if counts else ''}{counts}")
    for one in still:
        say(f"{one.copy_status.value}: {one.copy.file.path}: {one.reason}")
    if tally.stopped is not None:
        say(f"stopped: {tally.stopped}", err=True)
    if left and not everything:
        say(f"{left} copies were not read; `dropline verify {name} --all` reads all, and the next call the next ones")
