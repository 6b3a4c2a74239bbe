"""Messages to systemd: that the agent is ready, what it does, that it is alive, that it stops.

The protocol is one datagram of `KEY=value` lines to the socket in `NOTIFY_SOCKET` (sd_notify(3)). It is as short as what
a library for it would be called with; those that there are have not been released since 2017, or want libsystemd.
"""

import logging
import os
import socket
import time
from typing import IO


def ready() -> None:
    """The agent runs, with the configuration that it was last given."""
    tell(READY="1")


def reloading() -> None:
    """The configuration is read again; `ready` ends it."""
    tell(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))


def report(status: str, *, alive: bool) -> None:
    """How it goes; and, with `alive`, that the agent need not be restarted."""
    tell(STATUS=status, **({"WATCHDOG": "1"} if alive else {}))


def stopping() -> None:
    """The agent ends."""
    tell(STOPPING="1")


def ended(code: int, reason: str = "") -> None:
    """The process is about to end with this exit status, which is all that systemd asks for."""


def handlers() -> list[logging.Handler]:
    """Logs of the system, beside standard error: none, for the journal takes that."""
    return []


def tell(**facts: str) -> bool:
    """Send facts, such as READY="1", STATUS="at work". Returns whether somebody listens.

    A message that cannot be sent is dropped: the service manager then judges by silence, as it should.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    message = "\n".join(f"{key}={' '.join(value.split())}" for key, value in facts.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.setblocking(False)  # a manager that does not read must not hold up the agent
        try:
            # "@" stands for the abstract namespace, whose names begin with a zero byte.
            sender.sendto(message.encode("utf-8", "backslashreplace"), address.replace("@", "\0", 1))
        except OSError:
            return False
    return True


def is_journal(stream: IO[str]) -> bool:
    """Whether what is written there goes to the journal directly, which then reads priorities, see sd-daemon(3)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file of the system
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
