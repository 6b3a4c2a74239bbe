"""Messages to people: each names the thing, the cause and the next step.

Names of files, and causes with such names in them, stand on lines of their own, indented: somebody else chose their letters.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from html import escape
from typing import NamedTuple

from rules.units import bytes_in_words, in_words

LISTED = 20
"""Refused files that one message lists at the most."""
_LONGEST = 12_000
"""Characters of a body: chat systems cut, or refuse, longer ones (Mattermost takes 16,383)."""
_LONGEST_LINE = 1000
_OTHERS = "    "
"""Begins a line with text that others chose."""


class Message(NamedTuple):
    """What is sent."""

    subject: str
    body: str


class Part(NamedTuple):
    """What is said of one thing."""

    headline: str
    text: str


class RefusedFile(NamedTuple):
    """A file for which a person must act. All text is on one line and printable."""

    path: str
    rule: str
    reason: str
    """With what to do."""


class LeadingOut(NamedTuple):
    """Links of a dataset or folder that lead to what no rule delivers. All text is on one line and printable."""

    where: str
    rule: str
    links: int
    examples: tuple[str, ...]
    reason: str
    """With what to do."""


class Digest(NamedTuple):
    """How things stand, for the digest."""

    since: float
    """Of what was verified."""
    verified: Mapping[str, tuple[int, int]]
    """Rule → (files, bytes) since then."""
    backlog: Mapping[str, tuple[int, int]]
    """Rule → (files, bytes) that are not verified yet."""
    oldest: Mapping[str, float]
    """Rule → when the oldest of them was first seen."""
    refused: int
    down: Sequence[tuple[str, str]]
    """(destination, reason)"""
    undone: int
    """Actions for verified batches that failed and are tried again."""


def refused(files: int, listed: Sequence[RefusedFile]) -> Part:
    """Files were refused; `listed` are some of them."""
    lines = [f"{_files(files)} {'was' if files == 1 else 'were'} refused: each waits until you act."]
    for one in listed:
        lines += ["", f"{_OTHERS}{one.path} (rule {one.rule})", f"{_OTHERS}{one.reason}"]
    if files > len(listed):
        lines += ["", f"... and {files - len(listed)} more"]
    lines += ["", "All of them: `dropline files --state refused`. When the cause is gone: `dropline retry`."]
    return Part(f"{_files(files)} refused", "\n".join(lines))


def links_lead_out(groups: int, listed: Sequence[LeadingOut]) -> Part:
    """Symbolic links lead to what no rule delivers, in so many datasets and folders; `listed` are some of them."""
    where = "1 dataset or folder" if groups == 1 else f"{groups} datasets and folders"
    lines = [
        f"{where} {'has' if groups == 1 else 'have'} links to what no rule delivers: it stays behind until you act."
    ]
    for one in listed:
        lines += ["", f"{_OTHERS}{one.where} (rule {one.rule})", f"{_OTHERS}{one.reason}"]
        lines += [f"{_OTHERS}{example}" for example in one.examples]
        if one.links > len(one.examples):
            lines.append(f"... and {one.links - len(one.examples)} more there")
    if groups > len(listed):
        lines += ["", f"... and {groups - len(listed)} more"]
    return Part(f"links in {where} lead to what is not delivered", "\n".join(lines))


def down(name: str, address: str, since: float, reason: str, waiting: int, zone: tzinfo, *, acute: bool) -> Part:
    """A destination takes no files; `acute`: until a person acts. `zone`: by whose clock people read times."""
    if acute:
        headline, then = f"destination {name} waits for you", "It continues within seconds after that."
    else:
        headline = f"destination {name} is down"
        then = "It is looked at again every minute or sooner, and continues when the cause is gone."
    lines = [
        f"Destination {name} ({address}) takes no files since {when(since, zone)}.",
        "",
        "Cause:",
        f"{_OTHERS}{reason}",
        f"Next: remove the cause. {then}",
        f"Meanwhile nothing is written there, and no local file that needs it is deleted; {_deliveries(waiting)} waiting.",
    ]
    return Part(headline, "\n".join(lines))


def recovered(name: str, address: str, since: float | None, waiting: int, now: float) -> Part:
    """A destination that was told as down takes files again."""
    after = "" if since is None else f" after {in_words(max(now - since, 0.0))}"
    then = f"; {_deliveries(waiting)} on the way there" if waiting else ""
    text = f"Destination {name} ({address}) takes files again{after}{then}."
    return Part(f"destination {name} is up again", text)


def digest(summary: Digest, now: float, zone: tzinfo) -> Part:
    """How things stand. `zone`: by whose clock people read times."""
    files, size = (sum(column) for column in zip(*summary.verified.values(), (0, 0), strict=True))
    waiting, _ = (sum(column) for column in zip(*summary.backlog.values(), (0, 0), strict=True))
    lines = [
        f"Since {when(summary.since, zone)}: {_files(files)} ({bytes_in_words(size)}) verified at every destination.",
        "",
    ]
    for rule in sorted({*summary.verified, *summary.backlog}):
        done, held = summary.verified.get(rule, (0, 0)), summary.backlog.get(rule, (0, 0))
        line = f"rule {rule}: {_files(done[0])} ({bytes_in_words(done[1])}) verified, "
        line += f"{_files(held[0])} ({bytes_in_words(held[1])}) on the way"
        if held[0] and rule in summary.oldest:
            line += f", the oldest for {in_words(max(now - summary.oldest[rule], 0.0))}"
        lines.append(line)
    trouble = [f"destination {name} is down:\n{_OTHERS}{reason}" for name, reason in summary.down]
    if summary.refused:
        trouble.append(f"{_files(summary.refused)} refused: `dropline files --state refused` says what to do")
    if summary.undone:
        trouble.append(f"{summary.undone} actions for verified batches failed and are tried again: `dropline status`")
    lines += ["", *trouble] if trouble else ["", "Nothing waits for you."]
    state = f"{len(trouble)} to look at" if trouble else "all is well"
    return Part(f"{state}: {_files(files)} verified, {waiting} on the way", "\n".join(lines))


def compose(host: str, parts: Sequence[Part], page: str) -> Message:
    """One message of what is said at once. `page`: address of the status page; "" where there is none."""
    shown = parts[0].headline if len(parts) == 1 else f"{parts[0].headline}; {len(parts) - 1} more"
    if len(parts) == 2:
        shown = f"{parts[0].headline}; {parts[1].headline}"
    foot = f"Dropline on {host}. `dropline status` says how things stand" + (
        f", and so does {page} there." if page else "."
    )
    return Message(f"[dropline {host}] {shown}", "\n\n----\n\n".join([*(part.text for part in parts), foot]))


def trial(host: str) -> Message:
    """What a person sends to see that it arrives."""
    text = "This is a test: messages come here when Dropline needs a person."
    return compose(host, [Part("this is a test", text)], "")


def together(messages: Sequence[Message]) -> Message:
    """What waited for a channel that did not work, oldest first, as one message: the last ones, if they are too many."""
    last = messages[-1]
    if len(messages) == 1:
        return last
    bodies: list[str] = []
    for one in reversed(messages):
        if bodies and sum(map(len, bodies)) + len(one.body) > _LONGEST:
            bodies.append(f"{len(messages) - len(bodies)} earlier messages are left out.")
            break
        bodies.append(f"{one.subject}\n\n{one.body}")
    return Message(f"{last.subject} (and {len(messages) - 1} before)", "\n\n====\n\n".join(reversed(bodies)))


def in_chat(message: Message) -> str:
    """Both in one text, cut where chat systems would.

    What others chose is code there, so that a name makes no link and calls nobody. Slack reads `<...>` in code, too, and
    wants &, < and > escaped: https://docs.slack.dev/messaging/formatting-message-text
    """
    shown: list[str] = []
    left = _LONGEST
    for line in f"{message.subject}\n\n{message.body}".split("\n"):
        others = line.startswith(_OTHERS)
        plain = escape(line.strip()[:_LONGEST_LINE].replace("`", "'") if others else line, quote=False)
        shown.append(f"`{plain}`" if others else plain)
        left -= len(shown[-1]) + 1
        if left < 0:
            return "\n".join([*shown[:-1], "..."])
    return "\n".join(shown)


def when(at: float, zone: tzinfo) -> str:
    """A time for people, with its offset, which tells an hour that comes twice."""
    return datetime.fromtimestamp(at, zone).isoformat(sep=" ", timespec="seconds")


def _deliveries(count: int) -> str:
    return "1 delivery is" if count == 1 else f"{count} deliveries are"


def _files(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"
