"""The pages about collections themselves: finding them, showing them, and who may use them."""

from __future__ import annotations

import uuid

from tests.globus import clock, filters
from tests.globus.auth import Auth
from tests.globus.clock import Clock
from tests.globus.collections import Collection, Rule, pause_rule
from tests.globus.scopes import TRANSFER
from tests.globus.wire import Answer, Request, Route, document, transfer_problem

_PRINCIPALS = ("identity", "group", "all_authenticated_users", "anonymous")


class Endpoints:
    """The pages under /endpoint."""

    def __init__(self, auth: Auth, collections: dict[str, Collection], time: Clock) -> None:
        self._auth = auth
        self._collections = collections
        self._clock = time

    def routes(self) -> list[Route]:
        """The pages of this part."""
        return [
            ("GET", "/v0.10/endpoint_search", self._search),
            ("GET", "/v0.10/endpoint/{}", self._show),
            ("GET", "/v0.10/endpoint/{}/access_list", self._rules),
            ("GET", "/v0.10/endpoint/{}/my_effective_pause_rule_list", self._pauses),
            ("POST", "/v0.10/endpoint/{}/access", self._grant),
            ("GET", "/v0.10/endpoint/{}/access/{}", self._rule),
            ("DELETE", "/v0.10/endpoint/{}/access/{}", self._revoke),
        ]

    def _find(self, request: Request, name: str, *, managed: bool = False) -> Collection:
        caller = self._auth.caller(request, TRANSFER).identity
        found = self._collections.get(name)
        if found is None:
            raise transfer_problem(request, 404, "EndpointNotFound", f"No such endpoint '{name}'")
        if managed and not found.manages(caller):
            raise transfer_problem(request, 403, "PermissionDenied", "You do not have the access_manager role")
        if managed and not found.is_guest:
            raise transfer_problem(request, 409, "Conflict", "only guest collections have access rules")
        return found

    def _search(self, request: Request) -> Answer:
        caller = self._auth.caller(request, TRANSFER).identity
        asked = request.query
        words, scope = asked.get("filter_fulltext", "").lower().split(), asked.get("filter_scope", "all")
        if scope == "all" and not words:
            raise transfer_problem(request, 400, "ClientError.BadRequest", "filter_fulltext is required")
        found = [
            one.document(caller)
            for one in self._collections.values()
            if all(word in one.display_name.lower() for word in words)
            and asked.get("filter_entity_type") in (None, one.entity_type)
            and asked.get("filter_owner_id") in (None, one.owner.id)
            and (scope not in ("my-endpoints", "my-gcp-endpoints") or one.owner.id == caller)
        ]
        limit, offset = request.number("limit", 100), request.number("offset", 0)
        rows = [filters.thinned(request, one) for one in found[offset : offset + limit]]
        return document({
            "DATA": rows, "DATA_TYPE": "endpoint_list", "has_next_page": offset + limit < len(found), "limit": limit,
            "offset": offset,
        })  # fmt: skip

    def _show(self, request: Request, name: str) -> Answer:
        found = self._find(request, name)
        return document(filters.thinned(request, found.document(self._auth.caller(request, TRANSFER).identity)))

    def _pauses(self, request: Request, name: str) -> Answer:
        found = self._find(request, name)
        rows = [] if found.paused is None else [pause_rule(found)]
        return document(
            {"DATA_TYPE": "pause_rule_limited_list", "endpoint": found.id, "length": len(rows), "DATA": rows}
        )

    def _rules(self, request: Request, name: str) -> Answer:
        found = self._find(request, name, managed=True)
        rows = [rule.document() for rule in found.rules.values()]
        owner = {
            "DATA_TYPE": "access", "id": None, "path": "/", "permissions": "rw", "principal": found.owner.id,
            "principal_type": "identity", "role_id": str(uuid.uuid5(uuid.NAMESPACE_OID, found.id)),
            "role_type": "administrator", "create_time": None, "expiration_date": None,
        }  # fmt: skip
        return document(
            {"DATA_TYPE": "access_list", "endpoint": found.id, "length": len(rows) + 1, "DATA": [owner, *rows]}
        )

    def _grant(self, request: Request, name: str) -> Answer:
        found, sent = self._find(request, name, managed=True), request.json()
        path, kind, principal = sent.get("path"), sent.get("principal_type"), sent.get("principal") or ""
        if kind not in _PRINCIPALS or sent.get("permissions") not in ("r", "rw") or sent.get("DATA_TYPE") != "access":
            raise transfer_problem(request, 400, "ClientError.BadRequest", "principal_type or permissions is not known")
        known = {"identity": [*self._auth.directory.identities], "group": [*self._auth.directory.groups]}
        if principal not in known.get(kind, [""]):
            raise transfer_problem(request, 400, "ClientError.BadRequest", f"no {kind} {principal!r}")
        if not isinstance(path, str) or not path.startswith("/") or not path.endswith("/"):
            raise transfer_problem(
                request, 400, "ClientError.BadRequest.InvalidPath", f"not a directory, with a / at its end: {path!r}"
            )
        if any(
            (rule.path, rule.principal_type, rule.principal) == (path, kind, principal) for rule in found.rules.values()
        ):
            raise transfer_problem(request, 409, "Exists", "This access rule exists already")
        rule = Rule(
            str(uuid.uuid4()), path, sent["permissions"], kind, principal, clock.text(self._clock.now()),
            sent.get("expiration_date"),
        )  # fmt: skip
        found.rules[rule.id] = rule
        return document({
            "DATA_TYPE": "access_create_result", "access_id": rule.id, "code": "Created",
            "message": "Access rule created successfully.", "request_id": "abc123def", "resource": request.path,
        }, 201)  # fmt: skip

    def _rule(self, request: Request, name: str, rule: str) -> Answer:
        found = self._find(request, name, managed=True)
        if rule not in found.rules:
            raise transfer_problem(request, 404, "AccessRuleNotFound", f"No access rule {rule}")
        return document(found.rules[rule].document())

    def _revoke(self, request: Request, name: str, rule: str) -> Answer:
        self._rule(request, name, rule)
        del self._collections[name].rules[rule]
        message = f"Access rule '{rule}' deleted successfully"
        return document(
            {
                "DATA_TYPE": "result",
                "code": "Deleted",
                "message": message,
                "request_id": "abc123def",
                "resource": request.path,
            }
        )
