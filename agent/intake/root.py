"""A watched directory tree, and how well it is known."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.intake.scan import Listing
from agent.intake.watch import Watch
from rules.model import Rule


@dataclass(slots=True)
class Root:
    """One watched directory tree with the rules that watch it or a part of it."""

    watch: Watch
    rules: tuple[Rule, ...]
    walk: Iterator[Listing] | None = None
    """The sweep under way."""
    why: str | None = "start"
    """Why it is to be swept next."""
    walk_began: float = 0.0
    """By the monotonic clock: for the duration only."""
    walk_mark: int = 0
    """What `watch.writing` was at when the sweep began."""
    swept_at: float | None = None
    """When the last whole sweep ended."""
    sweep_seconds: float = 0.0
    found_by_sweep: dict[str, int] = field(default_factory=dict)
    """Files that a sweep other than the first one found, per rule: events had missed them."""
    unclaimed: int = 0
    example: str = ""
    parts: deque[str] = field(default_factory=deque)
    """Sub-directories to sweep at once."""
    places: set[str] = field(default_factory=set)
    """Directories to list at once, without what is below them."""
