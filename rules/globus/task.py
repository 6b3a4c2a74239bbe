"""What a Globus transfer task is doing, in words, and when to look at it again.

Codes and states: https://docs.globus.org/api/transfer/task/ and /task_events/. Not all of them are documented; what is
not known here is shown as it came.
"""

from enum import Enum
from typing import NamedTuple

FIRST_LOOK, LAST_LOOK = 0.5, 60.0
"""Seconds between two looks at a task that was just begun, and at an old one."""
_HELD = {
    "GC_NOT_CONNECTED": ("a Globus Connect Personal is not connected", "start it on the computer of that collection"),
    "GC_PAUSED": ("a Globus Connect Personal is paused", "unpause it on the computer of that collection"),
    "PAUSED": ("the administrator of a collection paused it", "ask the administrator, who was shown as well"),
    "QUOTA_EXCEEDED": ("the quota at the destination is used up", "make room there"),
    "NO_SPACE_LEFT": ("the destination is full", "make room there"),
    "CONNECT_FAILED": ("a collection's server cannot be reached", "nothing to do here unless it lasts"),
    "CONNECTION_BROKEN": ("the connection breaks", "nothing to do here unless it lasts"),
    "CONNECTION_RESET": ("the connection breaks", "nothing to do here unless it lasts"),
    "ENDPOINT_ERROR": ("a collection's server has an error", "tell its administrator if it lasts"),
    "ENDPOINT_TOO_BUSY": ("a collection's server is too busy", "nothing to do here unless it lasts"),
    "TIMEOUT": ("a collection's server does not answer in time", "nothing to do here unless it lasts"),
    "AUTH": ("a collection does not accept the login", "`dropline login`, or ask its administrator"),
    "PERMISSION_DENIED": ("permission is denied", "ask for read access at the source and write access at the destination"),
}  # fmt: skip
_ABOUT_FILES = {
    "FILE_NOT_FOUND", "PERMISSION_DENIED", "FILE_SIZE_CHANGED", "VERIFY_CHECKSUM", "EXTERNAL_CHECKSUM_MISMATCH",
    "IS_A_DIRECTORY", "IS_A_FILE", "NOT_A_DIRECTORY", "NOT_A_FILE", "INVALID_PATH_NAME", "INVALID_SYMLINK",
    "AMBIGUOUS_PATH", "FILE_ACCESS",
}  # fmt: skip
"""Errors that single files may be the cause of."""
FILE_ERRORS = {
    "PERMISSION_DENIED": "permission is denied",
    "IS_A_DIRECTORY": "a directory has this name there",
    "NOT_A_DIRECTORY": "a part of the path is not a directory there",
    "INVALID_PATH_NAME": "the destination does not take the name",
    "NOT_A_FILE": "what has this name there is not a file",
}
"""Errors that a person must mend, of one file alone."""


class Stage(Enum):
    """Where a task stands."""

    MOVING = "moving"
    HELD = "held up"
    """By something that none of its files causes: it continues when that is over."""
    STUCK = "stuck"
    """Perhaps on single files: they are to be looked at."""
    SUSPENDED = "suspended"
    """It will not continue."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Reading(NamedTuple):
    """What a task is doing, and why, for a person to read."""

    stage: Stage
    reason: str = ""


def read(status: str, nice_status: str | None, fatal: str | None, *, paused: bool) -> Reading:
    """What the fields of a task document say.

    Args:
        status: ACTIVE, INACTIVE, SUCCEEDED or FAILED.
        nice_status: OK, Queued, or the code of the last error; None once it has ended.
        fatal: code of the error that ended it.
        paused: a pause rule holds it.
    """
    code = nice_status or ""
    match status:
        case "SUCCEEDED":
            return Reading(Stage.SUCCEEDED)
        case "FAILED":
            ends = {"CANCELED": "it was cancelled", "EXPIRED": "its time was over before it was done"}
            return Reading(
                Stage.FAILED, ends.get(fatal or "", f"it failed: {in_words(fatal or 'for no stated reason')}")
            )
        case "INACTIVE":
            return Reading(Stage.SUSPENDED, "it was suspended because a credential expired")
    if paused:
        return Reading(Stage.HELD, _sentence("PAUSED"))
    if code in _ABOUT_FILES:
        return Reading(Stage.STUCK, _sentence(code))
    if code in ("", "OK", "Queued"):
        return Reading(Stage.MOVING)
    return Reading(Stage.HELD, _sentence(code))


def _sentence(code: str) -> str:
    what, hint = _HELD.get(code, (in_words(code), "`globus task event-list` or the web application tells more"))
    return f"{what}; {hint}"


def in_words(code: str) -> str:
    """`FILE_SIZE_CHANGED` as "file size changed"."""
    return code.replace("_", " ").lower() if code.isupper() else code


def next_look(begun_at: float, now: float) -> float:
    """When to look at a task again: soon while it is young, seldom when it takes long."""
    return now + min(max((now - begun_at) / 10, FIRST_LOOK), LAST_LOOK)
