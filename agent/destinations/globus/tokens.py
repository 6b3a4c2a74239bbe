"""The token file: readable by its owner alone, replaced in one rename."""

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from globus_sdk.token_storage import JSONTokenStorage, TokenStorageData

log = logging.getLogger(__name__)


def private(folder: Path) -> Path:
    """Make a directory that only its owner may enter. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def replace(path: Path, value: Any) -> None:
    """Write JSON so that a reader, or a crash, meets the old file or the new one. Raises OSError."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=private(path.parent))  # 0600
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class TokenFile(JSONTokenStorage):
    """Tokens in the SDK's own format."""

    def __init__(self, folder: Path, client_id: str) -> None:
        """`folder`: of the tokens; `client_id`: each application has a file of its own."""
        self.path = folder / f"tokens-{client_id}.json"
        private(folder)
        super().__init__(self.path)

    def signature(self) -> tuple[int, int, int] | None:
        """What changes whenever the file does, whoever writes it; None where there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def used_at(self) -> float | None:
        """When the tokens were last renewed; None where there are none."""
        try:
            return self.path.stat().st_mtime
        except OSError:
            return None

    def _raw_load(self) -> dict[str, Any]:
        try:
            if os.name == "posix" and self.path.stat().st_mode & 0o077:
                self.path.chmod(0o600)
                log.warning(
                    "%s could be read by others until now; `dropline logout` and `login` make new tokens", self.path
                )
            return super()._raw_load()
        except ValueError:
            log.warning("%s is damaged and counts as absent; `dropline login` writes it anew", self.path)
            raise FileNotFoundError(self.path) from None

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
