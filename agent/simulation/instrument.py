"""An instrument that writes as real ones do: what the timelines of presets describe, done on a disk or in memory."""

from collections.abc import Callable
from typing import Protocol

from agent.simulation.memory import Storage
from rules.config.preset import StepTable


class Pen(Protocol):
    """A file that the instrument has open for writing."""

    def write(self, data: bytes, /) -> object:
        """Write at the end."""

    def set_size(self, size: int) -> object:
        """Lengthen it by a hole."""

    def close(self) -> object:
        """Be done with it."""


class Desk(Protocol):
    """Where the instrument writes; names are relative."""

    def open(self, name: str, *, truncate: bool) -> Pen:
        """Open a file, made with its directories where it is missing; `truncate`: cut it off."""

    def rename(self, source: str, target: str) -> object:
        """Rename."""

    def remove(self, name: str) -> object:
        """Remove a file."""

    def date_back(self, name: str, seconds: float) -> object:
        """Set the mtime so many seconds back."""


class Instrument:
    """Plays the steps of a timeline. Files that it keeps open are really open, so the agent can see their writer."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._open: dict[str, Pen] = {}

    def play(self, step: StepTable) -> None:
        """Do what a step says; what a step expects, and what a person does, is not the instrument's business."""
        if step.write is not None:
            self._write(step.write, step)
            self._open.pop(step.write).close()
            self._date(step.write, step)
        elif step.open is not None:
            self._write(step.open, step)
        elif step.append is not None:
            self._append(step.append, step)
        elif step.close is not None:
            self._open.pop(step.close).close()
        elif step.rename is not None:
            self._desk.rename(*step.rename)
        elif step.remove is not None:
            self._desk.remove(step.remove)
        elif step.many is not None:
            for number in range(step.count):
                self.play(step.model_copy(update={"write": step.many.replace("{}", str(number)), "many": None}))
        elif step.kill:
            self.close()

    def _write(self, name: str, step: StepTable) -> None:
        pen = self._open[name] = self._desk.open(name, truncate=True)
        pen.write(step.content)
        if step.hole:
            assert step.size is not None, "a hole reaches up to it"
            pen.set_size(step.size)

    def _append(self, name: str, step: StepTable) -> None:
        kept = self._open.get(name)
        if kept is not None:
            kept.write(step.content)
            return
        pen = self._desk.open(name, truncate=False)
        pen.write(step.content)
        pen.close()
        self._date(name, step)

    def _date(self, name: str, step: StepTable) -> None:
        if step.old is not None:
            self._desk.date_back(name, step.old)

    def close(self) -> None:
        """The writing program ends or dies: its files are closed as they are."""
        for pen in self._open.values():
            pen.close()
        self._open.clear()


class Memory:
    """A directory of a computer in memory."""

    def __init__(self, storage: Storage, root: str, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._root = root
        self._clock = clock

    def open(self, name: str, *, truncate: bool) -> Pen:
        """See `Desk`."""
        return self._storage.open(f"{self._root}/{name}", truncate=truncate)

    def rename(self, source: str, target: str) -> None:
        """See `Desk`."""
        self._storage.rename(f"{self._root}/{source}", f"{self._root}/{target}")

    def remove(self, name: str) -> None:
        """See `Desk`."""
        self._storage.remove(f"{self._root}/{name}")

    def date_back(self, name: str, seconds: float) -> None:
        """See `Desk`."""
        self._storage.set_mtime(f"{self._root}/{name}", round((self._clock() - seconds) * 1e9))
