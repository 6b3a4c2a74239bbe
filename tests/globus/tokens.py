"""Tokens and consents: what has been handed out, until when it counts, and what was agreed to."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.globus import clock
from tests.globus.scopes import Scope
from tests.globus.wire import Document

DAY = 86400.0


@dataclass
class Token:
    """A token for one resource server. Kinds: access, refresh."""

    value: str
    kind: str
    client: str
    identity: str
    resource_server: str
    scopes: list[Scope]
    issued_at: float
    expires_at: float

    @property
    def scope(self) -> str:
        """The scopes as answers write them: names, without what they need."""
        return " ".join(scope.name for scope in self.scopes)


class Tokens:
    """All tokens that count."""

    access_life = 2 * DAY
    """Seconds: what the SDK's recorded answers say (expires_in 172800)."""
    refresh_life = 182 * DAY
    """Seconds without use after which a refresh token is dead: six months."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tokens: dict[str, Token] = {}

    def issue(self, kind: str, client: str, identity: str, resource_server: str, scopes: list[Scope]) -> Token:
        """A new token."""
        now = self._now()
        life = self.access_life if kind == "access" else self.refresh_life
        token = Token(
            secrets.token_urlsafe(32), kind, client, identity, resource_server, scopes, now, now + life
        )  # fmt: skip
        self._tokens[token.value] = token
        return token

    def find(self, value: str, kind: str | None = None) -> Token | None:
        """The token with this value, if it still counts."""
        token = self._tokens.get(value)
        if token is None or (kind is not None and token.kind != kind) or token.expires_at <= self._now():
            return None
        return token

    def used(self, token: Token) -> None:
        """A refresh token that is used lives on."""
        token.expires_at = self._now() + self.refresh_life

    def revoke(self, value: str) -> None:
        """This token counts no more."""
        self._tokens.pop(value, None)

    def revoke_all(self, kind: str | None = None, identity: str | None = None) -> None:
        """No token of this kind and identity (default: of any) counts any more."""
        self._tokens = {
            value: token
            for value, token in self._tokens.items()
            if (kind is not None and token.kind != kind) or (identity is not None and token.identity != identity)
        }


class Consents:
    """What each identity has let each client do: paths of scope names."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._given: dict[tuple[str, str], dict[tuple[str, ...], tuple[int, float]]] = {}
        self._count = 0

    def give(self, identity: str, client: str, scopes: Iterable[Scope]) -> None:
        """Agree to these scopes and all that they need."""
        given = self._given.setdefault((identity, client), {})
        for scope in scopes:
            for path in scope.paths():
                if path not in given:
                    self._count += 1
                    given[path] = (self._count, self._now())

    def has(self, identity: str, client: str, *path: str) -> bool:
        """Whether this was agreed to."""
        return path in self._given.get((identity, client), {})

    def withdraw(self, identity: str, client: str | None = None) -> None:
        """Take back what this identity agreed to."""
        for key in [key for key in self._given if key[0] == identity and client in (None, key[1])]:
            del self._given[key]

    def documents(self, identity: str) -> list[Document]:
        """As /v2/api/identities/<id>/consents shows them."""
        return [
            {
                "allows_refresh": True,
                "atomically_revocable": len(path) > 1,
                "auto_approved": False,
                "client": client,
                "created": clock.text(when),
                "dependency_path": [given[path[: length + 1]][0] for length in range(len(path))],
                "effective_identity": identity,
                "id": number,
                "last_used": clock.text(self._now()),
                "scope": str(uuid.uuid5(uuid.NAMESPACE_URL, path[-1])),
                "scope_name": path[-1],
                "status": "approved",
                "updated": clock.text(when),
            }
            for (owner, client), given in self._given.items()
            if owner == identity
            for path, (number, when) in given.items()
        ]
