"""The kinds of failure the agent knows. Library errors are translated into them once, where they come in."""

import errno
from enum import Enum, auto

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What the operating system says where the agent or the computer has no descriptors or no memory left."""


class Whose(Enum):
    """What an error says something about."""

    FILE = auto()
    """This file or this name alone."""
    VOLUME = auto()
    """The file system that it is on: others there may fare alike."""
    AGENT = auto()
    """The agent itself: it says nothing of any file."""
    UNKNOWN = auto()


class Transient(Exception):
    """It may work later without anybody acting: retried with backoff. The message names the thing and the cause.

    `after`: seconds that the other side asked to wait, at least.
    """

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class Exhausted(Transient):
    """The agent or the computer has no descriptors, processes, memory or disk space left for the agent's own work.

    It says nothing of what was asked.
    """

    whose = Whose.AGENT


class LedgerError(Exception):
    """The ledger cannot be read or written now. It says nothing of what was to be read or written."""

    whose = Whose.AGENT


class LedgerDamaged(LedgerError):
    """The ledger's file is damaged. A person must move it away; the message says how."""


class Refused(Exception):
    """A person must act. `hint` says what to do; the message names the thing and the cause."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}; {hint}")
        self.reason = reason
        self.hint = hint

    def __reduce__(self) -> tuple[type["Refused"], tuple[str, str]]:
        """Worker processes send it to the agent."""
        return type(self), (self.reason, self.hint)


class CannotListen(Refused):
    """The address of the status page cannot be had."""


def is_agents(error: BaseException) -> bool:
    """Whether it is the agent's, the ledger's or the computer's own trouble: it says nothing of what was being handled."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in NO_ROOM):
        return True
    return getattr(error, "whose", None) is Whose.AGENT


def cause(error: OSError) -> str:
    """The operating system's words for an error, without Python's decoration."""
    return error.strerror or str(error)
