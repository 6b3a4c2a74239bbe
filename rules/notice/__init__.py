"""Which messages are sent now, given the earlier ones: each thing once, and not too often."""

from datetime import UTC, tzinfo
from typing import NamedTuple

from rules.batch import next_time
from rules.model import Verdict

GATHER = 30.0
"""Seconds from the first refused file to the message: what is refused until then is in the same one."""


class Policy(NamedTuple):
    """Which messages are sent, and how often."""

    events: frozenset[str]
    """Of `refused`, `down`, `recovered`."""
    after: float
    """Seconds that a destination must have been down before a message: short interruptions are no news."""
    every: float
    """Seconds between two messages about the same destination going down, or about refused files."""
    digest: str | None = None
    """Cron expression; None: no digest."""
    gather: float = GATHER
    zone: tzinfo = UTC
    """By whose clock the digest is sent, and people read times."""

    @property
    def without_waiting(self) -> "Policy":
        """The same, where nothing will change any more until a person acts."""
        return self._replace(after=0.0, gather=0.0)


class NotificationState(NamedTuple):
    """What is remembered of a thing that messages are about."""

    since: float | None = None
    """Since when a destination is down; None while it is up."""
    told_at: float | None = None
    """When the last message said that it is bad."""
    standing: bool = False
    """They believe that it is down: a `recovered` is owed."""
    acute: bool = False
    """They know that it waits for a person."""


class Word(NamedTuple):
    """What to say of a destination, why, and what to remember."""

    event: str | None
    """`down`, `recovered`, or None: nothing."""
    reason: str
    notification_state: NotificationState | None
    """None: nothing is to be remembered."""
    again_at: float | None = None


def destination(
    policy: Policy, up: bool | None, refused: bool, known: NotificationState | None, now: float, speak_at: float = 0.0
) -> Word:
    """What to say of a destination.

    Args:
        policy: of the configuration.
        up: whether it takes files; None before the first look.
        refused: it is down until a person acts, so waiting does not help.
        known: what is remembered of it.
        now: seconds since the epoch.
        speak_at: nothing is said before: what is known may be of a former run.
    """
    known = known or NotificationState()
    if up is None:
        return Word(None, "it has not been looked at yet", known)
    if up:
        back = NotificationState(None, known.told_at)
        if known.standing and now < speak_at:
            return Word(None, "it was told as down, and may be up", known, speak_at)
        if known.standing:
            return Word("recovered", "it was told as down, and is up", back)
        if known.told_at is None or now >= known.told_at + policy.every:
            return Word(None, "it is up", None)
        return Word(None, "it is up; when it was last told as down is remembered", back, known.told_at + policy.every)
    since = now if known.since is None else known.since
    here = known._replace(since=since)
    if known.standing and (known.acute or not refused):
        return Word(None, "it was told as down, and still is", here)
    due = max(speak_at, since if refused else since + policy.after)
    if known.told_at is not None and not known.standing:
        due = max(due, known.told_at + policy.every)
    if now < due:
        return Word(None, "it is down, and not for long, or it was told as down not long ago", here, due)
    return Word(
        "down", "it waits for a person" if refused else "it is down", NotificationState(since, now, True, refused)
    )


def refusals(policy: Policy, files: int, noticed_at: float, told_at: float | None, now: float) -> Verdict:
    """Whether to tell of refused files.

    Args:
        policy: of the configuration.
        files: how many there are that were in no message.
        noticed_at: when the first of them was noticed.
        told_at: when refused files were last in a message.
        now: seconds since the epoch.
    """
    if not files:
        return Verdict(False, "every refused file was in a message")
    due = noticed_at + policy.gather
    if told_at is not None:
        due = max(due, told_at + policy.every)
    if now < due:
        return Verdict(False, "others may come that belong into the same message", due)
    return Verdict(True, f"{files} files were refused")


def digest(policy: Policy, last: float | None, now: float) -> Verdict:
    """Whether the digest is due. `last`: when it was last sent, or first thought of; None: never."""
    if policy.digest is None:
        return Verdict(False, "no digest is wanted")
    due = next_time(policy.digest, now if last is None else last, policy.zone)
    if last is None or now < due:
        return Verdict(False, "it is not time yet", due)
    return Verdict(True, f"its time was {due:.0f}")
