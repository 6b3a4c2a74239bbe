"""Paths as Globus collections name them. Facts: https://docs.globus.org/api/transfer/task_submit/#common_fields (2.1)."""

import posixpath
import re

from rules.match import relative

_DRIVE = re.compile(r"\A([A-Za-z]):(?=/|$)")


def uncarriable(path: str) -> str | None:
    """Why Globus cannot carry a path: the service speaks JSON, and refuses line breaks. None: it can."""
    if "\n" in path or "\r" in path:
        return "its name has a line break, which Globus does not take"
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8, and Globus takes only text"
    return None


def source_path(local: str, root: str, path: str) -> str | None:
    """The path at the source collection of a local one; None where the collection does not show it.

    Args:
        local: absolute, "/"-separated; may begin with a drive letter, which Globus Connect Personal shows as `/C`.
        root: the local directory that the collection shows.
        path: as what it shows it.
    """
    if root == "/":
        if local.startswith("//"):
            return None  # a share of Windows: Globus Connect Personal shows drives
        below = _DRIVE.sub(lambda drive: f"/{drive[1].upper()}", local, count=1).lstrip("/")
    elif local == root:
        below = ""
    else:
        found = relative(local, root)
        if found is None:
            return None
        below = found
    return joined(path, below)


def joined(base: str, below: str) -> str:
    """A path below another one, with one slash between them."""
    return f"{base.rstrip('/')}/{below}" if below else base


def location(collection: str, path: str, host: str | None, host_path: str | None) -> str:
    """Where a path of a collection is, as "UUID:/path": two collections may show one directory.

    Args:
        collection: its id.
        path: at the collection.
        host: the collection that a guest collection shows a part of; None: it is no guest collection, or that is not known.
        host_path: the directory there that it shows.
    """
    if host is None or host_path is None or not host_path.startswith("/"):
        return f"{collection.lower()}:{path}"
    return f"{host.lower()}:{joined(posixpath.normpath(host_path), path.strip('/'))}"


def common_prefix(names: list[str]) -> str:
    """What all names begin with, as far as a listing can be filtered by it: ASCII without the filter's own characters."""
    first, last = min(names), max(names)
    length = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    found = re.match(r"[A-Za-z0-9_. -]*", first[: min(length, len(first))])
    return found[0] if found else ""
