"""Our answers have the shape of those that globus-sdk ships as recorded from the service, but for what is listed here.

`+key`: we say more; `-key`: we say less. Where one of the two is null, the type is not compared.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from globus_sdk.testing import RegisteredResponse, get_response_set

from tests.globus import Collection, Globus
from tests.globus.scopes import ALL_OF_TRANSFER, AUTH, FLOWS, GROUPS, TRANSFER, flow_user, parse

DEVIATIONS = {
    "transfer.get_submission_id-default": {"+DATA_TYPE": "the recorded answer is cut down; the JavaScript SDK's types have it"},
    "transfer.get_endpoint-default": {
        "-DATA[]": "there are no servers",
        **{
            f"-DATA[].{key}": "recorded from an endpoint of version 4, which has servers; collections have none"
            for key in ("DATA_TYPE", "hostname", "id", "port", "scheme", "subject", "uri")
        },
        **{
            f"+{key}": "recorded before collections; the SDK's guides and the globus command read it"
            for key in (
                "authentication_timeout_mins", "canonical_name", "collection_base_path", "contact_email", "contact_info",
                "department", "gcs_manager_url", "high_assurance", "info_link", "keywords", "local_user_info_available",
                "my_effective_roles", "my_effective_roles[]", "owner_id", "owner_string", "subscription_id", "tlsftp_server",
            )
        },
    },
    "transfer.endpoint_manager_task_successful_transfers-default": {
        f"+DATA[].{key}": "recorded before there was evidence; the JavaScript SDK's types and the globus command have it"
        for key in ("size", "checksum", "checksum_algorithm", "dynamic")
    },
    "auth.oauth2_exchange_code_for_tokens-default": {"+refresh_token": "recorded without; the SDK stores it when it asks for it"},
    "auth.get_identities-sirosen": {"+identities[].identity_type": "another recorded identity has it"},
    "flows.run_flow-default": {"+completion_time": "recorded of runs that have ended; null until then"},
    "flows.list_runs-default": {
        f"-runs[].{key}": "older names, which the SDK's guides say not to use"
        for key in ("action_id", "created_by", "manage_by", "manage_by[]", "monitor_by", "monitor_by[]")
    } | dict.fromkeys(("+runs[].search", "+runs[].search.task_id"), "the recorded run has none, that of run_flow has"),
}  # fmt: skip
"""Recorded answer → difference → why."""


class Visitor:
    """Asks without the SDK, so that nothing comes between."""

    def __init__(self, service: Globus, source: Collection, destination: Collection) -> None:
        self.service, self.source, self.destination = service, source, destination
        (source.base / "a").write_bytes(b"data")
        self.flow = service.flows.flow("a flow").id
        self.group = service.auth.directory.group("a group", service.person)

    def token(self, server: str, scope: str) -> str:
        """A token of the person."""
        app = self.service.app.id
        self.service.auth.consents.give(self.service.person.id, app, parse(scope))
        return self.service.auth.tokens.issue("access", app, self.service.person.id, server, parse(scope)).value

    def transfer(self, method: str, path: str, body: Any = None) -> Any:
        """What Transfer answers."""
        return self._ask(
            method, f"v0.10/{path}", self.token(TRANSFER, ALL_OF_TRANSFER), json.dumps(body).encode() if body else None
        )

    def auth(self, path: str) -> Any:
        """What Auth answers to whoever is logged in."""
        return self._ask("GET", path, self.token(AUTH, "openid"))

    def form(self, path: str, **fields: str) -> Any:
        """What Auth answers to the native app's form."""
        return self._ask("POST", path, None, urlencode({"client_id": self.service.app.id, **fields}).encode())

    def account(self, path: str, **fields: str) -> Any:
        """What Auth answers to the service account's form."""
        one = self.service.account
        return self.form(path, client_id=one.id, client_secret=str(one.secret), **fields)

    def other(self, method: str, path: str, server: str, scope: str, body: Any = None) -> Any:
        """What another service answers."""
        return self._ask(method, path, self.token(server, scope), json.dumps(body).encode() if body else None)

    def order(self) -> Any:
        """A transfer's request."""
        item = {"DATA_TYPE": "transfer_item", "source_path": "/a", "destination_path": "/a"}
        return {
            "DATA_TYPE": "transfer", "submission_id": self.transfer("GET", "submission_id")["value"], "DATA": [item],
            "source_endpoint": self.source.id, "destination_endpoint": self.destination.id, "verify_checksum": True,
        }  # fmt: skip

    def task(self) -> str:
        """A task that has succeeded."""
        task: str = self.transfer("POST", "transfer", self.order())["task_id"]
        self.service.work()
        return task

    def code(self) -> str:
        """A code from the browser."""
        query = {
            "client_id": self.service.app.id, "redirect_uri": f"{self.service.url}v2/web/auth-code", "response_type": "code",
            "scope": ALL_OF_TRANSFER, "code_challenge": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
            "code_challenge_method": "S256", "access_type": "offline", "state": "_default",
        }  # fmt: skip
        return self.service.code(f"{self.service.url}v2/oauth2/authorize?{urlencode(query)}")

    def _ask(self, method: str, path: str, token: str | None, body: bytes | None = None) -> Any:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            with urlopen(Request(self.service.url + path, body, headers, method=method)) as answer:  # noqa: S310  (our own URL)
                return json.loads(answer.read())
        except HTTPError as error:
            with error:
                return json.loads(error.read())


Case = tuple[str, str, Callable[[Visitor], Any]]
CASES: list[Case] = [
    ("transfer.get_submission_id", "default", lambda v: v.transfer("GET", "submission_id")),
    ("transfer.submit_transfer", "default", lambda v: v.transfer("POST", "transfer", v.order())),
    ("transfer.submit_transfer", "failure", lambda v: v.transfer("POST", "transfer", v.order() | {"DATA": []})),
    ("transfer.submit_delete", "default", lambda v: v.transfer("POST", "delete", {
        "DATA_TYPE": "delete", "submission_id": v.order()["submission_id"], "endpoint": v.source.id,
        "DATA": [{"DATA_TYPE": "delete_item", "path": "/a"}],
    })),
    ("transfer.task_list", "default", lambda v: v.task() and v.transfer("GET", "task_list?limit=1000")),
    ("transfer.cancel_task", "default", lambda v: v.transfer("POST", f"task/{v.task()}/cancel")),
    ("transfer.endpoint_manager_task_successful_transfers", "default",
     lambda v: v.transfer("GET", f"task/{v.task()}/successful_transfers")),
    ("transfer.operation_stat", "default", lambda v: v.transfer("GET", f"operation/endpoint/{v.source.id}/stat?path=/a")),
    ("transfer.operation_stat", "not_found", lambda v: v.transfer("GET", f"operation/endpoint/{v.source.id}/stat?path=/b")),
    ("transfer.operation_mkdir", "default",
     lambda v: v.transfer("POST", f"operation/endpoint/{v.source.id}/mkdir", {"DATA_TYPE": "mkdir", "path": "/new"})),
    ("transfer.operation_rename", "default", lambda v: v.transfer(
        "POST", f"operation/endpoint/{v.source.id}/rename", {"DATA_TYPE": "rename", "old_path": "/a", "new_path": "/b"})),
    ("transfer.get_endpoint", "default", lambda v: v.transfer("GET", f"endpoint/{v.source.id}")),
    ("auth.get_identities", "sirosen", lambda v: v.auth(f"v2/api/identities?ids={v.service.person.id}")),
    ("auth.get_identities", "globusid", lambda v: v.auth("v2/api/identities?usernames=ADA@example.org")),
    ("auth.get_consents", "default", lambda v: v.auth(f"v2/api/identities/{v.service.person.id}/consents")),
    ("auth.oauth2_client_credentials_tokens", "default",
     lambda v: v.account("v2/oauth2/token", grant_type="client_credentials", scope=ALL_OF_TRANSFER)),
    ("auth.oauth2_client_credentials_tokens", "openid",
     lambda v: v.account("v2/oauth2/token", grant_type="client_credentials", scope="openid")),
    ("auth.oauth2_exchange_code_for_tokens", "default", lambda v: v.form(
        "v2/oauth2/token", grant_type="authorization_code", code=v.code(), code_verifier="",
        redirect_uri=f"{v.service.url}v2/web/auth-code")),
    ("auth.oauth2_revoke_token", "default",
     lambda v: v.account("v2/oauth2/token/revoke", token=v.token(TRANSFER, ALL_OF_TRANSFER))),
    ("auth.oauth2_token_introspect", "default",
     lambda v: v.account("v2/oauth2/token/introspect", token=v.token(TRANSFER, ALL_OF_TRANSFER))),
    ("groups.get_my_groups", "default",
     lambda v: v.other("GET", "v2/groups/my_groups", GROUPS, f"urn:globus:auth:scope:{GROUPS}:all")),
    ("flows.run_flow", "default", lambda v: run(v, v.flow)),
    ("flows.run_flow", "missing_scope_error", lambda v: v.other("POST", f"flows/{v.flow}/run", v.flow, "openid", {"body": {}})),
    ("flows.list_runs", "default", lambda v: run(v, v.flow) and v.other("GET", "runs", FLOWS, "openid")),
]  # fmt: skip
"""(recorded answer, which of them, ours)."""


OPAQUE = ("details",)
"""What a flow says of itself there is that flow's business."""


def recorded(name: str, which: str = "default") -> Any:
    """What globus-sdk ships."""
    found = get_response_set(name).lookup(which)
    assert isinstance(found, RegisteredResponse)
    return found.json


def run(visitor: Visitor, flow: str) -> Any:
    """A run that has started; its input is what the recorded one had."""
    body = recorded("flows.run_flow")["details"]["details"]["input"]
    sent = {"body": body, "label": "x", "tags": ["x"], "run_managers": ["x"], "run_monitors": ["x"]}
    return visitor.other("POST", f"flows/{flow}/run", flow, flow_user(flow), sent)


def shape(document: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each place in a document, with the type of what is there."""
    if path:
        yield path, type(document).__name__
    if isinstance(document, dict) and not path.endswith(OPAQUE):
        for key, value in document.items():
            yield from shape(value, f"{path}.{key}" if path else key)
    elif isinstance(document, list):
        for value in document:
            yield from shape(value, f"{path}[]")


def differences(ours: Any, theirs: Any) -> set[str]:
    """+more, -less, and what has another type."""
    mine, wanted = dict(shape(ours)), dict(shape(theirs))
    other = {
        f"{key}: {mine[key]} instead of {wanted[key]}"
        for key in mine.keys() & wanted.keys()
        if "NoneType" not in (mine[key], wanted[key]) and mine[key] != wanted[key]
    }
    return (
        {f"+{key}" for key in mine.keys() - wanted.keys()} | {f"-{key}" for key in wanted.keys() - mine.keys()} | other
    )


@pytest.mark.parametrize(("name", "which", "ours"), CASES, ids=[f"{name}-{which}" for name, which, _ in CASES])
def test_an_answer_has_the_recorded_shape(
    globus: Globus, source: Collection, destination: Collection, name: str, which: str, ours: Callable[[Visitor], Any]
) -> None:
    """Keys and types are those of the recorded answer, and every listed deviation is still one."""
    assert differences(ours(Visitor(globus, source, destination)), recorded(name, which)) == set(
        DEVIATIONS.get(f"{name}-{which}", {})
    )
