"""On which line of a TOML text each key stands, for a text that tomllib has read without an error."""

from bisect import bisect_right
from itertools import accumulate

Key = tuple[str | int, ...]
"""From the top of the file on: names of tables and keys, and numbers of items."""
_QUOTES = ('"""', "'''", '"', "'")


class Lines:
    """Where keys stand. Texts with more tables or items than a configuration has are not scanned to their end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = text.split("\n")
        self._begins = [0, *accumulate(len(line) + 1 for line in self._lines)]
        self.found: dict[Key, int] = {}
        self._items: dict[Key, int] = {}
        """Array of tables → how many were begun."""
        try:
            self._document()
        except (IndexError, RecursionError):
            pass  # what was found until then helps; the text is valid, so there is nothing to report

    def line(self, key: Key) -> int | None:
        """The number of the line where a key, or the nearest table around it, stands; None: it stands on none."""
        return next((self.found[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self.found), None)

    def text(self, line: int) -> str:
        """The line with this number, without what surrounds it."""
        return self._lines[line - 1].strip() if 0 < line <= len(self._lines) else ""

    def _document(self) -> None:
        self._at, table = 0, Key()
        while self._space() < len(self._text):
            if self._text[self._at] != "[":
                self._pair(table)
                continue
            several = self._text.startswith("[[", self._at)
            begin = self._at
            self._at += 2 if several else 1
            table = self._absolute(self._key("]"), several)
            self._note(table, begin)
            self._at += 2 if several else 1

    def _absolute(self, parts: list[str], several: bool) -> Key:
        """The full key of a header: a part that is an array of tables means its last table."""
        table: Key = ()
        for number, part in enumerate(parts):
            table = (*table, part)
            if several and number == len(parts) - 1:
                self._items[table] = self._items.get(table, 0) + 1
            if table in self._items:
                table = (*table, self._items[table] - 1)
        return table

    def _note(self, key: Key, at: int) -> None:
        line = bisect_right(self._begins, at)
        for end in range(1, len(key) + 1):
            self.found.setdefault(key[:end], line)
        self.found[key] = line

    def _space(self, also: str = "") -> int:
        """Pass over blanks, line ends and comments, and over these characters. Returns where the rest begins."""
        while self._at < len(self._text) and (self._text[self._at] in also or self._text[self._at] in " \t\r\n\ufeff#"):
            if self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                self._at += 1
        return self._at

    def _key(self, stop: str) -> list[str]:
        """A dotted key, up to a character behind it."""
        parts: list[str] = []
        while True:
            self._space(".")
            char = self._text[self._at]
            if char == stop:
                return parts
            if char in "\"'":
                begin = self._at
                self._string()
                parts.append(self._text[begin + 1 : self._at - 1])
                continue
            begin = self._at
            while self._text[self._at] not in f".{stop} \t":
                self._at += 1
            parts.append(self._text[begin : self._at])

    def _pair(self, table: Key) -> None:
        begin = self._at
        key = (*table, *self._key("="))
        self._at += 1
        self._note(key, begin)
        self._value(key)

    def _value(self, key: Key) -> None:
        self._space()
        char = self._text[self._at]
        if char in "\"'":
            self._string()
        elif char == "[":
            self._at += 1
            number = 0
            while self._text[self._space(",")] != "]":
                self._note((*key, number), self._at)
                self._value((*key, number))
                number += 1
            self._at += 1
        elif char == "{":
            self._at += 1
            while self._text[self._space(",")] != "}":
                self._pair(key)
            self._at += 1
        else:
            begin = self._at
            while self._at < len(self._text) and self._text[self._at] not in ",]}\n#":
                self._at += 1
            if self._at == begin:
                raise IndexError  # no TOML

    def _string(self) -> None:
        quote = next(one for one in _QUOTES if self._text.startswith(one, self._at))
        self._at += len(quote)
        while not self._text.startswith(quote, self._at):
            if self._at >= len(self._text):
                raise IndexError  # no TOML
            self._at += 2 if quote[0] == '"' and self._text[self._at] == "\\" else 1
        self._at += len(quote)
        while len(quote) == 3 and self._text.startswith(
            quote[0], self._at
        ):  # one or two quotes may stand before the end
            self._at += 1
