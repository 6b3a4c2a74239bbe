"""What a rule will do, in words, for `dropline check`."""

import shlex

from rules.actions import Action, Command, Flow, Share, Webhook
from rules.batch import max_age
from rules.complete import quiet_seconds
from rules.model import Writer
from rules.naming import may_meet
from rules.patterns.partial import WORDS
from rules.rule import Conditions, Reclaim, Rule, Sealing, Target
from rules.units import bytes_in_words, in_words

_BACKFILL = {
    None: "",
    True: ", and brings what was delivered before it came there, too",
    False: ", and leaves what was delivered before it came where it is",
}

_LINKS = {
    "skip": "skips symbolic links, wherever they lead",
    "copy": "copies symbolic links as they are written",
    "refuse": "refuses symbolic links",
}


_IN_PLACE = "takes a file whose beginning changes for the same one that goes on, unless it was seen smaller"


def describe(rule: Rule) -> list[str]:
    """One sentence a line."""
    takes = ", ".join(rule.include) + (f", but not {', '.join(rule.exclude)}" if rule.exclude else "")
    return [
        f"watches {rule.watch} for {takes}",
        *([_dataset(rule)] if rule.whole else []),
        *([_since(rule)] if rule.newer_than is not None else []),
        _complete(rule.complete, "a file as settled" if rule.whole else "a file as complete"),
        *_whole(rule.complete),
        _batch(rule.batch),
        *(
            f"delivers each batch to {target.to} as {target.path}{_BACKFILL[target.backfill]}{_renamed(target)}"
            for target in rule.deliver
        ),
        *_last(rule),
        *([_LINKS[rule.links]] if rule.links is not None else []),
        *([_IN_PLACE] if rule.updates_in_place else []),
        *(
            f"then, for each verified batch, {_action(action)}{_name(action)}"
            for action in (*rule.then, *rule.share_with)
        ),
        *([f"skips partial files of other programs: {WORDS}"] if rule.skip_partial else []),
        _reclaim(rule.reclaim),
    ]


def traps(rule: Rule) -> list[str]:
    """What may surprise in a rule, as notes."""
    return [
        f"to {target.to}, {target.path} may give one path to two files {why}; the second gets a name beside the first then"
        for target in rule.deliver
        if (why := may_meet(rule, target.path)) is not None
    ]


def _action(action: Action) -> str:
    match action:
        case Webhook(secret_file=secret, header=header):
            with_secret = f" with the header {header} from {secret}" if secret else ""
            return f"posts a CloudEvent to {action.shown}{with_secret}, again and again until the answer is 2xx"
        case Command(argv=argv, timeout=timeout):
            return (
                f"runs {shlex.join(argv)} with the event on its standard input, for {in_words(timeout)} at the most,"
                " again and again until its exit status is 0"
            )
        case Flow(flow=flow, body=body):
            return f"starts the Globus Flow {flow} with {'the event' if body is None else 'its `body`'} as its input"
        case Share():
            return f"lets {action.shown} read the batch's folders at the Globus destinations"


def _name(action: Action) -> str:
    return "" if isinstance(action, Share) or action.name is None else f", by the name {action.name}"


def _dataset(rule: Rule) -> str:
    if rule.dataset is None:
        return "takes each file as its own dataset"
    if rule.dataset.dir is not None:
        return f"takes each folder {rule.dataset.dir.pattern} with everything below it as one dataset"
    patterns = " or ".join(pattern.pattern for pattern in rule.dataset.group)
    return f"takes files that agree in the named groups of {patterns} as one dataset"


def _since(rule: Rule) -> str:
    what = "datasets whose files are all" if rule.whole else "files that are"
    return (
        f"of what is there when it first looks, leaves {what} older than {rule.newer_than} by every time they have:"
        " they are not delivered, and never called safe"
    )


def _whole(conditions: Conditions) -> list[str]:
    """What must be true of a dataset."""
    wants = [one.words for one in conditions.require]
    found = ["takes a dataset as complete when all its files have settled" + "".join(f", and {one}" for one in wants)]
    if conditions.require:
        late = "files that come or change afterwards travel as a supplement"
        forever = "what does not become complete is held until `dropline complete`"
        if conditions.patience is not None:
            forever = f"what has not changed for {in_words(conditions.patience)} goes all the same, marked incomplete"
        found += [forever, late]
    return found if conditions.require else []


def _complete(conditions: Conditions, what: str) -> str:
    seen, unseen = (in_words(quiet_seconds(conditions, writer)) for writer in (Writer.NONE, Writer.CANNOT_TELL))
    quiet = f"{seen} ({unseen} where open writers cannot be seen)"
    clause = f"takes {what} when no process has it open for writing and it has not changed for {quiet}"
    if conditions.marker:
        clause += f", and a file {conditions.marker!r} is beside it"
        clause += f" (waits {in_words(conditions.patience)} for that)" if conditions.patience is not None else ""
    return clause + (f", and it has {bytes_in_words(conditions.min_size)} or more" if conditions.min_size else "")


def _batch(sealing: Sealing) -> str:
    if sealing.by == "dataset" and not sealing.schedule:
        return "batches the files of a dataset, and of no other, together"
    by = {"dir": "of one directory", "dataset": "of one dataset", "capture": "with the same captured groups"}.get(
        sealing.by, f"with the same {sealing.by}"
    )
    if sealing.schedule:
        most = f"{sealing.max_files} files and {bytes_in_words(sealing.max_bytes)} at the most"
        return f"batches files {by}, {most}, sealed at {sealing.schedule!r}"
    if not sealing.linger:
        when = "as soon as they are complete"
    else:
        when = f"when none has joined for {in_words(sealing.linger)} or after {in_words(max_age(sealing))}"
    return f"batches files {by}, sealed {when}, at {sealing.max_files} files or at {bytes_in_words(sealing.max_bytes)}"


def _renamed(target: Target) -> str:
    if target.rename_invalid is None:
        return ""
    return f", with {target.rename_invalid!r} for characters that file systems of Windows refuse"


def _last(rule: Rule) -> list[str]:
    patterns = rule.complete.markers if rule.last is None else rule.last
    if rule.dataset is None or not patterns:
        return []
    what = f"delivers {', '.join(patterns)} of a dataset last, to each destination when all its other files are there"
    return [f"{what} (`dropline complete` sends them without a file that is refused)"]


def _reclaim(reclaim: Reclaim | None) -> str:
    if reclaim is None:
        return "keeps the local files for ever"
    does = []
    if reclaim.after is not None:
        into = (
            f"moves local files to the trash (for {in_words(reclaim.trash)})"
            if reclaim.trash
            else "deletes local files"
        )
        lain = f", once they have not changed for {in_words(reclaim.min_age)}" if reclaim.min_age else ""
        does.append(f"{into} {in_words(reclaim.after)} after they are proved at every destination{lain}")
    if reclaim.when_free_below is not None:
        space = f"less than {reclaim.when_free_below * 100:.3g}% of the disk is free"
        does.append(f"deletes the oldest proved local files, and none else, while {space}")
    if reclaim.empty_dirs:
        does.append("removes directories left empty and unused")
    return "; ".join(does)
