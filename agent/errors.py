"""The two kinds of failure the agent knows. Library errors are translated into them once, where they come in."""


class Transient(Exception):
    """It may work later without anybody acting: retried with backoff. The message names the thing and the cause.

    `after`: seconds that the other side asked to wait, at least.
    """

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class Exhausted(Transient):
    """The agent or the computer has no descriptors, processes or memory left. It says nothing of what was asked."""


class Refused(Exception):
    """A person must act. `hint` says what to do; the message names the thing and the cause."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"{reason}; {hint}")
        self.reason = reason
        self.hint = hint

    def __reduce__(self) -> tuple[type["Refused"], tuple[str, str]]:
        """Worker processes send it to the agent."""
        return type(self), (self.reason, self.hint)


def cause(error: OSError) -> str:
    """The operating system's words for an error, without Python's decoration."""
    return error.strerror or str(error)
