"""What a probe reads, and what it may answer."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Literal, NamedTuple

Read = Callable[[int, int], bytes]
"""(offset, length) -> the bytes there; fewer where the file ends sooner."""


class State(Enum):
    """What a file's content says about its writer.

    `OPEN` and `TRUNCATED` both mean: not yet. They differ in what helps when nothing changes any more: an open file had
    a writer that died, and is all there is; of a truncated one the rest exists somewhere, and can be copied again.
    """

    FINISHED = "finished"
    """The mark that the writer leaves when it closes the file is there."""
    OPEN = "open"
    """The mark is not there yet, or the writer's own sign that it is at work is."""
    TRUNCATED = "truncated"
    """The file is shorter than it says itself."""
    CANNOT_TELL = "cannot tell"
    """The format has no mark, or this is another format."""


class Finding(NamedTuple):
    """A probe's answer, and why: a predicate of the file, in one line, for people."""

    state: State
    detail: str

    @property
    def unfinished(self) -> bool:
        """Not yet."""
        return self.state in (State.OPEN, State.TRUNCATED)


class Beyond(Exception):
    """The content speaks of bytes at or after the file's end, up to `end`."""

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end


class Changed(Exception):
    """The file has become shorter since its size was taken."""


class Content:
    """A file's bytes. Nothing outside [0, size] is ever asked for, whatever the content announces."""

    def __init__(self, read: Read, size: int, beside: Mapping[str, int] | None = None) -> None:
        self._read = read
        self.size = size
        self.beside = beside

    def some(self, offset: int, limit: int) -> bytes:
        """The bytes there that exist, at most `limit`. Raises Changed."""
        start, end = max(0, offset), min(offset + limit, self.size)
        if end <= start:
            return b""
        found = self._read(start, end - start)[: end - start]
        if len(found) < end - start:
            raise Changed
        return found

    def tail(self, limit: int) -> bytes:
        """The last bytes, at most `limit`. Raises Changed."""
        return self.some(self.size - limit, limit)

    def at(self, offset: int, length: int) -> bytes:
        """Exactly these bytes. Raises Beyond, Changed."""
        self.require(offset + length)
        return self.some(offset, length)

    def number(self, offset: int, length: int, order: Literal["little", "big"] = "little") -> int:
        """An unsigned integer. Raises Beyond, Changed."""
        return int.from_bytes(self.at(offset, length), order)

    def require(self, end: int) -> None:
        """Raises Beyond if the file ends before."""
        if end > self.size:
            raise Beyond(end)

    def begins(self, signature: bytes) -> bool:
        """Whether it begins so, as far as it goes: of the first bytes of a file one cannot say more. Raises Changed."""
        return signature.startswith(self.some(0, len(signature)))


def foreign(content: Content, name: str) -> Finding:
    """The answer where a signature is missing."""
    if not any(content.some(0, 16)):
        return Finding(State.OPEN, f"begins with zeros where a {name} file has its signature")
    return Finding(State.CANNOT_TELL, f"is no {name} file, by its first bytes")
