"""The filter, order and field parameters that the task list and directory listings share.

`filter=key:v1,v2/key:...`; for text: `=exact`, `!not`, `~wild*card` (any case), `!~`; for times: `from,to`
[globus_cli.commands.task.list, globus_cli.commands.ls].
"""

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

from tests.globus import clock
from tests.globus.wire import Document, Request, transfer_problem

RANGES = ("request_time", "completion_time", "last_modified", "size")
_PATTERNS = ("label", "name", "username")


def matching(request: Request, documents: Iterable[Document], known: Sequence[str]) -> list[Document]:
    """The documents that every `filter` parameter lets through. Raises Problem (400)."""
    found = list(documents)
    for text in request.queries.get("filter", ()):
        for clause in filter(None, text.split("/")):
            key, colon, values = clause.partition(":")
            if not colon or key not in known:
                raise transfer_problem(request, 400, "ClientError.BadRequest", f"cannot filter by {clause!r}")
            try:
                found = [one for one in found if _passes(one.get(key), key, values.split(","))]
            except ValueError as error:
                raise transfer_problem(request, 400, "ClientError.BadRequest", f"{clause!r}: {error}") from error
    return found


def ordered(request: Request, documents: list[Document]) -> list[Document]:
    """Sorted as `orderby` says: `field [ASC|DESC],...`. Raises Problem (400)."""
    for part in reversed([part for part in request.query.get("orderby", "").split(",") if part]):
        name, _, direction = part.strip().partition(" ")
        if direction.upper() not in ("", "ASC", "DESC"):
            raise transfer_problem(request, 400, "ClientError.BadRequest", f"cannot order by {part!r}")
        documents = sorted(
            documents, key=lambda one: (one.get(name) is not None, one.get(name)), reverse=direction.upper() == "DESC"
        )
    return documents


def thinned(request: Request, one: Document) -> Document:
    """Only what `fields` asks for."""
    fields = [name for name in request.query.get("fields", "").split(",") if name]
    return {name: one[name] for name in fields if name in one} if fields else one


def _passes(value: Any, key: str, wanted: Sequence[str]) -> bool:
    if key in RANGES:
        return value is not None and _between(value, *(wanted if len(wanted) == 2 else (wanted[0], "")))
    if key not in _PATTERNS:
        return str(value) in wanted
    excluded = [pattern for pattern in wanted if pattern.startswith("!")]
    included = [pattern for pattern in wanted if not pattern.startswith("!")]
    text = "" if value is None else str(value)
    return not any(_like(text, pattern[1:]) for pattern in excluded) and (
        not included or any(_like(text, pattern) for pattern in included)
    )


def _like(text: str, pattern: str) -> bool:
    if pattern.startswith("~"):
        return fnmatch.fnmatchcase(text.lower(), pattern[1:].lower().replace("[", "[[]").replace("?", "[?]"))
    return text == pattern.removeprefix("=")


def _between(value: Any, lowest: str, highest: str) -> bool:
    if isinstance(value, int):
        return (not lowest or value >= int(lowest)) and (not highest or value <= int(highest))
    when = clock.parse(value)
    return (not lowest or when >= clock.parse(lowest)) and (not highest or when <= clock.parse(highest))
