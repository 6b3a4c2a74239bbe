"""The system's own commands, run to their end."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from agent.errors import Refused, cause

_AT_MOST = 960.0
"""Seconds: starting a service waits until the agent is ready, for which the unit gives it 900."""


class Said(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str


class Run(Protocol):
    """Runs a command. Raises Refused where there is no such program, or it does not end."""

    def __call__(self, *words: str, user: str | None = None) -> Said: ...


def run(*words: str, user: str | None = None) -> Said:
    """Run a command, as another user where one is named (which only root may). Standard input and terminal are ours.

    Raises Refused.
    """
    program = shutil.which(words[0])
    if program is None:
        raise Refused(f"there is no {words[0]} here", "see docs/OPERATIONS.md for the systems that are supported")
    environment = dict(os.environ)
    other: dict[str, object] = {}
    if user is not None:
        other = {"user": user, "group": _group(user), "extra_groups": _groups(user), "cwd": "/"}
        environment |= {"HOME": os.path.expanduser(f"~{user}"), "USER": user, "LOGNAME": user}
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
            environment.pop(name, None)
    try:
        done = subprocess.run(  # type: ignore[call-overload]  # noqa: S603  (words of our own, no shell)
            [program, *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
            errors="replace", timeout=_AT_MOST, check=False, env=environment, **other,
        )  # fmt: skip
    except OSError as error:
        raise Refused(f"{words[0]} cannot be run: {cause(error)}", "mend that and try again") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"{' '.join(words)} did not end within {_AT_MOST:g} s", "mend that and try again") from None
    return Said(done.returncode, done.stdout.strip())


def must(run: Run, *words: str, hint: str = "mend that and try again") -> str:
    """What the command wrote. Raises Refused where it fails."""
    said = run(*words)
    if said.code:
        why = said.out or f"it ended with exit status {said.code}"
        raise Refused(f"{' '.join(words)}: {' '.join(why.split())}", hint)
    return said.out


def _group(user: str) -> int:
    import pwd  # Windows has none, and no services of this kind

    return pwd.getpwnam(user).pw_gid


def _groups(user: str) -> Sequence[int]:
    return os.getgrouplist(user, _group(user))
