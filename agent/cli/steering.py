"""`retry`, `reclaim`, `pause`, `resume` and `wait`: the commands by which a person acts."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from enum import StrEnum
from typing import Annotated

import typer

from agent.app.parts import Parts, required_of
from agent.app.transports import Transports
from agent.cli.options import (
    ConfigOption,
    Format,
    FormatOption,
    PathOfUser,
    configuration,
    ledger,
    seconds,
    state,
    whole,
)
from agent.cli.printing import print_json, say
from agent.errors import Refused
from agent.files import ABSENT, LOCAL, CannotTell
from agent.host.lock import locked
from agent.host.worker import Clock
from agent.intake.scan import sweep
from agent.ledger import GONE, File, Ledger, State
from agent.ledger.datasets import Known
from agent.observe.logs import configure
from agent.observe.metrics import Metrics
from agent.observe.waiting import Reasons
from agent.reclaim import Decision, Reclaimer, Record
from rules.config.settings import Configuration
from rules.datasets.membership import dataset_of
from rules.match import match, relative
from rules.model import OWN_PREFIX, SENT, Kind
from rules.rule import Rule
from rules.versions.volumes import unchanged

commands = typer.Typer()

_POLL = 0.1


class Pausable(StrEnum):
    """What can be paused."""

    RECLAIM = "reclaim"
    DELIVERY = "delivery"


DestinationArgument = Annotated[
    str | None, typer.Argument(metavar="[DESTINATION]", help="Of `delivery`: to this destination alone.")
]


@commands.command()
def retry(config: ConfigOption = None) -> None:
    """Try refused files, failed deliveries, and what waits to be done for verified batches again, now."""
    opened = ledger(state(config))
    now = Clock()()
    with opened.transaction():
        files, deliveries, actions = opened.files.retried(now), opened.deliveries.retried(now), opened.outbox.retried()
        opened.links.retried()
    more = f", and {actions} actions for verified batches," if actions else ""
    say(f"{files} files and {deliveries} deliveries{more} will be tried again")


@commands.command()
def reclaim(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print each file with its verdict.")] = False,
    form: FormatOption = Format.TEXT,
) -> None:
    """Remove local copies that the rules allow to go. A running agent does this without the command."""
    chosen = configuration(config)
    configure("text", logging.WARNING)
    with ExitStack() as stack:
        if dry_run:
            _print_plan(_plan(chosen, stack), form)
            return
        ledger(chosen).close()
        stack.enter_context(locked(chosen.state_dir, wait=0.0))
        parts = Parts(chosen, Metrics(), lambda name: lambda: None, stack)
        clock, before = Clock(), _reclaimed(parts.ledger)
        parts.reclaimer.start(clock())
        parts.reclaimer.step(clock())
        while (lie_until := parts.reclaimer.lie_until) is not None:
            time.sleep(max(lie_until - clock(), 0.0))
            parts.reclaimer.step(clock())
        if parts.ledger.pauses.hold("reclaim"):
            say("paused: `dropline resume reclaim` lets it go on")
        else:
            say(f"{_reclaimed(parts.ledger) - before} local files were removed")


def _reclaimed(opened: Ledger) -> int:
    return sum(files for _, state, files, _ in opened.reports.tally() if state == State.RECLAIMED.value)


def _plan(config: Configuration, stack: ExitStack) -> list[Decision]:
    """What reclaim would do. Nothing is written, since an agent may be running: the ledger is only read."""
    known = ledger(config, read_only=True)
    stack.callback(known.close)
    made = Transports(config, known.key, Metrics())
    transports = {name: made.make(name, lambda: None) for name in config.settings.destinations}
    for transport in transports.values():
        stack.callback(transport.close)
    LOCAL.prepare()
    record = Record(config.state_dir / "deletions.jsonl")
    reclaimer = Reclaimer(known, LOCAL, config.rules, required_of(config, transports), record)
    return list(reclaimer.plan(Clock()()))


def _print_plan(plan: Sequence[Decision], form: Format) -> None:
    if form is Format.JSON:
        rows = [(one.file.path, one.file.rule, one.verdict.ok, one.verdict.reason) for one in plan]
        print_json([dict(zip(("path", "rule", "reclaim", "reason"), row, strict=True)) for row in rows])
        return
    for one in plan:
        say(f"{'reclaim' if one.verdict.ok else 'keep   '} {one.file.path}: {one.verdict.reason}")
    say(f"{sum(one.verdict.ok for one in plan)} of {len(plan)} files would be removed; nothing was")


@commands.command()
def pause(what: Pausable, destination: DestinationArgument = None, config: ConfigOption = None) -> None:
    """Stop every deletion, or all copying, until `resume`. What is found until then waits; a running agent obeys in seconds."""
    opened = _steered(what, destination, config)
    opened.pauses.paused(what.value, destination)
    words = f"{what.value} {destination}" if destination else what.value
    say(f"{words} is paused; `dropline resume {words}` lets it go on")


@commands.command()
def resume(what: Pausable, destination: DestinationArgument = None, config: ConfigOption = None) -> None:
    """Undo `pause`; without a destination, for all of them."""
    opened = _steered(what, destination, config)
    opened.pauses.resumed(what.value, destination)
    words = f"{what.value} {destination}" if destination else what.value
    if opened.pauses.hold(what.value, destination):
        raise Refused(
            f"{words} is still paused, with all the others", f"`dropline resume {what.value}` lets them go on"
        )
    say(f"{words} goes on")


def _steered(what: Pausable, destination: str | None, config: PathOfUser | None) -> Ledger:
    """The ledger. Raises Refused where there is no such destination."""
    chosen = state(config)
    opened = ledger(chosen)
    if destination is None:
        return opened
    if what is not Pausable.DELIVERY:
        raise Refused(f"{what.value} has no destinations", f"write `{what.value}` alone")
    known = {*chosen.settings.destinations, *(name for name, *_ in opened.reports.destinations())}
    if destination not in known:
        raise Refused(f"there is no destination {destination!r}", f"known are {', '.join(sorted(known)) or 'none'}")
    return opened


@commands.command()
def complete(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="Its name, as `dropline status` shows it, or a path in it.")
    ],
    config: ConfigOption = None,
) -> None:
    """Say that a dataset is complete, whatever it still waits for: a run that was aborted, for example."""
    chosen = state(config)
    opened = ledger(chosen)
    found = _datasets(opened, chosen.rules, dataset)
    if not found:
        hint = "`dropline status` names those that wait"
        raise Refused(f"no dataset {dataset!r} is known", hint)
    waiting = [one for one in found if one.waits or opened.deliveries.closing_of(one.id)]
    if not waiting:
        why = found[0].reason or "it is complete"
        raise Refused(f"dataset {found[0].key!r} does not wait: {why}", "later files of it travel as a supplement")
    if len(waiting) > 1:
        names = ", ".join(f"{one.key!r} of rule {one.rule}" for one in waiting)
        raise Refused(f"{dataset!r} may be {names}", "name a path in it, beginning with the watched folder")
    with opened.transaction():
        opened.deliveries.closed(waiting[0].id, Clock()())
        if waiting[0].waits:
            opened.datasets.released(waiting[0].id, Clock()())
    if not waiting[0].waits:
        say(f"the markers of dataset {waiting[0].key} travel without the files that they waited for")
        return
    later = "files that somebody has open for writing follow when they are closed"
    say(f"dataset {waiting[0].key} travels as it is; {later}")


def _datasets(opened: Ledger, rules: Sequence[Rule], name: str) -> list[Known]:
    """The datasets that a person may mean: by name, by folder, or by a path in them."""
    names = {(rule.name, name.rstrip("/")) for rule in rules} | {(rule.name, name) for rule in rules}
    absolute = whole(name)
    for rule in rules:
        relpath = relative(absolute, rule.watch)
        if relpath is None or not rule.whole:
            continue
        names |= {(rule.name, relpath), (rule.name, f"{relpath}/")}
        within = [dataset_of(rule, relpath), dataset_of(rule, f"{relpath}/x")]
        names |= {(rule.name, one.key) for one in within if one is not None}
    found = (opened.datasets.named(rule, key) for rule, key in sorted(names))
    return [one for one in found if one is not None]


@commands.command()
def wait(
    paths: Annotated[list[PathOfUser], typer.Argument(metavar="PATH...", help="Files or directories.")],
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help='Give up after this, for example "10m".')
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Wait until files are verified at every destination. Exit code 1 where one is refused or the time is over."""
    chosen = state(config)
    opened = ledger(chosen)
    limit = seconds(timeout)
    started = time.monotonic()
    waiting = [file for path in paths for file in _below(opened, chosen.rules, whole(path))]
    while True:
        waiting, refused = _left(opened, waiting)
        for path, reason in refused:
            say(f"refused: {path}: {reason}", err=True)
        if refused:
            raise typer.Exit(1)
        if not waiting:
            return
        if limit is not None and time.monotonic() - started > limit:
            reasons = Reasons(opened)
            for path in waiting:
                say(f"not verified in time: {path}: {_why(opened, reasons, path)}", err=True)
            raise typer.Exit(1)
        time.sleep(_POLL)


def _below(opened: Ledger, rules: Sequence[Rule], path: str) -> list[str]:
    """The file, or the files of the directory that are to be delivered. Raises Refused where nobody delivers there.

    Of a directory that is not there any more, those that the ledger knows. Without rules (run --watch --to) every file is, but
    our own.
    """
    if not _is_directory(path):
        known = opened.files.known_below(path)
        if known:
            return known
        found = match(rules, path)
        if rules and found.rule is None:
            raise Refused(f"{path} will not be delivered: {found.reason}", "`dropline check` says what the rules take")
        return [path]
    watched = (rule.watch for rule in rules)
    if rules and not any(path == root or relative(path, root) or relative(root, path) for root in watched):
        raise Refused(f"no rule watches {path}", "`dropline check` says what the rules take")
    below = list(_all_below(path))
    if rules:
        return [file for file in below if match(rules, file).rule is not None]
    return [file for file in below if f"/{OWN_PREFIX}" not in file[len(path) :]]


def _is_directory(path: str) -> bool:
    """Whether it is a directory, or a link to one. Raises Refused where that cannot be told."""
    seen = LOCAL.look(LOCAL.resolve(path))
    if isinstance(seen, CannotTell):
        raise Refused(f"{path} cannot be looked at: {seen.reason}", "name what you may read")
    return seen is not ABSENT and seen.kind is Kind.DIRECTORY


def _all_below(path: str) -> Iterator[str]:
    """Each name below a directory that is no directory's. Raises Refused where one cannot be listed."""
    for listing in sweep(LOCAL, path):
        if listing.error is not None:
            raise Refused(f"{listing.directory} cannot be listed: {listing.error}", "name what you may read")
        yield from (f"{listing.directory}/{name}" for name, _ in listing.seen())


def _left(opened: Ledger, paths: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The files that are not yet verified as they are now, and those that are refused with their reasons."""
    left: list[str] = []
    refused: list[tuple[str, str]] = []
    for file in paths:
        versions = [one for one in opened.files.history(file) if one.rule != SENT]
        last = versions[-1] if versions else None
        if last is not None and last.state in (State.REFUSED, State.IGNORED):
            refused.append((file, last.reason or ""))
        elif last is None or not _safe(last):
            left.append(file)
    return left, refused


def _why(opened: Ledger, reasons: Reasons, path: str) -> str:
    """What a file waits for."""
    last = next((one for one in reversed(opened.files.history(path)) if one.rule != SENT), None)
    if last is None:
        return "it is new, no sweep has come by yet, or nothing is there"
    if last.state in (State.VERIFIED, *GONE):
        return f"the file there now is not known yet; the one before it is {last.state}"
    return f"{last.state}: {reasons.of(last)}"


def _safe(last: File) -> bool:
    """Whether what stands at the path now is proved, or nothing does any more and what did is."""
    seen = LOCAL.look(last.path)
    if isinstance(seen, CannotTell):
        return False
    if seen is ABSENT:
        return last.state in (State.VERIFIED, *GONE)
    return last.state is State.VERIFIED and unchanged(last.version, last.volume, seen)
