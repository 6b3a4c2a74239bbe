"""Who there is: people, clients, and the groups they are in."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field

from tests.globus.wire import Document

_PROVIDER = "41143743-f3c8-4d60-bbdb-eeecaba85bd9"


@dataclass(frozen=True)
class Identity:
    """A person or a service account."""

    id: str
    username: str
    name: str | None = None
    email: str | None = None

    @property
    def legacy_name(self) -> str:
        """The name that task and endpoint documents have: u_ and the id in base 32."""
        return "u_" + base64.b32encode(uuid.UUID(self.id).bytes).decode().rstrip("=").lower()

    def document(self) -> Document:
        """As /v2/api/identities shows it."""
        return {
            "email": self.email,
            "id": self.id,
            "identity_provider": _PROVIDER,
            "identity_type": "login",
            "name": self.name,
            "organization": None,
            "status": "used",
            "username": self.username,
        }


@dataclass(frozen=True)
class Client:
    """An application: with a secret it has its own identity, without one it acts for people."""

    id: str
    secret: str | None = None


@dataclass
class Group:
    """Some identities, by id."""

    id: str
    name: str
    members: set[str] = field(default_factory=set)


class Directory:
    """Everybody the service knows."""

    def __init__(self) -> None:
        self.identities: dict[str, Identity] = {}
        self.clients: dict[str, Client] = {}
        self.groups: dict[str, Group] = {}

    def person(self, username: str, name: str | None = None) -> Identity:
        """A new person."""
        return self._add(Identity(str(uuid.uuid4()), username, name or username.partition("@")[0].title(), username))

    def application(self, client: str | None = None) -> Client:
        """A new native app (no secret), under this id or a new one."""
        made = Client(client or str(uuid.uuid4()))
        self.clients[made.id] = made
        return made

    def account(self, client: str | None = None, secret: str = "not-so-secret") -> Client:
        """A new service account: a client with a secret; its identity has the same id."""
        made = Client(client or str(uuid.uuid4()), secret)
        self.clients[made.id] = made
        self._add(Identity(made.id, f"{made.id}@clients.auth.globus.org", "Service Account"))
        return made

    def group(self, name: str, *members: Identity) -> Group:
        """A new group."""
        made = Group(str(uuid.uuid4()), name, {member.id for member in members})
        self.groups[made.id] = made
        return made

    def named(self, username: str) -> Identity | None:
        """The identity with this user name, in any case."""
        return next((one for one in self.identities.values() if one.username.lower() == username.lower()), None)

    def groups_of(self, identity: str) -> list[Group]:
        """The groups that this identity is in."""
        return [group for group in self.groups.values() if identity in group.members]

    def _add(self, identity: Identity) -> Identity:
        self.identities[identity.id] = identity
        return identity
