"""Globus Flows and Groups, as far as needed: starting runs and finding them, and one's groups."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from tests.globus import clock
from tests.globus.auth import Auth
from tests.globus.clock import Clock
from tests.globus.scopes import FLOWS, GROUPS, flow_user
from tests.globus.tokens import Token
from tests.globus.wire import Answer, Document, Problem, Request, Route, document


@dataclass(frozen=True)
class Flow:
    """Something that can be started."""

    id: str
    title: str


class Flows:
    """Flows run for ever, unless a test says how they end."""

    def __init__(self, auth: Auth, time: Clock) -> None:
        self._auth = auth
        self._clock = time
        self.flows: dict[str, Flow] = {}
        self.runs: dict[str, Document] = {}
        self.per_page = 100
        """Runs in one answer."""

    def flow(self, title: str) -> Flow:
        """A new flow."""
        made = Flow(str(uuid.uuid4()), title)
        self.flows[made.id] = made
        return made

    def end(self, run: str, status: str = "SUCCEEDED") -> None:
        """Let a run end: SUCCEEDED or FAILED."""
        self.runs[run].update(status=status, display_status=status, completion_time=clock.text(self._clock.now()))

    def routes(self) -> list[Route]:
        """The pages of this part."""
        return [
            ("POST", "/flows/{}/run", self._run),
            ("GET", "/runs", self._list),
            ("GET", "/runs/{}", self._show),
            ("GET", "/v2/groups/my_groups", self._groups),
        ]

    def _caller(self, request: Request, *servers: str) -> Token:
        value = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        token = self._auth.tokens.find(value, "access")
        if token is None:
            raise _error(401, "AUTHENTICATION_ERROR", "Expired or invalid Bearer token")
        if token.resource_server not in servers:
            raise _error(403, "MISSING_SCOPE", f"This action requires a scope of {servers[0]}")
        return token

    def _run(self, request: Request, flow: str) -> Answer:
        token = self._caller(request, flow)
        if flow not in self.flows:
            raise _error(404, "NOT_FOUND", f"no flow {flow}")
        if flow_user(flow) not in token.scope.split():
            raise _error(403, "MISSING_SCOPE", f"This action requires the following scope: {flow_user(flow)}")
        sent = request.json()
        if not isinstance(sent.get("body"), dict):
            raise _error(422, "UNPROCESSABLE_ENTITY", "body: field required")
        now = clock.text(self._clock.now())
        run: Document = {
            "run_id": str(uuid.uuid4()), "flow_id": flow, "flow_title": self.flows[flow].title, "flow_last_updated": now,
            "start_time": now, "completion_time": None, "status": "ACTIVE", "display_status": "ACTIVE",
            "details": {
                "code": "FlowStarting", "description": "The Flow is starting execution", "details": {"input": sent["body"]},
            },
            "run_owner": f"urn:globus:auth:identity:{token.identity}", "run_managers": sent.get("run_managers", []),
            "run_monitors": sent.get("run_monitors", []), "user_role": "run_owner", "label": sent.get("label"),
            "tags": sent.get("tags", []), "search": {"task_id": str(uuid.uuid4())},
        }  # fmt: skip
        self.runs[run["run_id"]] = run
        return document(run, 201)

    def _list(self, request: Request) -> Answer:
        owner = f"urn:globus:auth:identity:{self._caller(request, FLOWS).identity}"
        wanted = request.query.get("filter_flow_id", "")
        found = [
            run for run in reversed(self.runs.values())
            if run["run_owner"] == owner and (not wanted or run["flow_id"] in wanted.split(","))
        ]  # fmt: skip
        start = request.number("marker", 0)
        end = start + self.per_page
        more = end < len(found)
        return document({
            "runs": found[start:end], "limit": self.per_page, "has_next_page": more, "marker": str(end) if more else None,
        })  # fmt: skip

    def _show(self, request: Request, run: str) -> Answer:
        token = self._caller(request, FLOWS, self.runs.get(run, {}).get("flow_id", ""))
        found = self.runs.get(run)
        if found is None or found["run_owner"] != f"urn:globus:auth:identity:{token.identity}":
            raise _error(404, "NOT_FOUND", f"no run {run}")
        return document(found)

    def _groups(self, request: Request) -> Answer:
        who = self._auth.directory.identities[self._auth.caller(request, GROUPS).identity]
        return document([
            {
                "name": group.name, "id": group.id, "parent_id": None, "group_type": "regular", "enforce_session": False,
                "session_limit": 28800, "session_timeouts": {},
                "my_memberships": [
                    {"group_id": group.id, "identity_id": who.id, "username": who.username, "role": "member", "status": "active"}
                ],
                "policies": {"group_visibility": "private", "group_members_visibility": "managers"},
            }
            for group in self._auth.directory.groups_of(who.id)
        ])  # fmt: skip


def _error(status: int, code: str, detail: str) -> Problem:
    return Problem(document({"error": {"code": code, "detail": detail}}, status))
