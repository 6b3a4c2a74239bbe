"""What files say to the conditions of datasets: read a part a pass, and remembered as long as they stay as they are."""

import codecs
from collections import OrderedDict
from collections.abc import Hashable, Iterator

from agent.files import CannotTell, Handle, Tree
from agent.files.reader import BLOCK, incomplete
from rules.datasets.facts import Reading
from rules.datasets.question import Answer, Found
from rules.model import Observation, Version

BEGINNINGS_A_PASS, REST_A_PASS = 2**20, 2**21
"""Bytes of text that are read in a pass, a third of a second for a checksum list: of texts not begun yet, and of the others.
Small ones do not wait for large ones."""
REMEMBERED = 64 * 2**20
"""Bytes, about, of what is remembered; what was asked for longest ago is read again."""
_AN_ANSWER, _A_CHECKSUM = 1_000, 300
"""Bytes, about."""
_CHANGED = "changed while it was read"


class _Text:
    """A text that has been read in part."""

    def __init__(self, version: Version, reading: Reading) -> None:
        self.version = version
        self.handle: Handle | None = None
        """The file, open for this pass."""
        self.done = 0
        self.ended = False
        """The file ended before its size."""
        self.reader = reading(self._blocks())
        self.answer: Answer | None = None

    def _blocks(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        while self.done < self.version.size and not self.ended:
            assert self.handle is not None, "opened for this pass"
            part = self.handle.read(self.done, min(BLOCK, self.version.size - self.done))
            self.ended = not part
            self.done += len(part)
            yield decoder.decode(part)
        yield decoder.decode(b"", final=True)

    @property
    def weight(self) -> int:
        """Bytes that it takes, about."""
        value = None if self.answer is None else self.answer.value
        return _AN_ANSWER + _A_CHECKSUM * len(getattr(value, "sums", ()))


class Texts:
    """Answers, for as long as the process lives."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[str, str, Hashable], _Text] = OrderedDict()
        self._weight = 0
        self._beginnings = self._rest = 0

    def begin(self) -> None:
        """A new pass."""
        self._beginnings, self._rest = BEGINNINGS_A_PASS, REST_A_PASS

    def answer(self, tree: Tree, path: str, found: Found, key: Hashable, reading: Reading) -> Answer | Found:
        """See `rules.datasets.facts.Disk`. Raises Trouble, also where it is that of the file."""
        seen = tree.look(path)
        if isinstance(seen, CannotTell):
            raise seen.trouble
        if not isinstance(seen, Observation):
            return Answer(*found, problem="went away")
        text = self._texts.pop((tree.root, path, key), None)
        if text is not None:
            self._weight -= text.weight
            if text.version != seen.version and text.answer is None:
                return Answer(*found, problem=_CHANGED)  # it is read from its beginning when it is looked at next
        if text is None or text.version != seen.version:
            text = _Text(seen.version, reading)
        if text.answer is None and not self._read_on(tree, path, seen, text):
            return Answer(*found, problem=_CHANGED)
        self._texts[tree.root, path, key] = text
        self._weight += text.weight
        while self._weight > REMEMBERED and len(self._texts) > 1:
            self._weight -= self._texts.popitem(last=False)[1].weight
        return text.answer or found

    def _read_on(self, tree: Tree, path: str, seen: Observation, text: _Text) -> bool:
        """Read as much as this pass has left. Returns whether it is the same version still. Raises Trouble."""
        begins, before = text.done == 0, text.done
        left = self._beginnings if begins else self._rest
        if left <= 0:
            return True
        with tree.open(path, seen) as handle:
            text.handle = handle
            for answer in text.reader:
                text.answer = answer
                if answer is not None or text.done - before >= left:
                    break
            same = handle.look().version == text.version
        if begins:
            self._beginnings -= text.done - before
        else:
            self._rest -= text.done - before
        if same and text.ended:
            raise incomplete(text.version.size, text.done)
        return same
