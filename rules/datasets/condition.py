"""What every kind of condition has: `rules.datasets.conditions` lists the kinds."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field
from pydantic_core import CoreSchema, core_schema

from rules.config.tables import Size, Table
from rules.datasets.question import Answer, Facts, Found, Member, members
from rules.model import Verdict
from rules.patterns.expression import compiled
from rules.patterns.glob import FIELD, check_glob, fill


class Pattern(str):
    """Names of files of the dataset. It may use the dataset's fields, such as `{name}`."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls.read, core_schema.str_schema(min_length=1))

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError where it can match nothing."""
        for part in text.split("/"):
            if part not in ("..", "**", ""):
                check_glob(FIELD.sub("x", part), text)
        return cls(text)

    def check_fields(self, known: set[str]) -> None:
        """Raises ValueError where it uses a field that is not known."""
        unknown = sorted(set(FIELD.findall(self)) - known)
        if unknown:
            fields = ", ".join(f"{{{one}}}" for one in sorted(known))
            raise ValueError(f"{str(self)!r} has an unknown field {{{unknown[0]}}}; known are {fields}")

    def shown(self, facts: Facts) -> str:
        """As people read it: with the fields of this dataset."""
        return fill(self, facts.fields, literal=False)


class DiskPattern(Pattern):
    """Names on the disk, relative to the dataset's directory, claimed by a rule or not."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError where it can match nothing, or things that are far away."""
        parts = text.split("/")
        if "**" in parts or ".." in parts[1:] or "" in parts or parts[-1] in ("..", "."):
            raise ValueError(
                f"{text!r} is to be relative to the dataset's directory, without **; only its first part may be .."
            )
        return super().read(text)


def _expression(text: str) -> str:
    compiled(text)
    return text


Expression = Annotated[str, AfterValidator(_expression)]
"""A regular expression."""


class Incomplete(Verdict):
    """It is enough, but something is missing: the reason says what, and it travels with the dataset."""

    __slots__ = ()


class Condition(Table):
    """One entry of `complete.require = [ ... ]`"""

    counts_for_late_files: ClassVar[bool] = False
    """Also for files that come after the dataset was complete. The rest has been true once, and may be reclaimed by then."""
    when: Pattern | None = None
    """It counts only if the dataset has a file that matches."""
    flag: str | None = Field(default=None, min_length=1)
    """What is missing where this was enough."""

    def verdict(self, facts: Facts, now: float) -> Verdict:
        """Whether it is true, with its reason. Raises Missing where a fact is missing for that."""
        counts = facts.generation == 1 or self.counts_for_late_files
        if not counts or (self.when is not None and not members(facts, self.when)):
            return Verdict(True, "")
        verdict = self.decide(facts, now)
        if verdict.ok and self.flag is not None:
            return Incomplete(True, f"incomplete: {self.flag}")
        return verdict

    @abstractmethod
    def decide(self, facts: Facts, now: float) -> Verdict:
        """The same without `when` and `flag`."""

    @property
    def words(self) -> str:
        """As a clause, for people."""
        clause = self.clause if self.when is None else f"if there is a {self.when}: {self.clause}"
        return clause if self.flag is None else f"{clause} (then marked incomplete: {self.flag})"

    @property
    @abstractmethod
    def clause(self) -> str:
        """The same without `when` and `flag`."""

    def patterns(self, key: str) -> Iterator[tuple[str, Pattern]]:
        """Each pattern, also of the conditions in this one, with its key. `key`: of this condition."""
        for name, value in self:
            if isinstance(value, Pattern):
                yield f"{key}.{name}", value
            for number, part in enumerate(value if isinstance(value, tuple) else ()):
                if isinstance(part, Condition):
                    yield from part.patterns(f"{key}.{name}.{number}")


class Sized(Condition):
    """A condition on files of some sizes."""

    min_size: Size = 0
    max_size: Size | None = None

    def fits(self, one: Found | Answer | Member) -> bool:
        """Whether a file has such a size."""
        return self.min_size <= one.size and (self.max_size is None or one.size <= self.max_size)

    @property
    def sizes(self) -> str:
        """In words."""
        size = f" of {self.min_size} bytes or more" if self.min_size else ""
        return size + (f" of {self.max_size} bytes or fewer" if self.max_size is not None else "")
