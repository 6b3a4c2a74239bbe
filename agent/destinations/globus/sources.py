"""Is the local file still the version that was sealed, without a writer? Asked before a task, and after it."""

import os
from collections.abc import Iterable

from agent.destinations import Changed, Gone, Item, Outcome, Unfit
from agent.errors import cause
from agent.files.posix import writer_probe as probe
from agent.files.posix.tree import Tree
from agent.files.posix.volumes import file_system
from rules.model import Writer


def spoiled(items: Iterable[Item]) -> dict[int, Outcome]:
    """What became of those items whose local file is not what was sealed: file → outcome."""
    trees: dict[str, tuple[Tree, bool]] = {}
    found: dict[int, Outcome] = {}
    try:
        for item in items:
            outcome = _look(trees, item)
            if outcome is not None:
                found[item.file] = outcome
    finally:
        for tree, _ in trees.values():
            tree.close()
    return found


def _look(trees: dict[str, tuple[Tree, bool]], item: Item) -> Outcome | None:
    try:
        if item.root not in trees:
            trees[item.root] = Tree(item.root), file_system(item.root).remote
        tree, remote = trees[item.root]
        directory, name = tree.place(item.relpath)
        seen = probe.observation(os.stat(name, dir_fd=directory, follow_symlinks=False))
        if seen.kind != "file":  # looked at before it is opened: opening a FIFO or a device may have effects
            return Changed(item.file, seen, f"a {seen.kind} stands in its place")
        if seen.version != item.version:
            return Changed(item.file, seen, "it changed before it was delivered")
        fd = os.open(name, probe.OPEN_FLAGS, dir_fd=directory)
    except FileNotFoundError:
        return Gone(item.file)
    except BlockingIOError:  # a file server holds a write lease for a client
        return Changed(item.file, seen, Writer.OPEN.value)
    except OSError as error:
        hint = "make it readable for the agent's user, then `dropline retry`"
        return Unfit(item.file, f"cannot be read: {cause(error)}", hint)
    try:
        seen = probe.observation(os.fstat(fd))
        if seen.version != item.version:
            return Changed(item.file, seen, "it changed before it was delivered")
        writer = probe.writer(fd, f"{item.root}/{item.relpath}", remote=remote)
        return Changed(item.file, seen, writer.value) if writer is Writer.OPEN else None
    finally:
        os.close(fd)
