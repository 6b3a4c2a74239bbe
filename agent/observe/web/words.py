"""Values as people read them, for the templates."""

import re
from os import fsencode
from urllib.parse import quote

from markupsafe import Markup, escape

from agent.host.zone import shown, stamp
from rules.text import printable

_SHORT = 12
CODE = (
    *(f"dropline {one}" for one in ("batches", "collections", "complete", "fetch", "files", "files --state refused")),
    *(f"dropline {one}" for one in ("login", "logout", "resume delivery", "retry", "send", "status")),
    *(
        "backfill = true",
        "body",
        "capture",
        "complete.quiet",
        "deliver",
        "hours",
        'links = "skip"',
        "login",
        "mounted = false",
        "mounted = true",
        "newer_than",
        "path",
        "rename_invalid",
        "tls",
        "to",
        "user",
    ),
    "globus task event-list",
)
"""What our own sentences have between backticks."""
_CODE = re.compile(f"`({'|'.join(CODE)})`")


def clock(at: float, now: float) -> str:
    """The time, with the date unless it is today's: "14:05", "23 Nov 14:05"."""
    when, today = shown(at), shown(now)
    same = when.date() == today.date()
    return (
        f"{when:%H:%M}"
        if same
        else f"{when.day} {when:%b %H:%M}"
        if when.year == today.year
        else f"{when:%Y-%m-%d %H:%M}"
    )


def count(number: int) -> str:
    """With separators: "1,234,567"."""
    return f"{number:,}"


def files(number: int) -> str:
    """ "1 file", "1,234 files"."""
    return "1 file" if number == 1 else f"{number:,} files"


def short(proof: str) -> str:
    """The beginning of a checksum: "sha256:8742ab01ff23…"."""
    kind, _, value = proof.partition(":")
    return proof if kind == "stat" or len(value) <= _SHORT else f"{kind}:{value[:_SHORT]}…"


def prose(text: str) -> Markup:
    """Text of our own with its `commands` as code; all of it escaped. Between backticks in a name, nothing is code."""
    parts = _CODE.split(printable(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def of_file(path: str) -> str:
    """Where a file's page is; its name may be any bytes."""
    return "/file?path=" + quote(fsencode(path), safe="/")


FILTERS = {
    "clock": clock, "stamp": stamp, "count": count, "files": files, "short": short, "prose": prose, "of_file": of_file,
}  # fmt: skip
"""Names of these in the templates."""
