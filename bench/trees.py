"""The data: trees of files with repeatable random content, and the proof that a copy of one is whole."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20  # bytes made and written at a time
_OURS = ".dropline"  # what an agent keeps at a share for itself starts with this


@dataclass(frozen=True)
class Tree:
    """`files` files of `size` bytes each, spread evenly over `folders` folders."""

    name: str
    folders: int
    files: int
    size: int

    @property
    def bytes(self) -> int:
        """All of it, in bytes."""
        return self.files * self.size

    def paths(self) -> Iterator[str]:
        """Every file's path relative to the root of the tree, folder by folder."""
        each = -(-self.files // self.folders)
        return (f"r{number // each:03}/s{number:06}.dat" for number in range(self.files))


@dataclass(frozen=True)
class Found:
    """How a copy compares with its source, in files."""

    same: int
    wrong: int
    extra: int


def content(seed: str, size: int) -> Iterator[bytes]:
    """`size` bytes of random content, the same for the same seed, in blocks."""
    source = random.Random(seed)
    for start in range(0, size, _BLOCK):
        yield source.randbytes(min(_BLOCK, size - start))


def make(tree: Tree, root: Path) -> dict[str, str]:
    """Write the tree under `root`; returns each file's sha256 by relative path."""
    digests = {}
    for path in tree.paths():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for block in content(f"{tree.name}/{path}", tree.size):
                file.write(block)
                digest.update(block)
        digests[path] = digest.hexdigest()
    return digests


def walk(root: Path) -> Iterator[Path]:
    """Every regular file under `root` that is not an agent's own."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(_OURS)]
        for name in names:
            if not name.startswith(_OURS):
                yield Path(folder, name)


def digest_all(root: Path) -> dict[str, str]:
    """The sha256 of every file under `root`, by relative path."""
    digests = {}
    for path in walk(root):
        with path.open("rb") as file:
            digests[path.relative_to(root).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def compare(source: dict[str, str], share: Path) -> Found:
    """Read every file at `share` and compare it with the digests of the source."""
    there = digest_all(share)
    same = sum(there.get(path) == digest for path, digest in source.items())
    present = sum(path in there for path in source)
    return Found(same=same, wrong=present - same, extra=len(there) - present)


def retire(root: Path) -> None:
    """Give back the space of a used directory but keep its inodes.

    ext4 does not reuse an inode for one to six minutes after its deletion, and every create searches past all of these:
    emptying a share of 20,000 files between runs makes the next contender's creates several times slower.
    """
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)
