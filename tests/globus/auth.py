"""Globus Auth: who calls, what they agreed to, and the pages under /v2/api."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

from tests.globus.clock import Clock
from tests.globus.identities import Client, Directory, Identity
from tests.globus.scopes import ALL_OF_TRANSFER, AUTH, data_access, resource_server
from tests.globus.tokens import Consents, Token, Tokens
from tests.globus.wire import Answer, Document, Problem, Request, Route, document, transfer_problem


def refused(status: int, error: str, detail: str) -> Problem:
    """An error as Auth writes it: OAuth's `error`, and the same in a list [globus_sdk.testing.data.auth._common]."""
    one = {"status": str(status), "id": str(uuid.uuid4()), "code": error.upper(), "detail": detail, "title": detail}
    return Problem(document({"error": error, "error_description": detail, "errors": [one]}, status))


class Auth:
    """Identities, tokens, consents and sessions; and whoever sits at the browser."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.directory = Directory()
        self.tokens = Tokens(clock.now)
        self.consents = Consents(clock.now)
        self.sessions: dict[str, dict[str, str]] = {}
        """Identity → the session requirements (session_required_*) that its last logins have met."""
        self.browser: Identity = self.directory.person("ada@example.org", "Ada Lovelace")
        """Who logs in when an authorize page is opened."""
        self.refuses = False
        """Whether who sits at the browser says no."""
        self.knows: Callable[[str], bool] = lambda scope: resource_server(scope) is not None
        """Whether there is a scope of this name."""

    def routes(self) -> list[Route]:
        """The pages of this part."""
        return [
            ("GET", "/v2/api/identities", self._identities),
            ("GET", "/v2/api/identities/{}", self._identity),
            ("GET", "/v2/api/identities/{}/consents", self._consents),
            ("POST", "/v2/api/clients", self._register),
        ]

    def caller(self, request: Request, resource_server: str) -> Token:
        """The token that this request to a resource server shows. Raises Problem: 401."""
        token = self.tokens.find(_bearer(request), "access")
        if token is None or token.resource_server != resource_server:
            raise transfer_problem(request, 401, "AuthenticationFailed", "Token is not active")
        return token

    def require_consent(self, request: Request, token: Token, collection: str) -> None:
        """Transfer may act on this mapped collection for the caller. Raises Problem: 403 ConsentRequired."""
        needed = (ALL_OF_TRANSFER, data_access(collection))
        if not self.consents.has(token.identity, token.client, *needed):
            raise transfer_problem(
                request, 403, "ConsentRequired", "Missing required data_access consent",
                required_scopes=[f"{needed[0]}[*{needed[1]}]"],
            )  # fmt: skip

    def require_session(
        self, request: Request, token: Token, policy: Mapping[str, str], status: int, code: str
    ) -> None:
        """The caller's session meets this policy. Raises Problem with authorization_parameters."""
        session = self.sessions.get(token.identity, {})
        missing = {name: value for name, value in policy.items() if session.get(name) != value}
        if missing:
            parameters = {"session_message": "Session reauthentication required", **policy}
            lists = ("session_required_identities", "session_required_policies", "session_required_single_domain")
            raise transfer_problem(
                request, status, code, "the session does not meet the policy of this collection",
                authorization_parameters={
                    name: value.split(",") if name in lists else value for name, value in parameters.items()
                },
            )  # fmt: skip

    def _signed_in(self, request: Request) -> Token:
        token = self.tokens.find(_bearer(request), "access")
        if token is None or token.resource_server != AUTH:
            raise refused(401, "unauthorized", "Call must be authenticated")
        return token

    def _identities(self, request: Request) -> Answer:
        self._signed_in(request)
        found: list[Document] = []
        for one in filter(None, request.query.get("ids", "").split(",")):
            if identity := self.directory.identities.get(one):
                found.append(identity.document())
        for name in filter(None, request.query.get("usernames", "").split(",")):
            named = self.directory.named(name)
            if named is None and request.query.get("provision", "").lower() in ("true", "1"):
                named = self.directory.person(name)
            if named:
                found.append(named.document())
        return document({"identities": found})

    def _identity(self, request: Request, identity: str) -> Answer:
        self._signed_in(request)
        if identity not in self.directory.identities:
            raise refused(404, "not_found", f"no identity {identity}")
        return document({"identity": self.directory.identities[identity].document()})

    def _consents(self, request: Request, identity: str) -> Answer:
        if self._signed_in(request).identity != identity:
            raise refused(403, "forbidden", "these are another identity's consents")
        return document({"consents": self.consents.documents(identity)})

    def _register(self, request: Request) -> Answer:
        """An app makes its own client from a template, as the `globus` command does before a person's first login."""
        template = request.json()["client"].get("template_id")
        client = Client(str(uuid.uuid4()), "secret-of-a-templated-client")
        self.directory.clients[client.id] = client
        credential = {
            "id": str(uuid.uuid4()),
            "client": client.id,
            "secret": client.secret,
            "name": "Created from a template",
        }
        return document(
            {"client": {"id": client.id, "template_id": template}, "included": {"client_credential": credential}}, 201
        )


def _bearer(request: Request) -> str:
    scheme, _, value = (request.headers.get("Authorization") or "").partition(" ")
    return value if scheme == "Bearer" else ""
