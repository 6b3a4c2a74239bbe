"""Messages that wait in the ledger -> sent, at least once: one attempt at a time for each channel, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from agent.errors import Refused, Transient
from agent.ledger import Ledger, Notice
from rules.notice import message
from rules.notice.message import Message
from rules.retry import backoff

RETRY_AT_MOST = 900.0
"""Seconds between two attempts to send."""

log = logging.getLogger(__name__)


class Channel(Protocol):
    """A way to people."""

    @property
    def shown(self) -> str:
        """For people and logs, without secrets."""

    def send(self, message: Message, key: str) -> None:
        """Hand it over. `key`: the same for the same message. Raises Transient, Refused."""


class _Ended(NamedTuple):
    """What came of an attempt."""

    channel: str
    notices: Sequence[Notice]
    failure: Transient | Refused | None


class Dispatch:
    """A server that hangs holds up its own channel, and nothing else."""

    def __init__(
        self,
        ledger: Ledger,
        channels: Mapping[str, Channel],
        count: Callable[[str, str], None],
        wake: Callable[[], None],
    ) -> None:
        """See `agent.actions.notify.Notifier`."""
        self._ledger = ledger
        self._channels = channels
        self._count = count
        self._wake = wake
        self._agent = ledger.agent
        self._complaints: dict[str, str] = {}
        """Channel → why it does not work, as the log says already."""
        self._under_way: set[str] = set()
        self._ended: SimpleQueue[_Ended] = SimpleQueue()

    def send(self, now: float) -> list[float]:
        """Begin what is due, one attempt at a time for each channel. Returns when more will be."""
        later: list[float] = []
        for name in self._channels.keys() - self._under_way:
            notices = self._ledger.notices.waiting(name)
            due = min((one.again for one in notices), default=None)
            if due is not None and due <= now:
                thread = threading.Thread(
                    target=self._attempt, args=(name, notices), name=f"notify {name}", daemon=True
                )
                thread.start()  # raises where the computer has no room for another
                self._under_way.add(name)
            elif due is not None:
                later.append(due)
        return later

    def _attempt(self, name: str, notices: Sequence[Notice]) -> None:
        failure: Transient | Refused | None = None
        last = notices[-1]
        key = f"{self._agent}-{last.id}-{int(last.made_at * 1000)}"
        try:
            self._channels[name].send(message.together([one.message for one in notices]), key)
        except (Transient, Refused) as error:
            failure = error
        except Exception as error:
            log.exception("sending by %s failed unexpectedly; it will be tried again", name)
            failure = Transient(f"{type(error).__name__}: {error}")
        self._ended.put(_Ended(name, notices, failure))
        self._wake()

    def wait(self, seconds: float) -> None:
        """Wait for the attempts under way."""
        deadline = time.monotonic() + seconds
        ended: list[_Ended] = []
        while len(ended) < len(self._under_way) and (left := deadline - time.monotonic()) > 0:
            try:
                ended.append(self._ended.get(timeout=left))
            except Empty:
                break
        for one in ended:
            self._ended.put(one)

    def settle(self, now: float) -> None:
        """Write down what came of attempts. A pass that fails here leaves them under way, to be written by the next."""
        ended: list[_Ended] = []
        while True:
            try:
                ended.append(self._ended.get_nowait())
            except Empty:
                break
        if not ended:
            return
        try:
            with self._ledger.transaction():
                for one in ended:
                    self._write(one, now)
        except BaseException:
            for one in ended:
                self._ended.put(one)
            raise
        for one in ended:
            self._under_way.discard(one.channel)
            self._tell(one)

    def _write(self, one: _Ended, now: float) -> None:
        if one.failure is None:
            self._ledger.notices.sent(one.notices)
            return
        attempt = 1 + max(notice.attempt for notice in one.notices)
        after = one.failure.after if isinstance(one.failure, Transient) else 0.0
        again = now + max(backoff(attempt, RETRY_AT_MOST), after)
        self._ledger.notices.failed(one.notices, str(one.failure), again)

    def _tell(self, one: _Ended) -> None:
        self._count(one.channel, "sent" if one.failure is None else "failed")
        count = len(one.notices)
        what = (
            f"{count} {'message' if count == 1 else 'messages'} by {one.channel} to {self._channels[one.channel].shown}"
        )
        if one.failure is None:
            self._complaints.pop(one.channel, None)
            log.info("sent %s", what)
        elif self._complaints.get(one.channel) != str(one.failure):
            self._complaints[one.channel] = str(one.failure)
            log.warning("sending %s failed and will be tried again: %s", what, one.failure)
