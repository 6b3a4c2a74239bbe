"""`run`, `check` and `init`: the commands that use the configuration."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.app import presets
from agent.app.configuration import FILE_NAME, absolute, check, here, warnings
from agent.app.kept import owner_of, take_over
from agent.app.parts import Parts, channels, inside
from agent.app.replan import preview
from agent.cli.options import STATE_HERE, ConfigOption, Format, FormatOption, PathOfUser, configuration
from agent.cli.printing import print_json, say
from agent.destinations.directory.transport import reachable
from agent.errors import CannotListen, LedgerError, Refused, cause
from agent.files import ABSENT, LOCAL, CannotTell
from agent.host import own_files
from agent.intake.scan import sweep
from agent.ledger import Ledger
from agent.observe.doubts import deletion_unseen, doubts
from agent.observe.logs import configure
from rules.batch import next_times
from rules.config.describe import describe, traps
from rules.config.settings import CollectionTable, Configuration, DestinationTable, DirectoryTable, ScrubTable
from rules.model import Kind
from rules.rate import in_words
from rules.rule import Rule
from rules.units import bytes_in_words
from rules.units import in_words as duration_in_words

if TYPE_CHECKING:
    from agent.observe.web.server import Server

commands = typer.Typer()


class LogStyle(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


_FOLDERS = 1000
"""Folders that `init` looks for files in."""
_WATCH, _TO, _FILE = PathOfUser("inbox"), PathOfUser("share"), PathOfUser(FILE_NAME)
"""What `init` writes about, and where, without options."""
_STARTER = """\
#:schema ./dropline.schema.json
# For editors that know this line: `dropline schema --output dropline.schema.json` writes that file.

# Dropline's configuration. `dropline check` says in words what it does.
# Every key can be overridden by the environment, for example DROPLINE_AGENT__STATE_DIR.

[agent]
# state_dir = "/var/lib/dropline"      # default: the user's state directory
# listen = "127.0.0.1:9469"            # status page, /metrics, /healthz; "" = off
# sweep_every = "5m"

[destinations.share]
transport = "directory"
path = {to}
{mounted}
verify = "checksum"                    # read back and compare; "size" is faster and weaker

[[rules]]
name = "inbox"
watch = {watch}
{since}
{how}# reclaim = {{ after = "7d" }}           # absent: local files are kept for ever
"""
_BY_HAND = """\
# preset = "illumina"                  # what is known of an instrument: `dropline presets` lists them
include = ["**"]
exclude = ["**/*.tmp", "**/*.part"]
# complete = {{ quiet = "10s", marker = "*.done" }}
# batch = {{ by = "dir", max_files = 500, linger = "5s" }}
deliver = [{{ to = "share", path = "{{relpath}}" }}]
"""
_BY_PRESET = """\
preset = {preset}  # {why}
# The preset says what is taken, when it is complete and where it goes; keys written here count instead.
deliver = [{{ to = "share" }}]
"""


_THERE = {
    True: "",
    False: " (NOT THERE NOW: nothing is delivered until it is)",
    None: " (DOES NOT ANSWER NOW: nothing is delivered until it does)",
}


def adhoc(watch: PurePath, to: PurePath) -> Configuration:
    """The configuration of `run --watch DIR --to DIR`: both are made if absent, files travel as soon as they are done."""
    for path in (watch, to):
        try:
            own_files.make_directory(path)
        except OSError as error:
            raise Refused(f"{path} cannot be made: {cause(error)}", "choose another directory") from error
    real = PurePath(LOCAL.resolve(str(absolute(to)))).name
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_.-") else "-" for char in real)
    place = name.strip("-._") or "share"
    # The state stands beside the two directories, so that each place where it is tried out has its own.
    state = {} if os.environ.get("DROPLINE_AGENT__STATE_DIR") else {"agent": {"state_dir": STATE_HERE}}
    data = state | {
        "destinations": {place: {"transport": "directory", "path": str(to)}},
        "rules": [{"name": "inbox", "watch": str(watch), "deliver": [{"to": place}]}],
    }
    return check(data, "the command line", here())


@commands.command()
def run(
    config: ConfigOption = None,
    once: Annotated[bool, typer.Option("--once", help="Process the files that exist, and end.")] = False,
    watch: Annotated[
        PathOfUser | None, typer.Option(metavar="DIR", help="Watch this directory; needs no configuration file.")
    ] = None,
    to: Annotated[PathOfUser | None, typer.Option(metavar="DIR", help="Deliver to this directory.")] = None,
    log: Annotated[LogStyle, typer.Option(help="Log lines as text or JSON.")] = LogStyle.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every transition of every file.")] = False,
) -> None:
    """Run the agent: in the foreground, until Ctrl-C or SIGTERM."""
    from agent.app.run import once as run_once
    from agent.app.run import run as run_agent

    if (watch is None) != (to is None) or (watch is not None and config is not None):
        raise typer.BadParameter("give --config FILE, or both --watch DIR and --to DIR")
    chosen = adhoc(watch, to) if watch is not None and to is not None else configuration(config)
    if not chosen.rules:
        raise Refused(f"{chosen.source} has no [[rules]]", "add one; `dropline init` writes an example")
    live = sys.stderr.isatty() and not verbose and not once and log is LogStyle.TEXT
    configure(log.value, logging.DEBUG if verbose else logging.WARNING if live else logging.INFO)
    for warning in warnings(chosen.source):
        logging.getLogger("agent").warning(warning)
    if once:
        raise typer.Exit(0 if run_once(chosen) else 1)

    def started(parts: Parts, server: "Server | None") -> AbstractContextManager[object]:
        for rule in parts.config.rules:
            say(f"watching {rule.watch} (rule {rule.name}), delivering to {', '.join(t.to for t in rule.deliver)}")
        say(f"status page: {server.url}" if server else "no status page (listen is off)")
        sys.stdout.flush()
        return _progress(parts) if live else _nothing()

    try:
        run_agent(chosen, started)
    except CannotListen:
        if watch is None:
            raise
        # Somebody who only tries it out should not have to configure a port first.
        run_agent(chosen.with_agent(listen="127.0.0.1:0"), started)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _progress(parts: Parts) -> Iterator[None]:
    from agent.cli.progress import Progress

    with Progress(str(parts.config.ledger)):
        yield


def of_globus(table: CollectionTable) -> str:
    """What a Globus destination is and does."""
    person = f" as the login {table.login}" if table.login else ""
    source = table.source_collection or "the Globus Connect Personal of this computer"
    proof = "compared by checksum" if table.verify_checksum else "compared by size only, which `reclaim` does not take"
    return (
        f"{table.path} on Globus collection {table.collection}{person}; files in {table.source_root} are read through {source},"
        f" which shows them as {table.source_path}; copies are {proof}; {_reread(table.scrub)};"
        f" at most {table.outstanding} tasks at a time"
    )


def _reread(scrub: ScrubTable | None) -> str:
    """How often copies are read again."""
    if scrub is None:
        return "they are not read again later"
    return f"they are read again, {bytes_in_words(scrub.per_day)} a day, each once in {duration_in_words(scrub.every)} at the most"


@commands.command("check")
def show(config: ConfigOption = None, form: FormatOption = Format.TEXT) -> None:
    """Check the configuration, and say in words what each rule will do."""
    chosen = configuration(config)
    found = _checked(chosen)
    if form is Format.JSON:
        print_json(found)
        return
    say(f"{chosen.source} is good; state in {chosen.state_dir}", *(f"warning: {one}" for one in found["warnings"]))
    for one in found["destinations"]:
        say("", f"destination {one['name']}: {one['words'][0]}", *(f"  - {sentence}" for sentence in one["words"][1:]))
        say(*(f"  - note: {sentence}" for sentence in one["notes"]))
    for one in found["rules"]:
        say("", f"rule {one['name']}:", *(f"  - {sentence}" for sentence in one["words"]))
        say(*(f"  - note: {sentence}" for sentence in one["notes"]))
    for sentence in found["changes"]:
        say("", f"changes: {sentence}")
    if not chosen.rules:
        say("", "no rules: nothing is watched")
    for sentence in found["notifications"]:
        say("", sentence)


def _next_times(schedule: str, chosen: Configuration) -> str:
    """When a schedule comes next, by the clock that the configuration means."""
    times = next_times(schedule, time.time(), chosen.zone, 3)
    return f"its next times: {', '.join(f'{at:%a %Y-%m-%d %H:%M %Z}' for at in times)}"


def _checked(chosen: Configuration) -> dict[str, Any]:
    """What `check` reports, with the names that its JSON has."""
    owner = owner_of(chosen)
    others = f"the state belongs to the configuration {owner}: `dropline run` refuses it for this one"
    return {
        "source": chosen.source,
        "state_dir": str(chosen.state_dir),
        "warnings": [*warnings(chosen.source), *([] if owner is None else [others])],
        "destinations": [
            {
                "name": name,
                "words": [_words(table, chosen), *taken(chosen, name, table)],
                "notes": list(notes(chosen, name, table)) if isinstance(table, DirectoryTable) else [],
            }
            for name, table in chosen.settings.destinations.items()
        ],
        "left_out": list(inside(chosen)),
        "rules": [
            {
                "name": rule.name,
                "words": [*describe(rule), *_times(rule, chosen)],
                "notes": [*traps(rule), *_note(rule.watch), *filter(None, [deletion_unseen([rule])])],
            }
            for rule in chosen.rules
        ],
        "changes": _changes(chosen),
        "notifications": list(_notifications(chosen)),
    }


def _words(table: CollectionTable | DirectoryTable, chosen: Configuration) -> str:
    """What a destination is and does."""
    if isinstance(table, CollectionTable):
        return of_globus(table)
    proof = "read back" if table.verify == "checksum" else "compared by size"
    limits = f"; {in_words(table.limits(chosen.zone))}" if table.bandwidth else ""
    return (
        f"the directory {table.path}{_THERE[reachable(table.path)]}; copies are {proof},"
        f" checksums are {table.checksum}; {_reread(table.scrub)}{limits}"
    )


def _times(rule: Rule, chosen: Configuration) -> list[str]:
    return [] if rule.batch.schedule is None else [_next_times(rule.batch.schedule, chosen)]


def _notifications(chosen: Configuration) -> Iterator[str]:
    notify = chosen.settings.notify
    if notify is not None:
        yield notify.in_words([channel.shown for channel in channels(notify).values()])
        if notify.digest is not None:
            yield _next_times(notify.digest, chosen)


@commands.command("takeover")
def take(config: ConfigOption = None) -> None:
    """Give the state directory to this configuration, where it belongs to another one that it replaces."""
    chosen = configuration(config)
    former = owner_of(chosen)
    take_over(chosen)
    say(f"{chosen.state_dir} belongs to {chosen.source} now" + (f", no longer to {former}" if former else ""))


def _changes(chosen: Configuration) -> list[str]:
    """What becomes of files that the agent knows already."""
    if not own_files.is_file(chosen.ledger):
        return []
    try:
        with closing(Ledger(str(chosen.ledger))) as known:
            return list(preview(known, chosen))
    except (LedgerError, Refused) as error:
        return [f"unknown: {error}"]


def taken(chosen: Configuration, name: str, table: DestinationTable) -> Iterator[str]:
    """What `consumed` of a destination means, and where it leaves no copy that can be asked for."""
    if not table.consumed:
        return
    yield "files may be taken away there: their arrival, proved once, is the proof, and what is gone is not asked for"
    alone = [
        rule.name for rule in chosen.rules if rule.reclaim is not None and [one.to for one in rule.deliver] == [name]
    ]
    if alone:
        yield f"note: it is the only destination of {', '.join(alone)}: no copy is known once a local file is deleted"


def notes(chosen: Configuration, name: str, table: DirectoryTable) -> Iterator[str]:
    """What is to be said of a destination directory as things are now."""
    yield from _mapped(table.path)
    within = LOCAL.location(table.path)
    for watch in dict.fromkeys(rule.watch for rule in chosen.rules):
        if LOCAL.location(watch).holds(within):
            yield f"it lies in the watched directory {watch}, and is left out there"
    if table.mounted and LOCAL.volume(table.path).mounted_at == "/":
        yield "nothing is mounted there or above, and it says `mounted = true`: it is down until its share is mounted"
    why = doubts(chosen).get(name)
    if why is not None:
        yield f"nothing is deleted on its proof: {why}"


def _note(path: str) -> list[str]:
    """What is to be said of a watched directory; nothing: it is there."""
    mapped = list(_mapped(path))
    seen = LOCAL.look(LOCAL.resolve(path))
    if isinstance(seen, CannotTell):
        return [*mapped, f"{path} cannot be looked at now ({seen.reason}); the agent waits for it"]
    there = seen is not ABSENT and seen.kind is Kind.DIRECTORY
    return mapped if there else [*mapped, f"{path} is not there now; the agent waits for it"]


def _mapped(path: str) -> Iterator[str]:
    """That a path is on a drive which other logins do not have."""
    volume = LOCAL.volume(path)
    if volume.mapped is not None:
        drive = volume.mounted_at
        yield f"{drive} is a drive of this login, and a service does not have it: write {volume.mapped}/ in place of {drive}"


@commands.command()
def init(
    watch: Annotated[
        PathOfUser, typer.Option(metavar="DIR", help="The directory where the instrument writes.")
    ] = _WATCH,
    to: Annotated[PathOfUser, typer.Option(metavar="DIR", help="The directory (a mounted share) to deliver to.")] = _TO,
    file: Annotated[PathOfUser, typer.Argument(metavar="FILE", help="The file to write.")] = _FILE,
    newer_than: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="Of the files that are there now, deliver only those of this day or later."
        ),
    ] = None,
) -> None:
    """Write a configuration file to start from. What is there already is not touched."""
    from json import dumps

    known = presets.recognised(watch)
    how = _BY_HAND.format()
    if known:
        others = f"; or {', '.join(known[1:])}" if known[1:] else ""
        how = _BY_PRESET.format(
            preset=dumps(known[0]), why=f"by the files there now{others}: see `dropline presets {known[0]}`"
        )
    mounted = _mounted(str(absolute(to)))
    since = _since(watch, newer_than)
    text = _STARTER.format(
        watch=dumps(str(absolute(watch))), to=dumps(str(absolute(to))), how=how, mounted=mounted, since=since
    )
    try:
        with own_files.create(file, 0o666) as target:
            target.write(text.encode())
    except FileExistsError:
        raise Refused(f"{file} is there already", "edit it, or name another file") from None
    except OSError as error:
        raise Refused(f"{file} cannot be written: {cause(error)}", "choose another place") from error
    for name in known:
        say(f"{watch} looks like {name} ({presets.table(name).title}): `dropline try {name} {watch}` shows more")
    say(f"wrote {file}; look it over, then `dropline check --config {file}` and `dropline run --config {file}`")


def _since(watch: PathOfUser, newer_than: datetime | None) -> str:
    """The line that says whether files that are there already are delivered: a person is asked where there are any."""
    today = f"{datetime.now().astimezone():%Y-%m-%d}"
    if newer_than is not None:
        return f"newer_than = {newer_than:%Y-%m-%d}              # what is there now, and is older, stays as it is"
    filled = any(one.entries for one in islice(sweep(LOCAL, str(absolute(watch))), _FOLDERS))
    if filled and sys.stdin.isatty():
        say(f"There are files in {watch} already. Answer no where they are old data that nobody wants delivered.")
        if not typer.confirm("Are they delivered, too?", default=True):
            return f"newer_than = {today}              # what is there now, and is older, stays as it is"
    return f"# newer_than = {today}            # absent: what is there already is delivered, too"


def _mounted(path: str) -> str:
    """The line that says whether the destination is an ordinary folder: a person is asked, and nothing is assumed."""
    volume, space = LOCAL.volume(path), LOCAL.space(LOCAL.volume(path).mounted_at)
    if volume.may_hang:
        return f"# mounted = true                     # it is on {volume.source} ({volume.kind}), mounted at {volume.mounted_at}"
    line = "# mounted = false                    # an ordinary folder of this computer; true: only while a share is mounted there"
    if not sys.stdin.isatty():
        return line
    size = f", {bytes_in_words(space.total)}" if space is not None and space.total else ""
    disk = f"{volume.source or 'a disk'} ({volume.kind}{size}), mounted at {volume.mounted_at}"
    say(f"{path} is on {disk} now. If it belongs on a share that is not mounted at this moment, answer no.")
    if typer.confirm("Is it an ordinary folder of this computer, on that disk?", default=False):
        return f"mounted = false                      # an ordinary folder, on {disk}"
    return "mounted = true                       # only while a share is mounted there"
