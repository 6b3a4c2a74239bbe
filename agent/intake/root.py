"""A watched directory tree, and how well it is known."""

import time
from dataclasses import dataclass, field

from agent.files.events import Hint
from agent.host.bulkhead import Failure
from agent.intake.scan import Walk
from agent.intake.watch import Watch
from rules.rule import Rule

MOST_WANTED = 5_000
"""Directories that are swept because events spoke of them. Beyond, the whole tree is."""
MOST_UNSEEN = 10_000
"""Directories that cannot be listed which are kept. Beyond, the number is the least there are."""


@dataclass(slots=True)
class Sweep:
    """A comparison of a tree, or of a part of it, with the ledger: taken up slice by slice."""

    of: Hint | None
    """The part; None: all of it."""
    walk: Walk | None
    """None: it is about what went away, nothing is to be listed."""
    counted: bool
    """What is new should have been announced by events."""
    began: float = field(default_factory=time.monotonic)
    """For the duration only."""
    unclaimed: int = 0
    example: str = ""
    unseen: dict[str, str] = field(default_factory=dict)
    """Directories that could not be listed, or not as a whole, with the reason."""
    by_name: list[tuple[str, str]] = field(default_factory=list)
    """Directories whose names are looked for one by one, and the last one that was."""
    known: list[str] | None = None
    """Directories that the ledger knows and that are still to be looked for; None before the walk has ended."""

    def not_seen(self, directory: str, why: "str | Failure") -> None:
        """A directory, or a name in it, was not seen."""
        if len(self.unseen) < MOST_UNSEEN:
            self.unseen[directory] = why if isinstance(why, str) else why.reason

    def close(self) -> None:
        """Leave off."""
        if self.walk is not None:
            self.walk.close()


@dataclass(slots=True)
class Root:
    """One watched directory tree with the rules that watch it or a part of it."""

    watch: Watch
    rules: tuple[Rule, ...]
    sweep: Sweep | None = None
    """The sweep of the whole tree under way."""
    why: str | None = "start"
    """Why it is to be swept next."""
    again_at: float | None = None
    """When sweeps go on after one that broke off: with one of the whole tree."""
    swept_at: float | None = None
    """When the last whole sweep ended."""
    sweep_seconds: float = 0.0
    found_by_sweep: dict[str, int] = field(default_factory=dict)
    """Files that a sweep other than the first one found, per rule: events had missed them."""
    unseen: dict[str, str] | None = None
    """Directories that cannot be listed, or not as a whole, with the reason; None before the first sweep has ended."""
    wanted: dict[Hint, bool] = field(default_factory=dict)
    """Directories to sweep at once; True: a dataset waits for it."""
    partial: Sweep | None = None
    """The sweep of one of them under way."""

    def want(self, part: Hint, *, needed: bool = False) -> None:
        """Sweep a part of the tree soon. `needed`: a dataset waits for it."""
        self.wanted[part] = needed or self.wanted.get(part, False)
        if len(self.wanted) > MOST_WANTED and not needed:
            self.wanted = {one: True for one, is_needed in self.wanted.items() if is_needed}
            self.why = self.why or f"more than {MOST_WANTED} directories changed"

    def wants(self, part: Hint) -> bool:
        """Whether the sweep of a part has not ended."""
        return part in self.wanted or (self.partial is not None and self.partial.of == part)

    def broke_off(self, sweep: Sweep, again_at: float | None) -> None:
        """A sweep failed, and what it had taken is given back: it begins again, from its beginning.

        `again_at`: when, and so does the whole; None: this part alone.
        """
        sweep.close()
        self.again_at = again_at or self.again_at
        if sweep.of is None:
            self.sweep = None
        else:
            self.partial = None
            self.wanted.setdefault(sweep.of, True)


__all__ = ["Root", "Sweep"]
