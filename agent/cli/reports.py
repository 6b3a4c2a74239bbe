"""`status`, `explain`, `files` and `batches`: what the agent knows."""

from typing import Annotated, Any

import typer

from agent.cli.options import ConfigOption, Format, FormatOption, PathOfUser, in_effect, ledger, state, whole
from agent.cli.printing import print_json, say
from agent.errors import Refused
from agent.host.zone import stamp
from agent.ledger import State
from agent.observe.doubts import doubts
from agent.observe.status import status
from rules.actions import label
from rules.links import links_in_words, some
from rules.units import bytes_in_words, in_words

commands = typer.Typer()

LimitOption = Annotated[int, typer.Option("--limit", min=1, help="How many at the most.")]


@commands.command("status")
def show_status(config: ConfigOption = None, form: FormatOption = Format.TEXT) -> None:
    """What is where, and what needs a person. Exit code 1 while something is failed, refused, down, or out of sight."""
    chosen, refused = in_effect(config)
    with_ledger = ledger(chosen)
    # Without a configuration file (run --watch --to) the ledger itself knows the destinations.
    places = [(name, table.address) for name, table in chosen.settings.destinations.items()] or [
        (name, address) for name, address, _, _ in with_ledger.reports.destinations()
    ]
    found = status(with_ledger, chosen.rules, places, chosen.scrubs, doubts(chosen), refused, consumed=chosen.consumed)
    unfinished = _needs_person(found)
    if form is Format.JSON:
        print_json(found)
    else:
        _print_status(found)
    raise typer.Exit(1 if unfinished else 0)


def _needs_person(found: dict[str, Any]) -> bool:
    # A delivery that was refused is history as soon as its files are not: they travel with another one.
    failed = any(states.get("failed") for states in found["deliveries"].values())
    down = any(place["up"] is False for place in found["destinations"])
    undone = any(one["failed"] for one in found["outbox"])
    unplaced = (
        found["configuration"]
        or found["kept"]
        or found["findings"]
        or found["behind"]
        or found["unseen"]
        or found["links"]
        or found["refused_links"]
    )
    return bool(found["files"].get("refused") or failed or down or undone or unplaced)


def _print_status(found: dict[str, Any]) -> None:
    if found["configuration"]:
        say(found["configuration"])
    for name in [one.value for one in State]:
        if found["files"].get(name):
            by = {State.REMOVED.value: "  by somebody else", State.IGNORED.value: "  before the agent"}.get(name, "")
            say(f"{name:>12} {found['files'][name]:>9} files  {bytes_in_words(found['bytes'][name]):>9}{by}")
    if not found["files"]:
        say("no files yet")
    for one in found["waiting"]:
        begin = "such as " if one["files"] > 1 else ""
        say(f"{one['state']:>12}: {begin}{one['example']}: {one['reason']}")
    for place in found["destinations"]:
        bad = "REFUSED" if place["refused"] else "DOWN"
        word = "up" if place["up"] else f"{bad}: {place['reason']}"
        counts = ", ".join(
            f"{count} {name}" for name, count in sorted(found["deliveries"].get(place["name"], {}).items())
        )
        say(f"destination {place['name']} ({place['address']}): {word}{f'; deliveries: {counts}' if counts else ''}")
        if "consumed" in place:
            say("  files may be taken away there: their arrival, proved once, is the proof")
        if "keeps" in place:
            say(f"  nothing is deleted here on its proof: {place['keeps']}")
    if found["deletion"]:
        say(f"warning: {found['deletion']}")
    if found["replanning"]:
        say("the configuration changed: what was delivered is compared with it")
    for one in found["behind"]:
        say(f"rule {one['rule']}: not at {one['destination']}: {one['hint']}")
    for one in found["held_up"]:
        say(f"{one['deliveries']} deliveries to {one['destination']} wait: {one['reason']}")
    for one in found["scrub"]:
        _print_scrub(one)
    for one in found["kept"]:
        say(f"{one['files']} local files of rule {one['rule']} are kept, such as {one['example']}: {one['reason']}")
    for one in found["findings"]:
        say(f"{one['kind']} since {stamp(one['since'])}: {one['path']}: {one['reason']}")
    for one in found["outbox"]:
        why = f": {one['failed']} failed, {one['reason']}" if one["failed"] else ""
        what = f"{label(one['action'])} of rule {one['rule']}"
        say(f"{what} waits for {one['waiting']} batches, since {stamp(one['since'])}{why}")
    for root in found["unclaimed"]:
        say(f"no rule claims {root['files']} files below {root['watch']}, such as {root['example']}")
    for root in found["left_out"]:
        more = f" and {root['directories'] - 1} more" if root["directories"] > 1 else ""
        say(f"left out below {root['watch']}: the destination {root['example']}{more}")
    for root in found["without_events"]:
        say(f"{root['watch']}: {root['reason']}")
    for root in found["unseen"]:
        say(f"{root['directories']} directories below {root['watch']} cannot be listed, such as {root['example']}")
    for one in found["came_back"]:
        say(f"{one['files']} waits {in_words(one['quiet'])} unchanged: a writer came back to it")
    for rule, count in found["skipped_links"].items():
        say(f"{links_in_words(count)} of rule {rule} {'is' if count == 1 else 'are'} skipped")
    for one in found["copied_links"]:
        say(f"{links_in_words(one['links'])} of rule {one['rule']} copied to {one['destination']}")
    for one in found["refused_links"]:
        say(f"{links_in_words(one['links'])} in {one['directory']} not copied (rule {one['rule']}): {one['reason']}")
    for one in found["links"]:
        where = one["directory"] if one["dataset"] is None else one["dataset"]
        say(f"{where} (rule {one['rule']}): {one['reason']} ({some(one['examples'], one['links'])})")
    for one in found["datasets"]:
        say(f"waits since {stamp(one['since'])}: {one['name']} (rule {one['rule']}): {one['reason']}")
    if found["datasets"]:
        say("`dropline complete DATASET` releases one that will never be complete")
    for one in found["not_shown"]:
        say(f"one of {one['what']} cannot be shown: {one['reason']}")
    for name in found["paused"]:
        say(f"paused: {name} (`dropline resume {name}`)")
    if found["files"].get("refused"):
        say("`dropline files --state refused` says what to do about the refused ones")


def _print_scrub(one: dict[str, Any]) -> None:
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(one["findings"].items()))
    if counts:
        say(f"AMISS at {one['destination']}: {counts} (`dropline verify {one['destination']}` looks again)")
    if one["per_day"] is not None and one["oldest_at"] is not None:
        rate = f"{bytes_in_words(one['per_day'])} a day"
        say(f"copies at {one['destination']} are read again ({rate}); all were since {stamp(one['oldest_at'])}")


@commands.command()
def explain(path: PathOfUser, config: ConfigOption = None, form: FormatOption = Format.TEXT) -> None:
    """A file's whole way, with the reasons."""
    from agent.observe.explain import explain as explanation

    chosen = state(config)
    opened = ledger(chosen)
    absolute = whole(path)
    found = explanation(opened, chosen.rules, absolute)
    versions = found["versions"]
    if form is Format.JSON:
        print_json(found)
        return
    there = {True: "is there", False: "is not there", None: "may be there: it cannot be looked at"}[found["exists"]]
    say(f"{absolute}: {there}; {found['match']}")
    if found["link"] is not None:
        say(f"a symbolic link of rule {found['link']['rule']}: {found['link']['reason']}")
    for version in versions:
        _print_version(version)
    if not versions and found["link"] is None:
        say("the ledger does not know it: it is new, no rule claims it, or no sweep has come by yet")


def _print_version(version: dict[str, Any]) -> None:
    say("", f"version {version['generation']}: {version['size']} bytes, first seen {stamp(version['seen_at'])}")
    reason = f": {version['reason']}" if version["reason"] else ""
    say(f"  {version['state']} (rule {version['rule']}){reason}")
    if version["dataset"] is not None:
        whole = version["dataset"]
        word = "waits" if whole["waits"] else "is complete" if whole["complete"] else "is refused"
        say(f"  its dataset {whole['name']} {word}: {whole['reason'] or ''}")
    beside = (version["dataset"] or version).get("links")
    if beside:
        say(f"  beside it {links_in_words(beside)}")
    if version["checksum"] is not None:
        say(f"  has the checksum of the list that came with it: {version['checksum']}")
    if version["batch"] is not None:
        say(f"  complete {stamp(version['since'])}, in batch {version['batch']}")
    for one in version["deliveries"]:
        why = f": {one['reason']}" if one["reason"] else ""
        say(f"  delivery to {one['destination']}: {one['state']}, attempt {one['attempt']}{why}")
    for copy in version["copies"]:
        where = f"{copy['destination']} as {copy['path']}"
        proof = f"proved {stamp(copy['proved_at'])}, {copy['checksum']}" if copy["proved_at"] else "not proved there"
        again = f", read again {stamp(copy['reread_at'])}" if "reread_at" in copy else ""
        say(f"  {where}: {proof}{again}")
    for one in version["findings"]:
        over = f"; over {stamp(one['closed_at'])}: {one['closed']}" if one["closed_at"] else ""
        say(f"  {one['kind']} {stamp(one['found_at'])}: {one['reason']}{over}")


@commands.command()
def files(
    config: ConfigOption = None,
    only: Annotated[
        list[str] | None, typer.Option("--state", help="Only files in this state (may be repeated).")
    ] = None,
    limit: LimitOption = 100,
    form: FormatOption = Format.TEXT,
) -> None:
    """The files that the agent knows, newest first."""
    from agent.observe.explain import line
    from agent.observe.waiting import Reasons

    words = {one.value: one for one in State}
    for word in only or ():
        if word not in words:
            raise Refused(f"there is no state {word!r}", f"known are {', '.join(words)}")
    opened = ledger(state(config))
    reasons = Reasons(opened)
    found = [line(reasons, file) for file in opened.reports.files([words[word] for word in only or words], limit)]
    if form is Format.JSON:
        print_json(found)
        return
    for one in found:
        reason = f"  {one['reason']}" if one["reason"] else ""
        say(f"{one['state']:<11} {bytes_in_words(one['size']):>8}  {one['path']}{reason}")


@commands.command()
def batches(config: ConfigOption = None, limit: LimitOption = 100, form: FormatOption = Format.TEXT) -> None:
    """Batches and their deliveries, newest first."""
    found = ledger(state(config)).reports.batches(limit)
    if form is Format.JSON:
        print_json([{name: getattr(one, name) for name in one.__slots__} for one in found])
        return
    for one in found:
        head = f"{one.id:>7} {one.rule} {one.key or '-'}: {one.files} files, {bytes_in_words(one.bytes)}"
        say(f"{head}, {'sealed: ' + (one.reason or '') if one.sealed_at else 'open'}")
        for delivery in one.deliveries:
            why = f": {delivery['reason']}" if delivery["reason"] else ""
            say(f"        to {delivery['destination']}: {delivery['state']}, attempt {delivery['attempt']}{why}")
