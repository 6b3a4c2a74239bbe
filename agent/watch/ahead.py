"""A sweep of a large tree, the most of which a process of its own walks: it looks ahead while the agent compares.

A look at a file is a short system call and a little Python, and so is its comparison with the ledger: in threads of one
interpreter they would take turns.
"""

import pickle
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from typing import BinaryIO, Self

from agent import child
from agent.errors import Transient
from agent.watch.sweeps import Listing, walk

ALONE = 20_000
"""Directory entries that the agent looks at by itself: for fewer, no process is worth starting."""
_PIPE = 1 << 20
"""Bytes that the process may be ahead."""


class Ahead:
    """The listings of `sweep(top)`, in the same order; those of the process say that they were read ahead."""

    def __init__(self, top: str, alone: int = ALONE) -> None:
        """`alone`: after so many entries the process takes over."""
        self._top = top
        self._alone = alone
        self._process: subprocess.Popen[bytes] | None = None
        self._listings = self._sweep()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Listing:
        """The next listing. Raises Transient where the process died: what it did not list is not known."""
        return next(self._listings)

    def close(self) -> None:
        """Leave off. A thread that waits for a listing gets Transient."""
        if self._process is not None:
            self._process.kill()
        try:
            self._listings.close()
        except ValueError:
            pass  # that thread is in it, and ends it

    def _sweep(self) -> Generator[Listing]:
        waiting = [""]
        entries = 0
        for listing in walk(self._top, waiting):
            yield listing
            entries += len(listing.entries)
            if listing.last and entries >= self._alone:
                break
        if waiting:
            yield from self._elsewhere(waiting)

    def _elsewhere(self, waiting: list[str]) -> Generator[Listing]:
        try:
            process = self._process = subprocess.Popen(  # noqa: S603  (our own interpreter, no shell, no input of others)
                child.command("agent.watch.ahead"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=_PIPE
            )
        except OSError:
            yield from walk(self._top, waiting)  # no process to be had: it takes longer, that is all
            return
        assert process.stdin is not None, "opened as a pipe"
        assert process.stdout is not None, "opened as a pipe"
        try:
            with process.stdin as questions:
                pickle.dump((self._top, waiting), questions, pickle.HIGHEST_PROTOCOL)
            while (listing := pickle.load(process.stdout)) is not None:  # noqa: S301  (from our own child, over our own pipe)
                yield listing
        except (OSError, EOFError, pickle.UnpicklingError):
            raise Transient(f"the process that walks {self._top} ended early; the sweep begins again") from None
        finally:
            process.kill()  # it may not have come to its end
            process.stdout.close()
            process.wait()


def main(source: BinaryIO = sys.stdin.buffer, target: BinaryIO = sys.stdout.buffer) -> None:
    """The process's life: takes (top, directories to begin with), gives their listings and those of what is below, then None."""
    child.leave_signals()
    top, waiting = pickle.load(source)  # noqa: S301  (from the agent that started us)
    try:
        for listing in walk(top, waiting):
            pickle.dump(replace(listing, ahead=True), target, pickle.HIGHEST_PROTOCOL)
        pickle.dump(None, target)
        target.flush()
    except BrokenPipeError:
        child.hush(target)
