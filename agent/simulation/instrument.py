"""An instrument that writes as real ones do: what the timelines of presets describe, done on a real disk."""

import os
import time
from io import FileIO
from pathlib import Path

from rules.config.preset import StepTable


class Instrument:
    """Plays the steps of a timeline in a directory. Files that it keeps open are really open, so leases tell."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, FileIO] = {}

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
            source, target = (self._root / name for name in step.rename)
            source.rename(target)
        elif step.remove is not None:
            (self._root / step.remove).unlink()
        elif step.many is not None:
            for number in range(step.count):
                self.play(step.model_copy(update={"write": step.many.replace("{}", str(number)), "many": None}))
        elif step.kill:
            self.close()

    def _write(self, name: str, step: StepTable) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        file = self._open[name] = path.open("wb", buffering=0)
        file.write(step.content)
        if step.hole:
            file.truncate(step.size)

    def _append(self, name: str, step: StepTable) -> None:
        kept = self._open.get(name)
        if kept is not None:
            kept.seek(0, os.SEEK_END)
            kept.write(step.content)
            return
        with (self._root / name).open("ab") as file:
            file.write(step.content)
        self._date(name, step)

    def _date(self, name: str, step: StepTable) -> None:
        if step.old is not None:
            then = time.time() - step.old
            os.utime(self._root / name, (then, then))

    def close(self) -> None:
        """The writing program ends or dies: its files are closed as they are."""
        for file in self._open.values():
            file.close()
        self._open.clear()
