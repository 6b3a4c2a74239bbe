"""`send` and `fetch`: what a person, or a job script, takes to destinations and back by hand."""

import logging
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from agent.by_hand.fetch import Fetch
from agent.by_hand.outbound import Outbound
from agent.by_hand.send import Sending
from agent.cli.options import ConfigOption, PathOfUser, configuration, seconds, whole
from agent.cli.printing import say
from agent.errors import Refused, cause
from agent.files import LOCAL
from agent.host import own_files
from agent.host.worker import Clock
from agent.ledger import Ledger
from agent.observe.logs import configure
from rules.config.settings import CollectionTable, Configuration, DirectoryTable
from rules.globus.collection import source_path
from rules.match import relative
from rules.units import bytes_in_words

commands = typer.Typer()

TimeoutOption = Annotated[
    str | None, typer.Option(metavar="DURATION", help='Wait no longer than this, for example "10m".')
]
_SHOWN = 100
"""So many files are listed one by one."""


@commands.command()
def send(
    paths: Annotated[list[PathOfUser], typer.Argument(metavar="PATH...", help="Files or directories, watched or not.")],
    to: Annotated[str, typer.Option("--to", metavar="DEST", help="A destination of the configuration.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Until all is proved, also while the destination is away.")
    ] = False,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
) -> None:
    """Deliver files as they are now, once; local copies are kept. Exit code 1 where one is refused or not proved in time."""
    chosen = configuration(config)
    limit = seconds(timeout)
    named = [whole(path) for path in paths]
    table = _destination(chosen, to)
    for path in named:
        _apart(path, to, table)
    configure("text", logging.WARNING)
    LOCAL.prepare()
    deadline = None if limit is None else time.monotonic() + limit
    opened = _ledger(chosen)
    clock = Clock()
    outbound = Outbound(LOCAL, clock, time.sleep)
    gathered = outbound.gather(named)
    place = opened.destinations.place(to, table.address, in_place=isinstance(table, CollectionTable))
    number = outbound.seal(opened, place.id, outbound.complete(gathered), clock())
    good = not outbound.refused
    _refused(outbound.refused)
    if number is None:
        say("nothing was sent")
    else:
        sending = Sending(chosen, to, number, deadline)
        try:
            if sending.see_through(wait=wait):
                say("handed to the agent that runs here; `dropline files` and `dropline explain` tell of it")
            else:
                good = _told(opened, to, number, over=sending.over) and good
        finally:
            sending.close()
    raise typer.Exit(0 if good else 1)


def _told(opened: Ledger, to: str, number: int, *, over: bool) -> bool:
    """Say what became of it. Returns whether that is what was asked for."""
    files, size = opened.sends.verified(number)
    if over:
        left = opened.sends.unverified(number, _SHOWN)
        for file in left:
            say(f"{file.state.value}: {file.path}: {file.reason or ''}", err=True)
        say(f"{files} files ({bytes_in_words(size)}) are proved at {to}")
        return not left
    reasons = opened.sends.reasons(number) + [
        why for name, _, up, why in opened.reports.destinations() if name == to and up is False and why
    ]
    if opened.pauses.hold("delivery", to):
        reasons.append("deliveries there are paused (`dropline status` says how)")
    why = "; ".join(dict.fromkeys(reasons)) or "the time is over"
    say(f"not all is proved at {to}: {why}", err=True)
    say("it stays in the ledger: the agent, or the next `dropline send` there, goes on with it", err=True)
    return False


def _destination(config: Configuration, to: str) -> DirectoryTable | CollectionTable:
    table = config.settings.destinations.get(to)
    if table is None:
        known = ", ".join(config.settings.destinations) or "none"
        raise Refused(f"there is no destination {to!r} in {config.source}", f"known are {known}")
    return table


def _apart(path: str, to: str, table: DirectoryTable | CollectionTable) -> None:
    """Raise Refused where a path can never be sent to the destination."""
    if isinstance(table, DirectoryTable):
        if _at_or_below(path, table.path) or _at_or_below(table.path, path):
            raise Refused(f"{path} and destination {to} ({table.path}) lie in one another", "keep them apart")
    elif source_path(path, table.source_root, table.source_path) is None:
        raise Refused(
            f"{path} is not below {table.source_root}, which the source collection of {to} shows",
            "mend source_root and source_path, or copy it there",
        )


def _at_or_below(path: str, other: str) -> bool:
    path, other = LOCAL.resolve(path), LOCAL.resolve(other)
    return path == other or relative(path, other) is not None


def _ledger(config: Configuration) -> Ledger:
    """The ledger; a new one where no agent has run yet. Raises Refused."""
    try:
        own_files.make_private_directory(config.state_dir)
    except OSError as error:
        hint = "make it writable, or choose another"
        raise Refused(f"state directory {config.state_dir}: {cause(error)}", hint) from None
    return Ledger(str(config.ledger))


@commands.command()
def fetch(
    place: Annotated[
        str, typer.Argument(metavar="DEST:PATH", help="A destination, and a file or directory there; no PATH: all.")
    ],
    local: Annotated[PathOfUser, typer.Argument(metavar="LOCAL", help="The directory that gets it; made if absent.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Until all is here, also while the destination is away.")
    ] = False,
    timeout: TimeoutOption = None,
    config: ConfigOption = None,
) -> None:
    """Fetch from a destination, with proof; nothing here is overwritten. Exit code 1 where something is not here then."""
    chosen = configuration(config)
    limit = seconds(timeout)
    deadline = None if limit is None else time.monotonic() + limit
    name, _, path = place.partition(":")
    table = _destination(chosen, name)
    if path.startswith("/") or ".." in path.split("/"):
        raise Refused(f"{path!r} is not below {name}", "write the path relative to the destination")
    target = whole(local)
    if isinstance(table, DirectoryTable) and _at_or_below(target, table.path):
        raise Refused(f"{target} is in destination {name} ({table.path})", "fetch into another directory")
    configure("text", logging.WARNING)
    source = "/".join(part for part in path.split("/") if part not in ("", "."))
    done = Fetch(chosen, _ledger(chosen), name, source, target).see_through(wait=wait, deadline=deadline)
    if done is None:
        say("it is under way at the service; the same command with --wait sees it through")
        raise typer.Exit(1 if wait else 0)
    _refused(sorted(done.refused.items()))
    here = f", {len(done.present)} were here already" if done.present else ""
    say(f"{len(done.arrived)} files ({bytes_in_words(sum(done.arrived.values()))}) were fetched{here}")
    raise typer.Exit(1 if done.refused else 0)


def _refused(found: Sequence[tuple[str, str]]) -> None:
    for path, reason in found[:_SHOWN]:
        say(f"refused: {path}: {reason}", err=True)
    if len(found) > _SHOWN:
        say(f"refused: {len(found) - _SHOWN} more", err=True)
