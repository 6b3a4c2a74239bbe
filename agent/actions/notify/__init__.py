"""Tells people: reads how things stand, asks `rules.notice` what to say, and has it sent, at least once, by each channel."""

import logging
import time
from collections.abc import Callable, Mapping

from agent.actions.notify.dispatch import Channel, Dispatch
from agent.errors import LedgerError
from agent.ledger import UNPROVED, Ledger, State
from rules import notice
from rules.notice import GATHER, Policy, Remark, message
from rules.notice.message import LISTED, Part, RefusedFile, Summary
from rules.text import printable

_END_WITHIN = 2.0
"""Seconds for sending that is under way to end when the agent stops."""
_CONCLUDE_WITHIN = 60.0
"""Seconds that `run --once` gives to sending."""
_REFUSED = "refused"
_DIGEST = "digest"
_UNFINISHED = ("pending", "submitting", "active", "verifying", "failed")

log = logging.getLogger(__name__)


class Notifier:
    """Says things once."""

    def __init__(
        self, ledger: Ledger, policy: Policy, channels: Mapping[str, Channel], destinations: Mapping[str, str],
        host: str, page: str, count: Callable[[str, str], None], wake: Callable[[], None],
    ) -> None:  # fmt: skip
        """
        Args:
            ledger: this thread's connection.
            policy: what is told, and how often.
            channels: name → how it is sent; without any nothing is said, and nothing remembered.
            destinations: name → address, as configured.
            host: this computer's name, for people.
            page: address of the status page; "" where there is none.
            count: counts attempts: (channel, `sent` or `failed`).
            wake: called, from any thread, when an attempt ended.
        """
        self._ledger = ledger
        self._policy = policy
        self._channels = channels
        self._destinations = destinations
        self._host = printable(host)
        self._page = page
        self._dispatch = Dispatch(ledger, channels, count, wake)
        self._noticed_at: float | None = None
        """When the first of the refused files was noticed that nobody was told of yet."""
        self._speak_at = 0.0
        """Before that nothing is said of destinations."""

    def start(self, now: float) -> None:
        """Before the first pass. What the ledger says of destinations is of a former run until they were looked at."""
        self._speak_at = now + GATHER
        with self._ledger.transaction():
            self._ledger.notices.resumed(now)
            self._ledger.notices.refusals_forgotten(now)
            lost = self._ledger.notices.given_up(self._channels)
        if lost:
            log.warning("%d messages are not sent any more: [notify] does not have their channels now", lost)

    def step(self, now: float) -> float | None:
        """One whole pass: write down what ended, say what is to be said, begin to send what is due."""
        self._dispatch.settle(now)
        if not self._channels:
            return None
        again = [self._say(self._policy, now), *self._dispatch.send(now)]
        return min((at for at in again if at is not None), default=None)

    def conclude(self, now: float) -> None:
        """Say what stands now, for nothing changes by itself any more, and wait until it is sent or has failed."""
        if not self._channels:
            return
        self._speak_at = now
        self._say(self._policy.without_waiting, now)
        self._dispatch.send(now)
        self._dispatch.wait(_CONCLUDE_WITHIN)
        self._dispatch.settle(now)

    def close(self) -> None:
        """Give what is under way a moment to end. What has not ended by then is sent again by the next run."""
        self._dispatch.wait(_END_WITHIN)
        try:
            self._dispatch.settle(time.time())
        except LedgerError as error:
            log.warning("what came of the last messages is not written down, they are sent again: %s", error)

    # What to say

    def _say(self, policy: Policy, now: float) -> float | None:
        """Enter what is to be said now. Returns when time alone changes that."""
        with self._ledger.transaction():
            known = self._ledger.notices.remarks()
            parts, again = self._of_destinations(policy, known, now)
            refused, later = self._of_refusals(policy, known.get(_REFUSED), now)
            told = [*refused, *parts]
            if told:
                self._ledger.notices.entered(self._channels, message.compose(self._host, told, self._page), now)
            digest, morning = self._of_digest(policy, known.get(_DIGEST), now)
            if digest:
                self._ledger.notices.entered(self._channels, message.compose(self._host, digest, self._page), now)
        for part in told:
            log.info("people are told: %s", part.headline)
        return min((at for at in (*again, later, morning) if at is not None), default=None)

    def _of_destinations(
        self, policy: Policy, known: Mapping[str, Remark], now: float
    ) -> tuple[list[Part], list[float | None]]:
        parts: list[Part] = []
        again: list[float | None] = []
        places = {(name, address): (up, why) for name, address, up, why in self._ledger.reports.destinations()}
        refusing = set(self._ledger.reports.refusing())
        waiting: dict[str, int] = {}
        for name, state, count in self._ledger.reports.deliveries():
            waiting[name] = waiting.get(name, 0) + (count if state in _UNFINISHED else 0)
        wanted = self._destinations if "down" in policy.events else {}
        for name, address in wanted.items():
            up, why = places.get((name, address), (None, None))
            thing, before = f"destination {name}", known.get(f"destination {name}")
            word = notice.destination(policy, up, (name, address) in refusing, before, now, self._speak_at)
            again.append(word.again_at)
            if word.remark != before:
                self._ledger.notices.remarked(thing, word.remark)
            if word.event is None or word.event not in policy.events:
                continue
            shown, left = printable(address), waiting.get(name, 0)
            if word.event == "recovered":
                since = None if before is None else before.since
                parts.append(message.recovered(name, shown, since, left, now))
            elif word.remark is not None:
                since = word.remark.since or now
                reason, acute = printable(why or "not known"), word.remark.acute
                parts.append(message.down(name, shown, since, reason, left, acute=acute))
        for thing in known.keys() - {f"destination {name}" for name in wanted} - {_REFUSED, _DIGEST}:
            self._ledger.notices.remarked(thing, None)  # nobody wants to hear of it any more
        return parts, again

    def _of_refusals(self, policy: Policy, known: Remark | None, now: float) -> tuple[list[Part], float | None]:
        count, files = self._ledger.notices.news(LISTED) if _REFUSED in policy.events else (0, [])
        if not count:
            self._noticed_at = None
            return [], None
        self._noticed_at = now if self._noticed_at is None else self._noticed_at
        verdict = notice.refusals(policy, count, self._noticed_at, known.told_at if known else None, now)
        if not verdict.ok:
            return [], verdict.again_at
        self._noticed_at = None
        self._ledger.notices.refusals_forgotten(now)
        self._ledger.notices.refusals_told(now)
        self._ledger.notices.remarked(_REFUSED, Remark(told_at=now))
        listed = [RefusedFile(printable(file.path), file.rule, printable(file.reason or "")) for file in files]
        return [message.refused(count, listed)], None

    def _of_digest(self, policy: Policy, known: Remark | None, now: float) -> tuple[list[Part], float | None]:
        last = known.told_at if known else None
        verdict = notice.digest(policy, last, now)
        if policy.digest is None or (last is not None and not verdict.ok):
            return [], verdict.again_at
        self._ledger.notices.remarked(_DIGEST, Remark(told_at=now))
        if last is None:
            return [], verdict.again_at
        return [message.digest(self._summary(last), now)], None

    def _summary(self, since: float) -> Summary:
        backlog: dict[str, tuple[int, int]] = {}
        refused = 0
        for rule, state, files, size in self._ledger.reports.tally():
            if state in [one.value for one in UNPROVED]:
                held = backlog.get(rule, (0, 0))
                backlog[rule] = held[0] + files, held[1] + size
            elif state == State.REFUSED.value:
                refused += files
        return Summary(
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
            undone=sum(failed for _, _, _, failed, _, _ in self._ledger.outbox.waiting()),
        )
