"""What conditions of datasets ask of the disk: names, sizes, content, checksums."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.files import ABSENT, CannotTell, Tree, Trouble, Whose
from agent.files.reader import blocks, examine, incomplete, whole
from agent.intake.texts import Texts
from rules.datasets.facts import Reading
from rules.datasets.question import Answer, Found
from rules.formats import Finding, State
from rules.model import Kind, Observation, Version, Writer
from rules.patterns.glob import Names

BYTES_A_PASS = 256 * 2**20
"""Of files whose checksums are made: new data must not wait for the whole of a large dataset."""


LOOKS_A_PASS = 1_000
"""At what files say of their writers."""


class Content:
    """A watched directory, open for one pass, in which each directory is listed once. Never follows a link, never opens what
    is no regular file.

    What is gone, or not the agent's to read, is not there for the agent. Raises Trouble where that cannot be told.
    """

    def __init__(self, tree: Tree, texts: Texts) -> None:
        self._tree = tree
        self._texts = texts
        self._names: dict[str, Names] = {}

    def names(self, directory: str) -> Names:
        """Names in a directory; none where it cannot be read: then nothing is found, and the dataset waits."""
        if directory not in self._names:
            try:
                self._names[directory] = Names(self._tree.names(directory))
            except Trouble as trouble:
                _of_the_file(directory, trouble)
                return Names(())
        return self._names[directory]

    def size(self, path: str) -> int | None:
        """Bytes of a regular file that nobody is seen to write; None where there is none such."""
        found = examine(self._tree, path)
        if isinstance(found, CannotTell):
            _of_the_file(path, found.trouble)
            return None
        if found is ABSENT or found.seen.kind is not Kind.FILE or found.writer is Writer.OPEN:
            return None
        return found.seen.version.size

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file; none where they cannot be read, which no condition takes for good."""
        try:
            with self._tree.open(path) as handle:
                return whole(handle, offset, length)
        except Trouble as trouble:
            _of_the_file(path, trouble)
            return b""

    def answer(self, path: str, found: Found, key: Hashable, reading: Reading) -> Answer | Found:
        """What a file says; why it says nothing where it cannot be read."""
        try:
            return self._texts.answer(self._tree, path, found, key, reading)
        except Trouble as trouble:
            _of_the_file(path, trouble)
            return Answer(*found, problem=f"cannot be read: {trouble.reason}")


class OwnMarkers:
    """A watched directory as the conditions of a dataset see it whose name was used before.

    A file that did not change since the first file of the dataset came is of the former one, and is not there for this one.
    """

    def __init__(self, content: Content, tree: Tree, since_ns: int) -> None:
        self._tree = tree
        self._since_ns = since_ns
        self._content = content
        self.names, self.read, self.answer = content.names, content.read, content.answer

    def size(self, path: str) -> int | None:
        """As `Content.size`."""
        seen = self._tree.look(path)
        if isinstance(seen, Observation) and seen.version.ctime_ns < self._since_ns:
            return None
        return self._content.size(path)


def _of_the_file(path: str, trouble: Trouble) -> None:
    """Raises Trouble where it says something of more than this file: then nothing can be told."""
    if trouble.whose is not Whose.FILE:
        raise Trouble(trouble.what, f"{path}: {trouble.reason}") from trouble


class Allowance:
    """What all datasets together may use in one pass.

    Those that did not get enough in the last pass get equal parts: a large dataset comes to its end later, and no other waits
    until then.
    """

    def __init__(self, most: int) -> None:
        self._most = self._part = self._left = most
        self._used: dict[int, int] = {}
        self._wanting: set[int] = set()

    def begin(self) -> None:
        """A new pass."""
        self._part = max(self._most // max(len(self._wanting), 1), 1)
        self._left = self._most
        self._used.clear()
        self._wanting.clear()

    def allows(self, dataset: int) -> bool:
        """Whether the dataset may use more in this pass; else it is remembered for the next."""
        if self._left > 0 and self._used.get(dataset, 0) < self._part:
            return True
        self._wanting.add(dataset)
        return False

    def use(self, dataset: int, amount: int) -> None:
        """The dataset used so much."""
        self._left -= amount
        self._used[dataset] = self._used.get(dataset, 0) + amount


@dataclass(slots=True)
class _InProgress:
    version: Version
    digest: Any
    done: int = 0
    result: str = ""


class Sums:
    """Checksums of the files of datasets, made a part a pass. Forgotten with the process: then they are made again."""

    def __init__(self) -> None:
        self._datasets: dict[int, dict[tuple[str, str], _InProgress]] = {}
        """Number of a dataset → (algorithm, path) → how far it is."""
        self._allowance = Allowance(BYTES_A_PASS)

    def begin(self) -> None:
        """A new pass."""
        self._allowance.begin()

    def make(
        self, dataset: int, tree: Tree, wanted: Sequence[tuple[str, str]], versions: Mapping[str, Version]
    ) -> list[str]:
        """(algorithm, path) ... → checksums, see `rules.datasets.facts.Sums`.

        Args:
            dataset: its number.
            tree: the watched directory.
            wanted: paths relative to it.
            versions: what the files were when they settled; another version is as good as unreadable.
        """
        files = self._datasets.setdefault(dataset, {})
        return [self._make(dataset, files, tree, algorithm, path, versions.get(path)) for algorithm, path in wanted]

    def forget(self, dataset: int) -> None:
        """It is decided."""
        self._datasets.pop(dataset, None)

    def _make(
        self, dataset: int, files: dict[tuple[str, str], _InProgress], tree: Tree, algorithm: str, path: str,
        version: Version | None,
    ) -> str:  # fmt: skip
        if version is None:
            return "?"
        known = files.get((algorithm, path))
        if known is None or known.version != version:
            known = files[algorithm, path] = _InProgress(version, hashlib.new(algorithm, usedforsecurity=False))
        if known.result or not self._allowance.allows(dataset):
            return known.result
        try:
            with tree.open(path) as handle:
                ended = True
                for block in blocks(handle.read_into, version.size, known.done):
                    known.digest.update(block)
                    known.done += len(block)
                    self._allowance.use(dataset, len(block))
                    if known.done < version.size and not self._allowance.allows(dataset):
                        ended = False
                        break
        except Trouble as trouble:
            _of_the_file(path, trouble)
            del files[algorithm, path]
            return "?"
        seen = tree.look(path)
        if isinstance(seen, CannotTell):
            _of_the_file(path, seen.trouble)
        if not isinstance(seen, Observation) or seen.version != version:
            del files[algorithm, path]
            return "?"
        if known.done == version.size:
            known.result = known.digest.hexdigest()
        elif ended:
            del files[algorithm, path]
            _of_the_file(path, incomplete(version.size, known.done))
        return known.result


class Formats:
    """Looks at what files of datasets say of their writers, some a pass. Forgotten with the process."""

    def __init__(self) -> None:
        self._datasets: dict[int, tuple[float | None, dict[int, int]]] = {}
        """Number of a dataset → when its files changed last, and what was asked → how many files, from the first on, are good."""
        self._allowance = Allowance(LOOKS_A_PASS)

    def begin(self) -> None:
        """A new pass."""
        self._allowance.begin()

    def made(
        self, dataset: int, changed_at: float | None, names: tuple[str, ...], looks: Sequence[Callable[[], Finding]]
    ) -> list[Finding | None]:
        """See `rules.datasets.facts.FormatLooks`. It goes on where it was, as long as no file of the dataset has changed."""
        before, asked = self._datasets.get(dataset, (changed_at, {}))
        asked = asked if before == changed_at else {}
        self._datasets[dataset] = changed_at, asked
        good = asked.get(hash(names), 0)
        found: list[Finding | None] = [Finding(State.CANNOT_TELL, "was looked at before")] * good
        for look in looks[good:]:
            if not self._allowance.allows(dataset):
                break
            self._allowance.use(dataset, 1)
            finding = look()
            found.append(finding)
            if finding.unfinished:
                break
            good += 1
        asked[hash(names)] = good
        return [*found, *[None] * (len(looks) - len(found))]

    def forget(self, dataset: int) -> None:
        """It is decided."""
        self._datasets.pop(dataset, None)
