"""What a rule will do, in words, for `dropline check`."""

import shlex

from rules.actions import Action, Command, Flow, Share, Webhook
from rules.batch import max_age
from rules.complete import quiet_seconds
from rules.model import Conditions, Reclaim, Rule, Sealing, Writer
from rules.units import bytes_in_words, in_words


def describe(rule: Rule) -> list[str]:
    """One sentence a line."""
    takes = ", ".join(rule.include) + (f", but not {', '.join(rule.exclude)}" if rule.exclude else "")
    return [
        f"watches {rule.watch} for {takes}",
        _complete(rule.complete),
        _batch(rule.batch),
        *(f"delivers each batch to {target.to} as {target.path}" for target in rule.deliver),
        *(f"then, for each verified batch, {_action(action)}" for action in (*rule.then, *rule.share_with)),
        _reclaim(rule.reclaim),
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


def _complete(conditions: Conditions) -> str:
    seen, unseen = (in_words(quiet_seconds(conditions, writer)) for writer in (Writer.NONE, Writer.CANNOT_TELL))
    quiet = f"{seen} ({unseen} where open writers cannot be seen)"
    words = f"takes a file as complete when no process has it open for writing and it has not changed for {quiet}"
    if conditions.marker:
        words += f", and a file {conditions.marker!r} is beside it"
        words += f" (waits {in_words(conditions.patience)} for that)" if conditions.patience is not None else ""
    return words + (f", and it has {bytes_in_words(conditions.min_size)} or more" if conditions.min_size else "")


def _batch(sealing: Sealing) -> str:
    by = {"dir": "of one directory", "capture": "with the same captured groups"}.get(
        sealing.by, f"with the same {sealing.by}"
    )
    when = (
        f"at {sealing.schedule!r} (UTC)"
        if sealing.schedule
        else f"when none has joined for {in_words(sealing.linger)} or after {in_words(max_age(sealing))}"
    )
    return f"batches files {by}, sealed {when}, at {sealing.max_files} files or at {bytes_in_words(sealing.max_bytes)}"


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
        does.append(f"{into} {in_words(reclaim.after)} after they are proved at every destination")
    if reclaim.when_free_below is not None:
        space = f"less than {reclaim.when_free_below * 100:.3g}% of the disk is free"
        does.append(f"deletes the oldest proved local files, and none else, while {space}")
    if reclaim.empty_dirs:
        does.append("removes directories left empty")
    return "; ".join(does)
