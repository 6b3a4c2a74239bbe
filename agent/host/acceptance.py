"""What the acceptance program for Windows (tests/windows/acceptance.py) found on this computer."""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from agent.host import own_files

CYCLES: Final = 100_000
"""How often an instrument's program must have opened a file beside the agent."""
_AT_MOST: Final = 2**16
_UNSEEN: Final = (
    "deletion has not been seen on a real Windows, and {why}: `python -m tests.windows.acceptance` shows it"
)


@dataclass(frozen=True, slots=True)
class Result:
    """Of one run."""

    system: str
    at: float
    cycles: int
    wine: bool
    failed: list[str] = field(default_factory=list)
    """Checks that failed, or were left out."""

    @property
    def lacks(self) -> str | None:
        """Why it does not show that Dropline may delete files here; None: it does."""
        if self.wine:
            return "Wine is not Windows"
        if self.cycles < CYCLES:
            return f"the program ran {self.cycles} cycles of {CYCLES}"
        return f"a check failed or was left out: {self.failed[0]}" if self.failed else None


def place() -> PurePath:
    """Where the result is, for every user of this computer."""
    return PurePath(os.environ.get("PROGRAMDATA", "C:/ProgramData"), "dropline", "acceptance.json")


def unseen(platform: str = sys.platform, file: PurePath | None = None) -> str | None:
    """Why a rule that deletes local files is to be warned of on this computer; None: nothing is to be said."""
    if platform != "win32":
        return None
    try:
        text, _ = own_files.read_bounded(file or place(), _AT_MOST)
        why = Result(**json.loads(text)).lacks
    except (OSError, ValueError, TypeError):
        why = "no result is on this computer"
    return None if why is None else _UNSEEN.format(why=why)
