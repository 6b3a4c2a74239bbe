"""Faults of storage in memory: each operation asks here whether it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from agent.files.trouble import What
from agent.simulation.memory.nodes import refused

When = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class _Fault:
    operation: str
    path: str
    what: What
    when: When


class Faults:
    """Which operations fail, and what is open."""

    def __init__(self) -> None:
        self.open = 0
        """How many handles and trees are open."""
        self.most: int | None = None
        """Bytes that one call reads at most."""
        self._faults: list[_Fault] = []

    def fail(self, operation: str, path: str, what: What, when: When = "before") -> None:
        """From now on an operation on an absolute path fails: before it does anything, or after it has done all.

        `operation`: a method of `Tree` or `Handle`, or `read` for both that read.
        """
        self._faults.append(_Fault(operation, path, what, when))

    def mend(self) -> None:
        """Nothing fails any more."""
        self._faults.clear()

    @contextmanager
    def operation(self, name: str, path: str) -> Iterator[None]:
        """Around what an operation does: the faults that it has."""
        self._fault(name, path, "before")
        yield
        self._fault(name, path, "after")

    def _fault(self, name: str, path: str, when: When) -> None:
        for fault in self._faults:
            if (fault.operation, fault.path, fault.when) == (name, path, when):
                raise refused(fault.what)
