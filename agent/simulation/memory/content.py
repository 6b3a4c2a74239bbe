"""The content of a file in memory."""

from collections.abc import Callable
from typing import NamedTuple

Read = Callable[[int, int], bytes]
"""(offset, length) → bytes of a file, which may be larger than the memory."""


class _Part(NamedTuple):
    start: int
    end: int
    read: Read
    """By offsets from `origin` on."""
    origin: int


class Content:
    """Parts of a file, and holes between them, which read as zeros."""

    __slots__ = ("_parts", "size")

    def __init__(self, data: bytes = b"") -> None:
        self.size = 0
        self._parts: list[_Part] = []
        self.write(data, 0)

    @property
    def allocated(self) -> int:
        """Bytes that are no hole."""
        return sum(part.end - part.start for part in self._parts)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from there on."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        found = bytearray(end - offset)
        for part in self._parts:
            start, stop = max(part.start, offset), min(part.end, end)
            if start < stop:
                data = part.read(start - part.origin, stop - start)
                found[start - offset : start - offset + len(data)] = data
        return bytes(found)

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """These bytes are there from now on."""
        kept = bytes(data)
        self.put(offset, len(kept), lambda start, length: kept[start : start + length])

    def put(self, offset: int, length: int, read: Read) -> None:
        """What a reader gives is there from now on, `length` bytes of it."""
        if length:
            end = offset + length
            self._parts = [
                *self._cut(0, offset),
                _Part(offset, end, read, offset),
                *self._cut(end, max(end, self.size)),
            ]
            self.size = max(self.size, end)

    def set_size(self, size: int) -> None:
        """Cut it off, or lengthen it by a hole."""
        self._parts = self._cut(0, size)
        self.size = size

    def _cut(self, start: int, end: int) -> list[_Part]:
        """What lies between."""
        cut = (part._replace(start=max(part.start, start), end=min(part.end, end)) for part in self._parts)
        return [part for part in cut if part.start < part.end]
