"""The token file: readable by its owner alone, replaced in one rename."""

import json
import logging
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from globus_sdk.token_storage import JSONTokenStorage, TokenStorageData

from agent.host import own_files

_AT_MOST = 16 * 2**20
"""Bytes of a file."""

log = logging.getLogger(__name__)


def replace(path: PurePath, value: Any) -> None:
    """Write JSON so that a reader, or a crash, meets the old file or the new one. Raises OSError."""
    own_files.make_inner_directory(path.parent)
    own_files.write_whole(path, json.dumps(value).encode(), 0o600, durably=True)


def read(path: PurePath) -> Any:
    """JSON that was written so. Raises OSError, and ValueError where the file is damaged."""
    return json.loads(own_files.read_bounded(path, _AT_MOST)[0])


class TokenFile(JSONTokenStorage):
    """Tokens in the SDK's own format."""

    def __init__(self, folder: PurePath, client_id: str) -> None:
        """`folder`: of the tokens; `client_id`: each application has its own file."""
        self.path = folder / f"tokens-{client_id}.json"
        own_files.make_inner_directory(folder)
        super().__init__(str(self.path))

    def signature(self) -> tuple[int, int, int] | None:
        """What changes whenever the file does, whoever writes it; None where there is none."""
        try:
            facts = own_files.facts(self.path)
        except OSError:
            return None
        return facts.mtime_ns, facts.size, facts.file_id

    def used_at(self) -> float | None:
        """When the tokens were last renewed; None where there are none."""
        try:
            return own_files.facts(self.path).modified_at
        except OSError:
            return None

    def _raw_load(self) -> dict[str, Any]:
        try:
            if own_files.make_private(self.path):
                log.warning(
                    "%s could be read by others until now; `dropline logout` and `login` make new tokens", self.path
                )
            found = read(self.path)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        log.warning("%s is damaged and counts as absent; a new login writes it", self.path)
        raise FileNotFoundError(self.path)

    def store_token_data_by_resource_server(self, fresh: Mapping[str, TokenStorageData]) -> None:
        """Add or replace tokens."""
        data = self._load()
        data["data"].setdefault(self.namespace, {}).update({server: one.to_dict() for server, one in fresh.items()})
        replace(self.path, data)

    def remove_token_data(self, resource_server: str) -> bool:
        """Forget the tokens for one service. Returns whether there were any."""
        data = self._load()
        found = data["data"].get(self.namespace, {}).pop(resource_server, None)
        replace(self.path, data)
        return found is not None
