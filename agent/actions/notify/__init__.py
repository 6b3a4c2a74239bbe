"""Tells people: reads how things stand, asks `rules.notice` what to say, and has it sent by each channel."""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from agent.actions import Queue
from agent.host.bulkhead import Bulkhead
from agent.ledger import MESSAGES, UNFINISHED, UNPROVED, File, Key, Ledger, Queued, State
from rules import notice
from rules.links import leads_out_in_words
from rules.notice import GATHER, NotificationState, Policy, message
from rules.notice.message import LISTED, Digest, LeadingOut, Message, Part, RefusedFile
from rules.text import printable

_REFUSED = "refused"
_DIGEST = "digest"
_TOGETHER = 50
"""Messages that are sent as one at the most, after a channel did not work."""

log = logging.getLogger(__name__)


class Channel(Protocol):
    """A way to people."""

    @property
    def shown(self) -> str:
        """For people and logs, without secrets."""

    def send(self, message: Message, key: str) -> None:
        """Hand it over. `key`: the same for the same message. Raises Transient, Refused."""


def queues(channels: Mapping[str, Channel], agent: str, count: Callable[[str, str], None]) -> dict[Key, Queue]:
    """Of the messages for all channels.

    Args:
        channels: name -> how it is sent.
        agent: the agent's id.
        count: counts attempts: (channel, `sent` or `failed`).
    """

    def queue(name: str, channel: Channel) -> Queue:
        def send(items: Sequence[Queued]) -> None:
            last = items[-1]
            try:
                channel.send(
                    message.together([Message(*json.loads(one.payload)) for one in items]),
                    f"{agent}-{last.id}-{int(last.made_at * 1000)}",
                )
            except Exception:
                count(name, "failed")
                raise
            count(name, "sent")

        def describe(items: Sequence[Queued]) -> str:
            return f"{len(items)} message{'s' * (len(items) > 1)} by {name} to {channel.shown}"

        return Queue(send, describe, _TOGETHER)

    return {(MESSAGES, name): queue(name, channel) for name, channel in channels.items()}


class Notifier:
    """Says things once."""

    def __init__(
        self, ledger: Ledger, policy: Policy, channels: Sequence[str], destinations: Mapping[str, str], host: str, page: str,
        wake: Callable[[], None], asking: Collection[str] = (),
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            policy: which messages are sent, and how often.
            channels: their names; without any nothing is said, and nothing remembered.
            destinations: name → address, as configured.
            host: this computer's name, for people.
            page: address of the status page; "" where there is none.
            wake: called when a message waits to be sent.
            asking: rules that do not say what becomes of symbolic links.
        """
        self._ledger = ledger
        self._policy = policy
        self._channels = channels
        self._destinations = destinations
        self._host = printable(host)
        self._page = page
        self._wake = wake
        self._asking = asking
        self._noticed_at: float | None = None
        """When the first of the refused files was noticed that was in no message yet."""
        self._speak_at = 0.0
        """Before that nothing is said of destinations."""
        self._noticing = Bulkhead[str]("news of destination", str, ledger.savepoint)
        self._listing = Bulkhead[File]("news of", lambda file: file.path)

    def start(self, now: float) -> None:
        """Before the first pass. What the ledger says of destinations is of a former run until they were looked at."""
        self._speak_at = now + GATHER
        with self._ledger.transaction():
            self._ledger.notices.refusals_forgotten(now)

    def step(self, now: float) -> float | None:
        """One whole pass: say what is to be said. Returns when the next is due."""
        return self._say(self._policy, now) if self._channels else None

    def conclude(self, now: float) -> None:
        """Send what is true now: nothing changes any more until a person acts."""
        self._speak_at = now
        if self._channels:
            self._say(self._policy.without_waiting, now)

    # What to say

    def _say(self, policy: Policy, now: float) -> float | None:
        """Enter what is to be said now. Returns when time alone changes that."""
        with self._ledger.transaction():
            known = self._ledger.notices.notification_states()
            parts, again = self._of_destinations(policy, known, now)
            refused, later = self._of_refusals(policy, known.get(_REFUSED), now)
            told = [*refused, *parts]
            digest, morning = self._of_digest(policy, known.get(_DIGEST), now)
            messages = [message.compose(self._host, one, self._page) for one in (told, digest) if one]
            self._ledger.outbox.enqueued(
                [((MESSAGES, name), None, json.dumps(one).encode()) for one in messages for name in self._channels], now
            )
        if messages:
            self._wake()
        for part in told:
            log.info("message: %s", part.headline)
        return min((at for at in (*again, later, morning) if at is not None), default=None)

    def _of_destinations(
        self, policy: Policy, known: Mapping[str, NotificationState], now: float
    ) -> tuple[list[Part], list[float | None]]:
        parts: list[Part] = []
        again: list[float | None] = []
        places = {(name, address): (up, why) for name, address, up, why in self._ledger.reports.destinations()}
        refusing = set(self._ledger.reports.refusing())
        waiting: dict[str, int] = {}
        for name, state, count in self._ledger.reports.deliveries():
            waiting[name] = waiting.get(name, 0) + (count if state in UNFINISHED else 0)
        wanted = self._destinations if "down" in policy.events else {}
        for one in self._noticing.each(wanted, now, lambda _, failure: again.append(failure.again)):
            with one as name:
                address = wanted[name]
                up, why = places.get((name, address), (None, None))
                thing, before = f"destination {name}", known.get(f"destination {name}")
                word = notice.destination(policy, up, (name, address) in refusing, before, now, self._speak_at)
                if word.notification_state != before:
                    self._ledger.notices.noted_state(thing, word.notification_state)
                shown, left = printable(address), waiting.get(name, 0)
                if word.event == "recovered" and word.event in policy.events:
                    since = None if before is None else before.since
                    parts.append(message.recovered(name, shown, since, left, now))
                elif word.event in policy.events and word.notification_state is not None:
                    since = word.notification_state.since or now
                    reason, acute = printable(why or "not known"), word.notification_state.acute
                    parts.append(message.down(name, shown, since, reason, left, policy.zone, acute=acute))
                again.append(word.again_at)
        for thing in known.keys() - {f"destination {name}" for name in wanted} - {_REFUSED, _DIGEST}:
            self._ledger.notices.noted_state(thing, None)  # nobody wants to hear of it any more
        return parts, again

    def _of_refusals(
        self, policy: Policy, known: NotificationState | None, now: float
    ) -> tuple[list[Part], float | None]:
        wanted = _REFUSED in policy.events
        count, files = self._ledger.notices.news(LISTED) if wanted else (0, [])
        groups, links = self._ledger.links.news(self._asking, LISTED) if wanted else (0, [])
        if not count + groups:
            self._noticed_at = None
            return [], None
        self._noticed_at = now if self._noticed_at is None else self._noticed_at
        verdict = notice.refusals(policy, count + groups, self._noticed_at, known.told_at if known else None, now)
        if not verdict.ok:
            return [], verdict.again_at
        self._noticed_at = None
        self._ledger.notices.refusals_forgotten(now)
        self._ledger.notices.refusals_told(now)
        self._ledger.links.outside_told(self._asking)
        self._ledger.notices.noted_state(_REFUSED, NotificationState(told_at=now))
        listed: list[RefusedFile] = []
        for one in self._listing.each(files):
            with one as file:
                listed.append(RefusedFile(printable(file.path), file.rule, printable(file.reason or "")))
        leading = [
            LeadingOut(
                printable(one.dataset if one.dataset is not None else one.directory or ""), one.rule, one.links,
                tuple(map(printable, one.examples)), leads_out_in_words(one.rule),
            )
            for one in links
        ]  # fmt: skip
        parts = [message.refused(count, listed)] if count else []
        return [*parts, *([message.links_lead_out(groups, leading)] if groups else [])], None

    def _of_digest(
        self, policy: Policy, known: NotificationState | None, now: float
    ) -> tuple[list[Part], float | None]:
        last = known.told_at if known else None
        verdict = notice.digest(policy, last, now)
        if policy.digest is None or (last is not None and not verdict.ok):
            return [], verdict.again_at
        self._ledger.notices.noted_state(_DIGEST, NotificationState(told_at=now))
        if last is None:
            return [], verdict.again_at
        return [message.digest(self._digest(last), now, policy.zone)], None

    def _digest(self, since: float) -> Digest:
        backlog: dict[str, tuple[int, int]] = {}
        refused = 0
        for rule, state, files, size in self._ledger.reports.tally():
            if state in UNPROVED:
                held = backlog.get(rule, (0, 0))
                backlog[rule] = held[0] + files, held[1] + size
            elif state == State.REFUSED.value:
                refused += files
        return Digest(
            since=since,
            verified=self._ledger.notices.verified_since(since),
            backlog=backlog,
            oldest=self._ledger.reports.oldest_unverified(),
            refused=refused,
            down=[
                (name, printable(why or "not known"))
                for name, address, up, why in self._ledger.reports.destinations()
                if up is False and self._destinations.get(name) == address
            ],
            undone=sum(one.failed for one in self._ledger.outbox.actions()),
        )
