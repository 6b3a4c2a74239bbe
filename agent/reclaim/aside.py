"""Where a file stands from its rename to its unlink: beside its place, or in the trash of its file system."""

from agent.files import Absent, CannotTell, Tree
from agent.ledger import File
from rules.model import OWN_PREFIX, Observation
from rules.rule import Rule

TRASH = OWN_PREFIX + "-trash"


def aside_for(tree: Tree, rule: Rule, file: File, free: float | None) -> tuple[str, float]:
    """The path below the watched directory, and for how many seconds it stays there. Raises Trouble.

    `free`: fraction of free space where the file goes to make room; then it does not go to the trash. None: it does not.
    """
    path = rule.relpath(file.path)
    window = rule.reclaim.trash if rule.reclaim is not None and free is None else None
    if window:
        return f"{_trash_for(tree, path)}/{file.id}/{path}", window
    parent, slash, _ = path.rpartition("/")
    return f"{parent}{slash}{OWN_PREFIX}-reclaim-{file.id}", 0.0


def in_trash(aside: str) -> bool:
    """Whether a path where a file stands aside is in a trash."""
    return TRASH in aside.split("/")


def standing(tree: Tree, path: str) -> Observation | Absent:
    """What has the name. Raises Trouble where that cannot be told."""
    seen = tree.look(path)
    if isinstance(seen, CannotTell):
        raise seen.trouble
    return seen


def _trash_for(tree: Tree, path: str) -> str:
    """The trash of the file system that a path is on: in the highest directory below the root that lies on it. Raises Trouble."""
    volume, top, above = tree.opened.volume, "", ""
    for name in path.split("/")[:-1]:
        above = f"{above}/{name}".lstrip("/")
        seen = standing(tree, above)
        if isinstance(seen, Observation) and seen.volume != volume:
            volume, top = seen.volume, above
    return f"{top}/{TRASH}".lstrip("/")
