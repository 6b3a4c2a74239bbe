"""The serialized request: what is stored before it is sent, and sent again as it is."""

import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.destinations import Item
from agent.destinations.globus.collection_path import CollectionPath
from agent.destinations.globus.proof import Checksum

TASK_FILES = 2_000
TASK_BYTES = 500 * 10**9
"""A task is not larger than this, so that it ends within hours and its evidence is read with few requests."""
_LABEL = 128
"""Letters, the most that the service takes (https://docs.globus.org/api/transfer/task_submit/)."""


def limit_task_size(items: Sequence[Item]) -> list[Item]:
    """As many items as one task should have; at least one."""
    chosen: list[Item] = []
    held = 0
    for item in items:
        held += item.version.size
        if chosen and (len(chosen) >= TASK_FILES or held > TASK_BYTES):
            break
        chosen.append(item)
    return chosen


def full_label(agent: str, label: str, delivery: int) -> str:
    """What people see in the web application, and what a task is found by."""
    return f"Dropline {agent} delivery {delivery}: {label}"[:_LABEL]


def serialize(
    collection_path: CollectionPath, data: Sequence[Mapping[str, Any]], submission: str, name: str, now: datetime
) -> bytes:
    """The whole body of the submission.

    Args:
        collection_path: between which collections, and how.
        data: the files, as `transfer_item` has them.
        submission: its submission id, which makes sending it twice harmless.
        name: its label.
        now: for the deadline.
    """
    body: dict[str, Any] = {
        "DATA_TYPE": "transfer",
        "submission_id": submission,
        "source_endpoint": collection_path.source,
        "destination_endpoint": collection_path.collection,
        "label": name,
        "verify_checksum": collection_path.verify_checksum,
        "preserve_timestamp": True,
        "encrypt_data": collection_path.encrypt_data,
        # A source that cannot be read does not hold up the others; what was skipped has no evidence, and goes again.
        "skip_source_errors": True,
        "fail_on_quota_errors": False,
        **{f"notify_on_{event}": event in collection_path.notify for event in ("succeeded", "failed", "inactive")},
        "DATA": data,
    }
    if collection_path.deadline is not None:
        body["deadline"] = (now.astimezone(UTC) + timedelta(seconds=collection_path.deadline)).isoformat(
            timespec="seconds"
        )
    return zlib.compress(json.dumps(body).encode(), 6)


def transfer_item(collection_path: CollectionPath, item: Item, checksum: bytes | None = None) -> dict[str, Any]:
    """A file in the body of a submission. `checksum`: what the service is to compare with."""
    found: dict[str, Any] = {
        "DATA_TYPE": "transfer_item",
        "source_path": collection_path.local(item),
        "destination_path": collection_path.there(item.path),
        "recursive": False,
    }
    if checksum is not None:
        found |= {"external_checksum": checksum.hex(), "checksum_algorithm": (collection_path.checksum or "").upper()}
    return found


def checksum_in(item: Mapping[str, Any]) -> Checksum | None:
    """What the service was to compare a file of a request with; None: nothing."""
    if "external_checksum" not in item:
        return None
    return Checksum(str(item["checksum_algorithm"]).lower(), bytes.fromhex(item["external_checksum"]))


def deserialize(request: bytes) -> dict[str, Any]:
    """The body of a serialized request."""
    body: dict[str, Any] = json.loads(zlib.decompress(request))
    return body
