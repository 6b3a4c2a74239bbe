"""Conditions that go by what files on the disk say. A file is read once, a block at a time, and only what it says is kept."""

from abc import abstractmethod
from collections.abc import Collection, Iterator
from typing import ClassVar

from rules.datasets.condition import Condition, DiskPattern
from rules.datasets.manifest import NoList
from rules.datasets.question import Answer, Ask, Facts, Found, Missing, Undecided, look, members

LARGEST = 64 * 2**20
"""Bytes of the largest file that is read as a marker or a list."""


class Reads(Condition):
    """A condition that goes by what files say."""

    compares_names: ClassVar[bool] = False
    """What a file says is compared with the names of the dataset's files."""

    @property
    def source(self) -> DiskPattern:
        """The files that are read: each kind has one such pattern."""
        return next(one for _, one in self.patterns("") if isinstance(one, DiskPattern))

    def read(self, found: Found, blocks: Iterator[str], here: Collection[str]) -> Iterator[Answer | None]:
        """Read a file: None again and again, and then, last, what it says.

        Args:
            found: the file.
            blocks: its text.
            here: the names of the dataset's files, where they are compared.
        """
        if found.size > LARGEST:
            yield Answer(*found, problem=f"has more than {LARGEST // 2**20} MiB, and is not read")
            return
        try:
            yield from self.read_blocks(found, blocks, here)
        except NoList as error:
            yield Answer(*found, problem=str(error))

    @abstractmethod
    def read_blocks(self, found: Found, blocks: Iterator[str], here: Collection[str]) -> Iterator[Answer | None]:
        """The same for a file that is not too large. Raises NoList."""

    def answers(self, facts: Facts) -> list[Answer]:
        """What the files say that are there. Raises Missing, and Undecided where one says nothing."""
        if not look(self.source, facts):
            return []
        if self.compares_names:
            members(facts, None)
        if self not in facts.answers:
            raise Missing(Ask.ANSWERS, [self])
        answers = []
        for one in facts.answers[self]:
            if isinstance(one, Found):
                raise Undecided(f"{one.name} is being read", soon=True)
            if one.problem is not None:
                raise Undecided(f"{one.name} {one.problem}")
            answers.append(one)
        return answers
