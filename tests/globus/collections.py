"""Collections: directories of this machine under the names and rules of Globus."""

from __future__ import annotations

import errno
import functools
import os
import posixpath
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from tests.globus.identities import Group, Identity
from tests.globus.wire import Document

Kind = Literal[
    "GCP_mapped_collection", "GCP_guest_collection", "GCSv5_mapped_collection", "GCSv5_guest_collection"
]  # fmt: skip
ALGORITHMS = ("MD5", "SHA1", "SHA256", "SHA512")


class FileFault(Exception):
    """A file that cannot be dealt with. `code` is what a task's event says [reference: Event Document error codes]."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


_CODES = {
    errno.ENOENT: "FILE_NOT_FOUND", errno.EACCES: "PERMISSION_DENIED", errno.EPERM: "PERMISSION_DENIED",
    errno.ENOSPC: "NO_SPACE_LEFT", errno.EDQUOT: "QUOTA_EXCEEDED", errno.EISDIR: "IS_A_DIRECTORY",
    errno.ENOTDIR: "NOT_A_DIRECTORY", errno.ENAMETOOLONG: "INVALID_PATH_NAME", errno.EILSEQ: "INVALID_PATH_NAME",
    errno.EEXIST: "NOT_A_DIRECTORY",
}  # fmt: skip


def fault(error: OSError) -> FileFault:
    """What the machine's error is called in events."""
    return FileFault(_CODES.get(error.errno or 0, "ENDPOINT_ERROR"), error.strerror or str(error))


class Rule(NamedTuple):
    """A grant on a guest collection."""

    id: str
    path: str
    permissions: str
    principal_type: str
    principal: str
    create_time: str | None
    expiration_date: str | None

    def document(self) -> Document:
        """As access_list shows it."""
        return {"DATA_TYPE": "access", "role_id": None, "role_type": None, **self._asdict()}


@dataclass
class Collection:
    """A directory, shown as "/". Tests set the fields: each takes effect with the next request or attempt."""

    display_name: str
    base: Path
    owner: Identity
    entity_type: Kind = "GCP_mapped_collection"
    high_assurance: bool = False
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    home: str = "/"
    """What /~/ means."""
    connected: bool = True
    """False: Globus Connect Personal is not running. Tasks wait, listings fail."""
    paused: str | None = None
    """The message of a pause rule. Tasks wait, listings fail."""
    session_policy: dict[str, str] = field(default_factory=dict)
    """session_required_... → what a login must have met."""
    algorithms: Sequence[str] = ALGORITHMS
    disable_verify: bool = False
    quota: int | None = None
    """Bytes that may be below the base."""
    managers: set[str] | None = None
    """Identities that may see and change access rules; None: everybody."""
    host: tuple[str, str] | None = None
    """The id of the collection that a guest collection shows a part of, and the path of that; None: the service does not say."""
    members: set[str] | None = None
    """Identities that a mapped collection has accounts for; None: everybody."""
    rules: dict[str, Rule] = field(default_factory=dict)
    """Who may see a guest collection beside its owner."""

    @property
    def is_guest(self) -> bool:
        """Whether access rules decide who sees what."""
        return self.entity_type.endswith("guest_collection")

    @property
    def needs_data_access(self) -> bool:
        """Whether Transfer needs a consent for it."""
        return self.entity_type == "GCSv5_mapped_collection" and not self.high_assurance

    @property
    def legacy_name(self) -> str:
        """The name before ids."""
        return f"{self.owner.legacy_name}#{self.id}"

    def open(self, identity: str, groups: Iterable[Group], path: str, *, write: bool) -> Path:
        """Where this path is on the machine, for anyone who may read (or also write) there.

        Raises FileFault: they may not, or the path leads out of the collection, or can be no name.
        """
        if not self._permits(identity, groups, path, write=write):
            raise FileFault("PERMISSION_DENIED", "Path not allowed")
        if path == "/~" or path.startswith("/~/"):
            path = self.home + path[2:]
        try:
            os.fsencode(path).decode()
        except UnicodeError as error:
            raise FileFault("INVALID_PATH_NAME", "the name is no UTF-8") from error
        if "\0" in path:
            raise FileFault("INVALID_PATH_NAME", "the name has a NUL in it")
        place = self._root
        for part in filter(None, posixpath.normpath("/" + path).split("/")):
            place = os.path.join(place, part)
            if os.path.islink(place) and os.path.commonpath([self._root, os.path.realpath(place)]) != self._root:
                raise FileFault("PERMISSION_DENIED", "Path not allowed")
        return Path(place)

    @functools.cached_property
    def _root(self) -> str:
        return os.path.realpath(self.base)

    def _permits(self, identity: str, groups: Iterable[Group], path: str, *, write: bool) -> bool:
        """Whether this identity may read (or also write) here."""
        if not self.is_guest:
            return self.members is None or identity in self.members
        mine = {group.id for group in groups}
        return identity == self.owner.id or any(
            (not write or rule.permissions == "rw")
            and (posixpath.normpath(path) + "/").startswith(rule.path)
            and (
                rule.principal_type in ("all_authenticated_users", "anonymous")
                or (rule.principal_type == "identity" and rule.principal == identity)
                or (rule.principal_type == "group" and rule.principal in mine)
            )
            for rule in self.rules.values()
        )

    def manages(self, identity: str) -> bool:
        """Whether this identity may change access rules."""
        return self.managers is None or identity in self.managers

    def room(self) -> int | None:
        """Bytes left under the quota."""
        if self.quota is None:
            return None
        return self.quota - sum(one.stat().st_size for one in self.base.rglob("*") if one.is_file())

    def document(self, identity: str) -> Document:
        """As GET /endpoint/<id> shows it to this identity."""
        personal = self.entity_type.startswith("GCP")
        roles = ["administrator", "access_manager"] if self.manages(identity) else []
        host, host_path = self.host or (None, "/" if self.is_guest else None)
        return {
            "DATA": [], "DATA_TYPE": "endpoint", "acl_available": self.is_guest,
            "acl_editable": self.is_guest and self.manages(identity), "activated": False,
            "authentication_timeout_mins": 30 if self.high_assurance else None, "canonical_name": self.legacy_name,
            "collection_base_path": None if personal else "/", "contact_email": None, "contact_info": None,
            "default_directory": self.home, "department": None, "description": None,
            "disable_anonymous_writes": False, "disable_verify": self.disable_verify, "display_name": self.display_name,
            "entity_type": self.entity_type, "expire_time": None, "expires_in": -1, "force_encryption": False,
            "force_verify": False, "french_english_bilingual": False, "gcp_connected": self.connected if personal else None,
            "gcp_paused": False if personal else None, "gcs_manager_url": None, "globus_connect_setup_key": None,
            "high_assurance": self.high_assurance, "host_endpoint_id": host if personal else None, "host_path": host_path,
            **({} if personal or host is None else {"mapped_collection_id": host}), "id": self.id,
            "in_use": False, "info_link": None, "is_globus_connect": personal, "keywords": None,
            "local_user_info_available": False, "mfa_required": False, "my_effective_roles": roles, "myproxy_dn": None,
            "myproxy_server": None, "non_functional": False, "non_functional_endpoint_display_name": None,
            "non_functional_endpoint_id": None, "oauth_server": None, "organization": "Stand-in", "owner_id": self.owner.id,
            "owner_string": self.owner.username, "public": True, "s3_owner_activated": False, "s3_url": None,
            "shareable": not self.is_guest, "subscription_id": None, "tlsftp_server": None, "username": self.owner.username,
        }  # fmt: skip


def pause_rule(collection: Collection) -> Document:
    """An administrator's rule, as who it concerns may see it."""
    acts = ("ls", "mkdir", "rename", "task_delete", "task_transfer_write", "task_transfer_read")
    return {
        "DATA_TYPE": "pause_rule_limited", "id": str(uuid.uuid5(uuid.NAMESPACE_OID, collection.id)),
        "message": collection.paused, "start_time": None, "endpoint_id": collection.id,
        "endpoint_display_name": collection.display_name, "identity_id": None, **{f"pause_{act}": True for act in acts},
    }  # fmt: skip
