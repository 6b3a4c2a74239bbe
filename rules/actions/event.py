"""The event of a verified batch: a CloudEvent (https://github.com/cloudevents/spec, 1.0), and what is made of it."""

import json
import re
import string
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

TYPE = "io.dropline.batch.verified"
FLOW_BYTES = 150_000
"""Bytes of a flow's input as JSON: the state of a run has 200 KB (docs.globus.org/api/flows), and the flow adds to it."""
LISTED = 1000
"""Files that an event lists at the most: receivers limit the size of what they take."""
FIELDS = ("event", "batch", "number", "rule", "key", "host", "time", "files", "bytes", "items", "destinations")
"""Fields of a flow's body."""
PLACED = ("folder", "collection")
"""Those that differ per destination: `{folder:NAME}`; without a name, of the first one."""
_COLLECTION = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(/.*)", re.S)


class Copy(NamedTuple):
    """A file at a destination."""

    destination: str
    path: str
    """Relative to the destination."""
    checksum: str
    """As `rules.model.proof_in_words` writes it."""


class Item(NamedTuple):
    """A verified file."""

    path: str
    size: int
    copies: Sequence[Copy]


class Batch(NamedTuple):
    """A batch that was verified, with those of its files that were."""

    agent: str
    """Id of the agent."""
    number: int
    rule: str
    key: str
    host: str
    at: float
    """When it was verified."""
    addresses: Mapping[str, str]
    """Destination → where it is, as the ledger knows it."""
    items: Sequence[Item]

    @property
    def id(self) -> str:
        """Unlike any other batch's, of this agent or another: numbers begin again with a lost ledger, ids do not."""
        return f"{self.agent}-{self.number}"


def at_collection(address: str) -> tuple[str, str] | None:
    """(collection, path) of a Globus destination's address; None for another destination."""
    found = _COLLECTION.fullmatch(address)
    return (found[1], found[2]) if found else None


def flow_input(template: Mapping[str, Any] | None, batch: Batch, action: str) -> Any:
    """The input of a flow: as many of the batch's files are listed as it has room for."""
    listed = LISTED
    while True:
        made = body(template, event(batch, action, listed))
        if listed == 0 or len(json.dumps(made)) <= FLOW_BYTES:
            return made
        listed = min(listed, len(batch.items)) // 2


def event(batch: Batch, action: str, listed: int = LISTED) -> dict[str, Any]:
    """The event for one action, which lists so many files at the most. Its id is the same however often it is sent."""
    items = batch.items[:listed]
    data: dict[str, Any] = {
        "rule": batch.rule,
        "batch": batch.id,
        "number": batch.number,
        "key": _text(batch.key),
        "host": batch.host,
        "destinations": [_destination(batch, name) for name in batch.addresses],
        "files": len(batch.items),
        "bytes": sum(item.size for item in batch.items),
        "items": [
            {
                "path": _text(item.path),
                "size": item.size,
                "copies": [copy._replace(path=_text(copy.path))._asdict() for copy in item.copies],
            }
            for item in items
        ],
    }
    if len(items) < len(batch.items):
        data["note"] = (
            f"{len(batch.items) - len(items)} more files are not listed; `dropline batches` and `dropline files` show them"
        )
    return {
        "specversion": "1.0",
        "id": f"{batch.id}/{action}",
        "source": f"urn:dropline:{batch.agent}",
        "type": TYPE,
        "subject": f"{batch.rule}/{batch.number}",
        "time": datetime.fromtimestamp(batch.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }


def _destination(batch: Batch, name: str) -> dict[str, Any]:
    place = at_collection(batch.addresses[name])
    return {
        "name": name,
        "collection": place[0] if place else None,
        "folder": _text(_below(_base(batch, name), _common(_directories(batch, name)))),
    }


def folders(batch: Batch, destination: str) -> list[str]:
    """The directories that hold the batch's files at a destination, each with a "/" at its end; none inside another."""
    found: list[str] = []
    for one in sorted({directory and f"{directory}/" for directory in _directories(batch, destination)}):
        if not any(one.startswith(other) for other in found):
            found.append(one)
    base = _base(batch, destination)
    return [_below(base, one.rstrip("/")) for one in found]


def body(template: Mapping[str, Any] | None, of: Mapping[str, Any]) -> Any:
    """The input of a flow: the template with the fields of this event; without one, the event."""
    if template is None:
        return dict(of)
    data = of["data"]
    fields = {name: data[name] for name in FIELDS if name in data} | {"event": of, "time": of["time"]}
    places = {one["name"]: one for one in data["destinations"]}
    first = next(iter(places), "")

    def value(field: str, spec: str) -> Any:
        return places.get(spec or first, {}).get(field) if field in PLACED else fields[field]

    def fill(one: Any) -> Any:
        if isinstance(one, Mapping):
            return {key: fill(inner) for key, inner in one.items()}
        if isinstance(one, list | tuple):
            return [fill(inner) for inner in one]
        if not isinstance(one, str):
            return one
        parts = [(text, name, spec or "") for text, name, spec, _ in string.Formatter().parse(one)]
        if len(parts) == 1 and parts[0][1] is not None and not parts[0][0]:
            return value(parts[0][1], parts[0][2])  # a field alone keeps its type
        return "".join(text + ("" if name is None else str(value(name, spec))) for text, name, spec in parts)

    return fill(template)


def _directories(batch: Batch, destination: str) -> set[str]:
    return {
        copy.path.rpartition("/")[0] for item in batch.items for copy in item.copies if copy.destination == destination
    }


def _common(directories: set[str]) -> str:
    """The lowest directory that holds all of them."""
    split = [one.split("/") if one else [] for one in directories]
    parts: list[str] = []
    for level in zip(*split, strict=False):
        if len(set(level)) > 1:
            break
        parts.append(level[0])
    return "/".join(parts)


def _base(batch: Batch, destination: str) -> str:
    place = at_collection(batch.addresses[destination])
    return place[1] if place else batch.addresses[destination]


def _below(base: str, directory: str) -> str:
    return f"{base.rstrip('/')}/{directory}/" if directory else f"{base.rstrip('/')}/"


def _text(path: str) -> str:
    """Names that are not UTF-8 with their bytes written out: JSON with lone surrogates is refused by many."""
    return path.encode("utf-8", "backslashreplace").decode()


def batch_of(payload: bytes) -> str:
    """The batch's id, of an event as it is sent. Raises ValueError where it is none."""
    found: str = json.loads(payload)["data"]["batch"]
    return found
