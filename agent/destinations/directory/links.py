"""Makes symbolic links in a destination directory: runs in the agent, or in a worker process where it may hang."""

from agent.destinations import LinkItem
from agent.destinations.directory.opening import Place, away, opened, require
from agent.destinations.directory.writer import NO_SUCH_PATH, temporary_name
from agent.files import LOCAL, Absent, CannotTell, Tree, Trouble, What
from agent.host.heartbeat import Heartbeat
from rules.model import Kind, Observation

_OF_ONE_LINK = NO_SUCH_PATH | {
    What.NOT_A_DIRECTORY, What.DENIED, What.NOT_PERMITTED, What.UNSUPPORTED, What.DIRECTORY, What.TOO_MANY_LINKS,
}  # fmt: skip
"""Troubles that say nothing of the destination."""
_NOT_LINKABLE = frozenset({What.ABSENT, What.EXISTS, What.OTHER_VERSION})


def make_link(place: Place, link: LinkItem, heartbeat: Heartbeat) -> str | None:
    """See `agent.destinations.Transport.make_link`. Raises Transient."""
    heartbeat.at(place.path)
    assert place.identity is not None, "links are made at destinations only"
    try:
        with opened(place, heartbeat) as tree:
            require(tree, place.identity)
            try:
                return _make(tree, place, link)
            except Trouble as trouble:
                if trouble.what not in _OF_ONE_LINK | _NOT_LINKABLE:
                    raise
                return f"at {place.name}, {link.path!r} cannot be made: {trouble.reason}"
    except Trouble as trouble:
        raise away(place, trouble) from trouble


def _make(tree: Tree, place: Place, link: LinkItem) -> str | None:
    """Returns why not; None: it is there. Raises Trouble."""
    path, target = link.path, link.target
    above = path.rpartition("/")[0]
    seen = tree.look(path)
    if isinstance(seen, CannotTell):
        raise seen.trouble
    if isinstance(seen, Absent):
        if above:
            with LOCAL.tree(link.root) as sources:
                like = sources, link.relpath.rpartition("/")[0]
                tree.make_directory(above, like, place.dir_mode, place.group)
        tree.make_link(path, target)
    elif seen.kind is not Kind.LINK or (says := tree.target(path)) not in (target, link.former):
        return f"at {place.name}, {path!r} is there already, and this agent did not make it; move it away there"
    elif says != target:
        _replace(tree, place, path, target, seen)
    tree.sync(above)
    return None


def _replace(tree: Tree, place: Place, path: str, target: str, former: Observation) -> None:
    """The agent's own link says something else from now on. Raises Trouble."""
    temporary = "/".join([*path.split("/")[:-1], temporary_name(place.key, f"link {path}")])
    try:
        tree.unlink(temporary)
    except Trouble as trouble:
        if trouble.what is not What.ABSENT:
            raise
    tree.make_link(temporary, target)
    try:
        tree.replace_known(temporary, path, former)
    except Trouble:
        tree.unlink(temporary)
        raise
