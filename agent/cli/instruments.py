"""`presets`, `try`, `simulate` and `demo`: what is known of instruments, and what it would do."""

import platform
import time
from dataclasses import replace
from typing import Annotated

import typer

from agent.app import presets
from agent.app.configuration import read
from agent.cli.options import Format, FormatOption, PathOfUser, whole
from agent.cli.printing import print_json, say
from agent.errors import Refused
from agent.files import LOCAL, Trouble
from agent.host import own_files
from agent.host.zone import stamp
from agent.simulation.play import Happening, Play
from agent.simulation.trial import Folder, enter, trial
from rules.config.describe import describe, traps
from rules.config.preset import rule_of
from rules.match import relative
from rules.rule import Rule
from rules.units import bytes_in_words, duration, in_words

commands = typer.Typer()

DirectoryArgument = Annotated[PathOfUser, typer.Argument(metavar="DIR", help="A folder as the instrument left it.")]


@commands.command("presets")
def show_presets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this one, and what it will do.")] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """The instruments that are known out of the box."""
    if name is not None:
        _show(name, form)
        return
    known = {one: presets.table(one).title for one in presets.names()}
    if form is Format.JSON:
        print_json([{"name": one, "title": title} for one, title in known.items()])
        return
    for one, title in known.items():
        say(f"{one:<15} {title}")
    say("", "`dropline presets NAME` says what one does, `dropline try NAME DIR` what it would do with a folder")


def _show(name: str, form: Format) -> None:
    rule = _rule(name, "/WATCHED")
    if form is Format.JSON:
        print_json({"name": name, "toml": presets.text(name), "words": describe(rule)})
        return
    say(*presets.text(name).splitlines())
    say(f'# In words, for `preset = "{name}"` and `watch = "/WATCHED"`:')
    for sentence in describe(rule):
        say(f"#  - {sentence}")


def _rule(name: str, watch: str) -> Rule:
    try:
        return rule_of(name, presets.data(name), watch)
    except ValueError as error:
        raise Refused(str(error), "or write include, dataset and complete yourself: docs/RULES.md") from None


@commands.command("try")
def try_out(
    name: Annotated[str, typer.Argument(metavar="PRESET", help="A preset: `dropline presets` lists them.")],
    directory: DirectoryArgument,
    form: FormatOption = Format.TEXT,
) -> None:
    """What a preset would do with a folder as it is now: datasets, complete or why not, batches, paths. Writes nothing."""
    rule = _rule(name, _folder(directory))
    try:
        found = list(trial(rule, LOCAL, platform.node() or "unknown", time.time()))
    except Trouble as trouble:
        raise Refused(f"{directory} cannot be read: {trouble.reason}", "name a folder that you may read") from trouble
    if form is Format.JSON:
        print_json([one._asdict() for one in found])
        return
    for one in found:
        word = "complete" if one.complete else "waits   "
        many = f"{one.files} files, " if one.files > 1 else ""
        say(f"{word} {one.dataset} ({many}{bytes_in_words(one.bytes)}): {one.reason}")
        say(f"         to {one.path}, in batch {one.batch or '-'}")
    for sentence in traps(rule):
        say(f"note: {sentence}")
    whole = sum(one.complete for one in found)
    say(f"{whole} of {len(found)} datasets are complete; nothing was written")
    if not found:
        say(f"the preset takes no file here; {_offer(directory)}")


def _folder(directory: PathOfUser) -> str:
    if not own_files.is_directory(directory):
        raise Refused(f"{directory} is not a folder", "name the folder where the instrument writes")
    return whole(directory)


def _offer(directory: PathOfUser) -> str:
    known = presets.recognised(directory)
    return f"it looks like {', '.join(known)}" if known else "it looks like none that is known"


@commands.command()
def simulate(
    config: Annotated[PathOfUser, typer.Argument(metavar="CONFIG", help="A configuration file.")],
    directory: DirectoryArgument,
    since: Annotated[str, typer.Option(metavar="DURATION", help='How far to look back, for example "12h".')] = "1d",
    form: FormatOption = Format.TEXT,
) -> None:
    """Replay a folder's own times through the rules: what would have been complete, sent and deleted, and when."""
    try:
        start = time.time() - duration(since)
    except ValueError as error:
        raise Refused(str(error), "see --help") from None
    folder = _folder(directory)
    rules = [rule for rule in read(config).rules if rule.watch == folder or relative(folder, rule.watch) is not None]
    if not rules:  # a copy of an instrument's folder is as good as the folder
        rules = [replace(rule, watch=folder).in_zone(rule.zone) for rule in read(config).rules]
    decisions, waiting = _replay(rules, folder)
    told = [(rule.name, one) for rule, one in decisions if one.at >= start]
    told.sort(key=lambda item: item[1].at)
    if form is Format.JSON:
        decided = [{"rule": rule} | one._asdict() for rule, one in told]
        print_json(
            {
                "decisions": decided,
                "waiting": [dict(zip(("rule", "dataset", "reason"), one, strict=True)) for one in waiting],
            }
        )
        return
    for rule_name, one in told:
        when = stamp(one.at)
        what = f"{rule_name}: {one.key or '-'} {one.what} ({len(one.files)} files, {bytes_in_words(one.bytes)})"
        say(f"{when}  {what}: {one.reason}")
    for rule_name, dataset, state in waiting:
        say(f"now  {rule_name}: {dataset} {state}")
    say(f"{len(told)} decisions; nothing was done. Writers cannot be seen in the past: only times tell.")


def _replay(rules: list[Rule], folder: str) -> tuple[list[tuple[Rule, Happening]], list[tuple[str, str, str]]]:
    """What the rules would have decided, and (rule, dataset, reason) of what would still wait."""
    decisions: list[tuple[Rule, Happening]] = []

    def announce(rule: Rule, one: Happening) -> None:
        decisions.append((rule, one))
        if one.what == "sealed":
            to = ", ".join(target.to for target in rule.deliver)
            decisions.append((rule, one._replace(what="sent", reason=f"to {to}")))
            if rule.reclaim is not None and rule.reclaim.after is not None:
                reason = f"{in_words(rule.reclaim.after)} after its proof, if that took no time"
                decisions.append((rule, one._replace(at=one.at + rule.reclaim.after, what="deleted", reason=reason)))

    try:
        source = Folder(LOCAL, folder)
        found = sorted((seen.version.mtime_ns // 10**9, path, seen) for path, seen in source.seen())
    except Trouble as trouble:
        raise Refused(f"{folder} cannot be read: {trouble.reason}", "name a folder that you may read") from trouble
    now = time.time()
    start = min([at for at, _, _ in found if at <= now], default=now) - 1.0
    with Play(rules, platform.node() or "unknown", start, announce) as play:
        for at, path, seen in found:
            play.until(max(min(float(at), now), play.now))
            enter(play, source, path, seen)
        play.until(now)
        waiting = [
            (rule.name, name, f"waits: {reason}") for rule in rules for name, reason in sorted(play.waiting(rule))
        ]
    return decisions, waiting
