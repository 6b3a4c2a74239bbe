"""Live progress on a terminal."""

import threading
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agent.ledger import Ledger, State
from rules.text import printable
from rules.units import bytes_in_words

_COLUMNS = {
    "on the way": ("candidate", "complete", "batched"),
    "verified": ("verified", "reclaiming"),
    "reclaimed": ("reclaimed",),
    "removed by somebody else": ("removed",),
    "refused": ("refused",),
    "before the agent": ("ignored",),
}
"""Title → states that are counted below it."""


class Progress:
    """Shows the ledger's counts while the agent runs."""

    def __init__(self, ledger: str) -> None:
        self._ledger = Ledger(ledger)
        self._stop = threading.Event()
        self._live = Live(console=Console(stderr=True), auto_refresh=False)
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._live.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(2.0)
        self._live.update(self._picture(), refresh=True)
        self._live.stop()
        self._ledger.close()

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        for title in ("rule", *_COLUMNS):
            table.add_column(title, justify="left" if title == "rule" else "right")
        rows: dict[str, dict[str, tuple[int, int]]] = {}
        for rule, state, files, size in self._ledger.reports.tally():
            rows.setdefault(rule, {})[state] = files, size
        for rule, states in rows.items():
            table.add_row(
                rule, *(_count([states.get(state, (0, 0)) for state in group]) for group in _COLUMNS.values())
            )
        down = [
            Text(f"{name} is down: {printable(reason or '')}", "red")
            for name, _, up, reason in self._ledger.reports.destinations()
            if up is False
        ]
        refused = [
            Text(f"{printable(file.path)}: {printable(file.reason or '')}", "yellow")
            for file in self._ledger.reports.files([State.REFUSED], 5)
        ]
        return Group(table if rows else Text("waiting for files"), *down, *refused)


def _count(parts: list[tuple[int, int]]) -> str:
    files, size = sum(part[0] for part in parts), sum(part[1] for part in parts)
    return f"{files} ({bytes_in_words(size)})" if files else "-"
