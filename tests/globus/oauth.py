"""Globus Auth's OAuth 2 pages: logging in at the browser, and every way to a token."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.globus.auth import Auth, refused
from tests.globus.identities import Client
from tests.globus.scopes import AUTH, Scope, parse, resource_server
from tests.globus.tokens import DAY, Token
from tests.globus.wire import Answer, Document, Request, Route, document

_ISSUER = "https://auth.globus.org"


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Code(NamedTuple):
    """What the browser brings back from a login, to be exchanged once."""

    client: str
    identity: str
    redirect: str
    scopes: list[Scope]
    challenge: str | None
    offline: bool
    state: str | None
    nonce: str | None


class OAuth:
    """The pages that give and take tokens."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth
        self._codes: dict[str, Code] = {}

    def routes(self) -> list[Route]:
        """The pages of this part."""
        return [
            ("GET", "/v2/oauth2/authorize", self._authorize),
            ("GET", "/v2/web/auth-code", self._show_code),
            ("POST", "/v2/oauth2/token", self._token),
            ("POST", "/v2/oauth2/token/revoke", self._revoke),
            ("POST", "/v2/oauth2/token/introspect", self._introspect),
            ("POST", "/v2/oauth2/token/validate", self._validate),
            ("GET", "/v2/oauth2/userinfo", self._userinfo),
            ("GET", "/.well-known/openid-configuration", self._configuration),
            ("GET", "/jwk.json", self._keys),
        ]

    def _authorize(self, request: Request) -> Answer:
        """The person at the browser logs in at once, and agrees to all that is asked (or refuses)."""
        asked = request.query
        client = self._auth.directory.clients.get(asked.get("client_id", ""))
        redirect = asked.get("redirect_uri", "")
        if client is None or not redirect or asked.get("response_type") != "code":
            raise refused(400, "invalid_request", "client_id, redirect_uri or response_type=code is missing or unknown")
        if self._auth.refuses:
            return _redirect(redirect, {"error": "access_denied", "state": asked.get("state")})
        who = self._auth.browser
        scopes = _known(asked.get("scope", ""), self._auth)
        self._auth.consents.give(who.id, client.id, scopes)
        met = {name: value for name, value in asked.items() if name.startswith("session_required_")}
        self._auth.sessions.setdefault(who.id, {}).update(met)
        code = secrets.token_urlsafe(16)
        if asked.get("code_challenge") and asked.get("code_challenge_method") != "S256":
            raise refused(400, "invalid_request", "code_challenge_method is not S256")
        self._codes[code] = Code(
            client.id, who.id, redirect, scopes, asked.get("code_challenge"), asked.get("access_type") == "offline",
            asked.get("state"), asked.get("nonce"),
        )  # fmt: skip
        return _redirect(redirect, {"code": code, "state": asked.get("state")})

    def _show_code(self, request: Request) -> Answer:
        code = html.escape(request.query.get("code", request.query.get("error", "")))
        page = f'<!doctype html><title>Native App</title><textarea id="auth_code" readonly>{code}</textarea>\n'
        return Answer(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def _token(self, request: Request) -> Answer:
        form = request.form
        client = self._client(request)
        grant = form.get("grant_type")
        if grant == "client_credentials":
            if client.secret is None or client.id not in self._auth.directory.identities:
                raise refused(401, "unauthorized_client", "this client has no identity of its own")
            scopes = _known(form.get("scope", ""), self._auth)
            self._auth.consents.give(client.id, client.id, scopes)
            return document(self._answer(client.id, client.id, scopes, offline=False))
        if grant == "authorization_code":
            code = self._codes.pop(form.get("code", ""), None)
            if code is None or (code.client, code.redirect) != (client.id, form.get("redirect_uri")):
                raise refused(401, "invalid_grant", "the code is used, unknown, or another client's")
            if not _proves(form.get("code_verifier"), code.challenge, needed=client.secret is None):
                raise refused(401, "invalid_grant", "the code verifier is wrong")
            tokens = self._answer(client.id, code.identity, code.scopes, offline=code.offline, nonce=code.nonce)
            return document({**tokens, "state": code.state})
        if grant == "refresh_token":
            old = self._auth.tokens.find(form.get("refresh_token", ""), "refresh")
            given = self._auth.consents
            if old is None or old.client != client.id or not given.has(old.identity, client.id, old.scopes[0].name):
                raise refused(400, "invalid_grant", "the refresh token is not active")
            self._auth.tokens.used(old)
            new = self._auth.tokens.issue("access", client.id, old.identity, old.resource_server, old.scopes)
            return document({**_token_document(new, old, self._auth.tokens.access_life), "other_tokens": []})
        raise refused(400, "unsupported_grant_type", f"no grant type {grant!r}")

    def _answer(
        self, client: str, identity: str, scopes: list[Scope], *, offline: bool, nonce: str | None = None
    ) -> Document:
        """One token for each resource server; Auth's own comes first if it is asked for, as its id_token goes with it."""
        by_server: dict[str, list[Scope]] = {}
        for scope in scopes:
            by_server.setdefault(resource_server(scope.name) or "", []).append(scope)
        documents: list[Document] = []
        for server, its in by_server.items():
            access = self._auth.tokens.issue("access", client, identity, server, its)
            refresh = self._auth.tokens.issue("refresh", client, identity, server, its) if offline else None
            one = _token_document(access, refresh, self._auth.tokens.access_life)
            if any(scope.name == "openid" for scope in its):
                one["id_token"] = self._id_token(client, identity, nonce)
                documents.insert(0, one)
            else:
                documents.append(one)
        return {**documents[0], "other_tokens": documents[1:]}

    def _id_token(self, client: str, identity: str, nonce: str | None) -> str:
        """Dated by the machine's clock, not the service's: clients compare it with theirs."""
        who, now = self._auth.directory.identities[identity], int(time.time())
        claims: dict[str, Any] = {
            "iss": _ISSUER, "sub": who.id, "aud": client, "iat": now, "exp": now + int(2 * DAY), "name": who.name,
            "email": who.email, "preferred_username": who.username, "last_authentication": now, "nonce": nonce,
            "identity_set": [{"sub": who.id, "username": who.username, "last_authentication": now}],
        }  # fmt: skip
        return jwt.encode(claims, _key(), algorithm="RS512", headers={"kid": "stand-in"})

    def _revoke(self, request: Request) -> Answer:
        client = self._client(request)
        token = self._auth.tokens.find(request.form.get("token", ""))
        if token is not None and token.client == client.id:
            self._auth.tokens.revoke(token.value)
        return document({"active": False})

    def _validate(self, request: Request) -> Answer:
        self._client(request)
        return document({"active": self._auth.tokens.find(request.form.get("token", "")) is not None})

    def _introspect(self, request: Request) -> Answer:
        self._client(request)
        token = self._auth.tokens.find(request.form.get("token", ""))
        if token is None:
            return document({"active": False})
        who = self._auth.directory.identities[token.identity]
        return document({
            "active": True, "token_type": "Bearer", "scope": token.scope, "client_id": token.client,
            "username": who.username, "name": who.name, "email": who.email, "exp": int(token.expires_at),
            "iat": int(token.issued_at), "nbf": int(token.issued_at), "sub": who.id,
            "aud": [token.resource_server, token.client], "iss": _ISSUER,
        })  # fmt: skip

    def _userinfo(self, request: Request) -> Answer:
        token = self._auth.caller(request, AUTH)
        who = self._auth.directory.identities[token.identity]
        names = {"name": who.name, "email": who.email, "preferred_username": who.username}
        return document({"sub": who.id, **names, "identity_set": [who.document()]})

    def _configuration(self, request: Request) -> Answer:
        base = f"http://{request.headers['Host']}"
        return document({
            "issuer": _ISSUER, "jwks_uri": f"{base}/jwk.json", "id_token_signing_alg_values_supported": ["RS512"],
            "authorization_endpoint": f"{base}/v2/oauth2/authorize", "token_endpoint": f"{base}/v2/oauth2/token",
            "revocation_endpoint": f"{base}/v2/oauth2/token/revoke", "userinfo_endpoint": f"{base}/v2/oauth2/userinfo",
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
        })  # fmt: skip

    def _keys(self, _: Request) -> Answer:
        key = json.loads(RSAAlgorithm.to_jwk(_key().public_key()))
        return document({"keys": [{**key, "alg": "RS512", "use": "sig", "kid": "stand-in"}]})

    def _client(self, request: Request) -> Client:
        """Who asks: by Basic authentication, or a native app by its id in the form."""
        scheme, _, value = (request.headers.get("Authorization") or "").partition(" ")
        name, secret = request.form.get("client_id", ""), request.form.get("client_secret")
        if scheme == "Basic":
            name, _, given = base64.b64decode(value).decode().partition(":")
            name, secret = unquote(name), unquote(given)
        client = self._auth.directory.clients.get(name)
        if client is None or client.secret != secret:
            raise refused(401, "invalid_client", "Invalid client credentials")
        return client


def _token_document(access: Token, refresh: Token | None, life: float) -> Document:
    made: Document = {
        "access_token": access.value, "scope": access.scope, "expires_in": int(life), "token_type": "Bearer",
        "resource_server": access.resource_server,
    }  # fmt: skip
    return made if refresh is None else {**made, "refresh_token": refresh.value}


def _known(text: str, auth: Auth) -> list[Scope]:
    """The scopes asked for, each once. Raises Problem."""
    try:
        scopes = parse(text)
    except ValueError as error:
        raise refused(400, "invalid_scope", str(error)) from error
    merged: dict[str, Scope] = {}
    for scope in scopes:
        for name in (name for path in scope.paths() for name in path):
            if not auth.knows(name):
                raise refused(400, "unknown_scope", f"Unknown Scope: {name}")
        if scope.name not in merged or scope.needs:
            merged[scope.name] = Scope(
                scope.name, (*merged.get(scope.name, scope._replace(needs=())).needs, *scope.needs)
            )
    if not merged:
        raise refused(400, "invalid_scope", "no scope is asked for")
    return list(merged.values())


def _proves(verifier: str | None, challenge: str | None, *, needed: bool) -> bool:
    if challenge is None:
        return not needed
    digest = hashlib.sha256((verifier or "").encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") == challenge.rstrip("=")


def _redirect(to: str, parameters: Mapping[str, str | None]) -> Answer:
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return Answer(302, b"", {"Location": f"{to}{'&' if '?' in to else '?'}{query}"})
